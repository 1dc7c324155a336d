"""What did the notebook's comparison measure? Its batch 2 by DataLoader, the same by slices, and its full batch.

Five rows: the arithmetic is nothing, so the DataLoader and the number of updates per epoch (3 against 1) are everything.
"""

import pytest

from mbbench import grid

CASES = [
    *grid("notebook", n_samples=5, batch_size=2, loader=["dataloader", "slice"]),
    *grid("notebook", n_samples=5, batch_size="full"),
]


@pytest.mark.core
@pytest.mark.parametrize("case", CASES, ids=str)
def test_notebook(case, measured):
    measured()
