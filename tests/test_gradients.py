"""An accumulated gradient is told from another one; a check that cannot be made leaves the cell as it is."""

import time
from dataclasses import replace

import models
import pytest
import torch
from torch import nn
from torch.nn import functional

from mbbench.case import Case
from mbbench.measuring import gradients
from mbbench.measuring.gradients import checked, gradient_difference


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """The first optimizer of a process imports for a second and more; in a worker the warm-up has made it."""
    monkeypatch.setattr(gradients, "CHECK_S", 1e3)


def a_case(batch_size=None, n=1100, **fields):
    return Case(problem="m.py:x", n_samples=n, batch_size=batch_size, **fields)


def summed(prediction, target):
    return functional.mse_loss(prediction, target, reduction="sum")


def sparse(n, seed):
    return torch.randint(0, 50, (n, 4), generator=torch.Generator().manual_seed(seed)), torch.zeros(n, 4, 1)


def raises(*_):
    raise MemoryError


@pytest.mark.parametrize("micro", [1, 2, 3, 32, 1100])
def test_an_accumulated_gradient_is_the_full_batch_s(micro):
    assert gradient_difference(a_case(micro_batch=micro), models.mlp()) <= 2e-6
    assert gradient_difference(a_case(micro_batch=micro, dtype="float64", optimizer="adam"), models.mlp()) <= 1e-13


@pytest.mark.parametrize("micro", [1, 2, 3, 32, 1100])
def test_a_loss_that_is_a_sum_has_another_gradient(micro):
    assert gradient_difference(a_case(micro_batch=micro), models._problem(models.linear().model, 32, loss=summed)) > 0.3


@pytest.mark.parametrize("micro", [1, 8])
def test_a_loss_that_weighs_classes_has_another_gradient_unless_the_problem_weighs_alike(micro):
    weights = torch.tensor([1.0, 9.0])

    def rows(n, seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(n, 8, generator=generator), torch.randint(0, 2, (n,), generator=generator)

    def loss(prediction, target):
        return functional.cross_entropy(prediction, target, weight=weights.to(prediction))

    problem = replace(models.linear(), model=lambda: nn.Linear(8, 2), loss=loss, data=rows)
    case = a_case(micro_batch=micro)
    assert gradient_difference(case, problem) > 1e-3
    assert gradient_difference(case, replace(problem, weight=lambda x, y: weights[y].sum())) <= 2e-6


def test_a_gradient_that_is_drawn_at_random_or_is_zero_is_not_checked():
    assert gradient_difference(a_case(64, micro_batch=8), models.dropped()) is None
    none = models._problem(models.linear().model, 32, loss=lambda prediction, target: 0 * prediction.mean())
    assert gradient_difference(a_case(micro_batch=8), none) is None


def test_batchnorm_is_warned_of(measure):
    found = measure(models.__file__, "normalised", a_case(64, micro_batch=8))
    assert found.gradient_difference is None
    assert "not the full batch's computation" in found.message
    assert checked(a_case(64), models.normalised()) == {}


def test_sparse_gradients_are_checked_too():
    problem = models._problem(
        lambda: nn.Embedding(50, 1, sparse=True), data=sparse, loss=lambda p, y: (p - 1).square().mean()
    )
    assert gradient_difference(a_case(micro_batch=8), problem) <= 2e-6


def only_float32(prediction, target):
    assert prediction.dtype == torch.float32
    return functional.mse_loss(prediction, target)


@pytest.mark.parametrize(
    "fields",
    [{"loss": only_float32}, {"loss": raises}, {"data": raises}, {"data": lambda n, seed: models._rows(32)(1100, 0)}],
)
def test_whatever_a_check_raises_leaves_the_difference_unknown(monkeypatch, fields):
    monkeypatch.setattr(gradients, "CHECK_ROWS", 100)
    assert checked(a_case(micro_batch=8), replace(models.linear(), **fields)) == {}


@pytest.mark.parametrize(
    ("micro", "row_floats", "rows"),
    [
        (100, 33, 16_384),
        (8, 33, 2048),
        (10_000, 33, 20_000),
        (8, 8193, 2047),
        (1500, 8193, 3000),
        (1, 2**25, 3),
        (50_000, 33, 40_000),
    ],
)
def test_rows_are_bounded_by_number_and_size_but_two_micro_batches_at_least(micro, row_floats, rows):
    problem = replace(models.linear(), data=(torch.empty(1, 1).expand(40_000, row_floats - 1), torch.empty(40_000, 1)))
    assert gradients._rows(a_case(n=40_000, micro_batch=min(micro, 40_000)), problem) == rows


def test_no_more_rows_are_made_than_are_checked():
    asked = []

    def rows(n, seed):
        asked.append(n)
        return models._rows(32)(n, seed)

    assert gradient_difference(a_case(n=10**9, micro_batch=8), replace(models.linear(), data=rows, held_out=0.2)) <= 2e-6
    assert max(asked) == 256 * 8


def test_a_check_that_takes_too_long_is_given_up_after_one_micro_batch(monkeypatch):
    calls = []

    def loss(prediction, target):
        calls.append(time.perf_counter())
        return functional.mse_loss(prediction, target)

    clock = iter(range(100))
    monkeypatch.setattr(gradients, "CHECK_S", 5.0)
    monkeypatch.setattr(gradients.time, "perf_counter", lambda: next(clock))  # a second more at each look
    assert checked(a_case(micro_batch=8), replace(models.linear(), loss=loss)) == {}
    assert len(calls) == 1
