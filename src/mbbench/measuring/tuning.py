"""Search the learning rate of one batch size, and count the steps that each seed takes to the targets at each rate tried.

No clock: an update moves a model alike whatever it costs, so runs are trained together (`ensemble.py`). Every rate is tried
with the same seeds. A grid is extended by sqrt(2) while its best rate is at an edge, then refined by 2^(1/4).

Easy to get wrong: where to stop a run must not favour a rate. A run ends early only once another rate, with its own seed,
has reached a target in less than 1 / HOPELESS of the steps that it has made without: it cannot be the best any more. And it
is looked at densely where it may cross a target, at most 2 % of its steps apart; far above all targets 10 % is enough.
"""

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mbbench.case import UsageError
from mbbench.measuring import ensemble
from mbbench.measuring.convergence import divergence
from mbbench.measuring.ensemble import Ensemble, Losses, OneByOne, Runs
from mbbench.measuring.jobs import Job, SearchPlan
from mbbench.measuring.problems import Problem
from mbbench.measuring.training import Training, prepare
from mbbench.measuring.two_batch import noise_point
from mbbench.record import Phase, Status
from mbbench.search import (
    REACHED,
    Ending,
    NoisePoint,
    Run,
    Search,
    best_rate,
    crossing,
    edge,
    promising_rate,
    steps_to,
    typical_steps,
)

FROM_SGD = {"sgd": 1.0, "momentum": 0.1, "adam": 0.02}
"""A first guess from the problem's learning rate, which is plain SGD's: a momentum of 0.9 makes ten steps of one; Adam's
steps are as long as its rate whatever the gradient. A wrong guess costs time only: the grid is extended."""
NOISE_AT = (0.03, 0.1, 0.3, 1.0)
"""Shares of the steps to target, beside the start, where the noise scale is measured."""
GRID, FINE = math.sqrt(2), 2**0.25
HOPELESS = 1.5
"""Times the steps of the best rate so far, with the same seed and to any of the targets, at which a run is stopped."""
DENSE = 1.02
"""From one evaluation to the next, in steps."""
SPARSE, NEAR = 5, 2.0
"""Only each SPARSE-th evaluation is made (10 % apart) of a run whose last SPARSE losses were above NEAR times the next
target it has to reach. Losses swing by more than that at the best rates: by the last loss alone first passages were missed,
and S read 32 % too many (digits-softmax, batch 16); by five, S is that of all evaluations at each of 11 sizes tried."""
APART = 1.5
"""In steps of the reference run, from the target to the easier and to the harder one."""
MOST_EXTENSIONS = 16
"""Rates beyond one edge of the grid: 2^8 times, further off than any rule of thumb."""
FEWER = 0.5
"""Of the runs trained together that go on, from which on the others are dropped: a smaller model is traced anew (70 ms)."""


@dataclass
class _Bench:
    """What a search has at hand, and what it has found so far."""

    trainings: dict[int, Training]
    most_steps: int
    until: float
    targets: tuple[float, ...]
    vectorised: bool
    runs: list[Run] = field(default_factory=list)

    def search(self) -> Search:
        return Search(
            targets=self.targets,
            runs=tuple(sorted(self.runs, key=lambda run: (run.lr, run.seed))),
            vectorised=self.vectorised,
        )


def measure(job: Job, problem: Problem, on_phase: Callable[[Phase], None]) -> dict[str, Any]:
    """Do a target pass and return the fields of a Measurement.

    Status "ok": 4 of 5 seeds reach the target at some rate; "error": the loss is not finite before any update; "diverged":
    no run stayed finite; "budget_exhausted": steps or seconds were over before.
    """
    plan, case = job.search, job.case
    assert plan is not None
    trainings = {seed: prepare(msgspec.structs.replace(case, seed=seed), problem, on_phase) for seed in plan.seeds}
    centre = case.lr or problem.lr * FROM_SGD[case.optimizer]
    rates = plan.rates or tuple(centre * GRID**power for power in range(-4, 5))
    on_phase("train")
    began = time.monotonic()
    found, refused = search(trainings, msgspec.structs.replace(plan, rates=rates))
    lr = best_rate(found)
    if plan.noise and lr is not None:
        found = msgspec.structs.replace(found, noise=_noise(ensemble.with_rate(trainings[plan.seeds[0]], lr), found, lr))
    status, message = _status(found)
    told = [message, f"trained one run at a time: {refused}" if refused and refused != ensemble.NOT_WORTH_IT else None]
    return {
        "status": status,
        "message": "; ".join(filter(None, told)) or None,
        "lr": lr,
        "search": found,
        "measuring_s": time.monotonic() - began,
    }


