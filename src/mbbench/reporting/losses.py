"""Loss curves of several seeds as one, and the losses reached after equal epochs, updates or seconds.

Easy to get wrong: points of one curve are not independent, so curves are pooled seed by seed at common positions and the
band is that of the seeds; and a pool of which some seeds diverged has no mean, the survivors would flatter it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mbbench.record import Record
from mbbench.reporting.pooling import Pool, Setting
from mbbench.reporting.stats import Estimate, from_seeds

AXES = ("epoch", "step", "samples", "train_s")
"""Columns of a curve against which its loss may be drawn."""
POSITIONS = 160
"""Per drawn curve: more cannot be told apart at 600 pixels."""


def band(pool: Pool, axis: str) -> pd.DataFrame:
    """Return the pool's loss over its seeds at log-spaced positions that all of them reached, the start left out.

    Columns: the axis, loss, low, high (NaN below three seeds), seeds. Empty where no seed has a curve. Seeds that diverged
    are in it up to the first divergence.
    """
    curves = [_points(record, axis) for record in pool.trainings if record.measurement.curve]
    curves = [(x, y) for x, y in curves if len(x)]
    if not curves:
        return pd.DataFrame(columns=[axis, "loss", "low", "high", "seeds"], dtype=float)
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    positions = np.geomspace(first, last, POSITIONS) if last > first else np.array([min(first, last)])
    losses = np.array([_at(x, y, positions) for x, y in curves])
    pooled = [from_seeds(column) for column in losses.T]
    return pd.DataFrame(
        {
            axis: positions,
            "loss": [estimate.value for estimate in pooled],
            "low": [estimate.low for estimate in pooled],
            "high": [estimate.high for estimate in pooled],
            "seeds": len(curves),
        }
    ).astype(float)


def bands(setting: Setting, axis: str) -> pd.DataFrame:
    """Return the bands of all pools of a setting, with batch_size (samples per step), full_batch and loader beside them.

    A pool without any curve has no row; `diverged_seeds` is the number of seeds that did, the same in all rows of a pool;
    `micro_batch` is 0 where a batch is not split.
    """
    frames = []
    for pool in setting.pools:
        frame = band(pool, axis)
        frame["batch_size"], frame["full_batch"] = pool.cell.samples_per_step, pool.cell.batch_size is None
        frame["loader"], frame["micro_batch"] = pool.cell.loader, pool.cell.micro_batch or 0
        frame["diverged_seeds"] = sum(record.measurement.status == "diverged" for record in pool.trainings)
        frames += [frame] if len(frame) else []
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def comparable(setting: Setting) -> list[Pool]:
    """Return pools of one loader, one for each batch size, in order, whose seeds all have a whole curve.

    The loader is the one with the most of them: at equal batch size it changes the seconds, and the losses only where it
    does not shuffle all rows (`stream`). Micro-batches change the seconds too and not the updates: a batch that is split
    stands here only where it was not trained whole.
    """
    found: dict[str, dict[int | None, Pool]] = {loader: {} for loader in setting.loaders}
    for pool in setting.pools:
        if complete(pool):
            found[pool.cell.loader].setdefault(pool.cell.batch_size, pool)
    return max((list(by_size.values()) for by_size in found.values()), key=len, default=[])


def complete(pool: Pool) -> bool:
    """Return whether a pool was trained and each of its seeds has a whole curve."""
    return bool(pool.finished) and len(pool.finished) == len(pool.trainings)


def horizon(pools: Sequence[Pool], axis: str) -> float | None:
    """Return the furthest position on an axis that every curve of every pool reached; None where there is none."""
    curves = [_points(record, axis) for pool in pools for record in pool.finished]
    if not curves or any(len(x) == 0 for x, _ in curves):
        return None
    last = min(float(x[-1]) for x, _ in curves)
    return last if last >= max(float(x[0]) for x, _ in curves) else None


def reaches(pool: Pool, axis: str, position: float) -> bool:
    """Return whether every seed of a pool has a whole curve, and each has the position between its ends."""
    if not complete(pool):
        return False
    curves = [_points(record, axis)[0] for record in pool.finished]
    return all(len(x) and x[0] <= position <= x[-1] for x in curves)


def loss_at(pool: Pool, axis: str, position: float) -> Estimate:
    """Return the pool's training loss at a position that all its finished curves reached, over its seeds."""
    curves = [_points(record, axis) for record in pool.finished]
    return from_seeds([float(_at(x, y, np.array([position]))[0]) for x, y in curves])


def equal(setting: Setting) -> pd.DataFrame:
    """Return the loss of each batch size after equal epochs, equal updates and equal seconds.

    Columns: axis, reached (the position on it that all comparable pools reached), batch_size (samples per step), full_batch,
    loss, low, high (NaN below three seeds). Empty where there are no two batch sizes to compare.
    """
    pools, rows = comparable(setting), []
    for axis in ("epoch", "step", "train_s"):
        reached = horizon(pools, axis) if len(pools) > 1 else None
        for pool in pools if reached is not None else ():
            assert reached is not None
            found = loss_at(pool, axis, reached)
            where = (axis, reached, pool.cell.samples_per_step, pool.cell.batch_size is None)
            rows.append((*where, found.value, found.low, found.high))
    columns = ["axis", "reached", "batch_size", "full_batch", "loss", "low", "high"]
    return pd.DataFrame(rows, columns=columns).astype({"loss": float, "low": float, "high": float})


def _points(record: Record, axis: str) -> tuple[np.ndarray, np.ndarray]:
    """Return positions above 0 and finite losses of a curve, up to its first loss that is not finite.

    Where the first evaluation comes after several updates (a search's do), the first update is interpolated between it and
    the start, or an epoch of a small batch would have ended before a large one is looked at.
    """
    curve = record.measurement.curve
    assert curve is not None  # callers ask for records with a curve
    x = np.array(getattr(curve, axis), dtype=float)
    y = np.array(curve.train_loss, dtype=float)
    broken = ~np.isfinite(y)
    end = int(np.argmax(broken)) if broken.any() else len(y)
    x, y = x[:end], y[:end]
    if end > 1 and x[0] == 0 < x[1] and curve.step[1] > 1:
        part = 1 / curve.step[1]
        one = y[0] ** (1 - part) * y[1] ** part if (y > 0).all() else y[0] + part * (y[1] - y[0])
        x, y = np.insert(x, 1, part * x[1]), np.insert(y, 1, one)
    return x[x > 0], y[x > 0]


def _at(x: np.ndarray, y: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Interpolate: on the log scale of the position, and of the loss where it is above 0 throughout."""
    inside = np.clip(positions, x[0], x[-1])  # geomspace may miss its own ends by a rounding
    if (y > 0).all():
        return np.asarray(np.exp(np.interp(np.log(inside), np.log(x), np.log(y))))
    return np.asarray(np.interp(np.log(inside), np.log(x), y))
