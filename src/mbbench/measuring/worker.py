"""What a worker process does: one case in, one measurement out; or a problem's name in, its facts out.

Easy to get wrong: whatever goes wrong inside becomes a status with the phase it happened in; only a death of the process
is left for the parent to name. Messages name files without their folders.
"""

import os
import random
import sysconfig
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import msgspec
import numpy
import torch

from mbbench.case import UsageError
from mbbench.measuring import convergence, devices, environment, timing
from mbbench.measuring.jobs import Facts, Job, Place
from mbbench.measuring.problems import Problem, resolve, source_of
from mbbench.measuring.training import prepare
from mbbench.record import Measurement, Phase, Status, digest, scrub

OnPhase = Callable[[Phase], None]


def measure(message: bytes, on_phase: OnPhase) -> bytes:
    """Run the job that is encoded in `message`; return the hash of its problem and its Measurement, encoded."""
    job = msgspec.msgpack.decode(message, type=Job)
    phases: list[Phase] = ["start"]
    source = ""
    warned: list[str] = []

    def enter(phase: Phase) -> None:
        phases.append(phase)
        on_phase(phase)

    try:
        torch.set_num_threads(job.case.threads)
        torch.manual_seed(0)  # a module that is made as its file is imported starts alike for every seed
        problem, source = _problem(job.case.problem, job.place)
        # A warning (two shapes that broadcast, say) is passed on in the record; Python shows each once a place.
        warnings.showwarning = lambda message, category, *_, **__: warned.append(f"{category.__name__}: {message}")
        for seeded in (torch.manual_seed, random.seed, numpy.random.seed):
            seeded(job.case.seed)
        training = prepare(job.case, problem, enter)
        if job.kind == "time":
            seconds = job.budget.max_seconds or 1.0
            fields = timing.time_rounds(training, seconds, enter, smoke=job.smoke)
            if not all(parameter.isfinite().all() for parameter in training.model.parameters()):
                fields["message"] = f"the parameters were not finite at the end (lr {training.lr:g}): the times stand"
        else:
            fields = convergence.loss_curve(training, job.budget, enter)
        if warned and not fields.get("message"):
            fields["message"] = f"warned: {scrub(' '.join(warned[0].split())[:300])}"
        result = Measurement(phase="train", lr=training.lr, **({"status": "ok"} | fields))
    except Exception as error:
        result = Measurement(status=_status(error), phase=phases[-1], message=explain(error))
    return msgspec.msgpack.encode((source, result))


def describe(message: bytes, on_phase: OnPhase) -> bytes:
    """Resolve the problem named in `message` and look at the devices named there; return Facts encoded."""
    name, place, asked = msgspec.msgpack.decode(message, type=tuple[str, Place, list[str]])
    on_phase("start")
    identity = environment.identity()
    try:
        problem, source = _problem(name, place)
        facts = Facts(
            default_samples=problem.default_samples,
            most_samples=problem.most_samples,
            source=source,
            unavailable={device: devices.unavailable(device) for device in asked},
            identity=identity,
        )
    except Exception as error:
        facts = Facts(error=str(error) if isinstance(error, UsageError) else explain(error), identity=identity)
    return msgspec.msgpack.encode(facts)


def explain(error: BaseException) -> str:
    """Return one line: type, message, and where in the file nearest to the user's it happened; no folders."""
    first = (str(error).strip().splitlines() or [""])[0]
    frames = traceback.extract_tb(error.__traceback__)
    # Not by the name "mbbench" alone: a user's folder may be called that too.
    others = (str(Path(__file__).parents[1]) + os.sep, sysconfig.get_path("stdlib") + os.sep, "<frozen")
    users = [frame for frame in frames if not frame.filename.startswith(others) and "site-packages" not in frame.filename]
    where = f" ({Path(users[-1].filename).name}, line {users[-1].lineno})" if users else ""
    return scrub(f"{type(error).__name__}: {first}"[:500]) + where


def _status(error: Exception) -> Status:
    text = str(error)
    # On the CPU a failed allocation is a plain RuntimeError that names its allocator; CUDA's libraries have words of theirs.
    said = ("DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in text for words in said):
        return "oom"
    return "error"


def _problem(name: str, place: Place) -> tuple[Problem, str]:
    if place.pickled is None:
        return resolve(name, place.location)
    problem = cloudpickle.loads(place.pickled)
    if not isinstance(problem, Problem):
        raise UsageError(f"{name} is a {type(problem).__name__}: expected a mbbench.Problem")
    return problem, digest(place.pickled + source_of(Path.cwd()).encode())
