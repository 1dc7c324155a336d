"""What does it cost in convergence to shuffle inside a window only, on a file sorted by label, the worst order there is?

The same rows by a full shuffle, streamed through windows of a quarter of the file, and streamed in their order.
"""

import larger
import pytest

from mbbench import grid

ROWS = {"problem": "bench/larger.py:by_label", "n_samples": larger.SORTED_ROWS, "batch_size": [64, 1024]}
CASES = [*grid(**ROWS, loader=["slice", "stream"]), *grid(**ROWS, loader="stream", shuffle=False)]


@pytest.fixture(scope="module", autouse=True)
def _files():
    yield
    larger.remove()


@pytest.mark.mbbench(kind="convergence", seeds=5, max_steps=8000, max_seconds=3.0)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_sorted_stream(case, measured):
    measured()
