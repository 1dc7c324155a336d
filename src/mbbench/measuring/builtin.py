"""The built-in problems, all offline: the notebook's five rows, planted ones of any size, and four real data sets.

Real rows are read from the files that scikit-learn ships, without importing it: the import costs 1.8 s and about 100 MiB
in every worker, the reading 0.04 s. A test holds them against scikit-learn's own loaders.
"""

import functools
import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mbbench import notebook_data
from mbbench.case import PROBLEMS, SIZED, UsageError, check_name
from mbbench.measuring.files import Pair
from mbbench.measuring.problems import Problem

CONDITION = 100.0
"""Largest over smallest eigenvalue of the Hessian of `linear`; the largest is 1."""
NOISE = 0.1
"""Standard deviation of the targets of `linear` and `mlp` around what can be fitted."""


def make(name: str) -> Problem:
    """Return the built-in problem of that name; `linear-d128` and `mlp-w1024` choose features and width.

    Raises:
        UsageError: there is none.
    """
    if sized := SIZED.fullmatch(name):
        kind, size = (part for part in sized.groups() if part is not None)
        return linear(int(size)) if kind == "linear" else mlp(int(size))
    check_name("problem", name, PROBLEMS)
    return _MAKERS[name]()


def notebook() -> Problem:
    """Return the five rows and nn.Linear(3, 1) of the notebook mbbench began as; all rows train."""
    return Problem(
        model=lambda: nn.Linear(3, 1),
        loss=functional.mse_loss,
        data=(torch.tensor(notebook_data.X, dtype=torch.float32), torch.tensor(notebook_data.Y, dtype=torch.float32)),
        lr=notebook_data.LR,
        target_loss=1.0,
        held_out=0.0,
        optimum_loss=0.104325556,
        curvature=(6.4155919e-3, 44013.672),
    )


def linear(d: int = 32) -> Problem:
    """Return least squares with a planted Hessian: eigenvalues from 1 down to 1 / CONDITION, evenly spaced in log.

    The rows are whitened exactly and the noise is made orthogonal to the features, so that the Hessian of the mean
    squared error, 2 X'X / n, has these eigenvalues, and the least loss is NOISE ** 2, for every n >= d.
    """
    return Problem(
        model=lambda: nn.Linear(d, 1, bias=False),
        loss=functional.mse_loss,
        data=functools.partial(_linear_rows, d=d),
        lr=0.05,
        target_loss=2 * NOISE**2,
        held_out=0.0,
        n_samples=max(1000, 2 * d),
        optimum_loss=NOISE**2,
        curvature=(1.0 if d == 1 else 1 / CONDITION, 1.0),
    )


def mlp(width: int = 256) -> Problem:
    """Return 64 features, two hidden layers of `width`, and targets from a random network of 32 tanh units plus noise."""
    return Problem(
        model=lambda: nn.Sequential(
            nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        ),
        loss=functional.mse_loss,
        data=_teacher_rows,
        lr=0.05,
        target_loss=0.1,
        n_samples=10_000,
    )


def _digits(model: Callable[[], nn.Module], lr: float, target_loss: float) -> Problem:
    return Problem(model=model, loss=functional.cross_entropy, data=_digits_rows(), lr=lr, target_loss=target_loss)


def _digits_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


_MAKERS: dict[str, Callable[[], Problem]] = {
    "notebook": notebook,
    "linear": linear,
    "diabetes": lambda: Problem(
        model=lambda: nn.Linear(10, 1),
        loss=functional.mse_loss,
        data=_diabetes_rows(),
        lr=0.05,
        target_loss=0.55,  # least squares on all 442 rows leaves 0.482 of the variance
    ),
    "breast-cancer": lambda: Problem(
        model=lambda: nn.Linear(30, 1),
        loss=functional.binary_cross_entropy_with_logits,
        data=_breast_cancer_rows(),
        lr=0.1,
        target_loss=0.1,
    ),
    "digits-softmax": lambda: _digits(lambda: nn.Linear(64, 10), lr=0.5, target_loss=0.15),
    "digits-mlp": lambda: _digits(
        lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), lr=0.2, target_loss=0.1
    ),
    "digits-cnn": lambda: _digits(_digits_cnn, lr=0.1, target_loss=0.1),
    "mlp": mlp,
}


def _linear_rows(n: int, seed: int, *, d: int) -> Pair:
    if n < d:
        raise UsageError(f"n is {n}, but linear has {d} features and a planted Hessian: use {d} rows or more")
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(n, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q
    weights = torch.randn(d, 1, generator=generator, dtype=torch.float64)
    eigenvalues = torch.logspace(0, -np.log10(CONDITION), d, dtype=torch.float64) / 2  # of X'X / n; the Hessian is twice it
    whitener = torch.linalg.inv(torch.linalg.cholesky(raw.T @ raw / n).T)  # raw @ whitener has X'X / n = I
    x = raw @ (whitener * eigenvalues.sqrt()) @ rotation.T
    if n > d:
        noise -= x @ torch.linalg.solve(x.T @ x, x.T @ noise)
        noise *= NOISE / noise.square().mean().sqrt()
    else:
        noise.zero_()  # as many weights as rows fit anything
    return x.float(), (x @ weights + noise).float()


def _teacher_rows(n: int, seed: int) -> Pair:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(64, 32, generator=generator) / 8
    second = torch.randn(32, 1, generator=generator) / 32**0.5
    x = torch.randn(n, 64, generator=generator)
    return x, (x @ first).tanh() @ second + NOISE * torch.randn(n, 1, generator=generator)


def _digits_rows() -> Pair:
    table = _shipped("digits.csv.gz", delimiter=",")
    return torch.from_numpy(table[:, :64] / 16).float(), torch.from_numpy(table[:, 64]).long()


def _diabetes_rows() -> Pair:
    x, y = _shipped("diabetes_data_raw.csv.gz"), _shipped("diabetes_target.csv.gz")
    return _standardised(x), _standardised(y[:, None])


def _breast_cancer_rows() -> Pair:
    table = _shipped("breast_cancer.csv", delimiter=",", skiprows=1)
    return _standardised(table[:, :30]), torch.from_numpy(table[:, 30:]).float()


def _shipped(name: str, delimiter: str | None = None, skiprows: int = 0) -> np.ndarray:
    path = Path(str(importlib.metadata.distribution("scikit-learn").locate_file(f"sklearn/datasets/data/{name}")))
    if not path.is_file():
        raise UsageError(f"the installed scikit-learn does not ship {name}: install scikit-learn 1.4 or newer")
    return np.loadtxt(path, delimiter=delimiter, skiprows=skiprows)


def _standardised(values: np.ndarray) -> Tensor:
    return torch.from_numpy((values - values.mean(axis=0)) / values.std(axis=0)).float()
