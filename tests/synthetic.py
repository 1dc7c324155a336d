"""Records with known truths: a step takes `fixed_s + per_row_s * batch` seconds, a loss falls by a formula."""

import math
from collections.abc import Iterable

import msgspec
import numpy as np

from mbbench.case import Budget, Case, Cell
from mbbench.record import Curve, Environment, Measurement, Record
from mbbench.search import Run, Search

IDENTITY = {
    "processor": "Example CPU 9000",
    "architecture": "x86_64",
    "cores": 2,
    "memory_gib": 16,
    "accelerator": None,
    "torch": "2.13.0+cpu",
    "system": "Linux 6.8",
    "python": "CPython 3.11.9",
}
FIXED_S, PER_ROW_S = 60e-6, 0.2e-6
ROUNDS = 20
START, TARGET = 2.0, 0.1
"""Losses before the first update and aimed at; the log of a planted loss falls as a line from one to the other."""
APART = 1.5
"""Steps to the main target over those to the easier, and to the harder over those to the main one."""
FIXED_BYTES, PER_ROW_BYTES = 8 * 2**20, 4096
OVERHEAD = 1.25
"""What a process takes over what its tensors do."""
GIB = 2**30


def environment(
    time: str = "2026-11-23T12:00:00.000Z", commit: str | None = "4f1c2ab" * 5 + "abcde", **identity: str | int | None
) -> Environment:
    return Environment(
        identity=IDENTITY | identity,
        commit=commit,
        diff=None,
        version="0.1.0",
        time=time,
        load_1m=0.2,
        governor="performance",
    )


def case(batch_size: int | None = 32, **fields: object) -> Case:
    return Case(**({"problem": "linear", "n_samples": 8192, "batch_size": batch_size} | fields))


def record(cell: Cell, measurement: Measurement, kind: str = "time", repeat: int = 0, **fields: object) -> Record:
    budgets = {"time": Budget(max_seconds=1.0), "memory": Budget(max_epochs=2)}
    budget = budgets.get(kind, Budget(max_steps=1000, max_seconds=5.0))
    common = {"run_id": "run1", "source": "s1", "budget": budget, "environment": environment()}
    return Record(kind=kind, repeat=repeat, case=cell, measurement=measurement, **(common | fields))


def time_record(
    cell: Case, epoch_s: float | None = None, repeat: int = 0, noise: float = 0.01, busy: float = 1.0, **fields: object
) -> Record:
    """Rounds of whole epochs whose median is `epoch_s`, `noise` apart; `busy` is wall seconds for each CPU second."""
    if epoch_s is None:
        epoch_s = cell.steps_per_epoch * FIXED_S + cell.n_samples * PER_ROW_S
    spread = noise * np.linspace(-1, 1, ROUNDS - 1)
    rounds = tuple(float(epoch_s * math.exp(part)) for part in spread)
    measurement = Measurement(
        status="ok",
        phase="train",
        lr=0.01,
        round_s=rounds,
        round_cpu_s=tuple(seconds / busy for seconds in rounds),
        steps_per_round=cell.steps_per_epoch,
        samples_per_round=cell.n_samples,
        epochs_per_round=1,
        epoch_start_s=(1e-6, 1e-6, 1e-6),
        warmup_s=0.1,
        warmup_steps=10,
    )
    return record(cell, measurement, repeat=repeat, **fields)


def time_records(cell: Case, epoch_s: float, repeats: int = 3, between: float = 0.005, **fields: object) -> list[Record]:
    """Repeats whose medians are `between` apart and have the geometric mean `epoch_s`."""
    steps = np.arange(repeats) - (repeats - 1) / 2
    return [
        time_record(cell, epoch_s * math.exp(between * step), repeat=number, **fields) for number, step in enumerate(steps)
    ]


