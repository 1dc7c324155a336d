"""The page stands alone, escapes what it is given, and builds without torch."""

import base64
import hashlib
import itertools
import json
import re
import shlex
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
import synthetic as s
import targeted as t

from mbbench import store
from mbbench.record import Measurement
from mbbench.reporting import page, provenance

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}$x^2$ 문제"


SHOWN = ("samples per second", "time of one epoch")


class Reader(HTMLParser):
    """Collects tags, attributes and text, and notes what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open, self.types = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.types.append(dict(attrs).get("type"))
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.types.append(dict(attrs).get("type"))
        self.attributes += [(tag, *attribute) for attribute in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def scripts(reader):
    """Return the types of the scripts, each once: data, and the one that the policy allows."""
    return sorted({reader.types[at] for at, tag in enumerate(reader.tags) if tag == "script"}, key=str, reverse=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    output = tmp_path_factory.mktemp("report") / "reports" / "index.html"
    records = [*s.suite(), s.failure(s.case(4096), "oom", "needs 3.1 GiB, 2.0 GiB allowed")]
    said = page.build(records, output)
    return output, said, output.read_text(encoding="utf-8")


def page_of_times():
    with tempfile.TemporaryDirectory() as folder:
        page.build([r for r in s.suite() if r.kind == "time"], Path(folder) / "index.html", figures=False)
        return (Path(folder) / "index.html").read_text(encoding="utf-8")


def test_the_page_says_the_verdict_word_for_word(built):
    _, said, html = built
    text = " ".join(Reader(html).texts).lower()  # a caption begins in upper case
    for answer in said.answers:
        assert answer.headline.lower() in text
        assert all(finding.text.lower() in text for finding in answer.findings)
    assert all(doubt.text.lower() in text for doubt in said.doubts)


def test_the_page_is_well_formed_and_each_id_is_there_once(built):
    reader = Reader(built[2])
    assert reader.open == []
    ids = [value for _, name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("run `mbbench run a<b` again", "run <code>mbbench run a&lt;b</code> again"),
        ("an odd ` is text", "an odd ` is text"),
        ("`<img>`", "<code>&lt;img&gt;</code>"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_commands_in_sentences_are_code_and_escaped(text, html):
    assert str(page._code(text)) == html


def test_nothing_in_the_page_asks_a_network(built):
    reader = Reader(built[2])
    assert not {"link", "img", "iframe", "object"} & set(reader.tags)
    links = [value for _, name, value in reader.attributes if name in ("href", "src", "action")]
    assert all(link.startswith(("#", "figures/")) for link in links)
    assert "://" not in built[2]
    assert "@import" not in built[2]


def test_the_policy_allows_exactly_the_style_sheet_and_the_script_that_are_there(built):
    html = built[2]
    css, *codes = (text for tag in ("style", "script") for text in re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL))
    style, *hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, *codes))
    code = "' 'sha256-".join(hashes)
    assert len(codes) == 2  # the page's own, and the explorer's with its library
    policy = next(value for _, name, value in Reader(html).attributes if name == "content" and "default-src" in value)
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{code}'; img-src blob:; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not [tag for tag, name, _ in Reader(html).attributes if name == "style" or name.startswith("on")]


def test_every_figure_is_named_for_who_cannot_see_it(built):
    reader = Reader(built[2])
    roles = [tag for tag, name, value in reader.attributes if (name, value) == ("role", "img")]
    assert len(roles) == reader.tags.count("svg") == reader.tags.count("desc") == 7
    ids = {value for _, name, value in reader.attributes if name == "id"}
    described = [value for _, name, value in reader.attributes if name == "aria-describedby"]
    assert len(described) == 7
    assert set(described) <= ids
    charts = [value for tag, name, value in reader.attributes if (tag, name) == ("svg", "aria-label")]
    assert {f"{shown} against batch size, linear, n = 8,192, CPU, 1 thread" for shown in SHOWN} <= set(charts)
    assert len(set(charts)) == 7
    assert reader.tags.count("title") == 1  # one in a figure would be a tooltip of the browser's over those of the page


def test_each_picture_lies_beside_the_page_as_svg_and_png(built):
    output, _, html = built
    links = re.findall(r'href="(figures/[^"]+)"', html)
    assert len(links) == 14
    assert all((output.parent / link).stat().st_size > 1000 for link in links)


def test_a_failed_cell_is_listed_with_status_and_message(built):
    text = built[2]
    row = re.search(r"<td>linear-n8192-b4096-slice</td>.*?</tr>", text, re.DOTALL)[0]
    assert "out of memory" in row
    assert "needs 3.1 GiB, 2.0 GiB allowed" in row


def test_words_stand_in_english_and_korean(built):
    text = " ".join(Reader(built[2]).texts)
    for word in ("배치", "미니배치", "이터레이션", "에폭", "학습률"):
        assert word in text


def test_hostile_names_and_messages_are_text(tmp_path):
    cell = s.case(32, problem=f"{HOSTILE}:p")
    records = [*s.time_records(cell, 0.1), *s.time_records(cell.on(batch_size=None), 0.2), *s.curve_records(cell)]
    records.append(s.failure(cell.on(batch_size=64), "error", HOSTILE))
    records = [
        msgspec.structs.replace(
            record, run_id=HOSTILE, environment=s.environment(commit=HOSTILE, processor=HOSTILE, system=HOSTILE)
        )
        for record in records
    ]
    page.build(records, tmp_path / "index.html")
    reader = Reader((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert scripts(reader) == ["application/json", None]
    assert reader.open == []
    assert any(HOSTILE in text for text in reader.texts)


@pytest.fixture(scope="module")
def with_memory(tmp_path_factory):
    output = tmp_path_factory.mktemp("memory") / "index.html"
    cells = [s.case(32), s.case(512), s.case(None), s.case(None, micro_batch=64)]
    times = [record for cell in cells[:2] for record in s.time_records(cell, 0.1)]
    records = [*times, *(s.memory_record(cell, limit_bytes=20 * 2**20) for cell in cells)]
    records.append(s.memory_record(s.case(4096), oom_by="raised", message=HOSTILE))
    return page.build(records, output), output.read_text(encoding="utf-8")


def test_memory_has_a_frame_with_figure_method_and_table(with_memory):
    said, html = with_memory
    reader = Reader(html)
    text = " ".join(reader.texts)
    assert "How much memory does it take?" in text
    assert "counted by torch's profiler" in text
    heads = re.findall(
        r"<th scope=\"col\">([^<]*)</th>", html.split("How much memory does it take?")[1].split("</table>")[0]
    )
    assert heads == [
        *(
            "batch size",
            "loader",
            "micro-batch",
            "tensors",
            "making the rows",
            "process",
            "overhead",
            "predicted",
            "scratch",
        ),
        *("gradient off by", "limit", "status"),
    ]
    rows = re.findall(r"<tr>(<td>.*?)</tr>", html.split("How much memory does it take?")[1].split("</table>")[0])
    cells = [re.findall(r"<td>([^<]*)</td>", row) for row in rows]
    assert cells[-1] == [
        *("full (8,192)", "slice", "64", "8.25 MiB", "2 MiB", "10.3 MiB", "1.25", "8.25 MiB", "0 B", "2e-7", "20 MiB", "ok")
    ]
    assert cells[-2] == [
        *("full (8,192)", "slice", "", "", "", "", "", "40 MiB", "", "", "20 MiB", "out of memory: predicted")
    ]
    for answer in said.answers:
        assert all(finding.text.lower() in text.lower() for finding in answer.findings)


def test_hostile_messages_of_memory_records_are_text(with_memory):
    reader = Reader(with_memory[1])
    assert scripts(reader) == ["application/json", None]
    assert reader.open == []
    assert any(HOSTILE in text for text in reader.texts)


def test_without_a_memory_pass_there_is_no_frame_on_it(built, tmp_path):
    assert "How much memory does it take?" not in built[2]
    assert (
        "Not measured here: which batch size reaches a target first, where one step goes, how much memory it takes"
        in built[2]
    )
    (command,) = re.findall(r"<p>How much memory it takes:</p>\s*<pre[^>]*>(.*)</pre>", built[2])
    assert command.startswith("mbbench run linear --batch-size 8,")
    assert command.endswith("--measure memory")
    page.build([s.failure(s.case(32), "error", kind="memory")], tmp_path / "index.html")
    assert "<svg" not in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_alone_can_be_built(tmp_path, device):
    records = [s.memory_record(s.case(size, device=device), limit_bytes=20 * 2**20) for size in (32, 512, None)]
    said = page.build(records, tmp_path / "index.html", figures=False)
    text = " ".join(Reader((tmp_path / "index.html").read_text(encoding="utf-8")).texts)
    assert said.headline in text
    assert ("held by allocator" in text) == (device == "cuda")


def test_where_a_step_goes_has_a_frame_with_figure_method_and_table(tmp_path):
    cells = [s.case(size, loader=loader) for size in (8, 512) for loader in ("slice", "dataloader")]
    failed = s.failure(s.case(None), "oom", HOSTILE, kind="profile")
    records = [*map(s.profile_record, cells), failed, *s.time_records(cells[0], 1024 * 61.6e-6)]
    page.build(records, tmp_path / "index.html")
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    frame = html.split("Where does one step go?")[1].split("</table>")[0]
    assert html.index("How fast do samples go through?") < html.index("Where does one step go?")
    heads = re.findall(r'<th scope="col">([^<]*)</th>', frame)
    phases = ["batch assembly", "Python and dispatch", "forward", "backward", "optimizer"]
    assert heads == ["batch size", "loader", "step", "timed", *phases, "status"]
    rows = [re.findall(r"<td>([^<]*)</td>", row) for row in re.findall(r"<tr>(<td>.*?)</tr>", frame)]
    assert rows[0][:5] == ["8", "slice", "61.8 µs", "61.6 µs", "160 ns (0.26 %)"]
    assert rows[2] == ["full (8,192)", "slice", "", "", "", "", "", "", "", "out of memory"]
    reader = Reader(html)
    assert reader.open == []
    text = " ".join(reader.texts)
    caption = "Assembling the batch takes 95 % of a step at batch 512 with dataloader and 5.9 % with slice"
    assert text.count(caption) == 2  # under the figure, and for who cannot see it
    assert "A clock read between the phases of the training loop itself" in text
    assert (tmp_path / "figures" / "s1-step.png").stat().st_size > 1000


def test_profiles_alone_can_be_built_and_without_any_there_is_no_frame(built, tmp_path):
    assert "Where does one step go?" not in built[2]
    page.build([s.profile_record(s.case(8))], tmp_path / "index.html", figures=False)
    assert "Where does one step go?" in (tmp_path / "index.html").read_text(encoding="utf-8")
    page.build([s.failure(s.case(8), "error", kind="profile")], tmp_path / "failed.html", figures=False)
    assert "<svg" not in (tmp_path / "failed.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("status", ["oom", "unavailable", "error"])
def test_a_report_of_failures_alone_can_be_built(tmp_path, status):
    said = page.build([s.failure(s.case(size), status) for size in (32, None)], tmp_path / "index.html")
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert said.headline in html
    assert "<svg" not in html


def test_curves_alone_and_times_alone_can_be_built(tmp_path):
    page.build(s.curve_records(s.case(32), seeds=1), tmp_path / "curves.html", figures=False)
    page.build(s.time_records(s.case(32), 0.1, repeats=1), tmp_path / "times.html", figures=False)
    assert not (tmp_path / "figures").exists()


def test_a_curve_that_diverged_at_once_is_no_crash(tmp_path):
    curve = s.curve_record(s.case(32)).measurement.curve
    broken = msgspec.structs.replace(curve, train_loss=(10.0,) + (None,) * (len(curve.step) - 1))
    record = s.record(s.case(32), Measurement(status="diverged", lr=0.1, curve=broken), kind="convergence")
    page.build([record, *s.curve_records(s.case(None))], tmp_path / "index.html", figures=False)


def test_several_problems_each_have_a_section(tmp_path):
    said = page.build(s.suite(["linear", "mlp"], [32, None]), tmp_path / "index.html", figures=False)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>([^<]*CPU[^<]*)</h2>", html) == [answer.title for answer in said.answers]


def test_a_page_that_is_too_large_leaves_out_the_explorer_first_and_says_so(tmp_path, monkeypatch):
    records, sizes = [record for record in s.suite() if record.case.batch_size == 32], []
    for most in (5 * 2**20, 0, -1):
        monkeypatch.setattr(page, "MOST_BYTES", most or sizes[0] - 1)
        page.build(records, tmp_path / "index.html", figures=False)
        html = (tmp_path / "index.html").read_text(encoding="utf-8")
        sizes.append(len(html.encode()))
        shown = [re.findall(rf'"{name}"', html) != [] for name in ("steps_per_epoch", "points")]
        assert shown == {5 * 2**20: [True, True], 0: [False, True], -1: [False, False]}[most]
        assert ("had to be left out" in html) == (most <= 0)
    assert sizes == sorted(sizes, reverse=True)


def test_the_library_comes_with_its_licence_and_without_its_address(built):
    assert "Copyright (c) 2022 Leon Sorokin" in built[2]
    assert "Permission is hereby granted, free of charge" in built[2]
    assert "uPlot" not in page_of_times()


def test_the_explorer_has_each_curve_as_numbers(built):
    (text,) = re.findall(r'<script type="application/json">(\[.*?\])</script>', built[2])
    (setting,) = json.loads(text)
    trained = {(r.case.batch_size, r.case.loader) for r in s.suite() if r.measurement.curve}
    assert len(setting["curves"]) == len(trained)
    for curve in setting["curves"]:
        lengths = {len(curve[name]) for name in ("step", "train_s", "loss", "low", "high")}
        assert lengths == {len(curve["step"])}
        assert curve["step"] == sorted(curve["step"])
        assert curve["train_s"] == sorted(curve["train_s"])
        assert all(low <= loss <= high for low, loss, high in zip(*(curve[x] for x in ("low", "loss", "high")), strict=True))
    full = next(curve for curve in setting["curves"] if curve["name"].startswith("full batch"))
    assert (full["color"], full["steps_per_epoch"], full["batch"]) == ("fg", 1, setting["rows"])


def html_of(records, tmp_path):
    page.build(records, tmp_path / "index.html", figures=False)
    return (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_method_speaks_of_intervals_only_where_there_are_some(tmp_path):
    together, bars = "Multiples of the fastest have intervals", "bars: 95 % interval over repeats"
    once = html_of([s.time_record(s.case(32)), s.time_record(s.case(None))], tmp_path)
    assert together not in once
    assert "too few repeats for bars" in once
    several = [*s.time_records(s.case(32), 0.1), *s.time_records(s.case(None), 0.2)]
    assert together in html_of(several, tmp_path)
    some = html_of([*several, s.time_record(s.case(64))], tmp_path)
    assert f"{bars}, where there are three or more." in some


def test_a_band_is_said_where_one_is_drawn(tmp_path):
    diverged = [s.curve_record(s.case(32), seed, status="diverged") for seed in range(3)]
    assert "; band: its 95 % interval. " in html_of(diverged, tmp_path)
    some = html_of([*s.curve_records(s.case(32)), *s.curve_records(s.case(64), seeds=1)], tmp_path)
    assert "; band: its 95 % interval, where there are three seeds or more. " in some
    assert "; fewer than three seeds: no band. " in html_of(s.curve_records(s.case(32), seeds=2), tmp_path)


def asked_for(command):
    """Return the cells and passes that a command asks for, as (batch size, n, loader, device, lr, pass)."""
    words = shlex.split(command)
    of = dict(itertools.pairwise(words))
    kinds = of.get("--measure", "time,convergence,memory")
    axes = (
        of["--batch-size"],
        of["--n"],
        of.get("--loader", "slice"),
        of.get("--device", "cpu"),
        of.get("--lr", "-"),
        kinds,
    )
    return list(itertools.product(*(axis.split(",") for axis in axes)))


def test_the_commands_to_repeat_ask_for_what_was_measured_and_for_nothing_else():
    """Two cells of four sizes and loaders, one n with a size less, a device and a rate of their own."""
    cells = [s.case(32), s.case(None, loader="dataloader"), s.case(32, n_samples=64), s.case(64, n_samples=64)]
    cells += [s.case(64), s.case(32, device="cuda"), s.case(32, lr=0.5)]
    records = [s.time_record(cell) for cell in cells] + [s.memory_record(cells[1]), s.profile_record(cells[1])]
    wanted = [
        (
            str(r.case.batch_size or "full"),
            str(r.case.n_samples),
            r.case.loader,
            r.case.device,
            "-" if r.case.lr is None else str(r.case.lr),
            r.kind,
        )
        for r in records
    ]
    found = [each for command in provenance.commands(records) for each in asked_for(command)]
    assert sorted(found) == sorted(wanted)
    assert len(provenance.commands(records)) < len(cells)


def test_searches_are_asked_for_at_the_sizes_that_were_searched():
    records = [s.target_record(t.cell(8), [9.0] * 5), *t.times(("slice", "dataloader"), (1, 8, None))]
    found = [each for command in provenance.commands(records) for each in asked_for(command)]
    assert {(size, kind) for size, *_, kind in found} == {*((size, "time") for size in ("1", "8", "full")), ("8", "target")}


def test_no_records_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="measure first"):
        page.build([], tmp_path / "index.html")


def test_the_page_builds_where_torch_cannot_be_imported(tmp_path):
    results = tmp_path / "results.jsonl"
    for record in s.suite(batch_sizes=[32, None]):
        store.append(results, record)
    code = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'torch': raise ImportError('torch is not here')\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from pathlib import Path\n"
        "from mbbench import store\n"
        "from mbbench.reporting import page\n"
        "page.build(store.load_records(sys.argv[1]), Path(sys.argv[2]), figures=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    output = tmp_path / "index.html"
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(results), str(output)], check=True)
    assert Path(output).stat().st_size > 10_000


def test_the_command_to_repeat_has_the_budget_and_asks_for_micro_batches_apart():
    cells = [s.case(32), s.case(None), s.case(None, micro_batch=64)]
    records = [record for cell in cells for record in (s.time_record(cell), s.memory_record(cell, limit_bytes=2**24))]
    assert provenance.commands([*records, s.curve_record(s.case(32))]) == [
        "mbbench run linear --batch-size 32,full --n 8192 --threads 1 --measure time,memory --memory-budget 16777216"
        " --seconds 1 --repeats 1 --seeds 1",
        "mbbench run linear --batch-size full --n 8192 --micro-batch 64 --threads 1 --measure time,memory"
        " --memory-budget 16777216 --seconds 1 --repeats 1 --seeds 1",
        "mbbench run linear --batch-size 32 --n 8192 --threads 1 --measure convergence --max-seconds 5 --repeats 1"
        " --seeds 1",
    ]


def test_the_command_to_repeat_asks_for_profiles_where_there_are_some():
    assert provenance.commands([s.profile_record(s.case(32))]) == [
        "mbbench run linear --batch-size 32 --n 8192 --threads 1 --measure profile --seconds 1 --repeats 1 --seeds 1"
    ]


def test_the_commands_to_repeat_name_the_grid_of_each_problem():
    other = s.time_record(s.case(8, problem="my model.py:p", lr=0.1, shuffle=False, options=(("rows", "host"),)))
    assert provenance.commands([*s.suite(batch_sizes=[32, None]), other]) == [
        "mbbench run linear --batch-size 32,full --n 8192 --loader slice,dataloader --threads 1 --measure time --seconds 1"
        " --repeats 3 --seeds 1",
        "mbbench run linear --batch-size 32,full --n 8192 --threads 1 --measure convergence --max-seconds 5 --repeats 1"
        " --seeds 3",
        "mbbench run 'my model.py:p' --batch-size 8 --n 8192 --lr 0.1 --threads 1 --no-shuffle --rows host"
        " --measure time --seconds 1 --repeats 1 --seeds 1",
    ]
