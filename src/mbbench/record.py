"""What was measured, raw: one Record is one line of JSON, and everything a reader sees is computed from Records.

Easy to get wrong: a statistic never enters a Record; what is not known is None, never 0; a loss that is not finite is
None in a curve (JSON has no NaN) and its status says `diverged`; nothing names a host, a user or an absolute path.
"""

import hashlib
import statistics
from typing import Any, Literal

import msgspec

from mbbench.case import Budget, Cell
from mbbench.profile import Profile
from mbbench.search import Search

SCHEMA = 4
"""Version of the record's JSON; files of every older version load (`decode`)."""

OWN_SOURCE = "+"
"""Between the hashes of `Record.source`: of the problem, and of each of `Cell.own_names`."""

Kind = Literal["time", "convergence", "memory", "profile", "target", "race"]
"""Which pass made the record: each pass has a process of its own, so each makes a record of its own. "profile": where the
seconds of a step go; "target": the learning rate is searched and the steps to a target loss are counted, no clock; "race":
trained to the target against the clock."""

Status = Literal[
    "ok",
    "oom",
    "diverged",
    "budget_exhausted",
    "timeout",
    "killed",
    "crash",
    "error",
    "unavailable",
    "not_applicable",
]
"""How a cell ended. Reaching a target is analysis, not a status."""

FAULTS: tuple[Status, ...] = ("timeout", "killed", "crash", "error")
"""Statuses that are somebody's fault: they make exit code 1, fail a bench test, and are run again on resuming."""

Phase = Literal["start", "data", "model", "warm-up", "train"]
"""Where a cell was when it ended."""

