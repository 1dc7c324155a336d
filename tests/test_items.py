"""Rows of a map-style data set: collated batch by batch by a DataLoader, or all at once for a loader of tensors."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from mbbench.case import Case, UsageError
from mbbench.measuring.items import Items
from mbbench.measuring.problems import Problem
from mbbench.measuring.training import prepare

X = torch.arange(20.0).reshape(10, 2)


class Made(Dataset):
    """Makes its items when they are asked for."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return len(X)

    def __getitem__(self, number):
        self.asked.append(number)
        return X[number], X[number, :1]


def problem(**fields):
    return Problem(**({"model": lambda: nn.Linear(2, 1), "loss": nn.functional.mse_loss, "data": Made()} | fields))


def case(n=8, **fields):
    return Case(problem="a:b", n_samples=n, lr=1e-3, **fields)


@pytest.mark.parametrize("loader", ["slice", "gather", "dataloader", "dataloader-batched"])
def test_a_data_set_trains_like_the_tensors_it_holds(loader):
    found = []
    for data in (Made(), (X, X[:, :1])):
        training = prepare(case(loader=loader, batch_size=3, seed=5), problem(data=data))
        training.train(training.epoch())
        found.append(torch.cat([part.flatten() for part in training.model.parameters()]))
    assert torch.equal(*found)


def test_the_dataloader_makes_only_what_a_batch_needs_and_collates_it_as_told():
    source = Made()
    sizes = []

    def collate(items):
        sizes.append(len(items))
        return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])

    training = prepare(case(loader="dataloader", batch_size=3), problem(data=source, collate=collate))
    source.asked.clear()
    sizes.clear()
    epoch = training.epoch()
    next(epoch)
    assert (len(source.asked), sizes) == (3, [3])
    list(epoch)
    assert sizes == [3, 3, 2]
    assert len(set(source.asked)) == len(source.asked) == 8
    assert isinstance(training.rows, Items)
    assert set(source.asked) | set(training.heldout.chosen) == set(range(10))


@pytest.mark.parametrize("loader", ["slice", "dataloader"])
def test_batches_without_a_row_for_each_item_are_refused(loader):
    pooled = problem(collate=lambda items: (torch.stack([x for x, _ in items]).flatten(), torch.zeros(len(items), 1)))
    with pytest.raises(
        UsageError, match=r"collate made a tensor of shape \(\d+,\) of \d items: each tensor of a batch needs"
    ):
        prepare(case(loader=loader), pooled)
