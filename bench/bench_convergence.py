"""How does the loss fall, by batch size: after equal epochs, equal steps and equal seconds?

One learning rate for all batch sizes of a problem, so these curves show what happens and rank nothing.
"""

import pytest
from core import cells

from mbbench import grid

CORE = grid("digits-softmax", n_samples=1438, batch_size=[16, 128, "full"])
MORE = [
    *grid(["digits-softmax", "digits-mlp", "digits-cnn"], n_samples=1438, batch_size=[1, 4, 16, 64, 256, "full"]),
    *grid("diabetes", n_samples=354, batch_size=[1, 4, 16, 64, "full"]),
    *grid("breast-cancer", n_samples=456, batch_size=[1, 4, 16, 64, "full"]),
    *grid("linear", n_samples=10_000, batch_size=[1, 8, 64, 512, "full"], loader=["slice", "dataloader"]),
    *grid("mlp", n_samples=10_000, batch_size=[8, 64, 512, "full"], optimizer=["sgd", "adam"], lr=0.01),
    *grid("mlp", n_samples=10_000, batch_size=[64, 512, "full"], device="cuda"),
]


@pytest.mark.mbbench(kind="convergence", seeds=3)
@pytest.mark.parametrize("case", cells(CORE, MORE), ids=str)
def test_convergence(case, measured):
    measured()
