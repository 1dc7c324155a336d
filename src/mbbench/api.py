"""`mbbench.run`: what the command line does, from Python or a notebook cell; the result shows itself as a table."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mbbench import asked, fitting, planner, racing, targets
from mbbench.axes import DEFAULT_BATCH_SIZES, grid, read_bytes, read_seconds
from mbbench.case import FULL, OPTIONS, Case, Cell, UsageError, check_name
from mbbench.fitting import OnTry, Search
from mbbench.maxbatch import MaxBatch
from mbbench.measuring import process, session
from mbbench.measuring.environment import physical_cores
from mbbench.plans import AUTO, Plan, curve_budget, notebook_plans, plan
from mbbench.record import Measurement, Record
from mbbench.trace import Trace

if TYPE_CHECKING:
    import pandas as pd

    from mbbench.measuring.problems import Problem

__all__ = [
    "AUTO",
    "DEFAULT_BATCH_SIZES",
    "Plan",
    "curve_budget",
    "execute",
    "max_batch",
    "notebook_plans",
    "plan",
    "run",
    "run_within",
    "trace",
]

OnProgress = Callable[[Record, str, int, int], None]
"""Told a record, what a worker that came to a fault printed, how many jobs are done, and how many there are."""


def run(
    problem: str | Problem, *, on_progress: OnProgress | None = None, results: str | Path = "results", **options: Any
) -> pd.DataFrame:
    """Measure a grid and return its summary, one row per case; the records go to `results`.

    Args:
        problem: a built-in name, "file.py:name", "package.module:name", or a `Problem`.
        on_progress: told each record.
        results: folder for the records; measured cells found there are not measured again.
        options: the axes and limits of `plan`, options of a cell by their names (autocast="bf16"); or `time`, seconds or
            "60s", in which to time batch sizes, to search their learning rates and to race the best to the target.

    Raises:
        UsageError: something was asked for that cannot be.
    """
    from mbbench.reporting.analysis import summary

    began = time.monotonic()
    known = inspect.signature(plan).parameters.keys() - {"problem", "results"}
    for name in options:
        check_name("option", name, (*sorted(known), *OPTIONS, "time"))
    chosen_options = {name: _option(options.pop(name)) for name in OPTIONS.keys() & options.keys() - known}
    if chosen_options:
        options["options"] = {**(options.get("options") or {}), **chosen_options}
    within = options.pop("time", None)
    seconds = None if within is None else read_seconds(within)
    if seconds is not None:
        options = {
            "batch_size": AUTO,
            "measure": ("time", "target"),
            "timeout_s": planner.timeout_s(seconds),
        } | options
    chosen = plan(problem, results=Path(results), **options)
    if seconds is not None:
        return summary(run_within(chosen, seconds, began, lambda line: None, on_progress))
    return summary([*chosen.kept, *execute(chosen, on_progress)])


def _option(value: object) -> str:
    """Return an option's value as a cell has it: True is "yes"."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def execute(plan: Plan, on_progress: OnProgress | None = None) -> list[Record]:
    """Do the jobs of a plan, its searches and the races that follow from them; return their records."""
    total = len(plan.jobs) + sum(map(len, targets.chains(plan.searched)))
    records: list[Record] = []

    def on_record(record: Record, printed: str) -> None:
        records.append(record)
        if on_progress is not None:
            on_progress(record, printed, len(records), max(total, len(records)))

    session.execute(plan.session, plan.jobs, on_record)
    if plan.aim is None:
        return records
    found = targets.run(plan.session, plan.searched, plan.aim, plan.done, on_record)
    kept = [record for record in found if record not in records]
    races = racing.contenders([*plan.kept, *records, *kept], plan.aim)
    total = len(records) + len(races)
    session.execute(plan.session, races, on_record)
    return [*records, *kept]


def run_within(
    plan: Plan, seconds: float, began: float, say: planner.Say, on_progress: OnProgress | None = None
) -> list[Record]:
    """Measure the cells of a plan with a search inside a time; return the records.

    Args:
        plan: with an `aim`; its jobs are not done, since they do not know of the time.
        seconds: there are, the closing words included.
        began: `time.monotonic()` when they began.
        say: told what is planned and what is dropped.
        on_progress: told each record.
    """
    assert plan.aim is not None
    count = 0

    def on_record(record: Record, printed: str) -> None:
        nonlocal count
        count += 1
        if on_progress is not None:
            on_progress(record, printed, count, count)

    timed = planner.Timed(plan.session, plan.cells, plan.searched, plan.aim, began + seconds, seconds, say, on_record)
    return planner.run(timed)


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
    (asked_for,) = grid(name, n_samples=2**62 if n is None else n, batch_size=maximum, **given)
    device = str(given.get("device", "cpu"))
    facts, (rows,) = asked.looked_at(name, place, device, n, timeout_s, asked_for.own_names, [asked_for])
    largest = rows if maximum is None else maximum
    if not 1 <= minimum <= largest <= rows:
        raise UsageError(f"min is {minimum} and max is {largest}: expected 1 <= min <= max <= {rows}, the number of rows")
    (case,) = grid(name, n_samples=rows, **given)
    begun = session.begin({name: facts}, Path(results), timeout_s, refuse=False)
    assert isinstance(case, Case)  # full batch always is
    return fitting.max_batch(Search(case, begun, place, max_bytes, on_try), minimum, largest)


def trace(plan: Plan, file: Path) -> tuple[Trace | Measurement, str]:
    """Train a few steps of the one cell of a plan under torch.profiler, in a process of its own; nothing is recorded.

    Args:
        plan: of one cell, with jobs still to be done.
        file: where the trace is written; nothing is left there where the cell could not be trained.

    Returns:
        What was found, or how it ended without; and what the worker printed in the latter case.

    Raises:
        UsageError: the plan is of several cells, or the file cannot be written.
    """
    if len(plan.cells) > 1:
        raise UsageError(f"--profile traces one cell, and the grid has {len(plan.cells)}: {_several(plan.cells)}")
    job = msgspec.structs.replace(plan.jobs[0], case=plan.cells[0])
    limit, device = plan.session.limit_bytes(job), job.case.device
    job = msgspec.structs.replace(job, limit_bytes=limit)
    try:
        file.write_bytes(b"")
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None
    found: Trace | None = None
    try:
        answer, printed, _ = process.call(
            "trace",
            msgspec.msgpack.encode((job, str(file.resolve()))),
            device=device,
            timeout_s=plan.session.timeout_s,
            limit_bytes=limit if device == "cpu" else None,
        )
        if isinstance(answer, process.Failure):
            return Measurement(status=answer.status, phase=answer.phase, message=answer.message), printed
        found, ended = msgspec.msgpack.decode(answer, type=tuple[Trace | None, Measurement])
        return found or ended, printed
    finally:
        if found is None:
            file.unlink(missing_ok=True)


def _several(cells: Sequence[Cell]) -> str:
    """Return what differs between cells: "batch_size is 32, 256, full: name one of each"."""
    fields = {name: list(dict.fromkeys(getattr(cell, name) for cell in cells)) for name in Cell.__struct_fields__}
    told = {name: [FULL if value is None else str(value) for value in values] for name, values in fields.items()}
    return (
        "; ".join(f"{name} is {', '.join(values)}" for name, values in told.items() if len(values) > 1)
        + ": name one of each"
    )
