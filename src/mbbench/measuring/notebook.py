"""Replay the notebook that mbbench began as, by the product's own loop, to the digits it printed.

torch's CPU generator is an MT19937; the notebook seeded it with 1 in its first cell and ran its cells more than once, so
its two runs start some way into that stream. Where exactly was found by search (docs/notebook.md): the mini-batch run
37582 32-bit words in, the full-batch run 49592, which is where the former ends (4 words for nn.Linear, 6 an epoch: one
int64 for the loader's base seed and a permutation of five rows). A DataLoader of today draws 4 words an epoch, so the
order of the rows is drawn here by hand.
"""

import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mbbench import notebook_data
from mbbench.measuring.batches import Update
from mbbench.measuring.convergence import divergence
from mbbench.measuring.optimizers import OPTIMIZERS
from mbbench.measuring.training import train

FULL_BATCH_WORDS = 49592
MINI_BATCH_WORDS = 37582
LR = 1e-5
EPOCHS = 2001
SHUFFLES = 2

# What the notebook printed.
PRINTED_FULL = (
    *(10432.578125, 2.070087, 1.971632, 1.878373, 1.790006, 1.706278, 1.626997, 1.551881, 1.480720, 1.413303, 1.349444),
    *(1.288947, 1.231628, 1.177329, 1.125903, 1.077176, 1.031013, 0.987278, 0.945842, 0.906602, 0.869409),
)
PRINTED_MINI = (
    *(53898.457031, 16657.857422, 6019.574219, 10.442776, 10.869239, 1.065429, 11.368460, 0.884159, 14.768081),
    *(3.938185, 14.543747, 3.477790, 6.273901, 4.376030, 4.533801, 0.358337, 6.242352, 9.174144),
    *(4.252503, 3.157555, 3.577464),
)
PRINTED_PREDICTIONS = {"full": 152.8214, "mini": 151.9353}
ASKED = (73.0, 80.0, 75.0)


def tables() -> dict[str, Any]:
    """Return both tables of the notebook, replayed beside the printed figures, and the comparison at equal steps."""
    return {"full_batch": full_batch(), "mini_batch": mini_batch(), "equal_steps": equal_steps()}


def full_batch() -> dict[str, Any]:
    """Replay the run without batches: 2001 updates of all five rows; the cost of epoch e is the one before update e + 1."""
    with torch.random.fork_rng(devices=[]):
        model = _start(FULL_BATCH_WORDS)
    x, y = _rows(torch.float32)
    optimizer = OPTIMIZERS["sgd"](model.parameters(), LR)
    epochs = list(range(0, EPOCHS, 100))
    costs: list[float] = []
    for epoch in epochs:
        costs.append(_loss(model, x, y))
        train(model, functional.mse_loss, optimizer, [((x, y, None),)] * min(100, EPOCHS - epoch))
    return {
        "epoch": epochs,
        "cost": costs,
        "printed": list(PRINTED_FULL),
        "prediction": _prediction(model),
        "printed_prediction": PRINTED_PREDICTIONS["full"],
    }


def mini_batch() -> dict[str, Any]:
    """Replay the run with batches of 2, 2 and 1 rows in a new order each epoch; the costs are those before each update.

    The notebook's output was cut off after epoch 600; the run goes on to its end for the prediction.
    """
    x, y = _rows(torch.float32)
    epochs: list[int] = []
    batches: list[int] = []
    costs: list[float] = []
    with torch.random.fork_rng(devices=[]):
        model = _start(MINI_BATCH_WORDS)
        optimizer = OPTIMIZERS["sgd"](model.parameters(), LR)
        for epoch in range(EPOCHS):
            torch.empty((), dtype=torch.int64).random_()  # the loader's base seed
            for number, update in enumerate(_pairs(x, y, torch.randperm(5))):
                if epoch % 100 == 0 and len(costs) < len(PRINTED_MINI):
                    epochs.append(epoch)
                    batches.append(number)
                    costs.append(_loss(model, *update[0][:2]))
                train(model, functional.mse_loss, optimizer, [update])
        left_at = torch.random.get_rng_state()
        _seek(FULL_BATCH_WORDS)
        ends_where_full_begins = bool(torch.equal(torch.random.get_rng_state(), left_at))
    return {
        "epoch": epochs,
        "batch": batches,
        "cost": costs,
        "printed": list(PRINTED_MINI),
        "prediction": _prediction(model),
        "printed_prediction": PRINTED_PREDICTIONS["mini"],
        "ends_where_full_batch_begins": ends_where_full_begins,
    }


