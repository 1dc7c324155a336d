"""What a worker process does: one case in, one measurement out; or a problem's name in, its facts out.

Easy to get wrong: whatever goes wrong inside becomes a status with the phase it happened in; only a death of the process
is left for the parent to name. Messages name files without their folders.
"""

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec
import numpy
import torch

from mbbench.case import Case, Cell, UsageError
from mbbench.measuring import (
    convergence,
    devices,
    environment,
    limits,
    memory,
    predict,
    profiling,
    race,
    resident,
    target_pass,
    timing,
    tracing,
    trial,
)
from mbbench.measuring.explaining import explain, users_traceback
from mbbench.measuring.files import Files
from mbbench.measuring.jobs import Facts, Job, Place, joined_source
from mbbench.measuring.modules import digest_of
from mbbench.measuring.problems import Problem, resolve, source_of
from mbbench.measuring.training import prepare
from mbbench.record import Measurement, Phase, digest
from mbbench.scrub import scrub
from mbbench.trace import Trace

SMALL_LIMIT = 2**30
"""Bytes below which any failure that may be memory's is taken for it: a thread's stack or a kernel's buffer meets it."""
OnPhase = Callable[[Phase], None]
Tell = Callable[[str, object], None]
"""Sends the parent a word: ("phase", name) as one begins, ("rest", bytes) when the memory limit begins to hold, ("rest",
None) when it holds no longer."""

Pass = Callable[[Job, Problem, OnPhase, Callable[[], None]], dict[str, Any]]
"""Measures a job's case: told the phases, and when the limit has served; returns fields of a Measurement."""


def measure(message: bytes, tell: Tell) -> bytes:
    """Run the job that is encoded in `message`; return the hash of its problem and its Measurement, encoded."""
    job = msgspec.msgpack.decode(message, type=Job)
    return msgspec.msgpack.encode(_guarded(job, tell, _PASSES[job.kind]))


def trace(message: bytes, tell: Tell) -> bytes:
    """Trace the case of the job in `message` into the file named there; return the Trace or None, and how that ended."""
    job, file = msgspec.msgpack.decode(message, type=tuple[Job, str])
    found: list[Trace] = []

    def traced(job: Job, problem: Problem, enter: OnPhase, release: Callable[[], None]) -> dict[str, Any]:
        found.append(tracing.trace(prepare(job.case, problem, enter), Path(file), enter, release))
        return {}

    _, ended = _guarded(job, tell, traced)
    return msgspec.msgpack.encode((found[0] if found else None, ended))


def _guarded(job: Job, tell: Tell, make: Pass) -> tuple[str, Measurement]:
    """Make a pass over a job's case within its limits; return the hash of its problem, and what came of it, whatever did."""
    phases: list[Phase] = ["start"]
    source = ""
    warned: list[str] = []

    def enter(phase: Phase) -> None:
        phases.append(phase)
        tell("phase", phase)

    def release() -> None:
        limits.lift()
        tell("rest", None)

    rest, limit = 0, None
    try:
        torch.manual_seed(0)  # a module that is made as its file is imported starts alike for every seed
        problem, source = _problem(job.case.problem, job.place)
        source = joined_source(source, [digest_of(own) for own in job.case.own_names])
        # The limit begins behind the imports of the user's file, which are not training's, and counts the tensors it made.
        held = memory.live_bytes()
        rest = limits.rest(job.case.threads) - held
        limit = job.limit_bytes
        if limit is not None and job.case.device == "cpu":
            limits.impose(limit - held, "cpu")
            tell("rest", rest)
        elif limit is not None:
            limits.impose(limit, job.case.device)
        # A warning (two shapes that broadcast, say) is passed on in the record; Python shows each once a place.
        warnings.showwarning = lambda message, category, *_, **__: warned.append(f"{category.__name__}: {message}")
        for seeded in (torch.manual_seed, random.seed, numpy.random.seed):
            seeded(job.case.seed)
        fields = make(job, problem, enter, release)
        if warned and not fields.get("message"):
            fields["message"] = f"warned: {scrub(' '.join(warned[0].split())[:300])}"
        result = Measurement(phase="train", **{"status": "ok", **fields})
    except Exception as error:
        limits.lift()  # what follows takes memory too
        result = _failure(error, job.case, phases[-1], rest, limit)
    return source, result


def _time(job: Job, problem: Problem, enter: OnPhase, release: Callable[[], None]) -> dict[str, Any]:
    training = prepare(job.case, problem, enter)
    fields = timing.time_rounds(training, job.budget.max_seconds or 1.0, enter, smoke=job.smoke)
    if not all(parameter.isfinite().all() for parameter in training.model.parameters()):
        fields["message"] = f"the parameters were not finite at the end (lr {training.lr:g}): the times stand"
    return fields | {"lr": training.lr}


