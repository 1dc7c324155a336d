"""Times to the target as tables, one row for each thing that is drawn: sizes, seeds, races, curves.

Easy to get wrong: a size that never reached the target has a row too, with the reason and without a time; and a fitted curve
of times stands only where it holds.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mbbench.reporting.choosing import Choice, Tried
from mbbench.reporting.fits import time_to_target
from mbbench.reporting.target_times import measured_times, seconds_of
from mbbench.reporting.tried import TriedSize, typical, typical_s
from mbbench.search import REACHED, promising_rate

POSITIONS = 100
"""Of a drawn curve."""
SIZE_COLUMNS = (
    *("loader", "batch_size", "full_batch", "lr", "seeds", "reached", "steps", "steps_low", "steps_high", "step_s"),
    *("seconds", "seconds_low", "seconds_high", "multiple", "races", "races_reached", "race_s", "race_low", "race_high"),
    *("status", "as_good", "recommended"),
)


def sizes(choices: Sequence[Choice]) -> pd.DataFrame:
    """Return one row for each loader and batch size, in the order of the choices and their sizes.

    Columns:
        loader; batch_size: rows of one update; full_batch; lr: the best learning rate.
        seeds, reached: how many there are, and how many reached the target.
        steps, steps_low, steps_high: typical steps to target, and the fewest and the most of the seeds that reached it.
        step_s: geometric mean of the repeats' seconds a step.
        seconds, seconds_low, seconds_high: time to target as measured, steps x seconds a step, with its 95 % interval.
        multiple: seconds over the least of the table.
        races, races_reached: really trained, and how many of them reached the target.
        race_s, race_low, race_high: typical one of the races (see `tried.typical_s`), the least and the most.
        status: "reached"; or "not_reached", "diverged", "at_start" (no update was needed), "not_searched", "not_timed"; or
            that of the record that failed.
        as_good, recommended: what the loader's recommendation says of the size.
    Unknown is NaN.
    """
    rows = [row for choice in choices for row in _size_rows(choice)]
    table = pd.DataFrame(rows, columns=list(SIZE_COLUMNS))
    least = table["seconds"].min()
    return table.assign(multiple=table["seconds"] / least)


def seeds(choices: Sequence[Choice]) -> pd.DataFrame:
    """Return one row for each loader, batch size and seed that reached the target: loader, batch_size, steps, seconds."""
    rows = [
        (choice.loader, tried.cell.samples_per_step, steps, steps * _step_s(tried))
        for choice in choices
        for tried in choice.sizes
        for steps in tried.steps
        if steps is not None
    ]
    return pd.DataFrame(rows, columns=["loader", "batch_size", "steps", "seconds"])


def races(choices: Sequence[Choice]) -> pd.DataFrame:
    """Return one row for each race: loader, batch_size, seconds (NaN where the target was not reached), status."""
    rows = [
        (choice.loader, tried.cell.samples_per_step, _known(seconds), record.measurement.status)
        for choice in choices
        for tried in choice.sizes
        for record, seconds in zip(tried.races, tried.race_s, strict=True)
    ]
    return pd.DataFrame(rows, columns=["loader", "batch_size", "seconds", "status"])


def picks(choices: Sequence[Choice]) -> pd.DataFrame:
    """Return one row for each loader with a recommendation, with its time to target and the interval of that."""
    rows = []
    for choice in choices:
        found = choice.recommendation
        if found is not None and found.batch_size is not None and found.seconds is not None:
            at = found.seconds
            ends = (_known(at.low), _known(at.high))
            rows.append((choice.loader, found.batch_size, found.full_batch, found.chosen_by, at.value, *ends))
    return pd.DataFrame(
        rows, columns=["loader", "batch_size", "full_batch", "chosen_by", "seconds", "seconds_low", "seconds_high"]
    )


def bands(choices: Sequence[Choice]) -> pd.DataFrame:
    """Return where the as-good sizes lie: loader, low, high in batch sizes, one row for each run of neighbours.

    A run ends halfway (in octaves) to the next size that was tried and is not as good; at the ends of what was tried it
    reaches a quarter of an octave further.
    """
    rows: list[tuple[str, float, float]] = []
    for choice in choices:
        if choice.recommendation is None or not choice.recommendation.as_good:
            continue
        good = set(choice.recommendation.as_good)
        every = sorted({*(tried.cell.samples_per_step for tried in choice.sizes), *good})
        middles = [math.sqrt(low * high) for low, high in itertools.pairwise(every)]
        edges = [every[0] * 2**-0.25, *middles, every[-1] * 2**0.25]
        for place, size in enumerate(every):
            if size not in good:
                continue
            if rows and rows[-1][0] == choice.loader and rows[-1][2] == edges[place]:
                rows[-1] = (choice.loader, rows[-1][1], edges[place + 1])
            else:
                rows.append((choice.loader, edges[place], edges[place + 1]))
    return pd.DataFrame(rows, columns=["loader", "low", "high"])


def time_curves(choices: Sequence[Choice]) -> pd.DataFrame:
    """Return the fitted time to target of each loader whose curves hold: loader, batch_size, seconds.

    From the smallest to the largest size that it was fitted to.
    """
    rows = []
    for choice in choices:
        curves = choice.recommendation.curves if choice.recommendation else None
        if curves is None or not curves.holds:
            continue
        for size in positions(fitted(choice)):
            rows.append((choice.loader, size, time_to_target(curves.step_time, curves.steps, size)))
    return pd.DataFrame(rows, columns=["loader", "batch_size", "seconds"])


def _size_rows(choice: Choice) -> list[dict[str, Any]]:
    usable = {place: size for place, tried in enumerate(choice.sizes) if (size := _as_tried(tried, place)) is not None}
    times = measured_times(list(usable.values()))
    good = set(choice.recommendation.as_good) if choice.recommendation else set()
    rows = []
    for place, tried in enumerate(choice.sizes):
        row = {"loader": choice.loader, "lr": _known(tried.lr)} | where(tried) | typical_steps(tried) | _raced(tried)
        time = times.get(place + 1)
        row |= dict.fromkeys(("seconds", "seconds_low", "seconds_high"), math.nan)
        if time is not None:
            at = seconds_of(time)
            row |= {"seconds": at.value, "seconds_low": _known(at.low), "seconds_high": _known(at.high)}
        row |= {"step_s": _step_s(tried), "status": _status(tried), "seeds": len(tried.steps)}
        row["reached"] = sum(count is not None for count in tried.steps)
        row["as_good"], row["recommended"] = row["batch_size"] in good, _is_recommended(choice, tried)
        rows.append(row)
    return rows


def _as_tried(tried: Tried, place: int) -> TriedSize | None:
    """Return the size for `measured_times`, under its place: full batch and a batch of n rows are as large."""
    return TriedSize(place + 1, tried.step_s, tried.steps) if tried.compared and 0 not in tried.steps else None


def where(tried: Tried) -> dict[str, Any]:
    """Return the batch size of a table's row, and whether it is the full batch."""
    return {"batch_size": tried.cell.samples_per_step, "full_batch": tried.cell.batch_size is None}


