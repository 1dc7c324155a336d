"""The forest: each row where its ratio is, told apart by shape and dash too, cut with an arrow, with nothing on anything."""

import itertools
import math
import re

import comparisons as c
import pytest

from mbbench.reporting import canvas, palette, regression_chart, svg
from mbbench.reporting.regression_chart import LOOKS, forest
from mbbench.reporting.regression_rows import panels


def drawn(found):
    with canvas.style("t"):
        figure = forest(panels(found))
        figure.draw_without_rendering()
    return figure


def points(axes):
    """Return marker, place and whether hollow of each point."""
    shown = {line: line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1}
    return [
        (marker, float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_markerfacecolor() == palette.PAPER)
        for line, marker in shown.items()
        if marker not in "<>"
    ]


def spans(axes):
    return [tuple(map(float, line.get_xdata())) for line in axes.lines if line.get_marker() == "None"][
        1:
    ]  # the first is at 0


def arrows(axes):
    return [(line.get_marker(), float(line.get_ydata()[0])) for line in axes.lines if line.get_marker() in list("<>")]


def names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_each_row_stands_at_the_logarithm_of_its_ratio_with_its_interval():
    axes = drawn(c.compared(c.time("a", "slower", 1.1), c.time("b", "same", 1.0), c.time("c", "faster", 0.9))).axes[0]
    assert names(axes) == ["a", "b", "c"]
    assert [marker for marker, *_ in points(axes)] == ["^", "o", "v"]
    assert [at for _, at, *_ in points(axes)] == pytest.approx([math.log(1.1), 0, math.log(0.9)])
    assert [row for *_, row, _ in points(axes)] == [0, 1, 2]
    assert spans(axes) == [pytest.approx((math.log(ratio - 0.01), math.log(ratio + 0.01))) for ratio in (1.1, 1.0, 0.9)]
    assert axes.yaxis_inverted()


def test_a_mirrored_comparison_is_a_mirrored_picture():
    found = c.everything()
    for one, other in zip(drawn(found).axes[:2], drawn(c.mirrored(found)).axes[:2], strict=True):
        there, back = points(one), points(other)
        assert sorted(at for _, at, *_ in there) == pytest.approx(sorted(-at for _, at, *_ in back))
        turned = {"^": "v", "v": "^"}
        assert sorted(marker for marker, *_ in there) == sorted(turned.get(marker, marker) for marker, *_ in back)
        assert one.get_xlim() == pytest.approx((-one.get_xlim()[1], one.get_xlim()[1]))


def test_undecided_is_hollow_and_dashed_and_all_kinds_differ_without_colour():
    axes = drawn(c.compared(c.time("a", "undecided", 1.02, 0.05))).axes[0]
    [(_, _, _, hollow)] = points(axes)
    assert hollow
    assert axes.lines[1].is_dashed()
    assert len({(look.marker, look.hollow) for look in LOOKS.values()}) == len(LOOKS)


def test_memory_has_a_point_and_no_interval():
    figure = drawn(c.compared(c.memory("m", 10**8, 2 * 10**8), control=None))
    assert len(points(figure.axes[0])) == 1
    assert spans(figure.axes[0]) == []


def test_too_few_blocks_have_a_point_and_no_interval():
    assert spans(drawn(c.compared(c.time("t", "undecided", 1.02, None, n=6))).axes[0]) == []


def test_what_is_far_out_is_cut_with_an_arrow_and_presses_nothing_flat():
    near = [c.time(f"n{number}", "same", 1.0) for number in range(8)]
    axes = drawn(c.compared(*near, c.time("far", "slower", 9.0), c.time("wide", "undecided", 1.0, 0.9))).axes[0]
    assert axes.get_xlim()[1] == pytest.approx(regression_chart.WIDE)
    far, wide = names(axes).index("far"), names(axes).index("wide")
    assert sorted(arrows(axes)) == sorted([(">", far), ("<", wide), (">", wide)])
    legend = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert regression_chart.BEYOND in legend
    assert "+800.0 %" in [text.get_text() for text in axes.texts]
    low, high = axes.get_xlim()
    assert all(low <= at <= high for _, at, *_ in points(axes))
    assert all(low <= end <= high for span in spans(axes) for end in span)


