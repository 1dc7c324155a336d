"""What does `mbbench.watch` cost a training loop? Epochs with and without it in turns, for small steps and large.

Not a test: `python bench/bench_watch.py` prints the mean ratio of 32 rounds with its interval (sign-flip test). Promised:
less than 2 %. Takes 3 minutes; run nothing beside it.
"""

import itertools
import math
import random
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mbbench
from mbbench.reporting import sign_flip

ROUND_S, ROUNDS = 1.0, 32


def loop(batches: Iterable[tuple[Tensor, Tensor]], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Train on these batches, as everybody does."""
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()


def main() -> None:
    """Print a line for each loop."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.randn(2048, 32), torch.randn(2048, 1)
    sliced = [(x[start : start + 32], y[start : start + 32]) for start in range(0, 2048, 32)]
    loaders: dict[str, Iterable[Any]] = {
        "slices of 32": sliced,
        "DataLoader, batch 32": DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
    }
    widths = {"Linear": nn.Linear(32, 1), "MLP 512": nn.Sequential(nn.Linear(32, 512), nn.ReLU(), nn.Linear(512, 1))}
    for (kind, loader), (name, model) in itertools.product(loaders.items(), widths.items()):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        watched = mbbench.watch(loader, model, optimizer, say=lambda line: None)
        effects = list(_effects(loader, watched, model, optimizer))
        low, high = sign_flip.interval(effects) or (math.nan, math.nan)
        ratio, ends = math.exp(sum(effects) / len(effects)), [100 * math.expm1(end) for end in (low, high)]
        print(f"{kind}, {name}: {100 * (ratio - 1):+.2f} % ({ends[0]:+.2f} to {ends[1]:+.2f}), n = {len(effects)}")


def _effects(loader: Any, watched: Any, model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[float]:
    epochs = 1
    while _seconds(loader, model, optimizer, epochs) < ROUND_S / 8:
        epochs *= 2
    for _ in range(ROUNDS):
        spent = {}
        for which in random.sample([loader, watched] * 4, 8):  # chunks of both in any order
            spent[which is watched] = spent.get(which is watched, 0.0) + _seconds(which, model, optimizer, epochs)
        yield math.log(spent[True] / spent[False])


def _seconds(batches: Any, model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> float:
    began = time.perf_counter()
    for _ in range(epochs):
        loop(batches, model, optimizer)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
