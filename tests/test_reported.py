"""A report as it is asked for: which folders are two sets, where figures go, what a notebook shows, what is refused."""

import html
import re
import webbrowser
from html.parser import HTMLParser

import pytest
import synthetic as s

import mbbench
from mbbench import store
from mbbench.case import UsageError
from mbbench.reporting.reported import two_sets


@pytest.fixture
def folder(tmp_path):
    """Return a function that makes a results folder with the times of one cell."""

    def make(name, epoch_s=0.1, size=32):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        for record in s.time_records(s.case(size), epoch_s, run_id=name):
            store.append(tmp_path / name / "run.jsonl", record)
        return tmp_path / name

    return make


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a report on one cell, with its figures beside it."""
    place = tmp_path_factory.mktemp("reported")
    for record in s.time_records(s.case(32), 0.1):
        store.append(place / "run.jsonl", record)
    return mbbench.report(str(place / "run.jsonl"), str(place / "page" / "index.html"))


def page_of(made):
    return made.path.read_text(encoding="utf-8")


def test_two_folders_are_two_sets_and_nothing_else_is(folder):
    old, new, inside = folder("old"), folder("new"), folder("old/inside")
    assert two_sets([old, new])
    assert not two_sets([old])
    assert not two_sets([old, old])
    assert not two_sets([old, inside])
    assert not two_sets([old, new / "run.jsonl"])
    assert not two_sets([old, new, inside])


def test_two_folders_are_put_side_by_side(folder, tmp_path):
    made = mbbench.report([folder("old"), folder("new", 0.2)], tmp_path / "page" / "index.html")
    top = page_of(made).split('id="verdict"')[0]
    assert "Two sets of records: A: old; B: new." in top
    assert "the rest of this page is made from" in top
    part = page_of(made).split('<section id="sides">')[1].split("</section>")[0]
    assert "A: old" in part
    assert "B: new" in part
    assert "Not interleaved: a hint, not a gate." in part
    assert "<td>linear-n8192-b32-slice</td><td>an epoch</td><td>100 ms (3 repeats)</td><td>200 ms (3 repeats)</td>" in part


def test_one_folder_or_two_files_are_one_set(folder, tmp_path):
    old, new = folder("old"), folder("new", 0.2, size=64)
    for source in (old, [old / "run.jsonl", new / "run.jsonl"]):
        assert 'id="sides"' not in page_of(mbbench.report(source, tmp_path / "index.html"))


def test_figures_go_to_the_folder_that_is_named_as_svg_png_and_pdf(folder, tmp_path):
    made = mbbench.report(folder("old"), tmp_path / "page" / "index.html", figures=tmp_path / "page" / "my figures")
    written = sorted(path.name for path in (tmp_path / "page" / "my figures").iterdir())
    assert written == [f"s1-{name}.{kind}" for name in ("epoch", "throughput") for kind in ("pdf", "png", "svg")]
    assert all(path.stat().st_size > 1000 for path in (tmp_path / "page" / "my figures").iterdir())
    assert not (tmp_path / "page" / "figures").exists()
    assert 'href="my%20figures/s1-epoch.pdf"' in page_of(made)


def test_by_default_figures_lie_beside_the_page_as_svg_and_png(made):
    assert {path.suffix for path in (made.path.parent / "figures").iterdir()} == {".svg", ".png"}
    assert 'href="figures/s1-epoch.png"' in page_of(made)


def test_figures_outside_of_the_pages_folder_are_not_linked(folder, tmp_path):
    made = mbbench.report(folder("old"), tmp_path / "page" / "index.html", figures=tmp_path / "far-away")
    assert (tmp_path / "far-away" / "s1-epoch.pdf").is_file()
    assert "far-away" not in page_of(made)
    assert ".pdf" not in page_of(made)


def test_page_and_figures_are_the_same_from_the_same_records(folder, tmp_path):
    old, written = folder("old"), []
    for name in ("one", "two"):
        mbbench.report(old, tmp_path / name / "index.html", figures=tmp_path / name)
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert len(written[0]) == 7
    assert written[0] == written[1]


class Frame(HTMLParser):
    """Collects the tags of a text, with their attributes unescaped."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(made):
    [(tag, attributes)] = Frame(made._repr_html_()).tags
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts allow-downloads"
    inner = attributes["srcdoc"]
    assert inner == re.sub(r'<span class="files">.*?</span>', "", page_of(made))
    assert "figures/" not in inner
    assert html.escape(inner) in made._repr_html_()


def test_what_is_returned_says_the_verdict_and_where_the_page_is(made):
    assert made.path.parts[-2:] == ("page", "index.html")
    assert made.path.read_text(encoding="utf-8") == made.html
    assert str(made).startswith(made.verdict.headline)
    assert "<html" not in repr(made)


def test_show_opens_the_page_in_the_browser(made, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    made.show()
    assert opened == [made.path.resolve().as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    with pytest.raises(UsageError, match=r"no browser could be opened: open .*index.html by hand"):
        made.show()


def test_an_empty_one_of_two_folders_is_named(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty holds no records"):
        mbbench.report([folder("old"), tmp_path / "empty"], tmp_path / "index.html")


def test_what_cannot_be_written_is_refused_before_anything_is_drawn(folder, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UsageError, match=r"taken cannot be written \(.*\): give another with --figures DIR"):
        mbbench.report(folder("old"), tmp_path / "index.html", figures=tmp_path / "taken")
    assert not (tmp_path / "index.html").exists()
    with pytest.raises(UsageError, match=r"taken/index.html cannot be written \(.*\): give another with -o FILE"):
        mbbench.report(folder("old"), tmp_path / "taken" / "index.html")
    (tmp_path / "page").mkdir()
    with pytest.raises(UsageError, match=r"page cannot be written \(.*\): give another with -o FILE"):
        mbbench.report(folder("old"), tmp_path / "page")
