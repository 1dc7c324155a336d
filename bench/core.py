"""Put the cells of a bench together: the core, which `make bench` measures, and the rest."""

from collections.abc import Sequence

import pytest

from mbbench.case import Cell


def cells(core: Sequence[Cell], more: Sequence[Cell], gate: Sequence[Cell] = ()) -> list[object]:
    """Return the cells as parameters, each once, those of the core with the marker `core`, those to compare with `gate`.

    The core of all files is at most 100 cell-repeats, so that `make bench` takes 4 minutes at most; the gate of all files is
    at most six cells, since each takes 1.4 s a block.
    """
    rest = [cell for cell in dict.fromkeys(more) if cell not in core]
    marked = [(cell, [pytest.mark.core, *([pytest.mark.gate] if cell in gate else [])]) for cell in core]
    return [*(pytest.param(cell, marks=marks) for cell, marks in marked), *rest]
