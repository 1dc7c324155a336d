"""Times to target as measured, seconds a step times steps, with the noise of both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from mbbench.reporting.stats import CONFIDENCE, FEWEST, Estimate
from mbbench.reporting.tried import TriedSize, spread


@dataclass(frozen=True)
class TargetTime:
    """A time to target on the log scale, with its standard error (None: not known) and what that rests on."""

    log: float
    error: float | None
    freedom: float
    seeds: int


def measured_times(every: Sequence[TriedSize]) -> dict[int, TargetTime]:
    """Return the measured times to target of the sizes that reached it; the spread is pooled over all of them."""
    reached = [size for size in every if size.reached]
    seed_spread, freedom = spread([size.steps for size in reached])
    repeat_spread = spread([size.step_s for size in reached])[0] or 0.0
    found = {}
    for size in reached:
        error = None
        if seed_spread is not None and len(size.steps) >= FEWEST:
            error = math.hypot(seed_spread / math.sqrt(len(size.steps)), repeat_spread / math.sqrt(len(size.step_s)))
        found[size.batch_size] = TargetTime(math.log(size.seconds), error, freedom, len(size.steps))
    return found


def seconds_of(time: TargetTime) -> Estimate:
    """Return the time in seconds, with its t interval where its error is known."""
    return _estimate(time.log, time.error, time.freedom, time.seeds, "s")


def multiple(time: TargetTime | None, of: TargetTime | None) -> Estimate | None:
    """Return how many times as long `time` takes as `of`; None where there is none."""
    if time is None or of is None:
        return None
    if time is of:
        return Estimate(value=1.0, low=None, high=None, n=time.seeds, unit="ratio")
    error = None if time.error is None or of.error is None else math.hypot(time.error, of.error)
    return _estimate(time.log - of.log, error, min(time.freedom, of.freedom), min(time.seeds, of.seeds), "ratio")


def _estimate(log: float, error: float | None, freedom: float, n: int, unit: str) -> Estimate:
    value = math.exp(log)
    if error is None:
        return Estimate(value=value, low=None, high=None, n=n, unit=unit)
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Estimate(value=value, low=min(value, math.exp(log - half)), high=max(value, math.exp(log + half)), n=n, unit=unit)
