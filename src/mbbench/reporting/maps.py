"""How the best batch size depends on the number of rows and on the device: records of alike settings side by side.

Easy to get wrong: a time is compared within its own row only, since every n has a target of its own and an epoch of its own
length; and the least of a row is partly luck, so what is as good is kept with it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mbbench.case import Cell
from mbbench.reporting import pooling, readable, speed, target_table
from mbbench.reporting.choosing import Choice
from mbbench.reporting.peaks import unfit
from mbbench.reporting.pooling import Pool, Setting

Kind = Literal["target", "epoch"]
TOO_LARGE = "not_applicable"
"""Status of a batch that is larger than the data."""
NOT_MEASURED = ("not_searched", "not_timed", "at_start")
"""Statuses without a value that are no failure."""


class Spot(NamedTuple):
    """One batch size of a row.

    Attributes:
        batch_size: None is the full batch.
        seconds: to the target or of an epoch, None where not known.
        status: "ok", or why there is no time.
        as_good: whether it is within 10 % of the best of the row, or not shown to be slower where there are intervals.
    """

    batch_size: int | None
    seconds: float | None
    status: str
    as_good: bool


@dataclass(frozen=True)
class Row:
    """What was measured with one number of rows on one device.

    Attributes:
        cell: one of its cells.
        spots: in the order of their batch sizes, full batch last.
        recommended: in words, None where nothing is recommended or where this is a row of epochs.
        tuned: whether learning rates were tuned; true of a row of epochs.
        target: loss that it is about; None where there is none, or where this is a row of epochs.
        bare: whether its times have no interval, for too few repeats or seeds.
    """

    cell: Cell
    spots: tuple[Spot, ...]
    recommended: str | None = None
    tuned: bool = True
    bare: bool = False
    target: float | None = None

    @property
    def n(self) -> int:
        """Its number of rows of data."""
        return self.cell.n_samples

    @property
    def device(self) -> str:
        """Where it ran, in words."""
        return pooling.device(self.cell)

    @property
    def best(self) -> Spot | None:
        """The batch size of the least time, None where no time is known."""
        return min((spot for spot in self.spots if spot.seconds is not None), key=lambda s: s.seconds or 0.0, default=None)

    def at(self, batch_size: int | None) -> Spot:
        """Return what there is on a batch size, also where it was not asked for."""
        found = next((spot for spot in self.spots if spot.batch_size == batch_size), None)
        if found is not None:
            return found
        larger = batch_size is not None and batch_size > self.n
        return Spot(batch_size, None, TOO_LARGE if larger else "not_timed", False)

    def multiple(self, spot: Spot) -> float | None:
        """Return its time as a multiple of the row's least, None where it is not known."""
        best = self.best
        return spot.seconds / best.seconds if spot.seconds and best is not None and best.seconds else None

    def named(self, spot: Spot) -> str:
        """Name a batch size: "512", "full batch"."""
        return "full batch" if spot.batch_size is None else f"{spot.batch_size:,}"


