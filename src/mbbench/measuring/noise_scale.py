"""Measure the gradient noise scale: how many rows it takes until the gradient stands out from its own noise.

McCandlish et al. 2018 (arXiv 1812.06162): B_simple = tr(Sigma) / |G|^2, Sigma the covariance of one row's gradient, G the
gradient. Easy to get wrong: a data set is finite. Over its N rows B_fin = tr(Sigma) / |G_N|^2 describes these rows, and
|G_N|^2 holds tr(Sigma) / N of noise; the rows' source has 1 / B_super = 1 / B_fin - 1 / N, which is not resolved from
B_fin = N on, where every run that fits its rows ends (five rows read 0.06 before the first update, 2085 after 2000).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from mbbench.case import UsageError
from mbbench.measuring.training import Training

Loss = Callable[[Tensor, Tensor], Tensor]
Gradients = Callable[[Tensor, Tensor], dict[str, Tensor]]

CHUNK_BYTES = 16 * 2**20
"""Of the gradients of the rows that are held at once; their deviations from the mean take as much again. 80,000 parameters
and 2000 rows take 1.05 s with 16 MiB, 1.44 s with 1 MiB and 2.05 s with 64 MiB (one thread)."""
CHUNK_ROWS = 1024
"""Most rows at once, as in an evaluation: the activations of small models outweigh their gradients."""


@dataclass(frozen=True)
class NoiseScale:
    """How the gradients of single rows spread around the gradient of all of them.

    Attributes:
        n: rows.
        gradient_square: |G_N|^2, of the mean gradient over all rows.
        deviations_square: sum over rows of |g_i - G_N|^2.
    """

    n: int
    gradient_square: float
    deviations_square: float

    def trace(self, ddof: int = 1) -> float:
        """Return tr(Sigma) with divisor n - ddof: 1 for the rows' source, 0 for these rows drawn with replacement."""
        return self.deviations_square / (self.n - ddof)

    def b_fin(self, ddof: int = 1) -> float | None:
        """Return tr(Sigma) / |G_N|^2 in rows, B_simple with ddof 0; None where the gradient is exactly 0."""
        return self.trace(ddof) / self.gradient_square if self.gradient_square else None

    @property
    def resolved(self) -> bool:
        """Whether the gradient stands out from the noise of a mean over n rows: B_fin < n."""
        return self.trace() < self.n * self.gradient_square

    @property
    def b_super(self) -> float | None:
        """The noise scale of the rows' source, from 1 / B_super = 1 / B_fin - 1 / n; None where it is not resolved."""
        return self.trace() / (self.gradient_square - self.trace() / self.n) if self.resolved else None


@dataclass(frozen=True)
class OneStepLaw:
    """The best a single step can do on a quadratic, by its batch size (McCandlish et al. 2018, section 2.2).

    Attributes:
        noise_scale: B_noise = tr(H Sigma) / G'HG, rows.
        lr_max: |G|^2 / G'HG, the best learning rate without noise.
        gradient_square: |G|^2.
    """

    noise_scale: float
    lr_max: float
    gradient_square: float

    def lr(self, batch_size: int) -> float:
        """Return the learning rate of the largest expected decrease: lr_max / (1 + B_noise / B)."""
        return self.lr_max / (1 + self.noise_scale / batch_size)

    def decrease(self, batch_size: int) -> float:
        """Return the expected decrease of the loss at that learning rate: lr |G|^2 / 2."""
        return self.lr(batch_size) * self.gradient_square / 2


def noise_scale(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, chunk_bytes: int = CHUNK_BYTES) -> NoiseScale:
    """Return the noise scale of these rows, exactly, from every row's own gradient.

    One pass: each chunk's mean and squared deviations are merged into those of the chunks before (Chan et al. 1979),
    since sum |g|^2 - n |G|^2 would leave no digits near a minimum that fits every row.

    Args:
        model: at the parameters in question; only parameters that require a gradient count.
        loss: (prediction, target) -> mean over rows.
        x: features, first dimension n >= 2.
        y: targets, first dimension n.
        chunk_bytes: see CHUNK_BYTES.

    Raises:
        UsageError: there are fewer than 2 rows, or a row has no gradient of its own in this model.
    """
    if len(x) < 2:
        raise UsageError(f"the noise scale needs 2 rows or more, got {len(x)}: give more rows")
    seen, deviations = 0, 0.0
    means: dict[str, Tensor] = {}
    for gradients in _row_gradients(model, loss, x, y, chunk_bytes):
        rows = len(next(iter(gradients.values())))
        for name, block in gradients.items():
            mean = block.mean(0)
            deviations += float((block - mean).square().sum(dtype=torch.float64))
            step = mean.double() - means.get(name, torch.zeros_like(mean, dtype=torch.float64))
            deviations += float(step.square().sum()) * seen * rows / (seen + rows)
            means[name] = mean.double() if not seen else means[name] + step * (rows / (seen + rows))
        seen += rows
    return NoiseScale(seen, sum(float(mean.square().sum()) for mean in means.values()), deviations)


