"""Fit seconds a step and steps to target over the batch size, and find the batch size where their product is least.

Two curves: t(B) = a + b B seconds a step (a fixed cost, and a cost a sample), and S(B) = Smin (1 + Bc / B) steps to target
(McCandlish et al. 2018, arXiv 1812.06162, section 2.3: from Bc samples on, more samples a step no longer save steps).
Easy to get wrong: the minimum of a noisy table is no estimate of the best batch size, since it is the one with the
luckiest noise: of planted tables it missed the true best by more than 2 % in 3 of 10, the minimum of the curves in none.
But only as long as the curves hold: see `misfits.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST_SIZES = 3
"""Distinct batch sizes for a fit: two parameters and something left to doubt them by."""
REACH = 7.0
"""Bc is looked for from e^-7 of the smallest to e^7 (1100 times) of the largest batch size; steps that fall as 1 / B
throughout do not tell how far above the largest it is, and steps that do not fall at all make it 0."""
GRID = 80
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class StepTime:
    """Seconds a step, t(B) = a + b B.

    Attributes:
        overhead_s: a, what a step costs beside its samples.
        sample_s: b, what a sample costs.
        residuals: measured / fitted - 1, in the order of the batch sizes given.
    """

    overhead_s: float
    sample_s: float
    residuals: tuple[float, ...] = ()

    def at(self, batch_size: float) -> float:
        """Return the seconds of a step."""
        return self.overhead_s + self.sample_s * batch_size


@dataclass(frozen=True)
class StepCurve:
    """Steps to target, S(B) = Smin (1 + Bc / B).

    Attributes:
        least_steps: Smin, what no batch size goes below.
        critical_batch_size: Bc, where twice that is needed.
        residuals: measured / fitted - 1, in the order of the batch sizes given.
    """

    least_steps: float
    critical_batch_size: float
    residuals: tuple[float, ...] = ()

    def at(self, batch_size: float) -> float:
        """Return the steps to target."""
        return self.least_steps * (1 + self.critical_batch_size / batch_size)


@dataclass(frozen=True)
class Optimum:
    """Where time to target is least.

    Attributes:
        batch_size: B*, clipped to what is possible; not rounded.
        seconds: to target, there.
        unclipped: B* before clipping; infinite where a sample costs nothing.
    """

    batch_size: float
    seconds: float
    unclipped: float


def fit_step_time(batch_sizes: Sequence[float] | Array, step_s: Sequence[float] | Array) -> StepTime:
    """Fit t(B) = a + b B by least squares of relative errors, a and b not below 0.

    Args:
        batch_sizes: at least 3, distinct, any order.
        step_s: seconds a step at each.

    Raises:
        ValueError: too few sizes, or something that is not a finite number above 0.
    """
    sizes, values = _checked(batch_sizes, step_s, "step_s")
    overhead, sample = line(np.ones((1, len(sizes))), sizes, values[None])
    fitted = StepTime(float(overhead[0]), float(sample[0]))
    return StepTime(fitted.overhead_s, fitted.sample_s, _residuals(sizes, values, fitted))


def fit_steps(batch_sizes: Sequence[float] | Array, steps: Sequence[float] | Array) -> StepCurve:
    """Fit S(B) = Smin (1 + Bc / B) by least squares on log S.

    Args:
        batch_sizes: at least 3, distinct, any order.
        steps: to target at each; of several seeds their geometric mean or median.

    Raises:
        ValueError: too few sizes, or something that is not a finite number above 0.
    """
    sizes, values = _checked(batch_sizes, steps, "steps")
    least, critical = curve(np.ones((1, len(sizes))), sizes, np.log(values)[None])
    fitted = StepCurve(float(least[0]), float(critical[0]))
    return StepCurve(fitted.least_steps, fitted.critical_batch_size, _residuals(sizes, values, fitted))


def optimum(step_time: StepTime, steps: StepCurve, most: float) -> Optimum:
    """Return where t(B) S(B) is least among batch sizes from 1 to `most`, the smaller of the rows and what memory holds.

    B* = sqrt(a Bc / b) and T* = Smin (sqrt(a) + sqrt(b Bc))^2, the latter only where nothing is clipped. Where a sample
    costs nothing `most` is best, where a step costs nothing beside its samples 1 is.
    """
    if not most >= 1:
        raise ValueError(f"most is {most}: expected the largest batch size there can be, 1 or more")
    best = best_batch_size(step_time.overhead_s, step_time.sample_s, steps.critical_batch_size)
    clipped = min(max(best, 1.0), float(most))
    return Optimum(clipped, time_to_target(step_time, steps, clipped), best)


def time_to_target(step_time: StepTime, steps: StepCurve, batch_size: float) -> float:
    """Return the fitted seconds to target at a batch size."""
    return step_time.at(batch_size) * steps.at(batch_size)


def cost_of(batch_size: float, step_time: StepTime, steps: StepCurve, most: float) -> float:
    """Return how much longer than the best batch size this one takes, as a part: 0 at the best, 0.1 for 10 %."""
    return time_to_target(step_time, steps, batch_size) / optimum(step_time, steps, most).seconds - 1


def most_cost(factor: float) -> float:
    """Return what being off the unclipped best batch size by this factor costs at most: (c + 1/c - 2) / 4."""
    return (factor + 1 / factor - 2) / 4


@overload
def best_batch_size(overhead_s: float, sample_s: float, critical: float) -> float: ...
@overload
def best_batch_size(overhead_s: Array, sample_s: Array, critical: Array) -> Array: ...
def best_batch_size(overhead_s: float | Array, sample_s: float | Array, critical: float | Array) -> float | Array:
    """Return sqrt(a Bc / b), not clipped, of numbers or of arrays of one shape: 0 where a is 0, infinite where b is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.sqrt(np.multiply(overhead_s, critical) / np.asarray(sample_s))
    found = np.where(np.asarray(sample_s) == 0, math.inf, found)
    return float(found) if found.ndim == 0 else found


