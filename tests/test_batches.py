"""Loaders: every row once an epoch, in an order that follows from the seed; a full batch is not shuffled for nothing."""

import itertools

import numpy as np
import pytest
import torch

from mbbench import case as names
from mbbench.case import Case
from mbbench.measuring import batches, optimizers
from mbbench.measuring.files import Files, Stored

X = torch.arange(10.0).reshape(10, 1)


@pytest.fixture
def start_epoch(tmp_path):
    """Return what starts an epoch of a case over X, which is in a file where the loader reads files."""
    np.save(tmp_path / "x.npy", X.numpy())
    stored = Stored(Files(x=tmp_path / "x.npy", y=tmp_path / "x.npy"), ((0, 10),))
    return lambda case, weight=None: batches.epochs(case, stored if case.loader == "stream" else (X, X), weight)


@pytest.fixture
def rows(start_epoch):
    """Return the rows of each batch of each epoch."""

    def of(case: Case, epochs: int = 1) -> list[list[list[float]]]:
        start = start_epoch(case)
        return [[x.flatten().tolist() for update in start() for x, _, _ in update] for _ in range(epochs)]

    return of


def case(**fields) -> Case:
    return Case(problem="a:b", n_samples=10, **fields)


@pytest.mark.parametrize("loader", names.LOADERS)
@pytest.mark.parametrize("batch_size", [1, 3, 10, None])
def test_every_row_comes_once_an_epoch_in_batches_of_the_size(rows, loader, batch_size):
    for epoch in rows(case(loader=loader, batch_size=batch_size), epochs=2):
        assert sorted(itertools.chain(*epoch)) == X.flatten().tolist()
        size = batch_size or 10
        assert [len(batch) for batch in epoch] == [size] * (10 // size) + ([10 % size] if 10 % size else [])


@pytest.mark.parametrize("loader", names.LOADERS)
def test_the_order_follows_from_the_seed_and_changes_from_epoch_to_epoch(rows, loader):
    first, again = (rows(case(loader=loader, batch_size=3, seed=1), epochs=2) for _ in range(2))
    other = rows(case(loader=loader, batch_size=3, seed=2), epochs=2)
    assert first == again
    assert first[0] != first[1]
    assert first != other


@pytest.mark.parametrize("loader", names.LOADERS)
def test_without_shuffling_the_rows_come_in_their_stored_order(rows, loader):
    [epoch] = rows(case(loader=loader, batch_size=4, shuffle=False))
    assert list(itertools.chain(*epoch)) == X.flatten().tolist()


@pytest.mark.parametrize("loader", ["slice", "gather"])
def test_a_full_batch_is_handed_out_as_it_lies(loader):
    [update] = batches.epochs(case(loader=loader), (X, X))()
    assert update[0][0].data_ptr() == X.data_ptr()


def test_slice_hands_out_views_and_gather_copies():
    def shares_memory(loader: str) -> bool:
        parts = [x for update in batches.epochs(case(loader=loader, batch_size=2), (X, X))() for x, _, _ in update]
        return parts[0].untyped_storage().data_ptr() == parts[1].untyped_storage().data_ptr()

    assert shares_memory("slice")
    assert not shares_memory("gather")


@pytest.mark.parametrize("loader", names.LOADERS)
def test_micro_batches_end_where_the_update_ends(start_epoch, loader):
    start = start_epoch(case(loader=loader, batch_size=4, micro_batch=2))
    updates = [[(len(x), float(weight)) for x, _, weight in update] for update in start()]
    assert updates == [[(2, 0.5), (2, 0.5)], [(2, 0.5), (2, 0.5)], [(2, 1.0)]]


@pytest.mark.parametrize("loader", names.LOADERS)
def test_weighted_micro_batches_are_those_of_the_update_weighted_by_their_share_of_its_weight(start_epoch, loader):
    asked = case(loader=loader, batch_size=4, micro_batch=2, shuffle=False)
    for weight in (lambda x, y: float(x.sum()), lambda x, y: y.sum()):  # a number or a 0-d tensor
        updates = [[(x.flatten().tolist(), float(share)) for x, _, share in u] for u in start_epoch(asked, weight)()]
        assert updates == [
            [([0, 1], pytest.approx(1 / 6)), ([2, 3], pytest.approx(5 / 6))],
            [([4, 5], pytest.approx(9 / 22)), ([6, 7], pytest.approx(13 / 22))],
            [([8, 9], 1.0)],
        ]


def test_weights_are_added_up_in_float32_at_least(start_epoch):
    asked = case(batch_size=10, micro_batch=5, dtype="float16")
    [[(_, _, share), _]] = start_epoch(asked, lambda x, y: 60_000)()  # float16 ends at 65504
    assert (share.dtype, float(share)) == (torch.float16, 0.5)


def test_the_names_of_loaders_and_optimizers_are_those_that_exist():
    assert {*batches._BATCHES, "stream"} == set(names.LOADERS)
    assert set(optimizers.OPTIMIZERS) == set(names.OPTIMIZERS)
