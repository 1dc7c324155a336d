"""The two-batch estimator: exact over every row once (K7), right on average otherwise, and refused where it is unsure."""

import dataclasses
import math

import pytest
import starts
import torch
from torch import nn
from torch.nn import functional

from mbbench.case import Case, UsageError
from mbbench.measuring import noise_scale as noise
from mbbench.measuring import two_batch
from mbbench.measuring.problems import resolve
from mbbench.measuring.training import prepare

mse = functional.mse_loss


@pytest.fixture
def start():
    return starts.notebook_start()


def test_two_batches_over_every_row_once_give_the_trace_and_the_gradient_of_the_source_exactly(start):
    model, x, y = start
    exact = noise.noise_scale(model, mse, x, y)
    squares = two_batch.small_batch_squares(model, mse, (x, y), batch_size=1, batches=5, seed=3)
    found = two_batch.two_batch(squares, 1, two_batch.gradient_square(model, mse, x, y), 5)
    assert found.trace == pytest.approx(exact.trace(), rel=1e-10)
    assert found.gradient_square == pytest.approx(exact.gradient_square - exact.trace() / 5, rel=1e-10)
    assert found.b_super == pytest.approx(exact.b_super, rel=1e-10)
    assert found.b_fin == pytest.approx(exact.b_fin(), rel=1e-10)
    assert (found.b_fin_error, found.b_super_error, found.refused) == (0.0, 0.0, None)


def test_two_batches_are_right_on_average_and_their_error_says_how_far_off_one_of_them_is():
    model, x, y = starts.linear_rows()
    exact, full = noise.noise_scale(model, mse, x, y), two_batch.gradient_square(model, mse, x, y)
    found = [
        two_batch.two_batch(two_batch.small_batch_squares(model, mse, (x, y), 4, 30, seed), 4, full, len(x))
        for seed in range(200)
    ]
    traces = torch.tensor([each.trace for each in found])
    assert float(traces.mean()) == pytest.approx(exact.trace(), abs=4 * float(traces.std()) / math.sqrt(200))
    near = sum(abs(each.b_fin - exact.b_fin()) <= 2 * each.b_fin_error for each in found)
    assert 180 <= near <= 200  # epochs share out their rows, so the error is a little too wide rather than too narrow


def test_an_estimate_with_an_error_above_half_of_itself_is_refused():
    estimate = two_batch.two_batch([0.2, 3.0, 0.4, 2.0], 2, 1.0, 1000)
    assert (estimate.refused, estimate.b_fin, estimate.b_super) == ("too noisy", None, None)
    assert estimate.b_fin_error > 0.5 * estimate.trace


def test_a_single_batch_has_no_error_and_so_no_estimate():
    estimate = two_batch.two_batch([2.0], 2, 1.0, 1000)
    assert (estimate.refused, estimate.b_fin_error, estimate.b_fin) == ("too noisy", None, None)


def test_b_fin_from_the_number_of_rows_on_is_not_resolved():
    # |G_b|^2 = |G_N|^2 + tr(Sigma) (1/b - 1/n): tr(Sigma) 12 above n |G_N|^2 = 10, known exactly.
    estimate = two_batch.two_batch([1 + 12 * 0.9] * 10, 1, 1.0, 10)
    assert (estimate.b_fin, estimate.b_super, estimate.refused) == (pytest.approx(12.0), None, "not resolved")


def test_a_gradient_of_zero_has_no_estimate():
    assert two_batch.two_batch([0.0] * 3, 1, 0.0, 3).b_super is None


def test_batches_that_cannot_be_are_refused_with_what_was_expected():
    x, y = torch.randn(4, 2), torch.zeros(4, 2)
    with pytest.raises(UsageError, match="batch_size is 4"):
        two_batch.small_batch_squares(nn.Linear(2, 2), mse, (x, y), 4, 1, 0)
    with pytest.raises(UsageError, match="got 0 of 1"):
        two_batch.two_batch([], 1, 1.0, 4)


def test_a_point_of_a_run_has_the_noise_scale_both_ways_where_the_training_stands():
    case = Case(problem="linear", n_samples=300, batch_size=8, dtype="float64", seed=4)
    training = prepare(case, resolve("linear")[0])
    stream = training.stream()
    training.train(next(stream) for _ in range(20))
    before = [part.clone() for part in training.model.parameters()]
    point = two_batch.noise_point(training, 20)
    assert all(map(torch.equal, before, training.model.parameters()))
    exact = noise.noise_scale(training.model, mse, *training.rows)
    assert (point.step, point.b_fin, point.b_super) == (20, pytest.approx(exact.b_fin()), pytest.approx(exact.b_super))
    assert point.train_loss == pytest.approx(mse(training.model(training.rows[0]), training.rows[1]).item())
    assert (point.refused is None) == (point.two_batch is not None)
    if point.two_batch is not None:
        assert abs(point.two_batch - exact.b_super) <= 4 * point.two_batch_error


def test_rows_that_are_weighed_have_no_point():
    problem = dataclasses.replace(resolve("linear")[0], weight=lambda x, y: len(x))
    with pytest.raises(UsageError, match="weighs"):
        two_batch.noise_point(prepare(Case(problem="linear", n_samples=50, batch_size=8), problem), 0)
