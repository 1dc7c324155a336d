"""What is trained: a model, a loss and rows. The built-in problems are in `builtin.py`; a user's own is found by name.

Easy to get wrong: everything random follows from a seed and is made on the CPU, so that one seed gives the same tensors
on every device.
"""

import copy
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from mbbench.case import UsageError, check_problem
from mbbench.measuring.files import Files, Stored, choose
from mbbench.measuring.files import Pair as Pair
from mbbench.measuring.modules import load_file, load_module
from mbbench.measuring.modules import source_of as source_of
from mbbench.record import digest

SAMPLE_ROWS = 1000
"""Most rows that a function is asked for where a few will do, unless it refuses so few."""


@dataclass(frozen=True)
class Rows:
    """Training rows and, where the problem has them, held-out rows.

    Attributes:
        x: features, first dimension n.
        y: targets, first dimension n.
        heldout: features and targets never trained on, or None.
    """

    x: Tensor
    y: Tensor
    heldout: Pair | None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A model, a loss and data.

    Attributes:
        model: makes the model, called once per run after torch's generator was seeded; or a module, copied for each run
            (then every seed starts from the same parameters).
        loss: (prediction, target) -> scalar, the *mean* over rows.
        data: features and targets as tensors; or a function (n, seed) -> features and targets of n rows; or Files.
        lr: learning rate where none is asked for.
        target_loss: full training loss that counts as trained, or None.
        held_out: share of the rows kept for the held-out loss. Of given tensors the last share of a seeded order, of files
            an even share of all their parts (`files.choose`), and none where a case asks for more rows than the rest; of a
            function additional rows.
        n_samples: training rows where none are asked for; None: all there are but the held-out ones, 1000 of a function.
        optimum_loss: the least possible full training loss, where it is known.
        curvature: smallest and largest eigenvalue of the loss's Hessian, where they are known; plain gradient descent
            diverges from lr = 2 / largest on.
        weight: (features, targets) -> how much the mean loss of these rows counts in an update of micro-batches and in an
            evaluation of several chunks, above 0 for each; None: their number. For a loss that is a mean over something
            else, as tokens that are not padding. The sum is needed before the first backward, so an update's micro-batches
            are there at once: views for the loader "slice", for every other copies of the batch's rows.
    """

    model: nn.Module | Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    data: Pair | Files | Callable[[int, int], Pair]
    lr: float = 0.01
    target_loss: float | None = None
    held_out: float = 0.2
    n_samples: int | None = None
    optimum_loss: float | None = None
    curvature: tuple[float, float] | None = field(default=None)
    weight: Callable[[Tensor, Tensor], float | Tensor] | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without running anything; raise UsageError."""
        if not callable(self.model):
            raise UsageError(f"model is a {type(self.model).__name__}: give a torch module, or a function that makes one")
        if not callable(self.loss):
            raise UsageError(f"loss is a {type(self.loss).__name__}: give a function (prediction, target) -> mean loss")
        # Records hold plain numbers; object.__setattr__, since the class is frozen.
        object.__setattr__(self, "lr", float(self.lr))
        if not 0 < self.lr < math.inf:
            raise UsageError(f"lr is {self.lr}: expected a finite learning rate above 0")
        if self.n_samples is not None:
            object.__setattr__(self, "n_samples", operator.index(self.n_samples))
            if self.n_samples < 1:
                raise UsageError(f"n_samples is {self.n_samples}: expected a whole number from 1 up")
        if not 0 <= self.held_out < 1:
            raise UsageError(f"held_out is {self.held_out}: expected a share of the rows, from 0 up to but not 1")
        if not (self.weight is None or callable(self.weight)):
            raise UsageError(f"weight is a {type(self.weight).__name__}: give a function (features, targets) -> a number")
        if not (callable(self.data) or isinstance(self.data, Files)):
            x, y = _pair(self.data)
            if len(x) != len(y):
                raise UsageError(f"data has {len(x)} rows of features and {len(y)} targets: give as many of each")

    @property
    def most_samples(self) -> int | None:
        """Rows there are, or None where any number can be made."""
        if isinstance(self.data, Files):
            return len(self.data)
        return None if callable(self.data) else len(self.data[0])

    @property
    def default_samples(self) -> int:
        """Training rows where none are asked for."""
        if self.n_samples is not None:
            return self.n_samples
        total = self.most_samples
        return 1000 if total is None else total - int(self.held_out * total)

    def sample(self, rows: int, seed: int) -> Pair:
        """Return a few rows cheaply: the first ones of what is given or would be made."""
        if isinstance(self.data, Files):
            return self.data.read(0, min(rows, len(self.data)))
        if not callable(self.data):
            return self.data[0][:rows], self.data[1][:rows]
        few = max(rows, min(self.default_samples, SAMPLE_ROWS))
        try:
            x, y = _pair(self.data(few, seed))
        except UsageError:  # linear-d2000 makes no fewer rows than features
            x, y = _pair(self.data(self.default_samples, seed))
        return x[:rows], y[:rows]

    def rows(self, n: int, seed: int) -> Rows:
        """Return `n` training rows, and held-out rows if any are left or can be made.

        Raises:
            UsageError: fewer than `n` rows are there, or the data function returned something else than asked for.
        """
        if isinstance(self.data, Files):
            train, held_out = self.stored(n, seed)
            return Rows(*train.load(), None if held_out is None else held_out.load())
        if callable(self.data):
            extra = min(int(self.held_out * n) + 1, 10_000) if self.held_out else 0
            x, y = _pair(self.data(n + extra, seed))
            if len(x) != n + extra or len(y) != n + extra:
                raise UsageError(f"data({n + extra}, {seed}) returned {len(x)} rows and {len(y)} targets")
            return Rows(x[:n], y[:n], (x[n:], y[n:]) if extra else None)
        x, y = self.data
        held = self._held(n)
        if n == len(x):  # known answers need all rows, in their stored order
            return Rows(x, y, None)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        return Rows(*_picked(x, y, order[:n]), _picked(x, y, order[len(x) - held :]) if held else None)

    def stored(self, n: int, seed: int) -> tuple[Stored, Stored | None]:
        """Return which rows of the problem's files are trained on, and which are held out if any are left; none is read.

        Raises:
            UsageError: fewer than `n` rows are there.
        """
        assert isinstance(self.data, Files)
        return choose(self.data, n, self._held(n), seed)

    def _held(self, n: int) -> int:
        """Return how many rows are held out beside n that are trained on; raise UsageError where n is too many."""
        total = self.most_samples or 0
        if n > total:
            raise UsageError(f"n is {n}, but the data set has {total} samples: use {total} or fewer")
        held = int(self.held_out * total)
        return held if held <= total - n else 0

    def start(self, seed: int) -> nn.Module:
        """Return the model as it is before the first step, made on the CPU, in training mode."""
        if isinstance(self.model, nn.Module):
            return copy.deepcopy(self.model).train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.model()
        if not isinstance(model, nn.Module):
            raise UsageError(f"model() returned a {type(model).__name__}: expected a torch module")
        return model.train()


