"""Stored arrays (.npy, safetensors): what a file says of itself, and how its rows come into given buffers.

Easy to get wrong: a mapped file counts as the process's memory, whole under a limit (safetensors' own library maps it
privately, which RLIMIT_DATA counts) and page by page in its resident size, so none is mapped; a library that a format needs
is optional, and imported only where there is such a file.
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

import msgspec
import numpy as np
import torch
from torch import Tensor

from mbbench.case import UsageError

CHUNK_BYTES = 256 * 1024
"""Read from one place at a time: 60 places in a window of 16 MiB; chunks of 1 MiB read no faster from the page cache."""
HEADER_BYTES = 100_000_000
"""Most that a safetensors header takes, by the format: a longer one is no header, and is not read into memory."""

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
    return Table(n, x_part, y_part, (), functools.partial(_file_rows, (x, x_at), (y, y_at)))


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
def _file_rows(*arrays: tuple[Path, int]) -> Iterator[Read]:
    with ExitStack() as opened:
        # Unbuffered: each read goes straight into the tensor.
        files = [opened.enter_context(FileIO(path)) for path, _ in arrays]

        def read(start: int, stop: int, *into: Tensor) -> None:
            for (path, begins), file, rows in zip(arrays, files, into, strict=True):
                rest = rows.view(-1).view(torch.uint8).numpy().data  # as bytes, since numpy has no bfloat16
                file.seek(begins + start * (len(rest) // (stop - start)))
                while rest:  # one read returns 2 GiB at most
                    count = file.readinto(rest)
                    if not count:
                        raise UsageError(f"{path.name} ended while it was read: leave it alone while it is in use")
                    rest = rest[count:]

        yield read


class _Tensor(msgspec.Struct):
    """What a safetensors header says of one tensor; the offsets, of its first byte and after its last, are from its end."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def safetensors_table(path: Path, x: str, y: str) -> Table:
    """Read what a safetensors file says of two of its tensors, first dimension n."""
    header, begins = _safetensors_header(path)
    for name in (x, y):
        if name not in header:
            names = ", ".join(sorted(header.keys() - {"__metadata__"}))
            raise UsageError(f"{path.name} has no tensor {name!r}: it has {names}")
    (n, x_part, x_at), (m, y_part, y_at) = (_safetensors_part(path, name, header[name], begins) for name in (x, y))
    if n != m:
        raise UsageError(f"{path.name} has {n} rows of {x!r} and {m} of {y!r}: give as many of each")
    return Table(n, x_part, y_part, (), functools.partial(_file_rows, (path, x_at), (path, y_at)))


def _safetensors_header(path: Path) -> tuple[dict[str, msgspec.Raw], int]:
    """Return what the header says of each tensor, still encoded, and where in the file the data begin.

    The format: 8 bytes of the header's length, little-endian, a JSON object, data
    (https://github.com/huggingface/safetensors#format).
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length <= min(HEADER_BYTES, path.stat().st_size) else b""
    try:
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw]), 8 + length
    except ValueError:  # no JSON, no UTF-8, no object
        raise _no_safetensors(path) from None


def _safetensors_part(path: Path, name: str, encoded: msgspec.Raw, begins: int) -> tuple[int, Part, int]:
    """Return the rows of a tensor, what one is, and where in the file they begin."""
    try:
        found = msgspec.json.decode(encoded, type=_Tensor)
    except ValueError:
        raise _no_safetensors(path) from None
    codes = {code: known for known, (_, code) in NUMBERS.items()}
    n, *shape = found.shape or (0,)
    part = Part(tuple(shape), number_dtype(codes.get(found.dtype), f"{name!r} in {path.name} holds {found.dtype}"))
    start, end = found.data_offsets
    if found.shape and end - start != n * part.bytes:
        raise _no_safetensors(path)
    if begins + end > path.stat().st_size:
        raise UsageError(f"{path.name} ends before the {n} rows of {name!r} do: it was cut off, write it again")
    return n, part, begins + start


def _no_safetensors(path: Path) -> UsageError:
    return UsageError(f"{path.name} is no safetensors file: write it with safetensors.torch.save_file")


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
