"""One step of a user's problem before anything is measured: what cannot work is said at once, in one line.

Easy to get wrong: the first rows may be innocent, so the rows with the largest and the smallest label, and one that is not
finite, are tried with them; and what only this trial cannot do (memory, a device) is left for the cells to tell.
"""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import msgspec
import torch
from torch import Tensor

from mbbench.case import Cell, UsageError
from mbbench.measuring import limits, nested
from mbbench.measuring.explaining import explain, users_traceback
from mbbench.measuring.given import Given
from mbbench.measuring.modules import load_function
from mbbench.measuring.problems import Problem
from mbbench.measuring.training import check_predicts, check_stream, prepare

ROWS = 32
BATCH_NORM = "Expected more than 1 value per channel"
"""What torch says of a batch of one row."""
COLLATE = "; give collate= that pads the items, and --loader dataloader to pad batch by batch"


def check(problem: Problem, cell: Cell) -> int:
    """Return how many rows a batch has at least: 2 where the model takes no single row, as BatchNorm does.

    Args:
        problem: a user's own.
        cell: optimizer, options, dtype and own loader of the step; rows and batch size are the trial's, on the CPU.

    Raises:
        UsageError: one step as the cell has it cannot be made.
    """
    with contextlib.suppress(_NoMemoryError):
        return _step(problem, cell)
    return 1


def _step(problem: Problem, cell: Cell) -> int:
    rows, odd = _tried(problem)
    n = nested.count(rows)
    about = f"a row has features {nested.described(rows.x)} and target {nested.described(rows.y)}"
    if problem.loss is None:
        about = f"a row of the batch has {nested.described(rows.x)}"
        if problem.step is None:
            about += "; neither loss= nor step= is given, so the model is called with the whole batch"
    if cell.loader == "stream":
        check_stream(problem)
    loader = cell.loader if ":" in cell.loader else "slice"
    few = {"n_samples": n, "batch_size": None, "micro_batch": None, "device": "cpu", "loader": loader}
    case = msgspec.structs.replace(cell, **few)
    training = _done(lambda: prepare(case, problem.on(rows)), "model, optimizer or rows cannot be made", "")
    if loader != "slice":  # one that drops the last batch, or takes no account of the batch size, is seen here
        ragged = msgspec.structs.replace(case, batch_size=min(5, n))
        _done(lambda: list(prepare(ragged, problem.on(rows)).epoch()), f"an epoch of {n} rows in batches of 5 fails", "")
    ((x, y, _),) = next(training.epoch())
    prediction = _done(lambda: training.model(x), f"one step on {n} rows fails", about)
    if _has_labels(rows):
        shape = f", the model predicts shape {tuple(prediction.shape[1:])} a row" if isinstance(prediction, Tensor) else ""
        about += f"; the labels go from {int(rows.y.min())} to {int(rows.y.max())}{shape}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own passes tell of them
        loss = _done(lambda: training.loss(prediction, y), f"one step on {n} rows fails", about)
    _check_loss(loss)
    _check_pairs(training.loss, prediction, y, loss)
    if odd is not None and not loss.isfinite().all():
        raise UsageError(
            f"data holds a value that is not finite (NaN or infinite) in row {odd}, and the loss with it: fill such values "
            "or drop their rows"
        )
    _done(loss.backward, f"the backward of one step on {n} rows fails", about)
    _done(training.optimizer.step, "a step of the optimizer fails", "")
    found = nested.mapped(prediction, Tensor.detach)
    _number("metric", case, (found, y), about)
    _number("meter", case, (), "")
    try:
        training.model(nested.cut(x, 0, 1))
    except ValueError as error:
        return 2 if BATCH_NORM in str(error) else 1
    except Exception:  # whatever else a single row is not good for
        return 1
    return 1


