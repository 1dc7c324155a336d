"""Searches for a learning rate: found wherever the grid begins, dense where it matters, and what ends without one."""

import dataclasses
import functools
import itertools
import math
import time

import msgspec
import pytest
import torch
from torch import nn

from mbbench.case import Budget, Case
from mbbench.measuring import courses, ensemble, target_pass, tuning
from mbbench.measuring.jobs import Job, Place, SearchPlan
from mbbench.measuring.problems import resolve
from mbbench.measuring.training import losses, prepare
from mbbench.search import best_rate, crossing, edge, steps_to, typical_steps

LINEAR = resolve("linear")[0]
FALLING = (0.3, 0.1, 0.06)


def plan(**fields):
    return SearchPlan(**({"seeds": (0, 1, 2), "targets": FALLING, "most_steps": 1000, "most_s": 120.0} | fields))


def measure(problem=LINEAR, batch_size=8, n=200, case=(), **fields):
    """Return the fields of the measurement of a target pass."""
    cell = Case(problem="linear", n_samples=n, batch_size=batch_size, **dict(case))
    place, budget = Place("linear"), Budget(max_steps=1)
    job = Job(kind="target", case=cell, repeat=0, budget=budget, place=place, search=plan(**fields))
    return target_pass.measure(job, problem, lambda phase: None)


@functools.cache
def tuned():
    """Return the fields of a search from the problem's own learning rate on."""
    return measure()


def steps(search, target=None):
    """Return the typical steps at the best rate."""
    level = search.target if target is None else target
    return typical_steps(steps_to(search, best_rate(search, level), level))


def test_the_best_rate_is_inside_the_grid_wherever_the_grid_began():
    fields = tuned()
    assert (fields["status"], fields["message"], fields["search"].vectorised) == ("ok", None, True)
    assert fields["lr"] == best_rate(fields["search"])
    for rates in [(0.05,), (8.0, 11.3)]:
        found = measure(rates=rates)["search"]
        assert edge(found, best_rate(found)) is None
        assert steps(found) == pytest.approx(steps(fields["search"]), rel=0.1)  # another grid: other rates, nearly as good


def test_the_best_rate_has_neighbours_a_fourth_root_of_two_away():
    found = tuned()["search"]
    best = best_rate(found)
    near = [lr / best for lr in found.rates if 0.8 < lr / best < 1.25]
    assert near == pytest.approx([2**-0.25, 1.0, 2**0.25])
    assert all(a < b for a, b in itertools.pairwise(found.rates))
    assert all(b / a > 1.1 for a, b in itertools.pairwise(found.rates))  # none is tried twice


def test_fixed_rates_are_the_only_ones_tried_and_every_rate_has_every_seed():
    for targets in (FALLING, (0.1,), ()):
        found = measure(rates=(0.05, 0.4), fixed=True, targets=targets, reference_steps=60)["search"]
        assert found.rates == (0.05, 0.4)
        assert [(run.lr, run.seed) for run in found.runs] == list(itertools.product((0.05, 0.4), range(3)))