def line(weights: Array, batch_sizes: Array, step_s: Array) -> tuple[Array, Array]:
    """Return a and b of many weighted fits at once.

    Args:
        weights: of each size in each fit, shape (fits, sizes).
        batch_sizes: shape (sizes,).
        step_s: shape (fits, sizes).
    """
    fixed, each = 1 / step_s, batch_sizes / step_s  # columns of a fit of 1: relative errors
    ff, fe, ee = ((weights * part).sum(1) for part in (fixed * fixed, fixed * each, each * each))
    f1, e1 = (weights * fixed).sum(1), (weights * each).sum(1)
    determinant = ff * ee - fe * fe
    overhead, sample = (f1 * ee - e1 * fe) / determinant, (e1 * ff - f1 * fe) / determinant
    # With two unknowns the best on the border has the one that came out below 0 at 0, and the other fitted alone.
    no_overhead, no_sample = overhead < 0, sample < 0
    overhead, sample = np.where(no_sample, f1 / ff, overhead), np.where(no_overhead, e1 / ee, sample)
    return np.where(no_overhead, 0.0, overhead), np.where(no_sample, 0.0, sample)


def curve(weights: Array, batch_sizes: Array, log_steps: Array) -> tuple[Array, Array]:
    """Return Smin and Bc of many weighted fits at once; shapes as in `line`.

    For a given Bc the best log Smin is a mean, so only log Bc is searched: on a grid, then by golden sections.
    """
    grid = np.linspace(math.log(batch_sizes.min()) - REACH, math.log(batch_sizes.max()) + REACH, GRID)
    total = weights.sum(1)

    def left(position: Array) -> tuple[Array, Array]:
        rest = log_steps - np.log1p(np.exp(position)[:, None] / batch_sizes)
        mean = (weights * rest).sum(1) / total
        return (weights * (rest - mean[:, None]) ** 2).sum(1), mean

    squares = np.stack([left(np.full(len(weights), position))[0] for position in grid])
    at = squares.argmin(0)
    low, high = grid[np.maximum(at - 1, 0)], grid[np.minimum(at + 1, GRID - 1)]
    for _ in range(50):  # 0.35 * 0.618^50 = 1e-11 of log Bc
        width = GOLDEN * (high - low)
        below = left(high - width)[0] <= left(low + width)[0]
        low, high = np.where(below, low, high - width), np.where(below, low + width, high)
    found = (low + high) / 2
    least, critical = left(found)[1], np.exp(found)
    flat = at == 0
    least = np.where(flat, (weights * log_steps).sum(1) / total, least)
    return np.exp(least), np.where(flat, 0.0, critical)


def _checked(batch_sizes: Sequence[float] | Array, values: Sequence[float] | Array, name: str) -> tuple[Array, Array]:
    sizes, found = np.asarray(batch_sizes, dtype=float), np.asarray(values, dtype=float)
    if sizes.shape != found.shape or sizes.ndim != 1:
        raise ValueError(f"got {sizes.size} batch sizes and {found.size} {name}: give one for each")
    if len(set(sizes.tolist())) < max(FEWEST_SIZES, len(sizes)):
        raise ValueError(f"batch sizes are {sizes.tolist()}: a fit needs {FEWEST_SIZES} or more, each once")
    if not all(((part > 0) & np.isfinite(part)).all() for part in (sizes, found)):
        raise ValueError(f"batch sizes and {name} have to be finite numbers above 0")
    return sizes, found


def _residuals(sizes: Array, values: Array, fitted: StepTime | StepCurve) -> tuple[float, ...]:
    return tuple(float(value / fitted.at(float(size)) - 1) for size, value in zip(sizes, values, strict=True))
