"""What is trained: a model, a loss and rows. The built-in problems are in `builtin.py`; a user's own is found by name.

Easy to get wrong: everything random follows from a seed and is made on the CPU, so that one seed gives the same tensors
on every device.
"""

import copy
import dataclasses
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from mbbench.case import UsageError, check_problem
from mbbench.measuring import given, nested, stepping
from mbbench.measuring.files import Files, Stored, choose
from mbbench.measuring.given import Given, Taking
from mbbench.measuring.items import Items
from mbbench.measuring.modules import load_attribute
from mbbench.measuring.modules import source_of as source_of
from mbbench.measuring.nested import Nested
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

    x: Nested
    y: Nested
    heldout: Given | None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A model, a loss and data.

    Attributes:
        model: makes the model, called once per run after torch's generator was seeded; or a module, copied for each run
            (then every seed starts from the same parameters). Several features, in a tuple or a mapping, are handed to it
            one by one, or by name.
        loss: (prediction, target) -> scalar, the *mean* over rows.
        step: instead of a loss: (model, batch) -> the mean loss over the rows of a whole batch. Without loss and step the
            model is called with the batch, by name if it is a mapping, and answers with an object that has a `.loss`, as
            those of Hugging Face do.
        data: features and targets as tensors or numpy arrays (features also a tuple or mapping of several); a mapping of
            them, the whole batch of a step; a pandas, polars or Arrow table with `target`; a map-style data set; Files; or a
            function (n, seed) -> n rows of one of the first three.
        target: name of the column, or names of the columns, to be predicted. One of integers gives class labels of shape
            (n,); one of floats, or a list of names, a matrix.
        features: names of the columns that are features; None: all but the target.
        collate: several items of a data set -> a batch; None: torch's default. The loader "dataloader" collates batch by
            batch, the others all rows at once.
        name: in records, of a problem that is handed to `mbbench.run` as an object: "python:name".
        lr: learning rate where none is asked for.
        target_loss: full training loss that counts as trained, or None.
        held_out: share of the rows kept for the held-out loss. Of given rows the last share of a seeded order, of files
            an even share of all their parts (`files.choose`), and none where a case asks for more rows than the rest; of a
            function additional rows.
        n_samples: training rows where none are asked for; None: all there are but the held-out ones, 1000 of a function.
        optimum_loss: the least possible full training loss, where it is known.
        curvature: smallest and largest eigenvalue of the loss's Hessian, where they are known; plain gradient descent
            diverges from lr = 2 / largest on.
        weight: (features, targets), or (batch) of a step, -> how much the mean loss of these rows counts in an update of
            micro-batches and in an evaluation of several chunks, above 0 for each; None: their number. For a loss that is a
            mean over something else, as tokens that are not padding. The sum is needed before the first backward, so an
            update's micro-batches are there at once: views for the loader "slice", for every other copies of the batch's
            rows.
    """

    model: nn.Module | Callable[[], nn.Module]
    data: Any
    loss: Callable[[Any, Any], Tensor] | None = None
    step: Callable[[nn.Module, Any], Tensor] | None = None
    target: str | Sequence[str] | None = None
    features: str | Sequence[str] | None = None
    collate: Callable[[list[Any]], Any] | None = None
    name: str = "problem"
    lr: float = 0.01
    target_loss: float | None = None
    held_out: float = 0.2
    n_samples: int | None = None
    optimum_loss: float | None = None
    curvature: tuple[float, float] | None = field(default=None)
    weight: Callable[..., float | Tensor] | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without running anything; raise UsageError."""
        if not callable(self.model):
            raise UsageError(f"model is a {type(self.model).__name__}: give a torch module, or a function that makes one")
        if self.loss is not None and self.step is not None:
            raise UsageError("both loss and step are given: a step computes the loss itself, give one of them")
        for name, what in (("loss", "(prediction, target)"), ("step", "(model, batch)")):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise UsageError(f"{name} is a {type(getattr(self, name)).__name__}: give a function {what} -> mean loss")
        # Records hold plain numbers; object.__setattr__, since the class is frozen.
        object.__setattr__(self, "lr", float(self.lr))
        if not 0 < self.lr < math.inf:
            raise UsageError(f"lr is {self.lr}: expected a finite learning rate above 0")
        if self.n_samples is not None:
            object.__setattr__(self, "n_samples", operator.index(self.n_samples))
            if self.n_samples < 1:
                raise UsageError(f"n_samples is {self.n_samples}: expected a whole number from 1 up")
        if not self.name.isidentifier():
            raise UsageError(f"name is {self.name!r}: expected letters, digits and underscores")
        if not 0 <= self.held_out < 1:
            raise UsageError(f"held_out is {self.held_out}: expected a share of the rows, from 0 up to but not 1")
        if not (self.weight is None or callable(self.weight)):
            raise UsageError(f"weight is a {type(self.weight).__name__}: give a function (features, targets) -> a number")
        object.__setattr__(self, "data", given.taken(self.data, self._taking))

    @property
    def _taking(self) -> Taking:
        return Taking(self.loss is None, self.features, self.target, self.collate)

    @property
    def criterion(self) -> Callable[[Any, Any], Tensor]:
        """(prediction, target) -> scalar; of a step, whose model answers with the loss, that answer."""
        return stepping.answer if self.loss is None else self.loss

    @property
    def weigh(self) -> Callable[[Nested, Nested], float | Tensor] | None:
        """How much rows count, of features and targets as they are trained on."""
        weight = self.weight
        return weight if weight is None or self.loss is not None else lambda batch, _: weight(batch)

    def on(self, rows: Given) -> Self:
        """Return the same problem on these rows, none of them held out."""
        return dataclasses.replace(self, data=rows, collate=None, features=None, target=None, held_out=0.0)

    @property
    def most_samples(self) -> int | None:
        """Rows there are, or None where any number can be made."""
        if isinstance(self.data, Files | Items):
            return len(self.data)
        return nested.count(self.data) if isinstance(self.data, Given) else None

    @property
    def default_samples(self) -> int:
        """Training rows where none are asked for."""
        if self.n_samples is not None:
            return self.n_samples
        total = self.most_samples
        return 1000 if total is None else total - int(self.held_out * total)

    def sample(self, rows: int, seed: int) -> Given:
        """Return a few rows cheaply: the first ones of what is given or would be made."""
        if isinstance(self.data, Files):
            return Given(*self.data.read(0, min(rows, len(self.data))))
        if isinstance(self.data, Items):
            return Given(*self.data.of(range(min(rows, len(self.data)))).load())
        few = self.data if isinstance(self.data, Given) else self._few(rows, seed)
        return Given(*nested.cut(few, 0, rows))

    def _few(self, rows: int, seed: int) -> Given:
        few = max(rows, min(self.default_samples, SAMPLE_ROWS))
        try:
            return given.given(self.data(few, seed), self._taking)
        except UsageError:  # linear-d2000 makes no fewer rows than features
            return given.given(self.data(self.default_samples, seed), self._taking)

    def rows(self, n: int, seed: int) -> Rows:
        """Return `n` training rows, and held-out rows if any are left or can be made.

        Raises:
            UsageError: fewer than `n` rows are there, or the data function returned something else than asked for.
        """
        if isinstance(self.data, Files | Items):
            chosen, others = self.stored(n, seed)
            x, y = chosen.load()
            return Rows(x, y, None if others is None else Given(*others.load()))
        if not isinstance(self.data, Given):
            return self._made(n, seed)
        held = self._held(n)
        if n == nested.count(self.data):  # known answers need all rows, in their stored order
            return Rows(self.data.x, self.data.y, None)
        train, held_out = self._chosen(n, held, seed)
        x, y = _picked(self.data, train)
        return Rows(x, y, _picked(self.data, held_out) if held else None)

    def _made(self, n: int, seed: int) -> Rows:
        extra = min(int(self.held_out * n) + 1, 10_000) if self.held_out else 0
        made = given.given(self.data(n + extra, seed), self._taking)
        if nested.count(made) != n + extra:
            raise UsageError(f"data({n + extra}, {seed}) returned {nested.count(made)} rows")
        x, y = nested.cut(made, 0, n)
        return Rows(x, y, Given(*nested.cut(made, n, n + extra)) if extra else None)

    def _chosen(self, n: int, held: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return the numbers of the rows that are trained on and of those that are held out, both in their stored order."""
        total = self.most_samples or 0
        order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
        return order[:n].sort().values, order[total - held :].sort().values

    def stored(self, n: int, seed: int) -> tuple[Stored | Items, Stored | Items | None]:
        """Return which rows of the problem's files or items are trained on, and which are held out if any are left.

        None is read or made.

        Raises:
            UsageError: fewer than `n` rows are there.
        """
        held = self._held(n)
        if isinstance(self.data, Files):
            return choose(self.data, n, held, seed)
        assert isinstance(self.data, Items)
        if n == len(self.data):
            return self.data, None
        train, held_out = self._chosen(n, held, seed)
        return self.data.of(train.tolist()), self.data.of(held_out.tolist()) if held else None

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
            model = copy.deepcopy(self.model)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = self.model()
        if not isinstance(model, nn.Module):
            raise UsageError(f"model() returned a {type(model).__name__}: expected a torch module")
        return model.train()

    def call(self, x: Nested) -> stepping.Call | None:
        """Return how a model is called with features such as these; None: as it is, with one tensor."""
        if self.loss is None:
            return self.step or stepping.own_loss
        return None if isinstance(x, Tensor) else stepping.spread


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
    module, found = load_attribute(location or name, "a mbbench.Problem")
    if not isinstance(found, Problem) and callable(found):
        found = found()
    if not isinstance(found, Problem):
        raise UsageError(f"{name} is a {type(found).__name__}: expected a mbbench.Problem or a function that returns one")
    folder = Path(module.__file__ or ".").parent
    return found, source_of(folder, module.__file__)


def _picked(rows: Given, chosen: Tensor) -> Given:
    return Given(*nested.mapped(rows, lambda each: each.index_select(0, chosen.to(each.device))))
