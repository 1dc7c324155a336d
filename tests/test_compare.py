"""Two trees side by side: each child runs its own tree's code or says so, a crash costs one benchmark, nothing stays."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import psutil
import pytest

from mbbench.case import UsageError
from mbbench.comparing import blocks, children, comparison, trees
from mbbench.comparing.children import Block, NotComparableError, Side, Zygote
from mbbench.comparing.course import Course
from mbbench.reporting import compared, compared_files, compared_words, gate
from mbbench.reporting.compared import Comparison, Row
from mbbench.reporting.gate import Change
from mbbench.reporting.stats import Estimate

SPIN = """
def work(n={n}):
    total = 0
    for i in range(n):
        total += i
    return total
"""
BENCH = """
import os, signal, time
import pytest
import toy

def test_plain(benchmark):
    assert benchmark(toy.work) > 0

def test_pedantic(benchmark):
    assert benchmark.pedantic(toy.work, setup=lambda: ((5000,), {}), rounds=3) > 0

def test_not_a_benchmark():
    assert toy.work() > 0
"""
CRASH = """
def test_crashes(benchmark):
    if getattr(toy, "CRASHES", False):
        os.kill(os.getpid(), signal.SIGSEGV)
    benchmark(toy.work)
"""


def git(folder, *arguments):
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    environment = os.environ | identity | {"GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


def project(folder, bench=BENCH, base=4000, head=8000):
    """Make a stranger's repository: own package in src layout, own benchmarks, two commits."""
    for name, text in {
        "src/toy/__init__.py": SPIN.format(n=base),
        "bench/test_x.py": bench,
        "pyproject.toml": "[project]\nname = 'toy'\nversion = '0'\n",
        ".gitignore": "__pycache__\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "base")
    git(folder, "branch", "base")
    (folder / "src/toy/__init__.py").write_text(SPIN.format(n=head) + "\nCRASHES = True\n")
    git(folder, "commit", "-qam", "head")
    return folder


def worktrees(folder):
    return git(folder, "worktree", "list").splitlines()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(blocks, "CHUNKS", 8)
    monkeypatch.setattr(blocks, "TURN_S", 0.004)


@pytest.fixture(scope="module")
def zygote():
    """One for all that can share it: it takes 2 s to import torch, and each block has children of its own."""
    with Zygote(["bench"]) as shared:
        yield shared


def both(made):
    return [Side("base", made.base, made.head), Side("head", made.head, made.base)]


def one_block(zygote, made):
    """Time what both sides have, in one block."""
    tests = zygote.collect(both(made)).both
    return zygote.run(both(made), {"base": tests, "head": tests}, "time", blocks.turns(random.Random(0)))


# ---- one block


def test_a_block_runs_each_side_on_its_own_code(tmp_path, quick, zygote):
    root = project(tmp_path)
    with trees.trees("base", None, "bench", root) as made:
        block = one_block(zygote, made)
    tests = ["bench/test_x.py::test_plain", "bench/test_x.py::test_pedantic"]
    assert {side: collected.tests for side, collected in block.collected.items()} == {"base": tests, "head": tests}
    assert list(block.found) == tests
    plain, pedantic = (blocks.effects([block], test) for test in tests)
    assert all(0.3 < value < 1.2 for clock in ("wall", "cpu") for value in plain[clock])  # log 2 = 0.69
    assert all(abs(value) < 0.3 for value in pedantic["cpu"])  # given its own n, both sides do the same
    assert block.own["base"] == {"toy": str(made.base / "src/toy/__init__.py")}
    assert block.own["head"] == {"toy": str(root / "src/toy/__init__.py")}
    assert block.lost == {}


@pytest.mark.long
def test_a_crash_costs_that_benchmark_only(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(gate, "LOOKS", (2,))
    root = project(tmp_path, BENCH.replace("def test_plain", CRASH + "\ndef test_plain"))
    with trees.trees("base", None, "bench", root) as made:
        found = comparison.compare(made, ["bench"], within_s=300.0, metrics=["time"])
    assert found.lost == {"bench/test_x.py::test_crashes": "head crashed"}
    assert {row.name for row in found.rows} == {"bench/test_x.py::test_plain", "bench/test_x.py::test_pedantic"}
    assert {row.change.ratio.n for row in found.rows} == {2}
    assert {row.change.verdict for row in found.rows} == {"undecided"}  # from two blocks nothing follows
    assert found.blocks == 3  # the one that crashed came to nobody else
    assert found.control.name == "bench/test_x.py::test_plain"  # the first that is alive


@pytest.mark.long
def test_no_time_leaves_a_verdict_that_says_so(tmp_path, quick):
    root = project(tmp_path)
    with trees.trees("base", None, "bench", root) as made:
        found = comparison.compare(made, ["bench"], within_s=0.1)
    assert (found.unfinished, found.rows, found.exit_code()) == ("the time was over", [], 4)


TRAPS = {
    "the other tree's benchmarks": "import sys; sys.path.insert(0, {head!r})",
    "a copy installed elsewhere": "import sys; sys.path.insert(0, {copy!r})",
}


@pytest.mark.parametrize("trap", TRAPS)
def test_code_that_is_not_the_sides_own_is_no_comparison(tmp_path, quick, zygote, trap):
    root = project(tmp_path / "project")
    copy = tmp_path / "copy"
    (copy / "toy").mkdir(parents=True)
    (copy / "toy/__init__.py").write_text(SPIN.format(n=10))
    text = TRAPS[trap].format(head=str(root / "src"), copy=str(copy))
    (root / "bench/conftest.py").write_text(text)
    with trees.trees("base", None, "bench", root) as made, pytest.raises(NotComparableError, match=r"ran (code of|a copy)"):
        one_block(zygote, made)
    assert len(worktrees(root)) == 1


def test_a_package_that_the_zygote_had_imported_is_no_comparison(tmp_path, quick, monkeypatch):
    root = project(tmp_path / "project")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text("import toy\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{root / 'src'}")
    with (
        Zygote(["bench"]) as own,
        trees.trees("base", None, "bench", root) as made,
        pytest.raises(NotComparableError, match="code of the other side"),
    ):
        one_block(own, made)


def test_benchmarks_that_import_nothing_of_the_project_are_no_comparison(tmp_path, quick, zygote):
    root = project(tmp_path, "def test_sum(benchmark):\n    benchmark(sum, range(100))\n")
    with trees.trees("base", None, "bench", root) as made, pytest.raises(NotComparableError, match="import nothing"):
        one_block(zygote, made)


def test_a_head_that_does_not_import_says_why(tmp_path, quick, zygote):
    root = project(tmp_path)
    (root / "src/toy/__init__.py").write_text("import no_such_module\n")
    with trees.trees("base", None, "bench", root) as made, pytest.raises(NotComparableError, match="head could not be"):
        one_block(zygote, made)


def test_a_benchmark_that_only_one_side_can_run_is_lost_with_its_reason(tmp_path, quick, zygote):
    bench = (
        BENCH + "\ndef test_new(benchmark):\n    benchmark(lambda: toy.CRASHES)\n\ndef test_never(benchmark):\n    pass\n"
    )
    root = project(tmp_path, bench)
    with trees.trees("base", None, "bench", root) as made:
        block = one_block(zygote, made)
    assert "AttributeError" in block.lost["bench/test_x.py::test_new"]
    assert block.lost["bench/test_x.py::test_new"].startswith("base: failed in call")
    assert "never called benchmark" in block.lost["bench/test_x.py::test_never"]
    assert "bench/test_x.py::test_plain" in block.found


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")
def test_all_sides_of_a_block_share_as_many_cores_as_they_have_threads(tmp_path, quick, zygote):
    bench = """
import os
import toy

def test_alone(benchmark):
    benchmark(toy.work)
    assert not "cores", sorted(os.sched_getaffinity(0))
"""
    root, own = project(tmp_path, bench), os.sched_getaffinity(0)
    with trees.trees("base", None, "bench", root) as made:
        (why,) = one_block(zygote, made).failed.values()  # on both sides, so head's words stand for both
    assert why.count(",") == 0  # one core
    assert {core for seed in range(50) for core in children._cores(1, seed)} == own  # now this, now that
    assert set(children._cores(len(own), 0)) == own
    assert children._cores(len(own) + 1, 0) == []
    assert children._cores(1, 7) == children._cores(1, 7)


def test_what_fails_after_its_calls_on_one_side_alone_is_lost_and_on_both_is_told(tmp_path, quick, zygote):
    bench = """
import toy

def test_right(benchmark):
    assert benchmark(toy.work) == 7998000  # of the base: head does something else

def test_wrong(benchmark):
    benchmark(toy.work)
    assert benchmark.stats["mean"] > 0  # there are none here

def test_twice(benchmark):
    benchmark(toy.work)
    benchmark(toy.work)

class TestClass:
    def test_plain(self, benchmark):
        benchmark(toy.work)
"""
    root = project(tmp_path, bench)
    with trees.trees("base", None, "bench", root) as made:
        block = one_block(zygote, made)
    assert "head: failed in call" in block.lost["bench/test_x.py::test_right"]
    assert "bench/test_x.py::test_right" not in block.found
    assert "NoneType" in block.failed["bench/test_x.py::test_wrong"]
    assert "only be used once" in block.failed["bench/test_x.py::test_twice"]
    assert "bench/test_x.py::TestClass::test_plain" in block.found
    assert block.ended


def test_a_file_that_one_side_cannot_import_costs_that_file_only(tmp_path, quick, zygote):
    root = project(tmp_path)
    (root / "bench/test_new.py").write_text("from toy import CRASHES\n\ndef test_new(benchmark):\n    benchmark(sum, [1])\n")
    with trees.trees("base", None, "bench", root) as made:
        block = one_block(zygote, made)
        found = Comparison("a", "b")
        tests = comparison._listed(found, block, ["bench"])
    assert tests == list(block.found) == ["bench/test_x.py::test_plain", "bench/test_x.py::test_pedantic"]
    assert found.lost == {
        "bench/test_new.py": "base could not collect it: " + block.collected["base"].errors["bench/test_new.py"]
    }
    assert "CRASHES" in found.lost["bench/test_new.py"]
    assert (found.missing, found.new) == ((), ())  # of that file nobody knows what the base has


def test_the_options_of_a_working_day_change_nothing(tmp_path, quick, zygote):
    root = project(tmp_path)
    options = "-n 2 -x --lf -m 'not slow' --benchmark-skip --no-such-option"
    (root / "bench/pytest.ini").write_text(f"[pytest]\naddopts = {options}\n")
    with trees.trees("base", None, "bench", root) as made:
        assert len(one_block(zygote, made).found) == 2


def test_a_gate_is_all_that_is_compared_unless_asked_for(tmp_path, quick, zygote):
    marked = BENCH.replace("def test_pedantic", "@pytest.mark.gate\ndef test_pedantic")
    root = project(tmp_path, marked)
    (root / "bench/pytest.ini").write_text("[pytest]\nmarkers =\n    gate: compared\n")
    with trees.trees("base", None, "bench", root) as made:
        block = zygote.collect(both(made))
    assert comparison.wanted(block, ["bench"]) == ["bench/test_x.py::test_pedantic"]
    assert comparison.wanted(block, ["bench", "-k", "x"]) == [
        "bench/test_x.py::test_plain",
        "bench/test_x.py::test_pedantic",
    ]


# ---- trees


def test_the_base_is_the_merge_base_and_goes_whatever_happens(tmp_path):
    root = project(tmp_path)
    git(root, "checkout", "-q", "-b", "other", "base")
    (root / "README").write_text("other")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "other")
    git(root, "checkout", "-q", "main")
    base = git(root, "rev-parse", "base").strip()
    with pytest.raises(RuntimeError, match=base), trees.trees("other", None, "bench", root) as made:
        raise RuntimeError(f"{made.base_commit} {len(worktrees(root))}")
    assert len(worktrees(root)) == 1
    assert not made.base.exists()


def test_heads_benchmarks_lie_over_the_bases(tmp_path):
    root = project(tmp_path)
    (root / "bench/test_x.py").write_text("# new\n")
    with trees.trees("base", None, "bench", root) as made:
        assert (made.base / "bench/test_x.py").read_text() == "# new\n"
        assert made.notes == ("head is the working tree with its uncommitted changes",)
    with trees.trees("base", "main", "bench", root) as made:
        assert made.head_commit == git(root, "rev-parse", "main").strip()
        assert (made.base / "bench/test_x.py").read_text() == BENCH
        assert made.notes == ()


def test_what_cannot_be_compared_is_one_line(tmp_path):
    root = project(tmp_path / "project")
    for base, head, bench, words in (
        ("no-such", None, "bench", "no revision"),
        ("base", "no-such", "bench", "no revision"),
        ("--help", None, "bench", "no revision"),
        ("base", None, "nowhere", "no folder"),
        ("base", None, str(root / "bench"), "inside the project"),  # it would be laid over itself
        ("base", None, ".", "inside the project"),  # head's code over the base's
        ("base", None, "src", "inside the project"),
        ("base", None, "../project/bench", "inside the project"),
    ):
        with pytest.raises(UsageError, match=words), trees.trees(base, head, bench, root):
            pass
    with pytest.raises(UsageError, match="no git repository"), trees.trees("base", None, "bench", tmp_path):
        pass
    git(root, "checkout", "-q", "--orphan", "alone")
    git(root, "commit", "-qm", "alone")
    with pytest.raises(UsageError, match="no history in common"), trees.trees("base", None, "bench", root):
        pass


def test_code_in_the_folder_of_the_benchmarks_is_no_comparison(tmp_path, quick):
    root = project(tmp_path)
    (root / "src/toy/speed").mkdir()
    (root / "src/toy/speed/test_y.py").write_text("import toy\n\ndef test_y(benchmark):\n    benchmark(toy.work)\n")
    with (
        trees.trees("base", None, "src/toy", root) as made,
        Zygote(["src/toy"]) as own,
        pytest.raises(NotComparableError, match="import nothing"),
    ):
        one_block(own, made)
    assert (root / "src/toy/__init__.py").is_file()


def test_a_project_may_lie_below_the_top_of_its_repository(tmp_path, quick, zygote):
    root = project(tmp_path)
    (root / "part").mkdir()
    for name in ("src", "bench", "pyproject.toml"):
        git(root, "mv", name, f"part/{name}")
    git(root, "commit", "-qm", "moved")
    with trees.trees("HEAD", None, "bench", root / "part/src") as made:
        assert made.head == root / "part"
        assert one_block(zygote, made).own["base"] == {"toy": str(made.base / "src/toy/__init__.py")}


def test_other_worktrees_are_left_alone(tmp_path):
    root, other = project(tmp_path / "project"), tmp_path / "other"
    git(root, "worktree", "add", "--detach", "--quiet", str(other), "base")
    other.rename(tmp_path / "unplugged")
    with trees.trees("base", None, "bench", root):
        pass
    (tmp_path / "unplugged").rename(other)
    assert len(worktrees(root)) == 2
    assert git(other, "rev-parse", "HEAD") == git(root, "rev-parse", "base")


def test_a_working_tree_that_changes_is_seen(tmp_path):
    root = project(tmp_path)
    with trees.trees("base", None, "bench", root) as made:
        state = made.state()
        assert made.state() == state
        (root / "new").write_text("")
        assert made.state() != state
        (root / "new").unlink()
        (root / "src/toy/__init__.py").write_text("")
        assert made.state() != state


def test_a_shallow_clone_says_what_to_fetch(tmp_path):
    root = project(tmp_path / "project")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{root}", "shallow")
    with pytest.raises(UsageError, match="--unshallow"), trees.trees("origin/base", None, "bench", tmp_path / "shallow"):
        pass


def test_a_changed_lock_file_is_noted(tmp_path):
    root = project(tmp_path)
    (root / "requirements.txt").write_text("numpy==2\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "lock")
    with trees.trees("base", "main", "bench", root) as made:
        (note,) = made.notes
    assert note.startswith("requirements.txt differ: both sides run in head's environment")


# ---- many blocks


def turned(ratio, control):
    """Return a block in which a benchmark and its control read so."""
    several = {"head": ratio, "control": control}
    return Block(
        found={
            "t": blocks.Turns(0.001, {side: {clock: [each] for clock in blocks.CLOCKS} for side, each in several.items()})
        }
    )


def test_more_blocks_than_a_test_counts_are_no_fault(tmp_path):
    made = Comparison("a", "b")
    times = comparison._Times(Course(made, None, ["bench"], 0.0, print))
    times._screened = [turned(0.05 + 0.001 * (number % 3), 0.001 * (number % 3 - 1)) for number in range(30)]
    times._confirming = [turned(0.05 + 0.001 * (number % 3), 0.001 * (number % 3 - 1)) for number in range(16)]
    times._flags = {"t": gate.Flag("slower", "wall")}
    (row,) = times.judged()
    assert (row.change.verdict, row.change.ratio.n) == ("slower", comparison.CONFIRMING)
    assert (made.control.name, made.control.change.verdict, made.control.change.ratio.n) == ("t", "same", 32)


# ---- words


def change(verdict, ratio=1.1, low=1.05, high=1.15, n=12, **fields):
    value = Estimate(value=ratio, low=low, high=high, n=n, unit="ratio")
    return Change(**({"verdict": verdict, "clock": "wall", "ratio": value, "smallest_detectable": 0.02} | fields))


SAME = change("same", 1.001, 0.99, 1.01)
SLOWER = change("slower")
HOSTILE = "bench/x.py::test[</td><script>|`*\x00\n::error::\U0001f600]"


def memory(base, head, again=None):
    return Row("m", "memory", gate.memory_change(base, head, base if again is None else again), base)


def seeds(verdict, clock="updates", ratio=1.1, base=0.25):
    return Row("c", "convergence", change(verdict, ratio, ratio - 0.05, ratio + 0.05, clock=clock), base)


def found(*rows, control=SAME, **changes):
    times = [Row(name, "time", each, 0.001) for name, each in changes.items()]
    return Comparison("a" * 40, "b" * 40, rows=[*times, *rows], control=Row("t", "time", control), blocks=22, seconds=60.0)


@pytest.mark.parametrize(
    ("made", "verdict", "code", "strict"),
    [
        (found(t=SAME), "same", 0, 0),
        (found(t=SAME, u=SLOWER), "regression", 1, 1),
        (found(t=change("faster", 0.9, 0.85, 0.95)), "improved", 0, 0),
        (found(t=change("undecided"), u=SAME), "undecided", 0, 3),
        (Comparison("a", "b", lost={"t": "head crashed"}), "nothing", 4, 4),
        (Comparison("a", "b", rows=[Row("t", "time", SAME)], unfinished=compared.INTERRUPTED), "same", 130, 130),
        (found(t=SLOWER, control=SLOWER), "unreliable", 0, 4),
        (found(memory(10**8, 2 * 10**8), t=SLOWER, control=SLOWER), "regression", 1, 1),  # memory reads no clock
        (found(memory(10**8, 2 * 10**8)), "regression", 1, 1),
        (found(memory(10**8, 5 * 10**7)), "improved", 0, 0),
        (found(memory(10**8, 2 * 10**8, again=3 * 10**8)), "undecided", 0, 3),
        (found(seeds("slower")), "regression", 1, 1),
        (found(seeds("slower", "held-out loss", base=200)), "regression", 1, 1),
        (found(Row("c", compared.TOGETHER, SLOWER, 0.25), t=SAME), "same", 0, 0),  # it follows, and fails nothing
    ],
)
def test_exit_codes(made, verdict, code, strict):
    assert (made.verdict, made.exit_code(), made.exit_code(strict=True)) == (verdict, code, strict)
    assert json.loads(compared.to_json(made))["verdict"] == verdict
    assert compared.from_json(compared.to_json(made)) == made
    assert compared_words.lines(made)[0] == compared_words.headline(made)


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        (10**9, 10**9, "same"),
        (10**9, 10**9 + 2 * 10**7, "same"),  # 2 % to the byte
        (10**9, 10**9 + 2 * 10**7 + 1, "slower"),
        (10**9 + 2 * 10**7 + 2, 10**9, "same"),
        (10**9 + 3 * 10**7, 10**9, "faster"),
        (2**20, 5 * 2**20, "same"),  # 4 MiB to the byte
        (2**20, 5 * 2**20 + 1, "slower"),
        (0, 2**23, "slower"),
    ],
)
def test_memory_is_judged_beyond_2_percent_and_4_mib(base, head, verdict):
    assert gate.memory_change(base, head, base).verdict == verdict


