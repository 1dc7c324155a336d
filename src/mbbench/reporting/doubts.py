"""Say what a reader should doubt: disturbed clocks, wide intervals, few repeats or seeds, failed cells.

Each doubt names how many are meant and, where there is one, what to do about it.
"""

from collections import Counter
from collections.abc import Sequence

from mbbench.record import Record
from mbbench.reporting import readable
from mbbench.reporting.finding import Finding
from mbbench.reporting.pooling import Pool, Setting, contended
from mbbench.reporting.stats import FEWEST

WIDE = 0.10
"""An interval that reaches further above its value than two epochs may differ and still be equally good."""


def doubts(settings: Sequence[Setting], notes: Sequence[str]) -> list[Finding]:
    """Return the doubts on these settings, and the notes on records that were left out."""
    pools = [pool for setting in settings for pool in setting.pools]
    records = [record for setting in settings for record in setting.records]
    said = [_failed(records), _disturbed(records), _wide(settings), _few_repeats(pools), _few_seeds(pools)]
    return [finding for finding in said if finding] + [Finding("Left out", note) for note in notes]


def statuses(records: Sequence[Record]) -> str:
    """Return how records that are not ok ended, in words with their counts: "3 out of memory, 1 crashed"."""
    counts = Counter(record.measurement.status for record in records)
    return ", ".join(f"{count:,} {readable.TROUBLES.get(status, status)}" for status, count in counts.most_common())


def failed(records: Sequence[Record]) -> list[Record]:
    """Return the records that did not end as they were meant to; a curve ended by its seconds did."""
    return [record for record in records if record.measurement.status not in ("ok", "budget_exhausted")]


def _failed(records: Sequence[Record]) -> Finding | None:
    bad = failed(records)
    if not bad:
        return None
    of = readable.plural(len(records), "measurement")
    return Finding("Not measured", f"{len(bad):,} of {of} did not end ok: {statuses(bad)}.")


def _disturbed(records: Sequence[Record]) -> Finding | None:
    told = [contended(record) for record in records if contended(record) is not None]
    if not any(told):
        return None
    text = (
        f"{sum(map(bool, told)):,} of {len(told):,} time records waited more than 5 % of their time for the processor: "
        "something else was running. Close it and measure again with --again."
    )
    return Finding("Disturbed", text)


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
    few = [pool for pool in pools if 0 < len(pool.trainings) < FEWEST]
    if not few:
        return None
    text = f"{readable.plural(len(few), 'cell')} trained with fewer than {FEWEST} seeds: no interval and no band."
    return Finding("Few seeds", text)
