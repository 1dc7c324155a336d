"""The page's part on two commits: in its place, in every state, escaped; how it is asked for, and what is refused."""

import contextlib
import json
import re
import signal
import subprocess
import sys

import comparisons as c
import pytest
import synthetic as s
from test_page import Reader

import mbbench
from mbbench import store
from mbbench.case import UsageError
from mbbench.reporting import compared, page, regressions, reported
from mbbench.reporting.compared import INTERRUPTED, Comparison

STATES = {
    "nothing": Comparison("a", "b", lost={"t": "head crashed"}),
    "no benchmark": Comparison("a", "b"),
    "same": c.compared(c.time("t", "same", 1.0)),
    "one regression": c.compared(c.time("t", "slower", 1.2), c.time("u", "same", 1.0)),
    "unreliable": c.compared(c.time("t", "slower", 1.2), control=1.07),
    "undecided": c.compared(c.time("t", "undecided", 1.02, None, n=6, smallest_detectable=None)),
    "interrupted": c.compared(c.time("t", "same", 1.0), unfinished=INTERRUPTED),
    "memory": c.compared(c.memory("m", 10**8, 2 * 10**8), control=None),
    "everything": c.everything(),
}
MOODS = {"same": "good", "one regression": "bad", "memory": "bad", "everything": "bad"}


def records():
    return s.time_records(s.case(32), 0.1)


def built(path, found, given=()):
    page.build(given, path, figures=False, compared=None if found is None else regressions.clean(found))
    return path.read_text(encoding="utf-8")


def part(html):
    return html.split('<section id="regressions">')[1].split("</section>")[0]


def written(tmp_path, found, name="compare.json"):
    (tmp_path / name).write_text(compared.to_json(found), encoding="utf-8")
    return tmp_path / name


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("with_records", [True, False])
def test_in_every_state_the_page_has_the_verdict_and_its_part(tmp_path, state, with_records):
    found = STATES[state]
    html = built(tmp_path / "index.html", found, records() if with_records else ())
    said = Reader(html)
    assert compared.to_json(found)  # as it was before
    assert f'<section class="verdict {MOODS.get(state, "doubt")}"' in html
    assert len(re.findall(r'class="plot"', part(html))) == bool(found.rows)
    assert ("There is nothing to draw." in part(html)) != bool(found.rows)
    assert ("no interval, and none is drawn" in html) == any(row.metric == "memory" for row in found.rows)
    assert ('aria-label="In figures"' in html) == with_records
    assert ("No records of batch sizes were given" in html) != with_records
    assert re.findall(r'id="([^"]+)"', html).count("verdict") == 1
    assert said


def test_its_parts_stand_where_a_reader_looks_for_them(tmp_path):
    html = built(tmp_path / "index.html", c.everything(), records())
    places = [
        html.index(each)
        for each in (
            'aria-label="Verdict"',
            'aria-label="Regressions"',
            'aria-label="In figures"',
            'id="regressions"',
            'id="s1"',
        )
    ]
    assert places == sorted(places)
    tiles = html.split('aria-label="In figures"')[1].split("</section>")[0]
    assert (
        '<dt>regressions</dt><dd class="value">3</dd><dd>worst: epoch_time[cnn-full], +100.0 % tensor memory</dd>' in tiles
    )
    assert "1 benchmark could not be compared, 1 benchmark only in head and 1 benchmark only in base." in html
    assert "head is the working tree with its uncommitted changes" in part(html)


def test_without_a_comparison_the_page_says_how_to_make_one(tmp_path):
    html = built(tmp_path / "index.html", None, records())
    assert 'aria-label="Regressions"' not in html
    assert "mbbench compare BASE --json &gt; compare.json\nmbbench report RESULTS --compare compare.json" in part(html)
    with pytest.raises(ValueError, match="no records"):
        page.build([], tmp_path / "index.html")


def test_without_records_the_page_says_how_to_fill_the_rest(tmp_path):
    html = built(tmp_path / "index.html", c.everything())
    assert "mbbench run PROBLEM --time 60s" in html
    assert 'id="provenance"' not in html
    links = set(re.findall(r'<a href="#([^"]+)"', html))
    assert links == {"verdict", "regressions", "words"}
    assert links <= set(re.findall(r'id="([^"]+)"', html))


def test_a_mirrored_comparison_changes_its_own_parts_and_no_other(tmp_path):
    pages = [built(tmp_path / "index.html", found, records()) for found in (c.everything(), c.mirrored(c.everything()))]
    own = (
        r'<section class="verdict \w+" aria-label="Regressions">.*?</section>',
        r"<dt>regressions</dt>.*?</div>",
        r'<section id="regressions">.*?</section>',
    )
    for each in own:
        one, other = (re.search(each, html, re.DOTALL)[0] for html in pages)
        assert one != other
    ruled = r"<style>.*?</style>|style-src '[^']+'"
    rest = [re.sub("|".join([*own, ruled]), "", html, flags=re.DOTALL) for html in pages]
    # Classes of styles are numbered as they are met.
    assert re.sub(r'class="m\d+"', "", rest[0]) == re.sub(r'class="m\d+"', "", rest[1])


