"""Which searches, times and races belong together, and which cells are worth racing to the target against the clock."""

import itertools
import math
import statistics
from collections.abc import Iterable

import msgspec

from mbbench.case import Budget, Cell
from mbbench.measuring.jobs import Job, Race
from mbbench.placing import POLICIES, POLICY, plain, searched_as, serves
from mbbench.readings import step_seconds
from mbbench.record import Record
from mbbench.search import best_rate, crossing
from mbbench.targets import Aim, typical

LOOK_FROM = 0.7
"""Of the fewest steps that any seed needed, before a race is first evaluated."""
RACE_SLACK = 3.0
"""Times the most steps that any seed needed, after which a race is over."""
CONTENDERS = 3
"""Batch sizes of each loader that are raced against the clock."""


def search_of(cell: Cell, searches: Iterable[Record]) -> Record | None:
    """Return the search that a cell belongs to: a tuned one first, then one of its own loader; None where there is none."""
    alike = [
        record
        for record in searches
        if record.case.batch_size == cell.batch_size
        and searched_as(record.case) == searched_as(cell)
        and serves(record.case, cell.loader)
    ]
    ranks = ((record.case.option(POLICY) == POLICIES[0], record.case.loader == cell.loader) for record in alike)
    return max(zip(ranks, alike, strict=True), key=lambda pair: pair[0])[1] if alike else None


def reckoned_s(records: Iterable[Record]) -> dict[Cell, dict[Cell, float]]:
    """Return the steps times seconds a step of each cell with both, by what the cells have in common but the batch size."""
    several = list(records)
    searches = [record for record in several if typical(record) is not None]
    step_s: dict[Cell, list[float]] = {}
    for record in several:
        read = step_seconds(record) if record.case.micro_batch is None else None
        if read is not None:
            step_s.setdefault(record.case, []).append(read)
    found: dict[Cell, dict[Cell, float]] = {}
    for cell, seconds in step_s.items():
        search = search_of(cell, searches)
        steps = None if search is None else typical(search)
        if steps is not None:
            found.setdefault(plain(cell, batch_size=None), {})[cell] = steps * statistics.geometric_mean(seconds)
    return found


def contenders(records: Iterable[Record], aim: Aim) -> list[Job]:
    """Return the races of what is recommended and of its nearest rivals, `CONTENDERS` of each loader and device."""
    from mbbench.reporting.choosing import choices  # here, since scipy and pandas are no company for a clock

    several = list(records)
    first = {choice.recommended.cell for choice in choices(several) if choice.recommended is not None}
    raced: list[Cell] = []
    for seconds in reckoned_s(several).values():
        raced += sorted(seconds, key=lambda cell: (cell not in first, seconds[cell], cell.samples_per_step))[:CONTENDERS]
    return races(raced, several, aim)


def races(cells: Iterable[Cell], searches: Iterable[Record], aim: Aim) -> list[Job]:
    """Return the races of these cells, each with the tuned rate and every seed, one seed of all cells after the other.

    Args:
        cells: what to race, as it is timed; one whose search reached no target is left out.
        searches: target records.
        aim: as of the searches.
    """
    telling = [record for record in searches if typical(record) is not None]
    jobs = []
    for number, cell in itertools.product(range(aim.seeds), cells):
        record = search_of(cell, telling)
        search = None if record is None else record.measurement.search
        lr = None if search is None else best_rate(search)
        if search is None or lr is None:
            continue
        known = [steps for run in search.at(lr) if (steps := crossing(run.step, run.train_loss, search.target)) is not None]
        budget = Budget(target_loss=search.target, max_steps=math.ceil(RACE_SLACK * max(known)) + 1, max_bytes=aim.max_bytes)
        jobs.append(
            Job(
                kind="race",
                case=msgspec.structs.replace(cell, seed=cell.seed + number),
                repeat=0,
                budget=budget,
                place=aim.place,
                race=Race(lr=lr, look_from=max(1, int(LOOK_FROM * min(known)))),
            )
        )
    return jobs
