"""Loss curves: fixed steps, budgets, divergence, and gradient descent on quadratics against its formula (K6)."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mbbench.case import Budget, Case
from mbbench.measuring import convergence
from mbbench.measuring.convergence import divergence, evaluation_steps, last_step, loss_curve, samples_seen
from mbbench.measuring.files import Files
from mbbench.measuring.problems import Problem, resolve
from mbbench.measuring.training import prepare


def curve(problem: Problem | str, budget: Budget, **fields):
    found = resolve(problem)[0] if isinstance(problem, str) else problem
    fields = {"n_samples": found.default_samples, "problem": problem if isinstance(problem, str) else "a:b"} | fields
    return loss_curve(prepare(Case(**fields), found), budget, lambda phase: None)


def every_step(monkeypatch) -> None:
    monkeypatch.setattr(convergence, "evaluation_steps", lambda case, rows, budget: list(range(1, budget.max_steps + 1)))


def predicted(x: torch.Tensor, y: torch.Tensor, start: torch.Tensor, lr: float, steps: int) -> list[float]:
    """Return L* + sum of (lam / 2) a^2 (1 - lr lam)^(2t) for mean squared error, in float64."""
    n = len(x)
    eigenvalues, vectors = torch.linalg.eigh(2 * x.T @ x / n)
    best = torch.linalg.lstsq(x, y, driver="gelsd").solution
    least = float((x @ best - y).square().mean())
    coordinates = (vectors.T @ (start - best)).flatten()
    return [
        least + float((eigenvalues / 2 * coordinates**2 * (1 - lr * eigenvalues) ** (2 * t)).sum()) for t in range(steps + 1)
    ]


@pytest.mark.parametrize("lr", [0.3, 0.95, 1.9])
@pytest.mark.parametrize("spectrum", [(1.0, 0.1, 0.01), (1.0,), (1.0, 0.9, 1e-3, 1e-4)])
def test_full_batch_follows_the_formula_on_a_quadratic_with_its_minimum_at_the_origin(monkeypatch, spectrum, lr):
    every_step(monkeypatch)
    d = len(spectrum)
    # n = d rows on the axes: 2 X'X / n has the planted eigenvalues, and y = 0 puts the minimum, 0, at the origin.
    x = torch.diag(torch.tensor(spectrum, dtype=torch.float64) * d / 2).sqrt()
    planted = Problem(
        model=lambda: nn.Linear(d, 1, bias=False),
        loss=functional.mse_loss,
        data=(x, torch.zeros(d, 1, dtype=torch.float64)),
        held_out=0.0,
    )
    start = planted.start(0).double().weight.detach().T
    losses = curve(planted, Budget(max_steps=400), lr=lr, dtype="float64")["curve"].train_loss
    expected = [
        0.5 * sum(s * float(a) ** 2 * (1 - lr * s) ** (2 * t) for s, a in zip(spectrum, start, strict=True))
        for t in range(401)
    ]
    assert losses == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("lr", [1e-5, 1 / 44013.672, 4.5e-5])
def test_full_batch_follows_the_formula_on_the_notebooks_rows(monkeypatch, lr):
    every_step(monkeypatch)
    problem = resolve("notebook")[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        torch.empty(49592, dtype=torch.int32).random_()
        model = nn.Linear(3, 1)
    from_k1 = Problem(model=model, loss=functional.mse_loss, data=problem.data, held_out=0.0)
    losses = curve(from_k1, Budget(max_steps=400), lr=lr, dtype="float64")["curve"].train_loss
    x, y = (part.double() for part in problem.data)
    start = torch.cat([model.weight.flatten(), model.bias]).double().detach()[:, None]
    expected = predicted(torch.cat([x, torch.ones(5, 1, dtype=torch.float64)], dim=1), y, start, lr, 400)
    assert losses == pytest.approx(expected, rel=1e-9)


def test_the_step_at_which_a_run_is_looked_at_depends_on_neither_clock_nor_losses():
    budget = Budget(max_steps=300)
    runs = [curve("digits-mlp", budget, batch_size=32, lr=lr)["curve"] for lr in (0.1, 0.2)]
    assert runs[0].step == runs[1].step
    assert runs[0].samples == runs[1].samples
    assert runs[0].train_loss != runs[1].train_loss


@pytest.mark.parametrize(
    ("n", "batch", "budget"),
    [
        (1438, 32, Budget(max_steps=2000, max_seconds=5)),
        (1438, 1438, Budget(max_steps=2000, max_seconds=5)),
        (1_000_000, 32, Budget(max_steps=625_000, max_seconds=5)),
        (1_000_000, 1, Budget(max_steps=20_000_000, max_seconds=5)),
        (100_000, 100_000, Budget(max_steps=2000, max_seconds=5)),
        (5, 2, Budget(max_steps=50)),
    ],
)
def test_evaluations_are_geometric_and_cost_two_percent_where_that_leaves_a_curve(n, batch, budget):
    steps = evaluation_steps(Case(problem="a:b", n_samples=n, batch_size=batch), n, budget)
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (1, budget.max_steps)
    ratios = [b / a for a, b in itertools.pairwise(steps[:-1]) if a > 20]
    assert not ratios or max(ratios) < 2 * min(ratios)
    step_s = 60e-6 * (1 + batch / 256)  # the seconds that the plan reckons with
    ends = min(budget.max_steps, (budget.max_seconds or math.inf) / step_s)
    made = sum(step <= ends for step in steps)
    assert made * 0.6 * (256 + n) / (256 + batch) <= 0.02 * ends or made <= convergence.FEWEST_POINTS + 1 or ends <= 100


def test_samples_count_ragged_batches_as_what_they_are():
    assert [samples_seen(step, 5, 2) for step in range(7)] == [0, 2, 4, 5, 7, 9, 10]


def test_epochs_and_samples_of_a_curve_agree_with_its_steps():
    found = curve("notebook", Budget(max_epochs=4), batch_size=2)["curve"]
    assert found.step[-1] == 12
    assert found.samples[-1] == 20
    assert found.epoch[-1] == 4.0


def test_the_first_limit_of_a_budget_ends_a_run():
    assert last_step(Budget(max_steps=100, max_epochs=3), steps_per_epoch=7) == 21
    assert last_step(Budget(max_steps=10, max_epochs=3), steps_per_epoch=7) == 10
    assert last_step(Budget(max_seconds=1.0), steps_per_epoch=7) > 10**6


def test_seconds_that_end_a_run_before_its_steps_are_said_so():
    found = curve("linear", Budget(max_steps=10**7, max_seconds=0.05))
    assert found["status"] == "budget_exhausted"
    assert "0.05 s of training" in found["message"]
    assert curve("linear", Budget(max_seconds=0.05))["status"] == "ok"


def test_a_target_ends_a_run_at_the_first_evaluation_that_meets_it():
    losses = curve("digits-mlp", Budget(max_steps=2000, target_loss=1.0), batch_size=16)["curve"].train_loss
    assert losses[-1] <= 1.0 < min(losses[:-1])


def test_a_learning_rate_above_two_over_the_largest_eigenvalue_diverges():
    found = curve("notebook", Budget(max_steps=5000), lr=4.6e-5)
    assert found["status"] == "diverged"
    assert "4.6e-05" in found["message"]
    assert found["curve"].step[-1] < 5000


def test_a_loss_that_is_not_finite_is_none_in_the_curve():
    found = curve("linear", Budget(max_steps=1000), lr=1e30, batch_size=8)
    assert found["status"] == "diverged"
    assert found["curve"].train_loss[-1] is None


def test_divergence_needs_a_loss_that_is_not_finite_or_two_exploded_ones():
    assert divergence([1.0, 2.0]) is None
    assert divergence([1.0, 1e7]) is None
    assert divergence([1.0, 1e7, 5.0]) is None
    assert divergence([1.0, 1e7, 2e7])
    assert divergence([1.0, math.inf])
    assert divergence([math.nan])


def test_a_loss_that_is_negative_or_starts_at_nothing_has_not_exploded():
    assert divergence([-2.0, -2.1, -2.2]) is None
    assert divergence([0.0, 1e-9, 1e-9]) is None
    assert divergence([-2.0, 3e6, 3e6])


def test_a_run_ends_within_a_twentieth_of_its_seconds_however_far_its_next_evaluation_is():
    found = curve("linear", Budget(max_steps=10**7, max_seconds=0.2), batch_size=10)
    assert found["measuring_s"] - found["evaluation_s"] < 0.4


def test_the_warm_up_leaves_model_and_random_order_untouched(monkeypatch):
    with_warm_up = curve("digits-mlp", Budget(max_steps=20), batch_size=32)["curve"].train_loss
    monkeypatch.setattr(convergence, "warm_up", lambda training: None)
    assert curve("digits-mlp", Budget(max_steps=20), batch_size=32)["curve"].train_loss == with_warm_up


def test_dropout_draws_the_same_with_and_without_a_warm_up(monkeypatch):
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    dropped = Problem(
        model=lambda: nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 1)),
        loss=functional.mse_loss,
        data=(x, x[:, :1]),
    )

    def losses():
        torch.manual_seed(0)
        return curve(dropped, Budget(max_steps=10), batch_size=16, n_samples=51)["curve"].train_loss

    with_warm_up = losses()
    monkeypatch.setattr(convergence, "warm_up", lambda training: None)
    assert losses() == with_warm_up


def test_held_out_losses_stand_at_the_same_points_and_are_none_where_there_are_no_such_rows():
    held = curve("digits-mlp", Budget(max_steps=10), batch_size=32)["curve"]
    assert all(loss is not None for loss in held.heldout_loss)
    assert set(curve("linear", Budget(max_steps=10))["curve"].heldout_loss) == {None}


def test_training_seconds_only_grow():
    seconds = curve("digits-mlp", Budget(max_steps=50), batch_size=32)["curve"].train_s
    assert seconds[0] == 0.0
    assert list(seconds) == sorted(seconds)


def test_a_loss_that_is_not_finite_from_the_start_is_an_error_of_the_data_or_the_model():
    x = torch.full((20, 2), math.nan)
    spoiled = Problem(model=lambda: nn.Linear(2, 1), loss=functional.mse_loss, data=(x, torch.zeros(20, 1)), held_out=0.0)
    found = curve(spoiled, Budget(max_steps=10))
    assert found["status"] == "error"
    assert "not finite before the first update" in found["message"]


def test_a_loss_curve_over_rows_in_files_is_that_over_the_same_rows_in_memory(tmp_path):
    x = np.random.default_rng(0).standard_normal((300, 3), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", x[:, :1])
    files = Files(x=tmp_path / "x.npy", y=tmp_path / "y.npy")
    stored = Problem(model=lambda: nn.Linear(3, 1), loss=functional.mse_loss, data=files)
    by_loader = [
        curve(stored, Budget(max_steps=40), loader=loader, batch_size=16, shuffle=False)["curve"]
        for loader in ("stream", "slice")
    ]
    assert by_loader[0].train_loss == by_loader[1].train_loss
    assert by_loader[0].heldout_loss == by_loader[1].heldout_loss
    assert by_loader[0].heldout_loss[-1] < by_loader[0].heldout_loss[0]
