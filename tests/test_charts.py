"""Figures show what the tables hold, failures included, in colours that the page can replace."""

import itertools
import re

import numpy as np
import pytest
import synthetic as s

from mbbench.reporting import canvas, charts, loss_chart, palette, peaks, svg
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
        figure = loss_chart.loss(bands(setting, axis), axis, ["batch 4,096: out of memory"])
    assert texts(figure) == ["2", "8", "32", "128", "512", "2,048", "full"]
    note = figure.get_supxlabel()
    assert "batch 4,096: out of memory" in note
    assert "batch 2: 1 of 1 seeds diverged" in note


def test_loss_curves_of_several_loaders_share_colours_and_differ_in_dash():
    records = [r for loader in ("slice", "dataloader") for r in s.curve_records(s.case(32, loader=loader))]
    (setting,) = settings(records)
    with canvas.style("t"):
        figure = loss_chart.loss(bands(setting, "train_s"), "train_s")
    first, second = figure.axes[0].lines
    assert first.get_color() == second.get_color()
    assert first.is_dashed() != second.is_dashed()
    assert texts(figure) == ["32", "slice", "dataloader"]


def test_a_batch_in_micro_batches_is_a_series_of_its_own_at_the_same_batch_size():
    cells = [s.case(32), s.case(None), s.case(None, micro_batch=64), s.case(None, micro_batch=512)]
    with canvas.style("t"):
        figure = charts.epoch_time(summary([record for cell in cells for record in s.time_records(cell, 0.1)]))
    lines = figure.axes[0].lines
    assert [list(line.get_xdata()) for line in lines] == [[32, 8192], [8192], [8192]]
    assert len({line.get_marker() for line in lines}) == 3
    assert len({line.get_color() for line in lines}) == 1
    assert texts(figure) == ["slice", "slice, micro-batch 64", "slice, micro-batch 512"]


def test_loss_curves_in_micro_batches_have_the_colour_of_their_batch_and_a_dash_of_their_own():
    (setting,) = settings([r for micro in (None, 64) for r in s.curve_records(s.case(None, micro_batch=micro))])
    with canvas.style("t"):
        figure = loss_chart.loss(bands(setting, "step"), "step")
    first, second = figure.axes[0].lines
    assert first.get_color() == second.get_color()
    assert first.get_marker() != second.get_marker()
    assert first._dash_pattern != second._dash_pattern
    assert texts(figure) == ["full", "full, micro-batch 64"]


def drawn(records):
    (setting,) = settings(records)
    with canvas.style("t"):
        figure = charts.memory(peaks.table(setting), peaks.limits(setting))
        figure.draw_without_rendering()
    return figure, figure.axes[0]


def crosses(axes):
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines if line.get_marker() == "X"]


def memories(sizes=(32, 512, 4096, None), **fields):
    return [s.memory_record(s.case(size), **fields) for size in sizes]


def test_memory_is_drawn_where_the_records_have_it_and_the_process_beside_it():
    figure, axes = drawn(memories(asked=False))
    tensors, process = axes.lines
    law = [s.FIXED_BYTES + size * s.PER_ROW_BYTES for size in (32, 512, 4096, 8192)]
    assert list(tensors.get_ydata()) == law
    assert list(process.get_ydata()) == pytest.approx([s.OVERHEAD * size for size in law])
    assert process.get_alpha() == 0.5
    assert texts(figure) == ["slice", "process"]
    assert axes.get_yscale() == axes.get_xscale() == "log"


def test_what_does_not_fit_is_crossed_at_its_prediction_under_a_labelled_limit():
    limit = 20 * 2**20
    figure, axes = drawn(memories(limit_bytes=limit))
    law = s.FIXED_BYTES + 4096 * s.PER_ROW_BYTES, s.FIXED_BYTES + 8192 * s.PER_ROW_BYTES
    assert crosses(axes) == [(4096, law[0]), (8192, law[1])]
    assert [
        line.get_ydata()[0] for line in axes.lines if len(set(line.get_xdata())) == 2 and max(line.get_xdata()) == 1
    ] == [limit]
    assert [text.get_text() for text in axes.texts] == ["limit 20 MiB"]
    assert "does not fit" in texts(figure)
    low, high = axes.get_ylim()
    assert low < s.FIXED_BYTES
    assert all(low < y < high for _, y in crosses(axes))


def test_what_does_not_fit_without_a_prediction_is_crossed_at_the_limit_and_never_dropped():
    _, axes = drawn([*memories((32,)), *memories((512,), oom_by="raised", predicted_peak_bytes=None)])
    assert crosses(axes) == [(512, s.GIB)]
    unknown = {"oom_by": "raised", "predicted_peak_bytes": None, "limit_bytes": None}
    _, axes = drawn([*memories((32,)), *memories((512,), **unknown)])
    assert crosses(axes) == [(512, 0.96)]  # at the upper edge


def test_everything_out_of_memory_is_drawn():
    _, axes = drawn(memories(limit_bytes=2**20))
    assert len(crosses(axes)) == 4


