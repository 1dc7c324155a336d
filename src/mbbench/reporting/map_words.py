"""What a map of batch sizes over rows and devices shows, in a sentence, and how it was made.

Easy to get wrong: the least of a row is partly luck, so a change from row to row is called one only where no batch size is
as good as the best in all of them; and what is recommended need not be the least that was measured.
"""

from collections.abc import Sequence

from mbbench.case import Cell
from mbbench.reporting import asking, readable
from mbbench.reporting.maps import Map, Row, Spot

WHAT = {"target": "the best batch size", "epoch": "the batch size with the fastest epoch"}
LEAST = "the batch size with the least measured time"
"""Where curves or races recommend another one."""


def finding(found: Map) -> str:
    """Say whether the best batch size changes with n and with the device."""
    rows = [row for row in found.rows if row.best is not None]
    what, names = LEAST if _overruled(rows) else WHAT[found.kind], {_best(row) for row in rows}
    if len(rows) == 1:
        where = f"n = {rows[0].n:,}" + (f" on {rows[0].device}" if len(found.devices) > 1 else "")
        said = f"{what} is {_best(rows[0])} at {where}; no other row has a time, so it is not known whether it changes."
    elif len(names) == 1:
        said = f"{what} is {names.pop()} {_everywhere(found, rows)}."
    elif shared := _shared(rows):
        least = f"the least that was measured is {_listed(rows, len(found.devices) > 1)}"
        said = f"{what} is not shown to change: {readable.listed(shared)} {_be(shared)} the best or not shown to be "
        said += f"slower {_everywhere(found, rows)} ({least})."
    else:
        said = _by_device(found, rows, what)
    bare = " Some of these times are readings without an interval." if any(row.bare for row in rows) else ""
    return said + bare + _unknown(found) + _recommended(found, rows)


def method(found: Map) -> str:
    """Say how a map was made."""
    if found.kind == "target":
        untuned = "" if all(row.tuned for row in found.rows) else " Learning rates were not tuned everywhere: not a ranking."
        return (
            f"Time to {_target(found)} as measured (typical updates of the seeds times the seconds of an update), as a "
            f"multiple of the least of its row, the star. Blank: larger than the data.{untuned}"
        )
    ns = sorted({row.n for row in found.rows})
    return (
        "No times to a target are known for two rows of this map, so it shows the time of an epoch, as a multiple of the "
        "fastest of its row, the star; the fastest epoch need not be the fastest training. Blank: larger than the data. "
        f"For times to the target: `{asking.within(found.rows[0].cell, rows=ns)}`"
    )


def command(cell: Cell) -> str:
    """Return the command that measures a setting at a second number of rows."""
    n = cell.n_samples
    return asking.within(cell, rows=sorted({max(n // 4, 1), n}))


def _target(found: Map) -> str:
    """Name the target: each row may have its own."""
    targets = {row.target for row in found.rows}
    if len(targets) == 1 and (only := targets.pop()) is not None:
        return f"loss {readable.loss(only)}"
    named = [f"{readable.loss(row.target)} at n = {row.n:,}" for row in found.rows if row.target is not None]
    return f"each row's own target (loss {readable.listed(dict.fromkeys(named))})" if named else "the target"


def _by_device(found: Map, rows: Sequence[Row], what: str) -> str:
    parts: list[str] = []
    for device in found.devices:
        own = [row for row in rows if row.device == device]
        if own:
            where = f"on {device} " if len(found.devices) > 1 else ""
            every = "for every n" + _that_is_known(found.on(device))
            parts.append(f"{where}{'it' if parts else what} {_along(own, every)}")
    return "; ".join(parts) + "."


def _along(rows: Sequence[Row], every: str) -> str:
    """Return how the best changes along the rows of a device that have one, in rising n; `every` names these."""
    first, last = rows[0], rows[-1]
    names = [_best(row) for row in rows]
    if len(set(names)) == 1:
        return f"is {names[0]} at n = {first.n:,}" if len(rows) == 1 else f"is {names[0]} {every}"
    if shared := _shared(rows):
        good = f"{readable.listed(shared)} {_be(shared)} the best or not shown to be slower {every}"
        return f"is not shown to change with n ({good})"
    sizes = [_size(row) for row in rows]
    for word, order in (("grows", sizes), ("shrinks", [-size for size in sizes])):
        if order == sorted(order) and order[0] < order[-1]:
            return f"{word} from {names[0]} at n = {first.n:,} to {names[-1]} at n = {last.n:,}"
    return f"changes without a trend: {_listed(rows, False)}"


def _shared(rows: Sequence[Row]) -> list[str]:
    """Return the batch sizes that are the best or as good in every row, in words."""
    good = [{row.named(spot): _order(row, spot) for spot in row.spots if spot.as_good or spot == row.best} for row in rows]
    return sorted(set.intersection(*map(set, good)), key=lambda name: good[0][name])


def _everywhere(found: Map, rows: Sequence[Row]) -> str:
    several, devices = len({row.n for row in rows}) > 1, len({row.device for row in rows}) > 1
    where = f"on every device at n = {rows[0].n:,}"
    if several:
        where = "for every n and device" if devices else "for every n"
    return where + _that_is_known(found.rows)


def _that_is_known(rows: Sequence[Row]) -> str:
    return " that has a time" if any(row.best is None for row in rows) else ""


def _listed(rows: Sequence[Row], devices: bool) -> str:
    return readable.listed(
        f"{_best(row)} at n = {row.n:,}{f' on {row.device}' if devices else ''}" for row in rows if row.best is not None
    )


def _unknown(found: Map) -> str:
    lost = [row for row in found.rows if row.best is None]
    known = sum(row.best is not None for row in found.rows)
    if not lost or known < 2:
        return ""
    names = [f"n = {row.n:,}{f' on {row.device}' if len(found.devices) > 1 else ''}" for row in lost]
    return f" There is no time at {readable.listed(names)}."


def _recommended(found: Map, rows: Sequence[Row]) -> str:
    other = _overruled(rows)
    if not other:
        return ""
    devices = len(found.devices) > 1
    names = [f"{row.recommended} at n = {row.n:,}{f' on {row.device}' if devices else ''}" for row in other]
    return f" By curves through all sizes or with races, recommended is {readable.listed(names)}."


def _overruled(rows: Sequence[Row]) -> list[Row]:
    """Return the rows where another batch size is recommended than that of the least measured time."""
    return [row for row in rows if row.recommended is not None and row.recommended != _best(row)]


def _best(row: Row) -> str:
    assert row.best is not None  # callers ask for rows with a time
    return row.named(row.best)


def _size(row: Row) -> int:
    assert row.best is not None
    return _order(row, row.best)


def _order(row: Row, spot: Spot) -> int:
    return row.n if spot.batch_size is None else spot.batch_size


def _be(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
