"""Figures of times and steps to target show what their tables hold: dots, intervals, bands, races, what never got there."""

import itertools
import re

import numpy as np
import pytest
import synthetic as s
import targeted as t
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from mbbench.reporting import canvas, palette, step_charts, step_table, svg, target_charts, target_table
from mbbench.reporting.choosing import choices


@pytest.fixture(scope="module")
def found():
    return choices(t.everything())


def times(found):
    parts = (target_table.sizes, target_table.seeds, target_table.races, target_table.time_curves)
    parts += (target_table.bands, target_table.picks)
    with canvas.style("t"):
        figure = target_charts.time_to_target(*(make(found) for make in parts), "loss 0.1")
        figure.draw_without_rendering()
    return figure, figure.axes[0]


def steps(found):
    parts = (step_table.steps, step_table.step_seeds, step_table.step_curves, step_table.critical, step_table.noise_scale)
    with canvas.style("t"):
        figure = step_charts.steps_to_target(*(make(found) for make in parts), "loss 0.1")
        figure.draw_without_rendering()
    return figure, figure.axes[0]


def pareto(found):
    with canvas.style("t"):
        figure = step_charts.pareto(step_table.steps(found), target_table.picks(found), "loss 0.1")
        figure.draw_without_rendering()
    return figure, figure.axes[0]


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(axes, marker, color=None):
    """Return the lines of a marker in data coordinates, the colour that of its edge or its face."""
    return [
        line
        for line in axes.lines
        if line.get_marker() == marker
        and line.get_transform() == axes.transData
        and color in (None, line.get_color(), line.get_markeredgecolor())
    ]


def points(line):
    return [tuple(map(float, point)) for point in line.get_xydata()]


def at_the_edge(axes):
    return [
        line for line in axes.lines if line.get_transform() == axes.get_xaxis_transform() and line.get_marker() != "None"
    ]


def spans(axes):
    return [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches if isinstance(p, Rectangle)]


SLICE, DATALOADER = palette.HUES[0], palette.HUES[1]


def test_every_seed_is_a_dot_beside_its_size(found):
    _, axes = times(found)
    for color, table in zip((SLICE, DATALOADER), ("slice", "dataloader"), strict=True):
        (dots,) = lines(axes, ".", color)
        seeds = target_table.seeds(found)
        seeds = seeds[seeds["loader"] == table]
        assert len(points(dots)) == 5 * 5 + 3
        assert [y for _, y in points(dots)] == pytest.approx(list(seeds["seconds"]))
        assert [x for x, _ in points(dots)] == pytest.approx(list(seeds["batch_size"] * 2**-target_charts.APART))


def test_typical_times_are_markers_with_their_intervals(found):
    _, axes = times(found)
    typical = [line for line in lines(axes, "o", SLICE) if line.get_linestyle() == "None" and line.get_color() == SLICE]
    assert points(typical[0]) == [
        (size, pytest.approx(seconds))
        for size, seconds in zip((4, 8, 16, 32, 64), (0.018, 0.016, 0.018, 0.025, 0.0288), strict=True)
    ]
    table = target_table.sizes(found)
    ends = next(part for part in axes.collections if isinstance(part, LineCollection)).get_segments()
    known = table[(table["loader"] == "slice") & table["seconds"].notna()]
    assert [(low[1], high[1]) for low, high in ends] == [
        pytest.approx(pair) for pair in zip(known["seconds_low"], known["seconds_high"], strict=True)
    ]


def test_sizes_that_never_got_there_stand_at_the_upper_edge_by_status_in_the_colour_of_their_loader(found):
    figure, axes = times(found)
    edge = [(line.get_xdata()[0], line.get_color(), line.get_marker()) for line in at_the_edge(axes)]
    diverged, never = target_charts.UNREACHED["diverged"], target_charts.UP
    assert edge == [
        *((1, SLICE, diverged), (2, SLICE, never)),
        *((1, DATALOADER, diverged), (2, DATALOADER, never)),
    ]
    heights = [line.get_ydata()[0] for line in at_the_edge(axes)]
    assert all(0.85 < height < 1 for height in heights)
    assert heights[0] == heights[1] != heights[2]
    assert texts(figure)[-2:] == ["diverged", "not reached"]
    top = axes.transAxes.inverted().transform(axes.transData.transform((1, target_table.seeds(found)["seconds"].max())))[1]
    assert top < min(heights)


