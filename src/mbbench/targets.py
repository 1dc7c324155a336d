"""Find the steps to target of each batch size: a reference run, the two anchors, then every other size from what these tell.

Which learning rate to begin with at a batch size follows from those that are tuned already (`rule`), so jobs are made as
their turn comes. Easy to get wrong: all batch sizes have to reach the same targets, which the reference run chooses, so
nothing is searched before it; where it reaches none another size is the reference, or a slip of one size would end them all.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mbbench.case import Budget, Cell, check_name
from mbbench.measuring import session
from mbbench.measuring.jobs import Job, Place, SearchPlan
from mbbench.placing import POLICIES, POLICY, searched_as
from mbbench.record import Record
from mbbench.scaling import critical_between, rule
from mbbench.search import Search, best_rate, central_rate, steps_to, typical_steps

ANCHOR = 32
"""Batch size of the reference run, or the nearest to it."""
SEEDS = 5
SEARCH_S = 60.0
"""Of a search at one batch size, unless more is asked for."""
FEWEST_STEPS, FEWEST_EPOCHS = 2000, 20
"""Most steps of the reference run: the larger of the two. A tenth of them finds the target where none is given."""
SLACK = 4.0
"""Times the steps of the reference run to the lowest target, for other sizes; and again by how much smaller the batch is."""


class Aim(msgspec.Struct, frozen=True):
    """What a search for steps to target was asked for.

    Attributes:
        place: where the problem is.
        seeds: how many, from the cells' own on.
        target: training loss, None: found by the reference run.
        max_steps: of the reference run, None: 2000, or 20 epochs if more.
        max_s: seconds of a search.
        max_bytes: of a cell.
        at_once: searches at a time.
    """

    place: Place
    seeds: int = SEEDS
    target: float | None = None
    max_steps: int | None = None
    max_s: float = SEARCH_S
    max_bytes: int | None = None
    at_once: int = 1

    @property
    def budget(self) -> Budget:
        """The limits as asked for, which are in a record's key."""
        return Budget(target_loss=self.target, max_steps=self.max_steps, max_seconds=self.max_s, max_bytes=self.max_bytes)