def test_crosses_of_several_loaders_stand_side_by_side():
    records = [s.memory_record(s.case(None, loader=loader), limit_bytes=2**20) for loader in ("slice", "gather")]
    _, axes = drawn(records)
    (left, height), (right, other) = crosses(axes)
    assert left < 8192 < right
    assert height == other


def test_a_limit_that_nobody_gave_is_drawn_only_where_something_met_it():
    assert not drawn(memories(asked=False))[1].texts
    assert [text.get_text() for text in drawn(memories())[1].texts] == ["limit 1 GiB"]
    met = memories(asked=False, limit_bytes=20 * 2**20)
    assert [text.get_text() for text in drawn(met)[1].texts] == ["limit 20 MiB"]
    several = [*memories((32,)), *memories((512,), limit_bytes=2**30 + 2**28)]
    assert [text.get_text() for text in drawn(several)[1].texts] == ["lowest limit 1 GiB"]


def test_the_label_of_the_limit_lies_on_no_point_and_inside_the_axes():
    for limit in (9, 12, 20, 30, 60, 1000):
        _, axes = drawn(memories(limit_bytes=limit * 2**20))
        box = axes.texts[0].get_window_extent()
        points = [
            axes.transData.transform(xy) for line in axes.lines for xy in line.get_xydata() if line.get_marker() != "None"
        ]
        assert not [point for point in points if box.contains(*point)]
        assert box.y1 <= axes.bbox.y1 + 1
        assert box.y0 >= axes.bbox.y0 - 1


def test_a_memory_pass_that_crashed_stands_at_the_lower_edge():
    figure, axes = drawn([*memories((32,)), s.failure(s.case(512), "crash", kind="memory")])
    failed = [line for line in axes.lines if line.get_transform() == axes.get_xaxis_transform()]
    assert [line.get_xdata()[0] for line in failed] == [512]
    assert "crashed" in texts(figure)
    assert not crosses(axes)


def test_a_full_batch_in_micro_batches_has_its_peak_at_the_full_batch():
    figure, axes = drawn([*memories(asked=False), s.memory_record(s.case(None, micro_batch=64), asked=False)])
    split = axes.lines[1]
    assert list(split.get_xydata()[0]) == [8192, s.FIXED_BYTES + 64 * s.PER_ROW_BYTES]
    assert split.get_marker() == palette.MICRO_MARKERS[0]
    assert texts(figure) == ["slice", "slice, micro-batch 64", "process"]
    many = [s.memory_record(s.case(None, micro_batch=2**power)) for power in range(6)]
    assert texts(drawn(many)[0]) == ["slice, in micro-batches", "process"]


def test_the_ticks_of_bytes_are_few_and_do_not_meet():
    for sizes in ((32,), (32, 33), (1, 2, None)):
        _, axes = drawn(memories(sizes, asked=False))
        labels = axes.yaxis.get_ticklabels()
        assert 2 <= len(labels) <= 8
        boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.y0)
        assert all(below.y1 < above.y0 for below, above in itertools.pairwise(boxes))


def test_a_loss_that_goes_below_zero_is_drawn_on_a_plain_scale():
    records = s.curve_records(s.case(32))
    (setting,) = settings(records)
    frame = bands(setting, "step").assign(loss=lambda table: table["loss"] - 5)
    with canvas.style("t"):
        assert loss_chart.loss(frame, "step").axes[0].get_yscale() == "linear"


def test_one_cell_alone_can_be_drawn():
    with canvas.style("t"):
        svg.text(charts.throughput(summary(s.time_records(s.case(32), 0.1))))


def test_every_colour_of_a_page_figure_is_a_variable(records):
    styles = svg.Styles()
    with canvas.style("t"):
        text = svg.text(charts.throughput(summary(records)))
    inline = svg.inline(text, "p", "title", "words", styles)
    assert not re.findall(r"#[0-9a-f]{6}", styles.css())
    assert "style=" not in inline
    assert "<style" not in inline


def test_two_figures_in_one_page_share_no_id(records):
    styles = svg.Styles()
    found = []
    for name in ("one", "two"):
        with canvas.style(name):
            inline = svg.inline(svg.text(charts.throughput(summary(records))), name, "title", "words", styles)
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


@pytest.mark.parametrize("dark", [False, True])
def test_series_stand_out_by_three_to_one_and_text_by_four_and_a_half(dark):
    """WCAG 2.2, 1.4.11 and 1.4.3: against the page and against a frame's card."""
    paper = {False: ("#ffffff", "#f6f8fa"), True: ("#0d1117", "#151b23")}[dark]
    for light, (name, other) in palette.VARIABLES.items():
        if name in ("bg", "grid"):
            continue
        least = 4.5 if name in ("fg", "mut", "ok", "bad") else 3.0
        for ground in paper:
            assert contrast(other if dark else light, ground) >= least, (name, ground)


def contrast(one, other):
    def luminance(color):
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
