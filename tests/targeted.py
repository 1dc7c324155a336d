"""Searches, times and races with a truth that can be worked by hand; one size diverges and one never reaches the target.

Of 64 rows. Steps to target are 800 / B + 100 at B from 4 to 32 (Smin 100, Bc 8), 96 with the full batch; the seeds take
0.8, 1, 1, 1 and 1.25 of it, whose geometric mean is 1. A step takes 40 us + 5 us a row through slice, 200 us + 50 us a row
through the DataLoader; 300 us and 4 ms with the full batch.
"""

import synthetic as s

from mbbench.case import Case
from mbbench.search import NoisePoint

N = 64
SIZES = (4, 8, 16, 32)
SPREAD = (0.8, 1.0, 1.0, 1.0, 1.25)
STEPS = {4: 300.0, 8: 200.0, 16: 150.0, 32: 125.0, None: 96.0}
STEP_S = {
    "slice": {size: 40e-6 + 5e-6 * size for size in (1, 2, *SIZES)} | {None: 300e-6},
    "dataloader": {size: 200e-6 + 50e-6 * size for size in (1, 2, *SIZES)} | {None: 4e-3},
}
NOISE = tuple(
    NoisePoint(step=step, train_loss=10 - step, b_fin=5.0, b_super=b_super)
    for step, b_super in enumerate((6.0, None, 20.0, 9.0))
)
RACED_S = (0.011, 0.012, None, 0.013, 0.010)
"""Of batch 8 with slice: the median of those that did not reach it as the longest is 0.012."""


def cell(size: int | None, loader: str = "slice", **fields: object) -> Case:
    about = {"problem": "digits-mlp", "n_samples": N, "batch_size": size, "loader": loader}
    return Case(**(about | fields))


def searches() -> list[object]:
    found = [
        s.target_record(cell(size), [steps * part for part in SPREAD], noise=NOISE if size == 32 else ())
        for size, steps in STEPS.items()
    ]
    found.append(s.target_record(cell(1), [None] * 5, ended="diverged"))
    found.append(s.target_record(cell(2), [700.0, None, None, 700.0, 700.0]))
    return found


def times(
    loaders: tuple[str, ...] = ("slice", "dataloader"), sizes: tuple[int | None, ...] = (1, 2, *STEPS)
) -> list[object]:
    """Three repeats that agree."""
    return [
        s.time_record(at, STEP_S[loader][size] * at.steps_per_epoch, repeat=repeat)
        for loader in loaders
        for size in sizes
        for at in [cell(size, loader)]
        for repeat in range(3)
    ]


def races() -> list[object]:
    return [s.race_record(cell(8), seconds, seed=seed) for seed, seconds in enumerate(RACED_S)]


def everything() -> list[object]:
    return [*searches(), *times(), *races()]
