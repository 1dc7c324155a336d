"""How rows reach the model: each loader is one function that starts an epoch, and an epoch yields (x, y) batches.

`slice`: shuffle all rows once per epoch, then hand out views. `gather`: pick each batch's rows by index.
`dataloader`: torch's DataLoader over a TensorDataset, one `__getitem__` per row and the default collate, as the notebook
has it. `dataloader-batched`: a DataLoader whose data set answers a whole batch of indices at once. `stream`: rows of
files, read in chunks in random order and shuffled inside a window.

Easy to get wrong: a full batch sees every row whatever their order, so `slice` and `gather` do not shuffle it (nobody
would); DataLoader does, because it is what `shuffle=True` costs there. `X[perm]` is 2 to 10 times slower than
`index_select` on the CPU. A batch that was handed out may be held by whoever has it: no buffer is filled twice but the
window of `stream`, which is handed to nobody.
"""

import math
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from mbbench.case import Cell
from mbbench.measuring.files import Stored, window_rows

Batch = tuple[Tensor, Tensor]
MicroBatch = tuple[Tensor, Tensor, Tensor | None]
"""Features, targets, and the loss's share of the update (by rows, or as the problem weighs), None where it is all of it."""
Update = Iterator[MicroBatch] | tuple[MicroBatch, ...]
Weight = Callable[[Tensor, Tensor], float | Tensor]
"""Features and targets -> how much the mean loss of these rows counts inside an update: a number or a 0-d tensor."""

GROUP_BYTES = 2**20
"""Of small batches that `stream` picks together: at batch 32 that is one call for 248 batches, and the rest are views."""


class _BatchedRows(Dataset[Batch]):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = torch.tensor(indices, device=self.x.device)
        return self.x.index_select(0, chosen), self.y.index_select(0, chosen)


def epochs(case: Cell, rows: Batch | Stored, weight: Weight | None = None) -> Callable[[], Iterator[Update]]:
    """Return a function that starts an epoch: each call returns an iterator over that epoch's updates.

    Args:
        case: loader, batch size, micro-batch, shuffle and seed. The order of the rows follows from the seed; a CPU and an
            accelerator draw different orders, each on its own device.
        rows: features and targets, first dimension n, on the case's device, or in host memory where the option `rows` is
            "host"; for the loader "stream" rows in files.
        weight: see `Problem.weight`.
    """
    size = case.micro_batch or case.samples_per_step
    if isinstance(rows, Stored):
        return updates(_streamed(case, rows, size), case, rows, weight)
    x, y = rows
    batches = _BATCHES[case.loader](case, x, y, size, torch.Generator(x.device).manual_seed(case.seed))
    return updates(batches, case, x, weight)


def updates(
    batches: Callable[[], Iterator[Batch]], case: Cell, like: Tensor | Stored, weight: Weight | None = None
) -> Callable[[], Iterator[Update]]:
    """Return a function that starts an epoch of updates, from one that starts an epoch of batches or micro-batches.

    Args:
        batches: of the case's micro_batch, or of its batch size.
        case: what is trained; batches are moved to its device.
        like: where they lie until then.
        weight: see `Problem.weight`.
    """
    source = batches if like.device.type == torch.device(case.device).type else _moved(batches, case.device)
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
            share = shares.get((len(x), rows))
            if share is None:
                share = shares[len(x), rows] = torch.tensor(len(x) / rows, dtype=dtype, device=case.device)
            yield x, y, share

    for start in range(0, case.n_samples, case.samples_per_step):
        rows = min(case.samples_per_step, case.n_samples - start)
        count = math.ceil(rows / case.micro_batch)
        yield by_rows(count, rows) if weight is None else _weighted(tuple(islice(batches, count)), weight, dtype)


def _weighted(parts: tuple[Batch, ...], weight: Weight, dtype: torch.dtype) -> tuple[MicroBatch, ...]:
    # In float32 at least: float16 ends at 65504, and bfloat16 counts no further than 256.
    wide = torch.promote_types(dtype, torch.float32)
    weights = [torch.as_tensor(weight(x, y), dtype=wide, device=x.device) for x, y in parts]
    total = torch.stack(weights).sum()
    return tuple((x, y, (each / total).to(dtype)) for (x, y), each in zip(parts, weights, strict=True))


def _moved(batches: Callable[[], Iterator[Batch]], device: str) -> Callable[[], Iterator[Batch]]:
    return lambda: ((x.to(device), y.to(device)) for x, y in batches())


