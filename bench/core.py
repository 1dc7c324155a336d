"""Put the cells of a bench together: the core, which `make bench` measures, and the rest."""

from collections.abc import Sequence

import pytest

from mbbench.case import Cell


def cells(core: Sequence[Cell], more: Sequence[Cell]) -> list[object]:
    """Return the cells as parameters, each once, those of the core with the marker `core`.

    The core of all files is at most 100 cell-repeats, so that `make bench` takes 4 minutes at most.
    """
    rest = [cell for cell in dict.fromkeys(more) if cell not in core]
    return [*(pytest.param(cell, marks=pytest.mark.core) for cell in core), *rest]
