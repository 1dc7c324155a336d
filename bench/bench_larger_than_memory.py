"""What trains on a data set four times as large as the memory there is?

In memory neither full batch nor mini-batches; read as a stream, mini-batches and the full batch in micro-batches do.
"""

import larger
import pytest

from mbbench import grid

ROWS = {"problem": "bench/larger.py:problem", "n_samples": larger.ROWS}
CASES = [
    *grid(**ROWS, batch_size=[1024, "full"]),
    *grid(**ROWS, batch_size=[1024, 16_384], loader="stream"),
    *grid(**ROWS, batch_size="full", micro_batch=16_384, loader="stream"),
]


@pytest.fixture(scope="module", autouse=True)
def _files():
    yield
    larger.remove()


@pytest.mark.mbbench(kind="memory", unit="run", memory_budget=larger.BUDGET)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_larger_than_memory(case, measured):
    measured()