OomBy = Literal["predicted", "raised", "watchdog"]
"""How a cell met its memory limit: it was not run, an allocation failed, or its process was seen above it and ended."""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A loss curve as one array per column, all of one length; position 0 is the start, before any step.

    Attributes:
        step: parameter updates done.
        epoch: passes over the data done, in parts of one.
        samples: rows seen.
        train_s: seconds of training; the clock stands still during an evaluation.
        train_loss: mean loss of all training rows; None where it is not finite.
        heldout_loss: mean loss of the held-out rows; None where not finite or where there are none.
        heldout_metric: the user's own metric of the held-out rows; empty where none was asked for.
    """

    step: tuple[int, ...]
    epoch: tuple[float, ...]
    samples: tuple[int, ...]
    train_s: tuple[float, ...]
    train_loss: tuple[float | None, ...]
    heldout_loss: tuple[float | None, ...]
    heldout_metric: tuple[float | None, ...] = ()


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """How one pass over one case ended and what its clocks read.

    A round is `steps_per_round` consecutive updates. Either it is a whole number of epochs (`epochs_per_round` >= 1,
    and the cost of starting them is inside its clock), or it is a part of one epoch (`epochs_per_round` is 0, and no
    epoch starts inside it). `epoch_s`, `step_s` and `samples_per_s` follow from that and from nothing else.

    Attributes:
        status: how it ended.
        phase: where it was when it ended.
        message: one line on anything but a plain "ok".
        lr: learning rate that was used.
        round_s: wall seconds of each timed round.
        round_cpu_s: CPU seconds of the process (all threads) in each round.
        round_event_s: seconds between two events on the accelerator, a cross-check of round_s.
        meter: how much the user's own meter grew in each round, in its unit; empty where none was asked for.
        steps_per_round: updates in one round.
        samples_per_round: rows in one round.
        epochs_per_round: epochs started inside one round's clock.
        epoch_start_s: what starting an epoch adds (shuffle, iterator), one value a start; none where an epoch has fewer
            than three updates, whose steps then include it.
        warmup_s: seconds of warm-up before the first clock.
        warmup_steps: updates of warm-up.
        cell_s: wall seconds of the cell as its parent saw it, everything included.
        measuring_s: wall seconds between the end of the warm-up and the last clock.
        evaluation_s: seconds of evaluation in a convergence pass (outside train_s).
        curve: the loss curve of a convergence pass.
        minor_faults: page faults of the timed rounds that needed no disk, all rounds together.
        limit_bytes: memory that the cell was allowed beyond its process at rest.
        predicted_peak_bytes: of tensor memory while training, reckoned without allocating; None where that failed.
        oom_by: how the limit was met, where the status is "oom" and that is known.
        peak_tensor_bytes: exact peak of tensor memory while training: rows, model, optimizer, activations, operator scratch.
        setup_peak_tensor_bytes: the same while rows and model were made.
        peak_rss_delta_bytes: what the process took while training, at most, beyond its size at rest. Of a cell that ran out
            of memory: until then.
        rss_sampled: whether peak_rss_delta_bytes was sampled, and so is a lower bound only.
        floor_rss_bytes: resident size of the process at rest, everything imported.
        peak_device_allocated_bytes: most that tensors took of an accelerator's memory.
        peak_device_reserved_bytes: most that torch's allocator held of it.
        peak_device_used_bytes: most that was taken of it by all there is, over what was taken before.
        allocation_retries: how often the accelerator's allocator had to empty its cache and try again.
        allocator: settings of the accelerator's allocator.
        search: all runs of a target pass.
        profile: what a profile pass read.
        gradient_difference: norm of the difference between the accumulated gradient and the same gradient in float64, over
            the norm of the latter; of a cell with micro-batches.
    """

    status: Status
    phase: Phase | None = None
    message: str | None = None
    lr: float | None = None
    round_s: tuple[float, ...] = ()
    round_cpu_s: tuple[float, ...] = ()
    round_event_s: tuple[float, ...] = ()
    meter: tuple[float, ...] = ()
    steps_per_round: int | None = None
    samples_per_round: int | None = None
    epochs_per_round: int | None = None
    epoch_start_s: tuple[float, ...] = ()
    warmup_s: float | None = None
    warmup_steps: int | None = None
    cell_s: float | None = None
    measuring_s: float | None = None
    evaluation_s: float | None = None
    curve: Curve | None = None
    minor_faults: int | None = None
    limit_bytes: int | None = None
    predicted_peak_bytes: int | None = None
    oom_by: OomBy | None = None
    peak_tensor_bytes: int | None = None
    setup_peak_tensor_bytes: int | None = None
    peak_rss_delta_bytes: int | None = None
    rss_sampled: bool | None = None
    floor_rss_bytes: int | None = None
    peak_device_allocated_bytes: int | None = None
    peak_device_reserved_bytes: int | None = None
    peak_device_used_bytes: int | None = None
    allocation_retries: int | None = None
    allocator: str | None = None
    gradient_difference: float | None = None
    search: Search | None = None
    profile: Profile | None = None

    def epochs_s(self, n_samples: int) -> tuple[float, ...]:
        """Return the seconds of one epoch of `n_samples` rows, once per round.

        A round of whole epochs is divided by their number. A round inside an epoch is scaled by its rows, and one epoch
        start (the median of those measured) is added, since none lies inside its clock.
        """
        if self.epochs_per_round is None or self.samples_per_round is None:
            return ()
        if self.epochs_per_round:
            return tuple(seconds / self.epochs_per_round for seconds in self.round_s)
        if not self.epoch_start_s:  # a smoke run starts none: what an epoch takes is not known
            return ()
        start = statistics.median(self.epoch_start_s)
        return tuple(start + seconds * n_samples / self.samples_per_round for seconds in self.round_s)

    def steps_s(self) -> tuple[float, ...]:
        """Return the seconds of one step, the epoch starts inside a round taken out, once per round.

        Empty where that is not known: noise can make the starts, which are timed apart, longer than a round of tiny epochs.
        """
        if self.epochs_per_round is None or self.steps_per_round is None:
            return ()
        inside = self.epochs_per_round * statistics.median(self.epoch_start_s or (0.0,))
        steps = tuple((seconds - inside) / self.steps_per_round for seconds in self.round_s)
        return steps if all(step > 0 for step in steps) else ()


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when it was measured. No host name, user name or path.

    Attributes:
        identity: what must be equal for two records to be compared: processor, its flags (hashed), cores, caches, memory,
            accelerators, driver, torch build, system, Python.
        commit: of the working directory's repository, None outside one.
        diff: hash of its uncommitted changes, None where there are none.
        version: of mbbench.
        time: when the run began, ISO 8601 in UTC.
        load_1m: processes running or waiting in the last minute, when the run began.
        governor: of the processor's clock, None where it cannot be read.
    """

    identity: dict[str, str | int | None]
    commit: str | None
    diff: str | None
    version: str
    time: str
    load_1m: float | None
    governor: str | None

    @property
    def fingerprint(self) -> str:
        """Hash the identity alone: equal on one machine from run to run, whatever its clocks do."""
        return digest(msgspec.json.encode(self.identity, order="sorted"))


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One pass over one cell in one fresh process, with all that is needed to repeat and to judge it.

    Attributes:
        run_id: the same for all records of one command.
        kind: which pass, see `Kind`.
        repeat: 0, 1, 2 ...: which fresh process of this cell.
        source: hash of the file that defines the problem.
        budget: limits of the pass, for a time pass the seconds of measuring.
        case: what was asked for.
        measurement: what came out.
        environment: where and when.
        schema: version of this layout.
    """

    run_id: str
    kind: Kind
    repeat: int
    source: str
    budget: Budget
    case: Cell
    measurement: Measurement
    environment: Environment
    schema: int = SCHEMA

    @property
    def problem_source(self) -> str:
        """Hash of the problem alone."""
        return self.source.partition(OWN_SOURCE)[0]

    @property
    def own_sources(self) -> dict[str, str]:
        """Hash of each loader, optimizer ... that is the user's own, by its name."""
        return dict(zip(self.case.own_names, self.source.split(OWN_SOURCE)[1:], strict=False))

    @property
    def key(self) -> tuple[str, ...]:
        """What must be equal for a record to stand in for measuring again."""
        env = self.environment
        return key(self.kind, self.case, self.repeat, self.source, self.budget, env)


