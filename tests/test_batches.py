"""Loaders: every row once an epoch, in an order that follows from the seed; a full batch is not shuffled for nothing."""

import itertools

import pytest
import torch

from mbbench import case as names
from mbbench.case import Case
from mbbench.measuring import batches, training

X = torch.arange(10.0).reshape(10, 1)


def rows(case: Case, epochs: int = 1) -> list[list[list[float]]]:
    """Return the rows of each batch of each epoch."""
    start = batches.epochs(case, X, X)
    return [[x.flatten().tolist() for update in start() for x, _, _ in update] for _ in range(epochs)]


def case(**fields) -> Case:
    return Case(problem="a:b", n_samples=10, **fields)


@pytest.mark.parametrize("loader", names.LOADERS)
@pytest.mark.parametrize("batch_size", [1, 3, 10, None])
def test_every_row_comes_once_an_epoch_in_batches_of_the_size(loader, batch_size):
    for epoch in rows(case(loader=loader, batch_size=batch_size), epochs=2):
        assert sorted(itertools.chain(*epoch)) == X.flatten().tolist()
        size = batch_size or 10
        assert [len(batch) for batch in epoch] == [size] * (10 // size) + ([10 % size] if 10 % size else [])


@pytest.mark.parametrize("loader", names.LOADERS)
def test_the_order_follows_from_the_seed_and_changes_from_epoch_to_epoch(loader):
    first, again = (rows(case(loader=loader, batch_size=3, seed=1), epochs=2) for _ in range(2))
    other = rows(case(loader=loader, batch_size=3, seed=2), epochs=2)
    assert first == again
    assert first[0] != first[1]
    assert first != other


@pytest.mark.parametrize("loader", names.LOADERS)
def test_without_shuffling_the_rows_come_in_their_stored_order(loader):
    [epoch] = rows(case(loader=loader, batch_size=4, shuffle=False))
    assert list(itertools.chain(*epoch)) == X.flatten().tolist()


@pytest.mark.parametrize("loader", ["slice", "gather"])
def test_a_full_batch_is_handed_out_as_it_lies(loader):
    [update] = batches.epochs(case(loader=loader), X, X)()
    assert update[0][0].data_ptr() == X.data_ptr()


def test_slice_hands_out_views_and_gather_copies():
    def shares_memory(loader: str) -> bool:
        parts = [x for update in batches.epochs(case(loader=loader, batch_size=2), X, X)() for x, _, _ in update]
        return parts[0].untyped_storage().data_ptr() == parts[1].untyped_storage().data_ptr()

    assert shares_memory("slice")
    assert not shares_memory("gather")


@pytest.mark.parametrize("loader", names.LOADERS)
def test_micro_batches_end_where_the_update_ends(loader):
    start = batches.epochs(case(loader=loader, batch_size=4, micro_batch=2), X, X)
    updates = [[(len(x), float(weight)) for x, _, weight in update] for update in start()]
    assert updates == [[(2, 0.5), (2, 0.5)], [(2, 0.5), (2, 0.5)], [(2, 1.0)]]


def test_the_names_of_loaders_and_optimizers_are_those_that_exist():
    assert set(batches._BATCHES) == set(names.LOADERS)
    assert set(training.OPTIMIZERS) == set(names.OPTIMIZERS)
