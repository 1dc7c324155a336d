"""How rows reach the model: each loader is one function that starts an epoch, and an epoch yields (x, y) batches.

`slice`: shuffle all rows once per epoch, then hand out views. `gather`: pick each batch's rows by index.
`dataloader`: torch's DataLoader over a TensorDataset, one `__getitem__` per row and the default collate, as the notebook
has it, or over the problem's own data set with its own. `dataloader-batched`: a DataLoader whose data set answers a whole
batch of indices at once. `stream`: rows of files, read in chunks in random order and shuffled inside a window. A name with
a colon is the user's own (`_own`).

Easy to get wrong: a full batch sees every row whatever their order, so `slice` and `gather` do not shuffle it (nobody
would); DataLoader does, because it is what `shuffle=True` costs there. `X[perm]` is 2 to 10 times slower than
`index_select` on the CPU. A batch that was handed out may be held by whoever has it: no buffer is filled twice.
"""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from mbbench.case import Cell, UsageError
from mbbench.measuring import nested
from mbbench.measuring.files import Stored
from mbbench.measuring.items import Items
from mbbench.measuring.modules import load_function
from mbbench.measuring.nested import Nested
from mbbench.measuring.streaming import streamed

Batch = tuple[Nested, Nested]
"""Features and targets; where a step takes the whole batch, that and ()."""
MicroBatch = tuple[Nested, Nested, Tensor | None]
"""Features, targets, and the loss's share of the update (by rows, or as the problem weighs), None where it is all of it."""
Update = Iterator[MicroBatch] | tuple[MicroBatch, ...]
Weight = Callable[[Nested, Nested], float | Tensor]
"""Features and targets -> how much the mean loss of these rows counts inside an update: a number or a 0-d tensor."""

LAZY = ("dataloader",)
"""Loaders that make the items of a data set batch by batch; for the others all are made at once."""


class _Rows(Dataset[Batch]):
    """Rows one by one, as TensorDataset has them of one tensor each."""

    def __init__(self, x: Nested, y: Nested) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return nested.count((self.x, self.y))

    def __getitem__(self, number: int) -> Batch:
        x, y = (nested.mapped(part, lambda each: each[number]) for part in (self.x, self.y))
        return x, y


class _BatchedRows(_Rows):
    """Rows of a whole batch of numbers at once."""

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = torch.tensor(indices, device=nested.device_of((self.x, self.y)))
        return nested.pick(self.x, chosen), nested.pick(self.y, chosen)


def epochs(case: Cell, rows: Batch | Stored | Items, weight: Weight | None = None) -> Callable[[], Iterator[Update]]:
    """Return a function that starts an epoch: each call returns an iterator over that epoch's updates.

    Args:
        case: loader, batch size, micro-batch, shuffle and seed. The order of the rows follows from the seed; a CPU and an
            accelerator draw different orders, each on its own device.
        rows: features and targets, first dimension n, on the case's device, or in host memory where the option `rows` is
            "host"; for the loader "stream" rows in files; items of a data set for "dataloader" and the user's own.
        weight: see `Problem.weight`.
    """
    size = case.micro_batch or case.samples_per_step
    if isinstance(rows, Stored):
        return updates(streamed(case, rows, size), case, rows.device, weight)
    if ":" in case.loader:
        return updates(_cast(_own(case, rows, size), case), case, torch.device(case.device), weight)
    if isinstance(rows, Items):
        batches = rows.batches(size, case.shuffle, case.seed)
        return updates(_cast(batches, case), case, torch.device(case.device), weight)
    device = nested.device_of(rows)
    batches = _BATCHES[case.loader](case, *rows, size, torch.Generator(device).manual_seed(case.seed))
    return updates(batches, case, device, weight)


def updates(
    batches: Callable[[], Iterator[Batch]], case: Cell, home: torch.device, weight: Weight | None = None
) -> Callable[[], Iterator[Update]]:
    """Return a function that starts an epoch of updates, from one that starts an epoch of batches or micro-batches.

    Args:
        batches: of the case's micro_batch, or of its batch size.
        case: what is trained; batches are moved to its device.
        home: where they lie until then.
        weight: see `Problem.weight`.
    """
    source = batches if home.type == torch.device(case.device).type else _moved(batches, case.device)
    if case.micro_batch is None:
        return lambda: _whole(source())
    return lambda: _accumulated(source(), case, weight)


def _whole(batches: Iterator[Batch]) -> Iterator[Update]:
    for x, y in batches:
        yield ((x, y, None),)


def _accumulated(batches: Iterator[Batch], case: Cell, weight: Weight | None) -> Iterator[Update]:
    """Group consecutive micro-batches into updates. Case allows only micro-batches that end where the batch ends."""
    assert case.micro_batch is not None
    dtype: torch.dtype = getattr(torch, case.dtype)
    shares: dict[tuple[int, int], Tensor] = {}

    def by_rows(count: int, rows: int) -> Iterator[MicroBatch]:
        for x, y in islice(batches, count):
            here = nested.count(x)
            share = shares.get((here, rows))
            if share is None:
                share = shares[here, rows] = torch.tensor(here / rows, dtype=dtype, device=case.device)
            yield x, y, share

    for start in range(0, case.n_samples, case.samples_per_step):
        rows = min(case.samples_per_step, case.n_samples - start)
        count = math.ceil(rows / case.micro_batch)
        yield by_rows(count, rows) if weight is None else _weighted(tuple(islice(batches, count)), weight, dtype)


