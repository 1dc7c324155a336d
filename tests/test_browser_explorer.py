"""The part of the page that zooms: how far in and out, and that its address shows the same again."""

import re

import pytest

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make venv")


def opened(visit, asked="#explorer", **about):
    tab = visit(asked, **about)
    tab.locator("#explorer").scroll_into_view_if_needed()
    tab.locator("#explorer canvas").wait_for()
    return tab


def address(tab):
    return tab.evaluate("decodeURI(location.hash)")


def click(tab, label, times=1):
    for _ in range(times):
        tab.locator("#explorer").get_by_role("button", name=label, exact=True).click()


def ends(tab, name):
    """Return the range of an axis that an address asks for; nothing where everything is shown."""
    found = re.search(rf"\b{name}=([^,&;]+),([^,&;]+)", address(tab))
    return found and [float(each) for each in found.groups()]


def drag(tab, start, end):
    box = tab.locator("#explorer .u-over").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    tab.mouse.move(*at[0])
    tab.mouse.down()
    tab.mouse.move(*at[1], steps=5)
    tab.mouse.up()


def test_there_is_nothing_to_see_beyond_the_curves(visit):
    tab = opened(visit)
    click(tab, "Zoom out", times=3)
    assert address(tab) == "#explorer"  # everything, as it was
    click(tab, "Zoom in", times=2)
    inside = ends(tab, "x")
    assert inside[0] < inside[1]
    click(tab, "Zoom out", times=2)
    assert address(tab) == "#explorer"
    drag(tab, (0.05, 0.05), (0.25, 0.25))
    corner = ends(tab, "x")
    click(tab, "Zoom out")  # at a corner the view moves and does not leave the curves
    wider = ends(tab, "x")
    assert wider[0] <= corner[0] < corner[1] < wider[1]
    click(tab, "Zoom out", times=4)
    assert address(tab) == "#explorer"


LABELLED = """() => {
    // Ink on the canvas between the picture and the name of its axis: the labels of the ticks.
    const canvas = document.querySelector("#explorer canvas"), over = document.querySelector("#explorer .u-over");
    const scale = canvas.width / canvas.getBoundingClientRect().width, from = over.getBoundingClientRect();
    const top = from.bottom - canvas.getBoundingClientRect().top + 12;
    const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
    const paper = copy.getContext("2d", { willReadFrequently: true });
    paper.drawImage(canvas, 0, 0);
    const { data } = paper.getImageData(0, top * scale, canvas.width, 14 * scale);
    const inked = [...Array(canvas.width).keys()].filter((x) => {
        for (let y = 0; y < Math.floor(14 * scale); y++) if (data[4 * (y * canvas.width + x) + 3] > 60) return true;
        return false;
    });
    return inked.filter((x, at) => !at || x - inked[at - 1] > 12).length;  // words, not letters
}"""


def test_however_close_the_axis_has_labels(visit):
    tab = opened(visit)
    for _ in range(12):
        tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert 2 <= tab.evaluate(LABELLED) <= 14
        click(tab, "Zoom in")


@pytest.mark.parametrize("linear", [False, True])
def test_closer_than_the_digits_of_the_curves_there_is_nothing_to_see(visit, linear):
    tab = opened(visit, "#explorer?linear=x,y" if linear else "#explorer")
    click(tab, "Zoom in", times=14)
    nearest = address(tab)
    click(tab, "Zoom in", times=6)
    assert address(tab) == nearest
    low, high = ends(tab, "x")
    assert 1e-4 < (high - low) / high < 0.1
    assert tab.locator("#explorer canvas").count() == 1
    click(tab, "All")
    assert ends(tab, "x") is None


def test_what_is_dragged_over_is_shown_and_a_double_click_shows_all(visit):
    tab = opened(visit)
    drag(tab, (0.2, 0.2), (0.6, 0.7))
    x, y = ends(tab, "x"), ends(tab, "y")
    assert x[0] < x[1]
    assert y[0] < y[1]
    box = tab.locator("#explorer .u-over").bounding_box()
    tab.mouse.dblclick(box["x"] + 40, box["y"] + 40)
    assert address(tab) == "#explorer"


ADDRESSES = (
    "#explorer?axis=step&x=10.000,100.00&y=0.10000,1.0000",
    "#explorer?axis=train_s&linear=x&plain",
    "#explorer?off=batch+8%2C+slice,full+batch%2C+slice&setting=1&linear=y",
    "#explorer?setting=1&x=1.0000,2.0000&y=0.20000,0.30000;s1-loss-step",
)


@pytest.mark.parametrize("asked", ADDRESSES)
def test_an_address_shows_what_was_chosen_and_says_it_again(visit, asked):
    tab = opened(visit, asked)
    assert tab.evaluate("document.querySelector('#explorer form [name=logx]').checked") is ("linear=x" not in asked)
    tab.evaluate("history.replaceState(null, '', '#')")
    for _ in range(2):  # there and back again
        tab.locator("#explorer form").get_by_label("bands").click()
    assert address(tab) == asked


@pytest.mark.parametrize(
    "asked",
    [
        "#explorer?x=0,0&y=1,2",
        "#explorer?x=NaN,1&y=-1,Infinity",
        "#explorer?x=1&y=2,3",
        "#explorer?x=1e300,1e301&y=1e300,1e301&setting=__proto__&axis=nothing&off=nobody&linear=z",
        "#explorer?x=-5,1e9&y=-5,1e9",
    ],
)
def test_an_address_that_asks_for_nothing_there_is_shows_what_there_is(visit, asked):
    tab = opened(visit, asked)
    for _ in range(2):
        tab.locator("#explorer form").get_by_label("bands").click()
    for name in ("x", "y"):
        low, high = ends(tab, name) or (1.0, 2.0)
        assert 0 < low < high < 1e7
    assert "axis=" not in address(tab)
    assert "setting=" not in address(tab)


def test_another_axis_is_shown_whole(visit):
    tab = opened(visit)
    click(tab, "Zoom in")
    tab.locator("#explorer form").get_by_text("updates", exact=True).click()
    assert address(tab) == "#explorer?axis=step"