def _convergence(job: Job, problem: Problem, enter: OnPhase, release: Callable[[], None]) -> dict[str, Any]:
    training = prepare(job.case, problem, enter)
    return convergence.loss_curve(training, job.budget, enter) | {"lr": training.lr}


def _memory(job: Job, problem: Problem, enter: OnPhase, release: Callable[[], None]) -> dict[str, Any]:
    return memory.measure(job.case, problem, enter, release)


def _profile(job: Job, problem: Problem, enter: OnPhase, release: Callable[[], None]) -> dict[str, Any]:
    training = prepare(job.case, problem, enter)
    return profiling.measure(training, job.budget.max_seconds or 1.0, enter, release) | {"lr": training.lr}


def _target(job: Job, problem: Problem, enter: OnPhase, release: Callable[[], None]) -> dict[str, Any]:
    return target_pass.measure(job, problem, enter)


def _race(job: Job, problem: Problem, enter: OnPhase, release: Callable[[], None]) -> dict[str, Any]:
    assert job.race is not None
    case = msgspec.structs.replace(job.case, lr=job.race.lr)
    fields = race.run(lambda: prepare(case, problem, enter), job.budget, job.race.look_from, enter)
    return fields | {"lr": job.race.lr}


_PASSES = {
    "time": _time,
    "convergence": _convergence,
    "memory": _memory,
    "profile": _profile,
    "target": _target,
    "race": _race,
}


def _failure(error: Exception, case: Cell, phase: Phase, rest: int, limit: int | None) -> Measurement:
    peak = resident.peak_bytes()
    taken = None if peak is None else max(0, peak - rest)
    # By default there is a limit, of most of the machine: an error far below it has another reason.
    near = limit is not None and (limit < SMALL_LIMIT or taken is None or taken > limit / 4)
    if not limits.out_of_memory(error, near):
        alone = ""
        if trial.BATCH_NORM in str(error):  # BatchNorm's
            size = case.micro_batch or case.samples_per_step
            alone = f": {case.n_samples} rows in batches of {size} leave a batch of one, use another batch size or n"
        return Measurement(status="error", phase=phase, message=explain(error) + alone)
    return Measurement(status="oom", phase=phase, message=explain(error), oom_by="raised", peak_rss_delta_bytes=taken)


def predictions(message: bytes, tell: Tell) -> bytes:
    """Return the predicted peak, or None, of each case in `message`, for one problem."""
    name, place, cases = msgspec.msgpack.decode(message, type=tuple[str, Place, list[Case]])
    problem, _ = _problem(name, place)
    return msgspec.msgpack.encode([predict.predicted_peak(case, problem) for case in cases])


def describe(message: bytes, tell: Tell) -> bytes:
    """Resolve the problem named in `message` and look at the devices named there; return Facts encoded."""
    name, place, asked, own = msgspec.msgpack.decode(message, type=tuple[str, Place, list[str], list[str]])
    identity = environment.identity()
    try:
        problem, source = _problem(name, place)
        facts = Facts(
            default_samples=problem.default_samples,
            most_samples=problem.most_samples,
            target_loss=problem.target_loss,
            source=source,
            unavailable=(reasons := {device: devices.unavailable(device) for device in asked}),
            free_bytes={device: limits.free_bytes(device) for device, reason in reasons.items() if reason is None},
            identity=identity,
            own={each: digest_of(each) for each in own},
        )
    except UsageError as error:
        facts = Facts(error=str(error), identity=identity)
    except Exception as error:
        facts = Facts(error=explain(error), identity=identity, traceback=users_traceback(error))
    return msgspec.msgpack.encode(facts)


def tried(message: bytes, tell: Tell) -> bytes:
    """Make a step as each cell has it; return why one cannot be made, the user's traceback, the least rows of a batch."""
    name, place, cells = msgspec.msgpack.decode(message, type=tuple[str, Place, list[Cell]])
    try:
        problem, _ = _problem(name, place)
        found = "", "", max(trial.check(problem, cell) for cell in cells)
    except UsageError as error:
        found = str(error), error.details, 0
    return msgspec.msgpack.encode(found)


def _problem(name: str, place: Place) -> tuple[Problem, str]:
    if place.pickled is None:
        problem, source = resolve(name, place.location)
    else:
        problem = cloudpickle.loads(place.pickled)
        if not isinstance(problem, Problem):
            raise UsageError(f"{name} is a {type(problem).__name__}: expected a mbbench.Problem")
        source = digest(place.pickled + source_of(Path.cwd()).encode())
    if isinstance(problem.data, Files):  # rows that were written anew are another problem
        source = digest(f"{source} {problem.data.state}".encode())
    return problem, source
