"""Say what the loader costs: the same batches through another one, at equal batch sizes and micro-batches.

Easy to get wrong: a DataLoader against a direct full batch, as in the notebook, compares two things at once.
"""

from mbbench.reporting import readable
from mbbench.reporting.finding import Finding
from mbbench.reporting.pooling import Setting
from mbbench.reporting.speed import MARGIN, Against
from mbbench.reporting.stats import Estimate, ratio


def findings(setting: Setting) -> list[Finding]:
    """Return, for each loader beside the plainest one, what it costs at equal batch sizes."""
    loaders = list(dict.fromkeys(pool.cell.loader for pool in setting.timed))
    if len(loaders) < 2:
        return []
    plain = "slice" if "slice" in loaders else loaders[0]
    said = []
    for loader in loaders:
        pairs = _pairs(setting, loader, plain)
        if loader != plain and pairs:
            said.append(Finding("Loader", _loader_cost(pairs, loader, plain)))
    return said + _confounded(setting)


def worst(setting: Setting) -> tuple[str, Estimate] | None:
    """Return the loader that costs most against slicing at an equal batch size, and its factor; None where none is known.

    A factor whose interval holds 1 is none; one without an interval is a reading, and to be called so.
    """
    costs = [
        (loader, by)
        for loader in setting.loaders
        if loader != "slice"
        for _, by in _pairs(setting, loader, "slice")
        if by.low is None or by.low > 1
    ]
    return max(costs, key=lambda cost: cost[1].value, default=None)


def _pairs(setting: Setting, loader: str, plain: str) -> list[Against]:
    """Return the timed pools of a loader against those of another one at equal batch sizes and micro-batches."""
    pairs = []
    for pool in setting.timed:
        other = setting.find(pool.cell.batch_size, plain, pool.cell.micro_batch)
        if pool.cell.loader == loader and other is not None and other.repeats:
            pairs.append((pool, ratio(pool.repeats, other.repeats)))
    return pairs


def _loader_cost(pairs: list[Against], loader: str, plain: str) -> str:
    (least, lowest), (most, highest) = (pick(pairs, key=lambda pair: pair[1].value) for pick in (min, max))
    if all(by.low is not None and by.high is not None and 1 / MARGIN <= by.low <= by.high <= MARGIN for _, by in pairs):
        where = "at every batch size" if len(pairs) > 1 else f"at {most.batch}"
        return f"{loader} takes as long as {plain} {where}, within 10 %."
    if len(pairs) == 1:
        took = f"{readable.times(highest)} as one through {plain} at {most.batch}"
        return f"an epoch through {loader} takes {took}{_reading(pairs)}."
    interval = f", {between}" if (between := readable.interval(highest)) else ""
    low, high = readable.multiple(lowest.value), readable.multiple(highest.value)
    return (
        f"an epoch through {loader} takes {low} times ({least.batch}) to {high} times ({most.batch}{interval}) as long "
        f"as one through {plain}{_reading(pairs)}."
    )


def _reading(pairs: list[Against]) -> str:
    """Return how many of these factors have no interval, in brackets."""
    bare = sum(by.low is None for _, by in pairs)
    if not bare:
        return ""
    return " (no interval)" if bare == len(pairs) else f" (without an interval at {bare:,} of {len(pairs):,} batch sizes)"


def _confounded(setting: Setting) -> list[Finding]:
    """Return the comparison that the notebook made, where this setting has all three cells of it."""
    full = setting.find(None, "slice")
    compared = _pairs(setting, "dataloader", "slice")
    pairs = [(pool, by) for pool, by in compared if pool.whole and pool.cell.batch_size is not None]
    if full is None or not full.repeats or not pairs:
        return []
    pool, by = max(pairs, key=lambda pair: pair[1].value)
    fair = setting.find(pool.cell.batch_size, "slice")
    if by.value <= MARGIN or (by.low is not None and by.low <= 1) or fair is None:
        return []
    mixed, equal = ratio(pool.repeats, full.repeats), ratio(fair.repeats, full.repeats)
    text = (
        f"{pool.batch} through a DataLoader against a direct full batch, as in the notebook, takes "
        f"{readable.multiple(mixed.value)} times as long; with slice on both sides {readable.multiple(equal.value)} "
        f"times: the rest is the loader, not the batch size{_reading([(pool, by)])}."
    )
    return [Finding("Not the batch", text)]
