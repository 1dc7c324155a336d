"""Say what the loader costs: the same batches through another one, at equal batch sizes and micro-batches.

Easy to get wrong: a DataLoader against a direct full batch, as in the notebook, compares two things at once.
"""

from mbbench.reporting import readable
from mbbench.reporting.finding import Finding
from mbbench.reporting.pooling import Setting
from mbbench.reporting.speed import MARGIN, Against, top
from mbbench.reporting.stats import ratio


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


def worst(setting: Setting) -> tuple[str, float] | None:
    """Return the loader that costs most against slicing at an equal batch size, and its factor; None if not timed."""
    costs = [
        (by.value, loader) for loader in setting.loaders if loader != "slice" for _, by in _pairs(setting, loader, "slice")
    ]
    return (max(costs)[1], max(costs)[0]) if costs else None


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
    if all((by.low or by.value) >= 1 / MARGIN and top(by) <= MARGIN for _, by in pairs):
        where = "at every batch size" if len(pairs) > 1 else f"at {most.batch}"
        return f"{loader} takes as long as {plain} {where}, within 10 %."
    if len(pairs) == 1:
        return f"an epoch through {loader} takes {readable.times(highest)} as one through {plain} at {most.batch}."
    interval = f", {between}" if (between := readable.interval(highest)) else ""
    low, high = readable.multiple(lowest.value), readable.multiple(highest.value)
    return (
        f"an epoch through {loader} takes {low} times ({least.batch}) to {high} times ({most.batch}{interval}) as long "
        f"as one through {plain}."
    )


def _confounded(setting: Setting) -> list[Finding]:
    """Return the comparison that the notebook made, where this setting has all three cells of it."""
    full = setting.find(None, "slice")
    compared = _pairs(setting, "dataloader", "slice")
    pairs = [(pool, by) for pool, by in compared if pool.whole and pool.cell.batch_size is not None]
    if full is None or not full.repeats or not pairs:
        return []
    pool, by = max(pairs, key=lambda pair: pair[1].value)
    fair = setting.find(pool.cell.batch_size, "slice")
    if by.value <= MARGIN or fair is None:
        return []
    mixed, equal = ratio(pool.repeats, full.repeats), ratio(fair.repeats, full.repeats)
    text = (
        f"{pool.batch} through a DataLoader against a direct full batch, as in the notebook, takes "
        f"{readable.multiple(mixed.value)} times as long; with slice on both sides {readable.multiple(equal.value)} "
        "times: the rest is the loader, not the batch size."
    )
    return [Finding("Not the batch", text)]
