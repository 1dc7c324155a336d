"""Say what is to be measured: one cell of the grid, and the limits it runs under.

A `Cell` is what somebody asked for; a `Case` is a cell that can be run. They differ in one check only: a cell may ask
for a batch larger than its data set (a grid over several n does), and then ends in the results as `not_applicable`.
Everything else is checked here, where the value is made, and trusted afterwards. Neither torch nor pandas is imported.
"""

import difflib
import math
import re
from collections.abc import Collection
from typing import Any, Self

import msgspec

from mbbench.options import OPTIONS as OPTIONS
from mbbench.options import OWN_OPTIONS, check_option
from mbbench.usage import UsageError as UsageError
from mbbench.usage import check_name as check_name
from mbbench.usage import check_relative

PROBLEMS = {
    "notebook": "the notebook's 5 rows, nn.Linear(3, 1), squared error",
    "linear": "planted least squares, 32 features (linear-d128: 128), condition number 100, known optimum",
    "diabetes": "real, 442 x 10, linear regression",
    "breast-cancer": "real, 569 x 30, logistic regression",
    "digits-softmax": "real, 1797 x 64, softmax regression",
    "digits-mlp": "real, 1797 x 64, one hidden layer of 32",
    "digits-cnn": "real, 1797 x 64, two convolutions",
    "mlp": "planted, any n, two hidden layers of 256 (mlp-w1024: 1024)",
}
SIZED = re.compile(r"(linear)-d([1-9]\d*)|(mlp)-w([1-9]\d*)")
"""Built-in problems whose number of features (linear) or width (mlp) is chosen by name: `linear-d128`, `mlp-w1024`."""
LOADERS = {
    "slice": "shuffle all rows once per epoch, then views",
    "gather": "pick each batch's rows by index",
    "dataloader": "torch's DataLoader, one __getitem__ per row, as in the notebook",
    "dataloader-batched": "torch's DataLoader, one __getitems__ per batch",
    "stream": "rows of a file, read in chunks in random order and shuffled inside a window",
}
OPTIMIZERS = {"sgd": "plain SGD", "momentum": "SGD with momentum 0.9", "adam": "Adam, torch's defaults"}
DTYPES = ("float32", "float64", "bfloat16", "float16")
FULL = "full"


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the grid as requested.

    Attributes:
        problem: a built-in name, "file.py:name" or "package.module:name".
        n_samples: rows of the training set.
        batch_size: samples per parameter update; None is the full batch.
        micro_batch: samples per forward pass (gradient accumulation); None is the whole batch.
        loader: how rows reach the model, one of `LOADERS`, or the user's own as "file.py:name" or "module:name".
        optimizer: one of `OPTIMIZERS`, or the user's own likewise.
        lr: learning rate; None is the problem's own (the record says which it was).
        device: "cpu", "cuda", "cuda:1", "mps" ...
        dtype: one of `DTYPES`.
        threads: threads of one operation (torch.set_num_threads).
        seed: of the data, the model's start and the order of the rows.
        shuffle: a new order of the rows in every epoch.
        options: sorted pairs (name, value) that differ from the default.
    """

    problem: str
    n_samples: int
    batch_size: int | None = None
    micro_batch: int | None = None
    loader: str = "slice"
    optimizer: str = "sgd"
    lr: float | None = None
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    seed: int = 0
    shuffle: bool = True
    options: tuple[tuple[str, str], ...] = ()

    @property
    def samples_per_step(self) -> int:
        """Rows of one update; the last update of an epoch may have fewer."""
        return self.n_samples if self.batch_size is None else self.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Updates per epoch, a ragged last one included: ceil(n / batch)."""
        return math.ceil(self.n_samples / self.samples_per_step)

    @property
    def applicable(self) -> bool:
        """Whether the data set has enough rows for one batch."""
        return self.samples_per_step <= self.n_samples

    def __eq__(self, other: object) -> bool:
        """Compare by fields: a Cell from a file and the Case it was measured as are one cell."""
        return isinstance(other, Cell) and msgspec.structs.astuple(self) == msgspec.structs.astuple(other)

    def __hash__(self) -> int:
        """Hash by fields, as `__eq__` compares."""
        return hash(msgspec.structs.astuple(self))

    def option(self, name: str) -> str:
        """Return the value of an option, its default where none was given."""
        return dict(self.options).get(name, OPTIONS[name][0])

    @property
    def own_names(self) -> tuple[str, ...]:
        """What it names of the user's own beside the problem: loader, optimizer, schedule, metric, meter."""
        return tuple(name for name in (self.loader, self.optimizer, *map(self.option, OWN_OPTIONS)) if ":" in name)

    def __str__(self) -> str:
        """Name the cell: unique, readable, a pytest id, never a path."""
        parts = [
            self.problem,
            f"n{self.n_samples}",
            f"b{FULL if self.batch_size is None else self.batch_size}",
            self.loader,
        ]
        if self.micro_batch is not None:
            parts.append(f"micro{self.micro_batch}")
        if self.optimizer != "sgd":
            parts.append(self.optimizer)
        if self.lr is not None:
            parts.append(f"lr{float(self.lr)!r}")  # 1 and 1.0 are one cell: JSON reads either as 1.0
        if self.device != "cpu":
            parts.append(self.device)
        if self.dtype != "float32":
            parts.append(self.dtype)
        if self.threads != 1:
            parts.append(f"t{self.threads}")
        if self.seed != 0:
            parts.append(f"seed{self.seed}")
        if not self.shuffle:
            parts.append("ordered")
        parts += [f"{name}={value}" for name, value in self.options]
        return "-".join(parts).replace("/", ".").replace("\\", ".")


