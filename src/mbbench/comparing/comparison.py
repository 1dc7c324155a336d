"""Compare two trees: screen every benchmark block by block, confirm what was flagged, stop when the time is over.

Easy to get wrong: a benchmark that is dropped because it looks fine must not be dropped because it looks bad, so only what
is shown to be the same stops early; and what was flagged is never judged by the blocks that flagged it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mbbench.comparing.blocks import Block, NotComparableError, Side, Zygote, effects
from mbbench.comparing.trees import Trees
from mbbench.reporting import gate
from mbbench.reporting.gate import Change, Flag

BLOCKS_A_ZYGOTE = 4
"""After which everything is imported anew: what one process has in its memory is luck too."""
CONFIRMING = 12
"""Blocks: 7 are the fewest for 1 %; of a 5 % change at a spread of 2 % a block 12 miss 1 in 1000."""
MOST_GATED = 6

Say = Callable[[str], None]


@dataclass
class Comparison:
    """What a comparison found.

    Attributes:
        trees: what was compared.
        changes: the verdict on each benchmark.
        control: that on a second child of the base, None where there was no block.
        control_name: the benchmark that it ran.
        lost: benchmarks without a verdict, each with its reason.
        missing: benchmarks that only the base has: its own, since head's are copied over it, so usually none.
        new: benchmarks that only head can collect.
        own: the project's own modules and where each side loaded them from.
        blocks: how many were run in all.
        seconds: taken in all.
        unfinished: why it ended early, "" where it did not.
    """

    trees: Trees
    changes: dict[str, Change] = field(default_factory=dict)
    control: Change | None = None
    control_name: str = ""
    lost: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    own: dict[str, dict[str, str]] = field(default_factory=dict)
    blocks: int = 0
    seconds: float = 0.0
    unfinished: str = ""

    @property
    def unreliable(self) -> bool:
        """Whether the control, which compares the base with itself, was flagged."""
        return self.control is not None and self.control.verdict in ("slower", "faster")


@dataclass
class _Run:
    """A comparison under way."""

    found: Comparison
    arguments: Sequence[str]
    until: float
    tolerance: float
    say: Say
    threads: int
    seed: int
    control: str = ""
    screened: list[Block] = field(default_factory=list)
    flags: dict[str, Flag] = field(default_factory=dict)
    confirming: list[Block] = field(default_factory=list)


def compare(
    trees: Trees,
    arguments: Sequence[str],
    *,
    within_s: float,
    tolerance: float = gate.TOLERANCE,
    threads: int = 1,
    seed: int = 0,
    say: Say = lambda words: None,
) -> Comparison:
    """Compare every benchmark that both trees have.

    Args:
        trees: from `trees.trees`.
        arguments: for pytest: the folder of the benchmarks, "-k" ...
        within_s: seconds for everything; a block that was begun is ended.
        tolerance: the least change that matters.
        threads: of torch in each child.
        seed: of the order of sides and turns.
        say: told what happens.

    Raises:
        NotComparableError: no side-by-side run is possible.
    """
    began = time.monotonic()
    run = _Run(Comparison(trees), arguments, began + within_s, tolerance, say, threads, seed)
    try:
        _screen(run)
        _confirm(run)
    except KeyboardInterrupt:
        run.found.unfinished = "interrupted"
    _judge(run)
    run.found.seconds = time.monotonic() - began
    return run.found


def _screen(run: _Run) -> None:
    """Run blocks of what is open; at each look, flag what changed and let go what is the same."""
    first = _blocks(run, run.screened, 1, None)
    if not first:
        return
    block, found = first[0], run.found
    base, head = block.collected["base"], block.collected["head"]
    found.missing, found.new = tuple(t for t in base if t not in head), tuple(t for t in head if t not in base)
    found.own = block.own
    open_tests = [test for test in head if test in block.ratios]
    if not open_tests:
        return
    run.control = min(open_tests, key=lambda test: block.seconds[test])
    for look in gate.LOOKS:
        _blocks(run, run.screened, look - len(run.screened), open_tests)
        for test in list(open_tests):
            seen = effects(run.screened, test)
            flag = gate.screen(seen)
            if flag is not None:
                run.flags[test] = flag
                run.say(f"{test}: {flag.direction} by {flag.clock}, to be confirmed")
            if flag is not None or gate.change(seen, None, None, run.tolerance).verdict == "same":
                open_tests.remove(test)
        if not open_tests or run.found.unfinished:
            return


def _confirm(run: _Run) -> None:
    if run.flags and not run.found.unfinished:
        _blocks(run, run.confirming, CONFIRMING, list(run.flags))


def _blocks(run: _Run, into: list[Block], count: int, tests: list[str] | None) -> list[Block]:
    """Run so many blocks more, in fresh zygotes; lose a benchmark where it ends its child; stop when there is no time."""
    trees, made = run.found.trees, list[Block]()
    longest_s = 0.0
    while len(made) < count:
        with Zygote(run.arguments, run.threads) as zygote:
            for _ in range(min(BLOCKS_A_ZYGOTE, count - len(made))):
                began = time.monotonic()
                if began + longest_s > run.until:
                    run.found.unfinished = "the time was over"
                    return made
                sides = [Side("base", trees.base, trees.head), Side("head", trees.head, trees.base)]
                keep: dict[str, list[str]] | None = None
                if tests is not None:
                    alive = [test for test in tests if test not in run.found.lost]
                    keep = {"base": alive, "head": alive}
                    if run.control in alive:
                        sides.append(Side("control", trees.base, trees.head))
                        keep["control"] = [run.control]
                block = zygote.run(sides, keep, run.seed + run.found.blocks)
                run.found.lost |= block.lost
                run.found.blocks += 1
                made.append(block)
                into.append(block)
                longest_s = max(longest_s, time.monotonic() - began)
                run.say(f"block {run.found.blocks}: {len(block.ratios)} benchmarks in {time.monotonic() - began:.1f} s")
    return made


def _judge(run: _Run) -> None:
    """Put what was seen into verdicts."""
    tests = dict.fromkeys(test for block in run.screened for test in block.ratios)
    for test in (test for test in tests if test not in run.found.lost):
        again = effects(run.confirming, test)
        flag = run.flags.get(test)
        run.found.changes[test] = gate.change(
            effects(run.screened, test), flag, again if again["wall"] else None, run.tolerance
        )
    blocks = [*run.screened, *run.confirming]
    own = effects(blocks, run.control, "control") if run.control else {"wall": []}
    if own["wall"]:
        run.found.control_name = run.control
        flag = gate.screen(own)
        seen = gate.change(own, None, None, run.tolerance)
        verdict = seen.verdict if flag is None else flag.direction
        run.found.control = Change(verdict, seen.clock, seen.ratio, seen.smallest_detectable)


__all__ = ["Comparison", "NotComparableError", "compare"]
