"""Put together the records that speak of one batch size under one loader: its times, its search for steps, its races.

Easy to get wrong: a search has no clock, so it belongs to every loader, device and number of threads that its batch size was
timed with; only rows that are shuffled inside a window ("stream") may take other steps. And steps are compared to one
target only: a search that was aimed at another one is no search here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from mbbench.case import Cell
from mbbench.placing import POLICIES, POLICY, group_cell, plain, searched_as, serves
from mbbench.readings import step_seconds, target_s
from mbbench.record import Record
from mbbench.reporting import pooling
from mbbench.search import Search, best_rate, promising_rate, steps_to


@dataclass(frozen=True)
class Tried:
    """One batch size under one loader on one device.

    Attributes:
        cell: as timed, with seed 0; batch_size None is the full batch.
        steps: to the main target, one a seed, None where not reached: at the best learning rate or, where at none of them
            enough seeds reach it, at the most promising; () where there was no search.
        step_s: seconds a step, one a repeat: those of an epoch, its start included, over its steps.
        lr: the best learning rate, None where too few seeds reached the target.
        search: its "target" record, None where there is none that aims at this target.
        timings: its "time" records.
        races: its "race" records to the main target, at the best learning rate.
    """

    cell: Cell
    steps: tuple[float | None, ...] = ()
    step_s: tuple[float, ...] = ()
    lr: float | None = None
    search: Record | None = None
    timings: tuple[Record, ...] = ()
    races: tuple[Record, ...] = ()

    @property
    def race_s(self) -> tuple[float | None, ...]:
        """Seconds to the target of each race, None where it was not reached."""
        return tuple(map(target_s, self.races))

    @property
    def runs(self) -> Search | None:
        """What its search saw, None where there is none or where it failed."""
        return None if self.search is None else self.search.measurement.search

    @property
    def compared(self) -> bool:
        """Whether it has both steps and times."""
        return bool(self.steps and self.step_s)


@dataclass(frozen=True)
class Group:
    """What was tried of one problem, n, device, loader and everything else but the batch size.

    Attributes:
        cell: as timed, of the full batch.
        policy: of the learning rates.
        targets: falling, () where no search found any; the middle one is the main one.
        sizes: rising batch size, full batch last.
        astray: batch sizes that were searched for other targets, and so are not.
        unfit: batch sizes that ran out of memory.
    """

    cell: Cell
    policy: str
    targets: tuple[float, ...]
    sizes: tuple[Tried, ...]
    astray: tuple[int | None, ...] = ()
    unfit: tuple[int | None, ...] = ()

    @property
    def target(self) -> float | None:
        """The target that is advised on."""
        return self.targets[len(self.targets) // 2] if self.targets else None


def groups(records: Iterable[Record]) -> list[tuple[Group, ...]]:
    """Return what was searched, a tuple for each problem, n, device, loader ...: a group for each policy, tuned first."""
    kept = sorted((r for r in records if r.case.micro_batch is None), key=_newness)
    searched = _by((r for r in kept if r.kind == "target"), lambda cell: str(searched_as(cell)))
    clocked = _by((r for r in kept if r.kind in ("time", "race", "memory")), lambda cell: str(group_cell(cell)))
    found: dict[str, tuple[Group, ...]] = {}
    for name, of_one in clocked.items():
        cell = group_cell(of_one[0].case)
        searches = searched.get(str(searched_as(cell)), ())
        if any(record.kind != "memory" for record in of_one) and (policies := _policies(cell, searches, of_one)):
            found[name] = policies
    timed = {str(searched_as(several[0].cell)) for several in found.values()}
    for name, searches in searched.items():
        if name not in timed:  # steps alone: there is something to say, if no recommendation
            cell = group_cell(min(searches, key=lambda record: record.case.loader == "stream").case)
            found[str(cell)] = _policies(cell, searches, ())
    return [found[name] for name in sorted(found, key=lambda name: _place(found[name][0].cell))]


def at_target(search: Search, target: float | None) -> tuple[float | None, tuple[float | None, ...]]:
    """Return the best learning rate for a target (None: too few seeds reached it), and the steps of each seed to it.

    Without a best rate they are those at the most promising one; without a target none of the seeds reached it.
    """
    if target is None:
        return None, (None,) * len(search.seeds)
    aimed = msgspec.structs.replace(search, targets=(target,))
    lr = best_rate(aimed)
    return lr, steps_to(aimed, promising_rate(aimed) if lr is None else lr, target)


def _policies(cell: Cell, searches: Sequence[Record], clocked: Sequence[Record]) -> tuple[Group, ...]:
    """Return a group for each policy that was searched with rows in an order like that of the cell's loader."""
    own = [record for record in searches if serves(record.case, cell.loader)]
    of = {policy: [record for record in own if record.case.option(POLICY) == policy] for policy in POLICIES}
    return tuple(_group(cell, policy, found, clocked) for policy, found in of.items() if found)


