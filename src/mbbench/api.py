"""`mbbench.run`: what the command line does, from Python or a notebook cell; the result shows itself as a table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbbench import asked, fitting
from mbbench.axes import grid, read_bytes
from mbbench.case import FULL, Budget, Case, Cell, UsageError
from mbbench.fitting import OnTry, Search
from mbbench.maxbatch import MaxBatch
from mbbench.measuring import jobs as job_lists
from mbbench.measuring import session
from mbbench.measuring.environment import physical_cores
from mbbench.measuring.jobs import KINDS, Job
from mbbench.record import Record

if TYPE_CHECKING:
    import pandas as pd

    from mbbench.measuring.problems import Problem

DEFAULT_BATCH_SIZES: tuple[int | str, ...] = (32, 256, FULL)
QUICK_S = 30.0
OnProgress = Callable[[Record, str, int, int], None]
"""Told a record, what a worker that came to a fault printed, how many jobs are done, and how many there are."""


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        cells: the grid.
        jobs: still to be done, in order.
        kept: records of earlier runs that stand in for jobs.
        session: where records go.
    """

    cells: tuple[Cell, ...]
    jobs: tuple[Job, ...]
    kept: tuple[Record, ...]
    session: session.Session

    @property
    def expected_s(self) -> float:
        """Return about how long the jobs will take at most; only a round or a data set that is long itself takes more."""
        return sum(map(job_lists.expected_s, self.jobs))


def run(
    problem: str | Problem, *, on_progress: OnProgress | None = None, results: str | Path = "results", **options: object
) -> pd.DataFrame:
    """Measure a grid and return its summary, one row per case; the records go to `results`.

    Args:
        problem: a built-in name, "file.py:name", "package.module:name", or a `Problem`.
        on_progress: told each record.
        results: folder for the records; measured cells found there are not measured again.
        options: the axes and limits of `plan`.

    Raises:
        UsageError: something was asked for that cannot be.
    """
    from mbbench.reporting.analysis import summary

    chosen = plan(problem, results=Path(results), **options)  # type: ignore[arg-type]
    return summary([*chosen.kept, *execute(chosen, on_progress)])


def plan(
    problem: str | Problem,
    *,
    results: Path,
    batch_size: int | str | Iterable[int | str | None] | None = DEFAULT_BATCH_SIZES,
    n: int | Iterable[int] | None = None,
    loader: str | Iterable[str] = "slice",
    device: str | Iterable[str] = "cpu",
    micro_batch: int | Iterable[int | None] | None = None,
    optimizer: str | Iterable[str] = "sgd",
    lr: float | Iterable[float | None] | None = None,
    dtype: str | Iterable[str] = "float32",
    threads: int | Iterable[int] | None = None,
    shuffle: bool = True,
    options: Mapping[str, str] | None = None,
    measure: Sequence[str] = KINDS,
    seeds: int = 3,
    repeats: int = 3,
    seconds: float = 1.0,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    timeout_s: float = session.TIMEOUT_S,
    memory_budget: str | int | None = None,
    predict: bool = True,
    quick: bool = False,
    again: bool = False,
    write: bool = True,
) -> Plan:
    """Check what is asked for, and return the jobs it takes.

    Args:
        problem: see `run`.
        results: see `run`.
        batch_size: samples per update, or "full".
        n: training rows; None: the problem's own number.
        loader: one of `mbbench.case.LOADERS`, or several.
        device: "cpu", "cuda" ..., or several; one that is not here ends as `unavailable`, unless it is the only one.
        micro_batch: samples per forward pass (gradient accumulation).
        optimizer: one of `mbbench.case.OPTIMIZERS`, or several.
        lr: learning rates; None: the problem's own.
        dtype: one of `mbbench.case.DTYPES`, or several.
        threads: of one operation; None: as many as there are physical cores, torch's default.
        shuffle: a new order in every epoch.
        options: see `mbbench.case.OPTIONS`.
        measure: which passes, of "time", "convergence" and "memory".
        seeds: loss curves per cell.
        repeats: time passes per cell, each in a fresh process.
        seconds: of timed rounds per time pass.
        max_steps: of a loss curve; with `max_seconds` None as well: 2000 steps or 20 epochs, whichever is more.
        max_seconds: of training per loss curve; None: 5.
        timeout_s: seconds after which a cell is killed.
        memory_budget: what a cell may take beyond its process at rest: "2GiB" or bytes; None: 80 % of what is free. Full
            batch that is predicted not to fit gets a cell beside it that accumulates the same gradient in micro-batches.
        predict: do not run a cell that is predicted not to fit.
        quick: share 30 s between all jobs.
        again: measure also what is measured already.
        write: whether records will be written (a dry run does not).

    Raises:
        UsageError: a value is not valid, no device is here, or no cell can be run.
        StoreError: results cannot be written.
    """
    for name, value in (("seeds", seeds), ("repeats", repeats), ("seconds", seconds), ("timeout", timeout_s)):
        if value <= 0:
            raise UsageError(f"{name} is {value}: expected a number above 0")
    kinds = asked.kinds(measure)
    max_bytes = None if memory_budget is None else read_bytes(memory_budget)
    name, place = asked.named(problem)
    axes = {
        "loader": loader,
        "device": device,
        "micro_batch": micro_batch,
        "optimizer": optimizer,
        "lr": lr,
        "dtype": dtype,
        "threads": physical_cores() if threads is None else threads,
        "shuffle": shuffle,
    }
    # Checked with any n before a worker is started (4 s), so that a slip is answered at once.
    grid(name, n_samples=2**62 if n is None else n, batch_size=batch_size, options=options, **axes)
    facts, sizes = asked.looked_at(name, place, device, n, timeout_s)
    cells = grid(name, n_samples=sizes, batch_size=batch_size, options=options, **axes)
    begun = session.begin({name: facts}, results if write else None, timeout_s, refuse=predict)
    begun.predicted.update(session.predict(name, place, cells, timeout_s))
    if predict and micro_batch is None:
        cells = fitting.beside_full_batch(cells, begun, place, max_bytes)
    make = functools.partial(
        job_lists.make_jobs, cells, place, kinds=kinds, repeats=repeats, seeds=seeds, max_bytes=max_bytes
    )
    if quick:
        every = make()
        timed = sum(job.kind != "memory" for job in every)
        share_s = max(0.1, (QUICK_S - job_lists.SERVER_S - sum(map(job_lists.start_s, every))) / max(1, timed))
        # Half of a time pass is warm-up, which is never longer than the measuring.
        jobs = make(seconds=share_s / 2, curve_budget=curve_budget(max_steps, share_s))
    else:
        jobs = make(seconds=seconds, curve_budget=curve_budget(max_steps, max_seconds))
    jobs = job_lists.once_where_unavailable(jobs, {name: facts})
    done = {} if again else session.finished(results)
    todo = [job for job in jobs if begun.key(job) not in done]
    kept = tuple(done[begun.key(job)] for job in jobs if begun.key(job) in done)
    return Plan(tuple(cells), tuple(job_lists.interleaved(todo, begun.run_id)), kept, begun)


