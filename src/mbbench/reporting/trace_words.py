"""The words of `mbbench run --profile`: which operations a step is made of, where the trace is, how to look at it."""

import re
from collections.abc import Sequence
from pathlib import Path

from mbbench.case import Cell
from mbbench.reporting import readable
from mbbench.trace import Operation, Trace

SHOWN = 12
"""Operations of the table: beyond, each takes less than a hundredth of most steps."""
WIDEST = 60
"""Characters of a name: templates of kernels have hundreds."""


def file(cell: Cell) -> Path:
    """Return where the trace of a cell is written: its id, without what not every file system takes."""
    name = re.sub(r"[^\w.=-]", "-", str(cell))
    return Path(f"trace-{name}.json")


def lines(found: Trace, cell: Cell, path: Path, size_bytes: int) -> list[str]:
    """Return what the trace in a file of this size found, as lines of text."""
    on_device = any(each.device_s for each in found.operations)
    step_s, between = found.steps_s / found.steps, found.between_s / found.steps_s
    where = f"on the {cell.device}" if on_device else "on the processor"
    rows = [_row(each, found, on_device) for each in found.operations[:SHOWN]]
    left = found.operations[SHOWN:]
    if left:
        seconds = sum(_seconds(each, on_device) for each in left)
        rest = readable.plural(len(left), "other operation")
        rows.append((rest, readable.seconds(seconds / found.steps), _share(seconds, found, on_device), "", ""))
    return [
        f"{cell}: a step takes {readable.seconds(step_s)} under torch.profiler, longer than without "
        f"(n = {found.steps} steps); {readable.percent(between)} of it is Python between the operations.",
        "",
        *_table([("operation, what it called left out", where, "share", "calls", "memory kept"), *rows]),
        "",
        "Time, calls and memory are of one step; a share is of the time of all operations.",
        f"The trace: {path} ({readable.size(size_bytes)}). Open it at https://ui.perfetto.dev or in chrome://tracing.",
    ]


def _row(each: Operation, found: Trace, on_device: bool) -> tuple[str, ...]:
    seconds = _seconds(each, on_device)
    calls = each.calls / found.steps
    often = f"{calls:.3g}" if calls < 100 else readable.count(calls)
    name = each.name if len(each.name) <= WIDEST else f"{each.name[: WIDEST - 1]}…"
    kept = readable.size(each.kept_bytes / found.steps) if each.kept_bytes else ""
    return name, readable.seconds(seconds / found.steps), _share(seconds, found, on_device), often, kept


def _share(seconds: float, found: Trace, on_device: bool) -> str:
    return readable.percent(seconds / sum(_seconds(each, on_device) for each in found.operations))


def _seconds(each: Operation, on_device: bool) -> float:
    return each.device_s or 0.0 if on_device else each.self_s


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
