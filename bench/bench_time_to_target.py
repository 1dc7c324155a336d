"""Which batch size reaches a target loss first, on the clock; and from how many samples on is full batch no longer it?

The learning rate of each batch size is searched first, with 5 seeds, then all are really trained to the target, interleaved.
"""

import pytest
from core import cells

from mbbench import grid

CORE = grid("digits-mlp", n_samples=1438, batch_size=[16, 128, "full"])
MORE = [
    *grid(
        ["digits-softmax", "digits-mlp"],
        n_samples=1438,
        batch_size=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, "full"],
        loader=["slice", "dataloader"],
    ),
    *grid("linear", n_samples=[10_000, 100_000, 1_000_000], batch_size=[8, 32, 128, 512, 2048, 8192, "full"]),
    *grid("digits-mlp", n_samples=1438, batch_size=[64, 256, "full"], device="cuda"),
]


@pytest.mark.mbbench(kind="race", seeds=5, max_seconds=120)
@pytest.mark.parametrize("case", cells(CORE, MORE), ids=str)
def test_time_to_target(case, measured):
    measured()