def _weighted(parts: tuple[Batch, ...], weight: Weight, dtype: torch.dtype) -> tuple[MicroBatch, ...]:
    # In float32 at least: float16 ends at 65504, and bfloat16 counts no further than 256.
    wide = torch.promote_types(dtype, torch.float32)
    weights = [torch.as_tensor(weight(x, y), dtype=wide, device=nested.device_of(x)) for x, y in parts]
    total = torch.stack(weights).sum()
    return tuple((x, y, (each / total).to(dtype)) for (x, y), each in zip(parts, weights, strict=True))


def _moved(batches: Callable[[], Iterator[Batch]], device: str) -> Callable[[], Iterator[Batch]]:
    return lambda: ((nested.placed(x, device), nested.placed(y, device)) for x, y in batches())


def _cast(batches: Callable[[], Iterator[Batch]], case: Cell) -> Callable[[], Iterator[Batch]]:
    """Bring batches that somebody else makes to the case's device, floats in its dtype."""
    dtype: torch.dtype = getattr(torch, case.dtype)
    return lambda: ((nested.placed(x, case.device, dtype), nested.placed(y, case.device, dtype)) for x, y in batches())


def _own(case: Cell, rows: Batch | Items, size: int) -> Callable[[], Iterator[Batch]]:
    """Return what starts an epoch of the user's own loader: a function (data, batch_size, seed) -> an iterable of batches.

    It is given the rows as (features, targets), the whole batch where a step takes that, or the data set. Easy to get wrong
    there: an epoch has every row once, or throughput would be wrong; so its rows are counted.
    """
    found = load_function("loader", case.loader, "(data, batch_size, seed) -> batches")
    if not case.shuffle:
        raise UsageError(f"loader {case.loader} orders its rows itself: leave --no-shuffle out")
    whole = isinstance(rows, tuple) and rows[1] == ()
    made = found(rows.subset if isinstance(rows, Items) else rows[0] if whole else tuple(rows), size, case.seed)
    if hasattr(made, "__next__") or not hasattr(made, "__iter__"):  # iter() would start a DataLoader's workers
        raise UsageError(f"loader {case.loader} returned a {type(made).__name__}: return what can be iterated over again")

    def epoch() -> Iterator[Batch]:
        left = case.n_samples
        for batch in made:
            x, y = rows.split(batch) if isinstance(rows, Items) else (batch, ()) if whole else _pair(case.loader, batch)
            count = nested.count((x, y))
            if count != min(size, left):
                raise UsageError(
                    f"loader {case.loader} made a batch of {count} rows where {min(size, left)} were due: batches have "
                    f"{size} rows, the last one of an epoch what is left of {case.n_samples}"
                )
            left -= count
            yield x, y
        if left:
            raise UsageError(
                f"loader {case.loader} left out {left} of {case.n_samples} rows of an epoch: give each row once"
            )

    return epoch


def _pair(loader: str, batch: Any) -> Batch:
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        raise UsageError(f"loader {loader} made a batch of type {type(batch).__name__}: expected features and targets")
    return batch[0], batch[1]


def _slices(case: Cell, x: Nested, y: Nested, size: int, generator: torch.Generator) -> Callable[[], Iterator[Batch]]:
    n = nested.count((x, y))

    def epoch() -> Iterator[Batch]:
        rows_x, rows_y = x, y
        if case.shuffle and case.steps_per_epoch > 1:
            order = torch.randperm(n, generator=generator, device=generator.device)
            rows_x, rows_y = nested.pick(x, order), nested.pick(y, order)
        for start in range(0, n, size):
            yield nested.cut(rows_x, start, start + size), nested.cut(rows_y, start, start + size)

    return epoch


def _gathers(case: Cell, x: Nested, y: Nested, size: int, generator: torch.Generator) -> Callable[[], Iterator[Batch]]:
    if case.steps_per_epoch == 1:
        return _slices(case, x, y, size, generator)  # nothing to pick: all rows, in place

    def epoch() -> Iterator[Batch]:
        n, device = nested.count((x, y)), generator.device
        order = torch.randperm(n, generator=generator, device=device) if case.shuffle else torch.arange(n, device=device)
        for start in range(0, n, size):
            chosen = order[start : start + size]
            yield nested.pick(x, chosen), nested.pick(y, chosen)

    return epoch


def _dataloader(case: Cell, x: Nested, y: Nested, size: int, generator: torch.Generator) -> Callable[[], Iterator[Batch]]:
    on_host = torch.Generator().manual_seed(generator.initial_seed())  # DataLoader draws its order on the CPU
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        plain = DataLoader(TensorDataset(x, y), batch_size=size, shuffle=case.shuffle, generator=on_host)
        return lambda: iter(plain)
    several = DataLoader(_Rows(x, y), batch_size=size, shuffle=case.shuffle, generator=on_host)
    return lambda: (nested.mapped(batch, lambda each: each) for batch in several)  # it makes lists of tuples


def _dataloader_batched(
    case: Cell, x: Nested, y: Nested, size: int, generator: torch.Generator
) -> Callable[[], Iterator[Batch]]:
    on_host = torch.Generator().manual_seed(generator.initial_seed())
    loader = DataLoader(
        _BatchedRows(x, y), batch_size=size, shuffle=case.shuffle, generator=on_host, collate_fn=lambda batch: batch
    )
    return lambda: iter(loader)


_BATCHES = {
    "slice": _slices,
    "gather": _gathers,
    "dataloader": _dataloader,
    "dataloader-batched": _dataloader_batched,
}
