"""Put an interval around repeated times and around losses of several seeds: floats in, Estimate out.

Easy to get wrong: the unit of replication. Rounds of one process agree with each other far better than processes do
(intervals of identical code, made from rounds, overlapped in only a third of pairs), so an interval of times comes from
the spread between repeats and an interval of losses from the spread between seeds. Fewer than three give none.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
from scipy.special import stdtrit
from scipy.stats import studentized_range

FEWEST = 3
"""Repeats or seeds for an interval. Two would give a t interval with one degree of freedom: 12.7 standard errors wide."""
CONFIDENCE = 0.95


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A value with its interval: low <= value <= high, or no interval at all where there are too few values.

    Attributes:
        value: the estimate.
        low: lower end of the interval, None without one.
        high: upper end of the interval, None without one.
        n: repeats or seeds behind it.
        unit: "s", "loss", "ratio" ...
        confidence: of the interval.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    unit: str
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        """Check that the interval holds the value and is not half an interval."""
        if self.n < 1:
            raise ValueError(f"n is {self.n}: an estimate needs at least one value")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"low is {self.low} and high is {self.high}: an interval has two ends or none")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise ValueError(f"expected low <= value <= high, got {self.low}, {self.value}, {self.high}")

    @property
    def spread(self) -> float | None:
        """Return how far the interval reaches above the value, as a part of it; None without an interval."""
        return None if self.high is None or not self.value else self.high / self.value - 1


def from_repeats(repeats: Sequence[Sequence[float]], unit: str, confidence: float = CONFIDENCE) -> Estimate:
    """Return the typical value of several repeats, each given by its rounds, all above 0.

    The value is the geometric mean of the repeats' medians. See `_log_mean` for the interval.
    """
    mean, error, freedom = _log_mean(repeats)
    half = _half_width(error, freedom, len(repeats), confidence)
    return _interval(mean, half, len(repeats), unit, confidence)


def ratio(above: Sequence[Sequence[float]], below: Sequence[Sequence[float]], confidence: float = CONFIDENCE) -> Estimate:
    """Return how many times as long `above` takes as `below`, both given as repeats of rounds; n is the smaller number.

    Standard errors are added on the log scale; the degrees of freedom are Welch's and Satterthwaite's.
    """
    mean_above, error_above, freedom_above = _log_mean(above)
    mean_below, error_below, freedom_below = _log_mean(below)
    error = math.hypot(error_above, error_below)
    n = min(len(above), len(below))
    freedom = 1.0
    if n >= FEWEST and error > 0:
        freedom = error**4 / (error_above**4 / freedom_above + error_below**4 / freedom_below)
    return _interval(mean_above - mean_below, _half_width(error, freedom, n, confidence), n, "ratio", confidence)


def against(
    others: Sequence[Sequence[Sequence[float]]], best: Sequence[Sequence[float]], confidence: float = CONFIDENCE
) -> list[Estimate]:
    """Return how many times as long each of `others` takes as `best`, all given as repeats of rounds.

    The intervals hold all together, and although `best` is chosen because it read best: Tukey's and Kramer's, from the
    studentized range. The spread between processes is the machine's and not a cell's, so it is pooled on the log scale over
    all that were measured, as in an analysis of variance: 14 cells of three repeats give 28 degrees of freedom, not 4.
    """
    parts = [_log_parts(repeats) for repeats in (best, *others)]
    freedom = sum(part.n - 1 for part in parts)
    between = sum(part.between * (part.n - 1) for part in parts) / freedom if freedom else 0.0
    errors = [math.sqrt(max(between / part.n, part.within)) for part in parts]
    found = []
    for part, error in zip(parts[1:], errors[1:], strict=True):
        n = min(part.n, parts[0].n)
        half = _tukey(len(parts), freedom, confidence) * math.hypot(error, errors[0]) if n >= FEWEST else None
        found.append(_interval(part.mean - parts[0].mean, half, n, "ratio", confidence))
    return found


@lru_cache(maxsize=256)
def _tukey(groups: int, freedom: int, confidence: float) -> float:
    """Return the standard errors that every difference of two of `groups` means stays within; for two it is t's quantile."""
    return float(studentized_range.ppf(confidence, groups, freedom)) / math.sqrt(2)


