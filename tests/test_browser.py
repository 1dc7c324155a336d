"""The page in a browser: what its script does, what it does without one, and that nobody's records run anything."""

import csv
import io
import json
import re
import shutil
import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest
import synthetic as s
import targeted as t

from mbbench.reporting import page as report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make venv")
axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed: make venv")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: make chromium")

WIDE, NARROW = 1100, 400
HOSTILE = (
    "<script>window.hit=1</script>\"'&{{7*7}}$x^2$ 문제",
    "</script><img src=x onerror=window.hit=1>",
    "\"><svg onload='window.hit=1'>",
    "\u202e\u200fright to left\u202c 🧪👩🏽\u200d🔬",
    "n" * 10_000,
    "many words " * 900,
)
BOXES = """svg => [...svg.querySelectorAll("text")].filter(one => one.textContent.trim()).map(one => {
    const {left, top, right, bottom} = one.getBoundingClientRect();
    return [one.textContent, left, top, right, bottom];
})"""
PLACE = """([name, place, which]) => {
    const plot = document.getElementById(name).querySelector(".plot"), svg = plot.querySelector("svg");
    const [x, y] = JSON.parse(plot.querySelector("script").textContent).series[which].points.at(place);
    svg.scrollIntoView({block: "center"});
    const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
    return [at.x, at.y];
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    cells = [s.case(32), s.case(512), s.case(None)]
    records = [*t.everything(), *s.suite(), *(s.memory_record(cell, limit_bytes=2**26) for cell in cells)]
    records.append(s.failure(s.case(4096), "oom", "needs 3.1 GiB, 2.0 GiB allowed"))
    path = tmp_path_factory.mktemp("page") / "index.html"
    report.build(records, path, figures=False)
    return path


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def tab(browser):
    opened = browser.new_page()
    opened.set_default_timeout(5000)
    opened.complaints, opened.requests = [], []
    opened.on("console", lambda message: opened.complaints.append(message.text) if message.type != "log" else None)
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("request", lambda request: opened.requests.append(request.url))
    return opened


@pytest.fixture
def visit(tab, file):
    """Return a function that opens the page anew; what it opens may neither complain nor ask for anything else."""
    tab.complaints.clear()

    def go(address="", width=WIDE, path=file, **media):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(media=media.get("media", "screen"), color_scheme=media.get("scheme", "light"))
        tab.goto("about:blank")
        tab.requests.clear()
        tab.goto(path.as_uri() + address)
        return tab

    yield go
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith(("blob:", "file:"))] == []
    assert len([url for url in tab.requests if url.startswith("file:")]) <= 1


def address(tab):
    return tab.evaluate("decodeURI(location.hash)")


def pointed(tab, name, place=0, which=0):
    tab.mouse.move(*tab.evaluate(PLACE, [name, place, which]))
    return tab.locator(".tip")


def readings(tab, name):
    return json.loads(tab.locator(f"#{name} .plot script").text_content())


def pressed(tab, name):
    entries = tab.locator(f"#{name} [role=button]").all()
    return {entry.get_attribute("aria-label"): entry.get_attribute("aria-pressed") == "true" for entry in entries}


def column(tab, name, head):
    table = tab.locator(f".frame:has(#{name}) table")
    place = table.locator("th").all_text_contents().index(head)
    return [row.locator("td").nth(place).text_content() for row in table.locator("tbody tr").all()]


def sizes(tab, name):
    return column(tab, name, "batch size")


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_point_shows_its_words_and_interval_and_never_leaves_the_screen(visit, width):
    tab = visit(width=width)
    for name in ("s1-target", "s1-throughput", "s2-memory"):
        known = readings(tab, name)
        for place in (0, -1):
            tip = pointed(tab, name, place)
            api.expect(tip).to_be_visible()
            assert known["series"][0]["points"][place][2] in tip.text_content()
            box = tip.bounding_box()
            assert 0 <= box["x"]
            assert box["x"] + box["width"] <= width
            assert 0 <= box["y"]
    assert re.search(r"slicebatch 4: .* \(.* to .*\), raced", pointed(tab, "s1-target").text_content() + ", raced")
    tab.mouse.move(2, 2)
    api.expect(tip).to_be_hidden()


def test_a_tap_shows_a_point_until_the_page_is_scrolled(visit):
    tab = visit(width=NARROW)
    x, y = tab.evaluate(PLACE, ["s1-target", 1, 0])
    chart, about = tab.locator("#s1-target svg"), {"clientX": x, "clientY": y, "pointerType": "touch"}
    for kind in ("pointerdown", "pointerleave"):
        chart.dispatch_event(kind, about)
    assert "batch 8" in tab.locator(".tip").text_content()
    api.expect(tab.locator("#s1-target .ring")).to_be_visible()
    tab.mouse.wheel(0, 400)
    api.expect(tab.locator(".tip")).to_be_hidden()


def test_keys_read_the_points_aloud(visit):
    tab = visit()
    plot, live = tab.locator("#s1-target .plot"), tab.locator("[aria-live]")
    assert "arrow keys read the points" in plot.get_attribute("aria-label")
    plot.focus()
    heard = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "End", "Home", "ArrowUp"):
        tab.keyboard.press(key)
        heard.append(live.text_content().split(": ")[:2])
    batches = [f"batch {size}" for size in (4, 8, 8, 4)] + ["full batch", "batch 4", "batch 4"]
    loaders = ["slice"] * 2 + ["dataloader"] * 4 + ["slice"]
    assert heard == [[loader, batch] for loader, batch in zip(loaders, batches, strict=True)]
    api.expect(tab.locator(".tip")).to_be_visible()
    tab.keyboard.press("Escape")
    api.expect(tab.locator(".tip")).to_be_hidden()


def test_the_legend_shows_and_hides_what_it_lists(visit):
    tab = visit()
    entry = tab.locator("#s1-target [role=button]").get_by_text("dataloader", exact=True)
    line = tab.locator("#s1-target [data-series='2']").first
    entry.click()
    assert pressed(tab, "s1-target")["dataloader"] is False
    api.expect(line).to_be_hidden()
    tab.locator("#s1-target .plot").focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    assert tab.locator("[aria-live]").text_content().startswith("slice")
    assert address(tab) == "#s1-target?off=dataloader"
    tab.locator("#s1-target [role=button][aria-label=dataloader]").focus()
    tab.keyboard.press("Enter")
    api.expect(line).to_be_visible()
    entry.dblclick()
    assert [name for name, on in pressed(tab, "s1-target").items() if not on] == ["slice"]
    entry.dblclick()
    assert all(pressed(tab, "s1-target").values())
    assert tab.locator("svg[role=img] [role=button]").count() == 0


def test_a_tab_shows_its_chart_and_the_address_says_which(visit):
    tab = visit()
    tab.get_by_text("seconds", exact=True).first.click()
    api.expect(tab.locator("#s1-loss-train_s")).to_be_visible()
    assert tab.locator("#s1 .switch .panel:visible").count() == 1
    assert address(tab) == "#s1-loss-train_s"


@pytest.mark.parametrize(
    ("low", "high"),
    [("45 us", "1.23 ms"), ("45 µs", "0.1 ms"), ("999 KiB", "312 MiB"), ("999,999", "6.65 million"), ("999", "12,345")]
    + [("512", "full (1,438)"), ("2e-7", "3e-6"), ("at least 5 MiB", "1 GiB"), ("9 ms (1 to 90)", "0.1 s"), ("b9", "b10")]
    + [("-1", "0"), ("7", "ok"), ("ok", ""), ("1", "")],
)
def test_cells_compare_by_what_they_mean_and_unknown_is_last(visit, tab, low, high):
    tab.evaluate("1") if tab.url.startswith("file:") else visit()
    assert tab.evaluate("([a, b]) => compare(a, b, 1)", [low, high]) < 0
    down = tab.evaluate("([a, b]) => compare(a, b, -1)", [low, high])
    assert (down < 0) == (high in ("ok", "") and (low == "7" or not high))


def test_a_head_sorts_up_down_and_back(visit):
    tab = visit("#s2-throughput?table")
    before = sizes(tab, "s2-throughput")
    head = tab.locator(".frame:has(#s2-throughput) th", has_text="epoch").first
    button = head.locator("button")
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = column(tab, "s2-throughput", "epoch")
    values = [tab.evaluate("amount", text) for text in up if text]
    assert values == sorted(values)
    assert [text for text in up if not text] == up[len(values) :] != []
    button.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert address(tab) == "#s2-throughput?table&sort=-epoch"
    button.press(" ")
    assert head.get_attribute("aria-sort") is None
    assert sizes(tab, "s2-throughput") == before


def test_a_filter_keeps_the_rows_with_every_word(visit):
    tab = visit("#s2-throughput?table")
    frame = tab.locator(".frame:has(#s2-throughput)")
    frame.locator("input[type=search]").fill("SLICE full")
    assert frame.locator("tbody tr:visible").count() == 1
    assert frame.locator("output").text_content() == "1 of 13 rows"
    assert address(tab) == "#s2-throughput?table&filter=SLICE+full"
    assert tab.locator("#failures input").count() == 0