def test_any_change_of_memory_is_shown():
    said = compared_words.sentence(memory(2**20, 2**20 + 2048))
    assert said == "+0.2 % tensor memory, 1 MiB before, 1 MiB now"
    assert compared_words.sentence(memory(2**20, 2**20)).endswith("the same to the byte")
    assert "another amount the second time" in compared_words.sentence(memory(2**20, 2**20, 2**21))
    assert compared_words.sentence(memory(0, 2**23)) == "no tensors before, 8 MiB now"


def test_the_headline_names_the_worst_and_what_could_have_been_missed():
    several = found(a=change("slower", 1.05, 1.03, 1.07), b=change("slower", 1.2, 1.1, 1.3), c=SAME)
    assert compared_words.headline(several) == f"Slower than {'a' * 12}: b by +20.0 %. Time: 2 slower, 1 same."
    missed = found(t=change("undecided", smallest_detectable=0.04), u=SAME)
    assert compared_words.headline(missed).endswith("A change of 4 % would be missed every other time.")
    noisy = found(t=SLOWER, control=change("slower", 1.07))
    assert "unreliable" in compared_words.headline(noisy)
    assert "+7.0 %" in compared_words.headline(noisy)
    hungry = found(memory(10**8, 2 * 10**8), t=SAME)
    assert compared_words.headline(hungry).startswith(
        f"Hungrier than {'a' * 12}: m: +100.0 % tensor memory, 95.4 MiB before, 191 MiB now. Time: 1 same."
    )
    later = found(seeds("slower"), t=SAME)
    assert compared_words.headline(later).startswith(f"Converges later than {'a' * 12}: c takes +10.0 % updates.")
    worse = found(seeds("slower", "held-out loss", base=200), t=SAME)
    assert compared_words.headline(worse).startswith(f"Generalises worse than {'a' * 12}: c by +10.0 % held-out loss.")


