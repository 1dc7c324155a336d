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
from mbbench.measuring import nested, optimizers, stepping
from mbbench.measuring.batches import LAZY, Batch, Update, Weight, epochs
from mbbench.measuring.files import Files, Stored, window_rows
from mbbench.measuring.items import Items
from mbbench.measuring.modules import load_function
from mbbench.measuring.problems import Problem
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
        rows: all training rows; of the loader "stream" where they are stored; of "dataloader" over a data set its items.
        heldout: held-out rows, or None; stored where the training rows are.
        weight: see `Problem.weigh`.
    """

    case: Cell
    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    lr: float
    epoch: Callable[[], Iterator[Update]]
    rows: Batch | Stored | Items
    heldout: Batch | Stored | Items | None
    weight: Weight | None = None

    @property
    def evaluation_rows(self) -> int:
        """Rows of one evaluation, training and held-out."""
        held = self.heldout
        return self.case.n_samples + (nested.count(held) if isinstance(held, tuple) else len(held or ()))

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
    if case.loader == "stream":
        check_stream(problem)
    on_phase("data")
    rows: Batch | Stored | Items
    heldout: Batch | Stored | Items | None
    if case.loader == "stream" or (isinstance(problem.data, Items) and (case.loader in LAZY or ":" in case.loader)):
        rows, heldout = problem.stored(case.n_samples, case.seed)
    else:
        rows, heldout = _in_memory(case, problem)
    like = rows.of([0]).load() if isinstance(rows, Items) else rows
    on_phase("model")
    start = problem.start(case.seed).to(device=case.device, dtype=getattr(torch, case.dtype))
    call = problem.call(like[0] if isinstance(like, tuple) else torch.empty(0))  # stored features are one tensor
    model, criterion = stepping.with_options(case, start, call, problem.criterion)
    lr = problem.lr if case.lr is None else case.lr
    optimizer = optimizers.make(case, model, lr)
    epoch = epochs(case, rows, problem.weigh)
    return Training(case, model, criterion, optimizer, lr, epoch, rows, heldout, problem.weigh)


def check_stream(problem: Problem) -> None:
    """Raise UsageError where a problem has no files to read from."""
    if not isinstance(problem.data, Files):
        kind = "a function" if callable(problem.data) else "a data set" if isinstance(problem.data, Items) else "tensors"
        raise UsageError(f"loader stream reads rows from files: give data=mbbench.Files(...), here data is {kind}")


def mean_loss(training: Training, rows: Batch | Stored | Items) -> float:
    """Return the mean loss of the model over all `rows`, in evaluation mode; weighted as the problem says."""
    model, total, weights = training.model, 0.0, 0.0
    model.eval()
    with torch.no_grad():
        for x, y in chunks(training.case, rows):
            weight = nested.count(x) if training.weight is None else float(training.weight(x, y))
            total += float(training.loss(model(x), y)) * weight
            weights += weight
    model.train()
    return total / weights


def losses(training: Training) -> tuple[float, float | None]:
    """Return the mean loss of all training rows and of the held-out rows, None where there are none."""
    heldout = None if training.heldout is None else mean_loss(training, training.heldout)
    return mean_loss(training, training.rows), heldout


def held_out_metric(training: Training) -> float | None:
    """Return the user's own metric of all held-out rows at once, which are predicted chunk by chunk; None without any.

    At once, since few metrics are means over rows: R2 and F1 are none.

    Raises:
        UsageError: the model answers with its loss, so there is no prediction.
    """
    if training.heldout is None:
        return None
    metric = load_function("metric", training.case.option("metric"), "(prediction, target) -> a number")
    model, found = training.model, []
    model.eval()
    with torch.no_grad():
        for x, y in chunks(training.case, training.heldout):
            check_predicts(y)
            found.append((nested.placed(model(x), "cpu"), nested.placed(y, "cpu")))
        value = float(metric(*nested.joined(found)))
    model.train()
    return value


def check_predicts(y: object) -> None:
    """Raise UsageError where targets are those of a step, which takes the whole batch: there is no prediction then."""
    if isinstance(y, tuple) and not y:
        raise UsageError("a metric is computed from prediction and target: give the problem a loss instead of a step")


def chunks(case: Cell, rows: Batch | Stored | Items) -> Iterator[Batch]:
    """Return the rows in their order, on the case's device, as many at a time as an evaluation takes."""
    fewest, most = EVALUATION_ROWS
    size = min(most, max(fewest, case.micro_batch or case.samples_per_step))
    dtype: torch.dtype = getattr(torch, case.dtype)
    parts: Iterable[Batch] = (rows,) if isinstance(rows, tuple) else _windows(rows, size)
    kinds = rows.files.dtypes(dtype) if isinstance(rows, Stored) else None
    for part in parts:
        for start in range(0, nested.count(part), size):
            x, y = (nested.cut(each, start, start + size) for each in part)
            if kinds is None:
                yield nested.placed(x, case.device, dtype), nested.placed(y, case.device, dtype)
            else:
                yield x.to(case.device, kinds[0]), y.to(case.device, kinds[1])


def _windows(rows: Stored | Items, size: int) -> Iterator[Batch]:
    return rows.windows(window_rows(rows.files.row_bytes) if isinstance(rows, Stored) else size)


def _in_memory(case: Cell, problem: Problem) -> tuple[Batch, Batch | None]:
    dtype: torch.dtype = getattr(torch, case.dtype)
    rows = problem.rows(case.n_samples, case.seed)
    # The user's own loader gets its rows where a DataLoader with workers can have them.
    home = "cpu" if case.option("rows") == "host" or ":" in case.loader else case.device
    placed = _placed((rows.x, rows.y), home, dtype)
    return placed, None if rows.heldout is None else _placed(rows.heldout, case.device, dtype)


def _placed(pair: Batch, device: str, dtype: torch.dtype) -> Batch:
    x, y = (nested.mapped(nested.placed(part, device, dtype), Tensor.contiguous) for part in pair)
    return x, y