def key(kind: Kind, case: Cell, repeat: int, source: str, budget: Budget, env: Environment) -> tuple[str, ...]:
    """Return what identifies a measurement: pass, cell, repeat, problem source, budget, code and machine."""
    # As floats, since JSON gives back 1.0 s where 1 s was asked for.
    limits = ",".join("" if limit is None else repr(float(limit)) for limit in msgspec.structs.astuple(budget))
    return (kind, str(case), str(repeat), source, limits, *code_state(env), env.fingerprint)


def code_state(env: Environment) -> tuple[str, str, str]:
    """Return commit, uncommitted changes and mbbench's version: what the measured code depends on."""
    return (env.commit or "", env.diff or "", env.version)


def digest(content: bytes) -> str:
    """Return the first 12 hexadecimal digits of SHA-256: 48 bits, enough to tell machines and files apart."""
    return hashlib.sha256(content).hexdigest()[:12]


def encode(record: Record) -> bytes:
    """Return the record as one line of JSON, newline included."""
    return msgspec.json.encode(record) + b"\n"


def decode(line: bytes) -> Record:
    """Read one line of JSON of this or an older schema.

    Raises:
        ValueError: the line is not a record, or of a schema that this version does not know yet.
    """
    try:
        raw = msgspec.json.decode(line)
        if not isinstance(raw, dict):
            raise ValueError(f"a record is a JSON object, not {type(raw).__name__}")
        if isinstance(raw.get("schema"), int) and raw["schema"] > SCHEMA:
            raise ValueError(f"its schema is {raw['schema']}, this mbbench reads up to {SCHEMA}: update mbbench")
        return msgspec.convert(raw, Record)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a record, as published in docs/record.schema.json."""
    return msgspec.json.schema(Record)
