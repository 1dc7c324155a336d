"""From a grid as asked for to what a run will do: everything checked, the jobs in their order, what is measured already."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mbbench import asked, fitting, targets
from mbbench.axes import DEFAULT_BATCH_SIZES, default_sizes, grid, read_bytes
from mbbench.case import FULL, Budget, Cell, UsageError
from mbbench.measuring import inquiring, session
from mbbench.measuring import jobs as job_lists
from mbbench.measuring.environment import physical_cores
from mbbench.measuring.jobs import USUAL, Job
from mbbench.record import Record
from mbbench.targets import Aim

if TYPE_CHECKING:
    from mbbench.measuring.problems import Problem

AUTO = "auto"
QUICK_S = 30.0


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        cells: the grid.
        jobs: still to be done, in order.
        kept: records of earlier runs that stand in for jobs.
        session: where records go.
        aim: of the search for steps to target, None where that was not asked for.
        searched: the cells of that search.
        done: records of earlier runs, by key.
    """

    cells: tuple[Cell, ...]
    jobs: tuple[Job, ...]
    kept: tuple[Record, ...]
    session: session.Session
    aim: Aim | None = None
    searched: tuple[Cell, ...] = ()
    done: Mapping[tuple[str, ...], Record] = field(default_factory=dict)

    @property
    def expected_s(self) -> float:
        """Return about how long the jobs will take at most; only a round or a data set that is long itself takes more."""
        search_s = 0.0 if self.aim is None else self.aim.max_s * sum(map(len, targets.chains(self.searched)))
        return sum(map(job_lists.expected_s, self.jobs)) + search_s / (self.aim.at_once if self.aim else 1)


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
    measure: Sequence[str] = USUAL,
    seeds: int | None = None,
    repeats: int = 3,
    seconds: float = 1.0,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    target: float | None = None,
    lr_policy: str | Iterable[str] = "tuned",
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
        batch_size: samples per update, or "full"; "auto": powers of two, and full.
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
        measure: which passes, of "time", "convergence", "memory", "profile" (where the seconds of a step go) and "target"
            (search the learning rate at each batch size and count the steps to a target loss; with "time" the best are then
            raced to it against the clock).
        seeds: loss curves per cell, None: 3; and runs of each learning rate of a search, None: 5.
        repeats: time passes per cell, each in a fresh process.
        seconds: of timed rounds per time pass, and of a profile pass.
        max_steps: of a loss curve and of a search's reference run; None: 2000 steps or 20 epochs, whichever is more.
        max_seconds: of training per loss curve, None: 5; of a search at one batch size, None: 60.
        target: training loss to reach; None: the problem's own, or what the reference run reaches in a tenth of its steps.
        lr_policy: of a search, see `mbbench.case.OPTIONS`.
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
        if value is not None and value <= 0:
            raise UsageError(f"{name} is {value}: expected a number above 0")
    kinds = asked.kinds(measure)
    policies = targets.policies(lr_policy)
    if target is not None and not math.isfinite(target):
        raise UsageError(f"target is {target}: expected a training loss, a finite number")
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
    checked = FULL if batch_size == AUTO else batch_size
    asked_for = grid(name, n_samples=2**62 if n is None else n, batch_size=checked, options=options, **axes)
    own = {each for cell in asked_for for each in cell.own_names}
    facts, sizes = asked.looked_at(name, place, device, n, timeout_s, own, asked_for)
    if batch_size == AUTO:
        batch_size = default_sizes(max(sizes), facts.least_rows)
    cells = grid(name, n_samples=sizes, batch_size=batch_size, options=options, **axes)
    begun = session.begin({name: facts}, results if write else None, timeout_s, refuse=predict)
    begun.predicted.update(inquiring.predict(name, place, cells, timeout_s))
    if predict and micro_batch is None:
        cells = fitting.beside_full_batch(cells, begun, place, max_bytes)
    make = functools.partial(
        job_lists.make_jobs, cells, place, kinds=kinds, repeats=repeats, seeds=seeds or 3, max_bytes=max_bytes
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
    aim = None
    if "target" in kinds:
        aim = Aim(
            place,
            seeds or targets.SEEDS,
            facts.target_loss if target is None else target,
            max_steps,
            max_seconds or targets.SEARCH_S,
            max_bytes,
            at_once=physical_cores(),
        )
    searched = tuple(targets.with_policy(cell, policy) for policy in policies for cell in cells if aim)
    return Plan(tuple(cells), tuple(job_lists.interleaved(todo, begun.run_id)), kept, begun, aim, searched, done)


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
