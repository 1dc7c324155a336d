"""The one training loop: accumulation is full batch, ragged batches keep their own mean, seeds decide."""

import dataclasses
import itertools

import pytest
import torch
from torch.nn import functional

from mbbench.case import Case
from mbbench.measuring.optimizers import OPTIMIZERS
from mbbench.measuring.problems import Problem, resolve
from mbbench.measuring.training import mean_loss, prepare, train

N = 1797  # all digits, in their stored order (K4)
MICRO_BATCHES = {1: (1797, 1), 7: (257, 5), 64: (29, 5), 256: (8, 5), 1024: (2, 773)}  # K4: updates, rows of the last


def gradient(case: Case, weighted: bool = True) -> torch.Tensor:
    """Return the gradient of one full-batch update as one vector, by the product's own loop."""
    training = prepare(case, resolve("digits-mlp")[0])
    updates = training.epoch()
    if not weighted:  # what a careless accumulation does: the mean of the batches' means
        parts = [(x, y, None) for update in updates for x, y, _ in update]
        loss = lambda prediction, target: functional.cross_entropy(prediction, target) / len(parts)  # noqa: E731
        train(training.model, loss, OPTIMIZERS["sgd"](training.model.parameters(), 0.0), [parts])
    else:
        train(training.model, training.loss, OPTIMIZERS["sgd"](training.model.parameters(), 0.0), updates)
    return torch.cat([parameter.grad.flatten() for parameter in training.model.parameters()])


def full(**fields) -> Case:
    return Case(problem="digits-mlp", n_samples=N, lr=0.1, **fields)


