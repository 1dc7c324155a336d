"""Trace a few steps: the real training loop under torch.profiler, written as a file that Perfetto and Chrome open.

Easy to get wrong: a profiler's first step pays for its start, so one is thrown away; torch writes the host's name and the
file's path into a trace, so they are taken out; stacks hold the paths of the user's files, so they are not asked for; and a
kernel of an accelerator is listed beside the operation that started it, which has its time too.
"""

import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerAction, ProfilerActivity, profile, supported_activities

from mbbench.measuring.batches import Update
from mbbench.measuring.training import Training
from mbbench.record import Phase
from mbbench.trace import Operation, Trace

WARM_UP = 3
"""Steps before the profiler starts: the optimizer makes its state at the first."""
STEPS = (3, 20)
"""Fewest and most that are traced."""
MOST_S = 0.25
"""Seconds after which the fewest are enough: 0.6 s of a DataLoader over 4,000 rows are 320,000 events and 61 MB."""
STEP = "ProfilerStep*"
"""What torch.profiler calls a step; what no operation of it took is its own."""
ALLOCATIONS = "[memory]"
"""The profiler's row for what it cannot give to an operation."""
PRIVATE = ("host_name", "traceName")
"""What torch says of the machine and of the file's place."""


def trace(
    training: Training,
    file: Path,
    on_phase: Callable[[Phase], None],
    release: Callable[[], None] = lambda: None,
    most_s: float = MOST_S,
) -> Trace:
    """Train a few steps (`STEPS`) under the profiler and write the trace.

    Args:
        training: the case, prepared.
        file: to write, Chrome's JSON.
        on_phase: told "warm-up" and "train" as each begins.
        release: called when the cell has run within its memory limit: a profiler needs memory of its own.
        most_s: seconds after which the fewest steps are enough.
    """
    on_phase("warm-up")
    updates = training.stream()
    training.train(itertools.islice(updates, WARM_UP))
    release()
    on_phase("train")
    on_device = training.case.device != "cpu"
    found: list[Any] = []

    def ready(profiler: profile) -> None:
        _write(profiler, file)
        found.extend(profiler.key_averages())

    with profile(
        activities=supported_activities() if on_device else [ProfilerActivity.CPU],  # type: ignore[no-untyped-call]
        schedule=lambda step: ProfilerAction.RECORD if step else ProfilerAction.WARMUP,
        on_trace_ready=ready,
        profile_memory=True,
    ) as profiler:
        training.train(_stepping(profiler, updates, most_s))
    return _trace(found, on_device)


def _stepping(profiler: profile, updates: Iterator[Update], most_s: float) -> Iterator[Update]:
    """Hand out updates, and tell the profiler between them: the one that it throws away, and those that are traced."""
    yield next(updates)
    began = time.perf_counter()
    fewest, most = STEPS
    for made in range(most):
        if made >= fewest and time.perf_counter() - began > most_s:
            return
        profiler.step()
        yield next(updates)


def _write(profiler: profile, file: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mbbench-") as folder:
        raw = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(raw))
        document = json.loads(raw.read_bytes())
    told = {name: value for name, value in document.items() if name not in PRIVATE}
    file.write_text(json.dumps(told, separators=(",", ":")), encoding="utf-8")


def _trace(rows: Sequence[Any], on_device: bool) -> Trace:
    """Return what the profiler's table says, seconds for its microseconds."""
    hosts = [row for row in rows if row.device_type.name == "CPU"]
    [whole] = (row for row in hosts if row.key == STEP)
    operations = [
        Operation(
            name=row.key,
            calls=row.count,
            self_s=row.self_cpu_time_total / 1e6,
            device_s=row.self_device_time_total / 1e6 if on_device else None,
            kept_bytes=row.self_device_memory_usage if on_device else row.self_cpu_memory_usage,
        )
        for row in hosts
        if row.key not in (STEP, ALLOCATIONS)
    ]
    operations.sort(key=lambda each: (each.device_s or 0.0, each.self_s), reverse=True)
    return Trace(
        steps=whole.count,
        steps_s=whole.cpu_time_total / 1e6,
        between_s=whole.self_cpu_time_total / 1e6,
        operations=tuple(operations),
    )
