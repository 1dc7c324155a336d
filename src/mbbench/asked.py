"""What was asked for, looked at: the problem by its name, this machine's devices, the number of rows. Knows no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mbbench.case import UsageError, check_name
from mbbench.measuring import session
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
    """Return a problem's name for records, and where a worker finds it."""
    if isinstance(problem, str):
        return locate(problem, Path.cwd())
    import cloudpickle

    return "python:problem", Place("", cloudpickle.dumps(problem))


def looked_at(
    name: str, place: Place, device: str | Iterable[str], n: int | Iterable[int] | None, timeout_s: float
) -> tuple[Facts, list[int]]:
    """Return what is to be known of a problem and of this machine, and the numbers of training rows.

    Raises:
        UsageError: the problem cannot be used, has not as many rows, or no device is here.
    """
    devices = [device] if isinstance(device, str) else list(device)
    facts = session.describe(name, place, devices, timeout_s)
    if facts.error is not None:
        raise UsageError(facts.error)
    if all(facts.unavailable[device] for device in devices):
        raise UsageError(f"{facts.unavailable[devices[0]]}: use --device cpu, or run where there is one")
    sizes = [facts.default_samples] if n is None else [n] if isinstance(n, int) else list(n)
    if facts.most_samples is not None and max(sizes) > facts.most_samples:
        raise UsageError(f"n is {max(sizes)}, but {name} has {facts.most_samples} samples: use fewer")
    return facts, sizes
