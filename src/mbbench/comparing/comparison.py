"""Compare two trees: memory and convergence first, which read no clock; then times, with what time is left.

Easy to get wrong: where the time is short the benchmarks that are least certain go on, and what was flagged is never judged
by the blocks that flagged it.
"""

import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mbbench.comparing import untimed
from mbbench.comparing.blocks import effects, turns
from mbbench.comparing.children import Block
from mbbench.comparing.course import Course, Say
from mbbench.comparing.trees import Trees
from mbbench.reporting import gate, readable, sign_flip
from mbbench.reporting.compared import INTERRUPTED, METRICS, TOGETHER, Comparison, Row

CONFIRMING = 12
"""Blocks: 7 are the fewest for 1 %; of a 5 % change at a spread of 2 % a block 12 miss 1 in 1000."""
WORKING = "the working tree"


def compare(
    trees: Trees,
    arguments: Sequence[str],
    *,
    within_s: float,
    metrics: Iterable[str] = METRICS,
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
        metrics: of `METRICS`.
        tolerance: the least change of time that matters.
        threads: of torch in each child.
        seed: of the order of sides and turns.
        say: told what happens.

    Raises:
        NotComparableError: no side-by-side run is possible.
    """
    began = time.monotonic()
    found = Comparison(trees.base_commit, trees.head_commit or WORKING, trees.notes, tolerance)
    course = Course(found, trees, arguments, began + within_s, say, threads, seed)
    times, state = _Times(course), trees.state()
    try:
        tests = _listed(found, course.collect(), arguments)
        if "memory" in metrics:
            untimed.memory(course, tests)
        if "convergence" in metrics:
            untimed.convergence(course, tests, within_s)
        if "time" in metrics:
            times.measure(tests)
    except KeyboardInterrupt:
        found.unfinished = INTERRUPTED
    found.rows += times.judged()
    found.rows = [*_sorted(found.rows), *_together(found.rows)]
    if trees.state() != state:
        found.notices.append("the working tree changed while it was compared: what head was differs from block to block")
    found.seconds = time.monotonic() - began
    return found


def wanted(block: Block, arguments: Sequence[str]) -> list[str]:
    """Return the benchmarks that both sides have; those of the gate alone where there is one and none are asked for."""
    gated = [test for test in block.both if test in block.collected["head"].gate]
    return gated if gated and not any(word.startswith("-k") for word in arguments) else block.both


def _listed(found: Comparison, block: Block, arguments: Sequence[str]) -> list[str]:
    """Return the benchmarks to compare; list those that only one side has, and files that a side could not collect."""
    base, head = block.collected["base"], block.collected["head"]
    for side, collected in block.collected.items():
        for file, why in collected.errors.items():
            found.lost[file] = f"{side} could not collect it: {why}"
    alone = [[test for test in one.tests if test not in other.tests] for one, other in ((base, head), (head, base))]
    # Of a file that one side could not collect nobody knows which benchmarks it has there.
    known = [[test for test in tests if test.partition("::")[0] not in found.lost] for tests in alone]
    found.missing, found.new = tuple(known[0]), tuple(known[1])
    return wanted(block, arguments)


def block_s(course: Course, tests: Sequence[str]) -> float:
    """Return the seconds of a block of timing, each benchmark's share of it, by running one."""
    course.blocks([], 1, tests, "time", lambda number: turns(random.Random(number)), 1)
    return course.block_s


class _Times:
    """Blocks of timing: screening ones, what they flagged, and fresh ones to confirm it."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._screened: list[Block] = []
        self._confirming: list[Block] = []
        self._flags: dict[str, gate.Flag] = {}
        self._looked = 0

    def measure(self, tests: Sequence[str]) -> None:
        """Screen every benchmark, and confirm what each look flags before the next one."""
        for flags in gate.screening(tests, self._until, self._course.found.tolerance):
            self._flags |= flags
            if flags:
                self._blocks(self._confirming, CONFIRMING, list(flags), 0.0)

    def _until(self, tests: Sequence[str], count: int) -> dict[str, gate.Effects]:
        """Run blocks until there are so many, of as many benchmarks as there is time for."""
        if not self._screened:  # how long a block takes is known after the first
            self._blocks(self._screened, 1, tests, 0.0)
            self._looked = 1
        reserve_s = CONFIRMING * self._course.block_s  # for one that this look may flag
        some = self._affordable(tests, count - self._looked, reserve_s)
        self._blocks(self._screened, count - self._looked, some, reserve_s)
        self._looked = count
        return {test: seen for test in some if (seen := self._effects(test))["wall"]}

    def _affordable(self, tests: Sequence[str], missing: int, reserve_s: float) -> list[str]:
        """Return as many benchmarks as there is time for, those first whose intervals are the widest."""
        course = self._course
        each_s = course.block_s * missing
        left_s = course.until - time.monotonic() - reserve_s
        most = len(tests) if not each_s else int(left_s / each_s)
        if most >= len(tests):
            return list(tests)
        course.found.unfinished = "the time was over"
        # With time for none the first goes on as far as it comes: a verdict on one beats none on all.
        return sorted(tests, key=lambda test: -_width(self._effects(test)["wall"]))[: max(1, most)]

    def _blocks(self, into: list[Block], count: int, tests: Sequence[str], reserve_s: float) -> None:
        self._course.blocks(into, count, tests, "time", lambda number: turns(random.Random(number)), 1, reserve_s)

    def _effects(self, test: str) -> dict[str, list[float]]:
        """Return the screening effects of a benchmark; those beyond the last look came of blocks that ended early."""
        return {clock: values[: gate.LOOKS[-1]] for clock, values in effects(self._screened, test).items()}

    def judged(self) -> list[Row]:
        """Return a verdict on each benchmark that has a block, and put the control's into what was found."""
        found, rows = self._course.found, list[Row]()
        for test in dict.fromkeys(test for block in self._screened for test in block.found if test not in found.lost):
            again = {clock: values[:CONFIRMING] for clock, values in effects(self._confirming, test).items()}
            flag = self._flags.get(test)
            change = gate.change(self._effects(test), flag, again if again["wall"] else None, found.tolerance)
            seconds = [block.found[test].seconds for block in self._screened if test in block.found]
            rows.append(Row(test, "time", change, statistics.median(seconds)))
        own = effects([*self._screened, *self._confirming], None, "control")
        if own["wall"]:
            own = {clock: values[: sign_flip.MOST_BLOCKS] for clock, values in own.items()}
            flag, seen = gate.screen(own), gate.change(own, None, None, found.tolerance)
            found.control = Row(self._controlled(), "time", seen if flag is None else replace(seen, verdict=flag.direction))
        return rows

    def _controlled(self) -> str:
        """Return the name of what the control ran, which is the first benchmark of each block."""
        names = list(dict.fromkeys(next(iter(block.found)) for block in self._screened + self._confirming if block.found))
        return names[0] if len(names) == 1 else f"{names[0]} and {readable.plural(len(names) - 1, 'other')}"


def _width(values: Sequence[float]) -> float:
    """Return how wide an interval is; 0 where there is none yet: nothing is known of which is the widest."""
    ratio = gate.estimate(values).spread if values else None
    return ratio or 0.0


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """Return the rows by benchmark, as they came, and by metric in the order of `METRICS`."""
    names = list(dict.fromkeys(row.name for row in rows))
    return sorted(rows, key=lambda row: (METRICS.index(row.metric), names.index(row.name)))


def _together(rows: Sequence[Row]) -> list[Row]:
    """Return the time to a loss of each benchmark of which both time and updates were judged."""
    times = {row.name: row for row in rows if row.metric == "time"}
    return [
        Row(row.name, TOGETHER, gate.together(times[row.name].change, row.change), row.base)
        for row in rows
        if row.change.clock == "updates" and row.name in times
    ]
