"""Bench files: what a test's markers and its cell become, as jobs; and what its records become, as rounds.

Knows no pytest: the plugin hands in settings and cells, and shows what comes back.
"""

import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mbbench import racing, targets
from mbbench.axes import read_bytes
from mbbench.case import Budget, Cell, check_name
from mbbench.measuring import inquiring, session
from mbbench.measuring import jobs as job_lists
from mbbench.measuring.environment import physical_cores
from mbbench.measuring.jobs import Job
from mbbench.plans import curve_budget
from mbbench.readings import target_s
from mbbench.record import Record
from mbbench.targets import Aim

MEMORY = ("peak_tensor_bytes", "peak_rss_delta_bytes", "peak_device_allocated_bytes", "predicted_peak_bytes", "limit_bytes")
"""What pytest-benchmark's JSON holds of a memory pass."""


def settings(markers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings of these markers, the nearest to the test first: it wins, value by value.

    Raises:
        UsageError: a marker has a setting or a value that there is not.
    """
    chosen: dict[str, Any] = {"kind": "time", "repeats": 3, "seeds": 3, "seconds": 0.5, "max_steps": None}
    chosen |= {"max_seconds": None, "memory_budget": None, "unit": None, "target": None}
    for marker in reversed(list(markers)):
        for name in marker:
            check_name("setting of the marker mbbench", name, chosen)
        chosen |= marker
    check_name("kind of the marker mbbench", chosen["kind"], (*job_lists.USUAL, "profile", "race"))
    check_name("unit of the marker mbbench", chosen["unit"] or "run", ("epoch", "step", "run"))
    chosen["unit"] = chosen["unit"] or {"time": "epoch", "profile": "step"}.get(chosen["kind"], "run")
    return chosen


def bench_jobs(cell: Cell, settings: Mapping[str, Any], smoke: bool, max_bytes: int | None = None) -> list[Job]:
    """Return the jobs of one bench test: the settings of its marker, or one step of one process for a smoke run."""
    _, place = job_lists.locate(cell.problem, Path.cwd())
    if max_bytes is None and settings["memory_budget"] is not None:
        max_bytes = read_bytes(settings["memory_budget"])
    if settings["kind"] == "race" and not smoke:  # stands for a search and as many races as seeds, see `race`
        limits = {"max_steps": settings["max_steps"], "max_seconds": settings["max_seconds"] or targets.SEARCH_S}
        budget = Budget(target_loss=settings["target"], max_bytes=max_bytes, **limits)
        return [Job(kind="race", case=cell, repeat=settings["seeds"], budget=budget, place=place)]
    jobs = job_lists.make_jobs(
        [cell],
        place,
        kinds=["time" if smoke and cell.option("malloc") == "default" else settings["kind"]],
        repeats=1 if smoke else settings["repeats"],
        seeds=settings["seeds"],
        seconds=settings["seconds"],
        curve_budget=curve_budget(settings["max_steps"], settings["max_seconds"]),
        max_bytes=max_bytes,
    )
    return [msgspec.structs.replace(job, smoke=smoke) for job in jobs]


def bench_session(
    jobs: list[Job], results: Path | None, timeout_s: float, refuse: bool = True
) -> tuple[session.Session, list[Job]]:
    """Look at the problems and devices of a bench run; return the session and its jobs in order."""
    devices = sorted({job.case.device for job in jobs})
    places = {job.case.problem: job.place for job in jobs}
    own = {each for job in jobs for each in job.case.own_names}
    facts = {name: inquiring.describe(name, place, devices, timeout_s, own) for name, place in places.items()}
    begun = session.begin(facts, results, timeout_s, refuse=refuse)
    if results is not None:  # a smoke run makes one step: whether it fits is seen
        for name, place in places.items():
            cells = [job.case for job in jobs if job.case.problem == name]
            begun.predicted.update(inquiring.predict(name, place, cells, timeout_s))
    return begun, job_lists.interleaved(job_lists.once_where_unavailable(jobs, facts), begun.run_id)


def race(begun: session.Session, jobs: Iterable[Job], on_record: Callable[[Job, Record, str], None]) -> None:
    """Search the learning rate of each cell that is to be raced, then race all of them, one seed of each after the other.

    Args:
        begun: the session.
        jobs: from `bench_jobs`, of kind "race".
        on_record: told the job with each of its races, or with its search where that reached no target.
    """
    groups: dict[tuple[str, int, Budget], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.case.problem, job.repeat, job.budget), []).append(job)
    for several in groups.values():
        _race(begun, several, on_record)


def _race(begun: session.Session, jobs: Sequence[Job], on_record: Callable[[Job, Record, str], None]) -> None:
    first = jobs[0]
    aim = Aim(
        first.place,
        seeds=first.repeat,
        target=first.budget.target_loss or begun.facts[first.case.problem].target_loss,
        max_steps=first.budget.max_steps,
        max_s=first.budget.max_seconds or targets.SEARCH_S,
        max_bytes=first.budget.max_bytes,
        at_once=physical_cores(),
    )
    found = targets.run(begun, [job.case for job in jobs], aim, {}, lambda record, printed: None)
    asked = {msgspec.structs.replace(job.case, seed=0): job for job in jobs}
    for job in jobs:
        search = racing.search_of(job.case, found)
        if search is not None and targets.typical(search) is None:
            on_record(job, search, "")
    session.execute(
        begun,
        racing.races([job.case for job in jobs], found, aim),
        lambda record, printed: on_record(asked[msgspec.structs.replace(record.case, seed=0)], record, printed),
    )


class Update:
    """The next update of a cell's training in this process, at each call: what a comparison runs in turns."""

    def __init__(self, cell: Cell) -> None:
        """Take what to train.

        Raises:
            UsageError: there is no such problem.
        """
        from mbbench.measuring.problems import resolve
        from mbbench.measuring.training import prepare

        _, place = job_lists.locate(cell.problem, Path.cwd())
        self._cell, self._problem = cell, resolve(cell.problem, place.location)[0]
        self._training = prepare(cell, self._problem)
        self._updates = self._training.stream()

    def __call__(self) -> None:
        """Make one update."""
        self._training.train(itertools.islice(self._updates, 1))

    def losses(self, seeds: Iterable[int], updates: int) -> dict[int, tuple[tuple[Any, ...], ...]]:
        """Train anew with each seed; return by seed the updates, training losses and held-out losses of its evaluations."""
        from mbbench.measuring.convergence import loss_curve
        from mbbench.measuring.training import prepare

        found = dict[int, tuple[tuple[Any, ...], ...]]()
        for seed in seeds:
            training = prepare(msgspec.structs.replace(self._cell, seed=seed), self._problem)
            curve = loss_curve(training, Budget(max_steps=updates), lambda phase: None)["curve"]
            found[seed] = curve.step, curve.train_loss, curve.heldout_loss
        return found


def rounds_s(record: Record, unit: str) -> tuple[float, ...]:
    """Return the seconds of one epoch, one step or one run of a record, once per round."""
    measurement = record.measurement
    if record.kind == "profile":
        return measurement.profile.steps_s if measurement.profile else ()
    if unit == "epoch":
        return measurement.epochs_s(record.case.n_samples)
    if unit == "step":
        return measurement.steps_s()
    if record.kind == "memory":
        return (measurement.measuring_s,) if measurement.status == "ok" and measurement.measuring_s else ()
    if record.kind == "race":
        reached = target_s(record)
        return () if reached is None else (reached,)
    return (measurement.curve.train_s[-1],) if measurement.curve and measurement.status == "ok" else ()


def extra_info(records: list[Record], unit: str) -> dict[str, Any]:
    """Return what pytest-benchmark's JSON holds of ours beside its own statistics."""
    epochs = [value for record in records for value in record.measurement.epochs_s(record.case.n_samples)]
    curves = [record.measurement.curve for record in records if record.measurement.curve]
    case = records[0].case
    return {
        "case": str(case),
        "unit": f"one {unit}",
        "statuses": [record.measurement.status for record in records],
        "samples_per_s": case.n_samples / statistics.median(epochs) if epochs else None,
        "train_loss": [curve.train_loss[-1] for curve in curves],
        **{name: getattr(records[0].measurement, name) for name in MEMORY if records[0].kind == "memory"},
    }
