"""A model that is called in another way trains as its owner's loop would train it, through the one training loop."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

import mbbench
from mbbench.case import Case, UsageError
from mbbench.measuring import training as training_module
from mbbench.measuring.problems import Problem
from mbbench.measuring.training import losses, prepare
from mbbench.store import load_records

LOADERS = ("slice", "gather", "dataloader", "dataloader-batched")
IDS = torch.arange(60).reshape(12, 5) % 7
LABELS = torch.arange(12) % 3


class Answering(nn.Module):
    """As Hugging Face's models: called by name, answers with an object that has a loss."""

    def __init__(self):
        super().__init__()
        self.letter, self.out = nn.Embedding(7, 4), nn.Linear(4, 3)

    def forward(self, input_ids, labels=None):
        logits = self.out(self.letter(input_ids).mean(1))
        return SimpleNamespace(loss=None if labels is None else nn.functional.cross_entropy(logits, labels), logits=logits)


def case(n=12, **fields):
    return Case(problem="a:b", n_samples=n, lr=0.5, **fields)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_model_that_answers_with_its_loss_trains_as_by_hand(loader):
    problem = Problem(model=Answering, data={"input_ids": IDS, "labels": LABELS})
    training = prepare(case(loader=loader, batch_size=4, shuffle=False), problem)
    by_hand = problem.start(0)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.5)
    for start in [0, 4, 8] * 2:
        optimizer.zero_grad()
        by_hand(input_ids=IDS[start : start + 4], labels=LABELS[start : start + 4]).loss.backward()
        optimizer.step()
    training.train(itertools.islice(training.stream(), 6))
    for ours, theirs in zip(training.model.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert losses(training)[0] == pytest.approx(float(by_hand(IDS, LABELS).loss.detach()))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(2, 1), nn.Linear(3, 1)

    def forward(self, left, right):
        return self.one(left) + self.other(right)


@pytest.mark.parametrize("several", [tuple, lambda parts: dict(zip(("right", "left"), parts[::-1], strict=True))])
def test_two_inputs_are_handed_to_the_model_one_by_one_or_by_name(several):
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(12, 2, generator=generator), torch.randn(12, 3, generator=generator)
    problem = Problem(
        model=Two, loss=nn.functional.mse_loss, data=(several((left, right)), left.sum(1, keepdim=True)), held_out=0.0
    )
    training = prepare(case(batch_size=4).on(lr=0.01), problem)
    expected = float(nn.functional.mse_loss(problem.start(0)(left, right), left.sum(1, keepdim=True)).detach())
    assert losses(training) == (pytest.approx(expected), None)
    training.train(training.epoch())
    assert losses(training)[0] < expected


def padded(lines):
    rows = [torch.tensor(line) for line in lines]
    return {"ids": pad_sequence(rows, batch_first=True), "mask": pad_sequence([torch.ones(len(row)) for row in rows], True)}


def masked(model, batch):
    """Return a mean over what is not padding."""
    each = (model(batch["ids"]).squeeze(-1) - 1).square()
    return (each * batch["mask"]).sum() / batch["mask"].sum()


@pytest.mark.parametrize("loader", ["slice", "dataloader"])
def test_accumulated_sequences_of_unequal_lengths_weigh_what_is_not_padding(loader):
    lines = [[number % 7] * (1 + number % 5) for number in range(12)]
    problem = Problem(
        model=lambda: nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 1)),
        step=masked,
        data=lines,
        collate=padded,
        weight=lambda batch: batch["mask"].sum(),
        held_out=0.0,
    )
    gradients = []
    for fields in ({"loader": "slice"}, {"loader": loader, "micro_batch": 5}):
        training = prepare(case(dtype="float64", **fields), problem)
        training.train(training.epoch())
        gradients.append([part.grad for part in training.model.parameters()])
        whole = float(masked(problem.start(0).double(), padded(lines)).detach())
        assert losses(prepare(case(dtype="float64", **fields), problem))[0] == pytest.approx(whole)
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-15)


def test_a_model_without_a_loss_is_told_that_it_needs_one():
    problem = Problem(model=lambda: nn.Linear(2, 1), data={"input": torch.ones(4, 2)})
    with pytest.raises(UsageError, match="the model answers with a Tensor without a loss: give loss= or step="):
        prepare(case(4), problem).train(prepare(case(4), problem).epoch())


def test_loss_and_step_together_are_refused():
    with pytest.raises(UsageError, match="both loss and step are given"):
        Problem(model=nn.Linear(1, 1), loss=nn.functional.mse_loss, step=masked, data=(IDS, LABELS))


