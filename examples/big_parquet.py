"""More rows than memory: a Parquet file that is streamed in windows of 16 MiB. Needs pip install 'mbbench[files]'.

python examples/big_parquet.py
mbbench run examples/big_parquet.py:problem --loader stream --batch-size 1024 --memory-budget 100MiB --measure time,memory
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import nn

import mbbench

FILE = Path(tempfile.gettempdir(), "mbbench-big.parquet")
FEATURES = 32


def write(rows: int = 2_000_000) -> None:
    """Write rows of 132 bytes, 8192 in a row group: the fewer, the better they are shuffled."""
    draw, weights = np.random.default_rng(0), np.linspace(-1, 1, FEATURES)
    schema = pa.schema([(f"x{number}", pa.float32()) for number in range(FEATURES)] + [("y", pa.float32())])
    with pq.ParquetWriter(FILE, schema) as file:
        for start in range(0, rows, 8192):
            x = draw.normal(size=(min(8192, rows - start), FEATURES))
            y = x @ weights + draw.normal(size=len(x)) / 10
            file.write_table(pa.table([*x.T.astype(np.float32), y.astype(np.float32)], schema=schema))


def problem() -> mbbench.Problem:
    """Make the problem of the file that was written."""
    return mbbench.Problem(
        model=lambda: nn.Linear(FEATURES, 1),
        loss=nn.functional.mse_loss,
        data=mbbench.Files(FILE, target="y"),
        lr=0.05,
    )


if __name__ == "__main__":
    write(*map(int, sys.argv[1:]))
