"""Tables in, figures out: throughput and epoch time against batch size, loss against four axes. No statistics here.

Easy to get wrong: seaborn must not bootstrap (177 s on raw points, and wrong: points of one curve are not independent), so
tables come aggregated and `errorbar` is None; cells that failed are drawn too.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, NullLocator

from mbbench.reporting import palette, readable
from mbbench.reporting.canvas import empty, legend, scale

AXIS_LABELS = {
    "epoch": "epochs",
    "step": "updates",
    "samples": "samples seen",
    "train_s": "training time (evaluations excluded)",
}
FAILURE_MARKERS = {"oom": "X", "diverged": "P", "timeout": "d", "unavailable": "*", "not_applicable": "8"}
"""One for each way to fail; anything else is a "X" with its own line in the legend."""


def throughput(cells: pd.DataFrame) -> Figure:
    """Draw samples per second against batch size by loader, from `analysis.summary`; call it in `canvas.style`."""
    frame = cells.assign(
        value=cells["samples_per_s"],
        low=cells["n_samples"] / cells["epoch_s_high"],
        high=cells["n_samples"] / cells["epoch_s_low"],
    )
    return _by_batch_size(frame, "samples per second", EngFormatter(sep=" "))


def epoch_time(cells: pd.DataFrame) -> Figure:
    """Draw seconds of an epoch against batch size by loader, from `analysis.summary`; call it in `canvas.style`."""
    frame = cells.assign(value=cells["epoch_s"], low=cells["epoch_s_low"], high=cells["epoch_s_high"])
    return _by_batch_size(frame, "time of one epoch", EngFormatter(unit="s"))


def loss(bands: pd.DataFrame, axis: str, without: Sequence[str] = ()) -> Figure:
    """Draw training loss against an axis, from `losses.bands`; call it inside `canvas.style`.

    Args:
        bands: one row per drawn position.
        axis: its column, one of `losses.AXES`.
        without: a note for each cell that has no curve.
    """
    figure, axes = empty()
    several = bands["loader"].nunique() > 1
    frame = bands.assign(
        series=[_series(row, several) for row in bands[["batch_size", "full_batch", "loader"]].itertuples(index=False)]
    )
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
    lines = [line for line in axes.lines if len(np.asarray(line.get_xdata()))]
    for place, (line, (name, rows)) in enumerate(zip(lines, frame.groupby("series", sort=False), strict=True)):
        line.set_markevery((4 + 9 * place % 32, 32))
        axes.fill_between(rows[axis], rows["low"], rows["high"], color=line.get_color(), alpha=alpha, linewidth=0)
        if diverged := int(rows["diverged_seeds"].iloc[0]):
            notes.append(f"batch {name}: {diverged} of {int(rows['seeds'].iloc[0])} seeds diverged")
            _mark(axes, float(rows[axis].iloc[-1]))
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


def _by_batch_size(frame: pd.DataFrame, label: str, formatter: EngFormatter) -> Figure:
    figure, axes = empty()
    frame = frame[frame["time_status"] != ""]
    measured = frame[frame["value"].notna()]
    loaders = list(dict.fromkeys(frame["loader"]))
    places = {loader: palette.loader_index(loader, loaders) for loader in loaders}
    sns.lineplot(
        measured,
        x="samples_per_step",
        y="value",
        hue="loader",
        style="loader",
        palette={loader: palette.HUES[place] for loader, place in places.items()},
        dashes={loader: palette.DASHES[place] for loader, place in places.items()},
        markers={loader: palette.MARKERS[place] for loader, place in places.items()},
        estimator=None,
        errorbar=None,
        legend=False,
        ax=axes,
    )
    handles = []
    for loader, rows in measured.groupby("loader", sort=False):
        place = places[str(loader)]
        look = {"color": palette.HUES[place], "marker": palette.MARKERS[place], "linestyle": _line(palette.DASHES[place])}
        handles.append(Line2D([], [], label=str(loader), markeredgecolor=palette.PAPER, **look))
        axes.vlines(
            rows["samples_per_step"], rows["low"], rows["high"], color=palette.HUES[place], linewidth=2.6, alpha=0.55
        )
    handles += _failures(axes, frame[frame["value"].isna()], places)
    axes.set_xscale("log", base=2)
    scale(axes, "y", pd.concat([measured["value"], measured["low"], measured["high"]]), formatter)
    if len(measured) < len(frame):
        low, high = axes.get_ylim()  # room below the lines, a row for each loader
        share = 0.06 + 0.055 * len(loaders)
        axes.set_ylim(bottom=low * (low / high) ** share if axes.get_yscale() == "log" else low - share * (high - low))
    _batch_ticks(axes, frame)
    axes.set(xlabel="batch size", ylabel=label)
    legend(figure, handles)
    return figure


def _failures(axes: Axes, failed: pd.DataFrame, places: dict[str, int]) -> list[Line2D]:
    """Mark failed cells at the lower edge: where by batch size, colour and row by loader, shape by status."""
    handles: dict[str, Line2D] = {}
    for row in failed.itertuples(index=False):
        place = places[str(row.loader)]
        status = str(row.time_status).split(", ")[-1]
        marker = FAILURE_MARKERS.get(status, "X")
        look: dict[str, Any] = {"marker": marker, "linestyle": "", "markersize": 6.5, "markeredgecolor": palette.PAPER}
        height = 0.035 + 0.055 * list(places).index(str(row.loader))
        transform = axes.get_xaxis_transform()
        axes.plot(
            [float(str(row.samples_per_step))], [height], color=palette.HUES[place], transform=transform, zorder=5, **look
        )
        handles[status] = Line2D([], [], color=palette.MUTED, label=readable.TROUBLES.get(status, status), **look)
    return list(handles.values())


def _batch_ticks(axes: Axes, frame: pd.DataFrame) -> None:
    """Label the batch sizes that were asked for, full batch always, the others where there is room."""
    sizes = sorted(set(frame["samples_per_step"]), reverse=True)
    full = set(frame.loc[frame["batch_size"] == "full", "samples_per_step"])
    low, high = math.log2(sizes[-1]) - 0.4, math.log2(sizes[0]) + 0.4
    kept: list[int] = [size for size in sizes if size in full]
    for size in sizes:
        if all(abs(math.log2(size) - math.log2(other)) > 0.12 * (high - low) for other in kept):
            kept.append(size)
    axes.set_xlim(2**low, 2**high)
    axes.xaxis.set_major_locator(NullLocator())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(kept, [f"full\n{size:,}" if size in full else f"{size:,}" for size in kept])


def _looks(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return colour and marker by batch size, dash by loader, for each series; full batch in ink."""
    minis = sorted(set(frame.loc[~frame["full_batch"], "batch_size"]))
    colours = dict(zip(minis, palette.ramp(len(minis)), strict=True))
    loaders = list(dict.fromkeys(frame["loader"]))
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
    return looks