def _never_finite(found: Search) -> bool:
    return all(run.train_loss[0] is None for run in found.runs)


def _there_at_once(found: Search) -> bool:
    """Return whether the target is reached before the first update, with any rate."""
    first = [run.train_loss[0] for run in found.runs]
    return (
        bool(found.targets) and typical_steps([0.0 if at is not None and at <= found.target else None for at in first]) == 0
    )


def _status(found: Search) -> tuple[Status, str | None]:
    if _there_at_once(found):
        return "ok", f"the target {found.target:g} is reached before the first update: it tells nothing, give a lower one"
    if best_rate(found) is not None:
        return "ok", None
    if _never_finite(found):
        return "error", "the training loss is not finite before the first update: look for NaN in the rows or in the model"
    if all(run.ended == "diverged" for run in found.runs):
        rates = found.rates
        return "diverged", f"every run diverged, at learning rates from {rates[0]:.3g} to {rates[-1]:.3g}"
    lowest = min(loss for run in found.runs for loss in run.train_loss if loss is not None)
    longest = max(run.step[-1] for run in found.runs)
    if not found.targets:
        return "budget_exhausted", f"no target was found within {longest:,} steps: the lowest loss seen is {lowest:.4g}"
    several = len(found.seeds)
    enough = f" by {math.ceil(REACHED * several)} of {several} seeds at one learning rate" if several > 1 else ""
    missed = f"the target {found.target:g} was not reached{enough} within {longest:,} steps"
    return "budget_exhausted", f"{missed}: the lowest loss seen is {lowest:.4g}"


def _noise(training: Training, found: Search, lr: float) -> tuple[NoisePoint, ...]:
    """Return the noise scale at a few points of a run, start to target; none where rows have no gradient of their own."""
    (run, *_) = found.at(lr)
    last = crossing(run.step, run.train_loss, found.target) or run.step[-1]
    steps = sorted({0, *(round(last * share) for share in NOISE_AT)})
    points: list[NoisePoint] = []
    stream, done = training.stream(), 0
    try:
        for step in steps:
            training.train(itertools.islice(stream, step - done))
            done = step
            points.append(noise_point(training, step))
    except (UsageError, RuntimeError):  # rows in files or weighed, BatchNorm: said in noise_scale.py
        return ()
    return tuple(points)


def search(trainings: dict[int, Training], plan: SearchPlan, vectorise: bool = True) -> tuple[Search, str | None]:
    """Try learning rates until the best is inside the grid and refined.

    Args:
        trainings: a seed's training at its start.
        plan: what to do, with rates.
        vectorise: train the runs together where torch.func can and it is worth it.

    Returns:
        All runs, and why they were trained one after the other, None where they were not.
    """
    began = time.monotonic()
    refused = ensemble.refusal(trainings[plan.seeds[0]]) if vectorise else "as asked for"
    bench = _Bench(trainings, plan.most_steps, began + plan.most_s, plan.targets, refused is None)
    rates = sorted(set(plan.rates))
    if len(plan.targets) < 2:
        _refer(bench, rates, plan)
    else:
        _follow(bench, rates)
        if not plan.fixed:
            _extend(bench)
    if not plan.fixed and best_rate(bench.search()) is not None:
        _extend(bench)
        _refine(bench)
        _extend(bench)
    return bench.search(), refused


