"""How long does one parameter update take, by batch size and optimizer, and how much of it is not arithmetic?

Read it from small batches: the time of a step at batch 1 is almost all fixed cost, the slope in the batch size is the work.
"""

import pytest
from core import cells

from mbbench import grid

pytestmark = pytest.mark.mbbench(unit="step")

CORE = grid("mlp", n_samples=10_000, batch_size=[1, 64, 1024])
MORE = [
    *grid("linear", n_samples=10_000, batch_size=[1, 4, 16, 64, 256, 1024, 4096], optimizer=["sgd", "momentum", "adam"]),
    *grid("mlp", n_samples=10_000, batch_size=[1, 4, 16, 64, 256, 1024, 4096], threads=[1, 2]),
    *grid("digits-cnn", n_samples=1438, batch_size=[1, 4, 16, 64, 256, 1024], optimizer=["sgd", "adam"]),
    *grid("mlp", n_samples=10_000, batch_size=[1, 16, 256, 4096], device="cuda"),
]


@pytest.mark.parametrize("case", cells(CORE, MORE, gate=CORE), ids=str)
def test_step_time(case, measured):
    measured()