def convolutions():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))


IMAGES = Problem(model=convolutions, loss=nn.functional.cross_entropy, data=(torch.randn(12, 3, 4, 4), LABELS % 2), lr=0.1)


def test_channels_last_is_the_same_computation_in_another_memory_format():
    plain, last = (prepare(case(batch_size=4, options=options), IMAGES) for options in ((), (("channels_last", "yes"),)))
    for training in (plain, last):
        training.train(training.epoch())
    weight = next(last.model.parameters())
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not next(plain.model.parameters()).is_contiguous(memory_format=torch.channels_last)
    assert losses(last)[0] == pytest.approx(losses(plain)[0], rel=1e-5)


@pytest.mark.parametrize(("kind", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_autocast_computes_in_fewer_bits_and_keeps_parameters_and_gradients_in_all(kind, dtype):
    training = prepare(case(batch_size=4, options=(("autocast", kind),)), IMAGES)
    ((x, _, _),) = next(training.epoch())
    assert training.model(x).dtype == dtype
    before = losses(training)[0]
    training.train(itertools.islice(training.stream(), 20))
    assert {part.grad.dtype for part in training.model.parameters()} == {torch.float32}
    assert losses(training)[0] < before


def test_a_metric_is_of_all_held_out_rows_at_once_whatever_the_chunks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training_module, "EVALUATION_ROWS", (3, 3))
    (tmp_path / "mine.py").write_text("def spread(found, y): return (found - y).std() / y.std()\n")
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(2))
    problem = Problem(model=lambda: nn.Linear(2, 1), loss=nn.functional.mse_loss, data=(x, x[:, :1]), held_out=0.5)
    training = prepare(case(10, batch_size=2, options=(("metric", "mine.py:spread"),)), problem)
    held_x, held_y = training.heldout
    expected = float(((training.model(held_x) - held_y).std() / held_y.std()).detach())
    assert training_module.held_out_metric(training) == pytest.approx(expected)


MINE = """
import time
import torch
import mbbench
from torch import nn

class Answering(nn.Module):
    def __init__(self):
        super().__init__()
        self.letter, self.out = nn.Embedding(7, 4), nn.Linear(4, 3)

    def forward(self, ids, lengths):
        return self.out(self.letter(ids).mean(1)) / lengths[:, None]

ids, labels = torch.arange(300).reshape(60, 5) % 7, torch.arange(60) % 3
problem = mbbench.Problem(
    model=Answering, loss=nn.functional.cross_entropy, data=({"ids": ids, "lengths": torch.full((60,), 5.0)}, labels))
def accuracy(found, y): return (found.argmax(1) == y).float().mean()
def seconds(): return time.perf_counter()
"""


@pytest.mark.parametrize("more", [[], pytest.param(["target"], marks=pytest.mark.long)])
def test_every_pass_takes_several_inputs_and_a_metric_and_a_meter_are_recorded(tmp_path, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    mbbench.run(
        "mine.py:problem",
        batch_size=8,
        micro_batch=[None, 4],
        measure=["time", "convergence", "memory", "profile", *more],
        options={"metric": "mine.py:accuracy", "meter": "mine.py:seconds"},
        seconds=0.02,
        repeats=1,
        seeds=2,
        max_steps=20,
        max_seconds=1.0,
        target=1.2,
    )
    records = load_records(tmp_path / "results")
    assert {(record.kind, record.measurement.status) for record in records} - {("convergence", "budget_exhausted")} == {
        (kind, "ok") for kind in ("time", "convergence", "memory", "profile", *more, *(["race"] if more else []))
    }
    for record in records:
        measured = record.measurement
        if record.kind == "time":  # the meter is read outside the clock, so it grew by more than the round
            assert all(grown > round_s for grown, round_s in zip(measured.meter, measured.round_s, strict=True))
        elif record.kind == "convergence":
            assert len(measured.curve.heldout_metric) == len(measured.curve.step)
            assert 0 <= measured.curve.heldout_metric[-1] <= 1
        elif record.kind == "memory":
            assert measured.predicted_peak_bytes == pytest.approx(measured.peak_tensor_bytes, rel=0.3)
            assert record.case.micro_batch is None or measured.gradient_difference < 1e-5
    frame = mbbench.load(tmp_path / "results")
    assert set(frame[frame.kind == "time"].options.map(str)) == {
        "(('meter', 'mine.py:seconds'), ('metric', 'mine.py:accuracy'))"
    }
