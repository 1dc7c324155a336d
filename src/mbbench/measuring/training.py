"""THE training loop: full batch, mini-batch and gradient accumulation are one loop, and this is the code that is timed.

Easy to get wrong: the loss of a micro-batch is weighted by its rows over the update's rows, as the starting gradient of
`backward` (which costs nothing: a plain `backward()` makes a one there). A mean of unequal batch means is another
gradient. A ragged last mini-batch is an update of its own and keeps its own mean, as in torch.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mbbench.case import Cell
from mbbench.measuring.batches import Update, epochs
from mbbench.measuring.problems import Pair, Problem
from mbbench.record import Phase

EVALUATION_ROWS = 65_536
"""Rows per forward pass of an evaluation: bounds its memory, whatever n is."""


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
        rows: all training rows.
        heldout: held-out rows, or None.
    """

    case: Cell
    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    lr: float
    epoch: Callable[[], Iterator[Update]]
    rows: Pair
    heldout: Pair | None

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
    """
    on_phase("data")
    dtype: torch.dtype = getattr(torch, case.dtype)
    rows = problem.rows(case.n_samples, case.seed)
    home = "cpu" if case.option("rows") == "host" else case.device
    x, y = _placed((rows.x, rows.y), home, dtype)
    heldout = None if rows.heldout is None else _placed(rows.heldout, case.device, dtype)
    on_phase("model")
    model = problem.start(case.seed).to(device=case.device, dtype=dtype)
    lr = problem.lr if case.lr is None else case.lr
    optimizer = OPTIMIZERS[case.optimizer](model.parameters(), lr)
    return Training(case, model, problem.loss, optimizer, lr, epochs(case, x, y), (x, y), heldout)


def mean_loss(training: Training, rows: Pair) -> float:
    """Return the mean loss of the model over all `rows`, in evaluation mode."""
    model, total = training.model, 0.0
    model.eval()
    with torch.no_grad():
        for start in range(0, len(rows[0]), EVALUATION_ROWS):
            x, y = (part[start : start + EVALUATION_ROWS].to(training.case.device) for part in rows)
            total += float(training.loss(model(x), y)) * len(x)
    model.train()
    return total / len(rows[0])


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
