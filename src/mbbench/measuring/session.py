"""Run jobs one after the other, each in a process of its own, and write every record the moment it exists.

Never imports torch: the parent waits while a worker measures. Easy to get wrong: nothing that is measured may be lost, so
a record is on disk before anybody is told of it; and a cell that cannot be run is a record too.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from mbbench import record, store
from mbbench.case import Cell
from mbbench.measuring import environment, inquiring, process
from mbbench.measuring.inquiring import TIMEOUT_S as TIMEOUT_S
from mbbench.measuring.jobs import Facts, Job, Place
from mbbench.record import Environment, Measurement, Record
from mbbench.scrub import scrub

FREE_SHARE = 0.8
"""Of the free memory, for a cell that was given no budget."""

UNKNOWN_OVERHEAD = 3.0
"""What a process may take for each byte of its tensors, before any was measured."""

TELLING_BYTES = 10_000_000
"""A cell must be predicted to take more than this to tell of the overhead: below, it is pages and buffers."""

OnRecord = Callable[[Record, str], None]
"""Told each record once it is written, and the end of what a worker printed that came to a fault."""


@dataclass(frozen=True)
class Session:
    """One command's run: where its records go and what they have in common.

    Attributes:
        environment: of all its records.
        facts: of each problem, by its name in the cases.
        path: the results file; None: nothing is written (a smoke run).
        timeout_s: of one job.
        predicted: peak of tensor memory of each cell, by its `size_id` (`predict`).
        refuse: do not run a cell whose prediction is above its limit.
        overheads: predicted bytes, and what a process took for each of them, of the largest cell measured so far, by
            problem, device, loader and dtype.
        run_id: the same in all its records.
    """

    environment: Environment
    facts: dict[str, Facts]
    path: Path | None
    timeout_s: float = TIMEOUT_S
    predicted: dict[str, int | None] = field(default_factory=dict)
    refuse: bool = True
    overheads: dict[tuple[str, ...], tuple[int, float]] = field(default_factory=dict)
    run_id: str = field(default_factory=lambda: uuid4().hex[:12])

    def limit_bytes(self, job: Job) -> int | None:
        """Return the memory that a job may take: its budget's, or a share of what was free as the run began."""
        free = self.facts[job.case.problem].free_bytes.get(job.case.device)
        return job.budget.max_bytes or (None if free is None else int(FREE_SHARE * free))

    def expected_bytes(self, case: Cell) -> int | None:
        """Return what a cell's process is expected to take: its prediction times the allocator's overhead."""
        predicted = self.predicted.get(inquiring.size_id(case))
        if predicted is None:
            return None
        return int(predicted * self.overhead(case, UNKNOWN_OVERHEAD))

    def overhead(self, case: Cell, unknown: float) -> float:
        """Return what a process takes for each predicted byte of such a case, `unknown` where none was measured."""
        return self.overheads.get(_alike(case), (0, unknown))[1]

    def key(self, job: Job) -> tuple[str, ...]:
        """Return the key that the record of this job will have."""
        source = self.facts[job.case.problem].source_of(job.case)
        return record.key(job.kind, job.case, job.repeat, source, job.budget, self.environment)


def begin(facts: dict[str, Facts], results: Path | None, timeout_s: float = TIMEOUT_S, **fields: Any) -> Session:
    """Begin a run: read the environment, and see that the results folder can be written to.

    Raises:
        StoreError: it cannot.
    """
    told = [fact.identity for fact in facts.values() if fact.identity]
    # A problem that took its worker down with it has told nothing of the machine.
    where = environment.context(told[0] if told else inquiring.describe("notebook", Place("notebook")).identity)
    return Session(where, facts, None if results is None else store.results_file(results, where), timeout_s, **fields)


def finished(results: Path) -> dict[tuple[str, ...], Record]:
    """Return the records in a folder that need not be measured again, by their key.

    None with a fault is among them, nor a cell that was refused or ran out of what happened to be free that day.
    """
    records = [done for path in store.files(results) for done in store.load_file(path)]
    return {done.key: done for done in records if done.measurement.status not in record.FAULTS and not _may_fit_now(done)}


def _may_fit_now(done: Record) -> bool:
    found = done.measurement
    return found.status == "oom" and (found.oom_by == "predicted" or done.budget.max_bytes is None)


def execute(session: Session, jobs: Iterable[Job], on_record: OnRecord = lambda record, printed: None) -> list[Record]:
    """Run the jobs in their order; return their records, each of which is on disk by then.

    `jobs` may be a generator: the next job is asked for once the record before it was told of.
    """
    records = []
    try:
        for job in jobs:
            records.append(_told(session, job, _measure(session, job), on_record))
    finally:
        if session.path is not None:
            store.drop_if_empty(session.path)
    return records


