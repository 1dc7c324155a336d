"""How many times slower is the notebook's DataLoader loop than slices of the same tensors?

Linear model, d = 32, n = 1e5, shuffled, one thread, garbage collector frozen for both; alternating chunks in one process.
By itself: `python bench/bench_loader_cost.py` prints the table.
"""

import itertools
import sys

import pytest
from alternating import Ratio, alternate

BATCH_SIZES = (1, 32, 256, 4096, 100_000)
N = 100_000
MOST_STEPS = 100


def loader_cost(batch_size: int, pairs: int = 30, n: int = N) -> Ratio:
    """Return the time of the notebook's loop over that of mbbench's loop with `loader=slice`.

    A unit of work is a whole epoch, or 100 steps in the middle of one where it has more.
    """
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from mbbench import Case
    from mbbench.measuring.problems import resolve
    from mbbench.measuring.training import prepare

    torch.set_num_threads(1)
    case = Case(problem="linear", n_samples=n, batch_size=batch_size, lr=1e-4)
    training = prepare(case, resolve("linear")[0])
    model, loss, optimizer, (x, y) = training.model, training.loss, training.optimizer, training.rows
    dataloader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True)
    steps = min(MOST_STEPS, case.steps_per_epoch)
    ours = training.stream()
    theirs = itertools.chain.from_iterable(dataloader for _ in itertools.count())

    def sliced(units: int) -> None:
        training.train(itertools.islice(ours, units * steps))

    def notebook(units: int) -> None:
        for features, targets in itertools.islice(theirs, units * steps):
            prediction = model(features)
            cost = loss(prediction, targets)
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()

    return alternate(sliced, notebook, pairs)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_loader_cost(benchmark, batch_size):
    ratio = benchmark.pedantic(loader_cost, args=(batch_size, 10))
    benchmark.extra_info["ratio"] = ratio.median
    benchmark.extra_info["interval"] = [ratio.low, ratio.high]
    assert ratio.low <= ratio.median <= ratio.high


if __name__ == "__main__":
    sys.stdout.write(
        "the notebook's DataLoader loop over loader=slice, linear, d = 32, n = 1e5: median of paired chunks [95 %]\n"
    )
    for size in BATCH_SIZES:
        found = loader_cost(size)
        sys.stdout.write(f"batch {size:6d}: {found.median:.2f} [{found.low:.2f}, {found.high:.2f}], {found.pairs} pairs\n")
