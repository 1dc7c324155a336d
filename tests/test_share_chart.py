"""Bars add up, percentages stand inside their segments, and a failed cell keeps its row."""

import itertools
import re

import pytest
import synthetic as s

from mbbench.reporting import canvas, palette, share_chart, svg
from mbbench.reporting.pooling import settings
from mbbench.reporting.share_chart import LOOKS
from mbbench.reporting.step_share import bars


def drawn(*records):
    (setting,) = settings(records)
    with canvas.style("t"):
        figure = share_chart.shares(bars(setting))
        figure.draw_without_rendering()
    return figure, figure.axes[0]


def grid(sizes=(8, 512, None), loaders=("slice", "dataloader"), **fields):
    return [s.profile_record(s.case(size, loader=loader), **fields) for size in sizes for loader in loaders]


def test_each_bar_is_cut_into_its_phases_and_is_whole():
    _, axes = drawn(*grid([300], ["slice"]))
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == pytest.approx([6 / 126, 50 / 126, 20 / 126, 40 / 126, 10 / 126])
    lefts = [patch.get_x() for patch in axes.patches]
    assert lefts == pytest.approx([0, 6 / 126, 56 / 126, 76 / 126, 116 / 126])


def test_phases_differ_in_hatch_and_in_colour():
    assert len({hatch for _, hatch in LOOKS.values()}) == len({color for color, _ in LOOKS.values()}) == len(LOOKS) == 5


def test_percentages_stand_inside_the_segments_that_have_room():
    _, axes = drawn(*grid())
    segments = [patch.get_window_extent() for patch in axes.patches]
    written = [text for text in axes.texts if re.fullmatch(r"\d+ %", text.get_text())]
    assert len(written) >= 10
    for text in written:
        box = text.get_window_extent()
        inside = [seg for seg in segments if seg.x0 <= box.x0 and box.x1 <= seg.x1 and seg.y0 <= box.y0 and box.y1 <= seg.y1]
        assert len(inside) == 1


def test_the_seconds_of_a_step_stand_at_the_right_end_inside_the_figure():
    figure, axes = drawn(*grid([8, 512], ["slice"]))
    seconds = [text for text in axes.texts if text.get_text().endswith("µs")]
    assert [text.get_text() for text in seconds] == ["61.8 µs", "173 µs"]
    assert all(axes.bbox.x1 < text.get_window_extent().x0 for text in seconds)
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in seconds)


def test_a_failed_cell_keeps_its_row_with_what_became_of_it():
    _, axes = drawn(*grid([8], ["slice"]), s.failure(s.case(None), "oom", kind="profile"))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["8", "full"]
    assert [text.get_text() for text in axes.texts if text.get_color() == palette.BAD] == ["out of memory"]


def test_dispatch_is_in_the_legend_only_where_it_is_known():
    for known in (True, False):
        figure, _ = drawn(*grid(one_row=known))
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert ("Python and dispatch" in names) == known
        assert len(names) == 4 + known


def test_batch_sizes_stand_apart_where_each_has_several_bars():
    ticks = drawn(*grid([8, 512]))[1].get_yticks()
    assert list(ticks) == pytest.approx([0, 1, 2 + share_chart.GAP, 3 + share_chart.GAP])
    assert list(drawn(*grid([8, 512], ["slice"]))[1].get_yticks()) == [0, 1]


def test_a_sheet_is_higher_the_more_bars_it_has_and_labels_do_not_meet():
    few, _ = drawn(*grid([8], ["slice"]))
    many, axes = drawn(*grid([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, None]))
    assert few.get_figheight() < many.get_figheight()
    boxes = sorted((label.get_window_extent() for label in axes.get_yticklabels()), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(boxes))


def test_hatches_in_a_page_find_their_pattern_and_every_colour_is_a_variable():
    styles = svg.Styles()
    (setting,) = settings(grid())
    with canvas.style("t"):
        inline = svg.inline(svg.text(share_chart.shares(bars(setting))), "p", "title", "words", styles)
    css = styles.css()
    patterns = re.findall(r'<pattern id="([^"]+)"', inline)
    assert len(patterns) == 4
    assert set(re.findall(r"url\(#([^)]+)\)", css)) == set(patterns)
    assert not re.findall(r"#[0-9a-f]{6}", css + inline)


def test_each_segment_can_be_read_in_its_middle():
    figure, axes = drawn(*grid([300], ["slice"]))
    readings = figure.readings()
    assert [readings["keys"][series["keys"][0]] for series in readings["series"]] == [
        *("batch assembly", "Python and dispatch", "forward", "backward", "optimizer")
    ]
    [[[_, _, words]]] = [series["points"] for series in readings["series"][1:2]]
    assert words == "300, Python and dispatch: 50.0 µs (40 %)"
    height = 72 * figure.get_figheight()
    for series, patch in zip(readings["series"], axes.patches, strict=True):
        [[x, y, _]] = series["points"]
        box = patch.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        assert 72 * box.x0 <= x <= 72 * box.x1
        assert 72 * box.y0 <= height - y <= 72 * box.y1
