"""What was asked for, looked at: the problem by its name, this machine's devices, the number of rows. Knows no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mbbench.case import Cell, UsageError, check_name
from mbbench.measuring import inquiring
from mbbench.measuring.jobs import ASKED, Facts, Place, locate
from mbbench.record import Kind

if TYPE_CHECKING:
    from mbbench.measuring.problems import Problem


def kinds(measure: Sequence[str]) -> list[Kind]:
    """Return the passes asked for, in their order; raise UsageError where there is no such pass."""
    several = [measure] if isinstance(measure, str) else list(measure)
    for kind in several:
        check_name("pass", kind, ASKED)
    return [kind for kind in ASKED if kind in several]


def named(problem: str | Problem) -> tuple[str, Place]:
    """Return a problem's name for records, and where a worker finds it.

    Raises:
        UsageError: it is neither a name nor a Problem, or holds what cannot be sent to another process.
    """
    if isinstance(problem, str):
        return locate(problem, Path.cwd())
    import cloudpickle

    from mbbench.measuring.problems import Problem

    if not isinstance(problem, Problem):
        raise UsageError(f"problem is a {type(problem).__name__}: give a name or a mbbench.Problem")
    try:
        return f"python:{problem.name}", Place("", cloudpickle.dumps(problem))
    except Exception as error:  # whatever a stranger's objects raise when they are asked for their state
        raise UsageError(
            f"the problem cannot be sent to a process of its own ({type(error).__name__}: {error}): make open files, locks, "
            "generators and connections inside a function, or put the problem into a file and name it file.py:problem"
        ) from None


def looked_at(
    name: str,
    place: Place,
    device: str | Iterable[str],
    n: int | Iterable[int] | None,
    timeout_s: float,
    own: Iterable[str] = (),
    cells: Iterable[Cell] = (),
) -> tuple[Facts, list[int]]:
    """Return what is to be known of a problem and of this machine, and the numbers of training rows.

    `own` are loaders, optimizers and schedules of the user's; a problem of theirs is tried in a step of each of the
    `cells` that makes another kind of step.

    Raises:
        UsageError: the problem cannot be used, has not as many rows, or no device is here.
    """
    devices = [device] if isinstance(device, str) else list(device)
    facts = inquiring.describe(name, place, devices, timeout_s, own)
    if facts.error is not None:
        raise UsageError(facts.error, facts.traceback)
    if ":" in name and "cpu" in devices:  # a problem of the user's own
        facts = msgspec.structs.replace(facts, least_rows=inquiring.try_step(name, place, cells, timeout_s))
    if all(facts.unavailable[device] for device in devices):
        raise UsageError(f"{facts.unavailable[devices[0]]}: use --device cpu, or run where there is one")
    sizes = [facts.default_samples] if n is None else [n] if isinstance(n, int) else list(n)
    if facts.most_samples is not None and max(sizes) > facts.most_samples:
        raise UsageError(f"n is {max(sizes)}, but {name} has {facts.most_samples} samples: use fewer")
    return facts, sizes
