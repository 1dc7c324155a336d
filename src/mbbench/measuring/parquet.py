"""Rows of a Parquet file: columns of numbers, decoded row group by row group into given buffers.

Easy to get wrong: a row group can only be decoded from its start on, so it is what rows are picked by; pyarrow's own
buffers are no tensors (a page of each column, 1 MiB unless the file's writer chose less, once compressed and once not).
"""

import bisect
import functools
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbbench.case import UsageError
from mbbench.measuring.columns import features_of
from mbbench.measuring.formats import CHUNK_BYTES, NUMBERS, Part, Read, Table, library, number_dtype

PAGE_BYTES = 64 * 1024
"""Read of a column at a time. Without it all columns of a row group are read first: 300 instead of 150 MB for row groups
of 1,048,576 rows and 33 columns, which is what pyarrow writes unless told otherwise (60 MB for those of 8192)."""


def parquet_table(path: Path, target: str, features: Sequence[str] | None, labels: bool = True) -> Table:
    """Read the schema of a Parquet file: a column of numbers as target, and those of the features (default: all others).

    Without `labels` a target of integers is a column of floats too.
    """
    with _parquet(path) as file:
        kinds = {field.name: str(field.type) for field in file.schema_arrow}
        counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        columns = file.schema_arrow.names
    names = features_of(path.name, columns, [target], features)
    types = {kind: name for name, (kind, _) in NUMBERS.items()}
    hint = " (or leave the column out, by features=[...])" if features is None else ""
    dtypes = [
        number_dtype(types.get(kinds[name]), f"column {name!r} of {path.name} is {kinds[name]}", hint) for name in names
    ]
    y_dtype = number_dtype(types.get(kinds[target]), f"column {target!r} of {path.name} is {kinds[target]}")
    x = Part((len(names),), functools.reduce(torch.promote_types, dtypes))
    if not (labels or y_dtype.is_floating_point):
        y_dtype = torch.float64
    y = Part((1,) if y_dtype.is_floating_point else (), y_dtype)
    groups = tuple(itertools.accumulate(counts, initial=0))
    rows = max(1, CHUNK_BYTES // (x.bytes + y.bytes))
    return Table(groups[-1], x, y, groups, functools.partial(_parquet_rows, path, (*names, target), groups, rows))


@contextmanager
def _parquet_rows(path: Path, columns: tuple[str, ...], groups: tuple[int, ...], rows: int) -> Iterator[Read]:
    with _parquet(path) as file:
        yield _RowGroups(path, file, columns, groups, rows).read


class _RowGroups:
    """Reads rows of a Parquet file: onwards in a row group from where it is, elsewhere from the start of the row group."""

    def __init__(self, path: Path, file: Any, columns: tuple[str, ...], groups: tuple[int, ...], rows: int) -> None:
        self.path, self.file, self.columns, self.groups, self.rows = path, file, columns, groups, rows
        self.batches: Iterator[Any] = iter(())
        self.arrays: list[np.ndarray] = []
        self.begins = self.ends = self.group_ends = 0  # of the current batch, and of its row group

    def read(self, start: int, stop: int, x: Tensor, y: Tensor) -> None:
        """Read rows start to stop: see `Read`."""
        features, targets = x.numpy(), y.view(-1).numpy()
        at = start
        while at < stop:
            self._go_to(at)
            end = min(stop, self.ends)
            stored, into = slice(at - self.begins, end - self.begins), slice(at - start, end - start)
            for number, values in enumerate(self.arrays[:-1]):
                features[into, number] = values[stored]
            targets[into] = self.arrays[-1][stored]
            at = end

    def _go_to(self, row: int) -> None:
        """Make the batch that this row is in the current one."""
        if not self.begins <= row < self.group_ends:
            group = bisect.bisect_right(self.groups, row) - 1
            self.arrays = []
            # One thread: how many a case may use is for the case to say.
            self.batches = self.file.iter_batches(
                batch_size=self.rows, row_groups=[group], columns=list(self.columns), use_threads=False
            )
            self.begins = self.ends = self.groups[group]
            self.group_ends = self.groups[group + 1]
        while row >= self.ends:
            batch = next(self.batches, None)
            if batch is None:
                raise UsageError(f"{self.path.name} ended while it was read: leave it alone while it is in use")
            self.arrays = [self._values(batch, name) for name in self.columns]
            self.begins, self.ends = self.ends, self.ends + batch.num_rows

    def _values(self, batch: Any, name: str) -> np.ndarray:
        column = batch.column(name)
        if column.null_count:
            raise UsageError(f"column {name!r} of {self.path.name} has missing values: fill them, or drop those rows")
        values: np.ndarray = column.to_numpy(zero_copy_only=True)
        return values


def _parquet(path: Path) -> Any:
    package = library("pyarrow.parquet", path)
    try:
        return package.ParquetFile(path, pre_buffer=False, buffer_size=PAGE_BYTES)
    except library("pyarrow", path).ArrowInvalid:
        raise UsageError(f"{path.name} is no Parquet file: write it again") from None
