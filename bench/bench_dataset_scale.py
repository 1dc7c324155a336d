"""How does the time of an epoch grow from a thousand to a million rows, for full batch and for mini-batches?"""

import pytest

from mbbench import grid

CORE = grid("linear", n_samples=[1_000, 100_000], batch_size=[1024, "full"])
MORE = [
    *grid(
        "linear", n_samples=[1_000, 10_000, 100_000, 1_000_000], batch_size=[32, 1024, "full"], loader=["slice", "gather"]
    ),
    *grid("linear", n_samples=[1_000, 10_000, 100_000], batch_size=[32, 1024, "full"], loader="dataloader"),
    *grid("mlp", n_samples=[1_000, 10_000, 100_000], batch_size=[32, 1024, "full"]),
    *grid("mlp", n_samples=[10_000, 100_000, 1_000_000], batch_size=[1024, 16_384], device="cuda"),
]


@pytest.mark.core
@pytest.mark.parametrize("case", CORE, ids=str)
def test_dataset_scale(case, measured):
    measured()


@pytest.mark.mbbench(seconds=1.0)
@pytest.mark.parametrize("case", MORE, ids=str)
def test_dataset_scale_in_full(case, measured):
    measured()
