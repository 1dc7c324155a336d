"""Say what a reader should doubt: disturbed clocks, wide intervals, few repeats or seeds, failed cells, sampled memory.

Each doubt names how many are meant and, where there is one, what to do about it. A cell that does not fit in a budget that
was asked for is an answer and no failure, but counted all the same.
"""

import statistics
from collections import Counter
from collections.abc import Sequence

from mbbench.record import Record
from mbbench.reporting import readable
from mbbench.reporting.finding import Finding
from mbbench.reporting.peaks import wavers
from mbbench.reporting.pooling import Pool, Setting, contended, once
from mbbench.reporting.stats import FEWEST

WIDE = 0.10
"""An interval that reaches further above its value than two epochs may differ and still be equally good."""


EVENTS = 0.05
"""Host's clock over device's events, less 1."""


def doubts(settings: Sequence[Setting], notes: Sequence[str]) -> list[Finding]:
    """Return the doubts on these settings, and the notes on records that were left out."""
    pools = [pool for setting in settings for pool in setting.pools]
    records = once(record for setting in settings for record in setting.records)
    said = [
        _failed(records),
        _over_budget(records),
        _warned(records),
        *_memory(pools),
        _disturbed(records),
        _events(records),
        _several_runs(settings),
        _wide(settings),
    ]
    said += [_few_repeats(pools), _few_seeds(pools), _same_seeds(pools)]
    return [finding for finding in said if finding] + [Finding("Left out", note) for note in notes]


def statuses(records: Sequence[Record]) -> str:
    """Return how records that are not ok ended, in words with their counts: "3 out of memory, 1 crashed"."""
    counts = Counter(record.measurement.status for record in records)
    return ", ".join(f"{count:,} {readable.TROUBLES.get(status, status)}" for status, count in counts.most_common())


def failed(records: Sequence[Record]) -> list[Record]:
    """Return the records that did not end as they were meant to; a curve ended by its seconds did."""
    return [record for record in records if record.measurement.status not in ("ok", "budget_exhausted")]


def _failed(records: Sequence[Record]) -> Finding | None:
    bad = [record for record in failed(records) if not _answered(record)]
    if not bad:
        return None
    of = readable.plural(len(records), "measurement")
    return Finding("Not measured", f"{len(bad):,} of {of} did not end ok: {statuses(bad)}.")


def _answered(record: Record) -> bool:
    """Return whether a record found that its cell does not fit in the memory that somebody allowed it."""
    return record.measurement.status == "oom" and record.budget.max_bytes is not None


def _over_budget(records: Sequence[Record]) -> Finding | None:
    over = [record for record in records if _answered(record)]
    if not over:
        return None
    budgets = sorted({record.budget.max_bytes or 0 for record in over})
    given = readable.listed(map(readable.size, budgets))
    of = readable.plural(len(records), "measurement")
    return Finding("Over budget", f"{len(over):,} of {of} did not fit in the {given} allowed, which is no failure.")


def _memory(pools: Sequence[Pool]) -> list[Finding]:
    """Return what stands behind figures of memory: samples, caches that were emptied, passes that disagree."""
    measured = [r.measurement for pool in pools for r in pool.memories if r.measurement.status == "ok"]
    said = []
    if sampled := sum(each.rss_sampled is True and each.peak_rss_delta_bytes is not None for each in measured):
        count = readable.plural(sampled, "memory record")
        text = f"{count} where the peak of the process was sampled: short spikes are missed, so it is a lower bound."
        said.append(Finding("Sampled", text))
    if retried := sum((each.allocation_retries or 0) > 0 for each in measured):
        count = readable.plural(retried, "memory record")
        text = f"{count} where the accelerator's allocator emptied its cache and tried again: the device was nearly full."
        said.append(Finding("Retries", text))
    if wavering := sum(map(wavers, pools)):
        text = f"{readable.plural(wavering, 'cell')} fitted in one pass or repeat and ran out of memory in another."
        said.append(Finding("At the limit", text))
    return said


