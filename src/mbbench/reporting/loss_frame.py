"""The frame on how the loss falls: at the learning rates that a search found best where there is one, else at those given.

Easy to get wrong: which of the two it is decides what may be concluded, so the method sentence says it; and what is held
equal (epochs, updates, seconds) decides which batch size looks best, so all three stand in one picture.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from mbbench.reporting import convergence, loss_chart, losses, readable, tables, tuned_curves
from mbbench.reporting.choosing import Choice
from mbbench.reporting.frames import Drawer, Frame
from mbbench.reporting.pooling import Pool, Setting
from mbbench.reporting.stats import FEWEST

TITLE = "How does the loss fall?"
_TABS = {"epoch": "Equal epochs", "step": "Equal updates", "samples": "Equal epochs", "train_s": "Equal seconds"}
_NAMES = {"epoch": "epochs", "step": "updates", "samples": "samples", "train_s": "seconds"}
SHOWN = 3
"""Batch sizes that are named as lowest together."""


def fixed(setting: Setting, said: Mapping[str, str], picture: Drawer) -> Frame:
    """Return the frame of curves at the learning rates that were given.

    Args:
        setting: with a loss curve or more.
        said: its findings by label.
        picture: draws.
    """
    without = [
        f"{pool.batch}: {readable.TROUBLES.get(pool.trainings[0].measurement.status, 'no curve')}"
        for pool in setting.pools
        if pool.trainings and not any(record.measurement.curve for record in pool.trainings)
    ]
    method = (
        f"{_means(setting.pools)} The loss before the first update is not drawn. "
        f"{readable.first_up(said.get('No ranking', 'Not a ranking of batch sizes.'))}"
    )
    return _frame(dict.fromkeys(losses.AXES, setting), setting, said, without, method, picture)


def tuned(setting: Setting, choices: Sequence[Choice], others: bool, picture: Drawer) -> Frame:
    """Return the frame of curves at each batch size's best learning rate.

    Args:
        setting: from `tuned_curves.tuned`.
        choices: those that it was made of.
        others: whether there are curves at given rates too, which are not drawn.
        picture: draws.
    """
    said = {finding.label: finding.text for finding in convergence.findings(setting)}
    wanted = [found.batch_size for choice in choices if (found := choice.recommendation) and found.batch_size]
    one = tuned_curves.of_one_loader(setting)
    shown = {axis: tuned_curves.drawn(setting if axis == "train_s" else one, wanted) for axis in losses.AXES}
    few = {pool.cell.batch_size for axis in losses.AXES for pool in shown[axis].pools} < {
        pool.cell.batch_size for pool in setting.pools
    }
    not_drawn = " Curves at given learning rates were recorded too and are not drawn." if others else ""
    method = (
        f"{_means(setting.pools)} {_rates(setting, choices)} A curve ends where the first of its seeds was stopped. Seconds "
        "are reckoned: updates times the seconds of one with the loader, epoch starts included."
        f"{' Some batch sizes are drawn; the table has all.' if few else ''}{not_drawn}"
    )
    return _frame(shown, one, said, tuned_curves.without(choices), method, picture)


def lowest(budgets: pd.DataFrame) -> str:
    """Say which batch size has the lowest loss after equal epochs, updates and seconds, from `losses.equal`."""
    parts, winners = [], []
    bare = bool(budgets["low"].isna().all())
    for _, rows in budgets.groupby("axis", sort=False):
        if not bare:  # seeds that gave the very same loss, those of a full batch: it is known as it is
            rows = rows.assign(low=rows["low"].fillna(rows["loss"]), high=rows["high"].fillna(rows["loss"]))
        best = rows.sort_values("loss", kind="stable").iloc[0]
        # NaN, where there is no interval, is not below anything.
        alike = rows[(rows["low"] <= best["high"]) | (rows.index == best.name)].sort_values(["batch_size", "full_batch"])
        named = [readable.batch(None if row["full_batch"] else row["batch_size"]) for row in alike.to_dict("records")]
        few = readable.listed(named, "or") if len(named) <= SHOWN else f"{len(named)} sizes from {named[0]} to {named[-1]}"
        parts.append(f"after {loss_chart.amount(rows)} {few}{', whose intervals overlap' if len(named) > 1 else ''}")
        winners.append(set(alike["batch_size"]))
    if not parts:
        return ""
    end = "" if set.intersection(*winners) else " What is held equal decides which looks best."
    reading = " There is no interval, so it may be so by chance." if bare else ""
    return f"lowest loss: {'; '.join(parts)}.{end}{reading}"


def _frame(
    shown: Mapping[str, Setting],
    every: Setting,
    said: Mapping[str, str],
    without: Sequence[str],
    method: str,
    picture: Drawer,
) -> Frame:
    pictures = []
    budgets = losses.equal(every)
    if len(budgets):
        pictures.append(picture("loss-equal", "equal", lowest(budgets), partial(loss_chart.equal, budgets)))
    for axis in losses.AXES:
        bands = losses.bands(shown[axis], axis)
        if bands.empty:
            continue
        finding = said.get(_TABS[axis]) or said.get("Convergence") or "training loss of each batch size."
        draw = partial(loss_chart.loss, bands, axis, without)
        pictures.append(picture(f"loss-{axis}", _NAMES[axis], finding, draw))
    return Frame(TITLE, True, tuple(pictures), method, tables.loss_table(every))


def _means(pools: Sequence[Pool]) -> str:
    # Of seeds that diverged too, up to there: `losses.band` draws what there is.
    counts = [sum(record.measurement.curve is not None for record in pool.trainings) for pool in pools]
    seeds = sorted({count for count in counts if count})
    band = "band: its 95 % interval" if seeds and seeds[-1] >= FEWEST else "fewer than three seeds: no band"
    band += ", where there are three seeds or more" if seeds and seeds[0] < FEWEST <= seeds[-1] else ""
    return f"Geometric mean over the seeds of the loss of all training rows; {band}."


def _rates(setting: Setting, choices: Sequence[Choice]) -> str:
    """Say which learning rates they are."""
    used = sorted({lr for pool in setting.pools for r in pool.trainings if (lr := r.measurement.lr) is not None})
    rates = f"{used[0]:.3g}" if used[0] == used[-1] else f"{used[0]:.3g} to {used[-1]:.3g}"
    if any(choice.policy != "tuned" for choice in choices):
        return f"Learning rates ({rates}) are not tuned: not a ranking of batch sizes."
    return f"The learning rate is tuned at each batch size ({rates}): the one of the fewest updates to the target."
