"""What the page's script does with charts, tabs, theme and address, in a browser."""

import json
import re

import pytest
import synthetic as s

from mbbench.reporting import page

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make venv")

PLACE = """([name, place, which]) => {
    const plot = document.getElementById(name).querySelector(".plot"), svg = plot.querySelector("svg");
    const [x, y] = JSON.parse(plot.querySelector("script").textContent).series[which].points.at(place);
    svg.scrollIntoView({block: "center"});
    const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
    return [at.x, at.y];
}"""


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


@pytest.mark.parametrize("width", [1100, 400])
def test_a_point_shows_its_words_and_interval_and_never_leaves_the_screen(visit, width):
    tab = visit(width=width)
    for name in ("s1-target", "s1-throughput", "s2-memory"):
        known = readings(tab, name)
        for place in (0, -1):
            tip = pointed(tab, name, place)
            api.expect(tip).to_be_visible()
            assert known["series"][0]["points"][place][2] in tip.text_content()
            box = tip.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] >= 0
    assert re.search(r"^slicebatch 4: .* \(.* to .*\)", pointed(tab, "s1-target").text_content())
    tab.mouse.move(2, 2)
    api.expect(tip).to_be_hidden()


def test_a_tap_shows_a_point_until_it_is_scrolled_away(visit):
    tab = visit(width=400)
    x, y = tab.evaluate(PLACE, ["s1-target", 1, 0])
    chart, about = tab.locator("#s1-target svg"), {"clientX": x, "clientY": y, "pointerType": "touch"}
    for kind in ("pointerdown", "pointerleave"):
        chart.dispatch_event(kind, about)
    assert "batch 8" in tab.locator(".tip").text_content()
    api.expect(tab.locator("#s1-target .ring")).to_be_visible()
    tab.mouse.wheel(0, 1200)
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
    number = readings(tab, "s1-target")["keys"].index("dataloader")
    drawn = tab.locator(f"#s1-target [data-series~='{number}']")
    line = drawn.first
    entry.click()
    assert pressed(tab, "s1-target")["dataloader"] is False
    assert drawn.count() > 10
    assert drawn.locator("visible=true").count() == 0  # what failed too
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


def test_the_theme_goes_round_is_kept_and_overrides_what_the_reader_prefers(visit):
    def paper(tab):
        colors = "['body', '.verdict'].map(each => getComputedStyle(document.querySelector(each)).backgroundColor)"
        return tab.evaluate(f"{colors}.join('; ')")

    light = "rgb(255, 255, 255); rgb(246, 248, 250)"
    dark = "rgb(13, 17, 23); rgb(21, 27, 35)"
    tab = visit(scheme="dark")
    assert paper(tab) == dark
    button = tab.get_by_role("button", name="Theme")
    for name, color in (("light", light), ("dark", dark), ("auto", dark), ("light", light)):
        button.click()
        assert (button.text_content(), paper(tab)) == (f"Theme: {name}", color)
        scheme = tab.evaluate("getComputedStyle(document.documentElement).colorScheme")
        assert scheme == ("light dark" if name == "auto" else name)
    tab = visit(scheme="dark")
    assert paper(tab) == light
    button.click()
    tab = visit()
    assert paper(tab) == dark
    tab.emulate_media(media="print")
    assert paper(tab) == light
    tab.emulate_media(media="screen")
    button.click()
    assert paper(tab) == light


ADDRESSES = (
    "#s1-loss-train_s",
    "#s1-loss-equal?off=after+25.5+epochs",
    "#s2-throughput?off=dataloader&table&sort=-samples/s&filter=slice+2",
    "#s2-loss-epoch?off=8,512;s1-loss-step;s1-throughput?table",
    "#failures?sort=-pass",
)


@pytest.mark.parametrize("asked", ADDRESSES)
def test_what_an_address_asks_for_is_shown_and_said_again(visit, asked):
    tab = visit(asked)
    first = asked[1:].partition("?")[0].partition(";")[0]
    api.expect(tab.locator(f"#{first}")).to_be_in_viewport()
    assert address(tab) == asked
    tab.evaluate(  # three clicks lead around to where the table is
        """first => {
            const root = document.getElementById(first), frame = root.closest(".frame") ?? root;
            const head = frame.querySelector("[aria-sort] button") ?? frame.querySelector("th button");
            history.replaceState(null, "", "#");
            for (let click = 0; click < 3; click++) head.click();
        }""",
        first,
    )
    assert address(tab) == asked


def test_an_address_opens_hides_sorts_and_filters(visit):
    tab = visit("#s2-throughput?off=dataloader&table&sort=-samples/s&filter=slice")
    frame = tab.locator(".frame:has(#s2-throughput)")
    for name in ("s2-throughput", "s2-epoch"):
        assert [entry for entry, on in pressed(tab, name).items() if not on] == ["dataloader"]
    api.expect(frame.locator("table")).to_be_visible()
    assert frame.locator("[aria-sort=descending]").text_content() == "samples/s"
    assert frame.locator("output").text_content() == "7 of 13 rows"
    tab.evaluate("location.hash = '#s2-throughput'")
    api.expect(frame.locator("table")).to_be_hidden()
    assert pressed(tab, "s2-throughput")["dataloader"] is True
    tab.locator("header a", has_text="Words").click()
    api.expect(tab.locator("#words")).to_be_in_viewport()


@pytest.mark.parametrize(
    "hash",
    [
        *("#nothing", "#s2-loss-equal?off=nobody&sort=nothing&filter=%", "#?;;??&=&=%zz", '#s1"]<img src=x onerror=hit=1>'),
        *("#s1-target?off=%3Cimg+src=x+onerror=hit=1%3E&sort=__proto__", "#__proto__?off=a", "#*,body?table", "#%"),
    ],
)
def test_an_address_of_somebody_elses_does_nothing(visit, hash):
    tab = visit(hash)
    assert tab.evaluate("window.hit") is None
    assert tab.locator("[aria-sort], .off, details[open], main img").count() == 0
    tab.locator("#s2-loss-equal [role=button] text").first.click()
    assert re.fullmatch(r"#s2-loss-equal\?off=after[+\d.]+epochs", address(tab))


def test_a_page_without_charts_or_without_readings_is_no_fault(visit, tmp_path, monkeypatch):
    page.build([s.failure(s.case(32))], tmp_path / "failed.html")
    tab = visit("#failures?sort=pass", path=tmp_path / "failed.html")
    assert tab.locator("#failures [aria-sort]").count() == 1
    monkeypatch.setattr(page, "MOST_BYTES", -1)
    page.build(s.time_records(s.case(32), 0.1), tmp_path / "large.html", figures=False)
    tab = visit(path=tmp_path / "large.html")
    assert tab.locator("#s1-epoch .files button").count() == 3
    assert tab.locator(".plot[tabindex]").count() == 0
    assert pressed(tab, "s1-epoch") == {"slice": True}