def row_gradients(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of every row, shape (n, parameters), parameters in the model's order: for small models only."""
    chunks = _row_gradients(model, loss, x, y, CHUNK_BYTES)
    return torch.cat([torch.cat([block.flatten(1) for block in chunk.values()], dim=1) for chunk in chunks])


def _row_gradients(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, chunk_bytes: int) -> Iterator[dict[str, Tensor]]:
    """Yield the gradients of the rows, chunk by chunk: by name, first dimension the chunk's rows."""
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training for part in model.modules()):
        raise UsageError("the model normalises over the batch, so a row has no gradient of its own: give model.eval()")
    trained = {name: part for name, part in model.named_parameters() if part.requires_grad}
    row_bytes = sum(part.nbytes for part in trained.values())
    if not row_bytes:
        raise UsageError("the model has no parameter that requires a gradient: give one that can be trained")
    gradients = _together(model, loss, trained)
    try:
        gradients(x[:1], y[:1])
    except RuntimeError:  # torch.func cannot batch nn.GRU and nn.LSTM (torch 2.13); what is wrong otherwise shows in both
        gradients = _one_by_one(model, loss, trained)
    rows = min(CHUNK_ROWS, max(1, chunk_bytes // row_bytes))
    for start in range(0, len(x), rows):
        yield gradients(x[start : start + rows], y[start : start + rows])


def _together(model: nn.Module, loss: Loss, trained: dict[str, nn.Parameter]) -> Gradients:
    parameters = {name: part.detach() for name, part in trained.items()}

    def row_loss(parameters: dict[str, Tensor], row: Tensor, target: Tensor) -> Tensor:
        return loss(functional_call(model, parameters, (row.unsqueeze(0),)), target.unsqueeze(0))

    batched = vmap(grad(row_loss), in_dims=(None, 0, 0), randomness="different")  # dropout: each row its own

    def gradients(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        with sdpa_kernel(SDPBackend.MATH):  # the only attention that torch.func batches on a CPU (torch 2.13)
            found: dict[str, Tensor] = batched(parameters, x, y)
        return found

    return gradients


def _one_by_one(model: nn.Module, loss: Loss, trained: dict[str, nn.Parameter]) -> Gradients:
    def gradients(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        rows = zip(torch.split(x, 1), torch.split(y, 1), strict=True)
        found = [torch.autograd.grad(loss(model(row), target), list(trained.values())) for row, target in rows]
        return {name: torch.stack(blocks) for name, blocks in zip(trained, zip(*found, strict=True), strict=True)}

    return gradients


def one_step_law(hessian: Tensor, gradients: Tensor) -> OneStepLaw:
    """Return the one-step law of a quadratic loss for rows drawn with replacement: Sigma has divisor n.

    Args:
        hessian: of the mean loss, shape (p, p).
        gradients: of the rows, shape (n, p).
    """
    mean = gradients.mean(0)
    curvature = float(mean @ hessian @ mean)
    around = gradients - mean
    spread = float(((around @ hessian) * around).sum()) / len(gradients)
    square = float(mean @ mean)
    return OneStepLaw(spread / curvature, square / curvature, square)


def along_run(training: Training, steps: Sequence[int]) -> list[NoiseScale]:
    """Train, and return the noise scale over all training rows after each number of updates, given in rising order.

    Raises:
        UsageError: the rows are in files and not in memory, the problem weighs its rows, or see `noise_scale`.
    """
    rows = training.rows
    if not (isinstance(rows, tuple) and all(isinstance(part, Tensor) for part in rows)):
        raise UsageError("the noise scale needs its rows in memory, features and targets in one tensor each")
    if training.weight is not None:
        raise UsageError("the noise scale counts every row alike, and this problem weighs them: give it without weight")
    stream, done, found = training.stream(), 0, []
    for step in steps:
        training.train(next(stream) for _ in range(step - done))
        done = step
        found.append(noise_scale(training.model, training.loss, *rows))
    return found
