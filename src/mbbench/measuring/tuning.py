"""Search the learning rate of one batch size, and count the steps that each seed takes to the targets at each rate tried.

Runs are trained together (`ensemble.py`), every rate with the same seeds. A grid is extended by sqrt(2) while its best rate
is at an edge, then refined by 2^(1/4). Easy to get wrong: a target that is chosen by a run has to be one that this run
reaches, at the rate that is best in the end and with 4 of 5 seeds.
"""

import math
import time
from collections.abc import Iterable, Sequence

from mbbench.measuring import ensemble
from mbbench.measuring.courses import Bench, train_all
from mbbench.measuring.ensemble import Ensemble, OneByOne, Runs
from mbbench.measuring.jobs import SearchPlan
from mbbench.measuring.training import Training
from mbbench.measuring.vectorising import refusal
from mbbench.search import REACHED, Run, Search, best_rate, edge, promising_rate, steps_to, typical_steps

GRID, FINE = math.sqrt(2), 2**0.25
APART = 1.5
"""In steps of the reference run, from the target to the easier and to the harder one."""
MOST_EXTENSIONS = 16
"""Rates beyond one edge of the grid: 2^8 times, further off than any rule of thumb."""


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
    refused = refusal(trainings[plan.seeds[0]]) if vectorise else "as asked for"
    bench = Bench(trainings, plan.most_steps, began + plan.most_s, plan.targets, refused is None)
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


def _refer(bench: Bench, rates: Sequence[float], plan: SearchPlan) -> None:
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


def _extend(bench: Bench, beyond: float = 1.0) -> None:
    """Try rates beyond an edge of the grid for as long as the best, or where none reaches the most promising, lies there."""
    for _ in range(MOST_EXTENSIONS):
        found = bench.search()
        lr = promising_rate(found)
        side = edge(found, lr)
        if side is None or time.monotonic() > bench.until or never_finite(found) or there_at_once(found):
            return
        _follow(bench, [lr * FINE, lr * GRID] if side == "high" else [lr / FINE, lr / GRID], beyond)


def _refine(bench: Bench) -> None:
    """Try the rates a fourth root of 2 beside the best."""
    found = bench.search()
    best = best_rate(found)
    assert best is not None
    fine = [lr for lr in (best / FINE, best * FINE) if all(abs(math.log(lr / other)) > 0.05 for other in found.rates)]
    _follow(bench, fine)


def _follow(bench: Bench, rates: Sequence[float], beyond: float = 1.0) -> None:
    """Train runs at these rates with every seed and add them to what was found.

    Args:
        bench: see there.
        rates: none that was tried.
        beyond: go on to so many times the steps of the lowest target.
    """
    members = [(lr, seed) for seed in bench.trainings for lr in rates]
    over = bool(bench.runs) and time.monotonic() > bench.until  # runs that would end where they begin tell nothing
    if over or not members:
        return
    made = [ensemble.with_rate(bench.trainings[seed], lr) for lr, seed in members]
    runs: Runs = Ensemble(made) if bench.vectorised else OneByOne(made)
    bench.runs += train_all(bench, runs, members, beyond)


def never_finite(found: Search) -> bool:
    """Return whether some seed's loss is not finite before its first update; each seed has rows of its own."""
    finite = {run.seed for run in found.runs if run.train_loss[0] is not None}
    return any(run.seed not in finite for run in found.runs)


def there_at_once(found: Search) -> bool:
    """Return whether the target is reached before the first update, with any rate."""
    first = [run.train_loss[0] for run in found.runs]
    return (
        bool(found.targets) and typical_steps([0.0 if at is not None and at <= found.target else None for at in first]) == 0
    )
