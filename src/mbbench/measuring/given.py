"""What somebody calls data, as rows: tensors, arrays, tables and mappings become nested tensors, data sets become `Items`.

Easy to get wrong: integers stay integers, since embeddings and class labels need them, and numpy's default float64 becomes
the case's dtype only where it is used; a column of floats as a target has shape (n, 1), as nn.Linear predicts, and one of
integers, class labels, shape (n,), as in `Files`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from mbbench.case import UsageError
from mbbench.measuring import nested
from mbbench.measuring.columns import features_of
from mbbench.measuring.files import Files
from mbbench.measuring.items import Items
from mbbench.measuring.nested import Nested

TABLES = ("pandas", "pyarrow", "polars")
"""Libraries whose tables are known: all give a column by its name, and that as an array."""
KNOWN = (
    "tensors or arrays of features and targets, a mapping of them, a pandas, polars or Arrow table with target=, a "
    "map-style data set, mbbench.Files(...), or a function (n, seed) that makes one of the first three"
)


class Given(NamedTuple):
    """Rows as they are trained on.

    Attributes:
        x: features; where a step takes the whole batch, the batch.
        y: targets; () where a step takes the whole batch.
    """

    x: Nested
    y: Nested


class Taking(NamedTuple):
    """How a problem's data are to be read.

    Attributes:
        whole: a step takes the whole batch, which is not split into features and targets.
        features: names of columns, None: all but the target.
        target: name of a column, or names of several; None: there is none.
        collate: see `Items`.
    """

    whole: bool
    features: str | Sequence[str] | None = None
    target: str | Sequence[str] | None = None
    collate: Callable[[list[Any]], Any] | None = None


def taken(data: Any, how: Taking) -> Given | Files | Items | Callable[[int, int], Any]:
    """Return data as what a Problem trains on.

    Raises:
        UsageError: it is none of what is known, has no rows, or its parts have different numbers of rows.
    """
    if isinstance(data, Given | Items):
        return data
    if isinstance(data, Files):
        _unnamed(how, "mbbench.Files names its own")
        if how.whole:
            raise UsageError("mbbench.Files hands out features and targets: give loss=, not a step of the whole batch")
        return data
    if _is_collection(data, how):
        _unnamed(how, "items have no columns; let collate put features and targets together")
        if not len(data):
            raise UsageError(f"data is a {type(data).__name__} of no items: give at least one")
        return Items(data, how.collate, functools.partial(_split, how=how))
    if how.collate is not None:
        raise UsageError(f"collate puts items of a data set together, but data is a {type(data).__name__}: leave it out")
    if callable(data) and not isinstance(data, Tensor | Mapping):
        return data  # type: ignore[no-any-return]
    return given(data, how)


def given(data: Any, how: Taking) -> Given:
    """Return rows that are there, or were made by a function, as nested tensors."""
    if isinstance(data, Given):
        return data
    if _is_table(data):
        data = _of_columns(data, how)
    elif how.target is not None or how.features is not None:
        data = _of_mapping(data, how)
    elif isinstance(data, Mapping) and not how.whole:
        raise UsageError(
            f"data is a mapping of {', '.join(map(str, data))}: name the target (target=...), or give step= instead of loss="
        )
    if not (how.whole or (isinstance(data, tuple | list) and len(data) == 2)):
        raise UsageError(f"data is a {type(data).__name__}: expected {KNOWN}")
    rows = _split(_tensors(tuple(data) if isinstance(data, list) else data), how)
    if not (how.whole or (isinstance(data, tuple | list) and isinstance(data[1], Tensor))):
        rows = Given(rows.x, nested.mapped(rows.y, _labels))
    counts = {len(part) if part.dim() else 0 for part in nested.tensors(rows)}
    if not counts or counts == {0}:
        raise UsageError(f"data of type {type(data).__name__} holds no rows: expected {KNOWN}")
    if len(counts) > 1:
        found = f"{nested.count(rows.x)} rows of features and {nested.count(rows.y)} targets"
        several = f"parts of {', '.join(map(str, sorted(counts)))} rows"
        one_each = isinstance(rows.x, Tensor) and isinstance(rows.y, Tensor)
        raise UsageError(f"data has {found if one_each else several}: give as many of each")
    return rows


def _split(batch: Any, how: Taking) -> Given:
    if how.whole:
        return Given(batch, ())
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        raise UsageError(f"data is a {type(batch).__name__}: expected {KNOWN}")
    return Given(batch[0], batch[1])


def _is_table(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] in TABLES and (hasattr(data, "columns") or hasattr(data, "column_names"))


def _is_collection(data: Any, how: Taking) -> bool:
    """Return whether data is a map-style data set; raise UsageError where it only looks like one."""
    if isinstance(data, str | Path):
        raise UsageError(f'data is {str(data)!r}: give what it holds, or mbbench.Files("{Path(data).name}", target=...)')
    if isinstance(data, DataLoader):
        raise UsageError("data is a DataLoader: give what it loads, as data=loader.dataset, collate=loader.collate_fn")
    if isinstance(data, IterableDataset) or (hasattr(data, "__iter__") and not hasattr(data, "__len__")):
        raise UsageError(
            f"data is a {type(data).__name__}, which does not say how many rows it has: expected {KNOWN}; "
            "list(...) makes a data set of an iterable that fits into memory"
        )
    if isinstance(data, Tensor | np.ndarray | Mapping | type) or _is_table(data):
        return False
    if isinstance(data, tuple | list):
        return isinstance(data, list) and (how.collate is not None or len(data) != 2)
    if not hasattr(data, "__getitem__"):
        return False
    if not hasattr(data, "__len__"):
        raise UsageError(f"data is a {type(data).__name__} without __len__: it has to say how many rows it has")
    return True


def _of_columns(table: Any, how: Taking) -> tuple[Any, Any]:
    """Return features and target of a table with named columns, as arrays."""
    if not hasattr(table, "__len__"):
        raise UsageError(f"data is a {type(table).__name__} without rows yet: give what .collect() returns")
    names = list(getattr(table, "column_names", None) or table.columns)
    if how.target is None:
        raise UsageError(f"data is a table of {', '.join(map(str, names))}: name the column to be predicted (target=...)")
    targets = list(how.target) if isinstance(how.target, list | tuple) else [how.target]
    chosen = [how.features] if isinstance(how.features, str) else how.features
    features = features_of("data", names, targets, chosen)
    x = np.column_stack([_numbers(table, name) for name in features])
    columns = [_numbers(table, name) for name in targets]
    labels = how.target == targets[0] and np.issubdtype(columns[0].dtype, np.integer)
    return x, columns[0].astype(np.int64) if labels else np.column_stack(columns).astype(np.float64)


def _numbers(table: Any, name: Any) -> np.ndarray[Any, Any]:
    theirs = type(table).__module__.startswith("pyarrow")
    column = np.asarray(table[name].to_numpy(zero_copy_only=False) if theirs else table[name].to_numpy())
    if column.dtype == bool:
        return column.astype(np.uint8)
    if not np.issubdtype(column.dtype, np.number):
        raise UsageError(
            f"column {name!r} holds {'text or objects' if column.dtype == object else column.dtype}: expected numbers; "
            "encode it as numbers or, of a feature, leave it out by features=[...]"
        )
    return column


def _of_mapping(data: Any, how: Taking) -> Any:
    """Return the named parts of a mapping of arrays: features and target, or a mapping of both for a step."""
    if not isinstance(data, Mapping):
        raise UsageError(f"features= and target= name columns, but data is a {type(data).__name__}: leave them out")
    targets = [how.target] if isinstance(how.target, str) else list(how.target or ())
    features = how.features if how.features is not None else [name for name in data if name not in targets]
    for name in [*targets, *([features] if isinstance(features, str) else features)]:
        if name not in data:
            raise UsageError(f"data has no part {name!r}: it has {', '.join(map(str, data))}")
    if both := [name for name in targets if name in ([features] if isinstance(features, str) else features)]:
        raise UsageError(f"the target {both[0]!r} is among the features: leave it out there")
    if not (targets or how.whole):
        raise UsageError(f"data is a mapping of {', '.join(map(str, data))}: name the target (target=...)")
    x = data[features] if isinstance(features, str) else {name: data[name] for name in features}
    y = data[how.target] if isinstance(how.target, str) else {name: data[name] for name in targets}
    return {**x, **{name: data[name] for name in targets}} if how.whole and isinstance(x, dict) else (x, y)


def _tensors(data: Any) -> Any:
    """Return the same with every array as a tensor, which shares its memory where it can."""
    if isinstance(data, Mapping):
        return {name: _tensors(each) for name, each in data.items()}
    if isinstance(data, Tensor):
        return data
    # A list of lists of numbers is one array; a list of arrays are several.
    if isinstance(data, tuple) or (isinstance(data, list) and any(hasattr(each, "shape") for each in data)):
        return tuple(map(_tensors, data))
    if hasattr(data, "to_numpy"):  # a series, or a frame as the features of a pair
        data = data.to_numpy()
    try:
        array = np.ascontiguousarray(data)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError):
        what = f"an array of {data.dtype}" if isinstance(data, np.ndarray) else f"a {type(data).__name__}"
        raise UsageError(
            f"data holds {what}, which is no array of numbers: convert it (.astype(float)), or {KNOWN}"
        ) from None


def _labels(part: Tensor) -> Tensor:
    """Return integers as int64, which losses expect of class labels."""
    return part if part.is_floating_point() or part.dtype == torch.bool else part.to(torch.int64)


def _unnamed(how: Taking, why: str) -> None:
    if how.features is not None or how.target is not None:
        raise UsageError(f"features= and target= name columns of a table: {why}, leave them out")