def test_too_few_blocks_are_no_all_clear():
    early = found(t=change("undecided", 2.018, None, None, n=6, smallest_detectable=None), u=SAME)
    early.unfinished = "the time was over"
    assert compared_words.headline(early).startswith("Not decided, the time was over: t reads +101.8 % after 6 blocks.")
    assert "It ended early: the time was over. What is undecided may need more time: --time." in compared_words.lines(early)
    decided = found(t=SAME)
    decided.unfinished = "the time was over"
    assert "It ended early: the time was over." in compared_words.lines(decided)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"verdict": "same"}'])
def test_what_is_no_comparison_is_refused(text):
    with pytest.raises(ValueError, match=r"comparison|Expecting"):
        compared.from_json(text)


def test_what_could_not_be_compared_is_in_the_headline_and_no_all_clear():
    made = found(t=SAME)
    made.lost["bench/x.py::u"] = "head crashed"
    assert compared_words.headline(made).endswith("Not compared: bench/x.py::u (head crashed).")
    assert (made.exit_code(), made.exit_code(strict=True)) == (0, 3)


def test_a_suspicion_without_the_time_to_confirm_it_is_no_all_clear():
    made = found(t=change("undecided", 1.5, 1.4, 1.6, suspected="slower"), u=SAME)
    made.unfinished = "the time was over"
    said = compared_words.headline(made)
    assert said.startswith("Not confirmed (the time was over): t looked worse and reads +50.0 % wall time.")


