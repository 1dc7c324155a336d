"""Put intervals around fitted curves: resample batch sizes, and at each its seeds and repeats, and fit again.

Easy to get wrong: which sizes were tried is part of the luck too, as no curve holds exactly, so seeds alone give intervals
that are too narrow. A resample keeps at least three distinct sizes, or there is nothing to fit. Both resamplings count the
seeds' noise twice, on the safe side: of 300 planted sweeps of 5 seeds the 95 % interval of Bc covered it in 300 at 13 sizes
(1.7 times as wide as it need be), in 293 at 4 sizes, and in 269 at 3, which all stay in every resample.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mbbench.reporting.fits import FEWEST_SIZES, Array, best_batch_size, curve, line
from mbbench.reporting.stats import CONFIDENCE, FEWEST, Estimate
from mbbench.reporting.tried import TriedSize, typical

REPLICATES = 1000


@dataclass(frozen=True)
class Replicates:
    """The curves' parameters in every resample, all of one shape; see `StepTime` and `StepCurve`.

    Attributes:
        overhead_s: a.
        sample_s: b.
        least_steps: Smin.
        critical_batch_size: Bc.
        seeds: fewest seeds that any size had.
    """

    overhead_s: Array
    sample_s: Array
    least_steps: Array
    critical_batch_size: Array
    seeds: int

    def seconds(self, batch_size: float | Array) -> Array:
        """Return the time to target at a batch size, or at one for each resample."""
        steps = self.least_steps * (1 + self.critical_batch_size / batch_size)
        return (self.overhead_s + self.sample_s * batch_size) * steps

    def best(self, most: float) -> Array:
        """Return the best batch size of each resample, from 1 to `most`."""
        return np.clip(best_batch_size(self.overhead_s, self.sample_s, self.critical_batch_size), 1.0, most)


def resample(sizes: Sequence[TriedSize], seed: int = 0, replicates: int = REPLICATES) -> Replicates | None:
    """Return the curves of `replicates` resamples; None where a size has fewer than three seeds, which tell no spread.

    Args:
        sizes: three or more that reached the target, in rising order.
        seed: of the resampling.
        replicates: how many; the ends of a 95 % interval are the 25th from either end of 1000.
    """
    seeds = min(len(size.steps) for size in sizes)
    if seeds < FEWEST:
        return None
    generator = np.random.default_rng(seed)
    weights = _draw_sizes(generator, len(sizes), replicates)
    log_steps = np.stack([_draw(generator, size.steps, replicates) for size in sizes], axis=1)
    step_s = np.exp(np.stack([_draw(generator, size.step_s, replicates) for size in sizes], axis=1))
    # Half of the drawn seeds may not have reached the target where one in five did not: then the size counts for nothing.
    weights = np.where(np.isfinite(log_steps), weights, 0.0)
    enough = (weights > 0).sum(1) >= FEWEST_SIZES
    weights, log_steps, step_s = weights[enough], np.where(np.isfinite(log_steps), log_steps, 0.0)[enough], step_s[enough]
    batch_sizes = np.array([size.batch_size for size in sizes], dtype=float)
    return Replicates(*line(weights, batch_sizes, step_s), *curve(weights, batch_sizes, log_steps), seeds)


def interval(value: float, replicates: Array, n: int, unit: str, confidence: float = CONFIDENCE) -> Estimate:
    """Return the percentile interval, widened to hold the value."""
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    ends = min(value, float(low)), max(value, float(high))
    return Estimate(value=value, low=ends[0], high=ends[1], n=n, unit=unit, confidence=confidence)


def _draw_sizes(generator: np.random.Generator, sizes: int, replicates: int) -> Array:
    """Return how often each size was drawn, shape (replicates, sizes), three distinct ones or more in each."""
    kept = np.zeros((0, sizes))
    while len(kept) < replicates:
        drawn = generator.multinomial(sizes, np.full(sizes, 1 / sizes), size=replicates).astype(float)
        kept = np.concatenate([kept, drawn[(drawn > 0).sum(1) >= FEWEST_SIZES]])
    return kept[:replicates]


def _draw(generator: np.random.Generator, values: Sequence[float], replicates: int) -> Array:
    """Return the log of the typical value of resampled values, shape (replicates,).

    Resampled means of n values vary by (n - 1) / n of what means of new ones would; the deviations are drawn out by that.
    """
    logs, n = np.log(values), len(values)
    drawn = typical(logs[generator.integers(0, n, (replicates, n))])
    return drawn if n == 1 else typical(logs) + math.sqrt(n / (n - 1)) * (drawn - typical(logs))
