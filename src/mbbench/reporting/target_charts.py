"""Tables in, a figure out: time to the target against batch size by loader. No statistics here.

Easy to get wrong: a size that never reached the target is drawn too, at the upper edge; what was reckoned (steps x seconds
a step) and what was raced are told apart by filled and open markers.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.ticker import EngFormatter

from mbbench.reporting import palette, readable
from mbbench.reporting.canvas import batch_ticks, empty, legend, linestyle, scale
from mbbench.reporting.charts import EDGED, FAILURE_MARKERS, FAULT_MARKER, Look
from mbbench.reporting.sheet import Sheet

SEED, RACE, RACED, RECOMMENDED, AS_GOOD = "one seed", "one race", "races, typical", "recommended", "as good"
"""Entries of the legend beside the loaders."""

UP = Path([(-1, 0), (0, 1), (1, 0), (0.35, 0), (0.35, -1), (-0.35, -1), (-0.35, 0), (-1, 0)])
"""An arrow: the target lies further than anything that was trained."""
UNREACHED = {**FAILURE_MARKERS, "not_reached": UP}
UNSEEN = ("reached", "at_start", "not_searched", "not_timed")
"""Statuses that are no failure."""
WORDS = {**readable.TROUBLES, "not_reached": "not reached", "diverged": "diverged"}
APART = 0.2
"""Octaves from a size's typical value to its seeds, on the left, and to its races, on the right: a marker's width."""
ROW = 0.06
"""Height of a row of markers or labels, as a part of the axes'."""
DOT: dict[str, Any] = {"marker": ".", "linestyle": "", "markersize": 4.5, "alpha": 0.5, "markeredgewidth": 0}
OPEN: dict[str, Any] = {"markersize": 3.8, "markerfacecolor": palette.PAPER, "markeredgewidth": 0.8}
WIDE: dict[str, Any] = {"markeredgewidth": 1.8}
RING: dict[str, Any] = {
    **{"marker": "o", "linestyle": "", "markersize": 12, "zorder": 6},
    **{"markerfacecolor": "none", "markeredgewidth": 1.3},
}
SMALL: dict[str, Any] = {"markersize": 8}


def time_to_target(
    sizes: pd.DataFrame,
    seeds: pd.DataFrame,
    races: pd.DataFrame,
    curves: pd.DataFrame,
    bands: pd.DataFrame,
    picks: pd.DataFrame,
    target: str,
) -> Sheet:
    """Draw time to target against batch size by loader, from `target_table`; call it in `canvas.style`.

    Args:
        sizes: typical times with their intervals, and what never reached the target.
        seeds: a dot each.
        races: an open marker each.
        curves: the fit of each loader whose curves hold.
        bands: where the as-good sizes lie.
        picks: the recommended sizes.
        target: what is reached, for the axis: "loss 0.1".
    """
    figure, axes = empty()
    looks = looks_of(sizes["loader"])
    handles: list[Line2D] = []
    for loader, low, high in zip(bands["loader"], bands["low"], bands["high"], strict=True):
        band = axes.axvspan(float(low), float(high), color=looks[str(loader)].color, alpha=0.11, linewidth=0, zorder=0)
        figure.mark(band, str(loader), AS_GOOD)
    for loader, look in looks.items():
        # Without a fit the measured points are joined, thinly: a line to follow and no claim.
        fit, found = curves[curves["loader"] == loader], sizes[(sizes["loader"] == loader) & sizes["seconds"].notna()]
        dash = linestyle(look.dash)
        along, width = (fit, 1.3) if len(fit) else (found, 0.7)
        line: dict[str, Any] = {"color": look.color, "linestyle": dash, "linewidth": width, "zorder": 2}
        figure.mark(axes.plot(along["batch_size"], along["seconds"], **line), loader)
        figure.mark(dots(axes, seeds[seeds["loader"] == loader], "seconds", look.color), loader, SEED)
        figure.mark(_intervals(axes, found, look), loader)
        figure.mark(points(axes, found["batch_size"], found["seconds"], look), loader)
        single, typical = _races(axes, races[races["loader"] == loader], found, look)
        figure.mark(single, loader, RACE)
        figure.mark(typical, loader, RACED)
        figure.read(axes, [loader], map(_words, found.to_dict("records")))
        if len(found):
            handles.append(Line2D([], [], label=loader, color=look.color, linestyle=dash, marker=look.marker, **EDGED))
    scale(axes, "y", pd.concat([sizes["seconds"], seeds["seconds"], races["seconds"]]), EngFormatter(unit="s", sep=" "))
    _rings(figure, picks, looks)
    handles += _extras(seeds, races, bands, picks, bool(sizes["race_s"].notna().any()))
    handles += unreached(figure, sizes, looks, "loader")
    batch_ticks(axes, sizes["batch_size"], sizes.loc[sizes["full_batch"], "batch_size"])
    axes.set(xlabel="batch size", ylabel=f"time to {target}")
    legend(figure, handles)
    return figure


def looks_of(loaders: Iterable[str]) -> dict[str, Look]:
    """Return colour, marker and dash of each loader, in the order given."""
    every = list(dict.fromkeys(loaders))
    places = {loader: palette.loader_index(loader, every) for loader in every}
    return {loader: Look(palette.HUES[at], palette.MARKERS[at], palette.DASHES[at]) for loader, at in places.items()}


