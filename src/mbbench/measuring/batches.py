"""How rows reach the model: each loader is one function that starts an epoch, and an epoch yields (x, y) batches.

`slice`: shuffle all rows once per epoch, then hand out views. `gather`: pick each batch's rows by index.
`dataloader`: torch's DataLoader over a TensorDataset, one `__getitem__` per row and the default collate, as the notebook
has it. `dataloader-batched`: a DataLoader whose data set answers a whole batch of indices at once.

Easy to get wrong: a full batch sees every row whatever their order, so `slice` and `gather` do not shuffle it (nobody
would); DataLoader does, because it is what `shuffle=True` costs there. `X[perm]` is 2 to 10 times slower than
`index_select` on the CPU.
"""

import math
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from mbbench.case import Cell

Batch = tuple[Tensor, Tensor]
MicroBatch = tuple[Tensor, Tensor, Tensor | None]
"""Features, targets, and the weight of the loss: rows over the update's rows, or None where it is the whole update."""
Update = Iterator[MicroBatch] | tuple[MicroBatch, ...]


class _BatchedRows(Dataset[Batch]):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = torch.tensor(indices, device=self.x.device)
        return self.x.index_select(0, chosen), self.y.index_select(0, chosen)


def epochs(case: Cell, x: Tensor, y: Tensor) -> Callable[[], Iterator[Update]]:
    """Return a function that starts an epoch: each call returns an iterator over that epoch's updates.

    Args:
        case: loader, batch size, micro-batch, shuffle and seed. The order of the rows follows from the seed; a CPU and an
            accelerator draw different orders, each on its own device.
        x: features, first dimension n; on the case's device, or in host memory where the option `rows` is "host".
        y: targets, first dimension n.
    """
    size = case.micro_batch or case.samples_per_step
    batches = _BATCHES[case.loader](case, x, y, size, torch.Generator(x.device).manual_seed(case.seed))
    source = batches if x.device.type == torch.device(case.device).type else _moved(batches, case.device)
    if case.micro_batch is None:
        return lambda: _whole(source())
    return lambda: _accumulated(source(), case, x)


def _whole(batches: Iterator[Batch]) -> Iterator[Update]:
    for x, y in batches:
        yield ((x, y, None),)


def _accumulated(batches: Iterator[Batch], case: Cell, like: Tensor) -> Iterator[Update]:
    """Group consecutive micro-batches into updates. Case allows only micro-batches that end where the batch ends."""
    assert case.micro_batch is not None
    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    weights: dict[tuple[int, int], Tensor] = {}

    def weighted(count: int, rows: int) -> Iterator[MicroBatch]:
        for x, y in islice(batches, count):
            weight = weights.get((len(x), rows))
            if weight is None:
                weight = weights[len(x), rows] = torch.tensor(len(x) / rows, dtype=dtype, device=case.device)
            yield x, y, weight

    for start in range(0, case.n_samples, case.samples_per_step):
        rows = min(case.samples_per_step, case.n_samples - start)
        yield weighted(math.ceil(rows / case.micro_batch), rows)


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


_BATCHES = {
    "slice": _slices,
    "gather": _gathers,
    "dataloader": _dataloader,
    "dataloader-batched": _dataloader_batched,
}
