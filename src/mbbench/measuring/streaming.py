"""Batches of rows in files: windows are read in chunks in random order, and the rows of a window are shuffled.

Easy to get wrong: a batch that was handed out may be held by whoever has it, so no buffer is filled twice but the window's,
which is handed to nobody.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from mbbench.case import Cell
from mbbench.measuring.files import Stored, window_rows

GROUP_BYTES = 2**20
"""Of small batches that `stream` picks together: at batch 32 that is one call for 248 batches, and the rest are views."""


def streamed(case: Cell, stored: Stored, size: int) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
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

    def epoch() -> Iterator[tuple[Tensor, Tensor]]:
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
