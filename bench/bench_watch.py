"""What does `mbbench.watch` cost a training loop? Epochs with and without it in turns: the notebook's loop, and an MLP.

Not a test: `python bench/bench_watch.py [SECONDS]` prints for each loop by how much longer it takes, with an interval
(sign-flip test over 32 rounds). A round takes SECONDS (default 2), half of them watched, and watches its loop anew: so it
pays for the looks of a loop that ends after one second, which are denser than a longer one's. What is said in the end is
not in it. One thread. Takes 4 minutes; run nothing beside it.
"""

import gc
import math
import random
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mbbench
from mbbench.reporting import sign_flip

ROUNDS, TURNS = 32, 32


class Loop:
    """A training loop as everybody writes it, with the watch or without."""

    def __init__(self, x: Tensor, y: Tensor, batch_size: int, model: nn.Module) -> None:
        self.loader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True)
        self.model, self.optimizer = model, torch.optim.SGD(model.parameters(), lr=1e-6)

    def anew(self) -> None:
        """Begin to watch another loop: with an optimizer of its own."""
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-6)
        mbbench.watch(self.loader, self.model, self.optimizer, say=lambda line: None)

    def seconds(self, watched: bool, epochs: int) -> float:
        """Train for some epochs."""
        loader, model, optimizer = self.loader, self.model, self.optimizer
        began = time.perf_counter()
        for _ in range(epochs):
            for x, y in mbbench.watch(loader, model, optimizer) if watched else loader:
                loss = nn.functional.mse_loss(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return time.perf_counter() - began

    def effects(self, seconds: float) -> Iterator[float]:
        """Yield the log ratio of each round, of pairs of turns, one with and one without the watch, in any order."""
        epochs = 1
        while self.seconds(False, epochs) < seconds / TURNS:
            epochs *= 2
        for _ in range(ROUNDS):
            spent = {True: 0.0, False: 0.0}
            self.anew()
            for _ in range(TURNS // 2):
                for watched in random.sample([True, False], 2):
                    spent[watched] += self.seconds(watched, epochs)
            yield math.log(spent[True] / spent[False])


def loops() -> Iterator[tuple[str, Loop]]:
    rows = torch.tensor([[73.0, 80, 75], [93, 88, 93], [89, 91, 90], [96, 98, 100], [73, 66, 70]])
    yield "the notebook's, batch 2", Loop(rows, rows.sum(1, keepdim=True), 2, nn.Linear(3, 1))
    x, y = torch.randn(4096, 32), torch.randn(4096, 1)
    for batch_size in (32, 1024):
        model = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))
        yield f"an MLP, batch {batch_size:,}", Loop(x, y, batch_size, model)


def main() -> None:
    """Print a line for each loop."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    # A garbage collection that passes over all of torch takes as long as four epochs at 1,024, and comes every twentieth.
    gc.collect()
    gc.freeze()
    for name, loop in loops():
        effects = list(loop.effects(seconds))
        low, high = sign_flip.interval(effects) or (math.nan, math.nan)
        mean, *ends = (100 * math.expm1(log) for log in (sum(effects) / len(effects), low, high))
        print(f"{name}: {mean:+.2f} % ({ends[0]:+.2f} to {ends[1]:+.2f}), n = {len(effects)}")


if __name__ == "__main__":
    main()
