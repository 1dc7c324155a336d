"""How the page is shown: labels, contrast, accessibility, paper, no script, and hostile records."""

import itertools
import json
import re
from pathlib import Path

import msgspec
import pytest
import synthetic as s

from mbbench import store
from mbbench.reporting import page

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make venv")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed: make venv"
)

HOSTILE = (
    "<script>window.hit=1</script>\"'&{{7*7}}$x^2$ 문제",
    "</script><img src=x onerror=window.hit=1>",
    "\"><svg onload='window.hit=1'>",
    "\u202e\u200fright to left\u202c 🧪👩🏽\u200d🔬",
    "n" * 10_000,
    "many words " * 900,
)
LABELS = """() => [...document.querySelectorAll("svg.chart")].filter(svg => svg.getBoundingClientRect().width).map(svg =>
    [...svg.querySelectorAll("text")].filter(text => text.textContent.trim()).map(text => {
        const {left, top, right, bottom} = text.getBoundingClientRect();
        return [text.textContent, left, top, right, bottom];
    }))"""
COLORS = """() => [...document.querySelectorAll("svg.chart text")].map(text => {
    const {fill, fillOpacity, opacity} = getComputedStyle(text);
    return [fill, Number(fillOpacity) * Number(opacity), getComputedStyle(document.body).backgroundColor];
})"""
VISIBLE = "[...document.querySelectorAll('[hidden]')].filter(each => each.getClientRects().length).length"
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.mark.parametrize("width", [1100, 400])
def test_no_label_of_a_chart_covers_another(visit, width):
    tab = visit(width=width)
    shown = 0
    for place in range(6):
        for labels in tab.evaluate(LABELS):
            shown += 1
            met = [
                (one[0], other[0])
                for one, other in itertools.combinations(labels, 2)
                if min(one[3], other[3]) - max(one[1], other[1]) > 1 and min(one[4], other[4]) - max(one[2], other[2]) > 2
            ]
            assert met == []
        tab.evaluate(
            "at => document.querySelectorAll('div.switch').forEach(each => each.querySelectorAll('label')[at]?.click())",
            place,
        )
    assert shown > 20


def luminance(color):
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_in_charts_stands_out_from_the_page(visit, scheme):
    # WCAG 2.2, 1.4.3: (lighter + 0.05) / (darker + 0.05) of the luminances is at least 4.5.
    for ink, opacity, paper in {tuple(each) for each in visit(scheme=scheme).evaluate(COLORS)}:
        lighter, darker = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert opacity == 1
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, ink


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 400)])
def test_axe_finds_nothing_serious(visit, scheme, width):
    tab = visit("#s1-target?table;s2-throughput?table", scheme=scheme, width=width)
    tab.locator("#explorer").scroll_into_view_if_needed()
    tab.locator("#explorer canvas").wait_for()  # it is drawn when it comes near
    found = axe.Axe().run(tab, options={"resultTypes": ["violations"]}).response["violations"]
    assert [
        (each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in ("serious", "critical")
    ] == []


@pytest.mark.parametrize("width", [1100, 400])
def test_nothing_hidden_shows_and_nothing_is_wider_than_the_page(visit, width):
    tab = visit("#s2-throughput?off=slice&table&filter=full", width=width)
    assert tab.evaluate(VISIBLE) == 0
    assert tab.evaluate(FITS)


def test_paper_has_every_chart_and_table_in_light_colours(visit):
    tab = visit(scheme="dark", media="print")
    panels = tab.locator("figure")
    assert panels.count() == tab.locator("figure:visible").count() > 10
    assert tab.locator("table:visible").count() == tab.locator("table").count() > 5
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.locator("header:visible, .files:visible, .filter:visible, form:visible").count() == 0
    assert tab.pdf().startswith(b"%PDF-")


def hostile_records():
    records = s.curve_records(s.case(32, problem=f"{HOSTILE[0]}:p0"))
    for place, words in enumerate(HOSTILE):
        cell = s.case(32, problem=f"{words}:p{place}")
        records += [*s.time_records(cell, 0.1), *s.time_records(cell.on(batch_size=None), 0.2)]
        records.append(s.failure(cell.on(batch_size=64), "error", words))
    about = dict(zip(("commit", "processor", "system"), HOSTILE[::-1], strict=False))
    return [msgspec.structs.replace(each, run_id=HOSTILE[1], environment=s.environment(**about)) for each in records]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "index.html"
    page.build(hostile_records(), path, figures=False)
    text = path.read_text(encoding="utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', text)[0]
    label = json.dumps(HOSTILE[1]).replace("<", "\\u003c")
    text = text.replace(policy, "").replace('"keys": ["slice"', f'"keys": [{label}')
    (path.parent / "open.html").write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1100, 400])
def test_hostile_records_run_nothing_even_without_a_policy_and_fit_the_page(visit, hostile, width):
    tab = visit(path=hostile.with_name("open.html"), width=width)
    assert tab.locator("meta[http-equiv]").count() == 0
    assert tab.locator(".files button").count() > 0
    for plot in tab.locator("figure .plot").all()[:3]:
        plot.press("ArrowRight")
        assert HOSTILE[1] in tab.locator(".tip").text_content()
    tab.locator("th button").first.dispatch_event("click")
    assert tab.evaluate("window.hit") is None
    assert tab.locator("img, main svg:not(.chart)").count() == 0
    assert tab.evaluate(FITS)
    visit(path=hostile, width=width)
    assert tab.evaluate("window.hit") is None


def test_without_the_script_the_page_is_complete(browser, tmp_path):
    page.build([*s.time_records(s.case(32), 0.1), *s.curve_records(s.case(32))], tmp_path / "index.html")
    plain = browser.new_context(java_script_enabled=False)
    tab = plain.new_page()
    tab.goto((tmp_path / "index.html").as_uri())
    tab.get_by_text("seconds", exact=True).first.click()
    assert tab.locator("#s1-loss-train_s").is_visible()
    assert not tab.locator("#s1-loss-epoch").is_visible()
    assert tab.locator("#s1-loss-train_s .files a").count() == 2
    tab.locator("summary").first.click()
    assert tab.locator("table").first.is_visible()
    assert tab.locator("button:visible, [tabindex='0']:not(pre)").count() == 0
    plain.close()


EXAMPLE = Path(__file__).parent.parent / "reports" / "example.html"


@pytest.mark.parametrize("width", [1100, 400])
def test_the_example_opens_at_its_top_and_each_figure_can_be_named(visit, width):
    assert EXAMPLE.stat().st_size < 2**20
    tab = visit(path=EXAMPLE, width=width)
    assert tab.evaluate("[scrollX, scrollY]") == [0, 0]
    assert tab.evaluate("[...document.querySelectorAll('figure')].every((figure) => figure.id)")
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert tab.locator("figure").count() > 15


def test_the_example_is_what_its_records_make(tmp_path):
    records = store.load_records(EXAMPLE.parent.parent / "results" / "reference")
    made = page.build(records, tmp_path / "index.html", figures=False)
    assert made.headline in EXAMPLE.read_text(encoding="utf-8")
