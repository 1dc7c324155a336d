"""The forest and its table in a browser: read by pointer and keys, switched, sorted, filtered, saved; hostile names."""

import csv
import io
import itertools
import re

import comparisons as c
import pytest
import synthetic as s
from PIL import Image
from test_browser import PLACE
from test_browser_page import FITS, LABELS

from mbbench.reporting import page, regressions

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make venv")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed: make venv"
)
NAME = "regressions-forest"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function that makes the page of a comparison, once."""
    folder, there = tmp_path_factory.mktemp("regressions"), {}

    def make(kind, *rows):
        if kind not in there:
            found = c.compared(*rows) if rows else c.everything()
            there[kind] = folder / f"{kind}.html"
            given = s.time_records(s.case(32), 0.1) if kind == "both" else ()
            page.build(given, there[kind], figures=False, compared=regressions.clean(found))
        return there[kind]

    return make


def sixty():
    names = (f"bench/test_epoch.py::test_epoch_time[linear-n{2 ** (n % 9)}-b{n}-dataloader]" for n in range(60))
    return [c.time(name, "same" if n % 3 else "undecided", 1 + (n - 30) / 1000, 0.03) for n, name in enumerate(names)]


@pytest.mark.parametrize("width", [1100, 400])
def test_a_row_says_its_full_name_verdict_and_interval(visit, made, width):
    tab = visit(path=made("both"), width=width)
    tab.mouse.move(*tab.evaluate(PLACE, [NAME, 0, 0]))
    tip = tab.locator(".tip")
    api.expect(tip).to_be_visible()
    assert "bench/test_epoch.py::test_epoch_time[mlp-b32]: slower: +13.4 % wall time (95 % +12.4 % to" in tip.text_content()
    assert tab.evaluate(FITS)


def test_keys_read_the_rows_aloud(visit, made):
    tab = visit(path=made("both"))
    tab.locator(f"#{NAME} .plot").focus()
    heard = []
    for key in ("ArrowRight", "ArrowDown", "End"):
        tab.keyboard.press(key)
        heard.append(tab.locator("[aria-live]").text_content())
    assert heard[0].startswith("worse: bench/")
    assert heard[1].startswith("undecided: bench/")
    assert "after" not in heard[2]
    assert "6 blocks; too few to tell" in heard[2]


def test_the_legend_hides_a_kind_of_rows_with_its_figures(visit, made):
    tab = visit(path=made("both"))
    worse = tab.locator(f"#{NAME} [data-series]").filter(has_text="+8.0 %")
    api.expect(worse).to_be_visible()
    tab.locator(f"#{NAME} [role=button]").get_by_text("worse", exact=True).click()
    api.expect(worse).to_be_hidden()
    assert "#regressions-forest?off=worse" in tab.url


def test_the_table_sorts_by_change_and_filters(visit, made):
    tab = visit(path=made("both"))
    tab.locator("#regressions summary").click()
    table = tab.locator("#regressions table")
    table.get_by_role("button", name="change").click()
    changes = [text for text in table.locator("tbody td:nth-child(6)").all_text_contents() if text]
    values = [float(text.removesuffix(" %")) for text in changes]
    assert values == sorted(values)
    assert values[0] < 0 < values[-1]
    tab.locator("#regressions input[type=search]").fill("hungrier")
    assert table.locator("tbody tr:visible").count() == 1


def test_a_short_table_is_open_and_a_long_one_folded(visit, made):
    tab = visit(path=made("one", c.time("t", "slower", 1.2)))
    assert tab.locator("#regressions table").is_visible()
    visit(path=made("both"))
    assert not tab.locator("#regressions table").is_visible()


def test_the_figure_is_saved_as_svg_png_and_csv(visit, made):
    tab, saved = visit(path=made("both")), {}
    for kind in ("SVG", "PNG", "CSV"):
        with tab.expect_download() as started:
            tab.locator(f"#{NAME} .files button").get_by_text(kind, exact=True).click()
        assert started.value.suggested_filename == f"{NAME}.{kind.lower()}"
        saved[kind] = started.value.path()
    assert "+13.4 %" in saved["SVG"].read_text(encoding="utf-8")
    assert "var(" not in saved["SVG"].read_text(encoding="utf-8")
    with Image.open(saved["PNG"]) as picture:
        assert picture.size[0] > 600
    rows = list(csv.DictReader(io.StringIO(saved["CSV"].read_text(encoding="utf-8"))))
    assert len(rows) == len(c.everything().rows) + 4
    [slow] = [row for row in rows if row["change"] == "+13.4 %" and row["of"] == "wall time"]
    assert (slow["benchmark"], slow["interval"]) == ("bench/test_epoch.py::test_epoch_time[mlp-b32]", "+12.4 % to +14.4 %")


@pytest.mark.parametrize("text", ["+1+cmd|' /C calc'!A0", "+1 %+A1", "=1", "@a", "+a", "+1.0 % to =A1"])
def test_what_only_looks_like_a_change_is_no_formula_in_a_file(visit, made, text):
    tab = visit(path=made("both"))
    field = tab.evaluate(
        """text => { const table = make("table", {}, make("tbody", {}, make("tr", {}, make("td", {}, text))));
        return csv(table).trim(); }""",
        text,
    )
    assert field.lstrip('"').startswith("'")


@pytest.mark.parametrize("width", [1100, 400])
@pytest.mark.parametrize("kind", ["both", "sixty"])
def test_no_label_covers_another(visit, made, kind, width):
    tab = visit(path=made(kind, *(sixty() if kind == "sixty" else ())), width=width)
    labels = next(each for each in tab.evaluate(LABELS) if any(label[0] == "does not matter" for label in each))
    met = [
        (one[0], other[0])
        for one, other in itertools.combinations(labels, 2)
        if min(one[3], other[3]) - max(one[1], other[1]) > 1 and min(one[4], other[4]) - max(one[2], other[2]) > 2
    ]
    assert met == []
    assert len(labels) > 30
    frame = tab.locator(f"#{NAME} svg").bounding_box()
    assert all(frame["x"] - 1 <= left and right <= frame["x"] + frame["width"] + 1 for _, left, _, right, _ in labels)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 400)])
@pytest.mark.parametrize("kind", ["both", "alone"])
def test_axe_finds_nothing_serious(visit, made, kind, scheme, width):
    tab = visit(f"#{NAME}?table", path=made(kind), scheme=scheme, width=width)
    found = axe.Axe().run(tab, options={"resultTypes": ["violations"]}).response["violations"]
    assert [
        (each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in ("serious", "critical")
    ] == []


@pytest.mark.parametrize("width", [1100, 400])
def test_hostile_names_run_nothing_even_without_a_policy_and_fit_the_page(visit, made, tmp_path, width):
    rows = [c.time(name, "slower", 1.1 + place / 100) for place, name in enumerate(c.HOSTILE)]
    html = made("hostile", *rows).read_text(encoding="utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', html)[0]
    (tmp_path / "open.html").write_text(html.replace(policy, ""), encoding="utf-8")
    tab = visit(path=tmp_path / "open.html", width=width)
    plot = tab.locator(f"#{NAME} .plot")
    for _ in c.HOSTILE:
        plot.press("ArrowRight")
    assert tab.locator(".tip").text_content().startswith("worse")
    assert tab.evaluate("window.hit") is None
    assert tab.locator("main img, main svg:not(.chart)").count() == 0
    assert tab.evaluate(FITS)


def test_paper_has_the_forest_and_its_table(visit, made):
    tab = visit(path=made("both"), media="print", scheme="dark")
    assert tab.locator(f"#{NAME}").is_visible()
    assert tab.locator("#regressions table").is_visible()