def curve_record(
    cell: Case, seed: int = 0, steps: int = 1000, status: str = "ok", speed: float = 0.02, lr: float = 0.01, **fields: object
) -> Record:
    """A loss of 10 that falls as 1 / (1 + speed * step) to a floor of 0.01 + 1 / batch, times a factor of the seed."""
    at = np.unique(np.concatenate([[0], np.geomspace(1, steps, 40).round()])).astype(int)
    floor = 0.01 + 1 / cell.samples_per_step
    losses = (floor + 10 / (1 + speed * at) ** 2) * math.exp(0.02 * (seed - 1))
    values = [float(loss) for loss in losses]
    if status == "diverged":
        values[len(values) // 2 :] = [None] * (len(values) - len(values) // 2)
    rows = np.minimum(at * cell.samples_per_step, np.ceil(at / cell.steps_per_epoch) * cell.n_samples)
    curve = Curve(
        step=tuple(map(int, at)),
        epoch=tuple(float(step / cell.steps_per_epoch) for step in at),
        samples=tuple(map(int, rows)),
        train_s=tuple(float(step * (FIXED_S + PER_ROW_S * cell.samples_per_step)) for step in at),
        train_loss=tuple(values),
        heldout_loss=tuple(None if loss is None else loss * 1.1 for loss in values),
    )
    measurement = Measurement(status=status, phase="train", lr=lr, curve=curve, evaluation_s=0.01)
    return record(cell.on(seed=seed), measurement, kind="convergence", **fields)


def curve_records(cell: Case, seeds: int = 3, **fields: object) -> list[Record]:
    return [curve_record(cell, seed=seed, **fields) for seed in range(seeds)]


def loss_after(part: float, target: float = TARGET) -> float:
    """The planted loss after a part of the steps to the target."""
    return START * (target / START) ** part


def targets(target: float = TARGET) -> tuple[float, float, float]:
    return loss_after(1 / APART, target), target, loss_after(APART, target)


def search_run(
    lr: float,
    seed: int,
    steps: float | None,
    target: float = TARGET,
    ended: str | None = None,
    heldout: float = 1.2,
    lowest: float = 0.5,
) -> Run:
    """A run that reaches the target after so many steps and goes on to the harder one.

    Without steps it ends at the loss `lowest`, or as not finite where it `ended` as "diverged". `heldout` is the held-out
    loss over the training loss.
    """
    if steps is None:
        after = None if ended == "diverged" else lowest
        return Run(lr=lr, seed=seed, ended=ended or "budget", step=(0, 100), train_loss=(START, after))
    step = (0, *sorted({max(1, math.ceil(steps * part)) for part in (0.5, 0.9, 1, 1.1, 1.7)}))
    losses = tuple(loss_after(at / steps, target) for at in step)
    held = tuple(loss * heldout for loss in losses)
    return Run(lr=lr, seed=seed, ended="reached", step=step, train_loss=losses, heldout_loss=held)


def target_record(
    cell: Case,
    steps: Iterable[float | None],
    target: float = TARGET,
    best: float = 0.5,
    edge: bool = False,
    aims: tuple[float, ...] | None = None,
    noise: tuple[object, ...] = (),
    **fields: object,
) -> Record:
    """A search whose seeds reach the target after `steps` at the rate `best`, and later or never at the rates beside it.

    With `edge` the best is the highest of the rates tried. Further fields are those of `search_run`, or of `record`.
    """
    about = {name: fields.pop(name) for name in ("ended", "heldout", "lowest") if name in fields}
    several = list(steps)
    known = {best / 2: 1.9, best: 1.0} | ({} if edge else {best * 2: 1.8})
    runs = [
        search_run(lr, seed, None if each is None else each * by, target, **about)
        for lr, by in known.items()
        for seed, each in enumerate(several)
    ]
    reached = sum(each is not None for each in several) >= 0.8 * len(several)
    found = Search(targets=targets(target) if aims is None else aims, runs=tuple(runs), vectorised=True, noise=noise)
    measurement = Measurement(
        status="ok" if reached else "diverged" if about.get("ended") == "diverged" else "budget_exhausted",
        phase="train",
        lr=best if reached else None,
        search=found,
    )
    budget = Budget(max_seconds=60.0)
    return record(cell, measurement, kind="target", **({"budget": budget} | fields))


def race_record(
    cell: Case, seconds: float | None, seed: int = 0, lr: float = 0.5, target: float = TARGET, **fields: object
) -> Record:
    """A race that reaches the target after so many seconds, or ends without."""
    last = START if seconds is None else target
    curve = Curve(
        step=(0, 90, 100),
        epoch=(0.0, 0.9, 1.0),
        samples=(0, 90, 100),
        train_s=(0.0, 0.9 * (seconds or 1.0), seconds or 1.0),
        train_loss=(START, START, last),
        heldout_loss=(None, None, None),
    )
    status = "budget_exhausted" if seconds is None else "ok"
    measurement = Measurement(status=status, phase="train", lr=lr, curve=curve)
    budget = Budget(target_loss=target, max_steps=1000)
    return record(cell.on(seed=seed), measurement, kind="race", **({"budget": budget} | fields))


def tensor_bytes(cell: Cell) -> int:
    """What training a cell takes by the law: a fixed part, and rows of one forward pass."""
    return FIXED_BYTES + PER_ROW_BYTES * (cell.micro_batch or cell.samples_per_step)


def memory_record(
    cell: Cell,
    limit_bytes: int | None = GIB,
    scratch: int = 0,
    asked: bool = True,
    oom_by: str | None = None,
    **measured: object,
) -> Record:
    """The peaks of a cell by the law; out of memory, and not run, where that with the overhead is above the limit.

    `scratch` is what the prediction does not see, `asked` whether somebody gave the limit, `oom_by` ends the cell in another
    way, and `measured` replaces or adds fields of the measurement.
    """
    predicted = tensor_bytes(cell)
    known = {"phase": "train", "limit_bytes": limit_bytes, "predicted_peak_bytes": predicted}
    budget = Budget(max_epochs=2, max_bytes=limit_bytes if asked else None)
    if oom_by is None and limit_bytes is not None and predicted * OVERHEAD > limit_bytes:
        oom_by, known["phase"] = "predicted", "start"
    if oom_by is not None:
        return record(cell, Measurement(status="oom", oom_by=oom_by, **(known | measured)), kind="memory", budget=budget)
    tensors = predicted + scratch
    known["gradient_difference"] = None if cell.micro_batch is None else 2.3e-7
    if cell.device == "cpu":
        known |= {"peak_tensor_bytes": tensors, "peak_rss_delta_bytes": round(tensors * OVERHEAD), "rss_sampled": False}
    else:
        reserved, used = round(tensors * OVERHEAD), round(tensors * OVERHEAD) + 300 * 2**20
        known |= {"peak_device_allocated_bytes": tensors, "peak_device_reserved_bytes": reserved}
        known |= {"peak_device_used_bytes": used, "allocation_retries": 0}
    known |= {"setup_peak_tensor_bytes": 2 * 2**20, "floor_rss_bytes": 220 * 2**20}
    return record(cell, Measurement(status="ok", **(known | measured)), kind="memory", budget=budget)


def failure(cell: Cell, status: str = "oom", message: str = "not enough memory", **fields: object) -> Record:
    return record(cell, Measurement(status=status, phase="train", message=message), **fields)


def suite(
    problems: Iterable[str] = ("linear",), batch_sizes: Iterable[int | None] = (8, 32, 128, 512, 2048, None)
) -> list[Record]:
    """Time and convergence of a believable grid: slice and dataloader, three repeats, three seeds."""
    records = []
    for problem in problems:
        for size in batch_sizes:
            plain = case(size, problem=problem)
            plain_s = plain.steps_per_epoch * FIXED_S + plain.n_samples * PER_ROW_S
            records += time_records(plain, plain_s)
            records += time_records(plain.on(loader="dataloader"), plain_s + plain.n_samples * 6e-6)
            records += curve_records(plain, steps=max(1000, 10 * plain.steps_per_epoch))
    return records


def with_times(record: Record, factor: float) -> Record:
    """The same with all times that were measured multiplied."""
    measurement = record.measurement
    names = [name for name in ("round_s", "round_cpu_s", "epoch_start_s") if getattr(measurement, name)]
    changes = {name: tuple(seconds * factor for seconds in getattr(measurement, name)) for name in names}
    if curve := measurement.curve:
        changes["curve"] = msgspec.structs.replace(curve, train_s=tuple(seconds * factor for seconds in curve.train_s))
    return msgspec.structs.replace(record, measurement=msgspec.structs.replace(measurement, **changes))
