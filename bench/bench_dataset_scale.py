"""How does the time of an epoch grow from a thousand to a million rows, for full batch and for mini-batches?"""

import pytest
from core import cells

from mbbench import grid

CORE = grid("linear", n_samples=[1_000, 100_000], batch_size=[256, "full"])
MORE = [
    *grid(
        "linear", n_samples=[1_000, 10_000, 100_000, 1_000_000], batch_size=[32, 1024, "full"], loader=["slice", "gather"]
    ),
    *grid("linear", n_samples=[1_000, 10_000, 100_000], batch_size=[32, 1024, "full"], loader="dataloader"),
    *grid("mlp", n_samples=[1_000, 10_000, 100_000], batch_size=[32, 1024, "full"]),
    *grid("mlp", n_samples=[100_000, 1_000_000], batch_size=[1024, 65_536], device="cuda"),
]


@pytest.mark.parametrize("case", cells(CORE, MORE), ids=str)
def test_dataset_scale(case, measured):
    measured()
