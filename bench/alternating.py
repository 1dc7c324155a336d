"""Compare two ways of doing the same work in one process, in short chunks in random order.

Two identical loops in separate processes read 0.99 to 1.05 of each other; alternating chunks of 10 to 20 ms in one
process, 0.996 to 1.003. So this is how small differences are measured, and only ratios of paired chunks are quoted.
"""

import gc
import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

CHUNK_S = 0.015


@dataclass(frozen=True)
class Ratio:
    """Time of the second over the first.

    Attributes:
        median: of the ratios of paired chunks.
        low: lower end of the 95 % order-statistics interval of that median.
        high: its upper end.
        first_s: median seconds of one unit of the first.
        second_s: of the second.
        pairs: chunks of each.
    """

    median: float
    low: float
    high: float
    first_s: float
    second_s: float
    pairs: int


def alternate(first: Callable[[int], None], second: Callable[[int], None], pairs: int = 200, seed: int = 0) -> Ratio:
    """Time `first(k)` against `second(k)`, k units of work a chunk, after a warm-up of both.

    Args:
        first: does k units; so does `second`.
        second: see first.
        pairs: chunks of each; an interval needs 6.
        seed: of the order inside each pair.
    """
    units = max(1, round(CHUNK_S / max(_calibrated(first), _calibrated(second))))
    generator = random.Random(seed)
    gc.collect()
    gc.freeze()
    gc.disable()
    times: dict[Callable[[int], None], list[float]] = {first: [], second: []}
    for _ in range(pairs):
        for work in generator.sample((first, second), 2):
            began = time.perf_counter()
            work(units)
            times[work].append((time.perf_counter() - began) / units)
    gc.enable()
    gc.unfreeze()
    ratios = sorted(b / a for a, b in zip(times[first], times[second], strict=True))
    reach = 0.98 * math.sqrt(pairs)  # 1.96 * sqrt(pairs) / 2 ranks either side of the middle
    low, high = max(0, math.floor(pairs / 2 - reach)), min(pairs - 1, math.ceil(pairs / 2 + reach))
    medians = (statistics.median(times[work]) for work in (first, second))
    return Ratio(statistics.median(ratios), ratios[low], ratios[high], *medians, pairs)


def _calibrated(work: Callable[[int], None]) -> float:
    """Return the seconds of one unit, after a warm-up of at least 0.2 s."""
    began, units = time.perf_counter(), 1
    while True:
        chunk = time.perf_counter()
        work(units)
        took = time.perf_counter() - chunk
        if time.perf_counter() - began > 0.2:
            return took / units
        units *= 2 if took < CHUNK_S else 1
