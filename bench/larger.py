"""Data sets in files, made where they are asked for: one four times as large as its budget, and one sorted by label."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mbbench import Files, Problem

BUDGET = 64 * 2**20
FEATURES = 32
ROWS = 4 * BUDGET // (4 * (FEATURES + 1))
CLASSES = 10
SORTED_ROWS = 500_000
"""66 MB: four times what the stream loader shuffles together."""
CHUNK = 2**16
FOLDER = Path(tempfile.gettempdir(), "mbbench-rows")

Rows = tuple[np.ndarray, np.ndarray]


def problem(rows: int = ROWS) -> Problem:
    """Return least squares; its files are written where they are not there yet (256 MiB take 2 s)."""
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((FEATURES, 1), dtype=np.float32)

    def some(start: int, stop: int) -> Rows:
        features = generator.standard_normal((stop - start, FEATURES), dtype=np.float32)
        return features, features @ weights

    return Problem(
        model=lambda: torch.nn.Linear(FEATURES, 1, bias=False),
        loss=torch.nn.functional.mse_loss,
        data=_files(f"linear-{rows}", rows, np.empty((0, 1), np.float32), some),
        lr=0.05,
        held_out=0.0,
    )


def by_label() -> Problem:
    """Return softmax regression on ten overlapping classes whose rows lie sorted by class: the worst order there is."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((CLASSES, FEATURES), dtype=np.float32) / 2

    def some(start: int, stop: int) -> Rows:
        labels = np.arange(start, stop) * CLASSES // SORTED_ROWS
        return centres[labels] + generator.standard_normal((stop - start, FEATURES), dtype=np.float32), labels

    return Problem(
        model=lambda: torch.nn.Linear(FEATURES, CLASSES),
        loss=torch.nn.functional.cross_entropy,
        data=_files("by-label", SORTED_ROWS, np.empty(0, np.int64), some),
        lr=0.1,
        held_out=0.0,
    )


def remove() -> None:
    """Delete all files."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def _files(name: str, rows: int, target: np.ndarray, some: Callable[[int, int], Rows]) -> Files:
    """Return files of these rows, made by `some(start, stop)`; `target` has the dtype and the shape of a target."""
    x, y = FOLDER / f"{name}-x.npy", FOLDER / f"{name}-y.npy"
    if y.exists():
        return Files(x=x, y=y)
    FOLDER.mkdir(exist_ok=True)
    unfinished = [path.with_suffix(f".{os.getpid()}") for path in (x, y)]
    kinds = ((np.float32, (rows, FEATURES)), (target.dtype, (rows, *target.shape[1:])))
    arrays = [np.lib.format.open_memmap(p, "w+", *kind) for p, kind in zip(unfinished, kinds, strict=True)]
    for start in range(0, rows, CHUNK):
        for array, part in zip(arrays, some(start, min(start + CHUNK, rows)), strict=True):
            array[start : start + len(part)] = part
    for array, path, wanted in zip(arrays, unfinished, (x, y), strict=True):
        array.flush()
        path.rename(wanted)  # y last: where it is, both are whole
    return Files(x=x, y=y)
