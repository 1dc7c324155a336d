"""What to type where a figure is missing: the `mbbench run` that would make it, as short as it may be.

Easy to get wrong: a command that leaves an axis out measures another setting, which fills nothing.
"""

import shlex
from collections.abc import Sequence

from mbbench.case import Cell

_DEFAULTS = (("loader", "slice"), ("device", "cpu"), ("optimizer", "sgd"), ("lr", None), ("dtype", "float32"))


def axes(cell: Cell, threads: bool = True) -> list[str]:
    """Return the options that ask for a cell's axes, those for its problem, n and batch size apart, where not the defaults.

    Threads, whose default is the machine's, are always named on the CPU, unless `threads` is false.
    """
    parts = []
    for name, default in _DEFAULTS:
        value = getattr(cell, name)
        parts += [f"--{name}", str(value)] if value != default else []
    parts += ["--threads", str(cell.threads)] if threads and cell.device == "cpu" else []
    parts += [] if cell.shuffle else ["--no-shuffle"]
    return parts + [word for name, value in cell.options for word in (f"--{name}", value)]


def within(cell: Cell, *more: str, time: str = "60s", rows: Sequence[int] = ()) -> str:
    """Return the command that recommends a batch size for cells like this one within a time.

    Args:
        cell: any of them.
        more: further options.
        time: as it is typed.
        rows: numbers of rows; () is the cell's own.
    """
    n = ",".join(map(str, rows or (cell.n_samples,)))
    return " ".join(["mbbench", "run", shlex.quote(cell.problem), "--n", n, *axes(cell), "--time", time, *more])
