"""The heat map shows what the map holds, with numbers that can be read on any of its colours and on any page."""

import itertools
import re

import numpy as np
import pytest
import synthetic as s
import targeted as t
from matplotlib.colors import to_hex
from test_maps import epochs, made, targets

from mbbench.reporting import canvas, map_chart, page, palette, svg


def drawn(found):
    with canvas.style("t"):
        figure = map_chart.heat(found)
        figure.draw_without_rendering()
    return figure


def entries(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def marked(axes, marker):
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines if line.get_marker() == marker]


@pytest.fixture(scope="module")
def lost():
    records = [*targets(512, 16), *targets(1024, 64), s.target_record(t.cell(1, n_samples=512), [None] * 5)]
    records.append(s.target_record(t.cell(1, n_samples=1024), [None] * 5, ended="diverged"))
    records.append(s.target_record(t.cell(2, n_samples=1024), [90.0] * 5))
    (found,) = made(records)
    return found


def test_cells_have_their_multiples_and_the_least_its_star(lost):
    (axes,) = drawn(lost).axes
    numbers = {(text.get_position(), text.get_text()) for text in axes.texts}
    # columns 1, 2, 4, 16, 64, full
    assert numbers == {
        ((2.5, 0.5), "3.0"),
        ((4.5, 0.5), "3.0"),
        ((5.5, 0.5), "9.0"),
        ((2.5, 1.5), "9.0"),
        ((3.5, 1.5), "3.0"),
        ((5.5, 1.5), "3.0"),
    }
    assert marked(axes, "*") == [(3.5, 0.5), (4.5, 1.5)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["512", "1,024"]
    assert [label.get_text() for label in axes.get_xticklabels()][::-1] == ["1", "2", "4", "16", "64", "full"]


def test_what_has_no_time_is_marked_as_what_it_is(lost):
    figure = drawn(lost)
    (axes,) = figure.axes
    assert marked(axes, "P") == [(0.5, 1.5)]
    assert len(marked(axes, ".")) == 2  # batch 2: searched and not timed, and not asked for
    assert len([line for line in axes.lines if not isinstance(line.get_marker(), str)]) == 1  # an arrow: not reached
    assert entries(figure) == ["least of row", "diverged", "not reached", "not measured"]


def test_each_row_can_be_read_point_by_point(lost):
    with canvas.style("t"):
        figure = map_chart.heat(lost)
        svg.text(figure)
    found = figure.readings()
    assert found["keys"] == ["n = 512", "n = 1,024"]
    assert [point[2] for point in found["series"][0]["points"]] == [
        "batch 4: 3.0 times the least, 300 ms",
        "batch 16: the least, 100 ms",
        "batch 64: 3.0 times the least, 300 ms",
        "full batch: 9.0 times the least, 900 ms",
    ]


def test_a_batch_larger_than_the_data_is_blank():
    (found,) = made([*epochs(32, 16, sizes=(4, 16, None)), *epochs(1024, 16)])
    figure = drawn(found)
    (axes,) = figure.axes
    assert {text.get_position() for text in axes.texts if text.get_position()[1] == 0.5} == {(0.5, 0.5), (4.5, 0.5)}
    assert not marked(axes, ".")
    assert entries(figure) == ["least of row"]


def test_each_device_has_a_panel():
    (found,) = made([*epochs(512, 16), *epochs(512, 64, device="cuda")])
    assert [axes.get_title(loc="left") for axes in drawn(found).axes] == ["CPU, 1 thread", "CUDA"]


def test_a_number_stands_out_from_any_colour():
    for part in np.linspace(0, 1, 256).tolist():
        color = to_hex(map_chart.ramp()(part))
        assert map_chart.contrast(map_chart.ink(color), color) >= 4.5
        assert color not in palette.VARIABLES


def test_the_inks_are_kept_by_the_svg_and_by_the_page(lost):
    styles = svg.Styles()
    with canvas.style("t"):
        text = svg.text(map_chart.heat(lost))
    shown = page.svg.inline(text, "t", "x", "y", styles)
    assert "<text" in shown
    assert re.search(r"fill:#(010101|fefefe)", styles.css())


def test_labels_of_many_batch_sizes_do_not_meet_and_the_full_batch_has_one():
    sizes = (*(2**power for power in range(17)), None)
    (found,) = made([*epochs(2**16, 64, sizes=sizes), *epochs(2**17, 64, sizes=sizes)])
    figure = drawn(found)
    labels = figure.axes[0].get_xticklabels()
    assert labels[0].get_text() == "full"
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    numbers = [text.get_window_extent().width for text in figure.axes[0].texts]
    assert max(numbers) < figure.axes[0].get_window_extent().width / len(sizes)


def test_the_page_has_the_map_or_says_what_makes_one(tmp_path):
    page.build([*epochs(512, 16), *epochs(1024, 64)], tmp_path / "with.html")
    html = (tmp_path / "with.html").read_text(encoding="utf-8").split('<section id="map">')[1].split("</section>")[0]
    assert "The batch size with the fastest epoch grows from 16 at n = 512 to 64 at n = 1,024." in html
    assert (tmp_path / "figures" / "map-heat1.png").stat().st_size > 1000
    page.build(epochs(512, 16), tmp_path / "without.html", figures=False)
    html = (tmp_path / "without.html").read_text(encoding="utf-8").split('<section id="map">')[1].split("</section>")[0]
    assert "<svg" not in html
    assert html.count("<code>mbbench run digits-mlp --n 128,512 --threads 1 --time 60s</code>") == 1
