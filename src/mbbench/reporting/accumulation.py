"""Say what gradient accumulation buys and costs: the memory of micro-batches, the time of an epoch, the gradient's digits.

Easy to get wrong: the gradient is the same only where nothing in the model looks at its neighbours in the batch (BatchNorm
does) and the loss is weighed as it is averaged; so it is called the same only where it was compared.
"""

from mbbench.reporting import readable
from mbbench.reporting.capacity import how, room
from mbbench.reporting.finding import Finding
from mbbench.reporting.peaks import asked_about, fits, peak, unfit
from mbbench.reporting.pooling import Pool, Setting
from mbbench.reporting.stats import ratio

SAME = {"float64": 1e-8, "float32": 1e-4, "bfloat16": 0.01, "float16": 0.01}
"""Relative difference up to which gradients are the same but for rounding, by dtype. float32 rounds to 6e-8 and was seen to
be 2e-6 off, while a mean over what a mask leaves, without weight=, is 1e-3 off and another gradient; float64 rounds to
1e-16; bfloat16 to 0.4 %, and float16 to 0.05 % but to less and less below 6e-5, where gradients often are."""
SHOWN = 3
"""Cells that are told of, largest micro-batches that fit first; further ones are counted."""


def findings(setting: Setting) -> list[Finding]:
    """Return what is known of the memory of each batch in micro-batches."""
    if not asked_about(setting):
        return []
    told = [(pool, text) for pool in setting.pools if not pool.whole and (text := _text(setting, pool))]
    ranks = sorted((fits(pool) is not True, -(pool.cell.micro_batch or 0), place) for place, (pool, _) in enumerate(told))
    shown = sorted(place for _, _, place in ranks[:SHOWN])  # a search for what fits tries many
    said = [Finding("Accumulation", told[place][1]) for place in shown]
    if len(told) > SHOWN:
        said.append(Finding("Accumulation", f"further cells with micro-batches, in the table: {len(told) - SHOWN}."))
    return said


def _text(setting: Setting, pool: Pool) -> str:
    parent = setting.find(pool.cell.batch_size, pool.cell.loader)
    lost, fit, taken = unfit(pool), fits(pool), peak(pool)
    if lost is not None:
        also = " either" if parent is not None and unfit(parent) else ""
        where = f" in {words}" if (words := room(lost)) else ""
        return f"{setting.name(pool)} does not fit{where}{also} ({how(lost)})."
    if not fit:
        return ""
    takes = f"takes {readable.size(taken.tensors)} of tensors" if taken else "fits"
    missed = unfit(parent) if parent is not None else None
    whole = peak(parent) if parent is not None else None
    before = ""
    if parent is not None and missed is not None:
        where = f" in {words}" if (words := room(missed)) else ""
        before = f"{setting.name(parent)} does not fit{where}; "
        takes = f"fits, in {readable.size(taken.tensors)} of tensors" if taken else "fits"
    elif whole is not None and taken is not None:
        takes += f", against {readable.size(whole.tensors)} in one piece"
    return f"{before}{_subject(setting, pool, bool(before))} {takes}{_time(setting, pool)}."


def _subject(setting: Setting, pool: Pool, after_parent: bool) -> str:
    """Return what is accumulated, and how near its gradient is to the one in one piece."""
    name = setting.name(pool)
    off = _difference(pool)
    if off is None:
        return name
    if off > SAME[pool.cell.dtype]:
        return f"{name} (its gradient is another one, {readable.power(off)} of it away)"
    micro = f"in micro-batches of {pool.cell.micro_batch:,}"
    same = f"the same gradient (to {readable.power(off)} of it)"
    return f"{same} {micro}" if after_parent else f"{name} (the same gradient, to {readable.power(off)} of it)"


def _difference(pool: Pool) -> float | None:
    """Return the gradient's relative difference where it was measured."""
    done = (record.measurement for record in pool.memories if record.measurement.status == "ok")
    return next((measured.gradient_difference for measured in done), None)


def _time(setting: Setting, pool: Pool) -> str:
    """Return what an epoch takes against mini-batches of the micro-batch's size, and against the batch in one piece."""
    cell = pool.cell
    if not pool.repeats:
        return ""
    sizes = dict.fromkeys((cell.micro_batch, cell.batch_size))  # they may be one
    others = (setting.find(size, cell.loader) for size in sizes)
    known = [other for other in others if other is not None and other.repeats]
    said = []
    for other in known:
        by = ratio(pool.repeats, other.repeats)
        said.append(readable.more_time(by, f"with {other.batch}") + (" (no interval)" if by.low is None else ""))
    return f"; an epoch takes {readable.listed(said)}" if said else ""