def from_seeds(losses: Sequence[float], unit: str = "loss", confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of one finite loss per seed with its t interval.

    Geometric, on the log scale, where all losses are above 0; arithmetic otherwise (a log-likelihood may be negative).
    Without an interval where all seeds gave the very same loss: a full batch from a fixed start has nothing random in it.
    """
    values = np.asarray(losses, dtype=float)
    logs = bool((values > 0).all())
    if len(set(losses)) == 1:  # seeds that change nothing replicate nothing
        return Estimate(value=float(values[0]), low=None, high=None, n=len(values), unit=unit, confidence=confidence)
    scaled = np.log(values) if logs else values
    mean, n = float(scaled.mean()), len(scaled)
    error = float(scaled.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    half = _half_width(error, n - 1, n, confidence)
    if logs:
        return _interval(mean, half, n, unit, confidence)
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return Estimate(value=mean, low=low, high=high, n=n, unit=unit, confidence=confidence)


class _Parts(NamedTuple):
    """Repeats on the log scale: mean of their medians, variance between these, variance of the mean by rounds, number."""

    mean: float
    between: float
    within: float
    n: int


def _log_parts(repeats: Sequence[Sequence[float]]) -> _Parts:
    if not repeats or not all(len(rounds) for rounds in repeats):
        raise ValueError("expected at least one repeat, each with at least one round")
    values = [np.asarray(rounds, dtype=float) for rounds in repeats]
    if not all(((rounds > 0) & np.isfinite(rounds)).all() for rounds in values):
        raise ValueError("a time is not a finite number above 0: a log scale has no place for it")
    logs = [np.log(rounds) for rounds in values]
    medians = np.array([np.median(rounds) for rounds in logs])
    n = len(medians)
    between = float(medians.var(ddof=1)) if n > 1 else 0.0
    within = float(np.mean([_median_error(rounds) ** 2 for rounds in logs])) / n
    return _Parts(float(medians.mean()), between, within, n)


def _log_mean(repeats: Sequence[Sequence[float]]) -> tuple[float, float, int]:
    """Return mean, standard error and degrees of freedom of the repeats' log medians.

    The variance of the mean is the larger of two: what the repeats' spread says, and what the rounds inside them say.
    The second is a floor: three repeats may agree by chance better than any of them is known.
    """
    parts = _log_parts(repeats)
    return parts.mean, math.sqrt(max(parts.between / parts.n, parts.within)), parts.n - 1


def _median_error(rounds: np.ndarray) -> float:
    """Return the standard error of a median: 1.2533 (= sqrt(pi / 2)) robust standard deviations over sqrt(rounds)."""
    robust = 1.4826 * float(np.median(np.abs(rounds - np.median(rounds))))
    return math.sqrt(math.pi / 2) * robust / math.sqrt(len(rounds))


def _half_width(error: float, freedom: float, n: int, confidence: float) -> float | None:
    # stdtrit is the t quantile; scipy.stats.t.ppf calls it, 75 µs a call against 1.
    return float(stdtrit(freedom, (1 + confidence) / 2)) * error if n >= FEWEST else None


def _interval(mean: float, half: float | None, n: int, unit: str, confidence: float) -> Estimate:
    value = math.exp(mean)
    if half is None:
        return Estimate(value=value, low=None, high=None, n=n, unit=unit, confidence=confidence)
    # Rounding of exp must not put the value outside of a very narrow interval.
    low, high = min(value, math.exp(mean - half)), max(value, math.exp(mean + half))
    return Estimate(value=value, low=low, high=high, n=n, unit=unit, confidence=confidence)