def _check_pairs(loss: Callable[[Any, Any], Tensor], prediction: Any, y: Any, whole: Tensor) -> None:
    """Raise UsageError where a prediction of (n, 1) and a target of (n,) become n x n differences.

    Then the mean over single rows is another, and it is the one of the target with the prediction's shape.
    """
    if not (isinstance(prediction, Tensor) and isinstance(y, Tensor) and prediction.shape == (*y.shape, 1)):
        return
    said = ""
    with torch.no_grad(), warnings.catch_warnings(), contextlib.suppress(Exception):  # of a loss that takes no single row
        warnings.simplefilter("ignore")
        rows = torch.stack([loss(prediction[row : row + 1], y[row : row + 1]) for row in range(len(y))]).mean()
        paired = loss(prediction, y.view_as(prediction))
        if torch.isclose(rows, paired, rtol=1e-3) and not torch.isclose(rows, whole, rtol=1e-3):
            wrong = "each prediction is compared with every target: a row has prediction (1,) and target ()"
            hint = 'of a table or file target=["name"]'
            said = f"{wrong}; give the target a dimension (y[:, None], {hint}) or take the model's away"
    if said:
        raise UsageError(said)


def _number(option: str, case: Cell, arguments: tuple[Any, ...], about: str) -> None:
    """Call the user's own metric or meter where a case names one."""
    own = case.option(option)
    if own != "none":
        function = load_function(option, own, "that returns a number")
        if arguments:
            check_predicts(arguments[-1])
        _done(lambda: float(function(*arguments)), f"{option} {own} fails", about)


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, Tensor):
        raise UsageError(f"the loss is a {type(loss).__name__}: return a tensor, the mean over the rows")
    if loss.numel() != 1:
        raise UsageError(f"the loss has shape {tuple(loss.shape)}: return one number, the mean over the rows (.mean())")
    if not loss.requires_grad:
        raise UsageError(
            "the loss does not depend on the model's parameters: compute it from the model's answer, undetached"
        )


def _tried(problem: Problem) -> tuple[Given, int | None]:
    """Return the rows to try, and which one of the data is not finite, None where none is."""
    first: Given = _done(lambda: problem.sample(ROWS, 0), "the first rows cannot be made", "")
    if not isinstance(problem.data, Given):
        return first, None
    odd = next((row for part in nested.tensors(problem.data) if (row := _not_finite(part)) is not None), None)
    chosen = set(range(nested.count(first))) | ({odd} if odd is not None else set())
    if _has_labels(problem.data):
        chosen |= {int(problem.data.y.argmin()), int(problem.data.y.argmax())}
    return Given(*nested.pick(problem.data, torch.tensor(sorted(chosen)))), odd


def _not_finite(part: Tensor) -> int | None:
    if not part.is_floating_point() or part.isfinite().all():
        return None
    return int((~part.isfinite()).flatten(1 if part.dim() > 1 else 0).reshape(len(part), -1).any(1).nonzero()[0])


def _has_labels(rows: Given) -> bool:
    return isinstance(rows.y, Tensor) and rows.y.dim() == 1 and rows.y.dtype == torch.int64


class _NoMemoryError(Exception):
    """There was none for the trial: the cells tell."""


def _done(what: Callable[[], Any], fails: str, about: str) -> Any:
    """Return what comes out; raise UsageError with what failed, or _NoMemoryError."""
    try:
        return what()
    except UsageError:
        raise
    except Exception as error:
        if limits.out_of_memory(error, True):
            raise _NoMemoryError from error
        hint = (
            "; integers stay integers: convert features to floats where the model computes with them, and name a column of "
            'whole numbers to be predicted in a list, target=["y"]'
        )
        dtypes = hint if about and "int" in about and any(each in str(error) for each in ("dtype", "Long", "Int")) else ""
        dtypes += COLLATE if "stack expects each tensor to be equal size" in str(error) else ""
        message = f"{fails}: {explain(error)}{f'; {about}' if about else ''}{dtypes}"
        raise UsageError(message, users_traceback(error)) from error