def _slices(case: Cell, x: Tensor, y: Tensor, size: int, generator: torch.Generator) -> Callable[[], Iterator[Batch]]:
    def epoch() -> Iterator[Batch]:
        rows_x, rows_y = x, y
        if case.shuffle and case.steps_per_epoch > 1:
            order = torch.randperm(len(x), generator=generator, device=x.device)
            rows_x, rows_y = x.index_select(0, order), y.index_select(0, order)
        for start in range(0, len(x), size):
            yield rows_x[start : start + size], rows_y[start : start + size]

    return epoch


def _gathers(case: Cell, x: Tensor, y: Tensor, size: int, generator: torch.Generator) -> Callable[[], Iterator[Batch]]:
    if case.steps_per_epoch == 1:
        return _slices(case, x, y, size, generator)  # nothing to pick: all rows, in place

    def epoch() -> Iterator[Batch]:
        n = len(x)
        shuffled = case.shuffle
        order = torch.randperm(n, generator=generator, device=x.device) if shuffled else torch.arange(n, device=x.device)
        for start in range(0, n, size):
            chosen = order[start : start + size]
            yield x.index_select(0, chosen), y.index_select(0, chosen)

    return epoch


def _dataloader(case: Cell, x: Tensor, y: Tensor, size: int, generator: torch.Generator) -> Callable[[], Iterator[Batch]]:
    on_host = torch.Generator().manual_seed(generator.initial_seed())  # DataLoader draws its order on the CPU
    loader = DataLoader(TensorDataset(x, y), batch_size=size, shuffle=case.shuffle, generator=on_host)
    return lambda: iter(loader)


def _dataloader_batched(
    case: Cell, x: Tensor, y: Tensor, size: int, generator: torch.Generator
) -> Callable[[], Iterator[Batch]]:
    on_host = torch.Generator().manual_seed(generator.initial_seed())
    loader = DataLoader(
        _BatchedRows(x, y), batch_size=size, shuffle=case.shuffle, generator=on_host, collate_fn=lambda batch: batch
    )
    return lambda: iter(loader)


def _streamed(case: Cell, stored: Stored, size: int) -> Callable[[], Iterator[Batch]]:
    """Return what starts an epoch of batches of `size` rows: each row once, all full but the last, whatever a window holds.

    At once there are: the window as stored and its order (`window_rows`; together `WINDOW_BYTES`, or one row); the group of
    batches that is being filled and the one before it, of which a batch is still in use (each `GROUP_BYTES` as stored, or a
    batch if that is more; in the case's dtype); and where that is another dtype than stored, what is cast, a group at most.
    """
    files = stored.files
    x_dtype, y_dtype = files.dtypes(getattr(torch, case.dtype))
    shuffled = case.shuffle and case.steps_per_epoch > 1
    generator, chunks = torch.Generator().manual_seed(case.seed), np.random.default_rng(case.seed)
    group = size * max(1, GROUP_BYTES // (size * files.row_bytes))

    def epoch() -> Iterator[Batch]:
        most = min(len(stored), window_rows(files.row_bytes))
        windows = stored.windows(most, chunks if shuffled else None)
        numbers = torch.empty(most, dtype=torch.int64)
        n = position = 0  # rows of the window, and how many of them were picked
        for start in range(0, len(stored), group):
            rows = min(group, len(stored) - start)
            x = torch.empty((rows, *files.table.x.shape), dtype=x_dtype)
            y = torch.empty((rows, *files.table.y.shape), dtype=y_dtype)
            filled = 0
            while filled < rows:
                if position == n:
                    window_x, window_y = next(windows)
                    n, position = len(window_x), 0
                    if shuffled:
                        torch.randperm(n, generator=generator, out=numbers[:n])
                    else:
                        torch.arange(n, out=numbers[:n])
                chosen = numbers[position : min(n, position + rows - filled)]
                into = slice(filled, filled + len(chosen))
                _pick(window_x, chosen, x[into])
                _pick(window_y, chosen, y[into])
                filled, position = into.stop, position + len(chosen)
            for at in range(0, rows, size):
                yield x[at : at + size], y[at : at + size]

    return epoch


def _pick(rows: Tensor, chosen: Tensor, into: Tensor) -> None:
    if rows.dtype == into.dtype:
        torch.index_select(rows, 0, chosen, out=into)
    else:
        into.copy_(rows.index_select(0, chosen))


_BATCHES = {
    "slice": _slices,
    "gather": _gathers,
    "dataloader": _dataloader,
    "dataloader-batched": _dataloader_batched,
}
