"""What a comparison found, in sentences for a terminal: the verdict, a line for each benchmark, and what was compared.

Easy to get wrong: "not shown to be slower" reads like "same", so what is undecided says the smallest change that it could
have shown.
"""

from collections.abc import Iterator

from mbbench.reporting import readable
from mbbench.reporting.compared import METRICS, ORDER, TOGETHER, Comparison, Row

SIGNS = {"slower": "▲", "faster": "▼", "same": "=", "undecided": "?"}
_WORSE_BETTER = {
    "time": ("slower", "faster"),
    "memory": ("hungrier", "leaner"),
    "updates": ("more updates", "fewer updates"),
    "held-out loss": ("worse held-out", "better held-out"),
    TOGETHER: ("later at the target", "sooner at the target"),
}


def word(row: Row) -> str:
    """Return a row's verdict in a word or two of its metric."""
    words = _WORSE_BETTER.get(row.change.clock if row.metric == "convergence" else row.metric, ("slower", "faster"))
    return {"slower": words[0], "faster": words[1]}.get(row.change.verdict, row.change.verdict)


def headline(found: Comparison) -> str:
    """Return the verdict in a few sentences."""
    if not found.rows:
        return f"Nothing could be compared.{_left(found)}"
    unreliable = ""
    if found.unreliable and found.control is not None:
        seen = found.control.change
        unreliable = (
            f"The times of this run are unreliable: the base against itself was called {seen.verdict} "
            f"({signed(seen.ratio.value)}, {found.control.name}); run it again on a quieter machine. "
        )
    if found.regressions:
        return f"{_worse(found)} {unreliable}{totals(found)}{_left(found)}"
    if unreliable:
        return f"{unreliable}{totals(found)}{_left(found)}"
    return f"{_open(found)}{_left(found)}"


def _worse(found: Comparison) -> str:
    """Return the worst regression in a sentence."""
    worst, base = found.regressions[0], found.base[:12]
    by = signed(worst.change.ratio.value)
    if worst.metric == "memory":
        return f"Hungrier than {base}: {worst.name}: {sentence(worst)}."
    return {
        "updates": f"Converges later than {base}: {worst.name} takes {by} updates.",
        "held-out loss": f"Generalises worse than {base}: {worst.name} by {by} held-out loss.",
        "cpu": f"Slower than {base}: {worst.name} by {by} of CPU time.",
    }.get(worst.change.clock, f"Slower than {base}: {worst.name} by {by}.")


def _open(found: Comparison) -> str:
    """Return what can be said where no regression is believed and the times are."""
    total, base = totals(found), found.base[:12]
    rows = [row for row in found.of("undecided") if row.metric in METRICS]
    suspected = [row for row in rows if row.change.suspected == "slower"]
    early = [row for row in rows if row.change.smallest_detectable is None]
    why = found.unfinished or "there were too few blocks"
    if suspected:
        reads = f"{signed(suspected[0].change.ratio.value)} {quantity(suspected[0])}"
        late = f" ({found.unfinished})" if found.unfinished else ""
        return f"Not confirmed{late}: {suspected[0].name} looked worse and reads {reads}. {total}"
    if early:
        reads = signed(early[0].change.ratio.value)
        return f"Not decided, {why}: {early[0].name} reads {reads} after {replications(early[0])}. {total}"
    if rows:
        least = readable.percent(max(row.change.smallest_detectable or 0.0 for row in rows))
        return f"Nothing was shown to be worse than {base}. {total} A change of {least} would be missed every other time."
    return f"Nothing is worse than {base} beyond its tolerance. {total}"


def _left(found: Comparison) -> str:
    """Return what was not compared, in a sentence; "" where all was."""
    if not found.lost:
        return ""
    name, why = next(iter(sorted(found.lost.items())))
    more = f" and {len(found.lost) - 1:,} more" if len(found.lost) > 1 else ""
    return f" Not compared: {name} ({why}){more}."


