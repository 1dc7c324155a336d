"""Compare two trees: memory and convergence first, which read no clock; then times, with what time is left.

Easy to get wrong: where the time is short the benchmarks that are least certain go on, and what was flagged is never judged
by the blocks that flagged it.
"""

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mbbench.comparing import untimed
from mbbench.comparing.blocks import effects, turns
from mbbench.comparing.children import Block
from mbbench.comparing.course import Course, Say
from mbbench.comparing.trees import Trees
from mbbench.reporting import gate
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
    times = _Times(course)
    try:
        block = course.collect()
        base, head = block.collected["base"], block.collected["head"]
        found.missing, found.new = tuple(t for t in base if t not in head), tuple(t for t in head if t not in base)
        tests = wanted(block, arguments)
        if "memory" in metrics:
            found.rows += untimed.memory(course, tests)
        if "convergence" in metrics:
            found.rows += untimed.convergence(course, tests, within_s)
        if "time" in metrics:
            times.measure(tests)
    except KeyboardInterrupt:
        found.unfinished = INTERRUPTED
    found.rows += times.judged()
    found.rows = [*_sorted(found.rows), *_together(found.rows)]
    found.seconds = time.monotonic() - began
    return found


def wanted(block: Block, arguments: Sequence[str]) -> list[str]:
    """Return the benchmarks that both sides have; those of the gate alone where there is one and none are asked for."""
    both = [test for test in block.collected["head"] if test in block.collected["base"]]
    gated = [test for test in both if test in block.gate]
    return gated if gated and "-k" not in arguments else both


def block_s(course: Course, tests: Sequence[str]) -> float:
    """Return the seconds of a block of timing, each benchmark's share of it, by running one."""
    course.blocks(1, tests, "time", lambda number: turns(random.Random(number)))
    return course.block_s or 0.0


class _Times:
    """Blocks of timing: screening ones, what they flagged, and fresh ones to confirm it."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._screened: list[Block] = []
        self._confirming: list[Block] = []
        self._flags: dict[str, gate.Flag] = {}
        self._control = ""

    def measure(self, tests: Sequence[str]) -> None:
        """Screen every benchmark, and confirm what was flagged."""
        self._control = tests[0] if tests else ""
        self._flags = gate.screening(tests, self._until, self._course.found.tolerance)
        if self._flags:
            self._confirming += self._blocks(CONFIRMING, list(self._flags))

    def _until(self, tests: Sequence[str], count: int) -> dict[str, gate.Effects]:
        """Run blocks until there are so many of these benchmarks; say which were flagged already."""
        missing = count - len(self._screened)
        if not self._screened:  # how long a block takes is known after the first
            self._screened += self._blocks(1, tests)
            missing -= 1
        some = self._affordable(tests, missing)
        self._screened += self._blocks(missing, some)
        return {test: seen for test in some if (seen := effects(self._screened, test))["wall"]}

    def _affordable(self, tests: Sequence[str], missing: int) -> list[str]:
        """Return as many benchmarks as there is time for, those first whose intervals are the widest."""
        course = self._course
        each_s = (course.block_s or 0.0) * missing
        left_s = course.until - time.monotonic()
        most = len(tests) if not each_s else int(left_s / each_s)
        if most >= len(tests):
            return list(tests)
        course.found.unfinished = "the time was over"
        # With time for none the first goes on as far as it comes: a verdict on one beats none on all.
        return sorted(tests, key=lambda test: -_width(effects(self._screened, test)["wall"]))[: max(1, most)]

    def _blocks(self, count: int, tests: Sequence[str]) -> list[Block]:
        control = [self._control] if self._control in tests else []
        return self._course.blocks(count, tests, "time", lambda number: turns(random.Random(number)), control)

    def judged(self) -> list[Row]:
        """Return a verdict on each benchmark that has a block, and put the control's into what was found."""
        found = self._course.found
        tests = dict.fromkeys(test for block in self._screened for test in block.found if test not in found.lost)
        rows = []
        for test in tests:
            again = effects(self._confirming, test)
            change = gate.change(
                effects(self._screened, test), self._flags.get(test), again if again["wall"] else None, found.tolerance
            )
            seconds = [block.found[test].seconds for block in self._screened if test in block.found]
            rows.append(Row(test, "time", change, sorted(seconds)[len(seconds) // 2]))
        own = effects([*self._screened, *self._confirming], self._control, "control")
        if own["wall"]:
            flag, seen = gate.screen(own), gate.change(own, None, None, found.tolerance)
            seen = seen if flag is None else replace(seen, verdict=flag.direction)
            found.control = Row(self._control, "time", seen)
        return rows


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
