"""Tables in, figures out: throughput, epoch time and memory against batch size. No statistics here.

Easy to get wrong: seaborn must not bootstrap (177 s on raw points, and wrong: points of one curve are not independent), so
tables come aggregated and `errorbar` is None; cells that failed are drawn too; and batches in micro-batches are a series of
their own, or one line would have two points at one batch size.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from mbbench.case import FULL
from mbbench.reporting import bound_lines, palette, readable
from mbbench.reporting.bounds import Bounds
from mbbench.reporting.canvas import batch_ticks, binary_scale, empty, legend, linestyle, scale, threshold
from mbbench.reporting.sheet import Sheet

FAILURE_MARKERS = {"oom": "X", "diverged": "P", "timeout": "d", "unavailable": "*", "not_applicable": "8"}
"""One for each way to fail; anything else is a `FAULT_MARKER` with its own line in the legend."""
FAULT_MARKER = "h"
EDGED: dict[str, Any] = {"markeredgecolor": palette.PAPER}
"""Markers that touch stay apart."""


class Look(NamedTuple):
    """How a series is drawn."""

    color: str
    marker: str
    dash: tuple[float, ...] | str


def throughput(cells: pd.DataFrame, bounds: Bounds | None = None) -> Sheet:
    """Draw samples per second against batch size by loader, from `analysis.summary`; call it in `canvas.style`.

    Args:
        cells: the values.
        bounds: of them, drawn where there are any.
    """
    frame = cells.assign(
        value=cells["samples_per_s"],
        low=cells["n_samples"] / cells["epoch_s_high"],
        high=cells["n_samples"] / cells["epoch_s_low"],
    )
    return _timed(frame, "samples per second", EngFormatter(sep=" "), readable.rate, bounds)


def epoch_time(cells: pd.DataFrame) -> Sheet:
    """Draw seconds of an epoch against batch size by loader, from `analysis.summary`; call it in `canvas.style`."""
    frame = cells.assign(value=cells["epoch_s"], low=cells["epoch_s_low"], high=cells["epoch_s_high"])
    return _timed(frame, "time of one epoch", EngFormatter(unit="s"), readable.seconds)


def memory(cells: pd.DataFrame, limits: Sequence[int] = (), holder: str = "process") -> Sheet:
    """Draw bytes at the peak against batch size by loader, with what does not fit; call it in `canvas.style`.

    Args:
        cells: from `peaks.table`.
        limits: in bytes; the lowest is drawn.
        holder: what holds the tensors' memory: the process, or on an accelerator torch's allocator.
    """
    figure, axes = empty()
    frame = _with_series(cells)
    looks = _looks(frame)
    measured, lost = frame[frame["peak_bytes"].notna()], frame[frame["status"] == "oom"]
    handles = _lines(figure, measured, "peak_bytes", looks)
    for name, rows in measured[measured["process_bytes"].notna()].groupby("series", sort=False):
        look, rows = looks[str(name)], rows.sort_values("samples_per_step")
        light: dict[str, Any] = {"alpha": 0.5, "linewidth": 1.1, "markersize": 3, "linestyle": (0, (1, 1.5))}
        lines = axes.plot(rows["samples_per_step"], rows["process_bytes"], color=look.color, marker=look.marker, **light)
        figure.mark(lines, str(name), holder)
        figure.read(axes, [str(name), holder], _sizes(rows, "process_bytes"))
    for name, rows in measured.groupby("series", sort=False):
        figure.read(axes, [str(name)], _sizes(rows.sort_values("samples_per_step"), "peak_bytes"))
    if measured["process_bytes"].notna().any():
        handles.append(Line2D([], [], color=palette.MUTED, alpha=0.7, linewidth=1.1, linestyle=(0, (1, 1.5)), label=holder))
    handles += _crosses(figure, lost, looks)
    values = [measured["peak_bytes"], measured["process_bytes"], lost["lost_bytes"], pd.Series(limits[:1], dtype=float)]
    binary_scale(axes, pd.concat(values), readable.size)
    handles += _failures(figure, frame[frame["peak_bytes"].isna() & ~frame["status"].isin(["oom", "ok"])], "status", looks)
    batch_ticks(axes, frame["samples_per_step"], frame.loc[frame["batch_size"] == "full", "samples_per_step"])
    if limits:
        lowest = "limit" if len(set(map(readable.size, limits))) == 1 else "lowest limit"
        threshold(axes, limits[0], f"{lowest} {readable.size(limits[0])}")
    axes.set(xlabel="batch size", ylabel="memory at the peak")
    legend(figure, handles)
    return figure


def _timed(
    frame: pd.DataFrame,
    label: str,
    formatter: EngFormatter,
    words: Callable[[float], str],
    bounds: Bounds | None = None,
) -> Sheet:
    figure, axes = empty()
    frame = _with_series(frame[frame["time_status"] != ""])
    looks = _looks(frame)
    measured, failed = frame[frame["value"].notna()], frame[frame["value"].isna()]
    handles = _lines(figure, measured, "value", looks)
    for name, rows in measured.groupby("series", sort=False):
        color = looks[str(name)].color
        bars = axes.vlines(rows["samples_per_step"], rows["low"], rows["high"], color=color, linewidth=2.6, alpha=0.55)
        figure.mark(bars, str(name))
        figure.read(axes, [str(name)], [_point(row, words, "low", "high") for row in rows.to_dict("records")])
    handles += _failures(figure, failed, "time_status", looks)
    axes.set_xscale("log", base=2)
    scale(axes, "y", pd.concat([measured["value"], measured["low"], measured["high"]]), formatter)
    if len(failed):
        low, high = axes.get_ylim()  # room below the lines, a row for each series that failed
        share = 0.06 + 0.055 * failed["series"].nunique()
        axes.set_ylim(bottom=low * (low / high) ** share if axes.get_yscale() == "log" else low - share * (high - low))
    batch_ticks(axes, frame["samples_per_step"], frame.loc[frame["batch_size"] == "full", "samples_per_step"])
    axes.set(xlabel="batch size", ylabel=label)
    if bounds is not None:
        handles += bound_lines.draw(figure, axes, bounds)
    legend(figure, handles)
    return figure


def _with_series(frame: pd.DataFrame) -> pd.DataFrame:
    """Name the line that a cell belongs to: its loader, and its micro-batch where it has one.

    More micro-batches than there are markers (a search for what fits tries many) are one series.
    """
    micro = frame["micro_batch"].fillna(0).astype(int)
    micros = sorted(set(micro) - {0})
    if len(micros) > len(palette.MICRO_MARKERS):
        words = dict.fromkeys(micros, ", in micro-batches")
    else:
        words = {size: f", micro-batch {size:,}" for size in micros}
    names = [f"{loader}{words.get(size, '')}" for loader, size in zip(frame["loader"], micro, strict=True)]
    return frame.assign(series=names, micro_batch=micro)


def _looks(frame: pd.DataFrame) -> dict[str, Look]:
    """Return colour by loader, and dash and marker by loader or, where a batch is split, by micro-batch."""
    loaders = list(dict.fromkeys(frame["loader"]))
    micros = sorted(set(frame["micro_batch"]) - {0})
    looks = {}
    for row in frame.drop_duplicates("series").itertuples(index=False):
        place = palette.loader_index(str(row.loader), loaders)
        look = Look(palette.HUES[place], palette.MARKERS[place], palette.DASHES[place])
        if row.micro_batch:
            marker = palette.MICRO_MARKERS[micros.index(row.micro_batch) % len(palette.MICRO_MARKERS)]
            look = look._replace(marker=marker, dash=palette.MICRO_DASH)
        looks[str(row.series)] = look
    return looks


def _point(row: Mapping[Hashable, Any], words: Callable[[float], str], *ends: str) -> tuple[float, float, str]:
    """Return a value of a cell as a point to read: "batch 32: 1.2 ms (1.1 ms to 1.3 ms)"."""
    named = readable.batch(None if row["batch_size"] == FULL else row["samples_per_step"], row["micro_batch"] or None)
    low, high = (row[end] for end in ends)
    between = "" if pd.isna(low) or pd.isna(high) else f" ({words(min(low, high))} to {words(max(low, high))})"
    return row["samples_per_step"], row["value"], f"{named}: {words(row['value'])}{between}"


def _sizes(rows: pd.DataFrame, column: str) -> list[tuple[float, float, str]]:
    """Return bytes of cells as points to read."""
    known = rows[rows[column].notna()].assign(value=rows[column], none=math.nan)
    return [_point(row, readable.size, "none", "none") for row in known.to_dict("records")]


def _lines(figure: Sheet, measured: pd.DataFrame, column: str, looks: dict[str, Look]) -> list[Line2D]:
    """Draw a column against batch size, one line per series, and return the legend's entries."""
    axes = figure.axes[0]
    if measured.empty:
        return []
    sns.lineplot(
        measured,
        x="samples_per_step",
        y=column,
        hue="series",
        style="series",
        palette={name: look.color for name, look in looks.items()},
        dashes={name: look.dash for name, look in looks.items()},
        markers={name: look.marker for name, look in looks.items()},
        estimator=None,
        errorbar=None,
        legend=False,
        ax=axes,
    )
    for name, line in zip(measured["series"].unique(), filled(axes), strict=True):
        figure.mark(line, name)
    drawn = [name for name in looks if name in set(measured["series"])]
    style = {name: {"color": looks[name].color, "linestyle": linestyle(looks[name].dash)} for name in drawn}
    return [Line2D([], [], label=name, marker=looks[name].marker, **EDGED, **style[name]) for name in drawn]


