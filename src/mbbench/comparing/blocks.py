"""One block of timing: both sides wait in a benchmark and take turns of a few milliseconds, in random order.

Easy to get wrong: the noise sits between processes and minutes, so chunks of one block are not replications; a block is, and
gives one number.
"""

import math
import random
import statistics
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mbbench.comparing.children import Block, Visit
from mbbench.comparing.talk import Child
from mbbench.reporting import sign_flip

TURN_S = 0.015
CHUNKS, FEWEST_CHUNKS = 60, 6
MOST_S = 2.0
"""Of the turns of a side: where a call alone takes longer than a turn there are fewer of them."""
CLOCKS = ("wall", "cpu")


class Turns(NamedTuple):
    """What a block read of one benchmark.

    Attributes:
        seconds: of one round of the base.
        ratios: log ratios against the base by side and clock, one a chunk.
    """

    seconds: float
    ratios: dict[str, dict[str, list[float]]]


def turns(generator: random.Random) -> Visit:
    """Return what lets the sides take turns, in an order drawn from a generator."""

    def visit(test: str, children: Mapping[str, Child]) -> Turns:
        round_s = max(child.seconds or TURN_S for child in children.values())
        rounds, chunks = max(1, round(TURN_S / round_s)), max(min(FEWEST_CHUNKS, CHUNKS), min(CHUNKS, int(MOST_S / round_s)))
        read: dict[str, list[tuple[float, float]]] = {name: [] for name in children}
        for _ in range(chunks):
            order = list(children)
            generator.shuffle(order)
            for name in order:
                read[name].append(children[name].ask(rounds))
        ratios = {
            name: {
                clock: [_log_ratio(own[at], base[at]) for own, base in zip(several, read["base"], strict=True)]
                for at, clock in enumerate(CLOCKS)
            }
            for name, several in read.items()
            if name != "base"
        }
        return Turns(statistics.median(wall for wall, _ in read["base"]), ratios)

    return visit


def _log_ratio(own: float, base: float) -> float:
    """Return log(own / base); the clock of the CPU may read 0 in a short turn, which tells nothing."""
    return math.log(own / base) if own > 0 and base > 0 else 0.0


def effects(blocks: Iterable[Block], test: str | None, side: str = "head") -> dict[str, list[float]]:
    """Return the effect of each block on a benchmark by clock: the median of its chunks' log ratios.

    Args:
        blocks: of timing.
        test: the benchmark; None: whichever that side ran in each block.
        side: compared with the base.
    """
    found: dict[str, list[float]] = {clock: [] for clock in CLOCKS}
    for block in blocks:
        for name, turned in block.found.items():
            if test in (None, name) and side in turned.ratios:
                for clock, values in turned.ratios[side].items():
                    found[clock].append(sign_flip.typical(values))
    return found
