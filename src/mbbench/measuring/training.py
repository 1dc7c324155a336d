"""THE training loop: full batch, mini-batch and gradient accumulation are one loop, and this is the code that is timed.

Easy to get wrong: the loss of a micro-batch is weighted by its rows over the update's rows (or as the problem weighs
them), as the starting gradient of `backward` (which costs nothing: a plain `backward()` makes a one there). A mean of
unequal batch means is another gradient. A ragged last mini-batch is an update of its own and keeps its own mean, as in
torch.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mbbench.case import Cell, UsageError
from mbbench.measuring.batches import Update, Weight, epochs
from mbbench.measuring.files import Files, Stored, window_rows
from mbbench.measuring.problems import Pair, Problem
from mbbench.record import Phase

EVALUATION_ROWS = (1024, 65_536)
"""Fewest and most rows per forward pass of an evaluation. Between them it takes as many as the training does: an evaluation
of all 10,000 rows broke the memory budget of cells whose training was within it."""


def train(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    updates: Iterable[Update],
) -> None:
    """Make one parameter update per element of `updates`."""
    for update in updates:
        optimizer.zero_grad()
        for x, y, weight in update:
            loss(model(x), y).backward(weight)  # type: ignore[no-untyped-call]
        optimizer.step()


@dataclass(frozen=True)
class Training:
    """All that training one case needs, ready on its device.

    Attributes:
        case: the case.
        model: at its start.
        loss: (prediction, target) -> mean loss.
        optimizer: over the model's parameters.
        lr: its learning rate.
        epoch: starts an epoch, returns its updates.
        rows: all training rows; of the loader "stream" where they are stored.
        heldout: held-out rows, or None; stored where the training rows are.
        weight: see `Problem.weight`.
    """

    case: Cell
    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    lr: float
    epoch: Callable[[], Iterator[Update]]
    rows: Pair | Stored
    heldout: Pair | Stored | None
    weight: Weight | None = None

    @property
    def evaluation_rows(self) -> int:
        """Rows of one evaluation, training and held-out."""
        held = self.heldout
        return self.case.n_samples + (0 if held is None else len(held if isinstance(held, Stored) else held[0]))

    @property
    def updates_together(self) -> int:
        """Updates whose rows are fetched together: those of a window of a streamed file, else one."""
        if not isinstance(self.rows, Stored):
            return 1
        return math.ceil(window_rows(self.rows.files.row_bytes) / self.case.samples_per_step)

    def train(self, updates: Iterable[Update]) -> None:
        """Make these updates."""
        train(self.model, self.loss, self.optimizer, updates)

    def stream(self) -> Iterator[Update]:
        """Return the updates of epoch after epoch, without end."""
        while True:
            yield from self.epoch()


def prepare(case: Cell, problem: Problem, on_phase: Callable[[Phase], None] = lambda phase: None) -> Training:
    """Make the rows, the model and the optimizer of a case.

    Args:
        case: what to train.
        problem: its problem, resolved.
        on_phase: told "data" and "model" as each begins.

    Raises:
        UsageError: the loader "stream" is asked for and the rows are in no files, or the rows are not to be had.
    """
    if case.loader == "stream" and not isinstance(problem.data, Files):
        kind = "a function" if callable(problem.data) else "tensors"
        raise UsageError(f"loader stream reads rows from files: give data=mbbench.Files(...), here data is {kind}")
    on_phase("data")
    rows: Pair | Stored
    heldout: Pair | Stored | None
    if case.loader == "stream":
        rows, heldout = problem.stored(case.n_samples, case.seed)
    else:
        rows, heldout = _in_memory(case, problem)
    on_phase("model")
    model = problem.start(case.seed).to(device=case.device, dtype=getattr(torch, case.dtype))
    lr = problem.lr if case.lr is None else case.lr
    optimizer = OPTIMIZERS[case.optimizer](model.parameters(), lr)
    epoch = epochs(case, rows, problem.weight)
    return Training(case, model, problem.loss, optimizer, lr, epoch, rows, heldout, problem.weight)


def mean_loss(training: Training, rows: Pair | Stored) -> float:
    """Return the mean loss of the model over all `rows`, in evaluation mode; weighted as the problem says."""
    model, total, weights = training.model, 0.0, 0.0
    model.eval()
    with torch.no_grad():
        for x, y in chunks(training.case, rows):
            weight = len(x) if training.weight is None else float(training.weight(x, y))
            total += float(training.loss(model(x), y)) * weight
            weights += weight
    model.train()
    return total / weights


def losses(training: Training) -> tuple[float, float | None]:
    """Return the mean loss of all training rows and of the held-out rows, None where there are none."""
    heldout = None if training.heldout is None else mean_loss(training, training.heldout)
    return mean_loss(training, training.rows), heldout


def chunks(case: Cell, rows: Pair | Stored) -> Iterator[Pair]:
    """Return the rows in their order, on the case's device, as many at a time as an evaluation takes."""
    fewest, most = EVALUATION_ROWS
    size = min(most, max(fewest, case.micro_batch or case.samples_per_step))
    pairs: Iterable[Pair] = (rows,) if isinstance(rows, tuple) else rows.windows(window_rows(rows.files.row_bytes))
    dtypes = (None, None) if isinstance(rows, tuple) else rows.files.dtypes(getattr(torch, case.dtype))
    for pair in pairs:
        for start in range(0, len(pair[0]), size):
            x, y = (part[start : start + size].to(case.device, kind) for part, kind in zip(pair, dtypes, strict=True))
            yield x, y


def _in_memory(case: Cell, problem: Problem) -> tuple[Pair, Pair | None]:
    dtype: torch.dtype = getattr(torch, case.dtype)
    rows = problem.rows(case.n_samples, case.seed)
    home = "cpu" if case.option("rows") == "host" else case.device
    placed = _placed((rows.x, rows.y), home, dtype)
    return placed, None if rows.heldout is None else _placed(rows.heldout, case.device, dtype)


def _placed(pair: Pair, device: str, dtype: torch.dtype) -> Pair:
    x, y = (part.to(device=device, dtype=dtype if part.is_floating_point() else None).contiguous() for part in pair)
    return x, y


def _sgd(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr)


def _momentum(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def _adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=lr)


OPTIMIZERS: dict[str, Callable[[Iterable[Tensor], float], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adam": _adam,
}
