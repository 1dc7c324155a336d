"""Pool the records of one cell over its repeats and seeds, and put cells that may be compared into one setting.

Easy to get wrong: what may be compared. Two pools stand in one setting if they differ in batch size, micro-batch and loader
and in nothing else; a setting has a title that tells it from the others. A full batch in micro-batches is full batch: it
makes as many updates, from the same gradient; only time and memory are its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import msgspec

from mbbench.case import Cell
from mbbench.placing import placed
from mbbench.record import Kind, Record
from mbbench.reporting import readable
from mbbench.reporting.stats import Estimate, from_repeats

CONTENDED = 1.05
"""Wall seconds for each CPU second of one thread: above, the process did not have its core to itself."""
CURVES = ("ok", "budget_exhausted")
"""Statuses of a loss curve that ended where it was meant to."""


@dataclass(frozen=True)
class Pool:
    """All records of one cell, apart from seed and repeat.

    Attributes:
        cell: what was asked for, with the first seed.
        timings: its time records.
        trainings: its convergence records.
        memories: its memory records.
        searches: the target records that belong to it, see `placing.py`; each may belong to several pools.
        races: its race records.
        profiles: its profile records.
    """

    cell: Cell
    timings: tuple[Record, ...]
    trainings: tuple[Record, ...]
    memories: tuple[Record, ...] = ()
    searches: tuple[Record, ...] = ()
    races: tuple[Record, ...] = ()
    profiles: tuple[Record, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """Every record of it."""
        return self.timings + self.trainings + self.memories + self.searches + self.races + self.profiles

    @property
    def name(self) -> str:
        """Name it within its setting where there are several loaders: "batch 32 with slice"."""
        return f"{self.batch} with {self.cell.loader}"

    @property
    def batch(self) -> str:
        """Name its batch size: "batch 32", "full batch", "full batch in micro-batches of 64"."""
        return readable.batch(self.cell.batch_size, self.cell.micro_batch)

    @property
    def whole(self) -> bool:
        """Whether each update comes from one forward pass, and is not accumulated over micro-batches."""
        return self.cell.micro_batch is None

    @cached_property
    def repeats(self) -> tuple[tuple[float, ...], ...]:
        """Seconds of an epoch, once per round, for each repeat that was timed."""
        return tuple(r.measurement.epochs_s(self.cell.n_samples) for r in self.timings if timed(r))

    @cached_property
    def epoch_s(self) -> Estimate | None:
        """Seconds of an epoch, None where no repeat was timed."""
        return from_repeats(self.repeats, "s") if self.repeats else None

    @cached_property
    def step_s(self) -> Estimate | None:
        """Seconds of a step, None where no repeat was timed or where epoch starts are all that was timed."""
        steps = [r.measurement.steps_s() for r in self.timings if timed(r)]
        return from_repeats(steps, "s") if steps and all(min(rounds, default=0) > 0 for rounds in steps) else None

    @property
    def finished(self) -> tuple[Record, ...]:
        """Trainings whose curve ended where it was meant to."""
        return tuple(r for r in self.trainings if r.measurement.status in CURVES and r.measurement.curve)

    def status(self, kind: Kind) -> str:
        """Return how its records of a pass ended, each way named once, "ok" first; "" where there are none."""
        found = {record.measurement.status for record in self.records if record.kind == kind}
        return ", ".join(sorted(found, key=lambda status: (status != "ok", status)))


@dataclass(frozen=True)
class Setting:
    """Pools that differ in batch size, micro-batch and loader only.

    Attributes:
        title: what they have in common: "linear, n = 8,192, CPU, 1 thread".
        pools: by loader, then by batch size, then by micro-batch, none before any.
    """

    title: str
    pools: tuple[Pool, ...]

    @property
    def timed(self) -> tuple[Pool, ...]:
        """Pools with a time."""
        return tuple(pool for pool in self.pools if pool.repeats)

    @property
    def records(self) -> tuple[Record, ...]:
        """Every record of every pool, once."""
        return once(record for pool in self.pools for record in pool.records)

    @property
    def loaders(self) -> tuple[str, ...]:
        """Loaders asked for, in order."""
        return tuple(dict.fromkeys(pool.cell.loader for pool in self.pools))

    def find(self, batch_size: int | None, loader: str, micro_batch: int | None = None) -> Pool | None:
        """Return the pool of a batch size, a loader and a micro-batch, None where it was not asked for."""
        cells = ((pool, pool.cell) for pool in self.pools)
        wanted = (batch_size, loader, micro_batch)
        return next((pool for pool, cell in cells if (cell.batch_size, cell.loader, cell.micro_batch) == wanted), None)

    def name(self, pool: Pool) -> str:
        """Name one of its pools: by its loader only where there are several."""
        return pool.name if len(self.loaders) > 1 else pool.batch


def timed(record: Record) -> bool:
    """Return whether a record holds times that may be used."""
    measurement = record.measurement
    return record.kind == "time" and measurement.status == "ok" and bool(measurement.epochs_s(1))


def contended(record: Record) -> bool | None:
    """Return whether a timed record did not have its core to itself; None where that cannot be told.

    It can be told on the CPU with one thread: there, wall seconds are CPU seconds unless something else ran.
    """
    measurement = record.measurement
    if not timed(record) or record.case.device != "cpu" or record.case.threads != 1:
        return None
    pairs = zip(measurement.round_s, measurement.round_cpu_s, strict=False)
    shares = sorted(wall / cpu for wall, cpu in pairs if cpu > 0)
    return shares[len(shares) // 2] > CONTENDED if shares else None


def pools(records: Iterable[Record]) -> list[Pool]:
    """Return the records as pools, ordered as a reader looks for them: by problem, n, device, loader, batch size."""
    found: dict[str, list[tuple[Cell, Record]]] = {}
    for cell, record in placed(records):
        found.setdefault(str(unseeded(cell)), []).append((cell, record))
    made = [_pool(of_one_cell) for of_one_cell in found.values()]
    return sorted(made, key=lambda pool: (common(pool.cell), pool.cell.loader != "slice", _place(pool.cell)))


def settings(records: Iterable[Record]) -> list[Setting]:
    """Return the records as settings, in the order of `pools`."""
    found: dict[tuple[object, ...], list[Pool]] = {}
    for pool in pools(records):
        found.setdefault(common(pool.cell), []).append(pool)
    return [Setting(title(several[0].cell), tuple(several)) for several in found.values()]


def unseeded(cell: Cell) -> Cell:
    """Return the cell with seed 0: what all its seeds have in common."""
    return msgspec.structs.replace(cell, seed=0)


def once(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return the records, one that belongs to several pools only once."""
    return tuple({id(record): record for record in records}.values())