@pytest.mark.parametrize("micro_batch", MICRO_BATCHES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
def test_full_batch_equals_accumulated_micro_batches(micro_batch, dtype, tolerance):
    whole = gradient(full(dtype=dtype))
    accumulated = gradient(full(dtype=dtype, micro_batch=micro_batch))
    assert (accumulated - whole).norm() / whole.norm() <= tolerance


@pytest.mark.parametrize("micro_batch", [7, 64, 256, 1024])
def test_the_unweighted_mean_of_batch_means_is_another_gradient(micro_batch):
    whole = gradient(full(dtype="float64"))
    careless = gradient(full(dtype="float64", micro_batch=micro_batch), weighted=False)
    off = float((careless - whole).norm() / whole.norm())
    assert off > 1e-3
    if micro_batch == 256:  # its last batch has 5 rows
        assert 0.4 <= off <= 0.8


@pytest.mark.parametrize("micro_batch", MICRO_BATCHES)
def test_micro_batches_of_a_full_batch_are_as_many_as_known(micro_batch):
    training = prepare(full(micro_batch=micro_batch), resolve("digits-mlp")[0])
    [parts] = [list(update) for update in training.epoch()]
    assert (len(parts), len(parts[-1][0])) == MICRO_BATCHES[micro_batch]


@pytest.mark.parametrize("batch_size", MICRO_BATCHES)
def test_mini_batches_of_an_epoch_are_as_many_as_known(batch_size):
    training = prepare(full(batch_size=batch_size), resolve("digits-mlp")[0])
    rows = [len(x) for update in training.epoch() for x, _, _ in update]
    assert (len(rows), rows[-1]) == MICRO_BATCHES[batch_size]
    assert sum(rows) == N


def test_a_ragged_last_mini_batch_keeps_its_own_mean():
    case = Case(problem="notebook", n_samples=5, batch_size=2, shuffle=False, lr=1e-5)
    training = prepare(case, resolve("notebook")[0])
    by_hand = resolve("notebook")[0].start(0)
    optimizer = OPTIMIZERS["sgd"](by_hand.parameters(), 1e-5)
    training.train(training.epoch())
    x, y = training.rows
    for rows in (slice(0, 2), slice(2, 4), slice(4, 5)):
        optimizer.zero_grad()
        functional.mse_loss(by_hand(x[rows]), y[rows]).backward()
        optimizer.step()
    assert torch.equal(training.model.weight, by_hand.weight)


def test_accumulation_inside_ragged_mini_batches_weighs_by_the_rows_of_the_update():
    # 5 rows, updates of 4 and 1, micro-batches of 2: weights 1/2, 1/2 and 1.
    case = Case(problem="notebook", n_samples=5, batch_size=4, micro_batch=2, shuffle=False)
    training = prepare(case, resolve("notebook")[0])
    updates = [[(len(x), float(weight)) for x, _, weight in update] for update in training.epoch()]
    assert updates == [[(2, 0.5), (2, 0.5)], [(1, 1.0)]]


@pytest.mark.parametrize("loader", ["gather", "dataloader", "dataloader-batched"])
def test_every_loader_trains_the_same_model_where_the_order_is_the_same(loader):
    case = Case(problem="linear", n_samples=100, batch_size=32, shuffle=False)
    by_slice, by_other = (prepare(each, resolve("linear")[0]) for each in (case, case.on(loader=loader)))
    for training in (by_slice, by_other):
        training.train(itertools.islice(training.stream(), 20))
    assert torch.equal(by_slice.model.weight, by_other.model.weight)


@pytest.mark.parametrize("loader", ["slice", "gather", "dataloader", "dataloader-batched"])
@pytest.mark.parametrize("batch_size", [7, None])
def test_the_same_seed_gives_the_same_parameters_bit_for_bit_and_another_seed_others(loader, batch_size):
    def weights(seed: int) -> torch.Tensor:
        case = Case(problem="linear", n_samples=100, batch_size=batch_size, loader=loader, seed=seed)
        training = prepare(case, resolve("linear")[0])
        training.train(itertools.islice(training.stream(), 30))
        return training.model.weight.detach()

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


TOKENS = torch.randint(1, 50, (60, 12), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.arange(60) // 6 + 1  # sorted by length: a micro-batch of 8 has 10 to 80 tokens
SEQUENCES = TOKENS * (torch.arange(12) < LENGTHS[:, None])  # 0 is padding


def of_tokens(weight=None) -> Problem:
    """Predict each token's number, the mean taken over the tokens that are not padding."""

    def loss(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        real = target > 0
        return (prediction.squeeze(-1) - target / 50).square()[real].mean()

    model = lambda: torch.nn.Sequential(torch.nn.Embedding(50, 4), torch.nn.Linear(4, 1))  # noqa: E731
    return Problem(model=model, loss=loss, data=(SEQUENCES, SEQUENCES), held_out=0.0, weight=weight)


def real_tokens(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (y > 0).sum()


def token_gradient(weight=None, **fields) -> torch.Tensor:
    training = prepare(Case(problem="a:b", n_samples=60, dtype="float64", **fields), of_tokens(weight))
    training.train(training.epoch())
    return torch.cat([parameter.grad.flatten() for parameter in training.model.parameters()])


@pytest.mark.parametrize("loader", ["slice", "gather", "dataloader"])
@pytest.mark.parametrize("micro_batch", [1, 7, 8, 32])
def test_padded_sequences_accumulate_exactly_by_their_tokens_and_not_by_their_rows(micro_batch, loader):
    whole = token_gradient()

    def off(weight) -> float:
        accumulated = token_gradient(weight, micro_batch=micro_batch, loader=loader)
        return float((accumulated - whole).norm() / whole.norm())

    assert off(real_tokens) <= 1e-13
    assert off(None) > 1e-3


def test_a_weight_changes_nothing_where_an_update_is_one_batch_or_weights_are_rows():
    assert torch.equal(token_gradient(real_tokens), token_gradient())
    by_rows = token_gradient(lambda x, y: len(x), micro_batch=7)
    assert torch.allclose(by_rows, token_gradient(micro_batch=7), rtol=1e-14, atol=0)


def test_mean_loss_weighs_the_chunks_of_an_evaluation_as_the_problem_says(monkeypatch):
    by_tokens, by_rows = (
        prepare(Case(problem="a:b", n_samples=60, dtype="float64"), of_tokens(weight)) for weight in (real_tokens, None)
    )
    whole = mean_loss(by_tokens, by_tokens.rows)
    assert mean_loss(by_rows, by_rows.rows) == whole
    monkeypatch.setattr("mbbench.measuring.training.EVALUATION_ROWS", (7, 7))
    assert mean_loss(by_tokens, by_tokens.rows) == pytest.approx(whole, rel=1e-13)
    assert abs(mean_loss(by_rows, by_rows.rows) / whole - 1) > 1e-3


def test_rows_that_are_all_trained_on_in_their_own_dtype_are_used_as_they_are():
    x = torch.zeros(9, 3)
    given = Problem(model=lambda: torch.nn.Linear(3, 1), loss=functional.mse_loss, data=(x, x[:, :1].clone()))
    training = prepare(Case(problem="a:b", n_samples=9, batch_size=3), given)
    assert [part.data_ptr() for part in training.rows] == [part.data_ptr() for part in given.data]


def test_mean_loss_weighs_the_chunks_of_an_evaluation_by_their_rows(monkeypatch):
    training = prepare(Case(problem="digits-mlp", n_samples=N), resolve("digits-mlp")[0])
    whole = mean_loss(training, training.rows)
    monkeypatch.setattr("mbbench.measuring.training.EVALUATION_ROWS", (256, 256))
    assert mean_loss(training, training.rows) == pytest.approx(whole, rel=1e-6)


def test_an_evaluation_leaves_the_model_training_and_runs_it_in_evaluation_mode():
    modes = []

    class Spy(torch.nn.Linear):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    x = torch.zeros(4, 3)
    spied = Problem(model=lambda: Spy(3, 1), loss=functional.mse_loss, data=(x, torch.zeros(4, 1)))
    training = prepare(Case(problem="a:b", n_samples=4), spied)
    mean_loss(training, training.rows)
    training.train(training.epoch())
    assert modes == [False, True]


def test_rows_in_host_memory_reach_the_model_on_its_device():
    case = Case(problem="linear", n_samples=64, batch_size=16, options=(("rows", "host"),))
    training = prepare(case, resolve("linear")[0])
    assert all(x.device.type == "cpu" for update in training.epoch() for x, _, _ in update)


def test_an_evaluation_takes_no_more_rows_at_a_time_than_the_training_but_1024():
    seen = []
    problem = dataclasses.replace(
        resolve("linear")[0], loss=lambda x, y: seen.append(len(x)) or torch.nn.functional.mse_loss(x, y)
    )
    for batch_size, most in ((1, 1024), (2000, 2000), (None, 5000)):
        seen.clear()
        training = prepare(Case(problem="linear", n_samples=5000, batch_size=batch_size), problem)
        mean_loss(training, training.rows)
        assert max(seen) == most
        assert sum(seen) == 5000
