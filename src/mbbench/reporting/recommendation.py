"""Choose the batch size of the least time to target, say which others are as good, how sure that is and what limits it.

Easy to get wrong: the curves choose only as long as they hold. Where one does not (`misfits.py`) the table of measured
times chooses, whose minimum is partly luck; then every size that is not shown to be slower is as good. The full batch
reaches the model another way than its parts (no rows are gathered), so it may be given apart and is in no fit. And where
sizes were raced, these races are a second measurement of the same time: both count alike.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.stats import studentized_range

from mbbench.reporting.curves import Curves, fit_curves
from mbbench.reporting.fits import FEWEST_SIZES, time_to_target
from mbbench.reporting.misfits import Misfit
from mbbench.reporting.resampling import Replicates, interval, resample
from mbbench.reporting.stats import CONFIDENCE, Estimate
from mbbench.reporting.target_times import TargetTime, measured_times, multiple, seconds_of
from mbbench.reporting.tried import TriedSize

AS_GOOD = 1.10
"""Times of the best that are as good: half of what a batch size twice too large or too small costs at most (12.5 %)."""
NEAR = 1.02
"""A size that was tried is preferred to one between sizes within this; else the one between is chosen. Of 1500 planted
sweeps over powers of two 82 % chose a size between with 1.01, 0.5 % with 1.02; with either 0.5 % were off by 2 %."""

Limit = Literal["memory", "gradient noise", "step overhead", "per-sample cost"]


@dataclass(frozen=True)
class Recommendation:
    """Which batch size, and why.

    Attributes:
        batch_size: the one to use; None where nothing reached the target.
        full_batch: whether that is the full batch that was given apart.
        chosen_by: the curves or the table; None where nothing was chosen.
        instead_of: what would be chosen without the races, where they chose another; else None.
        seconds: time to target there, steps times seconds a step.
        as_good: the chosen and the tried sizes within 10 % of the best (by the table: or not shown slower; with races: of
            these too), rising; the full batch is among them as the number of rows.
        full_batch_multiple: time to target of the full batch over that of the chosen, None where it is not known.
        batch_1_multiple: the same of batch size 1.
        limit: what keeps the time from being less; None without curves that hold.
        flags: all that is wrong.
        left_out: batch sizes at which too few seeds reached the target, rising.
        curves: None where fewer than three sizes reached the target.
    """

    batch_size: int | None
    full_batch: bool
    chosen_by: Literal["curves", "table"] | None
    instead_of: int | None
    seconds: Estimate | None
    as_good: tuple[int, ...]
    full_batch_multiple: Estimate | None
    batch_1_multiple: Estimate | None
    limit: Limit | None
    flags: frozenset[Misfit]
    left_out: tuple[int, ...]
    curves: Curves | None


@dataclass(frozen=True)
class _Choice:
    """The parts of a Recommendation that the table or the curves give; `time` is what multiples are taken of."""

    batch_size: int | None
    as_good: tuple[int, ...]
    by: Literal["curves", "table"] | None
    time: TargetTime | None
    seconds: Estimate | None
    instead_of: int | None = None


def recommend(
    sizes: Sequence[TriedSize],
    n_samples: int,
    full_batch: TriedSize | None = None,
    memory_batch_size: int | None = None,
    seed: int = 0,
    intervals: bool = True,
) -> Recommendation:
    """Choose a batch size from what was measured at several.

    Args:
        sizes: each batch size once, in any order.
        n_samples: rows of the training set, the largest batch there can be.
        full_batch: the full batch, where its rows reach the model in another way than those of smaller batches.
        memory_batch_size: the largest batch that fits, where it was looked for.
        seed: of the resampling.
        intervals: resample for the curves' intervals, which changes nothing else and takes most of the time.

    Raises:
        ValueError: no sizes, one twice, or one larger than the data set.
    """
    every = _in_order(sizes, n_samples, full_batch)
    most = min(n_samples, memory_batch_size or n_samples)
    usable = [size for size in every if size.reached and size is not full_batch]
    left_out = tuple(size.batch_size for size in every if not size.reached)
    flags = {Misfit.NOT_REACHED} if left_out else set()
    curves, resampled = None, None
    if len(usable) < FEWEST_SIZES:
        flags.add(Misfit.FEW_SIZES)
    else:
        resampled = resample(usable, seed) if intervals else None
        curves = fit_curves(usable, n_samples, most, resampled)
        flags |= curves.misfits
    measured = measured_times(every)
    full = n_samples if full_batch is not None and full_batch.reached else None
    raced = {size.batch_size: size.raced_s for size in every if size.reached and size.raced_s is not None}
    if not measured:
        choice = _Choice(None, (), None, None, None)
    elif curves is None or not curves.holds:
        choice = _by_table(measured, raced)
    else:
        choice = _by_curves(curves, resampled, [size.batch_size for size in usable], full, measured, raced)
    return Recommendation(
        batch_size=choice.batch_size,
        full_batch=choice.batch_size is not None and choice.batch_size == full,
        chosen_by=choice.by,
        instead_of=choice.instead_of,
        seconds=choice.seconds,
        as_good=choice.as_good,
        full_batch_multiple=multiple(measured.get(n_samples), choice.time),
        batch_1_multiple=multiple(measured.get(1), choice.time),
        limit=_limit(curves, choice.batch_size, most, n_samples),
        flags=frozenset(flags),
        left_out=left_out,
        curves=curves,
    )


def _in_order(sizes: Sequence[TriedSize], n_samples: int, full_batch: TriedSize | None) -> list[TriedSize]:
    every = sorted([*sizes, *([] if full_batch is None else [full_batch])], key=lambda size: size.batch_size)
    batch_sizes = [size.batch_size for size in every]
    if not every:
        raise ValueError("no batch sizes to choose from: give one or more that were measured")
    if len(set(batch_sizes)) < len(batch_sizes):
        raise ValueError(f"batch sizes are {batch_sizes}: give each once, the full batch too")
    if batch_sizes[-1] > n_samples or (full_batch is not None and full_batch.batch_size != n_samples):
        raise ValueError(
            f"batch sizes are {batch_sizes}, of {n_samples} samples: expected none larger, and the full batch as many"
        )
    return every


def _by_races(
    chosen: int, seconds: float, measured: Mapping[int, TargetTime], raced: Mapping[int, float]
) -> tuple[int, set[int]]:
    """Return the size whose measured and raced times are least, halfway in logs, and those within 10 % of it.

    Where the chosen was not raced it stays, alone, if it is reckoned to take less. Of digits-mlp with `slice` the curves
    chose 128 and 15 races of each size 64, faster by 5 to 15 %.

    Args:
        chosen: by curves or table.
        seconds: what it takes by these.
        measured: steps times seconds a step.
        raced: seconds of races.
    """
    both = {size: math.sqrt(math.exp(measured[size].log) * raced_s) for size, raced_s in raced.items() if size in measured}
    least = min(both, key=lambda size: both[size], default=chosen)
    if not both or (chosen not in both and both[least] >= seconds):
        return chosen, set()
    return least, {size for size in both if both[size] <= AS_GOOD * both[least]}


def _by_table(measured: dict[int, TargetTime], raced: Mapping[int, float]) -> _Choice:
    """Choose the least measured time. As good: within 10 %, or not slower by Tukey's interval (the least is chosen)."""
    first = min(measured, key=lambda batch_size: measured[batch_size].log)
    best, as_good = measured[first], []
    for batch_size, time in measured.items():
        allowed = math.log(AS_GOOD)
        if best.error is not None and time.error is not None:
            allowed = max(allowed, _tukey(len(measured), best.freedom) * math.hypot(best.error, time.error))
        if time.log - best.log <= allowed:
            as_good.append(batch_size)
    chosen, also = _by_races(first, math.exp(best.log), measured, raced)
    own, instead_of = measured[chosen], None if chosen == first else first
    return _Choice(chosen, tuple(sorted({chosen, *as_good, *also})), "table", own, seconds_of(own), instead_of)


