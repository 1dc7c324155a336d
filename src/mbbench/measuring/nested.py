"""Rows in one tensor or in several: a tensor, or a mapping or tuple of such, whose first dimension is the rows.

Easy to get wrong: these stand in the timed loop. One tensor, which is nearly every problem, is asked for first and handled
as if nothing else existed (0.1 us); what is no tensor (a string, None) is handed on as it is, and has no rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Nested = Any
"""A tensor, or a mapping, tuple or list of nested tensors."""


def mapped(part: Nested, change: Callable[[Tensor], Tensor]) -> Nested:
    """Return the same nest with every tensor changed; mappings become dicts, lists become tuples."""
    if isinstance(part, Tensor):
        return change(part)
    if isinstance(part, Mapping):
        return {name: mapped(each, change) for name, each in part.items()}
    if isinstance(part, tuple | list):
        return tuple(mapped(each, change) for each in part)
    return part


def tensors(part: Nested) -> Iterator[Tensor]:
    """Yield the tensors of a nest."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, Mapping):
        for each in part.values():
            yield from tensors(each)
    elif isinstance(part, tuple | list):
        for each in part:
            yield from tensors(each)


def count(part: Nested) -> int:
    """Return the rows: the first dimension of the first tensor that has one; 0 without one."""
    if isinstance(part, Tensor) and part.dim():
        return len(part)
    return next((len(each) for each in tensors(part) if each.dim()), 0)


def size(part: Nested) -> int:
    """Return the bytes of its tensors."""
    return sum(each.nbytes for each in tensors(part))


def device_of(part: Nested) -> torch.device:
    """Return where the rows lie."""
    return next((each.device for each in tensors(part)), torch.device("cpu"))


def cut(part: Nested, start: int, stop: int) -> Nested:
    """Return views of some consecutive rows."""
    if isinstance(part, Tensor):
        return part[start:stop]
    return mapped(part, lambda each: each[start:stop])


def pick(part: Nested, chosen: Tensor) -> Nested:
    """Return copies of the rows of these numbers; `X[perm]` is 2 to 10 times slower on the CPU."""
    if isinstance(part, Tensor):
        return part.index_select(0, chosen)
    return mapped(part, lambda each: each.index_select(0, chosen))


def joined(parts: Sequence[Nested]) -> Nested:
    """Return the rows of several nests of one form, one after the other."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, Mapping):
        return {name: joined([part[name] for part in parts]) for name in first}
    return tuple(joined(several) for several in zip(*parts, strict=True)) if isinstance(first, tuple | list) else first


def placed(part: Nested, device: str, floating: torch.dtype | None = None) -> Nested:
    """Return it on a device, floats as `floating` unless that is None; what is there already is not copied."""
    return mapped(part, lambda each: each.to(device=device, dtype=floating if each.is_floating_point() else None))


def described(part: Nested) -> str:
    """Return what a row is, in words: "float32 (3,)", "{ids: int64 (16,), mask: bool (16,)}"."""
    if isinstance(part, Tensor):
        return f"{str(part.dtype).removeprefix('torch.')} {tuple(part.shape[1:])}"
    if isinstance(part, Mapping):
        return "{" + ", ".join(f"{name}: {described(each)}" for name, each in part.items()) + "}"
    if isinstance(part, tuple | list):
        return "(" + ", ".join(map(described, part)) + ")"
    return type(part).__name__