DIGITS = {"n": 1000, "batch_size": 16, "seeds": (0, 1, 2, 3, 4), "targets": (0.3, 0.2, 0.15)}
SEARCHES = [
    pytest.param("linear", {"rates": (0.1, 0.2, 0.4, 0.5, 0.8, 1.6)}, id="linear"),
    pytest.param("digits-softmax", {**DIGITS, "rates": (1.0, 2.0, 2.8, 4.0)}, id="digits", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("name", "fields"), SEARCHES)
def test_runs_without_hope_are_stopped_and_never_those_of_the_best_rate(monkeypatch, name, fields):
    problem = resolve(name)[0]
    found = measure(problem, fixed=True, **fields)["search"]
    stopped = [run for run in found.runs if run.ended == "slower"]
    assert stopped
    for run in stopped:  # another rate was there, with the same seed, in two thirds of the steps or fewer
        missed = [level for level in found.targets if crossing(run.step, run.train_loss, level) is None]
        rivals = [other for other in found.runs if other.seed == run.seed]
        there = [crossing(other.step, other.train_loss, level) for level in missed for other in rivals]
        assert run.step[-1] > courses.HOPELESS * min(steps for steps in there if steps is not None)
    monkeypatch.setattr(courses, "HOPELESS", 1e9)
    patient = measure(problem, fixed=True, **fields)["search"]
    assert not [run for run in patient.runs if run.ended == "slower"]
    assert best_rate(found) == best_rate(patient)
    for target in found.targets:
        assert steps(found, target) == steps(patient, target)


@pytest.mark.parametrize(("name", "fields"), SEARCHES)
def test_runs_are_looked_at_closely_where_they_cross(monkeypatch, name, fields):
    problem = resolve(name)[0]
    found = measure(problem, fixed=True, **fields)["search"]
    crossings = wide = looks = 0
    for run, target in itertools.product(found.runs, found.targets):
        looks += len(run.step)
        at = next((place for place, loss in enumerate(run.train_loss) if loss is not None and loss <= target), None)
        if at:
            crossings += 1
            wide += run.step[at] > max(run.step[at - 1] + 1, 1.02 * run.step[at - 1])
    assert crossings > 20
    assert wide <= 0.1 * crossings
    monkeypatch.setattr(courses, "SPARSE", 1)  # looked at closely all along
    close = measure(problem, fixed=True, **fields)["search"]
    assert sum(len(run.step) * len(found.targets) for run in close.runs) > looks
    assert best_rate(close) == best_rate(found)
    for target in found.targets:
        assert steps(found, target) == pytest.approx(steps(close, target), rel=0.02, abs=1)


def test_evaluations_are_each_step_at_first_and_then_two_percent_apart():
    at = [courses.evaluation(number) for number in range(400)]
    assert at[:51] == list(range(51))
    assert all(b == a + 1 or b / a <= 1.02 for a, b in itertools.pairwise(at[1:]))
    assert at[-1] > 20_000


def test_losses_in_a_search_are_those_of_the_training_loop():
    (run, *_) = measure(rates=(0.2,), fixed=True, seeds=(3,))["search"].runs
    training = prepare(Case(problem="linear", n_samples=200, batch_size=8, seed=3, lr=0.2), LINEAR)
    stream, done = training.stream(), 0
    for step, loss in zip(run.step, run.train_loss, strict=True):
        training.train(itertools.islice(stream, step - done))
        done = step
        assert loss == pytest.approx(losses(training)[0], rel=1e-4)


def test_held_out_losses_are_told_at_the_same_steps():
    run = measure(resolve("digits-softmax")[0], 16, targets=(0.6, 0.4, 0.3), seeds=(0,))["search"].runs[0]
    assert len(run.heldout_loss) == len(run.train_loss) == len(run.step)
    assert None not in run.heldout_loss
    assert measure(seeds=(0,))["search"].runs[0].heldout_loss == ()  # linear holds none out


@pytest.mark.parametrize("targets", [(), (0.1,)], ids=["found", "given"])
@pytest.mark.parametrize(
    ("name", "batch_size", "seeds"),
    [
        ("linear", 8, range(5)),
        pytest.param("digits-softmax", 16, range(3), marks=pytest.mark.long),
        ("linear", 8, range(1)),
    ],
)
def test_the_reference_run_has_three_falling_targets_that_four_of_five_seeds_reach(name, batch_size, seeds, targets):
    targets = targets and (0.1,) if name == "linear" else targets and (0.25,)
    found = measure(resolve(name)[0], batch_size, targets=targets, seeds=tuple(seeds), reference_steps=100)["search"]
    easy, main, hard = found.targets
    assert easy > main > hard
    counts = [steps(found, target) for target in found.targets]  # None where fewer than 4 of 5 seeds reach it
    assert counts[0] < counts[1] < counts[2]
    if targets:
        assert main == targets[0]
    else:
        assert counts[1] <= 101  # tuned further, never later than as the target was chosen
        assert all(float(f"{target:.4g}") == target for target in found.targets)
    assert counts[2] / counts[1] < 2  # half as many steps again, at the rate that chose it


@pytest.mark.long
def test_the_target_is_what_a_tuned_rate_reaches_wherever_the_grid_began():
    fields = {"targets": (), "reference_steps": 60, "seeds": (0, 1, 2)}
    expected = measure(**fields)["search"].target
    for rates in [(0.02, 0.028), (8.0, 11.3)]:
        assert measure(**fields, rates=rates)["search"].target == pytest.approx(expected, rel=0.25)


AT_ONE = "seeds at one learning rate "


@pytest.mark.parametrize(("seeds", "words"), [(5, f"by 4 of 5 {AT_ONE}"), (3, f"by 3 of 3 {AT_ONE}"), (1, "")])
def test_a_target_below_what_can_be_reached_says_so_with_the_lowest_loss_seen(seeds, words):
    for targets in [(0.009,), (0.1, 0.009, 0.008)]:  # least squares leaves 0.01
        fields = measure(targets=targets, seeds=tuple(range(seeds)), most_steps=300, noise=True)
        assert fields["status"] == "budget_exhausted"
        assert fields["lr"] is None
        lowest = min(loss for run in fields["search"].runs for loss in run.train_loss if loss is not None)
        assert (
            fields["message"]
            == f"the target 0.009 was not reached {words}within 300 steps: the lowest loss seen is {lowest:.4g}"
        )
        assert 0.01 < lowest < 0.02
        assert not fields["search"].noise
        assert any(run.step[-1] == 300 for run in fields["search"].runs)


def nan_rows(n, seed):
    x = torch.randn(n, 32)
    x[-1, 0] = math.nan
    return x, torch.zeros(n, 1)


@pytest.mark.parametrize("targets", [(), (0.1,), FALLING])
def test_rows_with_nan_are_an_error_at_once(targets):
    fields = measure(dataclasses.replace(LINEAR, data=nan_rows), targets=targets, reference_steps=50)
    assert (fields["status"], fields["lr"]) == ("error", None)
    assert fields["message"].startswith("the training loss is not finite before the first update: look for NaN")
    assert len(fields["search"].rates) == 7  # no other rate would help
    assert {run.step for run in fields["search"].runs} == {(0,)}


@pytest.mark.parametrize("targets", [(), (0.1,), FALLING])
def test_where_every_rate_diverges_the_search_goes_down_and_says_which_were_tried(targets):
    fields = measure(targets=targets, reference_steps=50, rates=(1e6, 2e6), seeds=(0, 1))
    assert (fields["status"], fields["lr"]) == ("diverged", None)
    rates = fields["search"].rates
    assert rates[0] == pytest.approx(1e6 / 2 ** (tuning.MOST_EXTENSIONS / 2))
    assert fields["message"] == f"every run diverged, at learning rates from {rates[0]:.3g} to 2e+06"
    assert {run.ended for run in fields["search"].runs} == {"diverged"}


@pytest.mark.parametrize("targets", [(), (0.1,), FALLING])
def test_where_the_first_rates_diverge_a_search_comes_down_to_those_that_do_not(targets):
    fields = measure(targets=targets, reference_steps=100, rates=(40.0, 56.0), seeds=(0, 1))
    assert fields["status"] == "ok"
    assert edge(fields["search"], fields["lr"]) is None


def test_a_target_that_is_met_before_the_first_update_is_said_to_tell_nothing():
    fields = measure(targets=(1e4,))
    assert fields["status"] == "ok"
    assert fields["message"] == "the target 10000 is reached before the first update: it tells nothing, give a lower one"
    assert len(fields["search"].rates) <= 12


def test_a_search_of_one_seed_finds_a_rate_too():
    found = measure(seeds=(7,))
    assert (found["status"], found["search"].seeds) == ("ok", (7,))
    assert edge(found["search"], found["lr"]) is None


@pytest.mark.parametrize("vectorise", [True, False])
def test_a_search_ends_with_its_seconds_and_keeps_what_it_saw(monkeypatch, vectorise):
    now = itertools.count(0.0, 0.5)  # each look at the clock is half a second later
    monkeypatch.setattr(tuning.time, "monotonic", lambda: next(now))
    made = {seed: prepare(Case(problem="linear", n_samples=200, batch_size=8, seed=seed), LINEAR) for seed in (0, 1)}
    asked = plan(seeds=(0, 1), rates=(0.01, 0.02), targets=(1e-5, 1e-6), most_s=10.0, most_steps=100_000)
    found, _ = tuning.search(made, asked, vectorise=vectorise)
    assert next(now) < 13
    assert all(run.ended == "budget" for run in found.runs)
    assert all(run.train_loss[0] is not None for run in found.runs)
    assert max(run.step[-1] for run in found.runs) > 5


@pytest.mark.long
def test_a_search_is_the_same_every_time():
    assert measure()["search"] == tuned()["search"]


def test_one_seed_takes_the_same_steps_alone_as_among_others():
    several, alone = (measure(rates=(0.2,), fixed=True, seeds=seeds)["search"] for seeds in ((0, 1, 2), (1,)))
    (run,), (other,) = alone.runs, [run for run in several.runs if run.seed == 1]
    assert crossing(run.step, run.train_loss, 0.1) == pytest.approx(crossing(other.step, other.train_loss, 0.1), abs=1)


@pytest.mark.parametrize("optimizer", ["momentum", pytest.param("adam", marks=pytest.mark.long)])
def test_the_first_guess_of_another_optimizer_is_extended_like_any(optimizer):
    fields = measure(case={"optimizer": optimizer}.items())
    assert fields["status"] == "ok"
    assert edge(fields["search"], fields["lr"]) is None


def test_a_rate_that_a_case_names_is_the_centre_of_its_first_grid():
    found = measure(case={"lr": 0.3}.items(), seeds=(0,))["search"]
    assert any(lr == pytest.approx(0.3) for lr in found.rates)


def test_the_noise_scale_is_measured_from_the_start_to_the_target():
    found = measure(noise=True, targets=(0.1,), n=100, seeds=(0, 1, 2))["search"]
    last = crossing(found.at(best_rate(found))[0].step, found.at(best_rate(found))[0].train_loss, found.target)
    assert [point.step for point in found.noise] == sorted({0, *(round(last * share) for share in target_pass.NOISE_AT)})
    assert found.noise[0].train_loss == pytest.approx(found.at(best_rate(found))[0].train_loss[0], rel=1e-4)
    assert found.noise[-1].train_loss == pytest.approx(found.target, rel=0.3)
    training = prepare(Case(problem="linear", n_samples=100, batch_size=8), LINEAR)
    at_start = target_pass.noise_point(training, 0)
    assert at_start == found.noise[0]


def test_no_noise_scale_is_told_where_a_row_has_no_gradient_of_its_own():
    problem = dataclasses.replace(
        LINEAR, model=lambda: nn.Sequential(nn.Linear(32, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), data=LINEAR.data
    )
    fields = measure(problem, noise=True, targets=(0.8,), seeds=(0,), rates=(0.05, 0.1), n=64)
    assert fields["search"].noise == ()
    assert fields["status"] == "ok"
    assert fields["message"].startswith("trained one run at a time: vectorised it is another computation")


def test_runs_that_are_arithmetic_more_than_overhead_are_not_told_of():
    fields = measure(resolve("digits-mlp")[0], None, n=300, targets=(1.8, 1.5, 1.2), seeds=(0,), rates=(0.5, 0.7))
    assert not fields["search"].vectorised
    assert fields["message"] is None


def test_looking_for_a_rate_leaves_the_trainings_at_their_start():
    made = {0: prepare(Case(problem="linear", n_samples=200, batch_size=8), LINEAR)}
    before = losses(made[0])
    first, _ = tuning.search(made, plan(seeds=(0,), rates=(0.1, 0.2)))
    assert losses(made[0]) == before
    assert tuning.search(made, plan(seeds=(0,), rates=(0.1, 0.2)))[0] == first
    assert ensemble.with_rate(made[0], 0.3).lr == 0.3


def test_the_targets_of_a_loss_below_zero_fall_too():
    # A log-likelihood of a density: what is left of 4 times the squared error, and 10 less.
    problem = dataclasses.replace(LINEAR, loss=lambda prediction, target: (prediction - target).square().mean() * 4 - 10)
    for targets in [(), (-9.0,)]:
        found = measure(problem, targets=targets, reference_steps=60)["search"]
        assert found.targets[0] > found.targets[1] > found.targets[2]
        assert steps(found, found.targets[2]) is not None
        assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_no_search_takes_the_clock_for_anything_but_its_end(monkeypatch):
    quick = measure(seeds=(0,))["search"]
    now = itertools.count(0.0, 1e-9)
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    assert measure(seeds=(0,))["search"] == quick
