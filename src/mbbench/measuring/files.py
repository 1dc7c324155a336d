"""Files as data: rows that are described, not held, and read in windows of bounded size.

Two shuffles stand in for one over all rows (CorgiPile, Xu et al. 2022): chunks of consecutive rows come in random order,
several of them fill a window, and the rows of a window are shuffled (`streaming.py`).

Easy to get wrong: files are often sorted by label, so neither held-out rows nor a part of the rows may come from one end;
a window's buffers are filled anew each time, so whoever wants its rows for longer copies them.
"""

import bisect
import copy
import dataclasses
import itertools
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mbbench.case import UsageError
from mbbench.measuring.csv_file import csv_table
from mbbench.measuring.formats import CHUNK_BYTES, Read, Table, npy_table, safetensors_table
from mbbench.measuring.parquet import parquet_table

Pair = tuple[Tensor, Tensor]
Span = tuple[int, int]
"""Rows from the first number up to, not including, the second."""

WINDOW_BYTES = 16 * 2**20
"""Of rows that are shuffled together, with 8 bytes of order for each: fits a last-level cache, and mixes 60 chunks."""
STRATA = 256
"""Into how many equal parts a file is cut to choose rows from each: more classes than that in a sorted file, and a
held-out set misses some; more parts, and chunks have more holes (five of 390 rows in a file of 100,000)."""
FORMS = (
    'Files(x="x.npy", y="y.npy"), Files("rows.parquet", target="y"), Files("rows.csv", target="y") or '
    'Files("rows.safetensors", x="x", y="y")'
)


