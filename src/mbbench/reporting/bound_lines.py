"""Draw what bounds throughput over a chart of it: thin lines, each with a label where nothing else is.

Easy to get wrong: where a label meets a line follows from the scales, so the lines come after these are set, and the label
of one after the lines of all.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mbbench.reporting import palette
from mbbench.reporting.bounds import Bounds, knee_label
from mbbench.reporting.sheet import SIZE_IN, Sheet

Points = NDArray[np.float64]
FITTED, MATRIX_RATE = "limits of a step", "matrix rate"
"""In the legend, and at its line."""
HEADROOM = 1.4
"""Of the matrix rate, above it."""
AXES_PT = 72 * 0.78 * np.array(SIZE_IN) * (1.0, 0.9)
"""Width and height of the axes in points, about what legend and labels leave of the sheet."""
LETTER_PT, LINE_PT, GAP_PT = 4.7, 9.0, 3.0
_THIN: dict[str, Any] = {"color": palette.MUTED, "linewidth": 1.0, "zorder": 1.5}


class Spot(NamedTuple):
    """A place for a label, in points from the lower left of the axes: its lower left corner and its size."""

    x: float
    y: float
    width: float
    height: float


def draw(figure: Sheet, axes: Axes, found: Bounds) -> list[Line2D]:
    """Draw the bounds on axes whose scales are set, and return the legend's entries."""
    handles = []
    if found.step is not None:
        sizes = np.geomspace(*found.sizes, 101)
        dashed: dict[str, Any] = {**_THIN, "linestyle": (0, (5, 2))}
        figure.mark(axes.plot(sizes, [found.at(size) for size in sizes], **dashed), FITTED)
        handles.append(Line2D([], [], label=FITTED, **dashed))
    knee = found.knee if found.knee_inside else None
    if knee is not None:
        axes.axvline(knee, linestyle=(0, (1, 2)), **_THIN)
    bound = found.matrix_bound if found.near else None
    if bound is not None:
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, bound / HEADROOM), max(high, bound * HEADROOM))
        axes.axhline(bound, **_THIN)
    taken = _drawn(axes)
    if bound is not None:
        taken = _write(axes, MATRIX_RATE, _along(_place(axes, 1.0, bound)[1], MATRIX_RATE), taken)
    if knee is not None:
        words = knee_label(knee)
        _write(axes, words, _beside(_place(axes, knee, axes.get_ylim()[0])[0], words), taken)
    return handles


def _drawn(axes: Axes) -> Points:
    """Return points along every line, in points from the lower left of the axes."""
    found = []
    for line in axes.lines:
        corners = np.asarray(line.get_transform().transform(line.get_xydata()), dtype=float)
        if not len(corners):  # seaborn adds empty ones for a legend
            continue
        corners = axes.transAxes.inverted().transform(corners) * AXES_PT
        found.append(corners)
        if line.get_linestyle() != "None":
            part = np.linspace(0, 1, 60)[:, None, None]
            found.append((corners[:-1] + part * (corners[1:] - corners[:-1])).reshape(-1, 2))
    return np.concatenate(found) if found else np.empty((0, 2))


def _place(axes: Axes, x: float, y: float) -> Points:
    return np.asarray((axes.transData + axes.transAxes.inverted()).transform((x, y)) * AXES_PT)


def _along(height: float, words: str) -> list[Spot]:
    """Return places over and under a line across, from the left to the right."""
    width = LETTER_PT * len(words)
    lefts = np.linspace(GAP_PT, AXES_PT[0] - width - GAP_PT, 9)
    return [Spot(float(x), height + y, width, LINE_PT) for y in (GAP_PT, -GAP_PT - LINE_PT) for x in lefts]


def _beside(across: float, words: str) -> list[Spot]:
    """Return places right and left of an upright line, from the lower edge up."""
    width = LETTER_PT * len(words)
    heights = np.linspace(GAP_PT, AXES_PT[1] - LINE_PT - GAP_PT, 12)
    return [Spot(across + x, float(y), width, LINE_PT) for y in heights for x in (GAP_PT, -GAP_PT - width)]


def _write(axes: Axes, words: str, spots: Iterable[Spot], taken: Points) -> Points:
    """Write a label at the first of the spots that meets least, and return what is taken with it."""
    spot = min(spots, key=lambda each: _crowd(each, taken))
    x, y = np.array([spot.x + spot.width / 2, spot.y + spot.height / 2]) / AXES_PT
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": palette.MUTED}
    axes.text(float(x), float(y), words, transform=axes.transAxes, zorder=6, **style)
    across, up = np.meshgrid(np.linspace(0, spot.width, 9), np.linspace(0, spot.height, 4))
    return np.concatenate([taken, np.stack([spot.x + across.ravel(), spot.y + up.ravel()], axis=1)])


def _crowd(spot: Spot, taken: Points) -> float:
    """Return how many points a label there would meet; over the edge is worst."""
    x, y = taken[:, 0] - spot.x, taken[:, 1] - spot.y
    met = ((x > -1) & (x < spot.width + 1) & (y > -1) & (y < spot.height + 1)).sum()
    within = spot.x >= 0 and spot.y >= 0 and spot.x + spot.width <= AXES_PT[0] and spot.y + spot.height <= AXES_PT[1]
    return float(met) + (0.0 if within else 1e6)
