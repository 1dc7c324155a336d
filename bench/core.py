"""Mark the cells that `make bench` measures: the core of the suite, at most 100 cell-repeats."""

from collections.abc import Iterable

import pytest

from mbbench.case import Cell


def core(cells: Iterable[Cell]) -> list[object]:
    """Return the cells as parameters with the marker `core`."""
    return [pytest.param(cell, marks=pytest.mark.core) for cell in cells]
