"""Which of the collected cells a pytest run is narrowed to: `--mb-batch-size 16,full`, `--mb-device cpu` and the like.

Knows no pytest. Easy to get wrong: a value that no cell has is a slip and no empty selection; and a full batch is asked for
as "full" or by its number of rows.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mbbench.case import Cell

FIELDS = {
    "batch-size": "batch_size",
    "n": "n_samples",
    "loader": "loader",
    "device": "device",
    "optimizer": "optimizer",
    "dtype": "dtype",
    "threads": "threads",
}
"""What may be asked for, by the name of the option after `--mb-`, and the field of a cell it asks about."""


def kept(cells: Collection["Cell"], asked: Mapping[str, str]) -> set["Cell"]:
    """Return the cells that have, on each axis asked about, one of the values asked for.

    Args:
        cells: those that were collected.
        asked: of each option its values, separated by commas.

    Raises:
        UsageError: no cell has one of the values.
    """
    # Here, since every pytest of the environment loads the names above.
    from mbbench.axes import split
    from mbbench.case import UsageError

    found = set(cells)
    for option, text in asked.items():
        names = {cell: _names(cell, FIELDS[option]) for cell in cells}
        wanted = set(split(text)) or {text}
        for value in sorted(wanted - {name for several in names.values() for name in several}):
            there = ", ".join(_sorted({several[0] for several in names.values()}))
            raise UsageError(f"--mb-{option} is {value!r}, but no collected cell has that: use of {there}")
        found &= {cell for cell in cells if wanted & set(names[cell])}
    return found


def _names(cell: "Cell", field: str) -> tuple[str, ...]:
    """Return what a cell's value is called, its usual name first."""
    value = getattr(cell, field)
    return ("full", str(cell.n_samples)) if value is None else (str(value),)


def _sorted(values: Collection[str]) -> list[str]:
    """Return numbers as numbers go, and words after them."""
    return sorted(values, key=lambda value: (not value.isdigit(), int(value) if value.isdigit() else 0, value))
