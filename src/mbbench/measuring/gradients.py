"""Check an accumulated gradient against the same one in float64: is it the full batch's, and to how many digits?

Easy to get wrong: the check is a courtesy to a cell that has been measured. It runs under the cell's memory limit and for
seconds at most, and whatever goes wrong in it leaves the difference unknown and the cell as it is.
"""

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from mbbench.case import Cell
from mbbench.measuring import nested
from mbbench.measuring.batches import MicroBatch, Update
from mbbench.measuring.problems import Problem
from mbbench.measuring.training import prepare

CHECK_ROWS = 16_384
"""Most rows that are compared over, unless two micro-batches are more."""
CHECK_BYTES = 64 * 2**20
"""Most that these rows take, as they are given: 16,384 images of 224 x 224 x 3 floats would be 10 GB."""
CHECK_PARTS = 256
"""Most micro-batches that these rows are: 16,384 of one row each take 2 s even of a small model, and would be given up."""
CHECK_S = 5.0
"""Most seconds, to a micro-batch and the making of the rows: a quarter for the gradient and for the same again, half for
float64, which takes twice the time."""


def checked(case: Cell, problem: Problem) -> dict[str, Any]:
    """Return what is to be said of an accumulated gradient: how far it is from the exact one, or a warning on BatchNorm.

    Nothing where the gradient is not accumulated, or the check fails for any reason: no memory or no time for it, no
    float64, a data function that makes other numbers of rows than asked for.
    """
    if case.micro_batch is None:
        return {}
    try:
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in problem.start(case.seed).modules()):
            text = "BatchNorm takes its statistics from each micro-batch: accumulation is not the full batch's computation"
            return {"message": text}
        return {"gradient_difference": gradient_difference(case, problem)}
    except Exception:  # of the user's model, loss or data, asked for what the cell itself does not ask for
        return {}


def gradient_difference(case: Cell, problem: Problem) -> float | None:
    """Return ||g - e|| / ||e||: g the gradient accumulated as the case says, e the same in float64 by other micro-batches.

    In float64 the grouping changes the gradient by 1e-13 at most, so e stands for the full batch's. Over the first update's
    rows, or as many as may be checked. None where the model draws at random (dropout), or the gradient is 0 or not finite.

    Raises:
        TimeoutError: it takes too long; else what the model, the loss or the data function raise.
    """
    n = _rows(case, problem)
    micro = min(case.micro_batch or n, n)
    # Plain SGD, since the gradient is what counts and other optimizers hold as much again.
    changes: dict[str, Any] = {"n_samples": n, "batch_size": None, "shuffle": False, "loader": "slice", "optimizer": "sgd"}
    changes["options"] = tuple(pair for pair in case.options if pair[0] not in ("clip", "schedule"))
    whole = msgspec.structs.replace(case, micro_batch=micro, **changes)
    accumulated = _gradient(whole, problem, CHECK_S / 4)
    if not torch.equal(accumulated, _gradient(whole, problem, CHECK_S / 4)):
        return None
    # Half the rows at twice the width take no more memory than the cell itself; one row is compared with two.
    other = micro // 2 if micro > 1 else min(2, n)
    exact = _gradient(msgspec.structs.replace(whole, micro_batch=other, dtype="float64"), problem, CHECK_S / 2)
    length = float(exact.norm())
    found = float((accumulated - exact).norm()) / length if length > 0 else math.nan
    return found if math.isfinite(found) else None


def _rows(case: Cell, problem: Problem) -> int:
    """Return over how many rows gradients are compared: two micro-batches at least, three of one row each."""
    row_bytes = nested.size(problem.sample(1, case.seed))
    micro = case.micro_batch or case.samples_per_step
    most = min(CHECK_ROWS, CHECK_BYTES // max(1, row_bytes), CHECK_PARTS * micro)
    return min(case.samples_per_step, max(most, 2 * micro, 3))


def _gradient(case: Cell, problem: Problem, seconds: float) -> Tensor:
    """Return the first update's gradient as one vector in float64; the update leaves it with the parameters."""
    until = time.perf_counter() + seconds
    training = prepare(case, replace(problem, held_out=0.0))
    training.train(_timed(update, until) for update in itertools.islice(training.epoch(), 1))
    grads = [parameter.grad for parameter in training.model.parameters() if parameter.grad is not None]
    return torch.cat([grad.detach().to_dense().double().flatten() for grad in grads]).cpu()


def _timed(update: Update, until: float) -> Iterator[MicroBatch]:
    """Return the micro-batches of an update; raise TimeoutError where the next one comes too late."""
    for micro_batch in update:
        if time.perf_counter() > until:
            raise TimeoutError
        yield micro_batch
