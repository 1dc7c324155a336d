"""The gradient noise scale of finite data (K7), the one-step law (K8), and the noise scale along a run (K9)."""

import pytest
import starts
import torch
from models import Attention, Recurrent
from torch import nn
from torch.nn import functional

from mbbench import Problem
from mbbench.case import Case, UsageError
from mbbench.measuring import noise_scale as noise
from mbbench.measuring import two_batch
from mbbench.measuring.problems import resolve
from mbbench.measuring.training import prepare

mse = functional.mse_loss


@pytest.fixture
def start():
    return starts.notebook_start()


def test_the_noise_scale_of_the_notebook_at_its_start(start):
    found = noise.noise_scale(start[0], mse, *start[1:])
    assert found.b_fin() == pytest.approx(0.0716890, rel=1e-6)
    assert found.b_super == pytest.approx(0.0727318, rel=1e-6)
    assert 1 / found.b_super == pytest.approx(1 / found.b_fin() - 1 / 5, rel=1e-12)


def test_the_one_step_law_on_the_notebooks_rows(start):
    model, x, y = start
    rows = torch.cat([x, torch.ones(5, 1, dtype=torch.float64)], dim=1)
    law = noise.one_step_law(2 * rows.T @ rows / 5, noise.row_gradients(model, mse, x, y))
    assert law.noise_scale == pytest.approx(0.056777127, rel=1e-6)
    assert law.lr_max == pytest.approx(2.2720216e-5, rel=1e-6)
    assert [law.lr(b) for b in (1, 2, 3)] == pytest.approx([2.149953e-5, 2.209303e-5, 2.229821e-5], rel=1e-6)
    assert [law.decrease(b) for b in (1, 2, 3)] == pytest.approx([9870.0172, 10142.4780, 10236.6721], rel=1e-6)


def test_the_one_step_law_is_the_mean_over_all_batches_of_two_rows(start):
    """All 25 pairs of rows, each stepped along and its loss over all rows taken: the law by brute force."""
    model, x, y = start
    gradients = noise.row_gradients(model, mse, x, y)
    rows = torch.cat([x, torch.ones(5, 1, dtype=torch.float64)], dim=1)
    law = noise.one_step_law(2 * rows.T @ rows / 5, gradients)
    begin = torch.cat([part.detach().flatten() for part in model.parameters()])

    def loss(parameters):
        return float((rows @ parameters - y.flatten()).square().mean())

    after = [loss(begin - law.lr(2) * (gradients[i] + gradients[j]) / 2) for i in range(5) for j in range(5)]
    assert loss(begin) - sum(after) / 25 == pytest.approx(law.decrease(2), rel=1e-9)


def test_the_noise_scale_along_the_notebooks_full_batch_run(start):
    problem = Problem(model=start[0], loss=mse, data=resolve("notebook")[0].data, lr=1e-5, held_out=0.0)
    training = prepare(Case(problem="notebook", n_samples=5, batch_size=None, dtype="float64"), problem)
    found = [each.b_fin(ddof=0) for each in noise.along_run(training, [0, 1, 10, 100, 1000, 2000])]
    assert found == pytest.approx([0.0573512, 0.0574214, 20.5968, 1669.85, 1820.37, 2084.98], rel=1e-4)


def test_the_size_of_the_chunks_changes_nothing():
    model, x, y = starts.linear_rows(n=61)
    whole = noise.noise_scale(model, mse, x, y)
    small = noise.noise_scale(model, mse, x, y, chunk_bytes=7 * 5 * 8)  # 7 rows of 5 parameters
    assert small.gradient_square == pytest.approx(whole.gradient_square, rel=1e-13)
    assert small.deviations_square == pytest.approx(whole.deviations_square, rel=1e-13)


def test_the_rows_gradients_are_those_of_backward():
    model, x, y = starts.linear_rows(n=4)
    for row, gradient in enumerate(noise.row_gradients(model, mse, x, y)):
        model.zero_grad()
        mse(model(x[row : row + 1]), y[row : row + 1]).backward()
        assert torch.allclose(gradient, model.weight.grad.flatten(), rtol=1e-13)


def test_b_fin_from_the_number_of_rows_on_is_not_resolved():
    found = noise.NoiseScale(n=10, gradient_square=1.0, deviations_square=9 * 10.0)
    assert (found.b_fin(), found.resolved, found.b_super) == (10.0, False, None)
    assert noise.NoiseScale(n=10, gradient_square=1.0, deviations_square=9 * 9.0).b_super == pytest.approx(90.0)


def test_a_gradient_of_zero_has_no_noise_scale():
    found = noise.NoiseScale(n=3, gradient_square=0.0, deviations_square=0.0)
    assert (found.b_fin(), found.resolved, found.b_super) == (None, False, None)


@pytest.mark.parametrize("made", [Recurrent, Attention])
def test_layers_that_see_several_positions_of_a_row_have_gradients_of_a_row(made):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = made().double()
    x = torch.randn(3, 4, 16 if made is Recurrent else 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = torch.zeros(3, 1, dtype=torch.float64)
    found = noise.noise_scale(model, mse, x, y)
    assert found.gradient_square == pytest.approx(two_batch.gradient_square(model, mse, x, y), rel=1e-10)


def test_what_has_no_noise_scale_is_refused_with_a_way_out():
    x, y = torch.randn(4, 2), torch.zeros(4, 2)
    with pytest.raises(UsageError, match="normalises over the batch"):
        noise.noise_scale(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), mse, x, y)
    with pytest.raises(UsageError, match="2 rows or more, got 1"):
        noise.noise_scale(nn.Linear(2, 2), mse, x[:1], y[:1])
    with pytest.raises(UsageError, match="no parameter"):
        noise.noise_scale(nn.Linear(2, 2).requires_grad_(False), mse, x, y)


def test_a_problem_that_weighs_its_rows_is_refused_along_a_run():
    problem = Problem(
        model=lambda: nn.Linear(2, 1), loss=mse, data=(torch.randn(4, 2), torch.zeros(4, 1)), weight=lambda x, y: 1.0
    )
    training = prepare(Case(problem="mine.py:problem", n_samples=4, batch_size=2), problem)
    with pytest.raises(UsageError, match="weighs them"):
        noise.along_run(training, [0])
