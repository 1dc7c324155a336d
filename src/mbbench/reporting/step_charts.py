"""Tables in, figures out: steps to the target against batch size, and against samples processed. No statistics here.

Easy to get wrong: a fit that the steps do not follow is drawn as doubtful; and neither few steps nor few samples are little
time, so both figures say nothing on that.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from mbbench.reporting import palette
from mbbench.reporting.canvas import SIZE_IN, batch_ticks, empty, legend, linestyle, scale
from mbbench.reporting.charts import EDGED, Look
from mbbench.reporting.stats import Estimate
from mbbench.reporting.target_charts import RING, SMALL, dots, looks_of, points, unreached

OFFSETS = ((1, 0), (0, 9), (-1, 0), (0, -9), (1, 8), (-1, -8), (1, -8), (-1, 8), (0, 15), (0, -15))
"""Places for a label beside its point: in widths of the label, in points; the first of those that meet the fewest others."""


def steps_to_target(
    steps: pd.DataFrame,
    seeds: pd.DataFrame,
    curves: pd.DataFrame,
    critical: Mapping[str, Estimate],
    noise: tuple[float, float] | None,
    target: str,
) -> Figure:
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
            axes.plot(fit["batch_size"], fit["steps"], color=look.color, linestyle=dash, linewidth=1.3, zorder=2)
        dots(axes, seeds[seeds["series"] == series], "steps", look.color)
        points(axes, found["batch_size"], found["steps"], look)
        if len(found):
            handles.append(Line2D([], [], label=series, color=look.color, linestyle="", marker=look.marker, **EDGED))
        if series in critical:
            _critical(axes, critical[series], look)
    scale(axes, "y", pd.concat([steps["steps"], seeds["steps"]]))
    axes.set_ylim(axes.get_ylim())  # what follows must not widen it
    handles += _fit_handles(curves, critical, noise)
    handles += _proportional(axes, steps)
    handles += unreached(axes, steps, looks, "series")
    batch_ticks(axes, steps["batch_size"], steps.loc[steps["full_batch"], "batch_size"])
    axes.set(xlabel="batch size", ylabel=f"updates to {target}")
    legend(figure, handles)
    return figure


def pareto(steps: pd.DataFrame, picks: pd.DataFrame, target: str) -> Figure:
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
        axes.plot(rows["samples"], rows["steps"], color=look.color, linewidth=0.7, linestyle=linestyle(look.dash), zorder=2)
        points(axes, rows["samples"], rows["steps"], look)
        handles.append(Line2D([], [], label=series, color=look.color, linestyle="", marker=look.marker, **EDGED))
        chosen = rows[rows["batch_size"].isin(picks["batch_size"])]
        axes.plot(chosen["samples"], chosen["steps"], markeredgecolor=look.color, **RING)
        if len(chosen):
            handles.append(Line2D([], [], label="recommended", markeredgecolor=look.color, **RING | SMALL))
    scale(axes, "x", reached["samples"], EngFormatter(sep=" "))
    scale(axes, "y", reached["steps"])
    axes.margins(0.09)
    for _, rows in reached.groupby("series", sort=False):
        _label(axes, rows)
    axes.set(xlabel=f"samples to {target}", ylabel=f"updates to {target}")
    legend(figure, handles)
    return figure


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


def _label(axes: Axes, rows: pd.DataFrame) -> None:
    """Write the batch size beside each point, where it meets the fewest other points and labels."""
    figure_points = 72 * np.array(SIZE_IN) * 0.8  # about what the axes have of it
    to_axes = axes.transData + axes.transAxes.inverted()
    points = to_axes.transform(rows[["samples", "steps"]].to_numpy(dtype=float)) * figure_points
    taken = [tuple(point) for point in points]
    for place, row in zip(points, rows.to_dict("records"), strict=True):
        text = "full" if row["full_batch"] else f"{row['batch_size']:,}"
        half = 2.2 * len(text)

        def crowd(offset: tuple[float, float], place: Any = place, half: float = half) -> int:
            x, y = place[0] + offset[0] * (half + 6), place[1] + offset[1]
            return int(sum(abs(x - other[0]) < half + 6 and abs(y - other[1]) < 8 for other in taken))

        offset = min(OFFSETS, key=crowd)
        at = (offset[0] * (half + 6), offset[1])
        taken.append((place[0] + at[0], place[1] + at[1]))
        style: dict[str, Any] = {"fontsize": 8, "ha": "center", "va": "center", "textcoords": "offset points"}
        axes.annotate(text, (row["samples"], row["steps"]), xytext=at, zorder=7, **style)
