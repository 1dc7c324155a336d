"""What a comparison found as rows to draw: panels of one quantity each, the worst first, with names that have room.

Easy to get wrong: of an unreliable run no time is believed, whatever its verdict; and what matters is a part of the base for
times, and at least so many bytes for memory, so each row has a tolerance of its own.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from mbbench.reporting import gate, readable
from mbbench.reporting.compared import METRICS, TOGETHER, Comparison, Row

WORSE, UNDECIDED, DOUBTED, SAME, BETTER, CONTROL = "worse", "undecided", "not believed", "same", "better", "control"
RANK = (WORSE, UNDECIDED, DOUBTED, SAME, BETTER)
"""From top to bottom."""
MOST = 60
"""Rows in a figure: about 1,400 pixels on a page; the least telling of more are in the table alone."""
BEGIN = 5
"""Columns of a long name's begin at the least."""
WIDTH = 28
"""Columns of a name in a figure, 4 points each: what leaves half of the figure to the changes."""
_KINDS = {"slower": WORSE, "faster": BETTER, "same": SAME, "undecided": UNDECIDED}


@dataclass(frozen=True)
class Line:
    """One row of the figure.

    Attributes:
        row: what was found.
        label: its name, shortened.
        kind: one of `RANK`, or `CONTROL`.
        within: the ratios between which a change does not matter.
    """

    row: Row
    label: str
    kind: str
    within: tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """Rows of one quantity, the worst first."""

    title: str
    lines: tuple[Line, ...]


def kind(found: Comparison, row: Row) -> str:
    """Return how a row is to be taken."""
    if found.unreliable and row.metric in ("time", TOGETHER) and row.change.verdict != "undecided":
        return DOUBTED
    return _KINDS[row.change.verdict]


def ordered(found: Comparison) -> list[Row]:
    """Return all rows, the worst first: by how they are to be taken, then by the change."""
    return sorted(found.rows, key=lambda row: (RANK.index(kind(found, row)), -row.change.ratio.value))


def panels(found: Comparison) -> list[Panel]:
    """Return what is drawn of a comparison: a panel for each quantity, and the control."""
    every = found.rows if found.control is None else [*found.rows, found.control]
    short = labels(row.name for row in every)
    kept = _telling(found)
    made = []
    for title, some in _quantities(ordered(found)).items():
        lines = tuple(Line(r, short[r.name], kind(found, r), within(found, r)) for r in some if id(r) in kept)
        if lines:
            made.append(Panel(title + (f" · {len(lines)} of {len(some):,} rows" if len(lines) < len(some) else ""), lines))
    if found.control is not None:
        row = found.control
        made.append(Panel("control: the base against itself", (Line(row, short[row.name], CONTROL, within(found, row)),)))
    return made


def within(found: Comparison, row: Row) -> tuple[float, float]:
    """Return the ratios between which a change does not matter."""
    if row.metric == "memory":
        base = max(row.base or 0.0, 1.0)
        part = max(gate.MEMORY_TOLERANCE, gate.MEMORY_BYTES / base)
        return max(1 - part, 0.0), 1 + part
    tolerance = found.tolerance if row.metric == "time" else gate.CONVERGENCE_TOLERANCE
    return 1 / (1 + tolerance), 1 + tolerance


def labels(names: Iterable[str], columns: int = WIDTH) -> Mapping[str, str]:
    """Return a label of each name: without its file where that tells nothing, cut where it is long, never the same."""
    every = list(dict.fromkeys(names))
    own = {name: (name.partition("::")[2] or name).removeprefix("test_") or name for name in every}
    alike, taken, found = Counter(own.values()), Counter[str](), dict[str, str]()
    for name in every:
        label = own[name]
        if alike[label] > 1 and "::" in name:
            label = f"{PurePosixPath(name.partition('::')[0]).stem}::{label}"
        label = cut(label, columns)
        taken[label] += 1
        found[name] = label if taken[label] == 1 else f"{cut(label, columns - 5)} ({taken[label]})"
    return found


def cut(text: str, columns: int = WIDTH) -> str:
    """Return a text of at most so many columns: its begin, and of its end its parameters as far as there is room."""
    if _columns(text) <= columns:
        return text
    parameters = _columns(text) - _columns(text.partition("[")[0])
    ahead = max(BEGIN, columns - 1 - parameters) if parameters else columns // 3
    begin = _first(text, ahead)
    return f"{begin}…{_first(text[::-1], columns - 1 - _columns(begin))[::-1]}"


def tolerances(found: Comparison) -> str:
    """Return what matters of what was compared: "3 % of a time or more, more than 2 % and 4 MiB of memory"."""
    memory = f"{readable.percent(gate.MEMORY_TOLERANCE)} and {readable.size(gate.MEMORY_BYTES)}"
    parts = {
        "time": f"{readable.percent(found.tolerance)} of a time or more",
        "memory": f"more than {memory} of memory",
        "convergence": f"{readable.percent(gate.CONVERGENCE_TOLERANCE)} of updates or of a held-out loss or more",
    }
    there = {row.metric for row in found.rows}
    return readable.listed(parts[metric] for metric in METRICS if metric in there)


def _quantities(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return rows by the title of their panel, in the order in which these are drawn."""
    titles = {
        "time": "time",
        "memory": "tensor memory: exact, no interval",
        "updates": "updates to a loss",
        "held-out loss": "held-out loss",
        TOGETHER: "time to a loss: follows from the two",
    }
    found: dict[str, list[Row]] = {title: [] for title in titles.values()}
    for row in rows:
        of = row.metric if row.metric != "convergence" else row.change.clock
        found[titles.get(of, titles["updates"])].append(row)
    return {title: some for title, some in found.items() if some}


def _telling(found: Comparison) -> set[int]:
    """Return which rows are drawn, by `id`: the largest changes of those that are not the same come first."""
    telling = (WORSE, BETTER, UNDECIDED, DOUBTED, SAME)
    rows = sorted(ordered(found), key=lambda row: (telling.index(kind(found, row)), -_size(row.change.ratio.value)))
    return {id(row) for row in rows[:MOST]}


def _size(ratio: float) -> float:
    """Return how large a change is, twice and half alike."""
    return max(ratio, 1 / ratio)


def _first(text: str, columns: int) -> str:
    """Return as much of the begin of a text as has room."""
    kept = ""
    for letter in text:
        if _columns(kept + letter) > columns:
            break
        kept += letter
    return kept


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