def filled(axes: Axes) -> list[Line2D]:
    """Return the lines with points in them: seaborn adds empty ones for a legend."""
    return [line for line in axes.lines if len(np.asarray(line.get_xdata()))]


def _crosses(figure: Sheet, lost: pd.DataFrame, looks: dict[str, Look]) -> list[Line2D]:
    """Draw what does not fit at what it was predicted to take, at the upper edge where that is not known."""
    axes, label = figure.axes[0], "does not fit"
    look: dict[str, Any] = {"marker": "X", "linestyle": "", "markersize": 7, "zorder": 5, **EDGED}
    for _, rows in lost.groupby("samples_per_step"):
        apart = min(0.18, 0.5 / len(rows))  # side by side, since they may be of one height: half an octave at most
        for place, row in enumerate(rows.to_dict("records")):
            x = float(row["samples_per_step"]) * 2 ** (apart * (place - (len(rows) - 1) / 2))
            y, known = float(row["lost_bytes"]), row["lost_bytes"] > 0
            transform = axes.transData if known else axes.get_xaxis_transform()
            cross = axes.plot([x], [y if known else 0.96], color=looks[row["series"]].color, transform=transform, **look)
            figure.mark(cross, row["series"], label)
    return [Line2D([], [], color=palette.MUTED, label=label, **look)] if len(lost) else []


def _failures(figure: Sheet, failed: pd.DataFrame, column: str, looks: dict[str, Look]) -> list[Line2D]:
    """Mark failed cells at the lower edge: where by batch size, colour and row by series, shape by status."""
    axes, handles = figure.axes[0], dict[str, Line2D]()
    series = [name for name in looks if name in set(failed["series"])]
    for row in failed.to_dict("records"):
        status = str(row[column]).split(", ")[-1]
        marker = FAILURE_MARKERS.get(status, FAULT_MARKER)
        look: dict[str, Any] = {"marker": marker, "linestyle": "", "markersize": 6.5, **EDGED}
        height = 0.035 + 0.055 * series.index(row["series"])
        transform, color = axes.get_xaxis_transform(), looks[row["series"]].color
        label = readable.TROUBLES.get(status, status)
        drawn = axes.plot([float(row["samples_per_step"])], [height], color=color, transform=transform, zorder=5, **look)
        figure.mark(drawn, row["series"], label)
        handles[status] = Line2D([], [], color=palette.MUTED, label=label, **look)
    return list(handles.values())