def chains(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Return what is to be searched: for each problem, n, optimizer and policy its batch sizes, by how near they are to 32.

    Steps to target depend neither on threads nor, but for "stream", on the loader, nor on the device, of which the first
    one named that is no CPU searches.
    """
    found: dict[tuple[Cell, str, int], dict[int | None, Cell]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.device == "cpu", cell.loader == "stream")):
        loader = "stream" if cell.loader == "stream" else "slice"
        own = msgspec.structs.replace(cell, micro_batch=None, threads=1, loader=loader)
        alike = (searched_as(cell), cell.option(POLICY), cell.seed)
        found.setdefault(alike, {}).setdefault(cell.batch_size, own)
    return [
        sorted(chain.values(), key=lambda cell: (abs(math.log(cell.samples_per_step / ANCHOR)), cell.samples_per_step))
        for chain in found.values()
    ]


def policies(asked: str | Iterable[str]) -> list[str]:
    """Return the learning rate policies asked for; raise UsageError where there is no such policy."""
    several = [asked] if isinstance(asked, str) else list(asked)
    for policy in several:
        check_name(POLICY, policy, POLICIES)
    return several


def with_policy(cell: Cell, policy: str) -> Cell:
    """Return the cell of a search under a learning rate policy."""
    if policy == POLICIES[0]:
        return cell
    return msgspec.structs.replace(cell, options=tuple(sorted([*cell.options, (POLICY, policy)])))


class Chase:
    """The searches of one chain of batch sizes, made job by job from the records of those before."""

    def __init__(self, chain: Sequence[Cell], aim: Aim) -> None:
        """Take a chain and what was asked for."""
        self.chain, self.aim = list(chain), aim
        self.records: list[Record] = []

    @property
    def reference(self) -> Record | None:
        """The record of the reference run, None before there is one."""
        return next((r for r in self.records if r.measurement.search and len(r.measurement.search.targets) == 3), None)

    def stages(self) -> Iterator[list[Job]]:
        """Yield jobs that may run at once; those before must be in `records` when the next are asked for."""
        todo = [cell for cell in self.chain if cell.applicable]
        yield [self._job(cell) for cell in self.chain if not cell.applicable]
        while todo and self.reference is None:
            yield [self._job(todo.pop(0), threads=self.aim.at_once)]
        found = self.reference
        if found is None or not todo:
            return
        largest = max(todo, key=lambda cell: cell.samples_per_step)
        if largest.samples_per_step > found.case.samples_per_step and largest.option(POLICY) == POLICIES[0]:
            todo.remove(largest)
            yield [self._job(largest, (0.71, 1.0, 1.41, 2.0, 2.83), self.aim.at_once)]
        # Small batches take the most steps: those that last longest begin first.
        yield [self._job(cell) for cell in sorted(todo, key=lambda cell: cell.samples_per_step)]

    def _job(self, cell: Cell, times: Sequence[float] | None = None, threads: int = 1) -> Job:
        seeds = tuple(range(cell.seed, cell.seed + self.aim.seeds))
        about: dict[str, Any] = {
            "kind": "target",
            "case": cell,
            "repeat": 0,
            "budget": self.aim.budget,
            "place": self.aim.place,
        }
        found = self.reference
        limit = self.aim.max_steps or max(FEWEST_STEPS, FEWEST_EPOCHS * cell.steps_per_epoch)
        plan = SearchPlan(
            seeds=seeds,
            targets=() if self.aim.target is None else (self.aim.target,),
            most_steps=limit,
            most_s=self.aim.max_s,
            reference_steps=max(1, limit // 10),
            noise=True,
        )
        if cell.option(POLICY) == "fixed" and cell.lr is not None:
            plan = msgspec.structs.replace(plan, rates=(cell.lr,), fixed=True)
        if found is not None and found.measurement.search is not None:
            search = found.measurement.search
            rates, fixed = self._rates(cell, search, times)
            least = _steps(search, search.targets[-1]) or limit
            most = math.ceil(SLACK * least * max(1.0, found.case.samples_per_step / cell.samples_per_step))
            plan = SearchPlan(
                seeds=seeds, rates=rates, fixed=fixed, targets=search.targets, most_steps=most, most_s=self.aim.max_s
            )
        return Job(search=msgspec.structs.replace(plan, threads=threads), **about)

    def _rates(self, cell: Cell, search: Search, times: Sequence[float] | None) -> tuple[tuple[float, ...], bool]:
        """Return the rates to begin with, and whether to try no other."""
        assert self.reference is not None
        anchor = self.reference.case.samples_per_step
        lr = central_rate(search) or search.rates[0]
        policy = cell.option(POLICY)
        factor = cell.samples_per_step / anchor
        scaled = {"fixed": 1.0, "linear": factor, "sqrt": math.sqrt(factor)}
        if policy != "tuned":
            return (lr * scaled[policy],), True
        if (between := self._between(cell.samples_per_step)) is not None:
            return tuple(between * 2 ** (power / 4) for power in (-1, 0, 1)), False
        points = typical_points(self.records)
        smallest, largest = points[0], points[-1]
        critical = critical_between(smallest, largest) if smallest[0] < largest[0] else 0.0
        guess = rule(cell.samples_per_step, (anchor, lr), critical)
        return tuple(guess * by for by in (times or [2 ** (power / 4) for power in (-2, -1, 0, 1, 2)])), False

    def _between(self, size: int) -> float | None:
        """Return the rate of a size between two that are tuned, on the straight line in logs; None where it is between none.

        On digits-mlp the best rates of batch 64 to 1024 are within 2^(1/4) of it, where the rule is 1.4 times too high.
        """
        known = sorted((r.case.samples_per_step, r.measurement.lr) for r in self.records if r.measurement.lr is not None)
        for (low, low_lr), (high, high_lr) in itertools.pairwise(known):
            if low < size < high:
                part = math.log(size / low) / math.log(high / low)
                return math.exp((1 - part) * math.log(low_lr) + part * math.log(high_lr))
        return None


def run(
    begun: session.Session,
    cells: Iterable[Cell],
    aim: Aim,
    done: Mapping[tuple[str, ...], Record],
    on_record: session.OnRecord,
) -> list[Record]:
    """Search every chain of these cells; records in `done` with enough seeds stand in for searching again."""
    records = []
    for chain in chains(cells):
        chase = Chase(chain, aim)
        for jobs in chase.stages():
            kept = {job.case: done[begun.key(job)] for job in jobs if _covers(done.get(begun.key(job)), job, aim.seeds)}
            chase.records += kept.values()
            left = [job for job in jobs if job.case not in kept]
            chase.records += session.execute_together(begun, left, on_record, aim.at_once)
        records += chase.records
    return records


def _covers(record: Record | None, job: Job, seeds: int) -> bool:
    """Return whether a record stands in for a job: enough seeds, and the targets of this chain's reference run.

    Another reference run (one that is new, or of a size that was not asked for before) may have found other targets.
    """
    search, plan = None if record is None else record.measurement.search, job.search
    if search is None or plan is None or len(search.seeds) < seeds:
        return False
    return len(plan.targets) < 2 or search.targets == plan.targets


def _steps(search: Search, target: float) -> float | None:
    lr = best_rate(search, target)
    return None if lr is None else typical_steps(steps_to(search, lr, target))


def typical(record: Record) -> float | None:
    """Return the typical steps to the target that a target record found, None where there are none."""
    search = record.measurement.search
    return None if search is None or not search.targets else _steps(search, search.target)


def typical_points(records: Iterable[Record]) -> list[tuple[int, float]]:
    """Return (batch size, typical steps to target) of the target records that have them, rising."""
    return sorted((r.case.samples_per_step, steps) for r in records if (steps := typical(r)) is not None)
