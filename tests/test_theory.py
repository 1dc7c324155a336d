"""The upper bound of the convergence rate is one (K11), and the noisy quadratic model gives its known steps (K13)."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from mbbench.reporting.theory import m_star, noisy_quadratic_steps, rate_bound, rows_spectrum


def data_sets():
    generator = np.random.default_rng(0)
    yield generator.normal(size=(12, 3))
    yield generator.normal(size=(20, 4)) * np.array([3.0, 1.0, 0.5, 0.2])
    heavy = generator.normal(size=(10, 3))
    heavy[0] *= 6  # one long row: beta far above lam_1
    yield heavy
    yield generator.normal(size=(15, 2)) @ generator.normal(size=(2, 4))  # of rank 2 in 4 dimensions


def tuned_rate(x, batch_size):
    """Return the least spectral radius over lr of M -> E[(I - lr H_m) M (I - lr H_m)], on the space the rows span."""
    basis = np.linalg.svd(x, full_matrices=False)
    rank = int(np.linalg.matrix_rank(x))
    rows = x @ basis.Vh[:rank].T
    eye, hessian = np.eye(rank), rows.T @ rows / len(rows)
    squares = np.stack([np.kron(np.outer(row, row), np.outer(row, row)) for row in rows]).mean(0)
    second = squares / batch_size + (1 - 1 / batch_size) * np.kron(hessian, hessian)

    def radius(lr):
        first = np.kron(hessian, eye) + np.kron(eye, hessian)
        return float(np.abs(np.linalg.eigvalsh(np.eye(rank**2) - lr * first + lr**2 * second)).max())

    # The largest of quadratic forms that are convex in lr is convex: one minimum.
    return minimize_scalar(radius, bounds=(0, 4 / np.linalg.eigvalsh(hessian)[-1]), method="bounded").fun


@pytest.mark.parametrize("x", list(data_sets()), ids=["round", "long", "one long row", "rank 2"])
def test_the_tuned_rate_is_never_above_the_bound(x):
    spectrum = rows_spectrum(x)
    knee = m_star(*spectrum)
    for batch_size in (1, 2, 3, 5, math.floor(knee), math.ceil(knee), 20, 100, 10_000):
        assert tuned_rate(x, batch_size) <= rate_bound(batch_size, *spectrum).factor + 1e-9


def test_the_two_branches_of_the_bound_meet_at_m_star():
    spectrum = (10.0, 3.0, 0.5)
    knee = m_star(*spectrum)
    assert knee == pytest.approx(5.0)
    below, above = rate_bound(knee, *spectrum), rate_bound(knee * (1 + 1e-9), *spectrum)
    assert below.lr == pytest.approx(above.lr, rel=1e-6)
    assert below.factor == pytest.approx(above.factor, rel=1e-6)


def test_a_huge_batch_has_the_rate_of_gradient_descent():
    found = rate_bound(1e12, 10.0, 3.0, 0.5)
    assert found.lr == pytest.approx(2 / 3.5)
    assert found.factor == pytest.approx((2.5 / 3.5) ** 2)


def test_equal_eigenvalues_have_no_m_star():
    assert m_star(5.0, 1.0, 1.0) == math.inf
    assert rate_bound(4, 5.0, 1.0, 1.0).factor == pytest.approx(1 - 4 / 8)


def test_spectra_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="expected them above 0 and rising"):
        rate_bound(1, 1.0, 2.0, 0.5)
    with pytest.raises(ValueError, match="all rows are 0"):
        rows_spectrum(np.zeros((3, 2)))


def test_the_spectrum_leaves_out_directions_without_rows():
    beta, largest, smallest = rows_spectrum(np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    assert (beta, largest, smallest) == (4.0, 2.0, 0.5)


@pytest.mark.parametrize(
    ("batch_size", "lr", "target", "steps"), [(1, 0.1, 0.5, 26143), (16, 1.0, 0.5, 2094), (math.inf, 1.0, 0.1, 5279)]
)
def test_the_noisy_quadratic_model_takes_its_known_steps(batch_size, lr, target, steps):
    assert noisy_quadratic_steps(batch_size, lr, target) == steps


def test_a_risk_that_the_noise_keeps_up_is_never_reached():
    assert noisy_quadratic_steps(1, 1.0, 0.1, dimensions=10, most_steps=1000) is None
