"""Rows of a CSV file: a line of names, then numbers; all are read at once.

Easy to get wrong: a CSV does not say its types, so a target whose every value is written as a whole number is taken for
class labels, as a column of integers is elsewhere; and what is no number has to be encoded first, by who knows its meaning.
"""

import csv
import functools
import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbbench.case import UsageError
from mbbench.measuring.columns import features_of
from mbbench.measuring.formats import Part, Read, Table

DELIMITERS = ",;\t"


def csv_table(path: Path, target: str, features: Sequence[str] | None, labels: bool = True) -> Table:
    """Read a CSV file: a column of numbers as target, and those of the features (default: all others) as float64.

    Without `labels` a target of whole numbers is a column of floats too.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            headers = {comma: next(csv.reader([first], delimiter=comma), []) for comma in DELIMITERS}
            delimiter = max(DELIMITERS, key=lambda comma: len(headers[comma]))
            names = [name.strip() for name in headers[delimiter]]
            reader = csv.reader(file, delimiter=delimiter)
            uneven = next((row for row in reader if row and len(row) != len(names)), None)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path.name} is no text in UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from None
    if uneven is not None:
        raise UsageError(
            f"{path.name}: line {reader.line_num + 1} has {len(uneven)} values, the line of names has {len(names)}"
        )
    if not names:
        raise UsageError(f"{path.name} is empty: expected a line of names and lines of numbers")
    chosen = features_of(path.name, names, [target], features)
    read = functools.partial(_columns, path, delimiter, names)
    x, y = (torch.from_numpy(read(several)) for several in (chosen, [target]))
    if labels and not any(set(text) & set(".eEnN") for text in _texts(path, delimiter, names.index(target))):
        y = y[:, 0].to(torch.int64)
    return Table(len(x), Part(tuple(x.shape[1:]), x.dtype), Part(tuple(y.shape[1:]), y.dtype), (), _Held(x, y))


def _texts(path: Path, delimiter: str, place: int) -> Iterator[str]:
    """Yield a column as it is written."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in itertools.islice(csv.reader(file, delimiter=delimiter), 1, None):
            if row:
                yield row[place]


def _columns(path: Path, delimiter: str, names: Sequence[str], chosen: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return columns, shape (n, columns); raise UsageError, with line and column, where something is no such number."""
    places = [names.index(name) for name in chosen]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a file without rows: said below
            lines = itertools.islice(file, 1, None)
            options: dict[str, Any] = {"comments": None, "quotechar": '"', "ndmin": 2}
            found: np.ndarray[Any, Any] = np.loadtxt(lines, delimiter=delimiter, usecols=places, **options)
    except ValueError as error:
        raise UsageError(f"{path.name}: {_where(path, delimiter, names, chosen) or error}") from None
    if not len(found):
        raise UsageError(f"{path.name} holds no rows below its line of names {', '.join(names)}")
    return found


def _where(path: Path, delimiter: str, names: Sequence[str], chosen: Sequence[str]) -> str:
    """Say what the first thing is that is no number, and where."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=delimiter)
        next(reader)
        for row in reader:
            for name, value in zip(names, row, strict=False):
                if name in chosen and not _is_number(value):
                    if _is_number(value.replace(",", ".")):
                        return f"line {reader.line_num} has {value!r} in column {name!r}: write decimals with a point"
                    return (
                        f"line {reader.line_num} has {value!r} in column {name!r}: expected a number; fill or encode it (as "
                        "examples/tabular.py does), or leave the column out by features=[...]"
                    )
    return ""


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return "_" not in value  # which Python takes and numpy does not


class _Held:
    """Rows that were read, opened as files are; a class, since a problem is sent to a worker."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    @contextmanager
    def __call__(self) -> Iterator[Read]:
        yield self._read

    def _read(self, start: int, stop: int, x: Tensor, y: Tensor) -> None:
        x.copy_(self.x[start:stop])
        y.copy_(self.y[start:stop])
