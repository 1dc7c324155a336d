"""What theory says about batch sizes, to stand beside what was measured: an upper bound, and the noisy quadratic model.

Easy to get wrong: both are models. The bound's m* is where its own branch changes; the knee that is measured can lie on
either side of it, so it may be reported and never caps a batch size. Both losses carry their halves: half of the mean
square, half of the sum of h m.
"""

import math
from dataclasses import dataclass

import numpy as np

from mbbench.reporting.fits import Array


@dataclass(frozen=True)
class RateBound:
    """How fast mini-batch SGD at least converges in expectation, where every row can be fitted.

    Attributes:
        lr: the learning rate that the bound chooses.
        factor: g, of E|w - w*|^2 in each step: E|w_t - w*|^2 <= g^t |w_0 - w*|^2.
    """

    lr: float
    factor: float


def rows_spectrum(x: Array) -> tuple[float, float, float]:
    """Return beta = max |x|^2, and the largest and the smallest nonzero eigenvalue of X'X / n, of rows of shape (n, d)."""
    eigenvalues = np.linalg.eigvalsh(x.T @ x / len(x))
    # Eigenvalues come out to the largest one's rounding: numpy's own tolerance of a rank.
    nonzero = eigenvalues[eigenvalues > eigenvalues[-1] * max(x.shape) * np.finfo(float).eps]
    if not len(nonzero):
        raise ValueError("all rows are 0: there is nothing to converge along")
    return float((x**2).sum(1).max()), float(nonzero[-1]), float(nonzero[0])


def m_star(beta: float, largest: float, smallest: float) -> float:
    """Return the batch size from which on the bound of `rate_bound` gains less than in proportion.

    beta / (lam_1 - lam_k) + 1, after Ma, Bassily, Belkin 2017 (arXiv 1712.06559), re-derived; infinite where all nonzero
    eigenvalues are one.
    """
    return beta / (largest - smallest) + 1 if largest > smallest else math.inf


def rate_bound(batch_size: float, beta: float, largest: float, smallest: float) -> RateBound:
    """Return the upper bound of the convergence factor at the learning rate that makes it least.

    For half the mean of (w'x - y)^2 with interpolation, rows drawn with replacement (Ma, Bassily, Belkin 2017, arXiv
    1712.06559, re-derived): the mean over batches of m rows obeys E[H_m^2] <= ((m - 1) H^2 + beta H) / m.

    Args:
        batch_size: m.
        beta: the largest squared norm of a row.
        largest: lam_1, of X'X / n.
        smallest: lam_k, its smallest nonzero one.
    """
    m = batch_size
    if not 0 < smallest <= largest <= beta * (1 + 1e-12):  # the mean of x x' has no eigenvalue above the largest |x|^2
        raise ValueError(f"smallest, largest and beta are {smallest}, {largest}, {beta}: expected them above 0 and rising")
    if m <= m_star(beta, largest, smallest):
        below = beta + (m - 1) * smallest
        return RateBound(m / below, 1 - m * smallest / below)
    between = beta + (m - 1) * (largest + smallest)
    return RateBound(2 * m / between, 1 - 4 * m * (m - 1) * largest * smallest / between**2)


def noisy_quadratic_steps(
    batch_size: float, lr: float, target: float, dimensions: int = 10_000, most_steps: int = 100_000
) -> int | None:
    """Return the steps until the noisy quadratic model's risk is at or below `target`; None where it never is.

    Zhang et al. 2019 (arXiv 1907.04164): curvature and noise h_i = c_i = 1 / i, second moments m_i that start at 1 and
    follow m_i <- (1 - lr h_i)^2 m_i + lr^2 c_i / B; risk = half the sum of h_i m_i.

    Args:
        batch_size: B; infinite for no noise.
        lr: constant learning rate.
        target: of the risk.
        dimensions: d.
        most_steps: where to stop looking.
    """
    curvature = 1 / np.arange(1, dimensions + 1)
    decay, noise = (1 - lr * curvature) ** 2, lr**2 * curvature / batch_size
    moments = np.ones(dimensions)
    for step in range(1, most_steps + 1):
        moments *= decay
        moments += noise
        if 0.5 * float(curvature @ moments) <= target:
            return step
    return None
