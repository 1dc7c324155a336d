"""What is handed to a worker, which jobs a grid makes, and in which order they run. Knows no torch.

Easy to get wrong: noise drifts over minutes, so jobs are shuffled within a repeat and the repeats follow each other: every
case is measured early, in the middle and late. A seed is a replication of convergence, a repeat one of time.
"""

import random
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mbbench.case import Budget, Cell, UsageError, check_problem
from mbbench.record import OWN_SOURCE, Kind

KINDS: tuple[Kind, ...] = ("time", "convergence", "memory", "profile", "target", "race")
USUAL: tuple[Kind, ...] = ("time", "convergence", "memory")
"""Passes that a run makes where none are named."""
ASKED: tuple[Kind, ...] = (*USUAL, "profile", "target")
"""Passes that may be asked for; a race follows from time and target."""
MEMORY_UPDATES = 5
"""Most updates of a memory pass (`memory.short_epochs`)."""

SERVER_S = 5.0
"""Importing torch (2 to 3 s) and building an optimizer (2 s): by the worker server once, by a spawned worker each time."""

PROFILE_S = 0.7
"""What a profile pass takes beside its steps: copies, products of matrices, and counting operations."""

MEMORY_S = 0.5
"""What a memory pass of a small cell takes: a few updates, and again under a profiler."""

SEARCH_S = 10.0
"""What the search of a small cell takes, of 5 rates and 5 seeds (digits-mlp on two cores beside another one: 3 to 13 s)."""

PROCESS_S = 0.1
"""What a cell costs beside measuring and warming up: a forked process and its data."""


class Place(msgspec.Struct, frozen=True):
    """Where a worker finds a problem.

    Attributes:
        location: a built-in name, "/folder/file.py:name" or "package.module:name".
        pickled: the Problem itself, by cloudpickle, where it has no such place (one made in a notebook cell).
    """

    location: str
    pickled: bytes | None = None


class SearchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a target pass is to do.

    Attributes:
        rates: learning rates to begin with.
        seeds: of each.
        targets: losses to reach, falling: all three; or one, and this is the reference run, which finds the other two; or
            none, and it finds all.
        most_steps: of a run.
        most_s: seconds of the whole search.
        fixed: try these rates and no other.
        reference_steps: of the reference run without a target: what it reaches within these is the target.
        noise: measure the gradient noise scale along the best run too.
        threads: of one operation; no clock runs, so as many as are free.
    """

    rates: tuple[float, ...] = ()
    seeds: tuple[int, ...]
    targets: tuple[float, ...] = ()
    most_steps: int
    most_s: float
    fixed: bool = False
    reference_steps: int = 0
    noise: bool = False
    threads: int = 1


class Race(msgspec.Struct, frozen=True, kw_only=True):
    """What a race is to do: train at a learning rate to the budget's target loss, the clock running.

    Attributes:
        lr: learning rate.
        look_from: steps before the first evaluation, fewer than are expected to be needed.
    """

    lr: float
    look_from: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One pass over one case.

    Attributes:
        kind: which pass.
        case: what to measure.
        repeat: which fresh process of this case.
        budget: its limits; a time or profile pass measures for `max_seconds`.
        place: where its problem is.
        limit_bytes: of memory beyond the process at rest; set as it is run.
        smoke: only see that it runs: one round of one step.
        search: of a target pass.
        race: of a race.
    """

    kind: Kind
    case: Cell
    repeat: int
    budget: Budget
    place: Place
    limit_bytes: int | None = None
    smoke: bool = False
    search: SearchPlan | None = None
    race: Race | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a run must know of a problem and of this machine before it can plan.

    Attributes:
        error: why the problem cannot be used; the fields of the problem are then empty.
        default_samples: training rows where none are asked for.
        most_samples: rows there are; None: any number.
        target_loss: the problem's own, None where it has none.
        source: hash of the file that defines the problem.
        unavailable: why each device that was asked about cannot be used, None where it can.
        free_bytes: memory that can still be taken, for each device that can be used; None where it does not tell.
        identity: of this machine.
        own: hash of whatever else is the user's own (`Cell.own_names`), by its name.
        least_rows: of a batch, where a step of the problem was tried: 2 where its model takes no single row.
        traceback: of the user's file, where it does not import.
    """

    error: str | None = None
    default_samples: int = 0
    most_samples: int | None = None
    target_loss: float | None = None
    source: str = ""
    unavailable: dict[str, str | None] = {}
    free_bytes: dict[str, int | None] = {}
    identity: dict[str, str | int | None] = {}
    own: dict[str, str] = {}
    least_rows: int = 1
    traceback: str = ""

    def source_of(self, cell: Cell) -> str:
        """Return the hash of all of the user's own that a cell names."""
        return joined_source(self.source, [self.own.get(name, "") for name in cell.own_names])


