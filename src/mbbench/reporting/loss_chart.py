"""Draw training loss against epochs, updates, samples or seconds: one curve for each cell. No statistics here.

Easy to get wrong: points of one curve are not independent, so bands come from the table (`losses.bands`) and seaborn makes
none; and a curve that ends because a seed diverged is marked there.
"""

import math
import textwrap
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from mbbench.reporting import palette, readable
from mbbench.reporting.canvas import batch_ticks, empty, legend, linestyle, scale
from mbbench.reporting.charts import filled
from mbbench.reporting.sheet import Sheet

READ = 40
"""Positions of a curve that can be read, of 160 drawn: 8 curves on 4 axes are 60 kB of the page."""

AXIS_LABELS = {
    "epoch": "epochs",
    "step": "updates",
    "samples": "samples seen",
    "train_s": "training time (evaluations excluded)",
}

EQUAL_LOOKS: dict[str, dict[str, Any]] = {
    "epoch": {"color": palette.RAMP[1], "marker": "o", "linestyle": (0, (4, 1.5))},
    "step": {"color": palette.RAMP[6], "marker": "s", "linestyle": (0, (1, 1.2))},
    "train_s": {"color": palette.INK, "marker": "^", "linestyle": "-"},
}
"""Seconds are what a user pays, so their line is the plain one."""


def loss(bands: pd.DataFrame, axis: str, without: Sequence[str] = ()) -> Sheet:
    """Draw training loss against an axis, from `losses.bands`; call it inside `canvas.style`.

    Args:
        bands: one row per drawn position.
        axis: its column, one of `losses.AXES`.
        without: a note for each cell that has no curve.
    """
    figure, axes = empty()
    several = bands["loader"].nunique() > 1
    named = bands[["batch_size", "full_batch", "micro_batch", "loader"]]
    frame = bands.assign(series=[_series(row, several) for row in named.itertuples(index=False)])
    looks = _looks(frame)
    sns.lineplot(
        frame,
        x=axis,
        y="loss",
        hue="series",
        style="series",
        palette={name: look["color"] for name, look in looks.items()},
        dashes={name: look["dash"] for name, look in looks.items()},
        markers={name: look["marker"] for name, look in looks.items()},
        estimator=None,
        errorbar=None,
        legend=False,
        ax=axes,
    )
    notes = list(without)
    alpha = 0.16 if len(looks) < 5 else 0.09  # bands of many curves lie over each other
    lines = filled(axes)
    for place, (line, (name, rows)) in enumerate(zip(lines, frame.groupby("series", sort=False), strict=True)):
        line.set_markevery((4 + 9 * place % 32, 32))
        band = axes.fill_between(rows[axis], rows["low"], rows["high"], color=line.get_color(), alpha=alpha, linewidth=0)
        keys = _keys(rows.iloc[0], several)
        figure.mark([line, band], *keys)
        figure.read(axes, keys, _points(rows, axis))
        if diverged := int(rows["diverged_seeds"].iloc[0]):
            notes.append(f"batch {name}: {diverged} of {int(rows['seeds'].iloc[0])} seeds diverged")
            figure.mark(_mark(axes, float(rows[axis].iloc[-1])), *keys)
    scale(axes, "x", frame[axis])
    scale(axes, "y", pd.concat([frame["loss"], frame["low"], frame["high"]]))
    if axis == "train_s":
        axes.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.set(xlabel=AXIS_LABELS[axis], ylabel="training loss")
    if notes:
        text = textwrap.fill(f"✖ {'; '.join(notes)}", 66)
        figure.supxlabel(text, x=0.02, ha="left", fontsize=8, color=palette.BAD)
    legend(figure, _loss_handles(frame, looks), "batch size")
    return figure


def equal(budgets: pd.DataFrame) -> Sheet:
    """Draw loss against batch size after equal epochs, updates and seconds, from `losses.equal`; in `canvas.style`."""
    figure, axes = empty()
    handles = []
    for axis, rows in budgets.groupby("axis", sort=False):
        rows = rows.sort_values(["batch_size", "full_batch"])
        look = EQUAL_LOOKS[str(axis)]
        label = f"after {amount(rows)}"
        figure.mark(axes.plot(rows["batch_size"], rows["loss"], markeredgecolor=palette.PAPER, **look), label)
        bars = axes.vlines(rows["batch_size"], rows["low"], rows["high"], color=look["color"], linewidth=2.4, alpha=0.4)
        figure.mark(bars, label)
        figure.read(axes, [label], [_point(row, "batch_size", _sized(row)) for row in rows.to_dict("records")])
        handles.append(Line2D([], [], markeredgecolor=palette.PAPER, label=label, **look))
    scale(axes, "y", pd.concat([budgets["loss"], budgets["low"], budgets["high"]]))
    batch_ticks(axes, budgets["batch_size"], budgets.loc[budgets["full_batch"], "batch_size"])
    axes.set(xlabel="batch size", ylabel="training loss")
    legend(figure, handles)
    return figure


