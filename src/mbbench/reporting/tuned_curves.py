"""The loss curves of a search, at each batch size those of its best learning rate, as a setting like that of fixed rates.

So that one figure, one table and one set of sentences serve both. Easy to get wrong: a search has no clock, so seconds are
reckoned: updates times the loader's typical seconds an update; and apart from these, loaders share their curves.
"""

import math
import statistics
from collections.abc import Sequence

import msgspec

from mbbench.case import Cell
from mbbench.record import Curve, Measurement, Record, Status
from mbbench.reporting.choosing import Choice, Tried
from mbbench.reporting.pooling import Pool, Setting
from mbbench.search import Run

DRAWN = 7
"""Curves in a figure, about: more with their bands cannot be told apart."""


def tuned(title: str, choices: Sequence[Choice]) -> Setting | None:
    """Return the curves of every size that has a best learning rate, None where no size has one.

    Args:
        title: of the setting.
        choices: of one setting, one for each loader. A pool stands for each loader and batch size.
    """
    pools = [pool for choice in choices for tried in choice.sizes if (pool := _pool(tried)) is not None]
    return Setting(title, tuple(pools)) if pools else None


def drawn(setting: Setting, wanted: Sequence[int]) -> Setting:
    """Return the setting with `DRAWN` curves or little more: of the ends, of those wanted, of others spread between.

    Args:
        setting: from `tuned`.
        wanted: samples of an update.
    """
    sizes = sorted({_size(pool) for pool in setting.pools})
    keep = {sizes[0], sizes[-1], *(size for size in sizes if size[0] in wanted)}
    while len(keep) < min(DRAWN // len(setting.loaders), len(sizes)):
        # The one furthest, in octaves, from all that are kept.
        left = [size for size in sizes if size not in keep]
        keep.add(max(left, key=lambda size: min(abs(math.log2(size[0] / other[0])) for other in keep)))
    return Setting(setting.title, tuple(pool for pool in setting.pools if _size(pool) in keep))


def of_one_loader(setting: Setting) -> Setting:
    """Return the pools of one loader for each way to search: but for seconds their curves are the same."""
    first: dict[bool, str] = {}
    for pool in setting.pools:
        first.setdefault(pool.cell.loader == "stream", pool.cell.loader)
    return Setting(setting.title, tuple(pool for pool in setting.pools if pool.cell.loader in first.values()))


def without(choices: Sequence[Choice]) -> list[str]:
    """Return a note for each batch size that was searched and has no curve, as it has no learning rate to draw."""
    notes = {}
    for choice in choices:
        for tried in choice.sizes:
            if tried.search is not None and _pool(tried) is None:
                size = "full batch" if tried.cell.batch_size is None else f"batch {tried.cell.batch_size:,}"
                notes[size] = f"{size}: no learning rate reached the target"
    return list(notes.values())


def _size(pool: Pool) -> tuple[int, bool]:
    return pool.cell.samples_per_step, pool.cell.batch_size is None


def _pool(tried: Tried) -> Pool | None:
    search = tried.runs
    if tried.search is None or search is None or tried.lr is None:
        return None
    step_s = statistics.geometric_mean(tried.step_s) if tried.step_s else None
    cell = msgspec.structs.replace(tried.cell, seed=search.seeds[0])
    return Pool(cell, (), tuple(_record(tried.search, cell, run, step_s) for run in search.at(tried.lr)))


def _record(search: Record, cell: Cell, run: Run, step_s: float | None) -> Record:
    """Return a run as the record that a convergence pass would have made of it."""
    seen = tuple(_samples(cell, step) for step in run.step[: len(run.train_loss)])
    curve = Curve(
        step=run.step[: len(run.train_loss)],
        epoch=tuple(samples / cell.n_samples for samples in seen),
        samples=seen,
        # Nothing is drawn at 0 s, so untimed loaders have no curve against seconds.
        train_s=tuple(step * (step_s or 0.0) for step in run.step[: len(run.train_loss)]),
        train_loss=run.train_loss,
        heldout_loss=run.heldout_loss or (None,) * len(run.train_loss),
    )
    # However far a search had it go, a curve that stayed finite is a whole one.
    status: Status = "diverged" if run.ended == "diverged" else "ok"
    measurement = Measurement(status=status, phase="train", lr=run.lr, curve=curve)
    case = msgspec.structs.replace(cell, seed=run.seed)
    return msgspec.structs.replace(search, kind="convergence", case=case, measurement=measurement)


def _samples(cell: Cell, step: int) -> int:
    """Return the rows seen after a number of updates, the last of an epoch being ragged."""
    epochs, rest = divmod(step, cell.steps_per_epoch)
    return epochs * cell.n_samples + rest * cell.samples_per_step
