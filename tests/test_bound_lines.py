"""Bounds are drawn where they are, and their labels meet neither lines nor each other."""

import itertools

import numpy as np
import pytest
import synthetic as s
from test_bounds import KNOWN, of, times

from mbbench.reporting import bounds, canvas, charts
from mbbench.reporting.analysis import pool_table

SIZES = (1, 8, 32, 128, 512, 2048, None)


def drawn(*records, found=None):
    setting = of(*records)
    with canvas.style("t"):
        figure = charts.throughput(pool_table(setting.pools), found or bounds.bounds(setting))
        figure.draw_without_rendering()
    return figure, figure.axes[0]


def entries(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def loaders(count):
    several = (("slice", 0.0), ("dataloader", 6e-6), ("gather", 1e-6))[:count]
    return [record for loader, more_s in several for record in times(SIZES, loader, more_s)]


def corners(line):
    """Return points along a line where it is drawn, in pixels."""
    pixels = line.get_transform().transform(line.get_xydata())
    return [a + part * (b - a) for a, b in itertools.pairwise(pixels) for part in np.linspace(0, 1, 50)] or list(pixels)


def test_limits_knee_and_matrix_rate_stand_where_they_were_planted():
    figure, axes = drawn(*loaders(1), s.profile_record(s.case(8)))
    _, limits, knee, rate = [line for line in axes.lines if len(line.get_xdata())]
    assert limits.get_ydata()[0] == pytest.approx(1 / 60e-6)
    assert limits.get_ydata()[-1] == pytest.approx(5e6)
    assert knee.get_xdata()[0] == pytest.approx(300)
    assert rate.get_ydata()[0] == pytest.approx(s.FLOP_PER_S / s.ROW_FLOP)
    assert entries(figure) == ["slice", "limits of a step"]
    assert [text.get_text() for text in axes.texts] == ["matrix rate", "knee 300"]


@pytest.mark.parametrize(
    ("count", "rate", "failed"),
    [
        *((1, None, False), (1, 5e10, False), (2, 5e10, False), (2, 9e11, True)),
        *((3, 3e9, True), (3, 5e10, True), (3, 9e11, False)),
    ],
)
def test_labels_meet_no_line_and_not_each_other(count, rate, failed):
    lost = [s.failure(s.case(4096, loader=loader), "oom") for loader in ("slice", "gather") if failed]
    records = [*loaders(count), *lost]
    found = bounds.bounds(of(*records))
    found = bounds.Bounds(found.highest, found.sizes, found.loader, found.step, rate, 14_000.0)
    _, axes = drawn(*records, found=found)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == (1 if rate is None else 2)
    for box in boxes:
        assert axes.bbox.x0 <= box.x0
        assert box.x1 <= axes.bbox.x1
        assert axes.bbox.y0 <= box.y0
        assert box.y1 <= axes.bbox.y1
        assert not [line for line in axes.lines for point in corners(line) if box.contains(*point)]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_what_is_not_known_or_too_far_is_not_drawn():
    two = times((8, 64))
    assert not drawn(*two)[1].texts
    figure, axes = drawn(*two, found=bounds.Bounds(1e6, (8, 64), "slice", None, 1e15, 1.0))
    assert not axes.texts
    assert entries(figure) == ["slice"]
    assert len([line for line in axes.lines if len(line.get_xdata())]) == 1


def test_a_matrix_rate_above_the_data_is_inside_the_axes_and_the_data_still_are():
    _, axes = drawn(*times(SIZES), found=bounds.Bounds(5e6, (1, 8192), "slice", KNOWN.step, 1e12, 14_000.0))
    low, high = axes.get_ylim()
    assert low < 1.6e4
    assert high > 1e12 / 14_000


def test_a_chart_without_bounds_is_as_it_was():
    setting = of(*loaders(2))
    with canvas.style("t"):
        plain = charts.throughput(pool_table(setting.pools))
    assert entries(plain) == ["slice", "dataloader"]
    assert not plain.axes[0].texts
