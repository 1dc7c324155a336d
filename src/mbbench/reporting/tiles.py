"""Five figures under the verdict, each with its name and what stands behind it: what a reader looks for first.

Easy to get wrong: what is not known is neither 0 nor blank, it says which command would tell; and of several settings or
loaders the figures are those of one choice, which is named.
"""

import shlex
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from mbbench.reporting import advising, asking, pooling, readable
from mbbench.reporting.choosing import Choice
from mbbench.reporting.joining import Tried
from mbbench.reporting.pooling import Setting
from mbbench.reporting.stats import Estimate
from mbbench.reporting.target_table import search_status

UNKNOWN = "not known"
SAME = "by the same command"
SHOWN = 4
"""Batch sizes in one tile; further ones are counted."""
LONGER = "5min"
"""To search for where the usual minute did not reach the target."""


class Tile(NamedTuple):
    """One figure: its name, its value with the unit, and what stands behind it."""

    label: str
    value: str
    detail: str


NOT_COMPARED = Tile("regressions", "not compared", "`mbbench compare BASE`")


def tiles(settings: Sequence[Setting], choices: Sequence[Choice], regressions: Tile = NOT_COMPARED) -> tuple[Tile, ...]:
    """Return the five tiles of a report with one setting or more; whoever made a comparison gives the last."""
    choice = leading(choices)
    if choice is not None:
        return (_batch(choice), _time(choice), _against_full(choice), _throughput(choice), regressions)
    setting = _timed_first(settings)
    missing = [Tile("recommended batch", UNKNOWN, f"`{asking.within(setting.pools[0].cell)}`")]
    missing += [Tile(label, UNKNOWN, SAME) for label in ("time to the target loss", "against full batch")]
    return (*missing, _fastest(setting), regressions)


def of(settings: Sequence[Setting], choices: Sequence[Choice]) -> str:
    """Name what the tiles are of, "" where there is nothing else that they could be of."""
    choice = leading(choices)
    if len(settings) == 1 and len(choices) < 2:
        return ""
    return choice.title if choice is not None else _timed_first(settings).title


def leading(choices: Sequence[Choice]) -> Choice | None:
    """Return the choice with the loader that is fastest, of the first setting for which any is recommended."""
    first = next((choice for choice in choices if _seconds(choice)), next(iter(choices), None))
    if first is None:
        return None
    own = [choice for choice in choices if pooling.common(choice.cell) == pooling.common(first.cell)]
    return min(own, key=lambda choice: time.value if (time := _seconds(choice)) else float("inf"))


def _batch(choice: Choice) -> Tile:
    label, found = "recommended batch", choice.recommendation
    if found is None or found.batch_size is None:
        return Tile(label, UNKNOWN, _ask(choice))
    others = [_short(choice, size) for size in found.as_good if size != found.batch_size]
    more = len(others) - SHOWN
    detail = f"as good: {readable.listed([*others[:SHOWN], f'{more} more'] if more > 0 else others)}" if others else ""
    if advising.winner(choice) == "only":
        detail = "the only one that was compared"
    untuned = "" if choice.policy == "tuned" else "not tuned, not a ranking"
    said = "; ".join(filter(None, (detail or "no other that was tried is as good", untuned)))
    return Tile(label, _short(choice, found.batch_size), said)


def _time(choice: Choice) -> Tile:
    label = "time to the target loss" if choice.target is None else f"time to loss {readable.loss(choice.target)}"
    time = _seconds(choice)
    if time is None:
        return Tile(label, UNKNOWN, SAME)
    seeds = readable.plural(time.n, "seed")
    if time.low is None or time.high is None:
        return Tile(label, readable.seconds(time.value), f"no interval, {seeds}")
    ends = f"{readable.seconds(time.low)} to {readable.seconds(time.high)}"
    return Tile(label, readable.seconds(time.value), f"{readable.percent(time.confidence)} {ends}, {seeds}")


