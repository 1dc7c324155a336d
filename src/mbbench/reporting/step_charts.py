"""Tables in, figures out: steps to the target against batch size, and against samples processed. No statistics here.

Easy to get wrong: a fit that the steps do not follow is drawn as doubtful; and neither few steps nor few samples are little
time, so both figures say nothing on that.
"""

import itertools
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from mbbench.reporting import palette, readable
from mbbench.reporting.canvas import batch_ticks, empty, legend, linestyle, scale
from mbbench.reporting.charts import EDGED, Look
from mbbench.reporting.sheet import SIZE_IN, Sheet
from mbbench.reporting.stats import Estimate
from mbbench.reporting.target_charts import RING, SMALL, dots, looks_of, points, unreached

OFFSETS = ((1, 0), (0, 1), (-1, 0), (0, -1), (0.8, 0.8), (-0.8, -0.8), (0.8, -0.8), (-0.8, 0.8), (0, 1.8), (0, -1.8))
"""Places for a label around its point; the first of those where it meets the least is taken."""


def steps_to_target(
    steps: pd.DataFrame,
    seeds: pd.DataFrame,
    curves: pd.DataFrame,
    critical: Mapping[str, Estimate],
    noise: tuple[float, float] | None,
    target: str,
) -> Sheet:
    """Draw steps to target against batch size, from `target_table`; call it in `canvas.style`.

    Args:
        steps: typical steps of each series.
        seeds: a dot each.
        curves: the fits.
        critical: the critical batch size of each series where it is known.
        noise: from least to largest gradient noise scale, in rows.
        target: what is reached.
    """
    figure, axes = empty()
    looks = _step_looks(steps)
    handles: list[Line2D] = []
    if noise is not None:
        axes.axvspan(*noise, color=palette.MUTED, alpha=0.13, linewidth=0, zorder=0)
    for series, look in looks.items():
        found = steps[(steps["series"] == series) & steps["steps"].notna()]
        fit = curves[curves["series"] == series]
        if len(fit):
            dash = linestyle(look.dash) if fit["holds"].all() else (0, (1, 1.6))
            line: dict[str, Any] = {"color": look.color, "linestyle": dash, "linewidth": 1.3, "zorder": 2}
            figure.mark(axes.plot(fit["batch_size"], fit["steps"], **line), series)
        figure.mark(dots(axes, seeds[seeds["series"] == series], "steps", look.color), series)
        figure.mark(points(axes, found["batch_size"], found["steps"], look), series)
        figure.read(axes, [series], [_words(row, "batch_size") for row in found.to_dict("records")])
        if len(found):
            handles.append(Line2D([], [], label=series, color=look.color, linestyle="", marker=look.marker, **EDGED))
        if series in critical:
            _critical(axes, critical[series], look)
    scale(axes, "y", pd.concat([steps["steps"], seeds["steps"]]))
    axes.set_ylim(axes.get_ylim())  # what follows must not widen it
    handles += _fit_handles(curves, critical, noise)
    handles += _proportional(axes, steps)
    handles += unreached(figure, steps, looks, "series")
    batch_ticks(axes, steps["batch_size"], steps.loc[steps["full_batch"], "batch_size"])
    axes.set(xlabel="batch size", ylabel=f"updates to {target}")
    legend(figure, handles)
    return figure


def pareto(steps: pd.DataFrame, picks: pd.DataFrame, target: str) -> Sheet:
    """Draw steps against samples processed, one point for each batch size labelled by it; call it in `canvas.style`.

    Args:
        steps: from `target_table.steps`.
        picks: the recommended sizes, ringed.
        target: what is reached.
    """
    figure, axes = empty()
    looks = _step_looks(steps)
    handles = []
    reached = steps[steps["steps"].notna()]
    for series, rows in reached.groupby("series", sort=False):
        look = looks[str(series)]
        line: dict[str, Any] = {"color": look.color, "linewidth": 0.7, "linestyle": linestyle(look.dash), "zorder": 2}
        figure.mark(axes.plot(rows["samples"], rows["steps"], **line), str(series))
        figure.mark(points(axes, rows["samples"], rows["steps"], look), str(series))
        figure.read(axes, [str(series)], [_words(row, "samples") for row in rows.to_dict("records")])
        handles.append(Line2D([], [], label=series, color=look.color, linestyle="", marker=look.marker, **EDGED))
        chosen = rows[rows["batch_size"].isin(picks["batch_size"])]
        figure.mark(axes.plot(chosen["samples"], chosen["steps"], markeredgecolor=look.color, **RING), str(series))
        if len(chosen):
            handles.append(Line2D([], [], label="recommended", markeredgecolor=look.color, **RING | SMALL))
    scale(axes, "x", reached["samples"], EngFormatter(sep=" "))
    scale(axes, "y", reached["steps"])
    axes.margins(0.09)
    for _, rows in reached.groupby("series", sort=False):
        _label(axes, rows, set(picks["batch_size"]))
    axes.set(xlabel=f"samples to {target}", ylabel=f"updates to {target}")
    legend(figure, handles)
    return figure