class Case(Cell, frozen=True, kw_only=True):
    """A cell that can be run: 1 <= micro_batch <= batch_size <= n_samples, and every name is known."""

    def __post_init__(self) -> None:
        """Check every field; raise UsageError with what came, what was expected and what to do."""
        check_cell(self)
        if not self.applicable:
            raise UsageError(
                f"batch_size is {self.batch_size}, but the data set has {self.n_samples} samples: "
                f'use {self.n_samples} or fewer, or "full"'
            )

    def on(self, **changes: Any) -> Self:
        """Return this case with some fields changed, checked again."""
        return msgspec.structs.replace(self, **changes)


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """When a training run ends: at the first limit it meets. At least one limit is given.

    Attributes:
        target_loss: end at the first evaluation with a full training loss at or below it.
        max_epochs: in passes over the data.
        max_steps: in parameter updates.
        max_seconds: of training, evaluations not counted.
        max_bytes: of memory that the cell may take beyond its process at rest; None: what the machine has free. It ends no
            run by itself.
    """

    target_loss: float | None = None
    max_epochs: int | None = None
    max_steps: int | None = None
    max_seconds: float | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check that there is a limit and that each can be met."""
        limits = {name: getattr(self, name) for name in self.__struct_fields__}
        ends = [name for name in limits if name != "max_bytes"]
        if all(limits[name] is None for name in ends):
            raise UsageError(f"a budget without a limit never ends: give one of {', '.join(ends)}")
        for name, limit in limits.items():
            if limit is not None and name in ("max_epochs", "max_steps", "max_bytes") and type(limit) is not int:
                raise UsageError(f"{name} is {limit!r}, a {type(limit).__name__}: expected a whole number")
            if limit is not None and not math.isfinite(limit):
                raise UsageError(f"{name} is {limit}: a limit is a finite number")
            if name != "target_loss" and limit is not None and limit <= 0:
                raise UsageError(f"{name} is {limit}: a limit is above 0")


def check_problem(problem: str) -> None:
    """Raise UsageError where `problem` is neither built in nor of the form "file.py:name" or "module:name"."""
    if problem not in PROBLEMS and not SIZED.fullmatch(problem) and ":" not in problem:
        near = difflib.get_close_matches(problem, PROBLEMS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        if problem.endswith(".py"):
            hint = f"a file needs the name in it too, as {problem}:problem; "
        raise UsageError(
            f"unknown problem {problem!r}: {hint}expected one of {', '.join(PROBLEMS)}, "
            'or your own as "my_model.py:problem" or "package.module:problem"'
        )


def check_cell(cell: Cell) -> None:
    """Check every field but whether there are enough rows; raise UsageError with what came and what was expected."""
    check_problem(cell.problem)
    check_relative("problem", cell.problem)
    _check_own("loader", cell.loader, LOADERS)
    _check_own("optimizer", cell.optimizer, OPTIMIZERS)
    check_name("dtype", cell.dtype, DTYPES)
    if not re.fullmatch(r"[a-z]+(:\d+)?", cell.device):
        raise UsageError(f'unknown device {cell.device!r}: expected "cpu", "cuda", "cuda:1", "mps" or "xpu"')
    for name in ("n_samples", "batch_size", "micro_batch", "threads", "seed"):
        value = getattr(cell, name)
        if type(value) is not int and not (value is None and name in ("batch_size", "micro_batch")):
            raise UsageError(f"{name} is {value!r}, a {type(value).__name__}: expected a whole number")
    for name in ("n_samples", "threads"):
        if getattr(cell, name) < 1:
            raise UsageError(f"{name} is {getattr(cell, name)}: expected a whole number from 1 up")
    if cell.seed < 0:
        raise UsageError(f"seed is {cell.seed}: expected a whole number from 0 up")
    if cell.lr is not None and not (isinstance(cell.lr, int | float) and 0 < cell.lr < math.inf):
        raise UsageError(f"lr is {cell.lr!r}: expected a finite learning rate above 0")
    _check_batch(cell)
    if cell.options != tuple(sorted(dict(cell.options).items())):
        raise UsageError(f"options are {cell.options}: expected sorted pairs, each name once")
    for name, value in cell.options:
        check_name("option", name, tuple(OPTIONS))
        check_option(name, value)
        if value == OPTIONS[name][0]:
            raise UsageError(f"option {name} is {value!r}, its default: leave it out")


def _check_own(what: str, name: str, known: Collection[str]) -> None:
    """Check a name that is known or the user's own."""
    if not isinstance(name, str):
        raise UsageError(f"{what} is a {type(name).__name__}: give its name, as my_model.py:name or package.module:name")
    if ":" not in name:
        check_name(what, name, known)
    check_relative(what, name)


def _check_batch(cell: Cell) -> None:
    if cell.batch_size is not None and cell.batch_size < 1:
        raise UsageError(f'batch_size is {cell.batch_size}: use 1 or more, or "full"')
    if cell.micro_batch is None:
        return
    if not 1 <= cell.micro_batch <= cell.samples_per_step:
        raise UsageError(f"micro_batch is {cell.micro_batch}: expected 1 to the batch size, here {cell.samples_per_step}")
    if cell.batch_size is not None and cell.batch_size % cell.micro_batch:
        # The loader hands out micro-batches; only whole numbers of them end where the batch ends.
        raise UsageError(
            f"batch_size {cell.batch_size} is not a multiple of micro_batch {cell.micro_batch}: "
            f"use {cell.batch_size // cell.micro_batch * cell.micro_batch} or a divisor as micro_batch"
        )
