"""Say which batch sizes fit in memory: the largest tried that does, the smallest that does not, and how that was found.

Easy to get wrong: "the largest that fits" is the largest that was tried; and a cell that was predicted not to fit was never
run, which is said.
"""

from collections.abc import Sequence

from mbbench.record import Record
from mbbench.reporting import readable
from mbbench.reporting.peaks import asked_about, fits, limit, unfit
from mbbench.reporting.pooling import Pool, Setting

PHASES = {
    "start": " at the start",
    "data": " while the rows were made",
    "model": " while the model was made",
    "warm-up": " in the warm-up",
    "train": " in training",
}
"""Where a cell was, as the end of a sentence."""


def fitting(setting: Setting, reasons: bool = True) -> str:
    """Return which batch sizes in one piece fit, and with `reasons` how that is known; "" where nothing is known."""
    tried = [pool for pool in setting.pools if pool.whole and fits(pool) is not None]
    if not tried or not asked_about(setting):
        return ""
    inside, outside = ([pool for pool in tried if fits(pool) is wanted] for wanted in (True, False))
    if not outside:
        return _all_fit(setting, inside)
    smallest = min(outside, key=_size)
    lost = unfit(smallest)
    assert lost is not None  # it is outside
    why = f" ({how(lost)})" if reasons else ""
    if not inside:
        return _none_fits(setting, outside, f"{_in(lost)}{why}")
    largest = max(inside, key=_size)
    allowed = _room(largest)
    first = f"{_name(setting, largest)} is the largest batch tried that fits{allowed}"
    one = "does not" if len({pool.cell.batch_size for pool in outside}) == 1 else "is the smallest that does not"
    again = f" fit{_in(lost)}" if _in(lost) != allowed else ""
    return f"{first}; {_name(setting, smallest)} {one}{again}{why}."


def full_fits(setting: Setting) -> bool | None:
    """Return whether the full batch in one piece fits, with any loader; None where that is not known."""
    known = [fits(pool) for pool in setting.pools if pool.whole and pool.cell.batch_size is None]
    return True if True in known else False if False in known else None


def how(record: Record) -> str:
    """Return how it was found that a cell does not fit."""
    measured = record.measurement
    predicted, allowed = measured.predicted_peak_bytes, limit(record)
    where = PHASES.get(measured.phase or "", "")
    if measured.oom_by == "predicted":
        if predicted is None:
            return "predicted, not run"
        more = " and what the allocator adds" if allowed is not None and predicted <= allowed else ""
        return f"predicted {readable.size(predicted)} of tensors{more}, not run"
    if measured.oom_by == "raised":
        return f"an allocation failed{where}"
    if measured.oom_by == "watchdog":
        taken = measured.peak_rss_delta_bytes
        seen = "above it" if taken is None else f"at {readable.size(taken)}"
        return f"ended{where}, its process was seen {seen}"
    return f"ran out of memory{where}"


def room(record: Record) -> str:
    """Return a record's limit in words, "" where it is not known: "1 GiB", "the 12.3 GiB allowed of what was free"."""
    known = limit(record)
    if known is None:
        return ""
    size = readable.size(known)
    return size if record.budget.max_bytes is not None else f"the {size} allowed of what was free"


def _all_fit(setting: Setting, inside: Sequence[Pool]) -> str:
    largest = max(inside, key=_size)
    where = _room(largest)
    if _unknown(setting):
        return f"{_name(setting, largest)} is the largest batch tried that fits{where}; none ran out of memory."
    if len({pool.cell.batch_size for pool in inside}) == 1:
        return f"{largest.batch} fits{where}; no other batch size was tried in one piece."
    return f"every batch size tried fits{where}, up to {largest.batch}."


def _none_fits(setting: Setting, outside: Sequence[Pool], where: str) -> str:
    smallest = min(outside, key=_size)
    if _unknown(setting):
        return f"{_name(setting, smallest)} does not fit{where}, and of no batch size it is known that it fits."
    if len({pool.cell.batch_size for pool in outside}) == 1:
        return f"{smallest.batch} does not fit{where}; no other batch size was tried in one piece."
    return f"no batch size tried fits, not even {smallest.batch}{where}."


def _unknown(setting: Setting) -> bool:
    """Return whether cells that could have been run ended in a way that does not tell whether they fit."""
    run = (pool for pool in setting.pools if pool.memories + pool.timings + pool.trainings)
    return any(pool.whole and pool.cell.applicable and fits(pool) is None for pool in run)


def _name(setting: Setting, pool: Pool) -> str:
    """Name a pool by its loader only where the same batch fits with one and not with another."""
    same = [other for other in setting.pools if other.whole and other.cell.batch_size == pool.cell.batch_size]
    return pool.batch if len({fits(other) for other in same}) == 1 else setting.name(pool)


def _size(pool: Pool) -> int:
    return pool.cell.samples_per_step


def _room(pool: Pool) -> str:
    """Return the limit that a pool fitted in."""
    words = (_in(record) for record in pool.memories + pool.timings + pool.trainings)
    return next((word for word in words if word), "")


def _in(record: Record) -> str:
    return f" in {words}" if (words := room(record)) else ""