def _warned(records: Sequence[Record]) -> Finding | None:
    """Pass on what was said of measurements that ended ok all the same."""
    told = Counter(record.measurement.message for record in records if record.measurement.status == "ok")
    told.pop(None, None)
    if not told:
        return None
    (message, count), more = told.most_common(1)[0], len(told) - 1
    others = f" (and {readable.plural(more, 'other message')})" if more else ""
    return Finding("Told", f"{readable.plural(count, 'measurement')} that ended ok said: {message}{others}")


def _disturbed(records: Sequence[Record]) -> Finding | None:
    told = [contended(record) for record in records if contended(record) is not None]
    if not any(told):
        return None
    text = (
        f"{sum(map(bool, told)):,} of {len(told):,} time records waited more than 5 % of their time for the processor: "
        "something else was running, or the model or the loader itself waits. If the former, measure again with --again."
    )
    return Finding("Disturbed", text)


def _events(records: Sequence[Record]) -> Finding | None:
    """Hold the host's clock against the accelerator's own events, round by round."""
    off = 0
    for record in records:
        pairs = zip(record.measurement.round_s, record.measurement.round_event_s, strict=False)
        ratios = [wall / event for wall, event in pairs if event > 0]
        off += bool(ratios) and abs(statistics.median(ratios) - 1) > EVENTS
    if not off:
        return None
    text = (
        f"{readable.plural(off, 'time record')} of an accelerator where the host's clock and the device's own events differ "
        "by more than 5 %: much of such a round is not the device's work."
    )
    return Finding("Two clocks", text)


def _several_runs(settings: Sequence[Setting]) -> Finding | None:
    apart = [setting for setting in settings if len({r.run_id for pool in setting.timed for r in pool.timings}) > 1]
    if not apart:
        return None
    text = (
        f"{readable.plural(len(apart), 'setting')} with cells timed in several runs: they are compared, but were not "
        "interleaved. Measure them in one run with --again."
    )
    return Finding("Several runs", text)


def _same_seeds(pools: Sequence[Pool]) -> Finding | None:
    same = [pool for pool in pools if len(pool.finished) > 1 and len({_losses(record) for record in pool.finished}) == 1]
    if not same:
        return None
    text = (
        f"{readable.plural(len(same), 'cell')} where every seed gave the very same curve: nothing random is in it, and its "
        "seeds replicate nothing."
    )
    return Finding("Same seeds", text)


def _losses(record: Record) -> tuple[float | None, ...]:
    return record.measurement.curve.train_loss if record.measurement.curve else ()


def _wide(settings: Sequence[Setting]) -> Finding | None:
    spreads = [
        (pool.epoch_s.spread, setting, pool)
        for setting in settings
        for pool in setting.timed
        if pool.epoch_s is not None and pool.epoch_s.spread is not None
    ]
    wide = [found for found in spreads if found[0] > WIDE]
    if not wide:
        return None
    widest, setting, pool = max(wide, key=lambda found: found[0])
    where = pool.name if len(settings) == 1 else f"{pool.name} in {setting.title}"
    text = (
        f"the interval of {len(wide):,} of {len(spreads):,} epoch times reaches more than 10 % above its value, "
        f"by {readable.percent(widest)} at most ({where}). More repeats narrow it: --repeats."
    )
    return Finding("Wide", text)


def _few_repeats(pools: Sequence[Pool]) -> Finding | None:
    few = [pool for pool in pools if 0 < len(pool.repeats) < FEWEST]
    if not few:
        return None
    text = (
        f"{readable.plural(len(few), 'cell')} timed in fewer than {FEWEST} repeats: no interval, so the order may be chance."
    )
    return Finding("Few repeats", text)


def _few_seeds(pools: Sequence[Pool]) -> Finding | None:
    tried = [(pool, [r for r in pool.trainings if r.measurement.curve]) for pool in pools]
    few = [pool for pool, curves in tried if 0 < len(curves) < FEWEST]
    if not few:
        return None
    text = f"{readable.plural(len(few), 'cell')} trained with fewer than {FEWEST} seeds: no interval and no band."
    return Finding("Few seeds", text)
