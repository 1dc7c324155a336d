"""What can be read off a figure lies where it is drawn, says what its table holds, and hides with its legend entry."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import synthetic as s
import targeted as t

from mbbench.reporting import canvas, charts, loss_chart, losses, peaks, svg, target_charts, target_table
from mbbench.reporting.analysis import summary
from mbbench.reporting.choosing import choices
from mbbench.reporting.pooling import settings


def throughput():
    return charts.throughput(summary([r for r in s.suite() if r.kind == "time"]))


def memory():
    cells = [s.case(size, loader=loader) for loader in ("slice", "dataloader") for size in (8, 64, 512)]
    (setting,) = settings([s.memory_record(cell) for cell in cells])
    return charts.memory(peaks.table(setting))


def loss(axis="train_s"):
    (setting,) = settings([r for r in s.suite() if r.kind == "convergence"])
    return loss_chart.loss(losses.bands(setting, axis), axis)


def times():
    found = choices(t.everything())
    parts = (target_table.sizes, target_table.seeds, target_table.races, target_table.time_curves)
    parts += (target_table.bands, target_table.picks)
    return target_charts.time_to_target(*(make(found) for make in parts), "loss 0.1")


def shown(draw):
    """Return the element in the page and its readings."""
    with canvas.style("t"):
        sheet = draw()
        inline = svg.inline(svg.text(sheet), "p", "title", "words", svg.Styles())
    return ElementTree.fromstring(inline), sheet.readings()


def drawn_at(root, number):
    """Return where what belongs to a legend entry is drawn: its markers, and points along its lines."""
    found = []
    for group in root.iter("g"):
        if str(number) not in group.get("data-series", "").split():
            continue
        for element in group.iter():
            if element.tag == "use":
                found.append((float(element.get("x")), float(element.get("y"))))
            elif element.tag == "path":
                for (x, y), (to_x, to_y) in itertools.pairwise(corners(element.get("d"))):
                    found += [(x + part * (to_x - x), y + part * (to_y - y)) for part in np.linspace(0, 1, 101)]
    return found


def corners(path):
    """Return where a path's lines meet; those behind an "l" lead on from the one before."""
    found, relative = [], False
    for kind, x, y in re.findall(r"([MLl]?)\s*(-?[\d.]+) (-?[\d.]+)", path):
        relative = kind == "l" or (relative and not kind)
        at = float(x), float(y)
        found.append((found[-1][0] + at[0], found[-1][1] + at[1]) if relative else at)
    return found


@pytest.mark.parametrize("draw", [throughput, memory, loss, times])
def test_each_reading_lies_on_what_is_drawn_of_its_series(draw):
    root, readings = shown(draw)
    assert readings["series"]
    for series in readings["series"]:
        places = drawn_at(root, series["keys"][0])
        assert len(places) > 1
        for x, y, _ in series["points"]:
            assert min(max(abs(x - at[0]), abs(y - at[1])) for at in places) < 0.6, (series["keys"], x, y)


@pytest.mark.parametrize("draw", [throughput, memory, loss, times])
def test_each_legend_entry_of_a_series_is_named_by_its_number(draw):
    root, readings = shown(draw)
    for number, name in enumerate(readings["keys"]):
        parts = [group for group in root.iter("g") if group.get("data-key") == str(number)]
        texts = ["".join(part.itertext()).strip() for part in parts]
        assert name in texts, (name, texts)
        assert len(parts) == 2  # the text and the sample of the line


def test_what_is_read_is_what_was_measured():
    _, readings = shown(throughput)
    words = {words for series in readings["series"] for _, _, words in series["points"]}
    timed = summary([r for r in s.suite() if r.kind == "time"])
    row = timed[(timed["loader"] == "slice") & (timed["samples_per_step"] == 32)].iloc[0]
    (said,) = [each for each in words if each.startswith("batch 32:") and f"{row.samples_per_s:.0f}"[:2] in each][:1]
    low, high = row.n_samples / row.epoch_s_high, row.n_samples / row.epoch_s_low
    assert said.startswith(f"batch 32: {charts.readable.rate(row.samples_per_s)} (")
    assert charts.readable.rate(low) in said
    assert charts.readable.rate(high) in said


def test_a_curve_is_read_at_some_of_its_positions_and_at_its_end():
    with canvas.style("t"):
        sheet = loss("step")
    _, readings = shown(lambda: loss("step"))
    (setting,) = settings([r for r in s.suite() if r.kind == "convergence"])
    frame = losses.bands(setting, "step")
    assert sheet is not None
    for series in readings["series"]:
        assert loss_chart.READ / 2 < len(series["points"]) <= loss_chart.READ
    last = frame[frame["full_batch"]].iloc[-1]
    full = next(each for each in readings["series"] if readings["keys"][each["keys"][0]] == "full")
    assert full["points"][-1][2].startswith(f"{last.step:,.0f} updates: {charts.readable.loss(last.loss)}")


def test_coordinates_are_short_and_texts_are_untouched():
    with canvas.style("t"):
        text = svg.text(times())
        inline = svg.inline(text, "p", "title", "words", svg.Styles())
    given, kept = (
        ["".join(each.itertext()) for each in ElementTree.fromstring(source).iter() if each.tag.endswith("text")]
        for source in (text, inline)
    )
    assert given == kept
    assert any("." in label for label in given)
    assert not re.findall(r' (?:d|x|y|points)="[^"]*\d\.\d{3}', inline)
    assert len(inline) < 0.85 * len(text)


def test_a_figure_has_a_name_and_a_description_and_no_tooltip():
    root, _ = shown(throughput)
    assert (root.get("aria-label"), root[0].tag, root[0].text) == ("title", "desc", "words")
    assert root.find(".//title") is None
