"""How long does one epoch take, and how many samples pass per second, by batch size, data set, loader and device?"""

import pytest
from core import cells

from mbbench import grid

CORE = [
    *grid("linear", n_samples=10_000, batch_size=[1, 32, 1024, "full"], loader=["slice", "dataloader"]),
    *grid("digits-mlp", n_samples=1438, batch_size=[16, 128, "full"], loader=["slice", "dataloader"]),
    *grid("linear", n_samples=10_000, batch_size=[1024, "full"], device="cuda"),
]
GATE = [
    *grid("linear", n_samples=10_000, batch_size=1024, loader="dataloader"),
    *grid("digits-mlp", n_samples=1438, batch_size=[16, "full"]),
]
MORE = [
    *grid(
        ["linear", "mlp"],
        n_samples=[10_000, 100_000],
        batch_size=[1, 8, 64, 512, 4096, "full"],
        loader=["slice", "gather", "dataloader", "dataloader-batched"],
    ),
    *grid("digits-cnn", n_samples=1438, batch_size=[8, 64, 512, "full"], loader=["slice", "dataloader"]),
    *grid("mlp", n_samples=10_000, batch_size=[64, 1024, "full"], micro_batch=[None, 64]),
    *grid("mlp", n_samples=100_000, batch_size=[64, 512, 4096, "full"], threads=2),
    *grid("mlp", n_samples=100_000, batch_size=[64, 512, 4096, "full"], device="cuda"),
    *grid("mlp", n_samples=100_000, batch_size=[512, 4096], device="cuda", options={"rows": "host"}),
]


@pytest.mark.parametrize("case", cells(CORE, MORE, gate=GATE), ids=str)
def test_epoch_time(case, measured):
    measured()
