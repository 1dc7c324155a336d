"""The grid: every combination of the axes, as cells, and how a value of an axis is read from text.

Easy to get wrong: a batch size equal to the number of rows is the full batch and becomes it, so that none is measured twice.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from mbbench import pyproject
from mbbench.case import FULL, OPTIONS, Case, Cell, UsageError, check_cell, check_name

ACROSS = 11
"""Batch sizes below the full batch where none are named."""
DEFAULT_BATCH_SIZES: tuple[int | str, ...] = (32, 256, FULL)
Number = TypeVar("Number", int, float)


def split(text: str) -> list[str]:
    """Return the parts of a comma-separated text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(name: str, text: str, kind: Callable[[str], Number]) -> list[Number]:
    """Return comma-separated numbers; raise UsageError where they are none."""
    try:
        return [kind(part) for part in split(text)]
    except ValueError:
        raise UsageError(f"{name} is {text!r}: expected numbers separated by commas") from None


def micro_batches(text: str) -> list[int | None]:
    """Return micro-batches, None where "none" was asked for."""
    return [None if part == "none" else numbers("micro_batch", part, int)[0] for part in split(text)]


def read_batch_size(text: str | int | None) -> int | None:
    """Read a batch size: a whole number, or "full" (None) for all rows; raise UsageError on anything else."""
    if text is None or text == FULL:
        return None
    if isinstance(text, int) or (isinstance(text, str) and re.fullmatch(r"\s*[+-]?\d+\s*", text)):
        return int(text)
    raise UsageError(f'batch_size is {text!r}: expected a whole number from 1 up, or "full"')


def read_bytes(text: str | int) -> int:
    """Read an amount of memory in bytes: "2GiB", "500 MB", a plain number of bytes; raise UsageError on anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B?|B)?\s*", str(text), re.IGNORECASE)
    size = 0
    if found:
        power = " KMGT".index(found[2].upper()) if found[2] else 0
        size = int(float(found[1]) * (1024 if found[3] else 1000) ** power)
    if size < 1:
        raise UsageError(f'memory budget is {text!r}: expected an amount above 0, such as "1GiB", "500MB" or bytes')
    return size


def read_seconds(text: str | float) -> float:
    """Return seconds from "60", "60s", "90 s", "5min" or "1h"; raise UsageError where that is no time above 0."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)?", str(text).strip())
    seconds = float(found[1]) * {"m": 60, "min": 60, "h": 3600}.get(found[2] or "s", 1) if found else 0.0
    if not seconds > 0:
        raise UsageError(f'time is {text!r}: expected a time above 0, as "60s", "5min" or "1h"')
    return seconds


def default_sizes(n: int, least_rows: int = 1) -> list[int | str]:
    """Return powers of two below n, or of four where that makes more than `ACROSS`, and the full batch.

    With `least_rows` 2 without those of which some batch has a single row.
    """
    powers = [2**power for power in range(math.ceil(math.log2(n)))] if n > 1 else []
    while len(powers) > ACROSS:
        powers = powers[::2]
    return [*(size for size in powers if least_rows == 1 or 1 not in (size, n % size)), "full"]


def grid(
    problem: str | Iterable[str] | None = None,
    *,
    n_samples: int | Iterable[int] | None = None,
    batch_size: int | str | Iterable[int | str | None] | None = None,
    options: Mapping[str, str] | None = None,
    **axes: Any,
) -> list[Cell]:
    """Return every combination of the axes as cells, in the order of the axes.

    Args:
        problem: one name, or several. None: it is the grid of [tool.mbbench] in the nearest pyproject.toml, but for what is
            given here.
        n_samples: one number of rows, or several.
        batch_size: one batch size or several; "full" or None is the full batch.
        options: option values, the same in every cell.
        axes: any other field of `Cell`, one value or several.

    Returns:
        A `Case` where it can be run; a plain `Cell` (not `applicable`) where the batch is larger than the data set.
        A batch size equal to n_samples is the full batch, and becomes it, so that no cell is measured twice.

    Raises:
        UsageError: a value is not valid, an axis is unknown or empty, or no cell is left that can be run.
    """
    if problem is None:
        given = {"n_samples": n_samples, "batch_size": batch_size, "options": options}
        return grid(**(_configured() | {name: value for name, value in given.items() if value is not None} | axes))
    if n_samples is None:
        raise UsageError("n_samples is not given: say how many rows to train on, as n_samples=1000")
    names = Cell.__struct_fields__
    for axis in axes:
        check_name("axis", axis, names)
    chosen = tuple(sorted((k, v) for k, v in (options or {}).items() if v != OPTIONS.get(k, (None,))[0]))
    values = {"problem": _several(problem), "n_samples": _several(n_samples)}
    values["batch_size"] = [read_batch_size(size) for size in _several(batch_size)]
    values |= {axis: _several(value) for axis, value in axes.items()}
    for axis, several in values.items():
        if not several:
            raise UsageError(f"axis {axis} is empty: give at least one value")
    cells = [_cell(dict(zip(values, row, strict=True)), chosen) for row in itertools.product(*values.values())]
    cells = list(dict.fromkeys(cells))
    if not any(cell.applicable for cell in cells):
        smallest = min(cell.samples_per_step for cell in cells)
        most = max(cell.n_samples for cell in cells)
        raise UsageError(
            f"batch_size is {smallest}, but the data set has {most} samples: "
            f'use {most} or fewer, or "full" (no cell of the grid can be run)'
        )
    return cells


def _configured() -> dict[str, Any]:
    """Return the axes that [tool.mbbench] gives `grid`, as its arguments."""
    file, found = pyproject.settings()
    if "problem" not in found:
        where = f"[tool.mbbench] in {file} has none" if file else f"no {pyproject.FILE} here or above has [tool.mbbench]"
        raise UsageError(f"grid() without a problem takes it from [tool.mbbench], and {where}: name it in either place")
    text = {key: str(value) for key, value in found.items()}
    readers: dict[str, Callable[[str], Any]] = {
        "problem": str,
        "batch-size": split,
        "micro-batch": micro_batches,
        "threads": lambda each: numbers("threads", each, int),
        "lr": lambda each: numbers("lr", each, float),
        **dict.fromkeys(("loader", "device", "optimizer", "dtype"), split),
    }
    axes: dict[str, Any] = {key.replace("-", "_"): read(text[key]) for key, read in readers.items() if key in text}
    if "n" in text:
        axes["n_samples"] = numbers("n", text["n"], int)
    if "shuffle" in found:
        axes["shuffle"] = found["shuffle"]
    options = {name: text[key] for name in OPTIONS if (key := name.replace("_", "-")) in text and name != "lr_policy"}
    return {"batch_size": DEFAULT_BATCH_SIZES, "options": options} | axes


def _several(value: Any) -> list[Any]:
    one = value is None or isinstance(value, str | bytes) or not isinstance(value, Iterable)
    # numpy's numbers are not Python's, and JSON knows only those
    return [each.item() if hasattr(each, "item") else each for each in ([value] if one else value)]


def _cell(fields: dict[str, Any], options: tuple[tuple[str, str], ...]) -> Cell:
    if fields["batch_size"] == fields["n_samples"]:
        fields["batch_size"] = None
    cell = Cell(**fields, options=options)
    check_cell(cell)
    return Case(**fields, options=options) if cell.applicable else cell
