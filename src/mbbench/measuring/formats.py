"""Stored arrays (.npy, safetensors): what a file says of itself, and how its rows come into given buffers.

Easy to get wrong: pages of a mapped file count as the process's memory once they are touched, so none is mapped for long;
a library that a format needs is optional, and imported only where there is such a file.
"""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbbench.case import UsageError

CHUNK_BYTES = 256 * 1024
"""Read from one place at a time: 60 places in a window of 16 MiB; chunks of 1 MiB read no faster from the page cache."""
MAPPED_BYTES = 16 * 2**20
"""Of a safetensors file, read before it is opened anew, which drops the pages that it left resident (in 0.1 to 0.5 ms)."""

Read = Callable[[int, int, Tensor, Tensor], None]
"""Reads rows start to stop into features and targets, two buffers of so many rows in the stored dtypes."""

NUMBERS = {
    "float16": ("halffloat", "F16"),
    "bfloat16": ("", "BF16"),
    "float32": ("float", "F32"),
    "float64": ("double", "F64"),
    "uint8": ("uint8", "U8"),
    "int8": ("int8", "I8"),
    "int16": ("int16", "I16"),
    "int32": ("int32", "I32"),
    "int64": ("int64", "I64"),
}
"""The dtypes rows may have, with what Arrow and safetensors call them."""


@dataclass(frozen=True)
class Part:
    """The features or the targets of one row: their shape, and their dtype as stored."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Size of one row of it, as stored."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Table:
    """What the headers of stored rows say.

    Attributes:
        n: rows.
        x: features of a row.
        y: targets of a row.
        groups: where Parquet's row groups begin, and n; empty where every row can be read by itself.
        open: opens the files for reading, until the end of a `with`.
    """

    n: int
    x: Part
    y: Part
    groups: tuple[int, ...]
    open: Callable[[], AbstractContextManager[Read]]

    def __post_init__(self) -> None:
        """Check that there is something to read."""
        if not (self.n and self.x.bytes and self.y.bytes):
            shapes = f"shape {self.x.shape} features and {self.y.shape} targets"
            raise UsageError(f"the files hold {self.n} rows of {shapes}: give at least one row of at least one number")


def npy_table(x: Path, y: Path) -> Table:
    """Read the headers of two arrays as numpy.save writes them, first dimension n."""
    (n, x_part, x_at), (m, y_part, y_at) = _npy_header(x), _npy_header(y)
    if n != m:
        raise UsageError(f"{x.name} has {n} rows of features and {y.name} {m} targets: give as many of each")
    return Table(n, x_part, y_part, (), functools.partial(_npy_rows, (x, x_at), (y, y_at)))


def _npy_header(path: Path) -> tuple[int, Part, int]:
    """Return the rows of an array, what one is, and where in the file they begin."""
    with path.open("rb") as file:
        try:
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, by_columns, kind = read[np.lib.format.read_magic(file)](file)
        except (ValueError, KeyError):
            raise UsageError(f"{path.name} is no array of numbers: write it with numpy.save") from None
        begins = file.tell()
    if not shape:
        raise UsageError(f"{path.name} holds one number: expected an array whose first dimension is the rows")
    if by_columns:
        raise UsageError(
            f"{path.name} is stored column by column: write it with numpy.save(..., numpy.ascontiguousarray(a))"
        )
    known = kind.isnative and kind.name in NUMBERS
    part = Part(shape[1:], number_dtype(kind.name if known else None, f"{path.name} holds {kind}"))
    if begins + shape[0] * part.bytes > path.stat().st_size:
        raise UsageError(f"{path.name} ends before its {shape[0]} rows do: it was cut off, write it again")
    return shape[0], part, begins


@contextmanager
def _npy_rows(*arrays: tuple[Path, int]) -> Iterator[Read]:
    with ExitStack() as opened:
        # Unbuffered: each read goes straight into the tensor.
        files = [opened.enter_context(FileIO(path)) for path, _ in arrays]

        def read(start: int, stop: int, *into: Tensor) -> None:
            for (path, begins), file, rows in zip(arrays, files, into, strict=True):
                rest = rows.numpy().data.cast("B")
                file.seek(begins + start * (len(rest) // (stop - start)))
                while rest:  # one read returns 2 GiB at most
                    count = file.readinto(rest)
                    if not count:
                        raise UsageError(f"{path.name} ended while it was read: leave it alone while it is in use")
                    rest = rest[count:]

        yield read


def safetensors_table(path: Path, x: str, y: str) -> Table:
    """Read what a safetensors file says of two of its tensors, first dimension n."""
    package = library("safetensors", path)
    try:
        with package.safe_open(path, framework="pt") as file:
            names = list(file.keys())
            for name in (x, y):
                if name not in names:
                    raise UsageError(f"{path.name} has no tensor {name!r}: it has {', '.join(sorted(names))}")
            found = [(file.get_slice(name).get_shape(), file.get_slice(name).get_dtype()) for name in (x, y)]
    except package.SafetensorError:
        raise UsageError(f"{path.name} is no safetensors file: write it with safetensors.torch.save_file") from None
    codes = {code: name for name, (_, code) in NUMBERS.items()}
    (n, *x_shape), (m, *y_shape) = (shape or [0] for shape, _ in found)
    if n != m:
        raise UsageError(f"{path.name} has {n} rows of {x!r} and {m} of {y!r}: give as many of each")
    parts = [
        Part(tuple(shape), number_dtype(codes.get(code), f"{name!r} in {path.name} holds {code}"))
        for name, shape, (_, code) in zip((x, y), (x_shape, y_shape), found, strict=True)
    ]
    return Table(n, parts[0], parts[1], (), functools.partial(_safetensors_rows, path, (x, y)))


@contextmanager
def _safetensors_rows(path: Path, names: tuple[str, str]) -> Iterator[Read]:
    package = library("safetensors", path)
    with ExitStack() as opened:
        slices: list[Any] = []
        left = 0  # bytes until it is opened anew

        def read(start: int, stop: int, *into: Tensor) -> None:
            nonlocal slices, left
            step = max(1, CHUNK_BYTES * (stop - start) // sum(rows.nbytes for rows in into))
            for at in range(0, stop - start, step):
                if left <= 0:
                    slices = []
                    opened.close()
                    file = opened.enter_context(package.safe_open(path, framework="pt"))
                    slices, left = [file.get_slice(name) for name in names], MAPPED_BYTES
                for stored, rows in zip(slices, into, strict=True):
                    part = rows[at : at + step]
                    part.copy_(stored[start + at : start + at + len(part)])
                    left -= part.nbytes

        yield read


def number_dtype(name: str | None, found: str, hint: str = "") -> torch.dtype:
    """Return the dtype of this name; raise UsageError, which says what was found, where there is none."""
    if name is None:
        raise UsageError(f"{found}: expected one of {', '.join(NUMBERS)}, convert it{hint}")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def library(name: str, path: Path) -> Any:
    """Import a module that this file needs; raise UsageError where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UsageError(f"{path.name} needs {package}, which is not installed: pip install 'mbbench[files]'") from None
