"""Runs trained as one vectorised model against the same runs by THE training loop, and what is not vectorised."""

import dataclasses
import itertools
import math

import models
import pytest
import torch
from torch import nn

from mbbench import Problem
from mbbench.case import Case
from mbbench.measuring import ensemble, target_pass, tuning, vectorising
from mbbench.measuring.ensemble import Ensemble, OneByOne, with_rate
from mbbench.measuring.jobs import SearchPlan
from mbbench.measuring.optimizers import OPTIMIZERS
from mbbench.measuring.problems import resolve
from mbbench.measuring.training import losses, mean_loss, prepare
from mbbench.measuring.vectorising import refusal

N = 230  # the last batch has 6 rows, at batch 32 as at 8
STEPS = 50
RATES = {"sgd": (0.02, 0.1, 0.3), "momentum": (0.005, 0.02, 0.03), "adam": (0.001, 0.003, 0.01)}


def trainings(problem, batch_size=32, rates=(0.05, 0.1), seeds=(0, 1), n=N, **fields):
    """Return a training for each seed and rate, at its start."""
    made = {}
    for seed in seeds:
        case = Case(problem="linear", n_samples=n, batch_size=batch_size, seed=seed, **fields)
        made[seed] = prepare(case, problem)
    return [with_rate(made[seed], lr) for seed in seeds for lr in rates]


def both(made):
    """Return the runs of these trainings vectorised, and one by one, neither of them begun."""
    return Ensemble(made), OneByOne([with_rate(training, training.lr) for training in made])


def compare(made, steps=STEPS, every=10, rel=1e-9):
    """Train both ways, hold the losses of every run against each other on the way, and return the last of them."""
    together, plain = both(made)
    places = range(len(made))
    for done in range(0, steps + 1, every):
        ours, theirs = together.losses(places), plain.losses(places)
        for (train, held), (plain_train, plain_held) in zip(ours, theirs, strict=True):
            assert math.isfinite(plain_train)
            assert train == pytest.approx(plain_train, rel=rel), done
            assert held == (None if plain_held is None else pytest.approx(plain_held, rel=rel))
        together.advance(every)
        plain.advance(every)
    return ours


