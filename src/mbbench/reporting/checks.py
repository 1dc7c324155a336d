"""What speaks for and against the clocks of a report: its own repeats against each other, warm-up, contention.

Easy to get wrong: only repeats of one run are halved, since they were interleaved; what two halves of identical code differ
by is what a comparison of identical code would see, and no smaller difference is news.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from mbbench.record import Record
from mbbench.reporting import readable
from mbbench.reporting.finding import Finding
from mbbench.reporting.pooling import contended, timed, unseeded


def checks(records: Sequence[Record]) -> list[Finding]:
    """Return what there is to say on the clocks of these records, () without any time."""
    clocked = [record for record in records if timed(record)]
    if not clocked:
        return []
    said = [_halves(clocked), _warm_up(clocked), _contention(clocked)]
    return [finding for finding in said if finding]


def halves(records: Iterable[Record]) -> list[tuple[float, int]]:
    """Return for each cell with two repeats or more by what factor two halves of them differ, and how many there are.

    Every second repeat against the others, those of the run with the most; geometric means of their medians.
    """
    found: dict[str, dict[str, list[Record]]] = {}  # by cell and run
    for record in records:
        if timed(record):
            found.setdefault(str(unseeded(record.case)), {}).setdefault(record.run_id, []).append(record)
    factors = []
    for runs in found.values():
        most = max(runs, key=lambda run: len(runs[run]))
        own = sorted(runs[most], key=lambda record: record.repeat)
        logs = [math.log(statistics.median(record.measurement.epochs_s(record.case.n_samples))) for record in own]
        if len(logs) > 1:
            factors.append((math.exp(statistics.fmean(logs[::2]) - statistics.fmean(logs[1::2])), len(logs)))
    return factors


def _halves(records: Sequence[Record]) -> Finding:
    found = halves(records)
    if not found:
        text = "not known: every cell was timed once, and it takes two repeats to set them against each other (--repeats)."
        return Finding("A/A", text)
    # In logs, so that half and twice as long are as far apart.
    apart = [math.expm1(abs(math.log(factor))) for factor, _ in found]
    repeats = sorted({number for _, number in found})
    each = f"{repeats[0]}" if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    most = f", {readable.percent(max(apart))} at most" if len(apart) > 1 else ""
    middle = "in the median" if len(apart) > 1 else "in the only cell"
    text = (
        f"two halves of this run's own repeats against each other: the time of an epoch differs by "
        f"{readable.percent(statistics.median(apart))} {middle}{most}, n = {readable.plural(len(apart), 'cell')} of {each} "
        "repeats. A comparison of identical code would see as much."
    )
    return Finding("A/A", text)


def _warm_up(records: Sequence[Record]) -> Finding | None:
    known = [(m.warmup_s, m.warmup_steps) for m in (record.measurement for record in records) if m.warmup_s is not None]
    if not known:
        return None
    longest = _span([seconds for seconds, _ in known], readable.seconds)
    steps = [count for _, count in known if count is not None]
    updates = f", {_span(steps, readable.count)} updates" if steps else ""
    return Finding("Warm-up", f"dropped before the first clock of every time record: {longest}{updates}.")


def _contention(records: Sequence[Record]) -> Finding:
    told = [waited for record in records if (waited := contended(record)) is not None]
    if not told:
        text = "cannot be told: wall seconds are CPU seconds with one thread on the CPU only (--threads 1)."
        return Finding("Contention", text)
    of = readable.plural(len(told), "time record")
    text = f"{sum(told):,} of {of} waited more than 5 % of their time for the processor."
    rest = len(records) - len(told)
    more = f" Of {readable.plural(rest, 'other')}, not on one thread of the CPU, it cannot be told." if rest else ""
    return Finding("Contention", text + more)


def _span(values: Sequence[float], form: Callable[[float], str]) -> str:
    least, most = form(min(values)), form(max(values))
    return least if least == most else f"{least} to {most}"