def typical_steps(tried: Tried) -> dict[str, float]:
    """Return the typical steps as the recommendation counts them, and the range of the seeds that reached the target.

    NaN where too few did, and where a start is at the target already.
    """
    known = [count for count in tried.steps if count is not None]
    if 0 in known or not known or len(known) < REACHED * len(tried.steps):
        return {"steps": math.nan, "steps_low": math.nan, "steps_high": math.nan}
    logs = np.log([math.inf if count is None else count for count in tried.steps])
    return {"steps": math.exp(float(typical(logs))), "steps_low": min(known), "steps_high": max(known)}


def _step_s(tried: Tried) -> float:
    return statistics.geometric_mean(tried.step_s) if tried.step_s else math.nan


def _raced(tried: Tried) -> dict[str, float]:
    known = [seconds for seconds in tried.race_s if seconds is not None]
    return {
        "races": len(tried.races),
        "races_reached": len(known),
        "race_s": _known(typical_s(tried.race_s)),
        "race_low": min(known, default=math.nan),
        "race_high": max(known, default=math.nan),
    }


def _is_recommended(choice: Choice, tried: Tried) -> bool:
    found = choice.recommendation
    if found is None or found.batch_size != tried.cell.samples_per_step:
        return False
    return not found.full_batch or tried.cell.batch_size is None


def _status(tried: Tried) -> str:
    status = search_status(tried)
    if status != "reached" or tried.step_s:
        return status
    failed = [record.measurement.status for record in tried.timings if record.measurement.status != "ok"]
    return failed[0] if failed else "not_timed"


def search_status(tried: Tried) -> str:
    """Return "reached", or why not: diverged where most of the missing seeds did at the most promising learning rate."""
    if tried.search is None:
        return "not_searched"
    search = tried.runs
    if search is None:
        return tried.search.measurement.status
    if 0 in tried.steps:
        return "at_start"
    if not math.isnan(typical_steps(tried)["steps"]):
        return "reached"
    ends = [run.ended for run in search.at(promising_rate(search)) if run.ended != "reached"]
    return "diverged" if 2 * ends.count("diverged") > len(ends) else "not_reached"


def fitted(choice: Choice) -> list[int]:
    """Return the batch sizes that the curves were fitted to: those that reached the target, the full batch apart."""
    usable = [tried for tried in choice.sizes if _status(tried) == "reached" and tried.cell.batch_size is not None]
    return [tried.cell.samples_per_step for tried in usable]


def positions(batch_sizes: Sequence[int]) -> list[float]:
    """Return where a curve through these sizes is drawn, evenly in octaves."""
    return [float(size) for size in np.geomspace(min(batch_sizes), max(batch_sizes), POSITIONS)]


def _known(value: float | None) -> float:
    return math.nan if value is None else value
