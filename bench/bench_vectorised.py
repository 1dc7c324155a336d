"""How much faster is a search's 5 rates x 5 seeds trained as one vectorised model than one run after the other?

digits-mlp, SGD, one thread; rows, gradients and updates of 25 runs, no evaluation; alternating chunks in one process. Where
a step is arithmetic more than overhead (`ensemble.MOST_FLOPS`) the product trains one by one whatever is printed here.
By itself: `python bench/bench_vectorised.py` prints the table.
"""

import sys

import pytest
from alternating import Ratio, alternate

BATCH_SIZES = (1, 8, 32, 128, None)
N = 1438
RATES, SEEDS = (0.001, 0.002, 0.003, 0.004, 0.005), range(5)


def speed_up(batch_size: int | None, pairs: int = 30) -> Ratio:
    """Return the time of a step of 25 runs one after the other over that of the same step as one vectorised model."""
    import torch

    from mbbench import Case
    from mbbench.measuring.ensemble import Ensemble, OneByOne, with_rate
    from mbbench.measuring.problems import resolve
    from mbbench.measuring.training import prepare

    torch.set_num_threads(1)
    problem = resolve("digits-mlp")[0]
    case = Case(problem="digits-mlp", n_samples=N, batch_size=batch_size)
    made = [prepare(case.on(seed=seed), problem) for seed in SEEDS]
    together = Ensemble([with_rate(training, lr) for training in made for lr in RATES])
    plain = OneByOne([with_rate(training, lr) for training in made for lr in RATES])
    together.advance(case.steps_per_epoch)  # a whole epoch: its last batch, which has fewer rows, is traced by itself
    return alternate(together.advance, plain.advance, pairs)


def name(batch_size: int | None) -> str:
    return "full" if batch_size is None else str(batch_size)


@pytest.mark.parametrize("batch_size", BATCH_SIZES, ids=name)
def test_vectorised(benchmark, batch_size):
    ratio = benchmark.pedantic(speed_up, args=(batch_size, 10))
    benchmark.extra_info["ratio"] = ratio.median
    benchmark.extra_info["interval"] = [ratio.low, ratio.high]
    assert ratio.low <= ratio.median <= ratio.high


if __name__ == "__main__":
    sys.stdout.write("25 runs one by one over vectorised, digits-mlp, 1 thread: median of paired chunks [95 %]\n")
    for size in BATCH_SIZES:
        found = speed_up(size)
        sys.stdout.write(
            f"batch {name(size):>4}: {found.median:.2f} [{found.low:.2f}, {found.high:.2f}], "
            f"a step of all 25 vectorised {found.first_s * 1e3:.2f} ms, n = {found.pairs} pairs\n"
        )
