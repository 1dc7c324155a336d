"""A watched loop trains bit for bit as it would alone, and what is said of it is what happened."""

import math
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mbbench
from mbbench import watching
from mbbench.case import UsageError
from mbbench.measuring import probing
from mbbench.reporting import seen_words
from mbbench.seen import Gradients, Look, Probe, Seen, noise

X = torch.tensor([[73.0, 80, 75], [93, 88, 93], [89, 91, 90], [96, 98, 100], [73, 66, 70]])
Y = torch.tensor([[152.0], [185], [180], [196], [142]])


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(watching, "_ALL", [])


def model(width=8):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(width), nn.Linear(width, 1))


def train(watched, epochs=30, said=None, **options):
    """Train with dropout on shuffled batches; return the losses, the parameters and the next random number."""
    net = model()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(X.repeat(4, 1) / 100, Y.repeat(4, 1) / 100), batch_size=8, shuffle=True)
    losses = []
    for _ in range(epochs):
        say = (lambda line: None) if said is None else said.append
        for x, y in mbbench.watch(loader, net, optimizer, say=say, **options) if watched else loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    if watched:
        str(watching._ALL[0])
    return losses, [part.detach().clone() for part in net.state_dict().values()], torch.rand(3), net, optimizer


def test_training_is_the_same_bit_for_bit_whatever_is_said_of_it():
    said = []
    plain, watched = train(False), train(True, said=said, after_s=0.0)
    assert plain[0] == watched[0]
    assert all(torch.equal(one, other) for one, other in zip(plain[1], watched[1], strict=True))
    assert torch.equal(plain[2], watched[2])  # dropout of a copy has drawn nothing
    assert watching._ALL[0].seen.looks  # and there was something to disturb it
    assert watching._ALL[0].seen.probes
    assert said


def test_many_epochs_are_one_loop_and_no_hook_stays():
    *_, net, optimizer = train(True, epochs=30)
    (one,) = watching._ALL
    assert (one.seen.epochs, one.seen.batches, one.seen.updates) == (30, 90, 90)
    assert one.seen.rows_a_batch == pytest.approx(20 / 3, rel=0.2)  # 8, 8 and 4
    assert all(look.batches == look.updates == watching.LOOK for look in one.seen.looks)
    assert not net._forward_hooks
    assert not net._forward_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_evaluation_between_epochs_is_no_part_of_a_step():
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loader = [(X, Y)] * 3  # no look is over within an epoch
    watched = mbbench.watch(loader, net, optimizer)
    for _ in range(12):
        for x, y in watched:
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        net(torch.zeros(1000, 3))
    assert watched.seen.looks
    assert {look.rows for look in watched.seen.looks} == {5 * watching.LOOK}


def test_the_notebooks_two_loops_are_told_what_their_comparison_measures():
    full, mini = nn.Linear(3, 1), nn.Linear(3, 1)
    said = []
    optimizer = torch.optim.SGD(full.parameters(), lr=1e-5)
    with mbbench.watch(model=full, optimizer=optimizer, say=said.append):
        for _ in range(200):
            optimizer.zero_grad()
            nn.functional.mse_loss(full(X), Y).backward()
            optimizer.step()
    other = torch.optim.SGD(mini.parameters(), lr=1e-5)
    loader = DataLoader(TensorDataset(X, Y), batch_size=2, shuffle=True)
    watched = mbbench.watch(loader, mini, other)
    for _ in range(200):
        for x, y in watched:
            other.zero_grad()
            nn.functional.mse_loss(mini(x), y).backward()
            other.step()
    first, (whole,) = said, [line for line in str(watched).splitlines() if line.startswith("Comparing")]
    assert first[0].startswith("mbbench watched Linear with SGD: 200 steps of about 5 rows in")
    assert "measures the loader (DataLoader, " in whole
    assert "before: no loader, none" in whole
    assert "the number of updates (600, before 200: 3.0 times as many), and not the batch size" in whole
    assert any(line.startswith("Where a step goes: forward") for line in first)
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_what_is_said_amid_a_look_tries_a_copy_without_its_hooks(monkeypatch):
    real, there = probing.probe, []
    monkeypatch.setattr(
        probing, "probe", lambda tried, *given: there.append(len(tried._forward_hooks)) or real(tried, *given)
    )
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    watched = mbbench.watch([(X, Y)] * 40, net, optimizer)
    for x, y in watched:
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
        if watched._look.on and not watched.seen.probes:
            hooks = len(net._forward_hooks)
            watched.lines()
            assert len(net._forward_hooks) == hooks > 0
    assert [probe.rows for probe in watched.seen.probes] == [1, 5, 10, 20]
    assert there == [0]


def test_a_slow_loader_is_named():
    class Slow:
        def __iter__(self):
            for _ in range(20):
                time.sleep(0.004)
                yield X, Y

    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    watched = mbbench.watch(Slow(), net, optimizer)
    for x, y in watched:
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
    assert "The loop spends its time in the loader" in str(watched)
    assert ", in Slow." in str(watched)


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
    watched = mbbench.watch([{"x": X, "y": Y}] * 40, net, optimizer)
    for batch in watched:
        optimizer.zero_grad()
        net(**batch).loss.backward()
        optimizer.step()
    assert watched.seen.rows_a_batch == 5
    watched.lines()
    assert [probe.rows for probe in watched.seen.probes] == [1, 5, 10, 20]


