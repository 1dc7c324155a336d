"""Say which batch size and loader have the fastest epoch, and what the others cost.

Easy to get wrong: the smallest number is no winner by itself. A pool is as good as the fastest where its whole interval is
within 10 % of it, slower where it takes more than that and its interval excludes equality, and undecided otherwise. The
intervals hold for all pools of a setting together. Without intervals only a reading is given, and called so. A full batch
in micro-batches is a pool of its own, and full batch where mini-batches are compared with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mbbench.reporting import readable
from mbbench.reporting.finding import Finding
from mbbench.reporting.pooling import Pool, Setting
from mbbench.reporting.stats import FEWEST, Estimate, against, ratio

MARGIN = 1.10
"""Epochs this close are equally good: machines of one kind and days on one machine differ by as much."""
SHOWN = 4
"""Names in one list; further ones are counted."""

Against = tuple[Pool, Estimate]
"""A pool, and how many times as long as the fastest its epoch takes."""


@dataclass(frozen=True)
class Standing:
    """Pools of one setting against the fastest of them.

    Attributes:
        best: the pool with the shortest epoch.
        equal: at most 10 % longer, by the upper end of the interval.
        slower: longer by more than that, with an interval above 1.
        undecided: all others, and so all without an interval.
    """

    best: Pool
    equal: tuple[Against, ...]
    slower: tuple[Against, ...]
    undecided: tuple[Against, ...]


def standing(setting: Setting) -> Standing:
    """Return the setting's timed pools, at least one, against the fastest of them."""
    order = sorted(setting.timed, key=_epoch_s)
    best, *others = order
    pairs = list(zip(others, against([pool.repeats for pool in others], best.repeats), strict=True))
    equal = tuple(pair for pair in pairs if pair[1].high is not None and pair[1].high <= MARGIN)
    slower = tuple(pair for pair in pairs if pair[1].value > MARGIN and (pair[1].low or 0) > 1)
    rest = tuple(pair for pair in pairs if pair not in equal and pair not in slower)
    return Standing(best, equal, slower, rest)


def winner(setting: Setting) -> Literal["full", "mini", "both", "undecided"] | None:
    """Return who has the fastest epoch; None where full batch and a mini-batch were not both timed.

    A batch of all rows that was asked for by its number is a full batch here.
    """
    if {_has_all_rows(pool) for pool in setting.timed} != {True, False}:
        return None
    found = standing(setting)
    best = _has_all_rows(found.best)
    if any(_has_all_rows(pool) != best for pool, _ in found.equal):
        return "both"
    if any(_has_all_rows(pool) != best for pool, _ in found.undecided):
        return "undecided"
    return "full" if best else "mini"


def headline(setting: Setting) -> str:
    """Return one or two sentences on a setting with at least one timed pool, without any absolute time."""
    timed = setting.timed
    if len({pool.cell.batch_size for pool in timed}) == 1:
        names = {pool.batch for pool in timed}
        only = timed[0].batch if len(names) == 1 else readable.batch(timed[0].cell.batch_size)
        return f"Only {only} was timed, so nothing is said on which batch size is best: give several with --batch-size."
    found = standing(setting)
    best, ties = name(setting, found.best), [name(setting, pool) for pool, _ in found.equal]
    if not found.slower and not found.undecided:
        return f"All {len(timed)} {_varied(timed)} take the same time for an epoch, within 10 %."
    if ties:
        have = "had the fastest epochs, equal within 10 %, but not beyond doubt" if found.undecided else ""
        have = have or "have the fastest epochs, equal within 10 %"
        first = f"{readable.first_up(_some([best, *ties]))} {have}."
    elif found.undecided:
        first = f"{readable.first_up(best)} had the fastest epoch, but not beyond doubt."
    else:
        first = f"{readable.first_up(best)} has the fastest epoch."
    costs = [f"with {_through(setting, pool)} takes {readable.times(by)}" for pool, by in _extremes(found)]
    second = f" An epoch {' and one '.join(costs)}." if costs else ""
    return first + second + _reading(timed)


def findings(setting: Setting) -> list[Finding]:
    """Return what there is to say on the times of a setting, the most important first."""
    if not setting.timed:
        return []
    found = standing(setting)
    said = [_fastest(setting, found.best)]
    if found.equal:
        text = f"an epoch with {_against(setting, found.equal)}: within 10 % of the fastest."
        said.append(Finding("As fast", text))
    parts = []
    told, bare = ([pair for pair in found.undecided if (pair[1].low is not None) is known] for known in (True, False))
    if told:
        holds = "the interval holds" if len(told) == 1 else "the intervals hold"
        parts.append(f"{_against(setting, told)}: {holds} both being as fast as the fastest and being slower")
    if bare:
        parts.append(f"{_against(setting, bare)}: no interval, which takes {FEWEST} repeats of each and of the fastest")
    if parts:
        said.append(Finding("Undecided", f"an epoch with {'; with '.join(parts)}. More repeats may decide."))
    return said