@dataclass(frozen=True)
class Files:
    """Rows in files, as the data of a Problem.

    Cheap to make: headers are read, rows are not (but those of a CSV file). Four forms:
    `Files(x="x.npy", y="y.npy")`: two arrays as numpy.save writes them.
    `Files("rows.parquet", target="y")`: columns of numbers; features are all others, or those named. A target of floats
    gives rows of shape (1,), as nn.Linear predicts; one of integers, class labels, rows of shape (). Row groups come in
    random order: write about 1 MiB in each (row_group_size=8192 for 32 floats), or a window is of few places.
    `Files("rows.csv", target="y")`: the same of a text file with a line of names, which is read into memory at once.
    `Files("rows.safetensors", x="x", y="y")`: two tensors by their names.

    Floats become the case's dtype when they are used; targets that are integers become int64, as losses expect.

    Attributes:
        path: a Parquet, CSV or safetensors file. Relative paths are relative to the working directory, as in `open`.
        x: features: an .npy file, or a tensor's name.
        y: targets: an .npy file, or a tensor's name.
        target: a column of a Parquet or CSV file; in a list, ["price"], whole numbers in it are no class labels.
        features: its columns; None: all but the target. Integers and floats together become floats.
        table: what the headers say.

    Raises:
        UsageError: a file is not there, not of its format, or its rows cannot be used; a library is not installed.
    """

    path: str | os.PathLike[str] | None = None
    _: KW_ONLY
    x: str | os.PathLike[str] | None = None
    y: str | os.PathLike[str] | None = None
    target: str | Sequence[str] | None = None
    features: Sequence[str] | None = None
    table: Table = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the headers."""
        for name in ("path", "x", "y"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else os.fspath(value))
        if isinstance(self.features, str):
            raise UsageError(f"features is {self.features!r}: expected a list of columns, as [{self.features!r}]")
        object.__setattr__(self, "features", None if self.features is None else tuple(self.features))
        object.__setattr__(self, "table", self._read_headers())

    def _read_headers(self) -> Table:
        given = {name for name in ("path", "x", "y", "target", "features") if getattr(self, name) is not None}
        kind = None if self.path is None else Path(self.path).suffix
        labels = isinstance(self.target, str)
        if not labels and self.target is not None and len(self.target) != 1:
            raise UsageError(f"target is {list(self.target)}: expected one column of a file; a table may have several")
        target = "" if self.target is None else str(self.target) if labels else self.target[0]
        if given == {"x", "y"} and {Path(str(part)).suffix for part in (self.x, self.y)} == {".npy"}:
            return npy_table(_there(self.x), _there(self.y))
        if kind == ".safetensors" and given == {"path", "x", "y"}:
            return safetensors_table(_there(self.path), str(self.x), str(self.y))
        if kind == ".parquet" and given - {"features"} == {"path", "target"}:
            return parquet_table(_there(self.path), target, self.features, labels)
        if kind == ".csv" and given - {"features"} == {"path", "target"}:
            return csv_table(_there(self.path), target, self.features, labels)
        words = ", ".join(f"{name}={getattr(self, name)!r}" for name in ("path", "x", "y", "target") if name in given)
        raise UsageError(f"Files({words}) names no rows: expected {FORMS}")

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.table.n

    @property
    def row_bytes(self) -> int:
        """Size of a row as stored, features and targets."""
        return self.table.x.bytes + self.table.y.bytes

    @property
    def state(self) -> tuple[tuple[int, int], ...]:
        """Size in bytes and time of change in ns of each file: where they differ, the rows may."""
        paths = (self.x, self.y) if self.path is None else (self.path,)
        return tuple((found.st_size, found.st_mtime_ns) for found in map(os.stat, map(str, paths)))

    def dtypes(self, floating: torch.dtype | None = None) -> tuple[torch.dtype, torch.dtype]:
        """Return what features and targets are handed out in, where floats become `floating`; None: they stay as stored."""
        x, y = self.table.x.dtype, self.table.y.dtype
        return (floating or x) if x.is_floating_point else x, (floating or y) if y.is_floating_point else torch.int64

    def read(self, start: int, stop: int) -> Pair:
        """Return rows `start` up to `stop`, features and targets, floats in their stored dtype."""
        if not 0 <= start < stop <= len(self):
            raise UsageError(f"rows {start} to {stop} were asked for: expected a part of 0 to {len(self)}")
        return Stored(self, ((start, stop),)).load()

    def unread(self) -> Self:
        """Return the same rows with reads that do nothing: memory can then be reckoned on tensors that only have a shape."""
        other = copy.copy(self)
        object.__setattr__(other, "table", dataclasses.replace(self.table, open=_nothing))
        return other


@dataclass(frozen=True)
class Stored:
    """Some rows of files: chosen, not read. They lie in host memory whenever they are read.

    Attributes:
        files: where they are.
        spans: which, in their stored order.
    """

    files: Files
    spans: tuple[Span, ...]
    device = torch.device("cpu")

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(stop - start for start, stop in self.spans)

    def load(self) -> Pair:
        """Read them all."""
        x, y = _buffers(self.files.table, len(self))
        at = 0
        with self.files.table.open() as read:
            for start, stop in self.spans:
                end = at + stop - start
                read(start, stop, x[at:end], y[at:end])
                at = end
        return x, y.to(self.files.dtypes()[1])

    def windows(self, rows: int, order: np.random.Generator | None = None) -> Iterator[Pair]:
        """Read them all, `rows` at a time, in stored dtypes and always into the same two buffers.

        Args:
            rows: of a window; the last one may have fewer.
            order: draws the order of the chunks; None: the stored order. Of numpy, since their numbers are needed, which a
                tensor that only has a shape does not tell.
        """
        rows = min(rows, len(self))
        x, y = _buffers(self.files.table, rows)
        filled = 0
        with self.files.table.open() as read:
            for start, stop in self.spans if order is None else self._shuffled(order):
                at = start
                while at < stop:
                    end = min(stop, at + rows - filled)
                    into = slice(filled, filled + end - at)
                    read(at, end, x[into], y[into])
                    at, filled = end, into.stop
                    if filled == rows:
                        yield x, y
                        filled = 0
            if filled:
                yield x[:filled], y[:filled]

    def _shuffled(self, order: np.random.Generator) -> Iterator[Span]:
        """Return spans of a chunk at most, the chunks (of Parquet: the row groups) in random order."""
        groups, n = self.files.table.groups, len(self.files)
        rows = max(1, CHUNK_BYTES // self.files.row_bytes)
        for chunk in order.permutation(len(groups) - 1 if groups else -(-n // rows)):
            start, stop = groups[chunk : chunk + 2] if groups else (int(chunk) * rows, min(n, int(chunk + 1) * rows))
            first = bisect.bisect_right(self.spans, start, key=lambda span: span[1])
            for span in itertools.islice(self.spans, first, None):
                if span[0] >= stop:
                    break
                yield max(start, span[0]), min(stop, span[1])


def window_rows(row_bytes: int) -> int:
    """Return how many rows of this size are shuffled together, one at least."""
    return max(1, WINDOW_BYTES // (row_bytes + 8))


def choose(files: Files, n: int, held_out: int, seed: int) -> tuple[Stored, Stored | None]:
    """Choose `n` rows to train on, and `held_out` others or None, evenly from all parts of the files.

    The files are cut into `STRATA` equal parts, and each gives its share: from a seeded row on, round its end, the training
    rows, and up to that row the held-out ones. So both have the classes of a sorted file in its own proportions, to within
    a part, and are read by spans. With all rows the files are read as they are.
    """
    total = len(files)
    if n == total:
        return Stored(files, ((0, total),)), None
    draw = random.Random(seed)
    parts, left = min(STRATA, total - n), total - n
    train: list[Span] = []
    held: list[Span] = []
    before = 0  # rows of the parts so far that are not trained on
    for start, stop in itertools.pairwise(part * total // parts for part in range(parts + 1)):
        count = stop * n // total - start * n // total
        after = before + stop - start - count
        share = after * held_out // left - before * held_out // left
        first = draw.randrange(start, stop)
        train += _round((start, stop), first, count)
        held += _round((start, stop), first - share, share)
        before = after
    return Stored(files, tuple(train)), Stored(files, tuple(held)) if held else None


def _round(part: Span, first: int, count: int) -> list[Span]:
    """Return `count` rows of a part from `first` on, which may lie before it, and on from its start at its end."""
    start, stop = part
    first = start + (first - start) % (stop - start)
    beyond = max(0, first + count - stop)
    spans = [(start, start + beyond), (first, first + count - beyond)]
    return [span for span in spans if span[0] < span[1]]


def _buffers(table: Table, rows: int) -> Pair:
    x, y = (torch.empty((rows, *part.shape), dtype=part.dtype) for part in (table.x, table.y))
    return x, y


def _there(path: Any) -> Path:
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path}: give a path that leads there from the working directory")
    return Path(path)


@contextmanager
def _nothing() -> Iterator[Read]:
    yield lambda start, stop, x, y: None
