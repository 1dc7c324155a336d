"""What the page's script does with tables and downloads, in a browser."""

import csv
import io
import itertools
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from mbbench.reporting import palette

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make venv")


@pytest.fixture
def tables(tab, report):
    """Return the tab with the page in it, opened anew only where it is not."""
    if not tab.url.startswith(report.as_uri()):
        tab.goto(report.as_uri())
    return tab


def address(tab):
    return tab.evaluate("decodeURI(location.hash)")


def column(tab, name, head):
    table = tab.locator(f".frame:has(#{name}) table")
    place = table.locator("th").all_text_contents().index(head)
    return [row.locator("td").nth(place).text_content() for row in table.locator("tbody tr").all()]


def sizes(tab, name):
    return column(tab, name, "batch size")


@pytest.mark.parametrize(
    ("low", "high"),
    [
        *(("45 us", "1.23 ms"), ("45 µs", "0.1 ms"), ("999 KiB", "312 MiB"), ("999,999", "6.65 million"), ("999", "12,345")),
        *(
            ("512", "full (1,438)"),
            ("2e-7", "3e-6"),
            ("at least 5 MiB", "1 GiB"),
            ("9 ms (1 to 90)", "0.1 s"),
            ("b9", "b10"),
        ),
        *(("-1", "0"), ("7", "ok"), ("ok", ""), ("1", "")),
    ],
)
def test_cells_compare_by_what_they_mean_and_unknown_is_last(tables, low, high):
    assert tables.evaluate("([a, b]) => compare(a, b, 1)", [low, high]) < 0
    down = tables.evaluate("([a, b]) => compare(a, b, -1)", [low, high])
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


def saved(tab, figure, kind):
    with tab.expect_download() as waited:
        tab.locator(f"#{figure} .files button", has_text=kind).click()
    assert waited.value.suggested_filename == f"{figure}.{kind.lower()}"
    return Path(waited.value.path()).read_bytes()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_saved_svg_stands_alone_in_light_colours(visit, scheme):
    tab = visit("#s1-target?off=slice", scheme=scheme)
    text = saved(tab, "s1-target", "SVG").decode()
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in text
    assert "undefined" not in text
    rules = set(re.findall(r"\.([\w-]+) \{", text))
    used = {name for part in root.iter() for name in part.get("class", "").split()}
    assert used == rules
    assert palette.INK == "#1b1f24"
    assert "rgb(27, 31, 36)" in text or palette.INK in text
    assert not [part for part in root.iter() if {"role", "tabindex", "data-key", "style"} & set(part.keys())]
    links = {part.get("href") for part in root.iter()} - {None}
    assert links <= {f"#{part.get('id')}" for part in root.iter()}
    assert root.findall(".//*[@display='none']")


def test_a_saved_png_is_twice_the_size_on_white(visit):
    tab = visit(scheme="dark")
    data = saved(tab, "s1-target", "PNG")
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    image = Image.open(io.BytesIO(data))
    assert image.size == (902, 604)
    assert image.convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 255)
    assert len(image.convert("RGB").getcolors(100_000)) > 100


def test_a_saved_csv_has_the_numbers_of_the_table(visit):
    tab = visit("#s1-target?filter=slice")
    rows = list(csv.reader(io.StringIO(saved(tab, "s1-target", "CSV").decode())))
    table = tab.locator(".frame:has(#s1-target) table")
    assert rows[0] == table.locator("th").all_text_contents()
    assert [row[0] for row in rows[1:]] == column(tab, "s1-target", "batch size")
    assert [*itertools.chain(*rows[1:])] == [text.strip() for text in table.locator("td").all_text_contents()]
    assert "full (64)" in {row[0] for row in rows}
    assert all(len(row) == len(rows[0]) for row in rows)


def test_a_csv_runs_nothing_in_a_spreadsheet(tables):
    said = tables.evaluate(
        """() => {
            const table = document.createElement("table");
            for (const text of ['=1+1', '@a', '-b', '-1.5', 'a "b", c']) table.insertRow().insertCell().textContent = text;
            return csv(table);
        }"""
    )
    assert said.split("\r\n") == ["'=1+1", "'@a", "'-b", "-1.5", '"a ""b"", c"', ""]