def equal_steps(shuffles: int = SHUFFLES) -> dict[str, Any]:
    """Train both ways from the full batch's start, in float64, and return their errors after 2001 and after 6003 updates.

    Args:
        shuffles: runs of batch size 2, each in an order of its own; their mean and standard deviation are returned.
    """
    checkpoints = (EPOCHS, 3 * EPOCHS)
    x, y = _rows(torch.float64)
    full = _errors(_always(((x, y, None),)), LR, checkpoints)
    runs = [_errors(_shuffled(x, y, seed), LR, checkpoints) for seed in range(shuffles)]
    columns = list(zip(*runs, strict=True))
    return {
        "steps": list(checkpoints),
        "full_batch_mse": full,
        "batch_2_mse": [statistics.mean(column) for column in columns],
        "batch_2_sd": [statistics.stdev(column) if shuffles > 1 else None for column in columns],
        "shuffles": shuffles,
        "updates_per_epoch": {"full_batch": 1, "batch_2": 3},
        "full_batch_at_other_lr": {str(lr): full_batch_at(lr) for lr in (4.5e-5, 4.6e-5)},
    }


def full_batch_at(lr: float, steps: int = EPOCHS) -> dict[str, Any]:
    """Return status and mean squared error of full batch after `steps` updates at another learning rate, in float64."""
    x, y = _rows(torch.float64)
    checkpoints = (*range(0, steps, 100), steps)
    errors = _errors(_always(((x, y, None),)), lr, checkpoints)
    diverged = any(divergence(errors[: k + 1]) for k in range(len(errors)))
    return {"status": "diverged", "mse": None} if diverged else {"status": "ok", "mse": errors[-1]}


def _seek(words: int) -> None:
    torch.manual_seed(1)
    torch.empty(words, dtype=torch.int32).random_()


def _start(words: int) -> nn.Linear:
    _seek(words)
    return nn.Linear(3, 1)


def _rows(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.tensor(notebook_data.X, dtype=dtype), torch.tensor(notebook_data.Y, dtype=dtype)


def _pairs(x: Tensor, y: Tensor, order: Tensor) -> Iterator[tuple[tuple[Tensor, Tensor, None]]]:
    for rows in torch.split(order, 2):
        yield ((x[rows], y[rows], None),)


def _always(update: Update) -> Iterator[Update]:
    while True:
        yield update


def _shuffled(x: Tensor, y: Tensor, seed: int) -> Iterator[Update]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from _pairs(x, y, torch.randperm(len(x), generator=generator))


def _errors(updates: Iterator[Update], lr: float, checkpoints: tuple[int, ...]) -> list[float]:
    """Return the mean squared error over all rows after each number of updates, from the full batch's start, in float64."""
    with torch.random.fork_rng(devices=[]):
        model = _start(FULL_BATCH_WORDS).double()
    optimizer, done, errors = OPTIMIZERS["sgd"](model.parameters(), lr), 0, []
    for checkpoint in checkpoints:
        train(model, functional.mse_loss, optimizer, (next(updates) for _ in range(checkpoint - done)))
        done = checkpoint
        errors.append(_loss(model, *_rows(torch.float64)))
    return errors


def _loss(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(functional.mse_loss(model(x), y))


def _prediction(model: nn.Module) -> float:
    with torch.no_grad():
        return float(model(torch.tensor([ASKED])))