def resolve(name: str, location: str | None = None) -> tuple[Problem, str]:
    """Find a problem by its name.

    Args:
        name: a built-in name, "file.py:name" or "package.module:name"; `name` is a Problem or a function that returns one.
        location: where the file is, if the name (which goes into records) does not say it.

    Returns:
        The problem, and a hash of the file that defines it and of the modules beside it that it imports.

    Raises:
        UsageError: there is no such problem, or it is not one.
    """
    if ":" not in name:
        check_problem(name)
        from mbbench.measuring import builtin  # here, since it imports Problem from this module

        return builtin.make(name), digest(Path(builtin.__file__).read_bytes())
    check_problem(name)
    target, attribute = (location or name).rsplit(":", 1)
    module = load_file(Path(target)) if target.endswith(".py") else load_module(target)
    found = getattr(module, attribute, None)
    if found is None:
        raise UsageError(f"{Path(target).name} has no attribute {attribute!r}: give the name of a mbbench.Problem in it")
    if not isinstance(found, Problem) and callable(found):
        found = found()
    if not isinstance(found, Problem):
        raise UsageError(f"{name} is a {type(found).__name__}: expected a mbbench.Problem or a function that returns one")
    folder = Path(module.__file__ or ".").parent
    return found, source_of(folder, module.__file__)


def _picked(x: Tensor, y: Tensor, rows: Tensor) -> Pair:
    chosen = rows.sort().values
    return x.index_select(0, chosen.to(x.device)), y.index_select(0, chosen.to(y.device))


def _pair(data: object) -> Pair:
    if not (isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)):
        raise UsageError(f"data is a {type(data).__name__}: expected two tensors, features and targets")
    return data[0], data[1]
