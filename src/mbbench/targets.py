"""Find the steps to target of each batch size: a reference run, the two anchors, then every other size from what these tell.

Which learning rate to begin with at a batch size follows from those that are tuned already (`rule`), so jobs are made as
their turn comes. Easy to get wrong: all batch sizes have to reach the same targets, which the reference run chooses, so
nothing is searched before it; where it reaches none another size is the reference, or a slip of one size would end them all.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mbbench.case import OPTIONS, Budget, Case, Cell, check_name, runnable
from mbbench.measuring import session
from mbbench.measuring.jobs import Job, Place, Race, SearchPlan
from mbbench.record import Record
from mbbench.search import Search, best_rate, crossing, steps_to, typical_steps

ANCHOR = 32
"""Batch size of the reference run, or the nearest to it."""
SEEDS = 5
SEARCH_S = 60.0
"""Of a search at one batch size, unless more is asked for."""
FEWEST_STEPS, FEWEST_EPOCHS = 2000, 20
"""Most steps of the reference run: the larger of the two. A tenth of them finds the target where none is given."""
SLACK = 4.0
"""Times the steps of the reference run to the lowest target, for other sizes; and again by how much smaller the batch is."""
LOOK_FROM = 0.7
"""Of the fewest steps that any seed needed, before a race is first evaluated."""
RACE_SLACK = 3.0
"""Times the most steps that any seed needed, after which a race is over."""
CONTENDERS = 3
"""Batch sizes of each loader that are raced against the clock."""


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
    found: dict[str, dict[int | None, Cell]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.device == "cpu", cell.loader == "stream")):
        searched = msgspec.structs.replace(
            cell, micro_batch=None, threads=1, loader="stream" if cell.loader == "stream" else "slice"
        )
        alike = msgspec.structs.replace(searched, batch_size=None, device="cpu", loader="slice")
        found.setdefault(str(alike), {}).setdefault(cell.batch_size, searched)
    return [
        sorted(chain.values(), key=lambda cell: (abs(math.log(cell.samples_per_step / ANCHOR)), cell.samples_per_step))
        for chain in found.values()
    ]


def policies(asked: str | Iterable[str]) -> list[str]:
    """Return the learning rate policies asked for; raise UsageError where there is no such policy."""
    several = [asked] if isinstance(asked, str) else list(asked)
    for policy in several:
        check_name("lr_policy", policy, OPTIONS["lr_policy"])
    return several


def with_policy(cell: Cell, policy: str) -> Cell:
    """Return the cell of a search under a learning rate policy."""
    if policy == OPTIONS["lr_policy"][0]:
        return cell
    return msgspec.structs.replace(cell, options=tuple(sorted([*cell.options, ("lr_policy", policy)])))


def rule(batch_size: int, anchor: tuple[int, float], critical: float) -> float:
    """Return a learning rate to begin with: that of the anchor times (1 + Bc / B0) / (1 + Bc / B); Bc may be infinite.

    McCandlish et al. 2018 (arXiv 1812.06162), section 2.2; on digits-softmax it costs at most 1.7 times the best steps,
    where constant, linear and square-root scaling each fail somewhere (K14).
    """
    size, lr = anchor
    if math.isinf(critical):
        return lr * batch_size / size
    return lr * (1 + critical / size) / (1 + critical / batch_size)


def critical_between(small: tuple[int, float], large: tuple[int, float]) -> float:
    """Return Bc of S(B) = Smin (1 + Bc / B) through two points (batch size, steps).

    It is 0 where steps do not fall, and infinite where they fall as 1 / B or faster.
    """
    if small[1] <= large[1]:
        return 0.0
    if not large[1]:  # there before the first update
        return math.inf
    ratio = small[1] / large[1]
    rest = 1 / small[0] - ratio / large[0]
    return (ratio - 1) / rest if rest > 0 else math.inf


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
        todo = [cell for cell in self.chain if isinstance(cell, Case)]
        yield [self._job(cell) for cell in self.chain if not isinstance(cell, Case)]
        while todo and self.reference is None:
            yield [self._job(todo.pop(0), threads=self.aim.at_once)]
        found = self.reference
        if found is None or not todo:
            return
        largest = max(todo, key=lambda cell: cell.samples_per_step)
        if largest.samples_per_step > found.case.samples_per_step and largest.option("lr_policy") == "tuned":
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
        if cell.option("lr_policy") == "fixed" and cell.lr is not None:
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
        lr = best_rate(search) or search.rates[0]
        policy = cell.option("lr_policy")
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


def steps_through(points: Sequence[tuple[int, float]]) -> Callable[[int], float] | None:
    """Return S(B) through the smallest and the largest of some points; None without any, constant through one."""
    if not points:
        return None
    (small, steps), (large, _) = points[0], points[-1]
    critical = critical_between(points[0], points[-1]) if small < large else 0.0
    if math.isinf(critical):
        return lambda size: steps * small / size
    return lambda size: steps * (1 + critical / size) / (1 + critical / small)


def step_seconds(record: Record) -> float | None:
    """Return the seconds of a step of a time record, epoch starts included; None where it was not timed."""
    epochs = record.measurement.epochs_s(record.case.n_samples) if record.measurement.status == "ok" else ()
    return statistics.median(epochs) / record.case.steps_per_epoch if epochs else None


def contenders(records: Iterable[Record], aim: Aim, chosen: Iterable[Cell] = ()) -> list[Job]:
    """Return the races of the chosen cells and those of the least steps times seconds a step, `CONTENDERS` of a loader."""
    several = list(records)
    first, searches = set(map(runnable, chosen)), searches_of(several)
    raced: list[Cell] = []
    for target_s in reckoned_s(several).values():
        rank = sorted(target_s, key=lambda cell: (cell not in first, target_s[cell], cell.samples_per_step))
        raced += rank[:CONTENDERS]
    return races(raced, {cell: searches[searched(cell)] for cell in raced}, aim)


def searches_of(records: Iterable[Record]) -> dict[Cell, Record]:
    """Return the target records that have steps to their target, by `searched`; a tuned one before one of another policy."""
    found = [record for record in records if typical(record) is not None]
    found.sort(key=lambda record: record.case.option("lr_policy") == "tuned")  # later ones overwrite
    return {searched(record.case): record for record in found}


def reckoned_s(records: Iterable[Record]) -> dict[Cell, dict[Cell, float]]:
    """Return the steps times seconds a step of each cell with both, by what the cells have in common but the batch size."""
    several = list(records)
    searches = searches_of(several)
    step_s: dict[Cell, list[float]] = {}
    for record in several:
        read = step_seconds(record) if record.kind == "time" and record.case.micro_batch is None else None
        if read is not None:
            step_s.setdefault(runnable(record.case), []).append(read)
    found: dict[Cell, dict[Cell, float]] = {}
    for cell, seconds in step_s.items():
        search = searches.get(searched(cell))
        steps = None if search is None else typical(search)
        if steps is not None:
            found.setdefault(family(cell), {})[cell] = steps * statistics.geometric_mean(seconds)
    return found


def family(cell: Cell) -> Cell:
    """Return what cells that differ in batch size only have in common."""
    return runnable(msgspec.structs.replace(cell, batch_size=None))


def searched(cell: Cell) -> Cell:
    """Return what the search of a cell has in common with it: neither loader, device, threads nor micro-batch matter.

    Nor does the policy of its learning rates: an update does not know where its rate came from.
    """
    options = tuple((name, value) for name, value in cell.options if name != "lr_policy")
    plain = {"micro_batch": None, "threads": 1, "loader": "slice", "device": "cpu", "options": options}
    return runnable(msgspec.structs.replace(cell, **plain))


def races(cells: Iterable[Cell], searches: dict[Cell, Record], aim: Aim) -> list[Job]:
    """Return the races of these cells, each with the tuned rate and every seed, one seed of all cells after the other.

    Args:
        cells: what to race, as it is timed.
        searches: the target record of each; a cell without a rate that reaches its target is left out.
        aim: as of the searches.
    """
    jobs = []
    for number, cell in itertools.product(range(aim.seeds), cells):
        search = searches[cell].measurement.search
        lr = None if search is None else best_rate(search)
        if search is None or lr is None:
            continue
        known = [steps for run in search.at(lr) if (steps := crossing(run.step, run.train_loss, search.target)) is not None]
        budget = Budget(target_loss=search.target, max_steps=math.ceil(RACE_SLACK * max(known)) + 1, max_bytes=aim.max_bytes)
        jobs.append(
            Job(
                kind="race",
                case=runnable(msgspec.structs.replace(cell, seed=cell.seed + number)),
                repeat=0,
                budget=budget,
                place=aim.place,
                race=Race(lr=lr, look_from=max(1, int(LOOK_FROM * min(known)))),
            )
        )
    return jobs