def _words(row: Mapping[Hashable, Any], column: str) -> tuple[float, float, str]:
    """Return a size's steps as a point to read, with the fewest and the most of its seeds."""
    words = f"{readable.batch(None if row['full_batch'] else row['batch_size'])}: {readable.count(row['steps'])} updates"
    if row["steps_low"] < row["steps_high"]:
        words += f" ({readable.count(row['steps_low'])} to {readable.count(row['steps_high'])})"
    return row[column], row["steps"], f"{words}, {readable.count(row['samples'])} samples"


def _step_looks(steps: pd.DataFrame) -> dict[str, Look]:
    """Return the look of each series: in ink where loaders share it, else its loader's."""
    firsts = steps.drop_duplicates("series")
    of_loader = looks_of(firsts["loader"])
    return {
        str(row.series): of_loader[str(row.loader)]._replace(**({"color": palette.INK} if row.shared else {}))
        for row in firsts.itertuples(index=False)
    }


def _critical(axes: Axes, bc: Estimate, look: Look) -> None:
    """Mark the critical batch size, with its interval as a band."""
    if bc.low is not None and bc.high is not None:
        axes.axvspan(bc.low, bc.high, color=look.color, alpha=0.12, linewidth=0, zorder=0.5)
    axes.axvline(bc.value, color=look.color, linewidth=1, linestyle=(0, (6, 2)), zorder=1)


def _fit_handles(curves: pd.DataFrame, critical: Mapping[str, Estimate], noise: tuple[float, float] | None) -> list[Line2D]:
    found = []
    if len(curves):
        held, dash = bool(curves["holds"].all()), (0, (1, 1.6))
        label = "fit" if held else "fit, not followed"
        found.append(Line2D([], [], color=palette.MUTED, linewidth=1.3, linestyle="-" if held else dash, label=label))
    if critical:
        found.append(Line2D([], [], color=palette.MUTED, linewidth=1, linestyle=(0, (6, 2)), label="Bc"))
    if noise is not None:
        found.append(Line2D([], [], color=palette.MUTED, linewidth=8, alpha=0.25, label="noise scale"))
    return found


def _proportional(axes: Axes, steps: pd.DataFrame) -> list[Line2D]:
    """Draw what half the steps for twice the batch would be, from the smallest size that reached the target."""
    reached = steps[steps["steps"].notna()]
    if reached["batch_size"].nunique() < 2:
        return []
    first = reached.sort_values("batch_size").iloc[0]
    sizes = np.array([first["batch_size"], reached["batch_size"].max()], dtype=float)
    look: dict[str, Any] = {"color": palette.MUTED, "linewidth": 1, "linestyle": (0, (3, 2))}
    axes.plot(sizes, first["steps"] * first["batch_size"] / sizes, zorder=1, **look)
    return [Line2D([], [], label="1 / B", **look)]


def _label(axes: Axes, rows: pd.DataFrame, ringed: set[int]) -> None:
    """Write the batch size beside each point, where it meets the least of points, of the line through them and of labels."""
    extent = 72 * np.array(SIZE_IN) * 0.8  # in points: about what the axes have of the figure
    to_axes = axes.transData + axes.transAxes.inverted()
    points = to_axes.transform(rows[["samples", "steps"]].to_numpy(dtype=float)) * extent
    steps = np.linspace(0, 1, 9)[:, None]
    taken = [tuple(point) for start, end in itertools.pairwise(points) for point in start + steps * (end - start)]
    for place, row in zip(points, rows.to_dict("records"), strict=True):
        text = "full" if row["full_batch"] else f"{row['batch_size']:,}"
        half, gap = 2.4 * len(text), 7.0 if row["batch_size"] in ringed else 2.0
        offsets = [(x * (half + gap + 3), y * (gap + 7)) for x, y in OFFSETS]
        at = offsets[int(np.argmin([_crowd(place + offset, half, taken, extent) for offset in offsets]))]
        x, y = place + at
        taken += [(x + part * half, y) for part in (-1, 0, 1)]
        style: dict[str, Any] = {"fontsize": 8, "ha": "center", "va": "center", "textcoords": "offset points"}
        axes.annotate(text, (row["samples"], row["steps"]), xytext=at, zorder=7, **style)


def _crowd(at: Any, half: float, taken: Any, extent: Any) -> float:
    """Return how much a label of that half width would meet there; over the edge is worst."""
    met = sum(abs(at[0] - x) < half + 2 and abs(at[1] - y) < 6 for x, y in taken)
    return float(met + 9 * (not (half < at[0] < extent[0] - half and 4 < at[1] < extent[1] - 4)))