def _refer(bench: _Bench, rates: Sequence[float], plan: SearchPlan) -> None:
    """Make the reference run, and choose from it the targets that are still missing."""
    if plan.targets:
        _follow(bench, rates, beyond=APART)
        if not plan.fixed:
            _extend(bench, beyond=APART)
    else:
        bench.most_steps = math.ceil(APART * plan.reference_steps)
        _follow(bench, rates)
        # Tuned before the target is chosen: at a rate far too low anybody reaches what it reaches, before the first step.
        if not plan.fixed:
            _extend(bench)
        bench.most_steps = plan.most_steps
    found = bench.search()
    if plan.targets:
        best = best_rate(found, plan.targets[0])
        if best is None:
            return  # never reached: the runs say how near they came
        reached = steps_to(found, best, plan.targets[0])
        main = plan.targets[0]
    else:
        # Of the rates that stayed finite, the one that is lowest after these steps.
        after = {lr: _typical(_lowest_by(run, plan.reference_steps) for run in found.at(lr)) for lr in found.rates}
        best = min(after, key=lambda lr: (after[lr], lr))
        if not math.isfinite(after[best]):
            return
        reached = (float(plan.reference_steps),) * len(found.seeds)
        main = _rounded_up(after[best])

    def after_times(times: float) -> float:
        pairs = zip(found.at(best), reached, strict=True)
        return _rounded_up(_typical(math.inf if steps is None else _lowest_by(run, steps * times) for run, steps in pairs))

    bench.targets = (max(after_times(1 / APART), main), main, min(after_times(APART), main))


def _rounded_up(loss: float) -> float:
    """Return a loss in four digits or a little more, so that who had reached it reaches it still."""
    return float(f"{loss + 5e-4 * abs(loss):.4g}")


def _typical(losses: Iterable[float]) -> float:
    """Return the loss that 4 of 5 seeds are at or below."""
    ordered = sorted(losses)
    return ordered[math.ceil(REACHED * len(ordered)) - 1]


def _lowest_by(run: Run, steps: float) -> float:
    """Return the lowest loss within so many steps, whose first passage `crossing` would find; infinite if it ended before.

    Interpolated in log loss.
    """
    lowest, before = math.inf, (0, math.inf)
    for step, loss in zip(run.step, run.train_loss, strict=True):
        if loss is None:
            return math.inf
        if step >= steps:
            part = (steps - before[0]) / (step - before[0]) if step > before[0] else 1.0
            if 0 < loss < before[1] < math.inf:
                loss = math.exp((1 - part) * math.log(before[1]) + part * math.log(loss))
            return min(lowest, loss)
        lowest, before = min(lowest, loss), (step, loss)
    return math.inf


def _extend(bench: _Bench, beyond: float = 1.0) -> None:
    """Try rates beyond an edge of the grid for as long as the best, or where none reaches the most promising, lies there."""
    for _ in range(MOST_EXTENSIONS):
        found = bench.search()
        lr = promising_rate(found)
        side = edge(found, lr)
        if side is None or time.monotonic() > bench.until or _never_finite(found) or _there_at_once(found):
            return
        _follow(bench, [lr * FINE, lr * GRID] if side == "high" else [lr / FINE, lr / GRID], beyond)


def _refine(bench: _Bench) -> None:
    """Try the rates a fourth root of 2 beside the best."""
    found = bench.search()
    best = best_rate(found)
    assert best is not None
    fine = [lr for lr in (best / FINE, best * FINE) if all(abs(math.log(lr / other)) > 0.05 for other in found.rates)]
    _follow(bench, fine)


def _follow(bench: _Bench, rates: Sequence[float], beyond: float = 1.0) -> None:
    """Train runs at these rates with every seed and add them to what was found.

    Args:
        bench: see there.
        rates: none that was tried.
        beyond: go on to so many times the steps of the lowest target.
    """
    members = [(lr, seed) for seed in bench.trainings for lr in rates]
    if not members:
        return
    made = [ensemble.with_rate(bench.trainings[seed], lr) for lr, seed in members]
    runs: Runs = Ensemble(made) if bench.vectorised else OneByOne(made)
    bench.runs += _train(bench, runs, members, beyond)