def scaling(setting: Setting) -> str:
    """Return how throughput changes from the smallest to the largest batch that was timed whole, for each loader."""
    said = []
    for loader in dict.fromkeys(pool.cell.loader for pool in setting.timed):
        pools = [pool for pool in setting.timed if pool.cell.loader == loader and pool.whole]
        if len(pools) > 1:
            factor = readable.multiple(ratio(pools[0].repeats, pools[-1].repeats).value)
            said.append((f"by {factor} with {loader}", f"from {pools[0].batch} to {pools[-1].batch}"))
    if not said:
        one = len({pool.cell.batch_size for pool in setting.timed}) == 1
        return "one batch size was timed." if one else "no two batch sizes were timed alike."
    if len({span for _, span in said}) == 1:
        return f"{said[0][1]}, throughput is multiplied {readable.listed(by for by, _ in said)}."
    return f"throughput is multiplied {', '.join(f'{by} {span}' for by, span in said)}."


def name(setting: Setting, pool: Pool) -> str:
    """Name a pool within its setting: by its loader only where there are several."""
    return pool.name if len({pool.cell.loader for pool in setting.timed}) > 1 else pool.batch


def _through(setting: Setting, pool: Pool) -> str:
    """Name a pool as what an epoch is trained with: by its loader only where there are several."""
    several = len({pool.cell.loader for pool in setting.timed}) > 1
    return pool.batch + (f" through {pool.cell.loader}" if several else "")


def _reading(timed: Sequence[Pool]) -> str:
    """Return which of the times have no interval, "" where all have one."""
    few = [pool for pool in timed if len(pool.repeats) < FEWEST]
    if not few:
        return ""
    counts = sorted({len(pool.repeats) for pool in few})
    repeats = readable.plural(counts[0], "repeat") if len(counts) == 1 else f"{counts[0]} or {counts[-1]} repeats"
    if len(few) == len(timed):
        return f" This is a reading of {repeats} without an interval."
    return f" {len(few):,} of {len(timed):,} times are readings of {repeats} without an interval."


def _varied(pools: Sequence[Pool]) -> str:
    """Return what it is that there are several of."""
    axes = ["batch size"]
    axes += ["micro-batch"] if not all(pool.whole for pool in pools) else []
    axes += ["loader"] if len({pool.cell.loader for pool in pools}) > 1 else []
    return f"combinations of {readable.listed(axes)}" if len(axes) > 1 else "batch sizes"


def _fastest(setting: Setting, best: Pool) -> Finding:
    epoch = best.epoch_s
    assert epoch is not None  # a timed pool
    n = readable.plural(epoch.n, "repeat")
    interval = f"{n}, no interval"
    if epoch.low is not None and epoch.high is not None:
        interval = f"95 % interval {readable.seconds(epoch.low)} to {readable.seconds(epoch.high)}, {n}"
    speed = readable.rate(best.cell.n_samples / epoch.value)
    text = f"{name(setting, best)}: an epoch in {readable.seconds(epoch.value)} ({interval}), {speed}."
    return Finding("Fastest epoch", text + _updates(setting, best))


def _updates(setting: Setting, best: Pool) -> str:
    """Return how unlike the epochs are that are compared; "" where they are alike."""
    steps = {pool.cell.steps_per_epoch: readable.batch(pool.cell.batch_size) for pool in setting.timed}
    most, own = max(steps), best.cell.steps_per_epoch
    if most == own:
        return ""
    return (
        f" It is {readable.plural(own, 'update')} with {steps[own]} and {most:,} with {steps[most]}, so the fastest epoch "
        "need not be the fastest training."
    )


def _extremes(found: Standing) -> list[Against]:
    """Return full batch and the smallest batch, where they are not among the fastest.

    With the fastest one's loader and whole where there is such a pool; in micro-batches only where whole is not as good.
    """
    others = [*found.slower, *found.undecided]
    good = {(pool.cell.batch_size, pool.whole) for pool in (found.best, *(pool for pool, _ in found.equal))}
    sizes = sorted({pool.cell.samples_per_step for pool, _ in others if not _is_full(pool)})
    chosen = []
    for size in [None, *sizes[:1]]:
        left = others if (size, True) not in good else []
        same = [pair for pair in left if pair[0].cell.batch_size == size and (size, pair[0].whole) not in good]
        same.sort(key=lambda pair: (pair[0].cell.loader != found.best.cell.loader, not pair[0].whole, pair[1].value))
        chosen += same[:1]
    return chosen


def _against(setting: Setting, pairs: Sequence[Against]) -> str:
    return _some([f"{_through(setting, pool)} ({readable.times(by, ', {}')})" for pool, by in pairs])


def _some(words: list[str]) -> str:
    shown, more = words[:SHOWN], len(words) - SHOWN
    return readable.listed([*shown, f"{more} more"] if more > 0 else shown)


def _epoch_s(pool: Pool) -> float:
    return pool.epoch_s.value if pool.epoch_s else float("inf")


def _has_all_rows(pool: Pool) -> bool:
    return pool.cell.samples_per_step == pool.cell.n_samples


def _is_full(pool: Pool) -> bool:
    return pool.cell.batch_size is None