def joined_source(source: str, own: Sequence[str]) -> str:
    """Return the hash of a problem and those of whatever else is the user's own, as `Record.source` holds them."""
    return OWN_SOURCE.join([source, *own])


def locate(problem: str, folder: Path) -> tuple[str, Place]:
    """Return a problem's name for records (relative, no folders above `folder`) and where a worker finds it.

    Raises:
        UsageError: the name is of no known form, or the file is not there.
    """
    check_problem(problem)
    file, _, attribute = problem.rpartition(":")
    if not file.endswith(".py"):
        return problem, Place(problem)
    path = (folder / file).resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {file}: give the path of a Python file that defines a mbbench.Problem")
    inside = path.is_relative_to(folder.resolve())
    name = path.relative_to(folder.resolve()).as_posix() if inside else path.name
    return f"{name}:{attribute}", Place(f"{path}:{attribute}")


def make_jobs(
    cells: Iterable[Cell],
    place: Place,
    *,
    kinds: Sequence[Kind] = USUAL,
    repeats: int = 3,
    seeds: int = 3,
    seconds: float = 1.0,
    curve_budget: Callable[[Cell], Budget] | None = None,
    max_bytes: int | None = None,
) -> list[Job]:
    """Return the jobs of a grid.

    Of each cell: `repeats` time passes, one convergence pass for each of `seeds` seeds, one memory pass, one profile pass. A
    cell that cannot be run makes one job of each kind, so that it appears in the results.
    """
    jobs = []
    for cell in cells:
        if cell.option("malloc") != "default" and set(kinds) != {"memory"}:
            raise UsageError("option malloc=mmap64k is a diagnostic of the memory pass alone: measure only memory with it")
        budgets = {
            "time": Budget(max_seconds=seconds, max_bytes=max_bytes),
            "convergence": msgspec.structs.replace((curve_budget or default_curve_budget)(cell), max_bytes=max_bytes),
            "memory": Budget(max_steps=MEMORY_UPDATES, max_bytes=max_bytes),
            "profile": Budget(max_seconds=seconds, max_bytes=max_bytes),
        }
        for kind in (kind for kind in kinds if kind in budgets):
            common: dict[str, Any] = {"kind": kind, "budget": budgets[kind], "place": place}
            if not cell.applicable or kind in ("memory", "profile"):
                jobs.append(Job(case=cell, repeat=0, **common))
            elif kind == "time":
                jobs += [Job(case=cell, repeat=repeat, **common) for repeat in range(repeats)]
            else:
                seeded = (msgspec.structs.replace(cell, seed=cell.seed + number) for number in range(seeds))
                jobs += [Job(case=each, repeat=0, **common) for each in seeded]
    return jobs


def default_curve_budget(cell: Cell) -> Budget:
    """Return 2000 steps or 20 epochs, whichever is more, and 5 s: neither small batches nor full batch are cut short."""
    return Budget(max_steps=max(2000, 20 * cell.steps_per_epoch), max_seconds=5.0)


def once_where_unavailable(jobs: Iterable[Job], facts: dict[str, Facts]) -> list[Job]:
    """Return the jobs, without the repeats on a device that is not here: trying again is no news."""
    return [job for job in jobs if job.repeat == 0 or not facts[job.case.problem].unavailable.get(job.case.device)]


def interleaved(jobs: Iterable[Job], seed: str) -> list[Job]:
    """Return the jobs in blocks, one replication (repeat or seed) of every cell a block, shuffled inside each block.

    Memory passes come first, small cells before large ones: what they say of the allocator decides which cells are run.
    """
    generator = random.Random(seed)
    several = list(jobs)
    order = [job for job in several if job.kind == "memory"]
    order.sort(key=lambda job: (job.case.n_samples, job.case.micro_batch or job.case.samples_per_step))
    blocks: dict[int, list[Job]] = {}
    for job in several:
        if job.kind != "memory":
            blocks.setdefault(job.repeat if job.kind == "time" else job.case.seed, []).append(job)
    for number in sorted(blocks):
        generator.shuffle(blocks[number])
        order += blocks[number]
    return order


def expected_s(job: Job) -> float:
    """Return about how long a job takes at most."""
    if not job.case.applicable:
        return 0.0
    seconds = job.budget.max_seconds or 0.0
    if job.kind in ("target", "race"):
        seconds = min(seconds, SEARCH_S)
    warm_up_s = min(seconds, 0.3) if job.kind in ("time", "profile") else 0.0
    return start_s(job) + seconds + warm_up_s


def start_s(job: Job) -> float:
    """Return about how long a job takes beside its measuring and warming up."""
    process_s = PROCESS_S if job.case.device == "cpu" and sys.platform == "linux" else SERVER_S
    return process_s + {"memory": MEMORY_S, "profile": PROFILE_S}.get(job.kind, 0.0)
