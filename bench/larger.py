"""A data set four times as large as the memory it is trained in: least squares, 32 features, in two .npy files."""

import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from mbbench import Files, Problem

BUDGET = 64 * 2**20
FEATURES = 32
ROWS = 4 * BUDGET // (4 * (FEATURES + 1))
CHUNK = 2**16
FOLDER = Path(tempfile.gettempdir(), f"mbbench-larger-than-memory-{ROWS}")


def problem() -> Problem:
    """Return the problem; the files are written where they are not there yet (256 MiB, 2 s)."""
    x, y = FOLDER / "x.npy", FOLDER / "y.npy"
    if not y.exists():
        _write(x, y)
    return Problem(
        model=lambda: torch.nn.Linear(FEATURES, 1, bias=False),
        loss=torch.nn.functional.mse_loss,
        data=Files(x=x, y=y),
        lr=0.05,
        held_out=0.0,
    )


def remove() -> None:
    """Delete the files."""
    for path in FOLDER.glob("*"):
        path.unlink()
    if FOLDER.exists():
        FOLDER.rmdir()


def _write(x: Path, y: Path) -> None:
    FOLDER.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((FEATURES, 1), dtype=np.float32)
    unfinished = [path.with_suffix(f".{os.getpid()}") for path in (x, y)]
    shapes = ((ROWS, FEATURES), (ROWS, 1))
    arrays = [np.lib.format.open_memmap(p, "w+", np.float32, s) for p, s in zip(unfinished, shapes, strict=True)]
    for start in range(0, ROWS, CHUNK):
        rows = generator.standard_normal((min(CHUNK, ROWS - start), FEATURES), dtype=np.float32)
        arrays[0][start : start + CHUNK] = rows
        arrays[1][start : start + CHUNK] = rows @ weights
    for array, path, wanted in zip(arrays, unfinished, (x, y), strict=True):
        array.flush()
        path.rename(wanted)  # y last: where it is, both are whole