@dataclass(frozen=True)
class Map:
    """Rows that differ in n and device only, two or more of them.

    Attributes:
        title: what they have in common: "digits-mlp, slice".
        kind: whether times are to the target or of an epoch.
        rows: by device, then by n.
    """

    title: str
    kind: Kind
    rows: tuple[Row, ...]

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices in order."""
        return tuple(dict.fromkeys(row.device for row in self.rows))

    @property
    def columns(self) -> tuple[int | None, ...]:
        """Batch sizes that have anything to show in any row, rising, the full batch last."""
        sizes = {spot.batch_size for row in self.rows for spot in row.spots if spot.status != TOO_LARGE}
        return tuple(sorted(sizes, key=lambda size: (size is None, size or 0)))

    def on(self, device: str) -> tuple[Row, ...]:
        """Return the rows of a device."""
        return tuple(row for row in self.rows if row.device == device)


def maps(settings: Sequence[Setting], choices: Sequence[Choice]) -> list[Map]:
    """Return a map for everything that was measured at several n or on several devices, alike in all else.

    Of times to the target where two rows have one, else of epochs.
    """
    targets, epochs = _by([_target_row(choice) for choice in choices]), _by(_epoch_rows(settings))
    found = []
    for key in dict.fromkeys([*epochs, *targets]):
        several: list[tuple[Kind, list[Row]]] = [("target", targets.get(key, [])), ("epoch", epochs.get(key, []))]
        for kind, rows in sorted(several, key=lambda pair: -min(2, sum(row.best is not None for row in pair[1]))):
            if _varied(rows) and any(row.best is not None for row in rows):
                found.append(Map(_title(rows[0].cell), kind, tuple(rows)))
                break
    return found


def _varied(rows: Sequence[Row]) -> bool:
    """Return whether a device has two numbers of rows, or a number of rows two devices."""
    along = {(row.device, row.n) for row in rows}
    across = {(row.n, row.cell.device) for row in rows}
    return len({device for device, _ in along}) < len(along) or len({n for n, _ in across}) < len(across)


def _by(rows: Iterable[Row]) -> dict[tuple[object, ...], list[Row]]:
    """Return the rows by what they have in common, by device and n; those without any batch that fits n left out."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        cell = row.cell
        about = (cell.problem, cell.loader, cell.optimizer, cell.lr or 0.0, cell.dtype, not cell.shuffle, cell.options)
        if any(spot.status != TOO_LARGE for spot in row.spots):
            found.setdefault(about, []).append(row)
    return {
        key: sorted(several, key=lambda row: (row.cell.device, row.cell.threads, row.n)) for key, several in found.items()
    }


def _target_row(choice: Choice) -> Row:
    found, table = choice.recommendation, target_table.sizes([choice])
    good = set(found.as_good) if found else set()
    spots = []
    for tried, row in zip(choice.sizes, table.to_dict("records"), strict=True):
        seconds, status = float(row["seconds"]), str(row["status"])
        failed = [record.measurement.status for record in tried.timings if record.measurement.status != "ok"]
        if not tried.cell.applicable:
            status = TOO_LARGE
        elif status == "not_searched" and failed and not tried.step_s:
            status = failed[0]
        known = not math.isnan(seconds)
        size, status = tried.cell.batch_size, "ok" if known else status
        spots.append(Spot(size, seconds if known else None, status, row["batch_size"] in good))
    named = None if found is None or found.batch_size is None else choice.named(found.batch_size).removeprefix("batch ")
    bare = bool(table["seconds"].notna().any() and table["seconds_low"].isna().all())
    return Row(choice.cell, tuple(spots), named, choice.policy == "tuned", bare, choice.target)


def _epoch_rows(settings: Sequence[Setting]) -> list[Row]:
    rows = []
    for setting in settings:
        for loader in setting.loaders:
            pools = [pool for pool in setting.pools if pool.cell.loader == loader and pool.whole and pool.status("time")]
            if pools:
                rows.append(_epoch_row(pools))
    return rows


def _epoch_row(pools: Sequence[Pool]) -> Row:
    one, good, bare = Setting("", tuple(pools)), set(), False
    if one.timed:
        found = speed.standing(one)
        told = [pool for pool, by in found.undecided if by.low is not None]
        bare = len(told) < len(found.undecided)
        good = {pool.cell.batch_size for pool in (found.best, *told, *(pool for pool, _ in found.equal))}
    spots = []
    for pool in pools:
        size, epoch = pool.cell.batch_size, pool.epoch_s
        status = "ok" if epoch else "oom" if unfit(pool) else pool.status("time").split(", ")[-1]
        status = status if pool.cell.applicable else TOO_LARGE
        spots.append(Spot(size, epoch.value if epoch else None, status, size in good))
    return Row(pools[0].cell, tuple(spots), bare=bare)


def _title(cell: Cell) -> str:
    return ", ".join([cell.problem, cell.loader, *pooling.unusual(cell)])


def plain(multiple: float) -> str:
    """Return a multiple in as few letters as may be: "1.05", "1.3", "38", "1k"."""
    return readable.multiple(multiple) if multiple < 999.5 else f"{multiple / 1000:.0f}k"