@pytest.mark.parametrize("batch_size", [1, 8, 32, None], ids=["one", "8, ragged", "32, ragged", "full"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("name", ["digits-mlp", pytest.param("digits-softmax", marks=pytest.mark.long), "linear"])
def test_vectorised_runs_have_the_losses_of_the_plain_loop(name, optimizer, batch_size):
    problem = resolve(name)[0]
    rates = RATES[optimizer] if batch_size != 1 else RATES[optimizer][:1]  # stable ones
    made = trainings(problem, batch_size, rates, seeds=(0, 3), optimizer=optimizer, dtype="float64")
    found = compare(made)
    assert len({loss for loss, _ in found}) == len(made)  # every run is another one
    if batch_size == 32:  # in float32 rounding grows as the runs go
        compare(trainings(problem, batch_size, rates, seeds=(0, 3), optimizer=optimizer), rel=2e-4)


def test_full_batch_rows_are_stacked_once_and_small_batches_every_step():
    problem = resolve("linear")[0]
    for batch_size, kept in [(None, True), (N, True), (32, False)]:
        runs = Ensemble(trainings(problem, batch_size))
        runs.advance(2)
        assert (runs._whole is not None) == kept


def test_a_full_batch_that_a_loader_shuffles_is_not_taken_for_rows_in_place():
    made = trainings(resolve("digits-softmax")[0], None, dtype="float64", loader="dataloader")
    compare(made, steps=10)
    runs = Ensemble(made)
    runs.advance(1)
    assert runs._whole is None


@pytest.mark.parametrize("loader", ["gather", "dataloader", "dataloader-batched"])
def test_every_loader_hands_a_vectorised_run_the_rows_of_the_plain_one(loader):
    compare(trainings(resolve("digits-softmax")[0], 32, dtype="float64", loader=loader), steps=20)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_the_hand_written_updates_are_those_of_torch_on_random_gradients(optimizer):
    generator = torch.Generator().manual_seed(7)
    rates = [0.3, 0.01, 1e-4]
    theirs = [nn.Parameter(torch.randn(4, 5, generator=generator, dtype=torch.float64)) for _ in rates]
    ours = torch.stack([each.detach().clone() for each in theirs])
    optimizers = [OPTIMIZERS[optimizer]([each], lr) for each, lr in zip(theirs, rates, strict=True)]
    lr, state = torch.tensor(rates, dtype=torch.float64).view(-1, 1, 1), ()
    for step in range(1, 201):
        # Of every size, as near a minimum and far from one.
        gradients = torch.randn(ours.shape, generator=generator, dtype=torch.float64) * 10 ** (4 * math.sin(step))
        for place, (parameter, each) in enumerate(zip(theirs, optimizers, strict=True)):
            parameter.grad = gradients[place].clone()
            each.step()
        state = ensemble._UPDATES[optimizer](ours, gradients, lr, state, step)
        # A tenth of a billionth of the way gone, which may lie across 0.
        torch.testing.assert_close(ours, torch.stack([each.detach() for each in theirs]), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("batch_size", [8, None])
def test_runs_that_are_kept_go_on_as_if_nothing_had_been_dropped(optimizer, batch_size):
    made = trainings(resolve("digits-softmax")[0], batch_size, (0.01, 0.02, 0.05), (0, 1, 2), optimizer=optimizer)
    whole, some = Ensemble(made), Ensemble([with_rate(each, each.lr) for each in made])
    plain = OneByOne([with_rate(each, each.lr) for each in made])
    for runs in (whole, some, plain):
        runs.advance(7)
    first, second = [1, 4, 5, 8], [3, 0]  # seed 0, 1, 1, 2; then seeds 2 and 0, in another order
    for runs in (some, plain):
        runs.keep(first)
    for runs in (whole, some, plain):
        runs.advance(30)
    expected = [loss for loss, _ in whole.losses(first)]
    assert [loss for loss, _ in some.losses(range(4))] == pytest.approx(expected, rel=1e-5)
    for runs in (some, plain):
        runs.keep(second)
    for runs in (whole, some, plain):
        runs.advance(9)
    expected = [loss for loss, _ in whole.losses([8, 1])]
    assert [loss for loss, _ in some.losses([0, 1])] == pytest.approx(expected, rel=1e-5)
    assert [loss for loss, _ in plain.losses([0, 1])] == pytest.approx(expected, rel=1e-4)
    assert [loss for loss, _ in some.losses([1])] == pytest.approx(expected[1:], rel=1e-5)


def padded(weigh):
    """Return a problem whose rows are masked by their first feature, a loss over what is not, and its weight."""

    def data(n, seed):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, 4, generator=generator)
        mask = (torch.rand(n, 1, generator=generator) < 0.5).float()
        mask[0] = 1
        return x, torch.cat([x.sum(1, keepdim=True) + 1, mask], 1)

    def loss(prediction, target):
        mask = target[:, 1:]
        return ((prediction - target[:, :1]).square() * mask).sum() / mask.sum().clamp(min=1)

    weight = (lambda x, y: y[:, 1].sum()) if weigh else None
    return Problem(model=lambda: nn.Linear(4, 1), loss=loss, data=data, n_samples=3000, held_out=0.4, weight=weight)


def test_losses_are_those_of_the_training_module_held_out_and_weighed_rows_included():
    # 3000 rows are three chunks of an evaluation, the last of 952, and 1201 held-out rows two.
    found = {}
    for weigh in (True, False):
        made = trainings(padded(weigh), 64, n=3000, dtype="float64")
        compare(made, steps=4, every=2)
        runs, plain = both(made)
        for (train, held), training in zip(runs.losses(range(4)), plain.trainings, strict=True):
            assert train == pytest.approx(mean_loss(training, training.rows), rel=1e-12)
            assert held == pytest.approx(mean_loss(training, training.heldout), rel=1e-12)
            assert (train, held) == pytest.approx(losses(training), rel=1e-12)
            found[weigh] = train
    assert found[True] != pytest.approx(found[False], rel=1e-6)


def test_parameters_that_are_frozen_stay_where_they_are():
    def model():
        made = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
        made[0].weight.requires_grad_(False)
        return made

    problem = dataclasses.replace(resolve("digits-softmax")[0], model=model)
    made = trainings(problem, 32, dtype="float64", optimizer="adam", rates=(0.001, 0.01))
    compare(made)
    runs = Ensemble(made)
    runs.advance(5)
    for place, training in enumerate(made):
        assert torch.equal(runs._parameters["0.weight"][place], training.model[0].weight)
        assert not torch.equal(runs._parameters["0.bias"][place], training.model[0].bias)
    assert refusal(made[0]) is None


class Tied(nn.Module):
    """One weight used twice, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x):
        return self.second(self.first(x).tanh()).mean(1, keepdim=True) * self.scale


def test_tied_weights_and_buffers_are_vectorised_too():
    problem = dataclasses.replace(models.normalised(), model=Tied)
    compare(trainings(problem, 8, dtype="float64", rates=(0.1, 0.3), n=64))


@pytest.mark.parametrize("name", ["cnn", "transformer"])
def test_convolutions_and_attention_are_vectorised_too(name):
    problem = getattr(models, name)()
    made = trainings(problem, 2, dtype="float64", rates=(1e-3, 1e-2), n=9)
    compare(made, steps=10)


class Branching(nn.Module):
    """Takes another way where a value says so."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8, 1)

    def forward(self, x):
        return self.out(x) * (2 if float(x.detach().sum()) > 0 else 1)


class Long(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 1)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


class Counting(nn.Module):
    """Keeps a number outside of its parameters that changes as it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.calls = nn.Linear(8, 1), 0

    def forward(self, x):
        self.calls += self.training
        return self.out(x) * self.calls


NOT_VECTORISED = {
    "BatchNorm": (models.normalised(), "vectorised it is another computation: loss"),
    "dropout": (models.dropped(), "it draws random numbers"),
    "an LSTM": (models._problem(Long, 5, 4), "torch.func cannot vectorise it"),
    "a branch on values in the model": (models._problem(Branching, 8), "torch.func cannot vectorise it"),
    "a branch on values in the loss": (models.looks_at_values(), "torch.func cannot vectorise it"),
    "state": (models._problem(Counting, 8), "vectorised it is another computation: a gradient"),
}


@pytest.mark.parametrize(("problem", "reason"), NOT_VECTORISED.values(), ids=NOT_VECTORISED)
def test_what_cannot_be_vectorised_says_why_and_is_trained_one_by_one(problem, reason):
    rates, seeds = (0.001, 0.002), (0, 1)
    cases = {seed: Case(problem="linear", n_samples=64, batch_size=8, seed=seed) for seed in seeds}
    made = {seed: prepare(case, problem) for seed, case in cases.items()}
    before = {seed: [part.clone() for part in training.model.state_dict().values()] for seed, training in made.items()}
    plan = SearchPlan(seeds=seeds, rates=rates, targets=(1e-9, 1e-10), most_steps=12, most_s=60.0, fixed=True)
    torch.manual_seed(5)
    found, refused = tuning.search(made, plan)
    assert refused.startswith(reason)
    assert not found.vectorised
    for seed, training in made.items():  # looking and searching leave a training at its start
        assert all(map(torch.equal, before[seed], training.model.state_dict().values()))
    if reason.startswith("it draws"):
        assert len(found.runs) == 4
        return  # of its random numbers nothing more is promised than that they are drawn
    for run in found.runs:
        training = with_rate(made[run.seed], run.lr)
        stream, done = training.stream(), 0
        for step, loss in zip(run.step, run.train_loss, strict=True):
            training.train(itertools.islice(stream, step - done))
            done = step
            assert loss == pytest.approx(losses(training)[0], rel=1e-5)


def test_whether_runs_agree_is_seen_at_any_learning_rate():
    # At so small a rate five updates change no loss by more than rounding; at so large a one there is no loss any more.
    for problem in (models.dropped(), models.normalised(), models._problem(Counting, 8)):
        for lr in (1e-9, 1e30):
            training = with_rate(trainings(problem, 8, n=64)[0], lr)
            assert refusal(training) is not None


def test_an_accumulated_update_is_not_taken_for_its_first_micro_batch():
    (training, *_) = trainings(resolve("linear")[0], 32, micro_batch=8)
    assert refusal(training).startswith("vectorised it is another computation")


def test_runs_that_are_mostly_arithmetic_are_trained_one_by_one_without_being_tried():
    (training, *_) = trainings(resolve("digits-mlp")[0], 200)
    assert refusal(training) == vectorising.NOT_WORTH_IT
    (training, *_) = trainings(resolve("digits-mlp")[0], 8)
    assert refusal(training) is None


@pytest.mark.parametrize(
    ("name", "batch_size", "optimizer", "targets"),
    [
        ("linear", 8, "sgd", (0.5, 0.2, 0.1)),
        ("digits-softmax", 16, "momentum", (1.0, 0.6, 0.4)),
        ("digits-mlp", 32, "adam", (1.5, 0.8, 0.4)),
        ("linear", None, "sgd", (0.5, 0.2, 0.1)),
    ],
)
def test_a_vectorised_search_counts_the_steps_of_the_plain_one_within_one_evaluation(name, batch_size, optimizer, targets):
    problem, seeds = resolve(name)[0], (0, 1, 2)
    centre = problem.lr * target_pass.FROM_SGD[optimizer]
    rates = tuple(centre * factor for factor in (0.5, 1.0, 2.0))
    plan = SearchPlan(seeds=seeds, rates=rates, targets=targets, most_steps=400, most_s=120.0, fixed=True)
    found = []
    for vectorise in (True, False):
        made = {
            s: prepare(Case(problem=name, n_samples=N, batch_size=batch_size, optimizer=optimizer, seed=s), problem)
            for s in seeds
        }
        result, refused = tuning.search(made, plan, vectorise=vectorise)
        assert result.vectorised == vectorise
        assert (refused is None) == vectorise
        found.append(result)
    ours, theirs = found
    assert [(run.lr, run.seed) for run in ours.runs] == [(run.lr, run.seed) for run in theirs.runs]
    reached = 0
    for lr in ours.rates:
        for target in targets:
            for mine, other in zip(tuning.steps_to(ours, lr, target), tuning.steps_to(theirs, lr, target), strict=True):
                assert (mine is None) == (other is None)
                if mine is not None:
                    reached += 1
                    assert abs(mine - other) <= max(1, 0.02 * other)
    assert reached >= 9  # runs that were stopped early reached none
