"""The sheet that every figure is drawn on: its style, size, scales and legend.

Easy to get wrong: the style must hold while a figure is saved as well, since the kind of text and the ids of an SVG are
chosen then; and user text never meets mathtext.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from mbbench.reporting import palette
from mbbench.reporting.sheet import Sheet

_RC: dict[Any, Any] = {
    "axes.edgecolor": palette.MUTED,
    "axes.facecolor": "none",
    "axes.labelcolor": palette.INK,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.8,
    "figure.facecolor": palette.PAPER,
    "font.size": 8.5,
    "grid.color": palette.GRID,
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.5,
    "legend.labelcolor": palette.INK,
    "legend.title_fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.markeredgewidth": 0.5,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "text.color": palette.INK,
    "text.parse_math": False,
    "xtick.color": palette.MUTED,
    "xtick.labelsize": 8,
    "ytick.color": palette.MUTED,
    "ytick.labelsize": 8,
}


@contextmanager
def style(name: str) -> Iterator[None]:
    """Draw and save a figure in this report's style; `name` salts the ids of its SVG."""
    with sns.axes_style("whitegrid"), mpl.rc_context({**_RC, "svg.hashsalt": name}), warnings.catch_warnings():
        # A name may be in any script: a page has fonts for it, a PNG shows a box.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        yield


def empty() -> tuple[Sheet, Axes]:
    """Return an empty figure and its axes."""
    figure = Sheet()
    return figure, figure.axes[0]


def legend(figure: Sheet, handles: Sequence[Line2D], title: str | None = None) -> None:
    """Put a legend above the axes, in as many columns as have room."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=1)
    columns = max(1, min(len(handles), int(335 / (4.7 * longest + 38))))  # points: width, letter, handle and gaps
    figure.legend_title = title or ""
    drawn = figure.legend(
        handles=handles,
        title=title,
        alignment="left",
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        handlelength=2.2,
        columnspacing=1.2,
    )
    for text, handle in zip(drawn.get_texts(), drawn.legend_handles, strict=True):
        figure.mark_legend(text.get_text(), [text, *([] if handle is None else [handle])])


def scale(axes: Axes, which: str, values: pd.Series, formatter: EngFormatter | None = None) -> None:
    """Set a log scale where all values are above 0 and span some range, with few plain numbers as ticks."""
    known = values.dropna()
    axis = getattr(axes, f"{which}axis")
    plain = FuncFormatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}")
    axis.set_major_formatter(formatter or plain)
    if known.empty or known.min() <= 0 or known.max() / known.min() < 1.5:
        axis.set_major_locator(MaxNLocator(5))
        return
    getattr(axes, f"set_{which}scale")("log")
    decades = math.log10(known.max() / known.min())
    subs = (1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(formatter or plain)


def binary_scale(axes: Axes, values: pd.Series, label: Callable[[float], str]) -> None:
    """Set a log scale of bytes on y that begins and ends near powers of two, with about six of them as ticks."""
    known = values[values > 0]
    axes.set_yscale("log", base=2)
    axes.yaxis.set_minor_locator(NullLocator())
    if known.empty:
        axes.set_yticks([])
        return
    low, high = math.floor(math.log2(known.min())), math.ceil(math.log2(known.max()))
    high = max(high, low + 1)
    ticks = [2.0**power for power in range(low, high + 1, math.ceil((high - low) / 6))]
    axes.set_ylim(2 ** (low - 0.02 * (high - low)), 2 ** (high + 0.04 * (high - low)))
    axes.set_yticks(ticks, [label(tick) for tick in ticks])


def batch_ticks(axes: Axes, batch_sizes: Iterable[int], full: Iterable[int]) -> None:
    """Set a scale of batch sizes, and label those that were asked for: full batch always, the others where there is room."""
    sizes, whole = sorted(set(batch_sizes), reverse=True), set(full)
    low, high = math.log2(sizes[-1]) - 0.4, math.log2(sizes[0]) + 0.4
    kept: list[int] = [size for size in sizes if size in whole]
    for size in sizes:
        if all(abs(math.log2(size) - math.log2(other)) > 0.12 * (high - low) for other in kept):
            kept.append(size)
    axes.set_xscale("log", base=2)
    axes.set_xlim(2**low, 2**high)
    axes.xaxis.set_major_locator(NullLocator())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(kept, [f"full\n{size:,}" if size in whole else f"{size:,}" for size in kept])


def threshold(axes: Axes, value: float, label: str) -> None:
    """Draw a line across at a value, with its label at the first of four places where nothing is drawn."""
    axes.axhline(value, color=palette.BAD, linewidth=1, linestyle=(0, (6, 2)), zorder=1)
    data = axes.transData + axes.transAxes.inverted()
    lines = [line for line in axes.lines if line.get_transform() == axes.transData]
    points = [tuple(point) for line in lines for point in data.transform(line.get_xydata())]
    height = float(data.transform((1, value))[1])
    ways = [way for way in ("bottom", "top") if (height < 0.9 if way == "bottom" else height > 0.1)]  # inside the axes
    places = [(side, way) for side in ("left", "right") for way in ways]

    def crowd(place: tuple[str, str]) -> int:
        side, way = place
        near = [x for x, y in points if 0 < (y - height if way == "bottom" else height - y) < 0.11]
        return sum(x < 0.42 if side == "left" else x > 0.58 for x in near)

    side, way = min(places, key=crowd)  # the first of those with fewest
    at = (0.01 if side == "left" else 0.99, value)
    style: dict[str, Any] = {
        "fontsize": 8,
        "color": palette.BAD,
        "xycoords": axes.get_yaxis_transform(),
        "ha": side,
        "va": way,
    }
    axes.annotate(label, at, xytext=(0, 1.5 if way == "bottom" else -2), textcoords="offset points", **style)


def linestyle(dash: tuple[float, ...] | str) -> Any:
    """Return a dash as matplotlib's line style."""
    return (0, dash) if dash else "-"
