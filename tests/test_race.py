"""Races against the clock, by a loss and a clock that are scripted: nothing but training is timed."""

import gc
import itertools
import math

import pytest
import torch
from torch.nn import functional

from mbbench import Problem
from mbbench.case import Budget, Case
from mbbench.measuring import race, tuning
from mbbench.measuring.jobs import SearchPlan
from mbbench.measuring.problems import resolve
from mbbench.measuring.training import losses, prepare
from mbbench.search import crossing


@pytest.fixture(autouse=True)
def collecting():
    """Let the garbage collector go on as it was: a race, which has a process of its own, turns it off."""
    yield
    gc.enable()


LINEAR = resolve("linear")[0]
CASE = Case(problem="linear", n_samples=200, batch_size=8, lr=0.2)


def run(look_from=10, problem=LINEAR, case=CASE, target=0.1, most_steps=1000, phases=None):
    """Return the fields of a race, and how often it began."""
    starts = []

    def make():
        starts.append(1)
        return prepare(case, problem)

    told = [] if phases is None else phases
    return race.run(make, Budget(target_loss=target, max_steps=most_steps), look_from, told.append), len(starts)


def test_a_race_ends_at_its_first_evaluation_at_or_below_the_target():
    phases = []
    fields, starts = run(phases=phases)
    curve = fields["curve"]
    assert (fields["status"], fields["message"], starts) == ("ok", None, 1)
    assert curve.train_loss[-1] <= 0.1 < min(curve.train_loss[:-1])
    assert curve.step[:2] == (0, 10)
    assert all(b == a + 1 or b <= a * race.APART for a, b in itertools.pairwise(curve.step[1:]))
    assert curve.train_s[0] == 0
    assert all(a < b for a, b in itertools.pairwise(curve.train_s))
    assert fields["measuring_s"] == pytest.approx(curve.train_s[-1] + fields["evaluation_s"])
    assert phases == ["warm-up", "train"]
    # What was trained is what the training loop trains.
    training = prepare(CASE, LINEAR)
    stream, done = training.stream(), 0
    for step, loss in zip(curve.step, curve.train_loss, strict=True):
        training.train(itertools.islice(stream, step - done))
        done = step
        assert losses(training)[0] == loss


def test_a_race_that_is_there_at_its_first_look_begins_again_with_half_as_many_steps():
    usual, _ = run()
    last = usual["curve"].step[-1]
    for look_from in (last + 200, 4 * last):
        fields, starts = run(look_from=look_from)
        assert fields["status"] == "ok"
        first = fields["curve"].step[1]
        assert first == look_from // 2 ** (starts - 1)
        assert starts > 1
        assert first < fields["curve"].step[-1] <= max(last + 1, 1.02 * last)
        assert 2 * first >= last * 0.98  # no more often than needed


def test_a_race_that_is_there_after_one_step_ends_at_that():
    fields, starts = run(look_from=8, target=1e6)
    assert (fields["status"], fields["curve"].step, starts) == ("ok", (0, 1), 4)


def test_a_race_that_does_not_get_there_ends_with_its_steps():
    fields, starts = run(target=0.009, most_steps=57)
    assert (fields["status"], starts) == ("budget_exhausted", 1)
    assert fields["message"] == "the target was not reached within 57 steps"
    assert fields["curve"].step[-1] == 57
    # The first look may lie beyond the last step.
    fields, _ = run(look_from=400, target=0.009, most_steps=57)
    assert (fields["status"], fields["curve"].step) == ("budget_exhausted", (0, 57))


def test_a_race_that_diverges_says_so():
    fields, starts = run(case=CASE.on(lr=50.0), look_from=100)
    assert (fields["status"], starts) == ("diverged", 1)
    assert fields["message"] == "the training loss was not finite after 100 steps at lr 50"
    assert fields["curve"].train_loss[-1] is None


def test_a_race_whose_loss_is_not_finite_before_any_update_is_an_error_and_trains_nothing():
    def rows(n, seed):
        return torch.full((n, 32), math.nan), torch.zeros(n, 1)

    problem = Problem(model=LINEAR.model, loss=functional.mse_loss, data=rows, held_out=0.0)
    fields, starts = run(problem=problem)
    assert (fields["status"], starts) == ("error", 1)
    assert fields["message"].startswith("the training loss is not finite before the first update")
    assert (fields["curve"].step, fields["curve"].train_loss) == ((0,), (None,))


class Clock:
    """Tells the seconds that were scripted to pass: 1 ms for each row that is trained on, 1000 s for each evaluation."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(race.time, "perf_counter", lambda: self.now)

    def problem(self):
        def loss(prediction, target):
            self.now += 1e-3 * len(target) if torch.is_grad_enabled() else 1000.0
            return functional.mse_loss(prediction, target)

        return Problem(model=LINEAR.model, loss=loss, data=LINEAR.data, held_out=0.5)


@pytest.mark.parametrize("look_from", [10, 400])
def test_no_evaluation_is_in_the_seconds_of_training(monkeypatch, look_from):
    clock = Clock(monkeypatch)
    fields, _ = run(look_from=look_from, problem=clock.problem())
    curve = fields["curve"]
    assert curve.train_s == pytest.approx([0.008 * step for step in curve.step])  # 200 rows are whole batches of 8
    looks = len(curve.step) - 1  # that before the first step has no clock
    assert fields["evaluation_s"] == pytest.approx(2000.0 * looks)  # training and held-out rows
    assert fields["measuring_s"] == pytest.approx(fields["evaluation_s"] + curve.train_s[-1])


def test_a_race_takes_the_steps_of_the_search_for_the_same_seed():
    seeds = (0, 1, 2)
    made = {seed: prepare(CASE.on(seed=seed), LINEAR) for seed in seeds}
    asked = SearchPlan(seeds=seeds, rates=(0.2,), targets=(0.3, 0.1, 0.06), most_steps=1000, most_s=60.0, fixed=True)
    found, _ = tuning.search(made, asked)
    for known in found.at(0.2):
        expected = crossing(known.step, known.train_loss, 0.1)
        fields, _ = run(look_from=int(0.7 * expected), case=CASE.on(seed=known.seed))
        reached = crossing(fields["curve"].step, fields["curve"].train_loss, 0.1)
        assert reached == pytest.approx(expected, rel=0.03, abs=1)
