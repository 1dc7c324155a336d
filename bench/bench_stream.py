"""How fast do rows stream from a cached file, against slices of the same rows in memory, and what does the stream hold?

Linear model, d = 32, one thread; alternating chunks in one process. By itself: `python bench/bench_stream.py` takes a file
of 2 GB, prints the ratios and the peak of the resident set under a limit of 1 GiB.
"""

import itertools
import sys

import larger
import pytest
from alternating import Ratio, alternate

BATCH_SIZES = (1024, 16_384)
LARGE = 15_151_516
"""Rows of 33 floats: 2.0 GB."""


def stream_cost(batch_size: int, rows: int = larger.ROWS, pairs: int = 10) -> Ratio:
    """Return the time of mbbench's loop with `loader=stream` over that with `loader=slice`.

    A unit of work is an epoch: the shuffle with which one of slices begins is inside, and every read of the stream.
    """
    import torch

    from mbbench import Case
    from mbbench.measuring.training import prepare

    torch.set_num_threads(1)
    problem = larger.problem(rows)
    cases = [
        Case(problem="larger.py:problem", n_samples=rows, batch_size=batch_size, lr=1e-4, loader=loader)
        for loader in ("slice", "stream")
    ]
    trainings = [prepare(case, problem) for case in cases]
    streams = [training.stream() for training in trainings]
    steps = cases[0].steps_per_epoch

    def sliced(units: int) -> None:
        trainings[0].train(itertools.islice(streams[0], units * steps))

    def streamed(units: int) -> None:
        trainings[1].train(itertools.islice(streams[1], units * steps))

    return alternate(sliced, streamed, pairs)


@pytest.fixture(scope="module", autouse=True)
def _files():
    yield
    larger.remove()


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_stream_cost(benchmark, batch_size):
    ratio = benchmark.pedantic(stream_cost, args=(batch_size, larger.ROWS, 6))
    benchmark.extra_info["ratio"] = ratio.median
    benchmark.extra_info["interval"] = [ratio.low, ratio.high]
    # Half the rows per second in memory is what is promised; red only where the interval excludes it.
    assert ratio.low <= 2


def _resident_mib(rows: int) -> float:
    """Return what a process takes over its floor for a whole epoch of the stream, under a limit of 1 GiB."""
    import mbbench.measuring.preload  # noqa: F401  the first optimizer of a process imports 66 MiB of modules
    from mbbench import Case
    from mbbench.measuring import limits, resident
    from mbbench.measuring.training import prepare

    problem = larger.problem(rows)
    rest = limits.rest(1)
    limits.impose(2**30, "cpu")
    case = Case(problem="larger.py:problem", n_samples=rows, batch_size=1024, lr=1e-4, loader="stream")
    with resident.watched_peak() as peak:
        training = prepare(case, problem)
        training.train(training.epoch())
    limits.lift()
    return ((peak.bytes or 0) - rest) / 2**20


if __name__ == "__main__":
    try:
        sys.stdout.write(f"2 GB, an epoch at batch 1024: {_resident_mib(LARGE):.1f} MiB over the floor of the process\n")
        for size in BATCH_SIZES:
            found = stream_cost(size, LARGE, 6)
            sys.stdout.write(
                f"batch {size:6d}: {found.median:.3f} [{found.low:.3f}, {found.high:.3f}] of the time of slice, "
                f"{1 / found.median:.2f} of its rows/s, {found.pairs} pairs\n"
            )
    finally:
        larger.remove()