def test_times_of_an_unreliable_run_are_not_believed_anywhere():
    made = found(memory(10**8, 2 * 10**8), t=SLOWER, control=SLOWER)
    said = "\n".join(compared_words.lines(made))
    assert "▲ slower, not believed: t" in said
    assert "▲ hungrier: m" in said
    assert "slower, not believed" in compared_files.markdown(made)


def test_what_a_killed_run_left_goes_with_the_next(tmp_path):
    root = project(tmp_path / "project")
    left = tmp_path / f"{trees.PREFIX}999999999-x"
    left.mkdir()
    git(root, "worktree", "add", "--detach", "--quiet", str(left / "base"), "base")
    with trees.trees("base", None, "bench", root):
        assert not left.exists()
    assert len(worktrees(root)) == 1


def test_what_was_flagged_and_not_confirmed_is_said():
    made = found(t=change("undecided", suspected="slower"))
    (line,) = [each for each in compared_words.lines(made) if "t:" in each][:1]
    assert "it looked slower, which was not confirmed" in line


def test_markdown_keeps_within_its_bytes_and_shows_names_as_they_are():
    many = found(**{f"bench/x.py::test[{number}]": SAME for number in range(3000)}, **{HOSTILE: SLOWER})
    for most in (compared_files.MOST_SUMMARY, compared_files.MOST_COMMENT, 2000):
        text = compared_files.markdown(many, most)
        assert len(text.encode()) <= most
        assert "Slower than" in text.splitlines()[0]
    assert "more rows are left out" in text
    whole = compared_files.markdown(many)
    assert "<script>" not in whole
    assert len({line.count(" | ") for line in whole.splitlines() if line.startswith("| ▲")}) == 1