def lines(found: Comparison) -> list[str]:
    """Return the comparison for a terminal, the worst first."""
    said = [headline(found), ""]
    for verdict in ORDER:
        said += [
            f"  {SIGNS[verdict]} {word(row)}{doubt(found, row)}: {row.name}: {sentence(row)}" for row in found.of(verdict)
        ]
    said += [f"  - not compared: {name}: {why}" for name, why in sorted(found.lost.items())]
    said += [f"  - only in head: {name}" for name in found.new]
    said += [f"  - only in base: {name}" for name in found.missing]
    said += [f"  ! {notice}" for notice in found.notices]
    return [*said, "", *about(found)]


def doubt(found: Comparison, row: Row) -> str:
    """Return that a change of time is not believed, where the control was flagged."""
    believed = not found.unreliable or row.metric not in ("time", TOGETHER) or row.change.verdict == "undecided"
    return "" if believed else ", not believed"


def sentence(row: Row) -> str:
    """Return a row's figures in a sentence without its name."""
    change, ratio = row.change, row.change.ratio
    if row.metric == "memory":
        return _memory(row)
    between = ""
    if ratio.low is not None and ratio.high is not None:
        between = f" ({100 * ratio.confidence:.0f} % {signed(ratio.low)} to {signed(ratio.high)})"
    said = f"{signed(ratio.value)} {quantity(row)}{between}, {replications(row)}"
    if row.metric != TOGETHER and change.verdict == "undecided":
        least = change.smallest_detectable
        said += "; too few to tell" if least is None else f"; {readable.percent(least)} would be seen every other time"
        said += f"; it looked {change.suspected}, which was not confirmed" if change.suspected else ""
    return said


def quantity(row: Row) -> str:
    """Return what a row's ratio is of."""
    if row.metric == TOGETHER:
        return f"time to a loss of {row.base or 0:.4g}"
    return {
        "bytes": "tensor memory",
        "cpu": "CPU time",
        "wall": "wall time",
        "updates": f"updates to a loss of {row.base or 0:.4g}",
        "held-out loss": f"held-out loss after {row.base or 0:.0f} updates",
    }.get(row.change.clock, row.change.clock)


def about(found: Comparison) -> Iterator[str]:
    """Yield what was compared, in sentences."""
    yield ran(found)
    for side, modules in found.own.items():
        for name, path in sorted(modules.items()):
            yield f"measured {name} of {side} from {path}"
    if found.control is not None:
        seen = found.control
        yield f"control, the base against itself ({seen.name}): {seen.change.verdict}, {sentence(seen)}."
    if found.unfinished:
        yield ended(found)
    yield from found.notes


def ran(found: Comparison) -> str:
    """Return what was compared, in how many blocks and how long."""
    took = f"{readable.plural(found.blocks, 'block')} in {readable.seconds(found.seconds)}"
    return f"base {found.base[:12]}, head {found.head[:12] if ' ' not in found.head else found.head}: {took}."


def ended(found: Comparison) -> str:
    """Return why it ended early, where it did."""
    more = " What is undecided may need more time: --time." if found.of("undecided") else ""
    return f"It ended early: {found.unfinished}.{more}"


def signed(ratio: float) -> str:
    """Return a ratio as a change in percent, with its sign."""
    return f"{100 * (ratio - 1):+.1f} %"


def totals(found: Comparison) -> str:
    """Return how many benchmarks have which verdict, metric by metric."""
    said = []
    for metric in METRICS:
        rows = [row for verdict in ORDER for row in found.of(verdict, metric)]
        counts: dict[str, int] = {}
        for row in rows:
            counts[word(row)] = counts.get(word(row), 0) + 1
        if rows:
            several = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items())
            said.append(f"{metric.capitalize()}: {several}.")
    return " ".join(said)


def replications(row: Row) -> str:
    """Return over how many blocks or seeds a row's ratio is."""
    return readable.plural(row.change.ratio.n, "seed" if row.metric == "convergence" else "block")


def _memory(row: Row) -> str:
    base = row.base or 0.0
    head = max(base, 1.0) * row.change.ratio.value
    if row.change.verdict == "undecided":
        return f"{readable.size(base)}, but the base itself took another amount the second time: not the code's alone"
    if row.change.ratio.value == 1:
        return f"{readable.size(base)} of tensors, the same to the byte"
    if not base:
        return f"no tensors before, {readable.size(head)} now"
    return f"{signed(row.change.ratio.value)} tensor memory, {readable.size(base)} before, {readable.size(head)} now"
