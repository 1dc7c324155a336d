"""Decide whether a commit made a benchmark slower: from the effects of its blocks to a verdict. Lists in, a verdict out.

Two stages, so that a false alarm needs two independent ones: screening looks at both clocks after 10, 16 and 24 blocks, at
1 % in all; what it flags is measured anew in fresh processes and has to be seen again, in the same direction, at 1 %. Easy
to get wrong: the effect that was flagged is the luckiest of many and too large, so size and interval of a flagged change
come from the confirming blocks alone; and "not shown to be slower" is not "same".
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mbbench.reporting import sign_flip
from mbbench.reporting.stats import Estimate

LOOKS = (10, 16, 24)
"""Blocks after which screening looks."""
ALPHA = 0.01
"""Of each stage, in each direction: a share of identical code that it calls changed."""
TOLERANCE = 0.03
"""A change that matters, as a part."""
CONVERGENCE_TOLERANCE = 0.05
"""Of updates to a loss, and of held-out losses."""
MEMORY_TOLERANCE, MEMORY_BYTES = 0.02, 4 * 2**20
"""A change of memory matters beyond the larger of both."""

Direction = Literal["slower", "faster"]
Verdict = Literal["slower", "faster", "same", "undecided"]
Effects = Mapping[str, Sequence[float]]
"""Log ratios of head over base, one a block (or a seed), by what was read: "wall" and "cpu", "updates", "held-out loss"."""
Blocks = Callable[[Sequence[str], int], Mapping[str, Effects]]
"""Measures some benchmarks until each has so many blocks, or time is over, and returns the effects of all of its blocks."""


@dataclass(frozen=True)
class Flag:
    """A change that a stage has seen, and on which clock."""

    direction: Direction
    clock: str


@dataclass(frozen=True)
class Change:
    """What became of one benchmark.

    Attributes:
        verdict: confirmed and large enough, or its interval inside the tolerance, or undecided. "slower" stands for worse in
            whatever was read: more memory, more updates.
        clock: what the ratio is of: "wall", "cpu", "bytes", "updates" or "held-out loss".
        ratio: head over base, with its 95 % interval where there are blocks enough; n is the number of blocks.
        smallest_detectable: the change, as a part, that would have been flagged about every other time given this spread;
            None without one.
        suspected: what screening showed where it was not confirmed, or there was no time to.
    """

    verdict: Verdict
    clock: str
    ratio: Estimate
    smallest_detectable: float | None
    suspected: Direction | None = None


def screening(tests: Iterable[str], blocks: Blocks, tolerance: float = TOLERANCE) -> Iterator[dict[str, Flag]]:
    """Yield what each look flags.

    What is flagged, or shown to be the same, is looked at no more; nothing else stops early: what is dropped because it
    looks fine must not be dropped because it looks bad.
    """
    left = list(tests)
    for look in LOOKS:
        seen = blocks(left, look)
        flags = {test: flag for test in left if test in seen and (flag := screen(seen[test])) is not None}
        yield flags
        left = [
            test
            for test in left
            if test in seen and test not in flags and change(seen[test], None, None, tolerance).verdict != "same"
        ]
        if not left:
            return


def screen(effects: Effects) -> Flag | None:
    """Return the change that a look at these blocks shows, None where it shows none. Each look spends its share of `ALPHA`.

    Args:
        effects: of all blocks so far, as many for every clock.
    """
    return _seen(effects, ALPHA / (len(LOOKS) * max(1, len(effects))), None)


def confirm(effects: Effects, flag: Flag) -> bool:
    """Return whether fresh blocks show the flagged change again: in its direction, on its clock."""
    return _seen({flag.clock: effects[flag.clock]}, ALPHA, flag.direction) is not None


def change(screened: Effects, flag: Flag | None, confirming: Effects | None, tolerance: float = TOLERANCE) -> Change:
    """Return the verdict on a benchmark.

    Args:
        screened: effects of the screening blocks.
        flag: what they showed, None: nothing.
        confirming: effects of fresh blocks; None where none could be measured.
        tolerance: the least change that matters, as a part.
    """
    if flag is None or confirming is None:
        clock = next(iter(screened)) if flag is None else flag.clock
        return _undirected(screened[clock], clock, tolerance, flag)
    values = confirming[flag.clock]
    ratio = estimate(values)
    beyond = ratio.value >= 1 + tolerance if flag.direction == "slower" else ratio.value <= 1 / (1 + tolerance)
    confirmed = confirm(confirming, flag)
    if confirmed and beyond:
        return Change(flag.direction, flag.clock, ratio, smallest_detectable(values))
    # What is confirmed and small is not suspected of anything.
    return _undirected(values, flag.clock, tolerance, None if confirmed else flag)


def memory_change(base: int, head: int, again: int) -> Change:
    """Return the verdict on a peak of memory in bytes. It is exact, so one reading of each side tells.

    Args:
        base: of the base.
        head: of the head.
        again: of the base again; another figure than the first says that this benchmark's memory is not the code's alone.
    """
    ratio = Estimate(value=max(head, 1) / max(base, 1), low=None, high=None, n=1, unit="ratio")
    if base != again:
        return Change("undecided", "bytes", ratio, abs(again - base) / max(base, 1))
    matters = abs(head - base) > max(MEMORY_TOLERANCE * base, MEMORY_BYTES)
    verdict: Verdict = "same" if not matters else "slower" if head > base else "faster"
    return Change(verdict, "bytes", ratio, None)


def together(time: Change, updates: Change, tolerance: float = CONVERGENCE_TOLERANCE) -> Change:
    """Return what time and updates to a loss make of the time to that loss: the product of both ratios.

    Its interval is the product of both intervals, at 90 % or more. It is told and fails nothing: its two factors do.
    """
    low, high = (
        None if one is None or other is None else one * other
        for one, other in ((time.ratio.low, updates.ratio.low), (time.ratio.high, updates.ratio.high))
    )
    value, n = time.ratio.value * updates.ratio.value, min(time.ratio.n, updates.ratio.n)
    ratio = Estimate(value=value, low=low, high=high, n=n, unit="ratio", confidence=0.9)
    verdict: Verdict = "undecided"
    if low is not None and high is not None:
        within, ends = 1 / (1 + tolerance) < low <= high < 1 + tolerance, (low >= 1 + tolerance, high <= 1 / (1 + tolerance))
        verdict = "same" if within else "slower" if ends[0] else "faster" if ends[1] else "undecided"
    return Change(verdict, time.clock, ratio, None)


def estimate(effects: Sequence[float]) -> Estimate:
    """Return the ratio of head over base with its 95 % interval; none with fewer than seven blocks."""
    mean = math.fsum(effects) / len(effects)
    ends = sign_flip.interval(effects)
    low, high = (None, None) if ends is None else (math.exp(min(ends[0], mean)), math.exp(max(ends[1], mean)))
    return Estimate(value=math.exp(mean), low=low, high=high, n=len(effects), unit="ratio")


def smallest_detectable(effects: Sequence[float]) -> float | None:
    """Return the change that screening would have flagged about every other time; None with too few blocks.

    It is how far the interval at the screening's share, of blocks that spread like these, reaches below the mean.
    """
    share = ALPHA / (len(LOOKS) * 2)
    ends = sign_flip.interval(effects, 1 - 2 * share)
    return None if ends is None else math.expm1(math.fsum(effects) / len(effects) - ends[0])


def _undirected(effects: Sequence[float], clock: str, tolerance: float, flag: Flag | None) -> Change:
    ratio = estimate(effects)
    # A benchmark stops at the look that shows it to be the same, so each look has its part of the 5 %.
    ends = sign_flip.interval(effects, 1 - 0.05 / len(LOOKS))
    within = ends is not None and -math.log1p(tolerance) < ends[0] <= ends[1] < math.log1p(tolerance)
    verdict: Verdict = "same" if within else "undecided"
    return Change(verdict, clock, ratio, smallest_detectable(effects), None if flag is None else flag.direction)


def _seen(effects: Effects, alpha: float, wanted: Direction | None) -> Flag | None:
    """Return the most certain change below a share, None where there is none."""
    shares = {
        Flag(direction, clock): test(values)
        for clock, values in effects.items()
        if len(values) >= sign_flip.FEWEST_BLOCKS
        for direction, test in _TESTS.items()
        if wanted in (None, direction)
    }
    least = min(shares, key=lambda flag: shares[flag], default=None)
    return least if least is not None and shares[least] <= alpha else None


_TESTS: dict[Direction, Callable[[Sequence[float]], float]] = {
    "slower": sign_flip.p_larger,
    "faster": sign_flip.p_smaller,
}