def _words(row: Mapping[Hashable, Any]) -> tuple[float, float, str]:
    """Return a size's time as a point to read, with its interval and its races where they are known."""
    words = f"{readable.batch(None if row['full_batch'] else row['batch_size'])}: {readable.seconds(row['seconds'])}"
    if not pd.isna(row["seconds_low"]):
        words += f" ({readable.seconds(row['seconds_low'])} to {readable.seconds(row['seconds_high'])})"
    words += "" if pd.isna(row["race_s"]) else f", raced {readable.seconds(row['race_s'])}"
    return row["batch_size"], row["seconds"], words


def dots(axes: Axes, rows: pd.DataFrame, column: str, color: str) -> list[Line2D]:
    """Draw a column of seeds against batch size, beside its typical value."""
    return axes.plot(rows["batch_size"] * 2**-APART, rows[column], color=color, zorder=3, **DOT)


def _intervals(axes: Axes, rows: pd.DataFrame, look: Look) -> LineCollection:
    known = rows[rows["seconds_low"].notna()]
    span = (known["batch_size"], known["seconds_low"], known["seconds_high"])
    return axes.vlines(*span, color=look.color, linewidth=2.4, alpha=0.55, zorder=3)


def points(axes: Axes, x: pd.Series, y: pd.Series, look: Look) -> list[Line2D]:
    """Draw a series' markers."""
    return axes.plot(x, y, color=look.color, marker=look.marker, linestyle="", zorder=4, **EDGED)


def _races(axes: Axes, races: pd.DataFrame, found: pd.DataFrame, look: Look) -> tuple[list[Line2D], list[Line2D]]:
    """Draw each race as an open marker, beside what was reckoned, and their typical one as a bar."""
    beside = 2**APART
    known, raced = races[races["seconds"].notna()], found[found["race_s"].notna()]
    edge: dict[str, Any] = {"color": look.color, "markeredgecolor": look.color, "linestyle": ""}
    drawn = axes.plot(known["batch_size"] * beside, known["seconds"], marker=look.marker, zorder=3.5, **edge, **OPEN)
    wide = axes.plot(raced["batch_size"] * beside, raced["race_s"], marker="_", markersize=9, zorder=3.6, **edge | WIDE)
    return drawn, wide


def _rings(figure: Sheet, picks: pd.DataFrame, looks: dict[str, Look]) -> None:
    """Ring the recommended sizes, each in the colour of its loader, and write the size at the lower edge, a row for each."""
    axes = figure.axes[0]
    if picks.empty:
        return
    room(axes, below=ROW * len(picks) + 0.02)
    for place, row in enumerate(picks.to_dict("records")):
        color, at = looks[row["loader"]].color, (float(row["batch_size"]), float(row["seconds"]))
        rings = axes.plot([at[0]], [at[1]], markeredgecolor=color, **RING)
        height = 0.015 + ROW * (len(picks) - 1 - place)
        label = "full" if row["full_batch"] else f"{row['batch_size']:,}"
        style: dict[str, Any] = {"color": color, "fontweight": "bold", "ha": "center", "va": "bottom", "zorder": 7}
        text = axes.annotate(label, (at[0], height), xycoords=axes.get_xaxis_transform(), **style)
        figure.mark([*rings, text], row["loader"], RECOMMENDED)


def _extras(
    seeds: pd.DataFrame, races: pd.DataFrame, bands: pd.DataFrame, picks: pd.DataFrame, typical: bool
) -> list[Line2D]:
    """Return the legend of what is drawn beside the loaders' own points."""
    found = []
    if len(seeds):
        found.append(Line2D([], [], color=palette.MUTED, label=SEED, **DOT))
    if races["seconds"].notna().any():
        look: dict[str, Any] = {"markeredgecolor": palette.MUTED, "linestyle": "", "marker": "o"}
        found.append(Line2D([], [], label=RACE, **look, **OPEN))
    if typical:
        look = {"color": palette.MUTED, "linestyle": "", "marker": "_", "markersize": 9}
        found.append(Line2D([], [], label=RACED, **look, **WIDE))
    if len(picks):
        found.append(Line2D([], [], label=RECOMMENDED, markeredgecolor=palette.MUTED, **RING | SMALL))
    if len(bands):
        found.append(Line2D([], [], label=AS_GOOD, color=palette.MUTED, linewidth=8, alpha=0.25))
    return found


def room(axes: Axes, below: float = 0.0, above: float = 0.0) -> None:
    """Make room below and above what is drawn, in parts of its height."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low * (low / high) ** below, high * (high / low) ** above)
    else:
        axes.set_ylim(low - below * (high - low), high + above * (high - low))


def unreached(figure: Sheet, rows: pd.DataFrame, looks: dict[str, Look], column: str) -> list[Line2D]:
    """Mark sizes without a value at the upper edge: where by batch size, colour and row by series, shape by status."""
    lost = rows[~rows["status"].isin(UNSEEN)]
    if lost.empty:
        return []
    axes, series = figure.axes[0], [name for name in looks if name in set(lost[column])]
    room(axes, above=0.04 + ROW * len(series))
    handles: dict[str, Line2D] = {}
    for row in lost.to_dict("records"):
        status = str(row["status"])
        look: dict[str, Any] = {"marker": UNREACHED.get(status, FAULT_MARKER), "linestyle": "", "markersize": 7, **EDGED}
        height, color = 0.965 - ROW * series.index(row[column]), looks[row[column]].color
        at, label = axes.get_xaxis_transform(), WORDS.get(status, status)
        figure.mark(
            axes.plot([row["batch_size"]], [height], color=color, transform=at, zorder=5, **look), row[column], label
        )
        handles[status] = Line2D([], [], color=palette.MUTED, label=label, **look)
    return list(handles.values())
