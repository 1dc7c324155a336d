"""Say where a search belongs: it was made once, without a clock, for every cell that trains alike.

Easy to get wrong: loader, threads and device cost seconds and change no step, except that rows shuffled inside a window
("stream") may take other steps. So the search of streamed rows is no other loader's.
"""

from collections.abc import Iterable

import msgspec

from mbbench.case import OPTIONS, Cell
from mbbench.record import Record

POLICY = "lr_policy"
POLICIES = OPTIONS[POLICY]
"""The one to be advised on first: where rates were tuned, what another policy does is a remark."""


def group_cell(cell: Cell) -> Cell:
    """Return the full batch of a cell's group: without what differs inside one, and without the policy of a search."""
    options = tuple((name, value) for name, value in cell.options if name != POLICY)
    return plain(cell, batch_size=None, micro_batch=None, seed=0, options=options)


def searched_as(cell: Cell) -> Cell:
    """Return what a search and the cells that it belongs to have in common."""
    return msgspec.structs.replace(group_cell(cell), device="cpu", threads=1, loader="slice")


def plain(cell: Cell, **changes: object) -> Cell:
    """Return a Cell with some fields changed: a Case would check them, and a cell too large for its data is no Case."""
    return Cell(**({name: getattr(cell, name) for name in Cell.__struct_fields__} | changes))


def serves(search: Cell, loader: str) -> bool:
    """Return whether rows come to a search in an order like that of a loader."""
    return loader == "stream" or search.loader != "stream"


def placed(records: Iterable[Record]) -> list[tuple[Cell, Record]]:
    """Return each record with its cell; a search with every cell that it belongs to, or one of its own if there is none."""
    several = list(records)
    found = [(record.case, record) for record in several if record.kind != "target"]
    groups: dict[str, dict[str, Cell]] = {}
    for cell, _ in found:
        group = group_cell(cell)
        groups.setdefault(str(searched_as(cell)), {})[str(group)] = group
    for record in several:
        if record.kind == "target":
            alike = groups.get(str(searched_as(record.case)), {}).values()
            homes = [group for group in alike if serves(record.case, group.loader)] or [group_cell(record.case)]
            found += [(plain(group, batch_size=record.case.batch_size), record) for group in homes]
    return found