def test_junit_has_a_failure_for_a_regression_and_skips_what_is_open():
    made = found(memory(10**8, 2 * 10**8), **{HOSTILE: SLOWER, "u": change("undecided"), "s": SAME})
    made.lost["x"] = "head crashed"
    root = ElementTree.fromstring(compared_files.junit(made))
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("5", "2", "2")
    assert [case.get("classname") for case in root.findall("testcase[failure]")] == [
        "mbbench.compare.time",
        "mbbench.compare.memory",
    ]
    made.control = Row("t", "time", SLOWER)
    assert len(ElementTree.fromstring(compared_files.junit(made)).findall("testcase/failure")) == 1


def test_annotations_are_ten_at_most_and_each_one_line():
    many = found(**{f"bench/x.py::t{number}": SLOWER for number in range(30)}, **{HOSTILE: change("slower", 3.0, 2.5, 3.5)})
    said = compared_files.annotations(many)
    assert len(said) == 10
    assert all(line.startswith("::error file=bench/x.py,title=slower") and "\n" not in line for line in said)
    assert said[0].count("::") == 2


# ---- the command


def command(folder, *arguments):
    run = [sys.executable, "-c", "from mbbench.cli import main; main()", "compare", *arguments]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("metric", ["time", pytest.param("time,memory,convergence", marks=pytest.mark.long)])
