"""What a comparison found, in the words and figures of the page: its finding, its method, its tile and its table.

Easy to get wrong: a method is said of what was compared only; and of an unreliable run nothing is said of times but that.
"""

from collections.abc import Iterable

from mbbench.reporting import gate, readable
from mbbench.reporting.compared import METRICS, TOGETHER, Comparison, Row
from mbbench.reporting.compared_words import SIGNS, quantity, replications, signed, totals, word
from mbbench.reporting.regression_rows import BETTER, DOUBTED, SAME, UNDECIDED, WORSE, kind, labels, ordered, tolerances
from mbbench.reporting.tables import Table
from mbbench.reporting.tiles import NOT_COMPARED, Tile

NAMED = 3
"""Benchmarks of one verdict that a sentence names; further ones are counted."""
LONG = 60
"""Columns of a name in a sentence."""
HEADS = ("benchmark", "verdict", "of", "base", "head", "change", "interval", "n", "seen every other time", "note")


def finding(found: Comparison) -> str:
    """Return what the figure shows, in a few sentences."""
    if not found.rows:
        return "Nothing could be compared."
    said = [_doubt(found)] if found.unreliable else []
    rows = ordered(found)
    for kinds in (WORSE, BETTER):
        groups: dict[str, list[Row]] = {}
        for row in rows if kinds == WORSE else rows[::-1]:
            if kind(found, row) == kinds:
                groups.setdefault(word(row), []).append(row)
        said += [f"{readable.first_up(what)}: {_named(found, some)}." for what, some in groups.items()]
    left = {each: sum(kind(found, row) == each and row.metric in METRICS for row in rows) for each in (SAME, UNDECIDED)}
    counted = [f"{count:,} {each}" for each, count in left.items() if count]
    changed = any(kind(found, row) in (WORSE, BETTER) for row in rows)
    if counted:
        said.append(f"{'The others' if changed else 'No change was confirmed'}: {readable.listed(counted)}.")
    return " ".join(said)


def method(found: Comparison) -> str:
    """Return how it was made, of what was compared only."""
    if not found.rows:
        return ""
    there = {row.metric for row in found.rows}
    units = [*(["block"] if "time" in there else []), *(["seed"] if "convergence" in there else [])]
    said = []
    if "time" in there:
        looks = readable.listed(map(str, gate.LOOKS), "or")
        said.append(
            "Base and head take turns of a few milliseconds in the same minutes, in blocks of fresh processes, "
            f"until there are {looks} of them."
        )
    if "convergence" in there:
        said.append("Base and head train from the same seeds, and are compared seed by seed.")
    if units:
        share, several = readable.percent(gate.ALPHA), readable.listed(f"{unit}s" for unit in units)
        said.append(
            f"A change is the geometric mean of head / base over the {several}; its 95 % interval and its tests are exact: "
            f"they flip the sign of each {readable.listed(units, 'or')} (sign-flip test). Two stages: what screening flags, "
            f"at {share} in all, is measured anew, and called a change where it shows again at {share}; the figures of what "
            "was measured anew are those of the second stage alone."
        )
    if "memory" in there:
        said.append("Memory is the peak of tensors, one exact reading of each side: it has no interval, and none is drawn.")
    if TOGETHER in there:
        said.append("Time to a loss is the product of the changes of time and of updates, at 90 %; it fails nothing.")
    if found.control is not None:
        said.append(
            "The control is the base a second time, in the first benchmark of each block: where it is flagged, no time is "
            "believed."
        )
    said.append(f"Shaded is what does not matter; what does is {tolerances(found)}. Twice and half lie equally far from 0.")
    return " ".join(said)


def tile(found: Comparison | None) -> Tile:
    """Return the regressions as one figure under the verdict."""
    if found is None:
        return NOT_COMPARED
    label, total = NOT_COMPARED.label, totals(found)
    early = f"; ended early: {found.unfinished}" if found.unfinished else ""
    if not found.rows:
        return Tile(label, "nothing compared", (f"ended early: {found.unfinished}" if early else _plain(found)))
    if found.regressions:
        worst = found.regressions[0]
        name = labels((row.name for row in found.rows), LONG)[worst.name]
        detail = f"worst: {name}, {_change(worst)}{early}"
        return Tile(label, f"{len(found.regressions):,}", detail)
    if found.unreliable:
        return Tile(label, "not reliable", f"the base against itself was called {_control(found)}. {_dot(total, early)}")
    value = {"undecided": "none shown", "improved": "none", "same": "none"}[found.verdict]
    return Tile(label, "none so far" if early else value, _dot(total, early))


