"""Both curves over the batch size, fitted to what was tried: parameters, intervals, the best batch size and the doubts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mbbench.reporting.fits import Array, Optimum, StepCurve, StepTime, fit_step_time, fit_steps, optimum
from mbbench.reporting.misfits import Misfit, misfits, remote
from mbbench.reporting.resampling import Replicates, interval
from mbbench.reporting.stats import Estimate
from mbbench.reporting.tried import TriedSize


@dataclass(frozen=True)
class Curves:
    """The two fitted curves, where their product is least, and how sure all that is.

    Attributes:
        step_time: seconds a step.
        steps: steps to target.
        best: where time to target is least.
        least_steps: Smin with its interval.
        critical_batch_size: Bc with its interval.
        best_batch_size: B*, clipped, with its interval.
        best_seconds: time to target there, with its interval.
        misfits: what is wrong with the curves.
        holds: whether they may choose: nothing is wrong with them, or only far from the best.
    """

    step_time: StepTime
    steps: StepCurve
    best: Optimum
    least_steps: Estimate
    critical_batch_size: Estimate
    best_batch_size: Estimate
    best_seconds: Estimate
    misfits: frozenset[Misfit]
    holds: bool


def fit_curves(sizes: Sequence[TriedSize], n_samples: int, most: int, resampled: Replicates | None) -> Curves:
    """Fit both curves to sizes that reached the target, given in rising order, and doubt them."""
    batch_sizes = [size.batch_size for size in sizes]
    step_time = fit_step_time(batch_sizes, [math.exp(size.log_step_s) for size in sizes])
    steps = fit_steps(batch_sizes, [math.exp(size.log_steps) for size in sizes])
    best = optimum(step_time, steps, most)
    seeds = min(len(size.steps) for size in sizes)

    def estimate(value: float, unit: str, drawn: Callable[[Replicates], Array]) -> Estimate:
        if resampled is None:
            return Estimate(value=value, low=None, high=None, n=seeds, unit=unit)
        return interval(value, drawn(resampled), seeds, unit)

    wrong = misfits(sizes, step_time, steps, best, n_samples)
    return Curves(
        step_time=step_time,
        steps=steps,
        best=best,
        least_steps=estimate(steps.least_steps, "steps", lambda drawn: drawn.least_steps),
        critical_batch_size=estimate(steps.critical_batch_size, "samples", lambda drawn: drawn.critical_batch_size),
        best_batch_size=estimate(best.batch_size, "samples", lambda drawn: drawn.best(most)),
        best_seconds=estimate(best.seconds, "s", lambda drawn: drawn.seconds(drawn.best(most))),
        misfits=frozenset(wrong),
        holds=not wrong - remote(sizes, step_time, steps, best),
    )
