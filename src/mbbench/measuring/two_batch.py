"""Estimate the gradient noise scale from gradients of small batches, where every row's own gradient costs too much.

McCandlish et al. 2018 (arXiv 1812.06162), appendix A.1. Easy to get wrong: numerator and denominator are averaged apart
(the mean of ratios is another figure), and an estimate whose standard error is above half of it is none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mbbench.case import UsageError
from mbbench.measuring.files import Pair
from mbbench.measuring.noise_scale import CHUNK_ROWS, Loss, along_run
from mbbench.measuring.training import Training, mean_loss
from mbbench.search import NoisePoint

Refusal = Literal["not resolved", "too noisy"]
SMALL_ROWS, SMALL_BATCHES = 8, 64
"""Of the small batches of `noise_point`: rows, and how many."""
MOST_ERROR = 0.5
"""Standard error, as a part of the estimate, above which an estimate is refused."""


@dataclass(frozen=True)
class TwoBatch:
    """The noise scale as estimated from the gradients of small batches and of all rows.

    Attributes:
        trace: tr(Sigma), divisor n - 1.
        gradient_square: |G|^2 of the rows' source, without the noise of the mean over n rows; may be below 0.
        b_fin: tr(Sigma) / |G_N|^2; None where it is too noisy.
        b_fin_error: its standard error, None of a single batch.
        b_super: tr(Sigma) / |G|^2; None where it is refused.
        b_super_error: its standard error, None where there is no b_super to have one or of a single batch.
        refused: why b_super is None: B_fin >= n, or a standard error (of either) above half of the estimate or unknown.
    """

    trace: float
    gradient_square: float
    b_fin: float | None
    b_fin_error: float | None
    b_super: float | None
    b_super_error: float | None
    refused: Refusal | None


def gradient_square(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> float:
    """Return |G|^2 of the mean loss over these rows, a chunk of rows at a time."""
    trained = [part for part in model.parameters() if part.requires_grad]
    total = [torch.zeros_like(part, dtype=torch.float64) for part in trained]
    for start in range(0, len(x), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        value = loss(model(x[rows]), y[rows]) * (len(x[rows]) / len(x))
        for part, found in zip(total, torch.autograd.grad(value, trained), strict=True):
            part += found
    return sum(float(part.square().sum()) for part in total)


def small_batch_squares(model: nn.Module, loss: Loss, rows: Pair, batch_size: int, batches: int, seed: int) -> list[float]:
    """Return |G_b|^2 of `batches` batches of `batch_size` rows, taken from shuffled epochs as in training.

    Batches of one epoch share no row; rows that do not fill a batch are left for the next epoch.
    """
    generator, x, y = torch.Generator().manual_seed(seed), *rows
    if not 1 <= batch_size < len(x):
        raise UsageError(f"batch_size is {batch_size}: expected 1 up to {len(x) - 1}, fewer than the {len(x)} rows")
    squares: list[float] = []
    while len(squares) < batches:
        order = torch.randperm(len(x), generator=generator)
        whole = order[: len(x) // batch_size * batch_size]
        for chosen in torch.split(whole, batch_size)[: batches - len(squares)]:
            squares.append(gradient_square(model, loss, x[chosen.to(x.device)], y[chosen.to(y.device)]))
    return squares


def two_batch(small_squares: Sequence[float], batch_size: int, full_square: float, n: int) -> TwoBatch:
    """Estimate the noise scale from |G_b|^2 of small batches and |G_N|^2 of all n rows.

    McCandlish et al. 2018, appendix A.1, with B_big = n: tr(Sigma) = (mean |G_b|^2 - |G_N|^2) / (1/b - 1/n) and |G|^2 =
    (n |G_N|^2 - b mean |G_b|^2) / (n - b), in expectation for rows drawn without replacement, and exactly for every row
    once as a batch of one. Only the mean is random, so both errors are its own times a derivative.
    """
    if not (len(small_squares) and 1 <= batch_size < n):
        raise UsageError(f"expected one small batch or more of 1 to {n - 1} rows, got {len(small_squares)} of {batch_size}")
    squares, count = torch.tensor(small_squares, dtype=torch.float64), len(small_squares)
    mean = float(squares.mean())
    # Single rows without replacement: the finite population's correction; all n of them leave no error.
    share = 1 - min(1.0, count / n) if batch_size == 1 else 1.0
    error = 0.0 if share == 0 else float(squares.std()) * math.sqrt(share / count) if count > 1 else None
    trace = (mean - full_square) * batch_size * n / (n - batch_size)
    source = (n * full_square - batch_size * mean) / (n - batch_size)
    fin = trace / full_square if full_square else math.inf
    fin_error = None if error is None or not full_square else error * batch_size * n / ((n - batch_size) * full_square)
    b_super = trace / source if source > 0 else math.inf
    # d(trace / source) / d(mean) = b n / (n - b) |G_N|^2 / source^2
    slope = batch_size * n / (n - batch_size) * full_square / source**2 if source > 0 else math.inf
    super_error = None if error is None or source <= 0 else error * slope
    sure = _sure(fin, fin_error)
    refused: Refusal | None = None
    if not sure:
        refused = "too noisy"
    elif source <= 0:
        refused = "not resolved"
    elif not _sure(b_super, super_error):
        refused = "too noisy"
    return TwoBatch(trace, source, fin if sure else None, fin_error, None if refused else b_super, super_error, refused)


def _sure(value: float, error: float | None) -> bool:
    return error is not None and error <= MOST_ERROR * value


def noise_point(training: Training, step: int) -> NoisePoint:
    """Return the noise scale of a training where it stands, both ways: from every row's gradient, and from small batches.

    Raises:
        UsageError: see `noise_scale.along_run`.
    """
    (exact,) = along_run(training, [0])
    assert isinstance(training.rows, tuple)
    x, y = training.rows
    size = min(SMALL_ROWS, len(x) // 2)
    squares = small_batch_squares(training.model, training.loss, (x, y), size, SMALL_BATCHES, training.case.seed)
    estimate = two_batch(squares, size, gradient_square(training.model, training.loss, x, y), len(x))
    return NoisePoint(
        step=step,
        train_loss=mean_loss(training, training.rows),
        b_fin=exact.b_fin(),
        b_super=exact.b_super,
        two_batch=estimate.b_super,
        two_batch_error=estimate.b_super_error,
        refused=estimate.refused,
    )