def execute_together(
    session: Session, jobs: Iterable[Job], on_record: OnRecord = lambda record, printed: None, at_once: int = 1
) -> list[Record]:
    """Run jobs without a clock, `at_once` of them at a time; return their records as they came.

    `jobs` may be a generator: the next job is asked for when there is room for it.
    """
    stop = threading.Event()
    records: list[Record] = []
    todo, running = iter(jobs), dict[Future[tuple[str, Measurement, str]], Job]()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while True:
                for job in itertools.islice(todo, at_once - len(running)):
                    running[pool.submit(_measure, session, job, stop)] = job
                if not running:
                    return records
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    records.append(_told(session, running.pop(done), done.result(), on_record))
        except BaseException:
            stop.set()
            raise
        finally:
            if session.path is not None:
                store.drop_if_empty(session.path)


def _told(session: Session, job: Job, measured: tuple[str, Measurement, str], on_record: OnRecord) -> Record:
    """Make the record of a job, write it, and tell of it."""
    source, measurement, printed = measured
    done = Record(
        run_id=session.run_id,
        kind=job.kind,
        repeat=job.repeat,
        source=source,
        budget=job.budget,
        case=job.case,
        measurement=measurement,
        environment=session.environment,
    )
    if session.path is not None:
        store.append(session.path, done)
    on_record(done, printed)
    return done


def _measure(session: Session, job: Job, stop: threading.Event | None = None) -> tuple[str, Measurement, str]:
    """Return the hash of the problem that was measured, what came out, and what a worker printed that came to a fault."""
    case, facts = job.case, session.facts[job.case.problem]
    source = facts.source_of(case)
    if facts.error is not None:
        return source, Measurement(status="error", phase="start", message=scrub(facts.error)), ""
    if not case.applicable:
        message = f"batch_size is {case.batch_size}, but the data set has {case.n_samples} samples"
        return source, Measurement(status="not_applicable", message=message), ""
    if reason := facts.unavailable.get(case.device):
        return source, Measurement(status="unavailable", phase="start", message=reason), ""
    limit, expected = session.limit_bytes(job), session.expected_bytes(case)
    about: dict[str, Any] = {"limit_bytes": limit, "predicted_peak_bytes": session.predicted.get(inquiring.size_id(case))}
    if session.refuse and limit is not None and expected is not None and expected > limit:
        message = f"predicted to take {expected:,} bytes, overhead included, the limit is {limit:,}: not run"
        return source, Measurement(status="oom", phase="start", message=message, oom_by="predicted", **about), ""
    began = time.perf_counter()
    answer, printed, seen = process.call(
        "measure",
        msgspec.msgpack.encode(msgspec.structs.replace(job, limit_bytes=limit)),
        device=case.device,
        timeout_s=session.timeout_s,
        limit_bytes=limit if case.device == "cpu" else None,
        calm=None if job.kind == "memory" else "train",
        stop=stop,
    )
    about["cell_s"] = time.perf_counter() - began
    if isinstance(answer, process.Failure):
        if answer.status == "oom":
            about |= {"oom_by": answer.oom_by, "peak_rss_delta_bytes": seen, "rss_sampled": True}
        return source, Measurement(status=answer.status, phase=answer.phase, message=answer.message, **about), printed
    # The worker's hash and not the plan's: the file may have been edited since.
    seen_source, measurement = msgspec.msgpack.decode(answer, type=tuple[str, Measurement])
    measurement = msgspec.structs.replace(measurement, **about)
    _learn(session, case, measurement)
    return seen_source or source, measurement, printed if measurement.status in record.FAULTS else ""


def _learn(session: Session, case: Cell, measurement: Measurement) -> None:
    """Take from a memory pass what its process took for each predicted byte: the largest cell in one piece tells best."""
    taken = measurement.peak_rss_delta_bytes if case.device == "cpu" else measurement.peak_device_reserved_bytes
    predicted = measurement.predicted_peak_bytes
    if measurement.status != "ok" or taken is None or predicted is None or case.micro_batch is not None:
        return
    if predicted > max(TELLING_BYTES, session.overheads.get(_alike(case), (0, 0.0))[0]):
        session.overheads[_alike(case)] = predicted, max(1.0, taken / predicted)


def _alike(case: Cell) -> tuple[str, ...]:
    return case.problem, case.device, case.loader, case.dtype