def test_what_a_loop_does_is_its_own_affair():
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    watched = mbbench.watch([(X, Y)] * 40, net, optimizer)

    def fail():
        for _ in watched:
            net(X).sum().backward()
            optimizer.step()
            if watched.seen.batches == 7:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    for _ in watched:
        break
    assert not net._forward_hooks
    assert watched.seen.batches == 7


@pytest.mark.parametrize(
    "given",
    [(None, None, None), ([1], nn.Linear(1, 1), None), ([1], "model", None), (nn.Linear(1, 1), [1], None)],
)
def test_what_is_no_model_or_optimizer_is_refused(given):
    with pytest.raises(UsageError, match=r"give watch\(loader, model, optimizer\)"):
        mbbench.watch(*given)


def test_a_loop_without_a_loader_cannot_be_iterated():
    net = nn.Linear(1, 1)
    watched = mbbench.watch(model=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(UsageError, match="no loader"):
        next(iter(watched))
    assert watched.lines() == ["mbbench watched a loop that made no step."]


# ---- arithmetic and words


def stretch(square, trace, rows=8, updates=4):
    return Gradients(updates, rows, square + trace / rows, square + trace / (rows * updates))


def test_the_noise_scale_is_exact_where_there_is_no_noise_in_it():
    found = noise([stretch(4.0, 32.0)] * 3)
    assert (found.rows, found.n) == (pytest.approx(8.0), 3)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert noise([stretch(4.0, 32.0)] * 2) is None
    assert noise([stretch(0.0, 32.0)] * 3) is None
    assert noise([stretch(4.0, 32.0), stretch(4.0, 320.0), stretch(4.0, 3.2)]) is None  # its error is most of it


def test_numerator_and_denominator_are_averaged_apart():
    several = [stretch(1.0, 10.0), stretch(3.0, 10.0), stretch(2.0, 10.0)]
    assert noise(several).rows == pytest.approx(30 / 6)


def test_probes_keep_what_grows_with_the_rows():
    net = nn.Sequential(nn.Linear(3, 50), nn.Tanh(), nn.Linear(50, 1))
    probes, why = probing.probe(net, (X,), {}, lambda: None)
    assert why == ""
    small, large = probes[1], probes[-1]
    each = (large.kept_bytes - small.kept_bytes) / (large.rows - small.rows)
    assert each == pytest.approx(4 * (3 + 50 + 1 + 1), rel=0.2)  # the input, what tanh returns, the output
    assert probing.probe(net, (), {"flag": True}, lambda: None) == ((), "the model is called with no tensor that has rows")
    assert "could not be tried (RuntimeError" in probing.probe(nn.Linear(4, 1), (X,), {}, lambda: None)[1]


def seen(**fields):
    told = {"loader": "DataLoader", "model": "Net", "optimizer": "SGD", "lr": 0.1, "device": "cpu", "batches": 100}
    told |= {"epochs": 2, "loader_s": 0.6, "total_s": 1.0, "looks": [Look(8, 8, 256, 0.04, 0.02, 0.01, 0.1)]}
    return Seen(**(told | fields))


def test_shares_are_of_all_looks_together():
    looks = [Look(8, 8, 256, 0.04, 0.02, 0.01, 0.1), Look(8, 8, 256, 0.02, 0.04, 0.01, 0.1)]
    said = " ".join(seen_words.lines(seen(looks=looks), []))
    assert "loader 30 %, forward 30 %, optimizer 10 %, loss, backward and the rest 30 % (of 16 steps in 2 looks)" in said
    assert "The loop spends its time in the loader: 60 % of all of it" in said
    assert "spends its time in the loader" not in " ".join(seen_words.lines(seen(loader_s=0.4), []))


def test_equal_loops_are_compared_without_a_word():
    assert not any(line.startswith("Comparing") for line in seen_words.lines(seen(), [seen(total_s=2.0)]))
    (said,) = [line for line in seen_words.lines(seen(batches=300), [seen()]) if line.startswith("Comparing")]
    assert "the number of updates (300, before 100: 3.0 times as many)" in said
    assert "loader (" not in said


def test_the_largest_batch_is_predicted_from_what_a_row_keeps():
    probes = (Probe(1, 1e-3, 2000), Probe(32, 2e-3, 33_000), Probe(64, 3e-3, 65_000))
    said = " ".join(seen_words.lines(seen(probes=probes, free_bytes=10_000_000, peak_bytes=10**9), []))
    assert "A batch of about 10,000 rows would fill the 9.54 MiB that are free" in said
    assert "predicted, not tried" in said
    assert "at batch 1: 1.00 ms, 32: 62.5 µs, 64: 46.9 µs" in said


def test_the_command_that_would_prove_it_holds_what_was_seen():
    said = seen_words.lines(seen(), [])[-1]
    assert "mbbench run my_problem.py:problem --batch-size 8,32,128,512,full --loader dataloader --optimizer sgd" in said
    assert "model=Net" in said
    assert "lr=0.1" in said
    assert math.isclose(seen().rows_a_batch, 32)