def test_the_command_says_what_it_would_compare(tmp_path, metric):
    root = project(tmp_path)
    words = "-nothing or plain"  # begins like an option
    planned = command(root, "base", "--dry-run", "--metric", metric, "-k", words)
    assert planned.returncode == 0
    assert "bench/test_x.py::test_plain" in planned.stdout
    assert "1 benchmark, base" in planned.stdout
    assert len(worktrees(root)) == 1


def of(folder):
    """Return the processes that run in a folder or name it."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if str(folder) in f"{process.info['cmdline']} {process.info['cwd']}" and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize("after_s", [4.0, *(pytest.param(other_s, marks=pytest.mark.long) for other_s in (0.2, 0.9, 8.0))])
def test_killed_at_any_moment_nothing_stays_behind(tmp_path, after_s):
    root, temporary = project(tmp_path / "project"), tmp_path / "temporary"
    temporary.mkdir()
    words = [sys.executable, "-m", "mbbench", "compare", "base", "--metric", "time"]
    run = subprocess.Popen(
        words, cwd=root, env=os.environ | {"TMPDIR": str(temporary)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(after_s)
    if after_s > 5:  # else there may be no children yet
        assert any("zygote.py" in str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"]))
        assert run.poll() is None
    run.kill()
    run.wait()
    until = time.monotonic() + 30

    def left():
        return list(temporary.glob("mbbench*"))  # torch has a folder of its own there

    while (of(tmp_path) or left() or len(worktrees(root)) > 1) and time.monotonic() < until:
        time.sleep(0.1)
    assert [process.cmdline() for process in of(tmp_path)] == []
    assert left() == []
    assert len(worktrees(root)) == 1
    assert not list((root / ".git").rglob("*.lock"))


def test_no_room_for_the_worktree_is_one_line(tmp_path):
    root = project(tmp_path)
    (root / "large").write_bytes(random.Random(0).randbytes(100_000))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "large")
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); from mbbench.cli import main; main()"
    run = [sys.executable, "-c", limit, "compare", "HEAD"]
    done = subprocess.run(run, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no worktree of" in done.stderr
    assert "MiB free" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(worktrees(root)) == 1


@pytest.mark.long
def test_the_command_says_what_keeps_it_from_comparing(tmp_path):
    root = project(tmp_path)
    (root / "src/toy/__init__.py").write_text("1 / 0\n")
    broken = command(root, "base", "--dry-run")
    assert broken.returncode == 4
    assert "head could not be collected" in broken.stderr
    assert "ZeroDivisionError" in broken.stderr
    assert len(worktrees(root)) == 1


@pytest.mark.long
def test_ctrl_c_keeps_the_blocks_that_are_done(tmp_path):
    root = project(tmp_path)
    words = [sys.executable, "-m", "mbbench", "compare", "base", "--metric", "time", "-k", "plain", "--json"]
    run = subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in run.stderr:
        if line.startswith("block 3"):
            break
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate()
    said = json.loads(out)
    assert (run.returncode, said["unfinished"]) == (130, "interrupted")
    assert said["benchmarks"][0]["n"] >= 3
    assert len(worktrees(root)) == 1


@pytest.mark.long
def test_a_slowdown_in_a_helper_module_is_found(tmp_path):
    root = project(tmp_path, base=40000, head=40000)
    (root / "src/toy/__init__.py").write_text("from toy.helper import work\n")
    for n in (40000, 44000):
        (root / "src/toy/helper.py").write_text(SPIN.format(n=n))
        git(root, "add", "-A")
        git(root, "commit", "-qm", "helper")
    done = command(root, "HEAD~1", "--json", "-k", "plain", "--time", "120", "--metric", "time")
    said = json.loads(done.stdout)
    assert (done.returncode, said["benchmarks"][0]["verdict"]) == (1, "slower"), said


@pytest.mark.long
@pytest.mark.parametrize(
    ("base", "head", "verdict", "code"), [(40000, 44000, "slower", 1), (44000, 40000, "faster", 0), (40000, 40000, None, 0)]
)
def test_a_strangers_commit_is_judged(tmp_path, base, head, verdict, code):
    root = project(tmp_path, base=base, head=head)
    done = command(root, "base", "--json", "-k", "plain", "--time", "120", "--metric", "time")
    said = json.loads(done.stdout)
    assert done.returncode == code, said
    (benchmark,) = said["benchmarks"]
    assert benchmark["name"] == "bench/test_x.py::test_plain"
    if verdict is None:
        assert benchmark["verdict"] in ("same", "undecided")
    else:
        assert benchmark["verdict"] == verdict
        assert benchmark["low"] < head / base < benchmark["high"] or math.isclose(
            benchmark["ratio"], head / base, rel_tol=0.03
        )
    assert set(said["own"]["head"]) == {"toy"}
    assert len(worktrees(root)) == 1
    assert not Path(said["own"]["base"]["toy"]).exists()
