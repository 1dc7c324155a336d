"""A watched loop trains bit for bit as it would alone, and what is said of it is what happened."""

import gc
import re
import shlex
import subprocess
import sys
import time
import weakref
from types import SimpleNamespace

import pytest
import torch
from looped import X, Y
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mbbench
from mbbench import watched, watching
from mbbench.case import UsageError
from mbbench.measuring import probing
from mbbench.reporting import readable


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(watching, "_ALL", [])
    monkeypatch.setattr(probing, "MOST_S", 60.0)  # a busy machine is no reason


def model(width=8):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(width), nn.Linear(width, 1))


def train(watching_it, epochs=30, said=None, **options):
    """Train with dropout on shuffled batches; return the losses, the parameters and the next random number."""
    net = model()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(X.repeat(4, 1) / 100, Y.repeat(4, 1) / 100), batch_size=8, shuffle=True)
    losses = []
    for _ in range(epochs):
        say = (lambda line: None) if said is None else said.append
        for x, y in mbbench.watch(loader, net, optimizer, say=say, **options) if watching_it else loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    if watching_it:
        watching._ALL[0].lines()
    return losses, [part.detach().clone() for part in net.state_dict().values()], torch.rand(3), net, optimizer


def test_training_is_the_same_bit_for_bit_whatever_is_said_of_it():
    said = []
    plain, seen_too = train(False), train(True, said=said, after_s=0.0)
    assert plain[0] == seen_too[0]
    assert all(torch.equal(one, other) for one, other in zip(plain[1], seen_too[1], strict=True))
    assert torch.equal(plain[2], seen_too[2])  # dropout of a copy has drawn nothing
    assert watching._ALL[0].seen.looks  # and there was something to disturb it
    assert watching._ALL[0].seen.probes
    assert said


def test_many_epochs_are_one_loop_and_no_hook_stays():
    *_, net, optimizer = train(True, epochs=30)
    [one] = watching._ALL
    assert (one.seen.epochs, one.seen.batches, one.seen.updates) == (30, 90, 90)
    assert one.seen.rows_a_batch == pytest.approx(20 / 3, rel=0.2)  # 8, 8 and 4
    assert all(look.batches == look.updates == watched.LOOK for look in one.seen.looks)
    assert not net._forward_hooks
    assert not net._forward_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def the_notebooks_two_loops(epochs):
    """Train as the notebook does, full batch first; return what was said of both."""
    full, mini = nn.Linear(3, 1), nn.Linear(3, 1)
    said = []
    optimizer = torch.optim.SGD(full.parameters(), lr=1e-5)
    with mbbench.watch(model=full, optimizer=optimizer, say=said.append):
        for _ in range(epochs):
            cost = nn.functional.mse_loss(full(X), Y)
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    other = torch.optim.SGD(mini.parameters(), lr=1e-5)
    loader = DataLoader(TensorDataset(X, Y), batch_size=2, shuffle=True)
    for _ in range(epochs):
        for x, y in mbbench.watch(loader, mini, other, say=said.append):
            cost = nn.functional.mse_loss(mini(x), y)
            other.zero_grad()
            cost.backward()
            other.step()
    watching._at_exit()
    return said


@pytest.mark.parametrize("epochs", [20, 200])
def test_the_notebooks_two_loops_are_told_what_their_comparison_measures(epochs):
    said = the_notebooks_two_loops(epochs)
    assert said[0].startswith(f"mbbench watched Linear with SGD: {epochs} steps of about 5 rows in")
    assert said[1].startswith("Where a step goes: forward")
    [whole] = [line for line in said if line.startswith("Comparing")]
    assert "measures the loader (DataLoader, before none) and the number of updates, and not the batch size alone" in whole
    assert f"It makes 3.0 times the updates ({3 * epochs}, before {epochs})." in whole
    full, mini = (known.seen for known in watching._ALL)
    assert (full.pace.loader_s, full.timed.loader_s) == (0, 0)
    assert mini.pace.loader_s > 0
    assert f"in the loader ({readable.seconds(mini.pace.loader_s)} of an update, before nothing)" in whole


