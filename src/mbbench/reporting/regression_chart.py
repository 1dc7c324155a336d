"""Rows in, a figure out: the change of each benchmark with its interval, as a forest. No statistics here.

Easy to get wrong: twice and half are as far from no change as each other, so the scale is that of logarithms, with ticks in
percent; and one benchmark that is far out must not press all others flat, so what lies beyond the scale is cut, with an
arrow, and every row has its number beside it.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mbbench.reporting import canvas, palette, readable
from mbbench.reporting.compared_words import sentence, signed, word
from mbbench.reporting.regression_rows import BETTER, CONTROL, DOUBTED, RANK, SAME, UNDECIDED, WORSE, Line, Panel
from mbbench.reporting.sheet import Sheet

ROW_IN, TITLE_IN, REST_IN = 0.185, 0.24, 0.95
"""Height of a row, of a panel's title, and of legend and axis."""
WIDE, FARTHEST = math.log(1.35), math.log(11)
"""Half of the scale: what every change may take, and what none may exceed."""
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Between two ticks, as a part."""
APART = 0.35
"""Of half of the scale, between two ticks: what "+20 %" takes of the axes."""
AMOUNT_POINTS = 48
"""From the right edge of the axes to the end of a change in figures: the widest is "+100.0 %" in bold."""
MANY = 10.0
"""A ratio from which on it is written as a multiple."""
ARROW: dict[str, Any] = {"markersize": 4.5, "markeredgewidth": 0, "clip_on": False}
BEYOND, WITHIN = "beyond the scale", "does not matter"


class Look(NamedTuple):
    """How a kind of row is drawn: everything but the colour tells it apart as well."""

    color: str
    marker: str
    hollow: bool
    dash: tuple[float, ...] | str


LOOKS = {
    WORSE: Look(palette.BAD, "^", False, ""),
    UNDECIDED: Look(palette.INK, "o", True, (2.2, 1.3)),
    DOUBTED: Look(palette.MUTED, "s", True, (1, 1.2)),
    SAME: Look(palette.MUTED, "o", False, ""),
    BETTER: Look(palette.GOOD, "v", False, ""),
    CONTROL: Look(palette.HUES[0], "D", False, (5, 1.2, 1, 1.2)),
}


def forest(panels: Sequence[Panel]) -> Sheet:
    """Draw one panel or more, from `regression_rows.panels`; call it in `canvas.style`."""
    heights = [len(panel.lines) + 0.2 for panel in panels]
    figure = Sheet(rows=heights, height_in=REST_IN + TITLE_IN * len(panels) + ROW_IN * sum(heights))
    limit = _limit([line for panel in panels for line in panel.lines])
    drawn = [_panel(figure, axes, panel, limit) for axes, panel in zip(figure.axes, panels, strict=True)]
    last = figure.axes[-1]
    ticks = _ticks(limit)
    last.set_xticks([math.log1p(part) for part in ticks], [f"{100 * part:+g} %" if part else "0" for part in ticks])
    last.set_xlim(-limit, limit)
    last.set_xlabel("change, less is better")
    canvas.legend(figure, _handles(panels, any(drawn)))
    return figure


def _panel(figure: Sheet, axes: Axes, panel: Panel, limit: float) -> bool:
    """Draw the rows of a panel, the first at the top; say whether any is cut."""
    places = list(range(len(panel.lines)))
    axes.set_title(panel.title, loc="left", fontsize=8.5, pad=3)
    axes.set_yticks(places, [line.label for line in panel.lines])
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="x", length=0)
    edges = [(place + side, *line.within) for place, line in enumerate(panel.lines) for side in (-0.5, 0.5)]
    low, high = ([_clipped(edge[at], limit) for edge in edges] for at in (1, 2))
    axes.fill_betweenx([edge[0] for edge in edges], low, high, color=palette.MUTED, alpha=0.16, linewidth=0, zorder=0)
    axes.axvline(0, color=palette.MUTED, linewidth=0.9, zorder=1)
    cut = [_line(figure, axes, place, line, limit) for place, line in zip(places, panel.lines, strict=True)]
    return any(cut)


def _line(figure: Sheet, axes: Axes, place: int, line: Line, limit: float) -> bool:
    """Draw one row: interval, point, arrows where they are cut, and its change in figures; say whether any is."""
    look, ratio = LOOKS[line.kind], line.row.change.ratio
    value = math.log(ratio.value)
    ends = (value, value) if ratio.low is None or ratio.high is None else (math.log(ratio.low), math.log(ratio.high))
    cut = [-1 if ends[0] < -limit else 0, 1 if ends[1] > limit else 0]
    # A point beyond the scale stands before its arrow.
    at = max(-0.93 * limit, min(value, 0.93 * limit))
    style: dict[str, Any] = {"color": look.color, "linestyle": canvas.linestyle(look.dash), "linewidth": 1.5, "zorder": 3}
    parts: list[Any] = []
    if ends[0] < ends[1] or any(cut):
        reach = (max(min(ends[0], at), -limit), min(max(ends[1], at), limit))
        parts += axes.plot(reach, (place, place), solid_capstyle="butt", **style)
    for way in filter(None, cut):
        arrow = ">" if way > 0 else "<"
        parts += axes.plot([way * limit], [place], arrow, color=look.color, zorder=5, **ARROW)
    parts += axes.plot([at], [place], **_marker(look), zorder=4)
    bold = "bold" if line.kind in (WORSE, BETTER) else "normal"
    written: dict[str, Any] = {"color": look.color, "fontsize": 8, "fontweight": bold, "ha": "right", "va": "center"}
    beside = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", **written}
    parts.append(axes.annotate(_amount(ratio.value), (1, place), (AMOUNT_POINTS, 0), **beside))
    figure.mark(parts, line.kind)
    figure.read(axes, [line.kind], [(at, place, f"{line.row.name}: {_words(line)}")])
    return any(cut)


def _words(line: Line) -> str:
    verdict = word(line.row) + (f", {DOUBTED}" if line.kind == DOUBTED else "")
    between = "the base against itself, " if line.kind == CONTROL else ""
    return f"{between}{verdict}: {sentence(line.row)}"


def _marker(look: Look) -> dict[str, Any]:
    edge = {"markeredgecolor": look.color if look.hollow else palette.PAPER, "markeredgewidth": 1.1 if look.hollow else 0.5}
    size = 5.4 if look.marker in "^v" else 4.6
    face = palette.PAPER if look.hollow else look.color
    return {"marker": look.marker, "linestyle": "", "markersize": size, "markerfacecolor": face, **edge}


def _handles(panels: Sequence[Panel], cut: bool) -> list[Any]:
    there = {line.kind for panel in panels for line in panel.lines}
    handles: list[Any] = []
    for kind in (*RANK, CONTROL):
        if kind in there:
            look = LOOKS[kind]
            marker = {name: value for name, value in _marker(look).items() if name != "linestyle"}
            style = {"color": look.color, "linestyle": canvas.linestyle(look.dash), "linewidth": 1.5}
            handles.append(Line2D([], [], label=kind, **marker, **style))
    handles.append(Patch(facecolor=palette.MUTED, alpha=0.16, label=WITHIN))
    if cut:
        handles.append(Line2D([], [], color=palette.MUTED, marker=">", markersize=4.5, linestyle="", label=BEYOND))
    return handles


def _limit(lines: Sequence[Line]) -> float:
    """Return half of the scale: all intervals where there is room; at most three times what the middle one takes."""
    reach = [max(abs(math.log(each)) for each in _ends(line)) for line in lines]
    tolerance = min(math.log(line.within[1]) for line in lines)
    most = max(WIDE, 3 * statistics.median_low(reach))
    return max(min(1.15 * max(reach), most, FARTHEST), min(2.5 * tolerance, WIDE))


def _ends(line: Line) -> tuple[float, ...]:
    ratio = line.row.change.ratio
    return tuple(each for each in (ratio.value, ratio.low, ratio.high) if each is not None)


def _ticks(limit: float) -> list[float]:
    """Return changes to label, as parts: one or two on each side of none; doublings where the scale is that long."""
    if limit < math.log(2):
        step = max((step for step in STEPS if step <= -math.expm1(-limit)), default=STEPS[0])
        most = 2 if math.log1p(2 * step) - math.log1p(step) > APART * limit else 1
        parts = [round(step * number, 6) for number in range(-most, most + 1)]
    else:
        stride = math.ceil(limit / math.log(2) / 2.99)
        parts = [2.0 ** (stride * number) - 1 for number in range(-2, 3)]
    return [part for part in parts if abs(math.log1p(part)) <= limit]


def _clipped(ratio: float, limit: float) -> float:
    return max(-limit, min(math.log(ratio) if ratio > 0 else -limit, limit))


def _amount(ratio: float) -> str:
    """Return a change in a few letters: "+13.4 %", "12x"."""
    if ratio >= MANY:
        return f"{readable.multiple(ratio)}x" if ratio < 1e4 else "> 10,000x"
    return signed(ratio)
