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
    """Return the verdict in a sentence or two."""
    if not found.rows:
        return "Nothing could be compared."
    total, base = totals(found), found.base[:12]
    unreliable = ""
    if found.unreliable and found.control is not None:
        seen = found.control.change
        unreliable = (
            f"The times of this run are unreliable: the base against itself was called {seen.verdict} "
            f"({signed(seen.ratio.value)}, {found.control.name}); run it again on a quieter machine. "
        )
    if found.regressions:
        worst = found.regressions[0]
        by = signed(worst.change.ratio.value)
        what = {
            "time": f"Slower than {base}: {worst.name} by {by}.",
            "memory": f"Hungrier than {base}: {worst.name} by {by} of tensor memory.",
            "updates": f"Converges later than {base}: {worst.name} takes {by} updates.",
            "held-out loss": f"Generalises worse than {base}: {worst.name} by {by} held-out loss.",
        }[worst.change.clock if worst.metric == "convergence" else worst.metric]
        return f"{what} {unreliable}{total}"
    if unreliable:
        return f"{unreliable}{total}"
    open_rows = [row for row in found.of("undecided") if row.metric in METRICS]
    early = [row for row in open_rows if row.change.smallest_detectable is None]
    if early:
        why = found.unfinished or "there were too few blocks"
        reads = signed(early[0].change.ratio.value)
        return f"Not decided, {why}: {early[0].name} reads {reads} after {replications(early[0])}. {total}"
    if open_rows:
        least = max(row.change.smallest_detectable or 0.0 for row in open_rows)
        seen_from = f" A change below {readable.percent(least)} could have been missed." if least else ""
        return f"Nothing was shown to be worse than {base}. {total}{seen_from}"
    return f"Nothing is worse than {base}. {total}"


def lines(found: Comparison) -> list[str]:
    """Return the comparison for a terminal, the worst first."""
    said = [headline(found), ""]
    for verdict in ORDER:
        said += [f"  {SIGNS[verdict]} {word(row)}: {row.name}: {sentence(row)}" for row in found.of(verdict)]
    said += [f"  - not compared: {name}: {why}" for name, why in sorted(found.lost.items())]
    said += [f"  - only in head: {name}" for name in found.new]
    said += [f"  - only in base: {name}" for name in found.missing]
    said += [f"  ! {notice}" for notice in found.notices]
    return [*said, "", *about(found)]


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
        said += "; too few to tell" if least is None else f"; below {readable.percent(least)} it could not be seen"
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
    head = base * row.change.ratio.value
    if row.change.verdict == "undecided":
        return f"{readable.size(base)}, but the base itself took another amount the second time: not the code's alone"
    if base == head:
        return f"{readable.size(base)} of tensors, the same to the byte"
    return f"{signed(row.change.ratio.value)} tensor memory, {readable.size(base)} before, {readable.size(head)} now"