def _against_full(choice: Choice) -> Tile:
    label, found, n = "against full batch", choice.recommendation, choice.cell.n_samples
    if found is None or found.batch_size is None:
        return Tile(label, UNKNOWN, SAME)
    if found.batch_size == n:
        return Tile(label, "is full batch", "the recommended batch holds all rows")
    multiple, full = found.full_batch_multiple, choice.find(n)
    if multiple is not None:
        ends = "no interval"
        if multiple.low is not None and multiple.high is not None:
            interval = f"{readable.multiple(multiple.low)} to {readable.multiple(multiple.high)}"
            ends = f"{readable.percent(multiple.confidence)} {interval}"
            ends += ": not shown to be faster" if multiple.low <= 1 else ""
        return Tile(label, f"{readable.multiple(multiple.value)} times as fast", ends)
    lost = None if full is None else _lost(full)
    if lost is not None:
        return Tile(label, lost, "with full batch")
    return Tile(label, UNKNOWN, _measured(choice, "full"))


def _throughput(choice: Choice) -> Tile:
    label, found, size = "throughput at that size", choice.recommendation, choice.recommended
    if found is None or found.batch_size is None:
        return Tile(label, UNKNOWN, SAME)
    if size is not None and size.step_s:
        epoch_s = statistics.geometric_mean(size.step_s) * size.cell.steps_per_epoch
        repeats = readable.plural(len(size.step_s), "repeat")
        return Tile(label, readable.rate(choice.cell.n_samples / epoch_s), f"{_loader(choice)}, {repeats}")
    if found.curves is None or not found.curves.holds:
        return Tile(label, UNKNOWN, _measured(choice, str(found.batch_size)))
    rate = found.batch_size / found.curves.step_time.at(found.batch_size)
    return Tile(label, readable.rate(rate), f"{_loader(choice)}, by the line through the sizes that were timed")


def _fastest(setting: Setting) -> Tile:
    """Return the highest throughput there is, where no batch size is recommended."""
    known = [(pool, pool.epoch_s) for pool in setting.timed if pool.epoch_s is not None]
    if not known:
        return Tile("throughput", UNKNOWN, SAME)
    pool, epoch = min(known, key=lambda pair: pair[1].value)
    repeats = readable.plural(epoch.n, "repeat")
    return Tile("highest throughput", readable.rate(pool.cell.n_samples / epoch.value), f"{pool.name}, {repeats}")


def _ask(choice: Choice) -> str:
    """Return the command that would find a recommendation where there is none, as code."""
    at_start = any(steps == 0 for size in choice.sizes for steps in size.steps)
    missed = any(size.steps for size in choice.sizes) and not any(size.lr is not None for size in choice.sizes)
    more = ("--target", "LOSS") if at_start else ()
    return f"`{asking.within(choice.cell, *more, time=LONGER if missed and not at_start else '60s')}`"


def _measured(choice: Choice, batch_size: str) -> str:
    """Return the command that searches and times one batch size, as code."""
    cell = choice.cell
    parts = ["mbbench", "run", shlex.quote(cell.problem), "--batch-size", batch_size, "--n", str(cell.n_samples)]
    return f"`{' '.join([*parts, *asking.axes(cell), '--measure', 'time,target'])}`"


def _lost(size: Tried) -> str | None:
    """Return what kept a size from a time to the target, None where it was not searched, or not timed."""
    status = search_status(size)
    failed = [record.measurement.status for record in size.timings if record.measurement.status != "ok"]
    if status in ("not_searched", "reached"):
        return readable.TROUBLES[failed[0]] if failed and not size.step_s else None
    return {"not_reached": "target not reached", "at_start": None}.get(status, readable.TROUBLES.get(status))


def _short(choice: Choice, size: int) -> str:
    return f"full ({size:,})" if choice.named(size) == "full batch" else f"{size:,}"


def _loader(choice: Choice) -> str:
    return f"with {choice.loader}"


def _seconds(choice: Choice) -> Estimate | None:
    return choice.recommendation.seconds if choice.recommendation else None


def _timed_first(settings: Sequence[Setting]) -> Setting:
    return next((setting for setting in settings if setting.timed), settings[0])