def test_the_as_good_sets_are_bands_in_the_colour_of_their_loader(found):
    _, axes = times(found)
    table = target_table.bands(found)
    assert spans(axes) == [pytest.approx(pair) for pair in zip(table["low"], table["high"], strict=True)]
    assert [patch.get_facecolor()[:3] for patch in axes.patches] == [
        pytest.approx(tuple(int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))) for color in (SLICE, DATALOADER)
    ]


def test_the_recommended_sizes_are_ringed_and_named(found):
    figure, axes = times(found)
    picks = target_table.picks(found)
    rings = [line for line in axes.lines if line.get_markersize() == target_charts.RING["markersize"]]
    assert [points(ring)[0] for ring in rings] == [
        (size, pytest.approx(seconds)) for size, seconds in zip(picks["batch_size"], picks["seconds"], strict=True)
    ]
    assert [text.get_text() for text in axes.texts] == [f"{size}" for size in picks["batch_size"]]
    assert all(axes.bbox.y0 <= text.get_window_extent().y0 for text in axes.texts)
    assert "recommended" in texts(figure)
    assert "as good" in texts(figure)


def test_races_are_open_markers_beside_their_size_with_a_bar_at_their_typical_one(found):
    figure, axes = times(found)
    raced = [line for line in lines(axes, "o", SLICE) if line.get_markerfacecolor() == palette.PAPER]
    beside = 8 * 2**target_charts.APART
    assert sorted(points(raced[0])) == [(pytest.approx(beside), seconds) for seconds in (0.010, 0.011, 0.012, 0.013)]
    (typical,) = [line for line in lines(axes, "_") if len(line.get_xdata())]
    assert points(typical) == [
        (pytest.approx(beside), pytest.approx(0.012))
    ]  # the middle of 10, 11, 12, 13 ms and one that was lost
    assert {"one race", "races, typical"} <= set(texts(figure))
    assert not {"one race", "races, typical"} & set(texts(times(choices([*t.searches(), *t.times()]))[0]))


def test_fitted_curves_are_drawn_where_they_hold_and_else_the_points_are_joined(found):
    def joined(axes):
        return [line for line in axes.lines if line.get_marker() == "None" and line.get_color() == SLICE]

    (curve,) = joined(times(found)[1])
    assert len(curve.get_xdata()) == target_table.POSITIONS
    two = choices([*t.searches(), *t.times(("slice",), (4, 8))])
    (line,) = joined(times(two)[1])
    assert points(line) == [(4, pytest.approx(0.018)), (8, pytest.approx(0.016))]
    assert line.get_linewidth() < curve.get_linewidth()


def test_full_batch_has_its_place_and_name(found):
    for draw in (times, steps):
        _, axes = draw(found)
        labels = {tick: label.get_text() for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)}
        assert labels[64] == "full\n64"


def test_steps_are_drawn_once_for_loaders_that_share_them(found):
    figure, axes = steps(found)
    (typical,) = lines(axes, "o", palette.INK)
    assert [x for x, _ in points(typical)] == [4, 8, 16, 32, 64]
    assert [y for _, y in points(typical)] == pytest.approx([300, 200, 150, 125, 96])
    (dots,) = lines(axes, ".")
    assert len(points(dots)) == 28
    assert texts(figure) == ["slice, dataloader", "fit", "Bc", "noise scale", "1 / B", "diverged", "not reached"]
    assert [line.get_xdata()[0] for line in at_the_edge(axes)] == [1, 2]


