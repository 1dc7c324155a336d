"""Tables in, figure out: the share of a step that each of its phases takes, one bar per cell. No statistics here.

Easy to get wrong: segments are told apart by hatch as well as by colour; a percentage stands only where it has room; and a
cell without a profile keeps its row, with what became of it.
"""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from mbbench.profile import PHASES
from mbbench.reporting import palette, readable
from mbbench.reporting.canvas import empty, legend
from mbbench.reporting.share_words import NAMES
from mbbench.reporting.sheet import SIZE_IN, Sheet

LOOKS = {
    "batch": (palette.HUES[1], "////"),
    "dispatch": (palette.MUTED, "||||"),
    "forward": (palette.HUES[0], ""),
    "backward": (palette.HUES[2], "\\\\\\\\"),
    "optimizer": (palette.HUES[3], "xxxx"),
}
"""Colour and hatch of each phase. Lines alone: a pattern of dots takes 60 kB of an SVG."""
ROW_IN, REST_IN = 0.2, 1.45
"""Height of a bar with its gap, and of everything else."""
GAP = 0.4
"""Of a bar's height, between two batch sizes where each has several bars."""
FITS = 0.11
"""Of a step, from which on a percentage has room inside its segment."""
_WRITTEN: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7.5, "color": palette.PAPER}


def shares(bars: pd.DataFrame) -> Sheet:
    """Draw where a step goes, from `step_share.bars`; call it in `canvas.style`."""
    figure, axes = empty()
    places = _places(bars)
    figure.set_size_inches(SIZE_IN[0], REST_IN + ROW_IN * (places[-1] + 1))
    known = bars.assign(place=places)[bars["step_s"].notna()]
    left = np.zeros(len(known))
    drawn = [phase for phase in PHASES if known[phase].notna().any()]
    for phase in drawn:
        _segments(figure, axes, known, phase, left)
        left = left + known[phase].fillna(0.0).to_numpy()
    _rows(axes, bars, places)
    handles: list[Any] = [Patch(label=NAMES[phase], **_look(phase)) for phase in drawn]
    legend(figure, handles)
    return figure


def _segments(figure: Sheet, axes: Axes, known: pd.DataFrame, phase: str, left: NDArray[np.float64]) -> None:
    """Draw one phase in every bar, from `left` on, with its percentage where it has room, and say what can be read there."""
    parts = known[phase].fillna(0.0).to_numpy()
    figure.mark(axes.barh(known["place"], parts, left=left, height=0.8, zorder=2, **_look(phase)), NAMES[phase])
    box = {"facecolor": LOOKS[phase][0], "edgecolor": "none", "pad": 0.9}
    points = []
    for row, start, part in zip(known.to_dict("records"), left, parts, strict=True):
        middle = (start + part / 2, row["place"])
        if part >= FITS:
            figure.mark(axes.text(*middle, f"{round(100 * part)} %", bbox=box, zorder=3, **_WRITTEN), NAMES[phase])
        if part > 0:
            taken = f"{readable.seconds(part * row['step_s'])} ({readable.percent(part)})"
            points.append((*middle, f"{row['label']}, {NAMES[phase]}: {taken}"))
    figure.read(axes, [NAMES[phase]], points)


def _rows(axes: Axes, bars: pd.DataFrame, places: list[float]) -> None:
    """Name the rows, and write the seconds of each step at its right end, or what became of a cell without."""
    at: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8}
    for place, row in zip(places, bars.to_dict("records"), strict=True):
        if row["trouble"]:
            axes.text(0.01, place, row["trouble"], color=palette.BAD, **at)
        else:
            axes.text(1.02, place, readable.seconds(row["step_s"]), **at)
    axes.text(1.02, -0.95, "a step", color=palette.MUTED, **at)
    axes.set_yticks(places, bars["label"].tolist())
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    axes.grid(visible=False, axis="y")
    several = bars["label"].str.contains("·").any()
    axes.set(xlabel="share of a step", ylabel="batch size · loader" if several else "batch size")


def _places(bars: pd.DataFrame) -> list[float]:
    """Return the height of each row, the first at 0: a gap where the batch size changes and any has several rows."""
    sizes = bars["samples_per_step"].tolist()
    gap = GAP if len(set(sizes)) < len(sizes) else 0.0
    found = [0.0]
    for before, size in itertools.pairwise(sizes):
        found.append(found[-1] + 1 + (gap if size != before else 0.0))
    return found


def _look(phase: str) -> dict[str, Any]:
    color, hatch = LOOKS[phase]
    return {"facecolor": color, "edgecolor": palette.PAPER, "hatch": hatch, "linewidth": 0.7}
