"""Two sets of records side by side: what the cells of both took, and by what factor that differs.

Easy to get wrong: the two were not measured in turns, so what differs may be the hour and not the code; a factor stands only
where machine, target and updates are the same, and has an interval only where repeats or seeds allow one.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mbbench.placing import POLICIES, POLICY
from mbbench.record import Kind, Record
from mbbench.reporting import losses, readable
from mbbench.reporting.peaks import Peak, peak
from mbbench.reporting.pooling import Pool, pools, timed, unseeded
from mbbench.reporting.selection import latest
from mbbench.reporting.stats import Estimate, from_seeds, ratio
from mbbench.reporting.tried import typical_s
from mbbench.search import REACHED, Search, crossing, promising_rate


@dataclass(frozen=True)
class Side:
    """One of two sets of records, with a name to tell it from the other.

    Attributes:
        name: no path that names a machine or a user.
        records: those that may stand in one report.
    """

    name: str
    records: tuple[Record, ...]


class Pair(NamedTuple):
    """One figure of a cell on both sides.

    Attributes:
        cell: its name.
        what: "an epoch", "peak memory" ...
        first, second: the figure of each side in words, or why there is none.
        ratio: second over first, None where they do not compare.
        note: why not, or what to be careful about.
    """

    cell: str
    what: str
    first: str
    second: str
    ratio: Estimate | None
    note: str


def side(name: str, records: Sequence[Record]) -> Side:
    """Return a set of records as a side: of these the ones that may stand in one report, and so of one machine."""
    return Side(name, tuple(latest(records)[0]))


def names(first: Path, second: Path) -> tuple[str, str]:
    """Return names of two folders: as few last parts of their paths as tell them apart, two at most."""
    one, other = first.resolve().parts, second.resolve().parts
    for length in (1, 2):
        if one[-length:] != other[-length:]:
            return "/".join(one[-length:]), "/".join(other[-length:])
    return "the first", "the second"


def cells(of: Side) -> dict[str, Pool]:
    """Return the pools of a side by the names of their cells."""
    return {str(unseeded(pool.cell)): pool for pool in pools(of.records)}


def pairs(a: Side, b: Side) -> list[Pair]:
    """Return every figure of every cell that both sides have, in the order of the first."""
    first, second = cells(a), cells(b)
    why, found = unlike(a, b), list[Pair]()
    for name in (name for name in first if name in second):
        both = first[name], second[name]
        for pair in (*_times(name, *both), *_memory(name, *both), *_steps(*both), *_losses(name, *both)):
            if why:
                pair = pair._replace(ratio=None, note=f"not comparable: {why}")
            elif not pair.note and pair.ratio is not None:
                pair = pair._replace(note=_changed(*both))
            found.append(pair)
    return list(dict.fromkeys(found))  # steps of a search are those of every loader that it was made for


def unlike(a: Side, b: Side) -> str:
    """Return in what the machines of the two sides differ, "" where they have one fingerprint."""
    if not a.records or not b.records:
        return ""
    one, other = (of.records[-1].environment for of in (a, b))
    if one.fingerprint == other.fingerprint:
        return ""
    keys = dict.fromkeys([*one.identity, *other.identity])
    parts = [key.replace("_", " ") for key in keys if one.identity.get(key) != other.identity.get(key)]
    return f"another machine or environment ({readable.listed(parts)})"


def _changed(one: Pool, other: Pool) -> str:
    sources = [{record.source for record in pool.records} for pool in (one, other)]
    return "" if sources[0] == sources[1] else "the problem's file differs"


def _times(name: str, one: Pool, other: Pool) -> Iterator[Pair]:
    of_epoch = one.epoch_s, other.epoch_s, one.repeats, other.repeats
    of_step = one.step_s, other.step_s, _step_repeats(one), _step_repeats(other)
    for what, (first, second, before, after) in (("an epoch", of_epoch), ("a step", of_step)):
        if first is not None or second is not None:
            factor = ratio(after, before) if first is not None and second is not None else None
            yield Pair(name, what, _time(first, one), _time(second, other), factor, "")


def _step_repeats(pool: Pool) -> list[tuple[float, ...]]:
    return [record.measurement.steps_s() for record in pool.timings if timed(record)]


def _time(known: Estimate | None, pool: Pool) -> str:
    if known is None:
        return _why(pool, "time")
    return f"{readable.seconds(known.value)} ({readable.plural(known.n, 'repeat')})"


def _memory(name: str, one: Pool, other: Pool) -> Iterator[Pair]:
    first, second = peak(one), peak(other)
    if first is None and second is None:
        return
    factor = None
    if first is not None and second is not None and first.tensors:
        factor = Estimate(value=second.tensors / first.tensors, low=None, high=None, n=1, unit="ratio")
    yield Pair(name, "peak memory", _peak(first, one), _peak(second, other), factor, "")


def _peak(known: Peak | None, pool: Pool) -> str:
    return _why(pool, "memory") if known is None else readable.size(known.tensors)


def _steps(one: Pool, other: Pool) -> Iterator[Pair]:
    """Compare updates to the target seed by seed, where both sides aimed at one."""
    records = _search(one), _search(other)
    first, second = (None if record is None else record.measurement.search for record in records)
    if records[0] is None or first is None or second is None or not first.targets or not second.targets:
        return
    name = str(unseeded(records[0].case))
    before, after = _reached(first), _reached(second)
    shown, aims = (_typical(before), _typical(after)), (readable.loss(first.target), readable.loss(second.target))
    if math.isclose(first.target, second.target, rel_tol=1e-9):
        yield Pair(name, f"updates to loss {aims[0]}", *shown, *_by_seed(before, after))
    else:
        yield Pair(name, "updates to target", *shown, None, f"not comparable: targets are {aims[0]} and {aims[1]}")


def _search(pool: Pool) -> Record | None:
    tuned = [r for r in pool.searches if r.case.option(POLICY) == POLICIES[0] and r.measurement.search is not None]
    return max(tuned, key=lambda record: (record.environment.time, str(record.case)), default=None)


def _reached(search: Search) -> dict[int, float | None]:
    lr = promising_rate(search)  # the best one, where enough seeds reached the target
    return {run.seed: crossing(run.step, run.train_loss, search.target) for run in search.at(lr)}


def _typical(steps: Mapping[int, float | None]) -> str:
    """Return the geometric mean over the seeds as elsewhere on the page; the median where one did not reach the target."""
    there = [each for each in steps.values() if each is not None]
    if len(there) < REACHED * len(steps) or not there:
        return "not reached"
    if min(there) == 0:
        return "at the target before any update"
    middle, seeds = typical_s(tuple(steps.values())), readable.plural(len(steps), "seed")
    assert middle is not None  # enough seeds reached it
    how = seeds if len(there) == len(steps) else f"median of {seeds}, {len(there)} reached it"
    return f"{readable.count(middle)} ({how})"


def _losses(name: str, one: Pool, other: Pool) -> Iterator[Pair]:
    """Compare losses seed by seed after as many updates as every seed of both sides made."""
    if not (losses.complete(one) and losses.complete(other)):
        return
    after = losses.horizon([one, other], "step")
    if after is None:
        return
    first, second = _after(one, after), _after(other, after)
    shown = _lost(one, after, len(first)), _lost(other, after, len(second))
    yield Pair(name, f"loss after {after:,.4g} updates", *shown, *_by_seed(first, second))


def _lost(pool: Pool, step: float, seeds: int) -> str:
    return f"{readable.loss(losses.loss_at(pool, 'step', step).value)} ({readable.plural(seeds, 'seed')})"


def _after(pool: Pool, step: float) -> dict[int, float | None]:
    alone = {record.case.seed: dataclasses.replace(pool, trainings=(record,)) for record in pool.finished}
    return {seed: losses.loss_at(each, "step", step).value for seed, each in alone.items()}


def _by_seed(first: Mapping[int, float | None], second: Mapping[int, float | None]) -> tuple[Estimate | None, str]:
    """Return the factor of what the seeds of both sides took, and why there is none."""
    shared = [(first[seed], second[seed]) for seed in first if seed in second]
    if not shared:
        return None, "not comparable: no seed is in both"
    factors = [after / before for before, after in shared if before is not None and after is not None and before * after > 0]
    if len(factors) < len(shared):
        return None, "no factor: not every seed of both has a value above 0"
    return from_seeds(factors, "ratio"), ""


def _why(pool: Pool, kind: Kind) -> str:
    return readable.TROUBLES.get(pool.status(kind).split(", ")[-1], "not measured")
