"""What a commit does to memory and to convergence: neither reads a clock, so one block tells, and the base runs twice in it.

Easy to get wrong: a benchmark whose losses or bytes differ from one run of the same code to the next says nothing of the
commit; so a control runs beside, and what it does not repeat is not judged or not called changed.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from mbbench.comparing.children import Block
from mbbench.comparing.course import Course
from mbbench.comparing.talk import Child
from mbbench.reporting import gate, paired_seeds
from mbbench.reporting.compared import Row
from mbbench.reporting.paired_seeds import Losses

CALLS = 3
"""Of a benchmark for its peak of memory: optimizers make their state in the first."""
SEEDS = 12
"""Pairs: 9 of them are the fewest that screening can flag anything by (1 / 2^9 is below a third of 1 %)."""
FEWEST_UPDATES, MOST_UPDATES = 40, 400
SHARE = 0.2
"""Of the time, for all seeds of all benchmarks; twice where some are flagged and trained again."""
OVERDRAWN = 2.0
"""Times its share that a benchmark may take with the fewest updates before it is left out."""


def memory(course: Course, tests: Sequence[str]) -> None:
    """Judge the peak of tensor memory of each benchmark that makes tensors."""

    def visit(test: str, children: Mapping[str, Child]) -> dict[str, int]:
        return {name: child.ask(CALLS) for name, child in children.items()}

    found = list[Block]()
    course.blocks(found, 1, tests, "memory", lambda number: visit)
    for test, peaks in ((test, peaks) for block in found for test, peaks in block.found.items()):
        if any(peaks.values()):
            change = gate.memory_change(peaks["base"], peaks["head"], peaks["control"])
            course.found.rows.append(Row(test, "memory", change, peaks["base"]))


def convergence(course: Course, tests: Sequence[str], within_s: float) -> None:
    """Judge updates to a loss, and held-out loss, of each benchmark that trains a cell of ours."""
    each_s, updates = SHARE * within_s / max(1, len(tests)), dict[str, int]()
    first = _losses(course, tests, range(SEEDS), each_s, updates)
    flagged = [test for test, sides in first.items() if any(_flags(sides).values())]
    again = _losses(course, flagged, range(SEEDS, 2 * SEEDS), each_s, updates)
    for test, sides in first.items():
        loss, flags = paired_seeds.target(sides["base"]), _flags(sides)
        fresh = _effects(again[test], loss) if test in again else {}
        for what, values in _effects(sides, loss).items():
            confirming = {what: fresh[what]} if what in fresh else None
            change = gate.change({what: values}, flags[what], confirming, gate.CONVERGENCE_TOLERANCE)
            row = Row(test, "convergence", change, loss if what == "updates" else updates[test])
            course.found.rows.append(row)
        _notice(course, test, sides, loss)


def _losses(
    course: Course, tests: Sequence[str], seeds: Sequence[int], each_s: float, updates: dict[str, int]
) -> dict[str, dict[str, Losses]]:
    """Return the losses of each side, of those benchmarks that train; remember how many updates were made of each."""

    def visit(test: str, children: Mapping[str, Child]) -> dict[str, Losses] | None:
        if None in (children["base"].seconds, children["head"].seconds):
            return None  # it trains nothing that we know
        if test not in updates:
            _trained(children, seeds[:1], 1)  # the first imports, and makes what is made once
            began = time.monotonic()
            _trained(children, seeds[:1], FEWEST_UPDATES)
            fewest_s = len(seeds) * (time.monotonic() - began)
            if fewest_s > OVERDRAWN * each_s:
                course.found.notices.append(
                    f"convergence of {test} is not judged: {len(seeds)} seeds take {fewest_s:.0f} s and have "
                    f"{each_s:.0f} s: give more --time, or fewer benchmarks with -k"
                )
                return None
            updates[test] = max(FEWEST_UPDATES, min(MOST_UPDATES, int(FEWEST_UPDATES * each_s / fewest_s)))
        return _trained(children, seeds, updates[test])

    found = list[Block]()
    if tests:
        course.blocks(found, 1, tests, "convergence", lambda number: visit)
    return {test: sides for block in found for test, sides in block.found.items() if sides is not None}


def _trained(children: Mapping[str, Child], seeds: Sequence[int], updates: int) -> dict[str, Losses]:
    """Let all sides train at once, seed by seed (so none is silent for long), and return their losses."""
    found: dict[str, dict[int, Any]] = {name: {} for name in children}
    for seed in seeds:
        for child in children.values():
            child.tell(([seed], updates))
        for name, child in children.items():
            found[name] |= child.hear()
    return dict(found)


def _effects(sides: Mapping[str, Losses], loss: float | None) -> dict[str, list[float]]:
    """Return what was read of a benchmark, a log ratio a seed: updates to a loss, and held-out losses where there are any.

    Keys are what was read, as in `gate.Change.clock`.
    """
    found = {} if loss is None else {"updates": paired_seeds.updates(sides["base"], sides["head"], loss)}
    held_out = paired_seeds.held_out(sides["base"], sides["head"])
    return found | ({"held-out loss": held_out} if held_out else {})


def _flags(sides: Mapping[str, Losses]) -> dict[str, gate.Flag | None]:
    effects = _effects(sides, paired_seeds.target(sides["base"]))
    return {what: gate.screen({what: values}) for what, values in effects.items()}


def _notice(course: Course, test: str, sides: Mapping[str, Losses], loss: float | None) -> None:
    """Say where losses are not the same bit for bit, or not even of the same code, and where there is none to get to."""
    if loss is None:
        course.found.notices.append(
            f"updates of {test} are not judged: the base's loss half-way is not finite and above 0 with every seed"
        )
    if paired_seeds.difference(sides["base"], sides["control"]) is not None:
        course.found.notices.append(f"{test}: the base's losses differ from one run to the next")
        return
    largest = paired_seeds.difference(sides["base"], sides["head"])
    if largest is not None:
        most = "some are not finite on one side" if largest == float("inf") else f"by {100 * largest:.2g} % at most"
        course.found.notices.append(f"numerics changed: {test}: losses of training differ, {most}")
