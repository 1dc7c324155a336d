"""The loss curves as numbers, for the part of the page that zooms: what is drawn elsewhere as pictures, cell by cell.

Easy to get wrong: all axes but the seconds follow from the updates, so only these two are kept; and digits cost: four are
more than a screen shows, and 20 cells of 160 positions are 100 kB of the page with them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mbbench.reporting import losses, palette, readable
from mbbench.reporting.pooling import Pool, Setting

DIGITS = 4


def data(trained: Sequence[Setting]) -> list[dict[str, Any]]:
    """Return the curves of each setting as plain data; settings without a curve are left out.

    Each is {"title", "rows", "curves": [{"name", "color", "dash", "batch", "steps_per_epoch", "step": [...], "train_s":
    [...], "loss": [...], "low": [...], "high": [...]}]}: 160 positions at most, rising; "low" and "high" are null below
    three seeds; loaders share the curves of a search, so one that has an earlier one's numbers but for the seconds has the
    earlier one's place as "like" instead; "color" names a variable of the style sheet; "dash" is a number that neighbours
    in size, and loaders, do not share.
    """
    found = []
    for setting in trained:
        curves = _shared([curve for pool in setting.pools if (curve := _curve(pool, setting)) is not None])
        if curves:
            found.append({"title": setting.title, "rows": setting.pools[0].cell.n_samples, "curves": curves})
    return found


def _shared(curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the curves, those with an earlier one's losses without them."""
    seen: dict[str, int] = {}
    found = []
    for place, curve in enumerate(curves):
        losses = {name: curve[name] for name in ("step", "loss", "low", "high")}
        first = seen.setdefault(str(losses), place)
        rest = {name: value for name, value in curve.items() if name not in losses}
        found.append(curve if first == place else rest | {"like": first})
    return found


def _curve(pool: Pool, setting: Setting) -> dict[str, Any] | None:
    band = losses.band(pool, "step")
    if band.empty:
        return None
    several, sizes = len(setting.loaders) > 1, sorted({p.cell.samples_per_step for p in setting.pools})
    name = readable.batch(pool.cell.batch_size, pool.cell.micro_batch) + (f", {pool.cell.loader}" if several else "")
    known = bool(band["low"].notna().all())
    return {
        "name": name,
        "color": _color(pool, setting),
        "dash": sizes.index(pool.cell.samples_per_step) + 2 * setting.loaders.index(pool.cell.loader),
        "batch": pool.cell.samples_per_step,
        "steps_per_epoch": pool.cell.steps_per_epoch,
        "step": _short(band["step"]),
        "train_s": _short(_seconds(pool, band["step"].to_numpy())),
        "loss": _short(band["loss"]),
        "low": _short(band["low"]) if known else None,
        "high": _short(band["high"]) if known else None,
    }


def _color(pool: Pool, setting: Setting) -> str:
    """Return the variable of a batch size's colour, as in the loss figures: from small to large, full batch in ink."""
    if pool.cell.batch_size is None:
        return palette.VARIABLES[palette.INK][0]
    sizes = sorted({p.cell.samples_per_step for p in setting.pools if p.cell.batch_size is not None})
    return palette.VARIABLES[palette.ramp(len(sizes))[sizes.index(pool.cell.samples_per_step)]][0]


def _seconds(pool: Pool, steps: np.ndarray) -> np.ndarray:
    """Return the mean over the seeds of the seconds of training at these steps."""
    curves = [record.measurement.curve for record in pool.trainings if record.measurement.curve]
    return np.asarray(np.mean([np.interp(steps, curve.step, curve.train_s) for curve in curves], axis=0))


def _short(values: Any) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