def _group(cell: Cell, policy: str, searches: Sequence[Record], clocked: Sequence[Record]) -> Group:
    # The nearest comes last and stays.
    own = {record.case.batch_size: record for record in sorted(searches, key=lambda record: _nearness(record, cell))}
    targets = _targets(own.values())
    main = targets[len(targets) // 2] if targets else None
    astray = {size for size, record in own.items() if not _aims_at(record, main)}
    sizes = {record.case.batch_size for record in (*own.values(), *clocked) if record.kind != "memory"}
    order = sorted(sizes, key=lambda size: (size is None, size or 0))
    tried = tuple(
        _tried(
            plain(cell, batch_size=size),
            None if size in astray else own.get(size),
            main,
            [record for record in clocked if record.case.batch_size == size],
        )
        for size in order
    )
    lost = tuple(size for size in order if _unfit([r for r in clocked if r.case.batch_size == size]))
    return Group(cell, policy, targets, tried, tuple(size for size in order if size in astray), lost)


def _tried(cell: Cell, search: Record | None, target: float | None, clocked: Sequence[Record]) -> Tried:
    seen = None if search is None else search.measurement.search
    lr, steps = (None, ()) if seen is None else at_target(seen, target)
    timings = tuple(sorted((r for r in clocked if r.kind == "time"), key=lambda record: (record.repeat, str(record.case))))
    races = [r for r in clocked if r.kind == "race" and r.budget.target_loss == target and _at_rate(r, lr)]
    return Tried(
        cell=cell,
        steps=steps,
        step_s=tuple(seconds for record in timings if (seconds := step_seconds(record)) is not None),
        lr=lr,
        search=search,
        timings=timings,
        races=tuple(sorted(races, key=lambda record: (record.case.seed, record.repeat, str(record.case)))),
    )


def _targets(searches: Iterable[Record]) -> tuple[float, ...]:
    """Return the targets of the newest search that found its own three, else of the newest that has any."""
    known = [(len(seen.targets) > 1, *_newness(r), seen.targets) for r in searches if (seen := r.measurement.search)]
    return max(known)[-1] if known else ()


def _aims_at(record: Record, main: float | None) -> bool:
    """Return whether a search says something on the main target; one that found no target ended before it could."""
    seen = record.measurement.search
    return seen is None or not seen.targets or seen.target == main


def _place(cell: Cell) -> tuple[object, ...]:
    return pooling.common(cell), cell.loader != "slice", cell.loader


def _at_rate(race: Record, lr: float | None) -> bool:
    """Return whether a race was run at the best rate: that of an older search is another one."""
    used = race.measurement.lr
    return used is None or lr is None or abs(used / lr - 1) < 1e-9


def _unfit(clocked: Sequence[Record]) -> bool:
    ended = {record.measurement.status for record in clocked}
    return "oom" in ended and "ok" not in ended


def _nearness(record: Record, cell: Cell) -> tuple[object, ...]:
    """Sort searches of one size: that of the cell's own loader last, then that of its own device, then the newest."""
    return record.case.loader == cell.loader == "stream", record.case.device == cell.device, *_newness(record)


def _newness(record: Record) -> tuple[str, str, str, int]:
    """Sort by time; what was made at one time by anything else, or the order of the records would matter."""
    return record.environment.time, record.kind, str(record.case), record.repeat


def _by(records: Iterable[Record], key: Callable[[Cell], str]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(key(record.case), []).append(record)
    return found
