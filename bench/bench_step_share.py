"""Where does one step go: assembling the batch, forward, backward, the optimizer, or Python and dispatch?"""

import pytest
from core import cells

from mbbench import grid

pytestmark = pytest.mark.mbbench(kind="profile", seconds=0.3)

CORE = grid("digits-mlp", n_samples=1438, batch_size=[16, "full"], loader=["slice", "dataloader"])
MORE = [
    *grid("digits-mlp", n_samples=1438, batch_size=[1, 4, 64, 256], loader=["slice", "gather", "dataloader"]),
    *grid("linear", n_samples=10_000, batch_size=[1, 32, 1024, "full"], loader=["slice", "dataloader"]),
    *grid("mlp", n_samples=10_000, batch_size=[1, 64, 1024, "full"], optimizer=["sgd", "adam"]),
    *grid("digits-cnn", n_samples=1438, batch_size=[1, 16, 256, "full"]),
    *grid("mlp", n_samples=10_000, batch_size=[1, 64, 1024, "full"], device="cuda"),
]


@pytest.mark.parametrize("case", cells(CORE, MORE), ids=str)
def test_step_share(case, measured):
    measured()