def test_nothing_is_called_cut_where_nothing_is():
    figure = drawn(c.compared(c.time("a", "slower", 1.1), c.time("b", "same", 1.0)))
    assert arrows(figure.axes[0]) == []
    assert regression_chart.BEYOND not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_band_is_what_does_not_matter_row_by_row():
    rows = [c.memory("a", 10**9, 10**9), c.memory("b", 2**24, 10**6), c.memory("c", 2**24, 2**24)]
    [band] = drawn(c.compared(*rows, control=None)).axes[0].collections
    corners = {(round(float(x), 4), float(y)) for x, y in band.get_paths()[0].vertices}
    assert {x for x, y in corners if x > 0 and y < 0.4} | {x for x, y in corners if x > 0 and y > 1.6} == {
        round(math.log(1.02), 4),
        round(math.log(1.25), 4),
    }


@pytest.mark.parametrize(
    ("limit", "ticks"),
    [
        (0.075, [-0.05, 0, 0.05]),
        (0.3, [-0.2, 0, 0.2]),
        (0.0999, [-0.05, 0, 0.05, 0.1]),
        (0.11, [-0.1, 0, 0.1]),
        (0.69, [-0.2, 0, 0.2]),
        (0.7, [-0.5, 0, 1]),
        (2.39, [-0.75, 0, 3]),
    ],
)
def test_ticks_are_round_percentages_and_few(limit, ticks):
    assert regression_chart._ticks(limit) == ticks


@pytest.mark.parametrize("amount", [1e-9, 0.5, 0.97, 1.0, 1.05, 2.0, 11.0, 1e9])
def test_any_ratio_can_be_drawn(amount):
    figure = drawn(c.compared(c.time("t", "undecided", amount, None)))
    low, high = figure.axes[0].get_xlim()
    assert 0.05 < high == -low <= regression_chart.FARTHEST
    assert len(figure.axes[-1].get_xticks()) >= 3
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in figure.axes[0].texts)


def test_sixty_rows_have_room_and_no_label_meets_another():
    rows = [c.time(f"bench/x.py::test_epoch_time[linear-n{2**number}-b32-slice]", "same", 1.0) for number in range(80)]
    figure = drawn(c.compared(*rows))
    boxes = sorted((label.get_window_extent() for label in figure.axes[0].get_yticklabels()), key=lambda box: box.y0)
    assert len(boxes) == 60
    assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(boxes))
    assert figure.axes[0].bbox.width > 0.35 * figure.bbox.width
    assert all(label.get_window_extent().x0 >= 0 for label in figure.axes[0].get_yticklabels())


def test_each_row_can_be_read_with_its_full_name_and_interval():
    figure = drawn(c.everything())
    said = figure.readings()
    words = {words for series in said["series"] for *_, words in series["points"]}
    assert (
        "bench/test_epoch.py::test_epoch_time[mlp-b32]: slower: +13.4 % wall time (95 % +12.4 % to +14.4 %), 12 blocks"
    ) in words
    assert any("the base against itself, same: +0.1 % wall time" in each for each in words)
    assert len(words) == len(c.everything().rows) + 1
    assert set(said["keys"]) == {"worse", "undecided", "better", "same", "control"}


def test_in_a_page_every_colour_is_a_variable_and_names_are_real_text():
    styles = svg.Styles()
    with canvas.style("t"):
        inline = svg.inline(svg.text(forest(panels(c.everything()))), "p", "title", "words", styles)
    assert "[mlp-b32]</text>" in inline
    assert "<desc" in inline
    assert inline.count("data-series") >= 13
    assert not re.findall(r"#[0-9a-f]{6}", styles.css() + inline)