@pytest.mark.parametrize("rows", [1, 3, 63, 64, 65, 128, 200])
def test_every_batch_comes_once_and_is_counted_whether_it_is_timed_or_not(rows):
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    epochs = 2 + 20_000 // rows
    for _ in range(epochs):
        assert list(mbbench.watch(list(range(rows)), net, optimizer)) == list(range(rows))
    seen = watching._ALL[0].seen
    assert (seen.epochs, seen.batches) == (epochs, rows * epochs)
    assert seen.batches / 20 < seen.timed.batches < seen.batches / 6


@pytest.mark.parametrize("epoch", [1, 3, 100, 256])
def test_the_loaders_share_is_right_though_few_small_batches_are_timed(monkeypatch, epoch):
    now = 0.0

    def passes(seconds):
        nonlocal now
        now += seconds

    class Loader:
        def __iter__(self):
            passes(50e-6)  # a beginning
            for number in range(epoch):
                passes(20e-6)
                yield number
            passes(10e-6)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    epochs = 40_000 // epoch
    for _ in range(epochs):
        for _ in mbbench.watch(Loader(), net, optimizer):
            passes(80e-6)
    seen = watching._ALL[0].seen
    loader_s = epochs * (60e-6 + epoch * 20e-6)
    assert seen.total_s == pytest.approx(loader_s + epochs * epoch * 80e-6)
    assert seen.timed.batches < 0.15 * seen.batches
    assert seen.plain.loader_s / seen.plain.total_s == pytest.approx(loader_s / seen.total_s, rel=0.02)