def test_hostile_names_and_messages_are_text(tmp_path):
    rows = [c.time(name, "slower", 1.1 + place / 100) for place, name in enumerate(c.HOSTILE)]
    about = dict.fromkeys(("notes", "new", "missing"), c.HOSTILE) | {"lost": dict.fromkeys(c.HOSTILE, c.HOSTILE[1])}
    found = c.compared(*rows, c.time("x", "slower", 1.2, clock="<i>"), **about, unfinished=c.HOSTILE[2])
    found.base = found.head = c.HOSTILE[1]
    html = built(tmp_path / "index.html", found, records())
    text = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    assert not re.search(r"<(script>|img|i>|svg onload)|</td><script", text)
    assert "\x00" not in html
    assert "\u202e" not in html
    assert "window.hit" in html
    Reader(html)


def test_a_page_shows_no_folder_of_a_machine(tmp_path):
    found = c.compared(c.time("t", "same", 1.0), own={"head": {"toy": "/home/hanako/toy/__init__.py"}})
    found.lost["u"] = "no file '/home/hanako/data.npy'"
    found.notes = ("requirements.txt of /home/hanako/x differ",)
    html = built(tmp_path / "index.html", found)
    assert "hanako" not in html
    assert "Each side ran its own toy." in html
    assert "data.npy" in html


# ---- as it is asked for


@pytest.fixture
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_comparison_alone_makes_a_page_and_with_results_both(inside):
    path = written(inside, c.everything())
    made = mbbench.report(compare=path)
    assert 'id="s1"' not in made.html
    assert "Hungrier than" in str(made)
    assert {each.name for each in (inside / "reports" / "figures").iterdir()} == {
        "regressions-forest.svg",
        "regressions-forest.png",
    }
    assert 'href="figures/regressions-forest.png"' in made.html
    (inside / "results").mkdir()
    assert 'id="s1"' not in mbbench.report(compare=path).html
    for record in records():
        store.append(inside / "results" / "run.jsonl", record)
    both = mbbench.report(compare=path)
    assert 'id="s1"' in both.html
    assert 'id="regressions-forest"' in both.html
    assert "Hungrier than" in str(both)


def test_results_that_are_named_and_missing_are_refused_with_a_comparison_too(inside):
    path = written(inside, c.everything())
    with pytest.raises(UsageError, match="does not exist"):
        mbbench.report("nowhere/", compare=path)
    with pytest.raises(UsageError, match="does not exist"):
        mbbench.report()


def spoiled(**changes):
    said = json.loads(compared.to_json(c.compared(c.time("t", "slower", 1.2))))
    said["benchmarks"][0] |= changes
    return json.dumps(said)


BAD = {
    "text": "hello",
    "nothing": "",
    "a list": "[]",
    "stored records": '{"kind": "stored records", "figures": []}',
    "no verdict of ours": spoiled(verdict="awful"),
    "no metric of ours": spoiled(metric="beauty"),
    "a ratio of 0": spoiled(ratio=0),
    "a ratio below 0": spoiled(low=-1.0),
    "a ratio that is none": spoiled(ratio="1.2"),
    "not a number": spoiled(ratio=float("nan")),
    "a name that is none": spoiled(name=3),
    "half a letter": spoiled(name="\ud800"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_comparison_is_one_line(inside, what):
    (inside / "x.json").write_text(BAD[what], encoding="utf-8")
    with pytest.raises(UsageError, match=r"x\.json is no comparison.*mbbench compare BASE --json") as refused:
        mbbench.report(compare="x.json")
    assert "\n" not in str(refused.value)
    assert not (inside / "reports").exists()


def test_bytes_a_folder_and_nothing_are_refused(inside):
    (inside / "x.json").write_bytes(b"\xff\xfe{")
    for path in ("x.json", ".", "nowhere.json"):
        with pytest.raises(UsageError, match="mbbench compare BASE --json"):
            mbbench.report(compare=path)


def command(*arguments):
    run = [sys.executable, "-c", "from mbbench.cli import main; main()", *arguments]
    return subprocess.run(run, capture_output=True, text=True, check=False)


def test_the_command_makes_the_page_and_refuses_in_one_line(inside):
    written(inside, c.everything())
    done = command("report", "--compare", "compare.json", "-o", "page/index.html")
    assert done.returncode == 0, done.stderr
    assert "Hungrier than" in done.stdout
    assert "Hungrier than" in (inside / "page" / "index.html").read_text(encoding="utf-8")
    refused = command("report", "--compare", "nowhere.json")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith("mbbench: nowhere.json cannot be read (No such file or directory)")


def test_a_comparison_writes_its_page_in_one_file(inside):
    reported.of_comparison(c.everything(), inside / "new" / "compare.html")
    assert [each.name for each in (inside / "new").iterdir()] == ["compare.html"]
    assert "Hungrier than" in (inside / "new" / "compare.html").read_text(encoding="utf-8")
    (inside / "file").write_text("")
    with pytest.raises(UsageError, match="--html FILE"):
        reported.of_comparison(c.everything(), inside / "file" / "compare.html")


def test_the_command_compare_writes_the_page_beside_its_json(inside, monkeypatch, capsys):
    from mbbench import cli
    from mbbench.comparing import comparison, trees

    monkeypatch.setattr(trees, "trees", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(comparison, "compare", lambda *_, **__: c.everything())
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["mbbench", "compare", "main", "--json", "--html", "page.html"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert compared.from_json(capsys.readouterr().out) == c.everything()
    assert 'id="regressions-forest"' in (inside / "page.html").read_text(encoding="utf-8")