def table(found: Comparison) -> Table:
    """Return every row, the control, and what was not compared, as text; columns with nothing in them are left out."""
    rows = [_row(found, row) for row in ordered(found)]
    if found.control is not None:
        rows.append(_row(found, found.control) | {"verdict": f"control: {word(found.control)}"})
    rows += [{"benchmark": name, "verdict": "not compared", "note": why} for name, why in sorted(found.lost.items())]
    rows += [{"benchmark": name, "verdict": "only in head"} for name in found.new]
    rows += [{"benchmark": name, "verdict": "only in base"} for name in found.missing]
    kept = [head for head in HEADS if any(row.get(head) for row in rows)]
    return kept, [[row.get(head, "") for head in kept] for row in rows]


def left_out(found: Comparison) -> str:
    """Return how many benchmarks have no verdict, "" where each has one."""
    parts = [
        f"{readable.plural(len(names), 'benchmark')} {what}"
        for names, what in (
            (found.lost, "could not be compared"),
            (found.new, "only in head"),
            (found.missing, "only in base"),
        )
        if names
    ]
    return readable.first_up(f"{readable.listed(parts)}.") if parts else ""


def _row(found: Comparison, row: Row) -> dict[str, str]:
    change, ratio = row.change, row.change.ratio
    doubted = f", {DOUBTED}" if kind(found, row) == DOUBTED and row is not found.control else ""
    said = {"benchmark": row.name, "verdict": f"{SIGNS[change.verdict]} {word(row)}{doubted}", "of": quantity(row)}
    if row.metric in ("time", "memory") and row.base is not None:
        form = readable.seconds if row.metric == "time" else readable.size
        said["base"] = form(row.base)
        # A time is that of a wall clock, which a change of CPU time says nothing of; memory is compared to a byte at least.
        least = 1.0 if row.metric == "memory" else 0.0
        said["head"] = "" if change.clock == "cpu" else form(max(row.base, least) * ratio.value)
    said["change"] = signed(ratio.value)
    if ratio.low is not None and ratio.high is not None:
        said["interval"] = f"{signed(ratio.low)} to {signed(ratio.high)}"
    said["n"] = f"{ratio.n:,}"
    if change.verdict == "undecided" and row.metric != "memory" and change.smallest_detectable is not None:
        said["seen every other time"] = readable.percent(change.smallest_detectable)
    return said | {"note": "; ".join(_notes(row))}


def _notes(row: Row) -> Iterable[str]:
    change = row.change
    if row.metric == "memory":
        yield "no interval: one exact reading"
        if change.verdict == "undecided":
            yield "the base itself took another amount the second time"
        return
    if row.metric == TOGETHER:
        yield f"interval at {readable.percent(change.ratio.confidence)}" if change.ratio.low is not None else "no interval"
        return
    if change.verdict == "undecided":
        if change.suspected:
            yield f"looked {change.suspected}, not confirmed"
        if change.smallest_detectable is None:
            yield f"{replications(row)} are too few to tell"


def _named(found: Comparison, rows: list[Row]) -> str:
    """Return benchmarks with their changes: the first few by name."""
    short = labels((row.name for row in found.rows), LONG)
    names = [f"{short[row.name]} ({signed(row.change.ratio.value)})" for row in rows[:NAMED]]
    more = len(rows) - NAMED
    return readable.listed([*names, f"{more:,} more"] if more > 0 else names)


def _doubt(found: Comparison) -> str:
    return f"The control, the base against itself, was called {_control(found)}: what the times show is not believed."


def _control(found: Comparison) -> str:
    seen = found.control
    return "" if seen is None else f"{seen.change.verdict} ({signed(seen.change.ratio.value)})"


def _change(row: Row) -> str:
    ends = row.change.ratio
    between = ""
    if ends.low is not None and ends.high is not None:
        between = f" ({readable.percent(ends.confidence)} {signed(ends.low)} to {signed(ends.high)})"
    return f"{signed(row.change.ratio.value)} {quantity(row)}{between}"


def _plain(found: Comparison) -> str:
    return left_out(found).removesuffix(".") or "no benchmark is in both"


def _dot(total: str, early: str) -> str:
    return f"{total.removesuffix('.')}{early}"