def dry_run(folder, said, *lines):
    """Type what was said to prove it, below these lines; return what mbbench answers."""
    [*_, made, command] = said
    lines = ["import mbbench, torch", "from torch.utils.data import DataLoader, TensorDataset", *lines]
    (folder / "my_problem.py").write_text("\n".join([*lines, re.search("`(problem = .*)`", made)[1]]))
    words = shlex.split(re.search("`mbbench (.*)`", command)[1])
    done = subprocess.run(
        [sys.executable, "-m", "mbbench", *words, "--dry-run"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_what_is_said_to_prove_it_is_typed(tmp_path):
    shown = dry_run(
        tmp_path,
        the_notebooks_two_loops(20),
        "model, loss_function = torch.nn.Linear(3, 1), torch.nn.functional.mse_loss",
        "loader = DataLoader(TensorDataset(torch.randn(5, 3), torch.randn(5, 1)), batch_size=2, shuffle=True)",
    )
    assert "within 60 s" in shown


def test_what_is_said_to_prove_it_of_rows_by_name_and_an_optimizer_of_torchs_is_typed(tmp_path):
    net, said = Answer(), []
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    rows = [{"x": x, "y": y} for x, y in zip(X.repeat(8, 1), Y.repeat(8, 1), strict=True)]
    loader = DataLoader(rows, batch_size=4, collate_fn=lambda items: torch.utils.data.default_collate(items))
    for _ in range(2):
        for batch in mbbench.watch(loader, net, optimizer, say=said.append):
            optimizer.zero_grad()
            net(**batch).loss.backward()
            optimizer.step()
    watching._at_exit()
    assert "--optimizer torch.optim:AdamW" in said[-1]
    shown = dry_run(
        tmp_path,
        said,
        "from types import SimpleNamespace",
        "class Answer(torch.nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.inner = torch.nn.Linear(3, 1)",
        "    def forward(self, x, y):",
        "        return SimpleNamespace(loss=torch.nn.functional.mse_loss(self.inner(x), y))",
        "model, rows = Answer(), [{'x': torch.ones(3), 'y': torch.ones(1)}] * 40",
        "loader = DataLoader(rows, batch_size=4, collate_fn=torch.utils.data.default_collate)",
    )
    assert "within 60 s" in shown


def test_the_peak_is_that_of_training_and_not_of_the_copy_that_was_tried(monkeypatch):
    peaks = iter([100, 900, 900, 999])
    monkeypatch.setattr(watched, "_memory", lambda device: (next(peaks), None))
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loop = mbbench.watch([(X, Y)] * 40, net, optimizer)
    for x, y in loop:
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
    assert "The process took 100 B at most." in loop.lines()
    assert "The process took 100 B at most." in loop.lines()
    assert "The process took 999 B at most." in loop.lines()


def test_what_the_loader_takes_to_begin_and_to_end_an_epoch_is_its_own(monkeypatch):
    now = 0.0

    def pass_by(seconds):
        nonlocal now
        now += seconds

    class Loader:
        def __iter__(self):
            pass_by(8.0)
            for _ in range(3):
                pass_by(2.0)
                yield X
            pass_by(16.0)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        for _ in mbbench.watch(Loader(), net, optimizer):
            pass_by(1.0)
        pass_by(100.0)  # between two epochs
    [one] = watching._ALL
    assert (one.seen.batches, one.seen.timed.loader_s, one.seen.total_s) == (6, 60.0, 66.0)
    assert one.seen.aside.batches == 3  # the first, and the two after the fourth, when a look began
    assert one.seen.aside.loader_s == 8 + 2 + 2 + 2 + 16


def test_what_is_said_amid_a_look_tries_a_copy_without_its_hooks(monkeypatch):
    real, there = probing.probe, []
    monkeypatch.setattr(
        probing, "probe", lambda tried, *args, **more: there.append(len(tried._forward_hooks)) or real(tried, *args, **more)
    )
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loop = mbbench.watch([(X, Y)] * 40, net, optimizer)
    for x, y in loop:
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
        if loop._loop.look.on and not loop.seen.probes:
            hooks = len(net._forward_hooks)
            loop.lines()
            assert len(net._forward_hooks) == hooks > 0
    assert [probe.rows for probe in loop.seen.probes] == [1, 5, 10, 20]
    assert there == [0]


def test_a_slow_loader_is_named():
    class Slow:
        def __iter__(self):
            for _ in range(20):
                time.sleep(0.004)
                yield X, Y

    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loop = mbbench.watch(Slow(), net, optimizer)
    for x, y in loop:
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
    assert "The loop spends its time in the loader" in str(loop)
    assert ", in Slow." in str(loop)


def test_it_speaks_after_its_time_and_when_another_loop_begins_and_not_twice():
    said = []
    train(True, epochs=10, said=said, after_s=0.0)
    assert sum(line.startswith("mbbench watched") for line in said) == 1
    net = nn.Linear(3, 1)
    mbbench.watch([(X, Y)], net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert sum(line.startswith("mbbench watched") for line in said) == 2  # of all 30 steps
    watching._at_exit()
    assert sum(line.startswith("mbbench watched") for line in said) == 2


class Answer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 1)

    def forward(self, x, y=None):
        found = self.inner(x)
        return SimpleNamespace(loss=None if y is None else nn.functional.mse_loss(found, y), logits=found)


def test_batches_by_name_and_answers_with_a_loss_are_watched_too():
    net = Answer()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loop = mbbench.watch([{"x": X, "y": Y}] * 40, net, optimizer)
    for batch in loop:
        optimizer.zero_grad()
        net(**batch).loss.backward()
        optimizer.step()
    assert loop.seen.rows_a_batch == 5
    loop.lines()
    assert [probe.rows for probe in loop.seen.probes] == [1, 5, 10, 20]


def test_what_a_loop_does_is_its_own_affair():
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loop = mbbench.watch([(X, Y)] * 40, net, optimizer)

    def fail():
        for _ in loop:
            net(X).sum().backward()
            optimizer.step()
            if loop.seen.batches == 7:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    for _ in loop:
        break
    assert not net._forward_hooks
    assert loop.seen.batches == 7


@pytest.mark.parametrize(
    "given",
    [(None, None, None), ([1], nn.Linear(1, 1), None), ([1], "model", None), (nn.Linear(1, 1), [1], None)],
)
def test_what_is_no_model_or_optimizer_is_refused(given):
    with pytest.raises(UsageError, match=r"give watch\(loader, model, optimizer\)"):
        mbbench.watch(*given)


def test_a_loop_without_a_loader_cannot_be_iterated():
    net = nn.Linear(1, 1)
    loop = mbbench.watch(model=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(UsageError, match="no loader"):
        next(iter(loop))
    assert loop.lines() == ["mbbench watched a loop that made no step."]


def test_of_a_loop_that_has_ended_nothing_is_kept_but_what_was_seen():
    net, batch = nn.Linear(3, 1), X.clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loader = DataLoader(TensorDataset(batch, Y), batch_size=5)
    said = []
    for _ in range(40):
        for x, _ in mbbench.watch(loader, net, optimizer, say=said.append):
            net(x).sum().backward()
            optimizer.step()
    kept = [weakref.ref(each) for each in (net, optimizer, loader, batch)]
    [one] = watching._ALL
    assert one.look.inputs is not None
    other = nn.Linear(3, 1)
    mbbench.watch([X], other, torch.optim.SGD(other.parameters(), lr=0.1))
    assert one.look.inputs is None
    assert said
    del net, optimizer, loader, batch, x, _
    gc.collect()
    assert [each() for each in kept] == [None] * 4
    assert [probe.rows for probe in one.seen.probes] == [1, 5, 10, 20]
    assert one.lines()[0] == said[0]


def test_a_model_that_is_gone_takes_its_inputs_with_it():
    def trained():
        net = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
        for _ in mbbench.watch([X] * 40, net, optimizer):
            net(X).sum().backward()
            optimizer.step()

    trained()
    gc.collect()
    [one] = watching._ALL
    assert one.look.inputs is None
    assert "Other batch sizes were not tried: the model is gone." in one.lines()


def test_an_optimizer_that_holds_another_is_watched_as_that_other():
    class Holding(torch.optim.Optimizer):
        def __init__(self, optimizer):
            self.optimizer = optimizer

        def step(self):
            self.optimizer.step()

    net = nn.Linear(3, 1)
    held = torch.optim.SGD(net.parameters(), lr=1e-6, momentum=0.9)
    optimizer = Holding(held)
    loop = mbbench.watch([X] * 40, net, optimizer)
    for x in loop:
        net(x).sum().backward()
        optimizer.step()
    assert (loop.seen.optimizer, loop.seen.optimizer_name) == ("SGD", "momentum")
    assert all(look.updates == 8 for look in loop.seen.looks)
    assert loop.seen.looks


def test_what_a_problem_would_need_of_a_loader_is_written_down():
    def told(loader):
        net = nn.Linear(3, 1)
        one = mbbench.watch(loader, net, torch.optim.SGD(net.parameters(), lr=0.1)).seen
        return one.loader, one.data, one.rows

    rows = [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)]
    assert told(DataLoader(TensorDataset(X, Y))) == ("DataLoader", "data=loader.dataset.tensors", 5)
    assert told(DataLoader(rows, num_workers=2)) == ("DataLoader with 2 workers", "data=loader.dataset", 5)
    assert told(DataLoader(rows, collate_fn=len)) == ("DataLoader", "data=loader.dataset, collate=loader.collate_fn", 5)
    assert told([X]) == ("list", "data=(features, targets)", None)


def test_a_watch_that_nobody_iterated_over_says_what_to_do():
    net, said = nn.Linear(3, 1), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with mbbench.watch([X], net, optimizer, say=said.append) as loop:
        optimizer.step()
    assert said == loop.lines()
    assert "Iterate over what `watch` returned" in said[0]
