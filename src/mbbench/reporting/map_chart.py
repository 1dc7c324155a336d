"""A map in, a figure out: rows of data against batch sizes, a panel for each device. No statistics here.

Easy to get wrong: cells keep their colours on a light and on a dark page, so their numbers are in colours of their own that
are no variable of the page; and what has no time is told apart by its marker: not reached, does not fit, not measured.
"""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, to_hex
from matplotlib.lines import Line2D

from mbbench.reporting import canvas, palette, readable
from mbbench.reporting.charts import EDGED, FAULT_MARKER
from mbbench.reporting.maps import NOT_MEASURED, TOO_LARGE, Map, Row, Spot, plain
from mbbench.reporting.sheet import Sheet
from mbbench.reporting.target_charts import UNREACHED, WORDS

INKS = ("#010101", "#fefefe")
"""Of numbers in cells. Not quite black and white: those would be dropped by the SVG and replaced by the page."""
FARTHEST = 16.0
"""Multiple from which on cells have the last colour."""
WIDTH, ROW, PANEL, FOOT, ENTRY = 292.0, 22.0, 16.0, 38.0, 13.0
"""In points: of the cells; heights of a row, of a panel's title, of the axis below, and of a line of the legend."""
STAR: dict[str, Any] = {"marker": "*", "linestyle": "", "markersize": 9, "markeredgewidth": 0}
DOT: dict[str, Any] = {"marker": ".", "linestyle": "", "markersize": 3.5, "color": palette.MUTED, "markeredgewidth": 0}


def heat(found: Map) -> Sheet:
    """Draw times as multiples of the least of each row, which is starred; call it in `canvas.style`."""
    panels, entries = [found.on(device) for device in found.devices], _legend(found)
    heights = [len(rows) for rows in panels]
    lines = math.ceil(len(entries) / 3)
    height = ENTRY * lines + FOOT + sum(PANEL * (len(panels) > 1) + ROW * rows for rows in heights)
    figure = Sheet(rows=heights, height_in=height / 72)
    for axes, rows, device in zip(figure.axes, panels, found.devices, strict=True):
        _panel(axes, rows, found.columns)
        for row in rows:
            key = f"n = {row.n:,}" if len(panels) == 1 else f"{device}, n = {row.n:,}"
            figure.read(axes, [key], _points(row, rows.index(row), found.columns))
        if len(panels) > 1:
            axes.set_title(device, loc="left", fontsize=8.5, pad=3)
    _columns(figure.axes[-1], found.columns)
    figure.supylabel("rows (n)", fontsize=8.5)
    canvas.legend(figure, entries)
    return figure


def ramp() -> Colormap:
    """Return the colours of multiples: light for the least, so that it stands out on a dark page, to dark."""
    colors: Colormap = sns.color_palette("crest", as_cmap=True)
    return colors


def ink(color: str) -> str:
    """Return the colour of a number on a cell: the one with more contrast, at least 4.5 to 1 on any colour."""
    return max(INKS, key=lambda each: contrast(each, color))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as the WCAG define it, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in mpl.colors.to_rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _panel(axes: Axes, rows: Sequence[Row], columns: Sequence[int | None]) -> None:
    """Draw the rows of one device: a coloured cell with its number for each time, a marker for what has none."""
    norm, colors = LogNorm(1.0, FARTHEST, clip=True), ramp()
    spots = [[row.at(column) for column in columns] for row in rows]
    multiples = [[row.multiple(spot) for spot in several] for row, several in zip(rows, spots, strict=True)]
    frame = pd.DataFrame(multiples, index=[f"{row.n:,}" for row in rows], dtype=float)
    edge: dict[str, Any] = {"linewidths": 1.2, "linecolor": palette.PAPER}
    # With its limits given seaborn looks for none, where a device has no value at all.
    limits = {"vmin": 1.0, "vmax": FARTHEST, "norm": norm}
    sns.heatmap(frame, mask=frame.isna(), cmap=colors, cbar=False, ax=axes, xticklabels=False, **limits, **edge)
    axes.grid(False)
    axes.tick_params(axis="y", rotation=0, length=0)
    size = 8.0 if len(columns) <= 14 else 6.5
    for y, (row, several) in enumerate(zip(rows, spots, strict=True)):
        for x, spot in enumerate(several):
            multiple, at = row.multiple(spot), (x + 0.5, y + 0.5)
            if multiple is None:
                _mark(axes, spot, at)
                continue
            color = ink(to_hex(colors(norm(multiple))))
            if spot == row.best:
                axes.plot(*[[each] for each in at], color=color, zorder=5, **STAR)
            else:
                axes.text(*at, plain(multiple), color=color, fontsize=size, ha="center", va="center")


def _points(row: Row, place: int, columns: Sequence[int | None]) -> list[tuple[float, float, str]]:
    """Return the cells of a row that have a time, as points to read."""
    points = []
    for x, column in enumerate(columns):
        spot = row.at(column)
        multiple = row.multiple(spot)
        if multiple is not None and spot.seconds is not None:
            times = "the least" if spot == row.best else f"{readable.multiple(multiple)} times the least"
            words = f"{readable.batch(column)}: {times}, {readable.seconds(spot.seconds)}"
            points.append((x + 0.5, place + 0.5, words))
    return points


def _mark(axes: Axes, spot: Spot, at: tuple[float, float]) -> None:
    """Mark a batch size without a time; one that is larger than the data stays blank."""
    if spot.status == TOO_LARGE:
        return
    look = DOT if spot.status in NOT_MEASURED else _failed(spot.status)
    axes.plot([at[0]], [at[1]], zorder=5, **look)


def _failed(status: str) -> dict[str, Any]:
    return {
        "marker": UNREACHED.get(status, FAULT_MARKER),
        "linestyle": "",
        "markersize": 6.5,
        "color": palette.BAD,
        **EDGED,
    }


def _lost(found: Map) -> list[str]:
    """Return the statuses of batch sizes without a time, in order, those not measured once."""
    spots = [row.at(column) for row in found.rows for column in found.columns]
    names = ["not_timed" if spot.status in NOT_MEASURED else spot.status for spot in spots if spot.seconds is None]
    return sorted(set(names) - {TOO_LARGE}, key=lambda status: (status in NOT_MEASURED, status))


def _legend(found: Map) -> list[Line2D]:
    handles = [Line2D([], [], color=palette.INK, label="least of row", **STAR)]
    for status in _lost(found):
        look, word = (DOT, "not measured") if status in NOT_MEASURED else (_failed(status), WORDS.get(status, status))
        handles.append(Line2D([], [], label=word, **look))
    return handles


def _columns(axes: Axes, columns: Sequence[int | None]) -> None:
    """Label batch sizes: the full batch always, the others from the largest down where there is room."""
    names = ["full" if column is None else readable.count(column) for column in columns]
    room, ticks = WIDTH / len(names), list[int]()
    for place in reversed(range(len(names))):
        wide = 4.7 * len(names[place]) / 2 + 1.5
        if not ticks or (ticks[-1] - place) * room > wide + 4.7 * len(names[ticks[-1]]) / 2 + 1.5:
            ticks.append(place)
    axes.set_xticks([place + 0.5 for place in ticks], [names[place] for place in ticks], rotation=0)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("batch size")