def amount(rows: pd.DataFrame) -> str:
    """Return what was held equal in rows of `losses.equal`: "3.2 epochs", "94 updates", "20 ms"."""
    axis, reached = str(rows["axis"].iloc[0]), float(rows["reached"].iloc[0])
    if axis == "train_s":
        return readable.seconds(reached)
    return readable.epochs(reached) if axis == "epoch" else readable.plural(round(reached), "update")


def _points(rows: pd.DataFrame, axis: str) -> list[tuple[float, float, str]]:
    """Return some positions of a curve to read, its last among them."""
    apart = math.ceil(len(rows) / READ)
    some = rows.iloc[(len(rows) - 1) % apart :: apart]
    words = {"train_s": readable.seconds, "epoch": "epoch {:,.3g}".format}.get(axis, "{:,.0f} " + AXIS_LABELS[axis])
    at = words if callable(words) else words.format
    return [_point(row, axis, at(row[axis])) for row in some.to_dict("records")]


def _point(row: Mapping[Hashable, Any], column: str, where: str) -> tuple[float, float, str]:
    between = "" if pd.isna(row["low"]) else f" ({readable.loss(row['low'])} to {readable.loss(row['high'])})"
    return row[column], row["loss"], f"{where}: {readable.loss(row['loss'])}{between}"


def _sized(row: Mapping[Hashable, Any]) -> str:
    return readable.batch(None if row["full_batch"] else row["batch_size"])


def _keys(row: Any, several: bool) -> list[str]:
    """Return the legend's entries that show a curve: its batch size and, where there are several, its loader."""
    return [_series(row, several=False), *([str(row.loader)] if several else [])]


def _looks(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return colour and marker by batch size, dash by loader, for each series; full batch in ink.

    A batch in micro-batches has the colour of the batch, and a marker and, with one loader, a dash of its own.
    """
    minis = sorted(set(frame.loc[~frame["full_batch"], "batch_size"]))
    colours = dict(zip(minis, palette.ramp(len(minis)), strict=True))
    loaders, micros = list(dict.fromkeys(frame["loader"])), sorted(set(frame["micro_batch"]) - {0})
    looks = {}
    for name, rows in frame.groupby("series", sort=False):
        first = rows.iloc[0]
        dash = palette.DASHES[loaders.index(first["loader"]) % len(palette.DASHES)]
        if first["full_batch"]:
            dash = palette.FULL_DASH if len(loaders) == 1 else dash
            looks[str(name)] = {"color": palette.INK, "marker": "X", "dash": dash}
        else:
            place = minis.index(first["batch_size"])
            marker = palette.MARKERS[place % len(palette.MARKERS)]
            looks[str(name)] = {"color": colours[first["batch_size"]], "marker": marker, "dash": dash}
        if first["micro_batch"]:
            marker = palette.MICRO_MARKERS[micros.index(first["micro_batch"]) % len(palette.MICRO_MARKERS)]
            looks[str(name)] |= {"marker": marker, "dash": palette.MICRO_DASH if len(loaders) == 1 else dash}
    return looks


def _loss_handles(frame: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> list[Line2D]:
    """Return a legend of batch sizes by colour and marker, and, where there are several, of loaders by dash."""
    firsts = frame.drop_duplicates("series")
    sizes = firsts.drop_duplicates(["batch_size", "full_batch", "micro_batch"])
    handles = []
    for row in sizes.itertuples(index=False):
        look, label = looks[str(row.series)], _series(row, several=False)
        line = {"color": look["color"], "marker": look["marker"], "linestyle": linestyle(look["dash"])}
        handles.append(Line2D([], [], label=label, markeredgecolor=palette.PAPER, **line))
    if frame["loader"].nunique() > 1:
        for row in firsts.drop_duplicates("loader").itertuples(index=False):
            dash = linestyle(looks[str(row.series)]["dash"])
            handles.append(Line2D([], [], label=str(row.loader), color=palette.MUTED, linestyle=dash))
    return handles


def _mark(axes: Axes, position: float) -> list[Line2D]:
    """Mark at the upper edge where the first seed of a curve diverged: the curve ends there."""
    look: dict[str, Any] = {"marker": "X", "markersize": 7.5, "markeredgecolor": palette.PAPER, "clip_on": False}
    return axes.plot([position], [1], color=palette.BAD, transform=axes.get_xaxis_transform(), zorder=6, **look)


def _series(row: Any, several: bool) -> str:
    size = "full" if row.full_batch else f"{row.batch_size:,}"
    size += f", micro-batch {row.micro_batch:,}" if row.micro_batch else ""
    return f"{size} {row.loader}" if several else size
