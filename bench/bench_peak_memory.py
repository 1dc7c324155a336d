"""How much memory does training take, by batch size, data set size and strategy, and what does not fit the budget?

Full batch needs room for the activations of every row at once; the same gradient in micro-batches does not.
"""

import pytest
from core import cells

from mbbench import grid

BUDGET = "48MiB"
"""Between what the core's batch 1024 takes and what its full batch does."""

CORE = [
    *grid("mlp", n_samples=10_000, batch_size=[32, 1024, "full"]),
    *grid("mlp", n_samples=10_000, batch_size="full", micro_batch=256),
]
MORE = [
    *grid("mlp", n_samples=[10_000, 100_000], batch_size=[1, 64, 512, 4096, "full"], optimizer=["sgd", "adam"]),
    *grid("mlp", n_samples=[10_000, 100_000], batch_size="full", micro_batch=[64, 1024]),
    *grid("linear", n_samples=[10_000, 100_000], batch_size=[1, 512, "full"], loader=["slice", "gather", "dataloader"]),
    *grid("digits-cnn", n_samples=1438, batch_size=[1, 16, 128, "full"]),
    *grid("digits-cnn", n_samples=1438, batch_size="full", micro_batch=64),
    *grid("mlp", n_samples=[10_000, 100_000], batch_size=[64, 4096, "full"], device="cuda"),
    *grid("mlp", n_samples=100_000, batch_size="full", micro_batch=4096, device="cuda"),
]


@pytest.mark.mbbench(kind="memory", unit="run", memory_budget=BUDGET)
@pytest.mark.parametrize("case", cells(CORE, MORE), ids=str)
def test_peak_memory(case, measured):
    measured()