def test_the_fit_the_critical_size_and_the_noise_scale_are_where_they_belong(found):
    _, axes = steps(found)
    (bc,) = step_table.critical(found).values()
    assert spans(axes) == [pytest.approx((6, 20)), pytest.approx((bc.low, bc.high))]
    upright = [line for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    assert [line.get_xdata()[0] for line in upright] == [pytest.approx(8)]
    fit = next(line for line in axes.lines if len(line.get_xdata()) == target_table.POSITIONS)
    assert np.asarray(fit.get_ydata()) == pytest.approx(100 * (1 + 8 / np.asarray(fit.get_xdata())), rel=1e-6)
    assert not fit.is_dashed()


def test_perfect_scaling_goes_through_the_smallest_size_that_got_there(found):
    _, axes = steps(found)
    (line,) = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_color() == palette.MUTED]
    assert points(line) == [(4, pytest.approx(300)), (64, pytest.approx(300 * 4 / 64))]
    assert axes.get_ylim()[0] > 300 * 4 / 64  # it leaves the figure and does not widen it


def test_a_fit_that_is_not_followed_is_dotted_and_named_so():
    planted = {4: 300.0, 8: 200.0, 16: 900.0, 32: 125.0}
    bumpy = [s.target_record(t.cell(size), [each * part for part in t.SPREAD]) for size, each in planted.items()]
    figure, axes = steps(choices([*bumpy, *t.times(sizes=t.SIZES)]))
    assert "fit, not followed" in texts(figure)
    assert "Bc" not in texts(figure)
    assert next(line for line in axes.lines if len(line.get_xdata()) == target_table.POSITIONS).is_dashed()


def test_each_batch_size_is_a_labelled_point_of_steps_against_samples(found):
    figure, axes = pareto(found)
    (typical,) = [line for line in lines(axes, "o", palette.INK) if line.get_markersize() < 10]
    assert points(typical) == [
        (pytest.approx(samples), pytest.approx(count))
        for samples, count in ((1200, 300), (1600, 200), (2400, 150), (4000, 125), (6144, 96))
    ]
    assert [text.get_text() for text in axes.texts] == ["4", "8", "16", "32", "full"]
    assert texts(figure) == ["slice, dataloader", "recommended"]


def test_the_labels_of_points_meet_neither_each_other_nor_the_edge(found):
    _, axes = pareto(found)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(box.x0 > axes.bbox.x0 and box.y0 > axes.bbox.y0 for box in boxes)


def test_a_loader_with_searches_of_its_own_is_a_series_of_its_own():
    streamed = [s.target_record(t.cell(size, "stream"), [2 * steps] * 5) for size, steps in t.STEPS.items()]
    times_too = [s.time_record(t.cell(size, "stream"), 1e-3, repeat=r) for size in t.SIZES for r in range(3)]
    figure, axes = steps(choices([*t.searches(), *streamed, *t.times(("slice",)), *times_too]))
    assert texts(figure)[:2] == ["slice", "stream"]
    assert len(lines(axes, ".")) == 2


@pytest.mark.parametrize("draw", [times, steps, pareto])
def test_one_size_alone_and_one_seed_can_be_drawn(draw):
    found = choices([s.target_record(t.cell(8), [200.0]), *t.times(("slice",), (8,))])
    figure, axes = draw(found)
    assert lines(axes, "o")
    with canvas.style("t"):
        assert "<svg" in svg.text(figure)


def test_everything_diverged_is_drawn_at_the_upper_edge():
    lost = [s.target_record(t.cell(size), [None] * 5, ended="diverged") for size in (4, 8)]
    _, axes = times(choices([*lost, *t.times(("slice",), (4, 8))]))
    assert [line.get_xdata()[0] for line in at_the_edge(axes)] == [4, 8]


def test_every_colour_is_a_variable_of_the_page(found):
    styles = svg.Styles()
    for draw in (times, steps, pareto):
        figure, _ = draw(found)
        with canvas.style("t"):
            inline = svg.inline(svg.text(figure), "p", "title", "words", styles)
        assert "style=" not in inline
    assert not re.findall(r"#[0-9a-f]{6}", styles.css())
