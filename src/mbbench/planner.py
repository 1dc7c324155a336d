"""Answer inside a given time: time every cell once, search the most promising batch sizes first, race the best, stop.

`mbbench run PROBLEM --time 60s`. Easy to get wrong: what is dropped has to be said, and must not be what might have won. So
each cell is timed before anything is dropped; what is predicted to take longest to the target goes first, by S(B) through
the two batch sizes that are tuned first and by the times just read; and no part may eat the time of those behind it.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from mbbench import racing, targets
from mbbench.case import Cell
from mbbench.measuring import jobs as job_lists
from mbbench.measuring import session
from mbbench.measuring.jobs import Job
from mbbench.placing import plain, searched_as
from mbbench.readings import step_seconds
from mbbench.record import Record
from mbbench.scaling import steps_through
from mbbench.targets import Aim, Chase

CLOSING_S = 4.0
"""To import pandas and to say what was found."""
TIMING_SHARE, REFERENCE_SHARE, RACING_SHARE = 0.2, 0.35, 0.12
"""Of the time there is: most for timing each cell once, most for the reference run, least for repeats and races."""
SCREEN_S, FEWEST_S = 0.06, 0.02
"""Of timed rounds: in each pass where there is time, and at least."""
FEWEST_SEARCH_S = 2.0
"""Below which no search is begun."""
HOPEFUL = 2.5
"""Times the best time to target so far, up to which a cell is timed again."""
REPEATS = 3

Say = Callable[[str], None]


def timeout_s(seconds: float) -> float:
    """Return the seconds after which a cell is killed in a run with an end."""
    return max(10.0, seconds / 2)


@dataclass
class Timed:
    """A run with an end: what it works with, and what it has found.

    Attributes:
        begun: the session.
        cells: the grid, to be timed.
        searched: the same, under each learning rate policy.
        aim: of the search.
        until: monotonic time by which everything is said.
        seconds: the time there was.
        say: told each decision.
        on_record: told each record.
    """

    begun: session.Session
    cells: Sequence[Cell]
    searched: Sequence[Cell]
    aim: Aim
    until: float
    seconds: float
    say: Say
    on_record: session.OnRecord
    records: list[Record] = field(default_factory=list)

    @property
    def left_s(self) -> float:
        """Seconds before the closing words."""
        return self.until - CLOSING_S - time.monotonic()

    def told(self, record: Record, printed: str) -> None:
        """Keep a record and pass it on."""
        self.records.append(record)
        self.on_record(record, printed)


def run(timed: Timed) -> list[Record]:
    """Measure inside the time; return the records. What can hardly win is searched last, once the answer stands."""
    sizes = {cell.samples_per_step for cell in _time_once(timed)}
    chains = targets.chains(cell for cell in timed.searched if cell.samples_per_step in sizes)
    behind = []
    for number, chain in enumerate(chains):
        chase = Chase(chain, timed.aim)
        # Those behind it get as much of the time that is left as it does.
        spare_s = timed.left_s - RACING_SHARE * timed.seconds
        reserve_s = timed.left_s - spare_s / (len(chains) - number)
        behind.append((chase, _search(timed, chase, reserve_s, len(chains))))
    _time_again(timed)
    races = racing.contenders(timed.records, timed.aim)
    session.execute(timed.begun, _while(timed, races, 0.0), timed.told)
    for chase, jobs in behind:
        _do(timed, chase, jobs, 0.0)
    if all(targets.typical(record) is None for record in timed.records):
        timed.say(f"no batch size was searched to a target within {timed.seconds:g} s: give more with --time")
    return timed.records


def _time_once(timed: Timed) -> list[Cell]:
    """Time each cell in one process, fewer batch sizes where there is no time for all; return those cells."""
    cells = list(timed.cells)
    allowed = TIMING_SHARE * timed.seconds
    while len(cells) > 4 and _passes_s(cells, FEWEST_S) > allowed:
        sizes = sorted({cell.samples_per_step for cell in cells})
        kept = {*sizes[::2], sizes[-1]}
        dropped = [str(size) for size in sizes if size not in kept]
        timed.say(f"no time to time every batch size: {', '.join(dropped)} dropped, those between them tell")
        cells = [cell for cell in cells if cell.samples_per_step in kept]
    pass_s = min(SCREEN_S, max(FEWEST_S, (allowed / len(cells) - job_lists.PROCESS_S) / 2))
    timed.say(
        f"{len(cells)} cells to time, about {_passes_s(cells, pass_s):.0f} s a round; "
        f"{sum(map(len, targets.chains(timed.searched)))} searches of a learning rate; {timed.left_s:.0f} s left"
    )
    jobs = job_lists.make_jobs(
        cells, timed.aim.place, kinds=["time"], repeats=1, seconds=pass_s, max_bytes=timed.aim.max_bytes
    )
    # Twice what is planned, since a slow cell times one round at least.
    until_s = timed.left_s - 2 * allowed
    session.execute(timed.begun, _while(timed, job_lists.interleaved(jobs, timed.begun.run_id), until_s), timed.told)
    return cells


def _passes_s(cells: Sequence[Cell], pass_s: float) -> float:
    return len(cells) * (job_lists.PROCESS_S + 2 * pass_s)  # the warm-up takes as long as the rounds, at most


def _while(timed: Timed, jobs: Sequence[Job], until_s: float) -> Iterator[Job]:
    """Yield jobs for as long as more than these seconds are left, and as many as the longest of them took."""
    longest_s = 0.0
    for number, job in enumerate(jobs):
        began = time.monotonic()
        if timed.left_s < until_s + longest_s:
            what = "races" if job.kind == "race" else "timings"
            timed.say(f"{len(jobs) - number} of {len(jobs)} {what} dropped: there is no time for them")
            return
        yield job
        longest_s = max(longest_s, time.monotonic() - began)


def _search(timed: Timed, chase: Chase, reserve_s: float, chains: int) -> list[Job]:
    """Search the chain: the reference and the largest first, then what may win; return the searches of what hardly can."""
    chase.aim = msgspec.structs.replace(timed.aim, max_s=REFERENCE_SHARE * timed.seconds / chains)
    behind: list[Job] = []
    for jobs in chase.stages():
        if chase.reference is not None and len(jobs) > 1:
            times = _predicted_times(timed, chase)
            jobs = sorted(jobs, key=lambda job: times.get(job.case.samples_per_step, math.inf))
            behind = [job for job in jobs if times.get(job.case.samples_per_step, math.inf) > HOPEFUL]
            jobs = [job for job in jobs if job not in behind]
        _do(timed, chase, jobs, reserve_s)
    return behind


def _do(timed: Timed, chase: Chase, jobs: Sequence[Job], reserve_s: float) -> None:
    """Do the searches for which there is time, in their order, and leave so many seconds for what follows."""
    afforded = _afforded(timed, chase, jobs, reserve_s)
    chase.records += session.execute_together(
        timed.begun, _in_time(timed, afforded, reserve_s), timed.told, timed.aim.at_once
    )


def _in_time(timed: Timed, jobs: Sequence[Job], reserve_s: float) -> Iterator[Job]:
    """Yield searches, each bounded by the time there is as it begins; drop those that would hardly begin."""
    for number, job in enumerate(jobs):
        assert job.search is not None
        left_s = timed.left_s - reserve_s
        if left_s < FEWEST_SEARCH_S:
            sizes = ", ".join(f"{each.case.samples_per_step:,}" for each in jobs[number:])
            timed.say(f"batch {sizes} not searched: there is no time left")
            return
        yield msgspec.structs.replace(job, search=msgspec.structs.replace(job.search, most_s=min(job.search.most_s, left_s)))


def _afforded(timed: Timed, chase: Chase, jobs: Sequence[Job], reserve_s: float) -> list[Job]:
    """Return the jobs that are predicted to end before the time is over; say what is dropped."""
    if chase.reference is None:
        return list(jobs)
    times = _predicted_times(timed, chase)
    kept: list[Job] = []
    spare_s = (timed.left_s - reserve_s) * timed.aim.at_once
    for job in jobs:
        size, cost_s = job.case.samples_per_step, _search_s(chase, job)
        if cost_s > spare_s and (kept or times.get(size, math.inf) > HOPEFUL):  # what may be best is tried as far as it goes
            multiple = times.get(size, math.inf)
            why = f"predicted {multiple:.1f} times as long to the target as the best" if multiple < math.inf else "not timed"
            timed.say(f"batch {size:,} not searched: {why}, and its search would take about {cost_s:.0f} s")
            continue
        spare_s -= cost_s
        kept.append(job)
    return kept


def _predicted_times(timed: Timed, chase: Chase) -> dict[int, float]:
    """Return how many times the least predicted time to target each batch size takes, with the loader that suits it best."""
    steps = steps_through(targets.typical_points(chase.records))
    seconds: dict[Cell, dict[int, float]] = {}
    for record in timed.records:
        step_s = step_seconds(record)
        if step_s is not None and steps is not None and searched_as(record.case) == searched_as(chase.chain[0]):
            size = record.case.samples_per_step
            seconds.setdefault(plain(record.case, batch_size=None), {})[size] = step_s * steps(size)
    found: dict[int, float] = {}
    for of_one in seconds.values():
        for size, each in of_one.items():
            found[size] = min(found.get(size, math.inf), each / min(of_one.values()))
    return found


def _search_s(chase: Chase, job: Job) -> float:
    """Return about how long a search takes: as the reference run for its runs, longer by the root of how many more steps.

    Their root, since much of a search is evaluations: batch 1 of digits-mlp takes 19 times the steps and 2.5 times as long.
    """
    assert chase.reference is not None
    reference, search = chase.reference.measurement, job.search
    steps = steps_through(targets.typical_points(chase.records))
    if reference.search is None or search is None or steps is None:
        return reference.measuring_s or 1.0
    runs = len(search.rates) * len(search.seeds) / max(1, len(reference.search.runs))
    more = steps(job.case.samples_per_step) / steps(chase.reference.case.samples_per_step)
    return (reference.measuring_s or 1.0) * runs * max(1.0, math.sqrt(more))


def _time_again(timed: Timed) -> None:
    """Time again what may be best, until there are enough repeats or no time."""
    budgets = {record.case: record.budget for record in timed.records if record.kind == "time"}
    jobs = []
    for repeat in range(1, REPEATS):
        for target_s in racing.reckoned_s(timed.records).values():
            least = min(target_s.values())
            hopeful = sorted(
                (cell for cell in target_s if target_s[cell] <= HOPEFUL * least), key=lambda cell: target_s[cell]
            )
            jobs += [
                Job(kind="time", case=cell, repeat=repeat, budget=budgets[cell], place=timed.aim.place) for cell in hopeful
            ]
    session.execute(timed.begun, _while(timed, jobs, RACING_SHARE / 2 * timed.seconds), timed.told)
