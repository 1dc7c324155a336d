"""Figures show what the tables hold, failures included, in colours that the page can replace."""

import itertools
import re

import numpy as np
import pytest
import synthetic as s

from mbbench.reporting import canvas, charts, palette, svg
from mbbench.reporting.analysis import pool_table, summary
from mbbench.reporting.losses import AXES, bands
from mbbench.reporting.pooling import settings


@pytest.fixture(scope="module")
def records():
    bad = [s.failure(s.case(4096), "oom"), s.failure(s.case(4096, loader="dataloader"), "timeout")]
    return [*s.suite(), *bad, s.curve_record(s.case(2), status="diverged")]


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_throughput_is_drawn_where_the_table_has_it(records):
    cells = summary(records)
    with canvas.style("t"):
        figure = charts.throughput(cells)
    slices = cells[(cells.loader == "slice") & cells.samples_per_s.notna()].sort_values("samples_per_step")
    assert np.asarray(figure.axes[0].lines[0].get_ydata()) == pytest.approx(slices.samples_per_s.to_numpy())
    assert texts(figure) == ["slice", "dataloader", "out of memory", "timed out"]


def test_bars_hold_the_point_they_belong_to(records):
    cells = summary(records)
    with canvas.style("t"):
        figure = charts.epoch_time(cells)
    (segments, *_) = [collection.get_segments() for collection in figure.axes[0].collections]
    values = cells[cells.loader == "slice"].dropna(subset=["epoch_s"]).epoch_s
    assert all(low[1] < value < high[1] for (low, high), value in zip(segments, values, strict=True))


def test_failed_cells_stand_at_the_lower_edge_at_their_batch_size(records):
    with canvas.style("t"):
        axes = charts.throughput(summary(records)).axes[0]
    failed = [line for line in axes.lines if line.get_transform() == axes.get_xaxis_transform()]
    assert [line.get_xdata()[0] for line in failed] == [4096, 4096]
    assert len({line.get_ydata()[0] for line in failed}) == 2


def test_full_batch_is_always_labelled_and_no_two_labels_meet():
    sizes = [1, 2, 4, 8, 16, 32, 48, 64, 128, 256, 512, 1024, 2048, 4096, 8191, None]
    records = [record for size in sizes for record in s.time_records(s.case(size), 0.1)]
    with canvas.style("t"):
        figure = charts.throughput(summary(records))
        figure.draw_without_rendering()
    axis = figure.axes[0].xaxis
    assert any(label.get_text().startswith("full") for label in axis.get_ticklabels())
    boxes = sorted((label.get_window_extent() for label in axis.get_ticklabels()), key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("axis", AXES)
def test_losses_are_drawn_on_each_axis_with_the_divergence_named(records, axis):
    (setting,) = settings(records)
    with canvas.style("t"):
        figure = charts.loss(bands(setting, axis), axis, ["batch 4,096: out of memory"])
    assert texts(figure) == ["2", "8", "32", "128", "512", "2,048", "full"]
    note = figure.get_supxlabel()
    assert "batch 4,096: out of memory" in note
    assert "batch 2: 1 of 1 seeds diverged" in note


def test_loss_curves_of_several_loaders_share_colours_and_differ_in_dash():
    records = [r for loader in ("slice", "dataloader") for r in s.curve_records(s.case(32, loader=loader))]
    (setting,) = settings(records)
    with canvas.style("t"):
        figure = charts.loss(bands(setting, "train_s"), "train_s")
    first, second = figure.axes[0].lines
    assert first.get_color() == second.get_color()
    assert first.is_dashed() != second.is_dashed()
    assert texts(figure) == ["32", "slice", "dataloader"]


def test_a_loss_that_goes_below_zero_is_drawn_on_a_plain_scale():
    records = s.curve_records(s.case(32))
    (setting,) = settings(records)
    frame = bands(setting, "step").assign(loss=lambda table: table["loss"] - 5)
    with canvas.style("t"):
        assert charts.loss(frame, "step").axes[0].get_yscale() == "linear"


def test_one_cell_alone_can_be_drawn():
    with canvas.style("t"):
        svg.text(charts.throughput(summary(s.time_records(s.case(32), 0.1))))


def test_every_colour_of_a_page_figure_is_a_variable(records):
    styles = svg.Styles()
    with canvas.style("t"):
        text = svg.text(charts.throughput(summary(records)))
    inline = svg.inline(text, "p", "label", styles)
    assert not re.findall(r"#[0-9a-f]{6}", styles.css())
    assert "style=" not in inline
    assert "<style" not in inline


def test_two_figures_in_one_page_share_no_id(records):
    styles = svg.Styles()
    found = []
    for name in ("one", "two"):
        with canvas.style(name):
            inline = svg.inline(svg.text(charts.throughput(summary(records))), name, "label", styles)
        ids = set(re.findall(r' id="([^"]+)"', inline))
        used = re.findall(r'(?:url\(|href=")#([^")]+)', inline)
        assert set(used) <= ids
        found.append(ids)
    assert not found[0] & found[1]


def test_a_file_has_real_colours_and_real_text(records):
    (setting,) = settings(records)
    with canvas.style("t"):
        text = svg.text(charts.throughput(pool_table(setting.pools)))
    assert palette.HUES[0] in text
    assert ">samples per second</text>" in text


def test_the_palette_has_each_colour_once():
    lights = list(palette.VARIABLES)
    assert len(lights) == len(set(lights)) == 6 + len(palette.RAMP) + len(palette.HUES)
    assert len({name for name, _ in palette.VARIABLES.values()}) == len(lights)
    assert len(set(palette.ramp(8))) == 8
    assert len(palette.ramp(20)) == 20