def _loss_handles(frame: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> list[Line2D]:
    """Return a legend of batch sizes by colour and marker, and, where there are several, of loaders by dash."""
    firsts = frame.drop_duplicates("series")
    sizes = firsts.drop_duplicates(["batch_size", "full_batch"])
    handles = []
    for row in sizes.itertuples(index=False):
        look = looks[str(row.series)]
        label = "full" if row.full_batch else f"{row.batch_size:,d}"
        line = {"color": look["color"], "marker": look["marker"], "linestyle": _line(look["dash"])}
        handles.append(Line2D([], [], label=label, markeredgecolor=palette.PAPER, **line))
    if frame["loader"].nunique() > 1:
        for row in firsts.drop_duplicates("loader").itertuples(index=False):
            dash = _line(looks[str(row.series)]["dash"])
            handles.append(Line2D([], [], label=str(row.loader), color=palette.MUTED, linestyle=dash))
    return handles


def _mark(axes: Axes, position: float) -> None:
    """Mark at the upper edge where the first seed of a curve diverged: the curve ends there."""
    look: dict[str, Any] = {"marker": "X", "markersize": 7.5, "markeredgecolor": palette.PAPER, "clip_on": False}
    axes.plot([position], [1], color=palette.BAD, transform=axes.get_xaxis_transform(), zorder=6, **look)


def _series(row: Any, several: bool) -> str:
    size = "full" if row.full_batch else f"{row.batch_size:,}"
    return f"{size} {row.loader}" if several else size


def _line(dash: tuple[float, ...] | str) -> Any:
    return (0, dash) if dash else "-"