def max_batch(
    problem: str | Problem,
    *,
    results: str | Path = "results",
    n: int | None = None,
    memory_budget: str | int | None = None,
    minimum: int = 1,
    maximum: int | None = None,
    timeout_s: float = session.TIMEOUT_S,
    on_try: OnTry = lambda record, printed: None,
    **axes: Any,
) -> MaxBatch:
    """Search for the largest batch size that fits a memory budget, and for the micro-batch with which full batch does.

    Each try trains a few updates in a process of its own under the budget, and is a record in `results`.

    Args:
        problem: see `run`.
        results: folder for the records.
        n: training rows; None: the problem's own number.
        memory_budget: see `plan`.
        minimum: smallest batch size of interest.
        maximum: largest batch size of interest; None: all rows.
        timeout_s: seconds after which a try is killed.
        on_try: told each record, and what a worker printed that came to a fault.
        axes: loader, device, optimizer, lr, dtype, threads, shuffle: one value each.

    Raises:
        UsageError: something was asked for that cannot be.
    """
    max_bytes = None if memory_budget is None else read_bytes(memory_budget)
    name, place = asked.named(problem)
    given = {"threads": physical_cores()} | {key: value for key, value in axes.items() if value is not None}
    grid(name, n_samples=2**62 if n is None else n, batch_size=maximum, **given)
    facts, (rows,) = asked.looked_at(name, place, str(given.get("device", "cpu")), n, timeout_s)
    largest = rows if maximum is None else maximum
    if not 1 <= minimum <= largest <= rows:
        raise UsageError(f"min is {minimum} and max is {largest}: expected 1 <= min <= max <= {rows}, the number of rows")
    (case,) = grid(name, n_samples=rows, **given)
    begun = session.begin({name: facts}, Path(results), timeout_s, refuse=False)
    assert isinstance(case, Case)  # full batch always is
    return fitting.max_batch(Search(case, begun, place, max_bytes, on_try), minimum, largest)


def execute(plan: Plan, on_progress: OnProgress | None = None) -> list[Record]:
    """Do the jobs of a plan and return their records."""
    count = 0

    def on_record(record: Record, printed: str) -> None:
        nonlocal count
        count += 1
        if on_progress is not None:
            on_progress(record, printed, count, len(plan.jobs))

    return session.execute(plan.session, plan.jobs, on_record)


def curve_budget(max_steps: int | None, max_seconds: float | None) -> Callable[[Cell], Budget]:
    """Return what gives each cell the budget of its loss curves: these limits, and the default for those that are None."""

    def budget(cell: Cell) -> Budget:
        default = job_lists.default_curve_budget(cell)
        return Budget(max_steps=max_steps or default.max_steps, max_seconds=max_seconds or default.max_seconds)

    return budget


def notebook_plans(results: Path) -> list[Plan]:
    """Return the timings that `mbbench notebook` takes: batch 2 with DataLoader, batch 2 with slices, full batch."""
    time_it = functools.partial(plan, "notebook", results=results, measure=["time"], threads=1)
    return [time_it(batch_size=2, loader=["dataloader", "slice"]), time_it(batch_size="full")]