@lru_cache(maxsize=256)
def _tukey(groups: int, freedom: float) -> float:
    """Return the standard errors that every difference of two of `groups` stays within."""
    return float(studentized_range.ppf(CONFIDENCE, max(groups, 2), freedom)) / math.sqrt(2)


def _by_curves(
    curves: Curves,
    resampled: Replicates | None,
    tried: Sequence[int],
    full: int | None,
    measured: dict[int, TargetTime],
    raced: Mapping[int, float],
) -> _Choice:
    """Choose the best by the curves, a tried size where one is near enough; the full batch where it is faster still."""
    fitted = {size: time_to_target(curves.step_time, curves.steps, size) for size in tried}
    nearest = min(fitted, key=lambda size: fitted[size])
    best = curves.best.seconds
    chosen = nearest if fitted[nearest] <= NEAR * best else round(curves.best.batch_size)
    if full is not None:
        fitted[full] = math.exp(measured[full].log)
        if fitted[full] < best:
            chosen, best = full, fitted[full]
    first, (chosen, also) = chosen, _by_races(chosen, fitted.get(chosen, best), measured, raced)
    instead_of = None if chosen == first else first
    as_good = tuple(sorted({chosen, *also, *(size for size in fitted if fitted[size] <= AS_GOOD * best)}))
    if chosen == full:
        return _Choice(chosen, as_good, "curves", measured[full], seconds_of(measured[full]), instead_of)
    seconds, seeds = time_to_target(curves.step_time, curves.steps, chosen), curves.least_steps.n
    if resampled is None:
        time = TargetTime(math.log(seconds), None, 0, seeds)
        return _Choice(chosen, as_good, "curves", time, seconds_of(time), instead_of)
    drawn = resampled.seconds(chosen)
    # Of a normal distribution from here on: 1000 resamples know their spread well.
    time = TargetTime(math.log(seconds), float(np.log(drawn).std()), math.inf, seeds)
    return _Choice(chosen, as_good, "curves", time, interval(seconds, drawn, seeds, "s"), instead_of)


def _limit(curves: Curves | None, batch_size: int | None, most: int, n_samples: int) -> Limit | None:
    """Say what keeps the time to target from being less at this batch size; None without curves that hold.

    Of a step its samples are a part b B / (a + b B), of the steps noise adds a part Bc / (B + Bc). At an unclipped best
    batch size the two parts are equal: above a half, time is Smin b Bc and more, samples that only average out noise;
    below, it is Smin a and more, steps that cost their overhead whatever they hold.
    """
    if curves is None or not curves.holds or batch_size is None:
        return None
    if curves.best.unclipped > most and most < n_samples:
        return "memory"
    critical = curves.steps.critical_batch_size
    if critical > batch_size:
        return "gradient noise"
    return "step overhead" if 2 * curves.step_time.overhead_s >= curves.step_time.at(batch_size) else "per-sample cost"