@dataclass
class _Course:
    """The losses of a run as it goes."""

    lr: float
    seed: int
    step: list[int] = field(default_factory=list)
    losses: list[Losses] = field(default_factory=list)
    crossed: dict[float, float] = field(default_factory=dict)
    due: int = 0  # number of the evaluation, see `evaluation`
    ended: Ending | None = None

    def look(self, step: int, losses: Losses, targets: Sequence[float]) -> None:
        """Add an evaluation and the targets that it crossed, and choose when to look again."""
        self.step.append(step)
        self.losses.append(losses)
        for target in targets:
            if target not in self.crossed and losses[0] <= target:
                self.crossed[target] = crossing(self.step[-2:], [loss[0] for loss in self.losses[-2:]], target) or 0.0
        awaited = next((target for target in targets if target not in self.crossed), None)
        # Without a target that can be told from afar, all of the curve is needed.
        recent = min(loss[0] for loss in self.losses[-SPARSE:])
        far = awaited is not None and awaited > 0 and recent > NEAR * awaited
        self.due += SPARSE - self.due % SPARSE if far else 1

    def run(self) -> Run:
        held = [_rounded(loss[1]) for loss in self.losses]
        return Run(
            lr=self.lr,
            seed=self.seed,
            ended=self.ended or "budget",
            step=tuple(self.step),
            train_loss=tuple(_rounded(loss[0]) for loss in self.losses),
            heldout_loss=() if all(loss is None for loss in held) else tuple(held),
        )


def _train(bench: _Bench, runs: Runs, members: Sequence[tuple[float, int]], beyond: float) -> list[Run]:
    """Train runs until each has ended, see `Ending`."""
    courses = [_Course(lr, seed) for lr, seed in members]
    inside = list(courses)  # what is trained, a few that have ended included
    number, step, best = 0, 0, _fastest(bench)
    while True:
        last = step >= bench.most_steps
        due = [place for place, course in enumerate(inside) if course.ended is None and (last or course.due <= number)]
        for place, losses in zip(due, runs.losses(due), strict=True):
            inside[place].look(step, losses, bench.targets)
        for course in inside:
            for target, steps in course.crossed.items():
                best[course.seed, target] = min(best.get((course.seed, target), math.inf), steps)
        for place in due:
            inside[place].ended = _ending(inside[place], step, bench.targets, best, beyond)
        alive = [place for place, course in enumerate(inside) if course.ended is None]
        if not alive or last or time.monotonic() > bench.until:
            return [course.run() for course in courses]
        if len(alive) <= FEWER * len(inside) or not bench.vectorised:
            runs.keep(alive)
            inside = [inside[place] for place in alive]
        number = min(course.due for course in inside if course.ended is None)
        after = min(bench.most_steps, evaluation(number))
        runs.advance(after - step)
        step = after


@functools.cache
def evaluation(number: int) -> int:
    """Return the step of an evaluation: at most 2 % after the one before, or the next."""
    if number == 0:
        return 0
    before = evaluation(number - 1)
    return max(before + 1, math.floor(before * DENSE))


def _ending(
    course: _Course, step: int, targets: Sequence[float], best: dict[tuple[int, float], float], beyond: float
) -> Ending | None:
    if divergence([loss[0] for loss in course.losses]):
        return "diverged"
    if targets and all(target in course.crossed for target in targets) and step >= beyond * course.crossed[targets[-1]]:
        return "reached"
    for target in targets:
        fastest = best.get((course.seed, target), math.inf)
        if target not in course.crossed and step > HOPELESS * max(fastest, 1.0):
            return "slower"
    return None


def _fastest(bench: _Bench) -> dict[tuple[int, float], float]:
    """Return the fewest steps to each target that were found, by seed and target."""
    best: dict[tuple[int, float], float] = {}
    for run in bench.runs:
        for target in bench.targets:
            crossed = crossing(run.step, run.train_loss, target)
            if crossed is not None:
                best[run.seed, target] = min(best.get((run.seed, target), math.inf), crossed)
    return best


def _rounded(loss: float | None) -> float | None:
    return float(f"{loss:.6g}") if loss is not None and math.isfinite(loss) else None
