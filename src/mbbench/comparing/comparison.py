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
from mbbench.reporting.compared import INTERRUPTED, Comparison
from mbbench.reporting.gate import Change, Flag

BLOCKS_A_ZYGOTE = 4
"""After which everything is imported anew: what one process has in its memory is luck too."""
CONFIRMING = 12
"""Blocks: 7 are the fewest for 1 %; of a 5 % change at a spread of 2 % a block 12 miss 1 in 1000."""
WORKING = "the working tree"

Say = Callable[[str], None]


@dataclass
class _Run:
    """A comparison under way."""

    found: Comparison
    trees: Trees
    arguments: Sequence[str]
    until: float
    tolerance: float
    say: Say
    threads: int
    seed: int
    control: str = ""
    test_s: float = 0.0
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
    found = Comparison(trees.base_commit, trees.head_commit or WORKING, trees.notes, tolerance)
    run = _Run(found, trees, arguments, began + within_s, tolerance, say, threads, seed)
    try:
        _screen(run)
        _confirm(run)
    except KeyboardInterrupt:
        run.found.unfinished = INTERRUPTED
    _judge(run)
    run.found.seconds = time.monotonic() - began
    return run.found


def collected(trees: Trees, arguments: Sequence[str], threads: int = 1) -> list[str]:
    """Return the benchmarks that would be compared: those of the gate where there are any, unless some are asked for."""
    with Zygote(arguments, threads) as zygote:
        block = zygote.run([Side("base", trees.base, trees.head), Side("head", trees.head, trees.base)], {})
    return wanted(block, arguments)


def wanted(block: Block, arguments: Sequence[str]) -> list[str]:
    """Return the benchmarks that both sides have; those of the gate alone where there is one and none are asked for."""
    both = [test for test in block.collected["head"] if test in block.collected["base"]]
    gated = [test for test in both if test in block.gate]
    return gated if gated and "-k" not in arguments else both


def _screen(run: _Run) -> None:
    """Run blocks of what is open; at each look, flag what changed and let go what is the same."""
    with Zygote(run.arguments, run.threads) as zygote:
        trees = run.trees
        block = zygote.run([Side("base", trees.base, trees.head), Side("head", trees.head, trees.base)], {})
    found, base, head = run.found, block.collected["base"], block.collected["head"]
    found.missing, found.new = tuple(t for t in base if t not in head), tuple(t for t in head if t not in base)
    open_tests = wanted(block, run.arguments)
    run.control = open_tests[0] if open_tests else ""
    for look in gate.LOOKS:
        # What is flagged already is to be confirmed in the same time.
        _blocks(run, run.screened, look - len(run.screened), open_tests, CONFIRMING * len(run.flags) * run.test_s)
        open_tests = [test for test in open_tests if test not in run.found.lost]
        for test in list(open_tests):
            seen = effects(run.screened, test)
            if not seen["wall"]:
                continue
            flag = gate.screen(seen)
            if flag is not None:
                run.flags[test] = flag
                run.say(f"{test}: {flag.direction} by {flag.clock}, to be confirmed")
            if flag is not None or gate.change(seen, None, None, run.tolerance).verdict == "same":
                open_tests.remove(test)
        if not open_tests or run.found.unfinished:
            return


def _confirm(run: _Run) -> None:
    if run.flags:
        _blocks(run, run.confirming, CONFIRMING, list(run.flags), 0.0)


def _blocks(run: _Run, into: list[Block], count: int, tests: list[str], reserve_s: float) -> None:
    """Run so many blocks more, in fresh zygotes; lose a benchmark where it ends its child; stop when there is no time."""
    trees, made, longest_s = run.trees, 0, 0.0
    while made < count:
        with Zygote(run.arguments, run.threads) as zygote:
            for _ in range(min(BLOCKS_A_ZYGOTE, count - made)):
                began = time.monotonic()
                if began + longest_s + reserve_s > run.until:
                    run.found.unfinished = "the time was over"
                    return
                sides = [Side("base", trees.base, trees.head), Side("head", trees.head, trees.base)]
                alive = [test for test in tests if test not in run.found.lost]
                if not alive:
                    return
                keep = {"base": alive, "head": alive}
                if run.control in alive:
                    sides.append(Side("control", trees.base, trees.head))
                    keep["control"] = [run.control]
                block = zygote.run(sides, keep, run.seed + run.found.blocks)
                run.found.lost |= block.lost
                run.found.own = run.found.own or block.own
                run.found.blocks += 1
                made += len(block.ratios) + len(block.lost) >= len(alive)  # a crash ends a block early
                into.append(block)
                took_s = time.monotonic() - began
                longest_s, run.test_s = max(longest_s, took_s), took_s / len(alive)
                run.say(f"block {run.found.blocks}: {len(block.ratios)} benchmarks in {took_s:.1f} s")


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