def _pool(pairs: list[tuple[Cell, Record]]) -> Pool:
    ordered = sorted(pairs, key=lambda pair: (pair[1].case.seed, pair[1].repeat, str(pair[1].case)))
    kinds: tuple[Kind, ...] = ("time", "convergence", "memory", "target", "race", "profile")
    cell = next((cell for cell, record in ordered if record.kind != "target"), ordered[0][0])
    return Pool(cell, *(tuple(record for _, record in ordered if record.kind == kind) for kind in kinds))


def _place(cell: Cell) -> tuple[str, int, bool, int]:
    return cell.loader, cell.samples_per_step, cell.batch_size is None, cell.micro_batch or 0


def common(cell: Cell) -> tuple[object, ...]:
    """Return what two cells of one setting have in common, sortable: no learning rate becomes 0, below every real one."""
    about = (cell.problem, cell.n_samples, cell.device, cell.threads, cell.optimizer, cell.lr or 0.0, cell.dtype)
    return (*about, not cell.shuffle, cell.options)


def title(cell: Cell) -> str:
    """Return what the cells of a setting have in common, in words: "linear, n = 8,192, CPU, 1 thread"."""
    return ", ".join([cell.problem, f"n = {cell.n_samples:,}", device(cell), *unusual(cell)])


def device(cell: Cell) -> str:
    """Return where a cell runs, in words: "CPU, 2 threads", "CUDA:1"."""
    return f"CPU, {readable.plural(cell.threads, 'thread')}" if cell.device == "cpu" else cell.device.upper()


def unusual(cell: Cell) -> list[str]:
    """Return in words what a cell was asked for that is no default, beside sizes, loader and device."""
    parts = []
    if cell.optimizer != "sgd":
        parts.append(cell.optimizer)
    if cell.lr is not None:
        parts.append(f"learning rate {cell.lr:g}")
    if cell.dtype != "float32":
        parts.append(cell.dtype)
    if not cell.shuffle:
        parts.append("rows in order")
    return parts + [f"{name} = {value}" for name, value in cell.options]
