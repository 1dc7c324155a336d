import json

# pytester forgets what a run imported. Imported here, these live on, and one server of workers serves all runs.
import multiprocessing.popen_forkserver  # noqa: F401
import statistics
from pathlib import Path

import pytest

import mbbench.api  # noqa: F401
from mbbench import store

pytest_plugins = ["pytester"]

USER = """
import os
import torch
from mbbench import Problem

x = torch.arange(8.0).reshape(8, 1)
crash = Problem(model=lambda: torch.nn.Linear(1, 1), loss=lambda p, t: os._exit(3), data=(x, x), held_out=0.0)
"""
BENCH = """
import time

import pytest
from mbbench import grid

TIMED = grid("linear", n_samples=100, batch_size=[32, "full", 200], device=["cpu", "cuda"])
CURVES = grid("notebook", n_samples=5, batch_size=[2])
CRASH = grid("user.py:crash", n_samples=8)


@pytest.mark.mbbench(repeats=2, seconds=0.05)
@pytest.mark.parametrize("case", TIMED, ids=str)
def test_timed(case, measured):
    records = measured()
    assert [record.repeat for record in records] in ([0, 1], [0])
    assert all(str(record.case) == str(case) for record in records)


@pytest.mark.mbbench(repeats=1, seconds=0.05)
@pytest.mark.parametrize("case", CRASH, ids=str)
def test_crash(case, measured):
    measured()


@pytest.mark.mbbench(kind="convergence", seeds=2, max_steps=10)
@pytest.mark.parametrize("case", CURVES, ids=str)
def test_curve(case, measured):
    assert [record.case.seed for record in measured()] in ([0, 1], [0])


@pytest.mark.mbbench(repeats=1, seconds=0.05, unit="step")
@pytest.mark.parametrize("case", TIMED[:1], ids=str)
def test_step(case, measured):
    measured()


@pytest.mark.parametrize("case", grid("linear", n_samples=1000), ids=str)
def test_deselected(case, measured):
    measured()


def test_own(benchmark):
    benchmark.pedantic(time.sleep, args=(0.002,), rounds=5)


def test_plain():
    open("plain", "w").close()
"""
CONFTEST = """
import sys
from pathlib import Path

def pytest_sessionfinish():
    heavy = {"torch", "pandas", "scipy", "seaborn", "sklearn"} & set(sys.modules)
    Path("heavy").write_text(" ".join(sorted(heavy)))
"""


@pytest.fixture
def bench(pytester):
    """A folder with bench files in it, which is the present one."""
    pytester.makepyfile(bench_it=BENCH, user=USER)
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\npython_files = bench_*.py\n")
    return pytester


def test_a_run_of_benches_in_full(bench):
    arguments = ["--benchmark-only", "--benchmark-json=out.json", "--benchmark-autosave", "--mb-results=records"]
    run = bench.runpytest_subprocess("-W", "error", "-rsf", "-k", "not deselected", *arguments)
    # The terminal: progress, reasons, the table, where the records are.
    run.assert_outcomes(passed=5, failed=1, skipped=5, deselected=1)
    assert run.ret == 1
    run.stdout.fnmatch_lines(
        [
            "mbbench: measuring 11 passes, each in a fresh process, about * s",
            "mbbench: 11/11, 0 s left, *",
            "crash: the process died in phase warm-up: exit code 3",
            "*= mbbench =*",
            f"11 records in {Path('records')}/*.jsonl",
            "the report: mbbench report records -o reports/index.html",
            "Name (time in *s)*",
            "SKIPPED * unavailable: no cuda device here: torch *",
            "FAILED bench_it.py::test_crash[[]user.py:crash-n8-bfull-slice[]] - Failed: crash*",
        ]
    )
    run.stdout.fnmatch_lines(["SKIPPED * not_applicable: batch_size is 200, but the data set has 100 samples"])
    run.stdout.no_fnmatch_line("*test_deselected*")
    run.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert not Path("plain").exists()
    assert Path("heavy").read_text() == ""

    # The records: every cell with its status.
    records = store.load_records("records")
    statuses = [(record.kind, str(record.case), record.repeat, record.measurement.status) for record in records]
    cpu = "linear-n100-b32-slice"
    assert sorted(statuses) == sorted(
        [
            *[("time", cell, repeat, "ok") for cell in (cpu, "linear-n100-bfull-slice") for repeat in (0, 1)],
            *[("time", f"linear-n100-{size}-slice-cuda", 0, "unavailable") for size in ("b32", "bfull")],
            *[("time", f"linear-n100-b200-slice{device}", 0, "not_applicable") for device in ("", "-cuda")],
            ("time", "user.py:crash-n8-bfull-slice", 0, "crash"),
            *[("convergence", f"notebook-n5-b2-slice{seed}", 0, "ok") for seed in ("", "-seed1")],
        ]
    )
    assert len({record.run_id for record in records}) == 1
    assert list(Path("records").iterdir()) == list(Path("records").glob("*.jsonl"))

    # pytest-benchmark's JSON: the worker's rounds, to the last but one digit, under a timer of our name.
    benchmarks = {entry["name"]: entry for entry in json.loads(Path("out.json").read_text())["benchmarks"]}
    assert set(benchmarks) == {
        f"test_timed[{cpu}]",
        "test_timed[linear-n100-bfull-slice]",
        "test_curve[notebook-n5-b2-slice]",
        f"test_step[{cpu}]",
        "test_own",
    }
    timed = [record for record in records if str(record.case) == cpu]
    epochs = [seconds for record in timed for seconds in record.measurement.epochs_s(100)]
    shown = benchmarks[f"test_timed[{cpu}]"]
    assert shown["options"]["timer"] == "worker_clock"
    assert shown["stats"]["rounds"] == len(epochs)
    assert shown["stats"]["iterations"] == 1
    assert shown["stats"]["data"] == pytest.approx(epochs, rel=1e-9)
    assert shown["stats"]["median"] == pytest.approx(statistics.median(epochs), rel=1e-9)
    extra = shown["extra_info"]["mbbench"]
    assert extra["samples_per_s"] == pytest.approx(100 / statistics.median(epochs))
    assert (extra["case"], extra["unit"], extra["statuses"]) == (cpu, "one epoch", ["ok", "ok"])
    assert shown["param"] == cpu

    step = benchmarks[f"test_step[{cpu}]"]  # the same pass as the first repeat of test_timed: measured once
    assert step["extra_info"]["mbbench"]["unit"] == "one step"
    assert step["stats"]["data"] == pytest.approx(timed[0].measurement.steps_s(), rel=1e-6)
    curve = benchmarks["test_curve[notebook-n5-b2-slice]"]
    runs = [record.measurement.curve for record in records if record.kind == "convergence"]
    assert curve["stats"]["data"] == pytest.approx([run.train_s[-1] for run in runs], rel=1e-6)
    assert curve["extra_info"]["mbbench"]["train_loss"] == [run.train_loss[-1] for run in runs]
    assert curve["extra_info"]["mbbench"]["samples_per_s"] is None

    # A benchmark of the user's own in the same file keeps the real clock.
    own = benchmarks["test_own"]
    assert own["options"]["timer"] == "perf_counter"
    assert 0.002 <= own["stats"]["min"] < 0.05
    assert own["extra_info"] == {}

    # A second run compares with the first, in pytest-benchmark's own words.
    assert len(list(Path(".benchmarks").rglob("0001_*.json"))) == 1
    again = bench.runpytest("-k", "test_timed and full and not cuda", "--benchmark-compare", "--mb-results=records")
    again.assert_outcomes(passed=1, deselected=11)
    again.stdout.fnmatch_lines(["mbbench: measuring 2 passes*", "2 records in records/*.jsonl", "*benchmark: 2 tests*"])
    again.stdout.fnmatch_lines_random(["test_timed*full* (0001_*", "test_timed*full* (NOW)*"])
    assert len(list(Path("records").iterdir())) == 2
    assert len(store.load_records("records")) == 13
    [saved] = Path(".benchmarks").rglob("0001_*.json")
    known = json.loads(saved.read_text())
    for entry in known["benchmarks"]:
        entry["stats"]["min"] = 1e-9  # so that the next run is slower
    saved.write_text(json.dumps(known))
    slower = bench.runpytest("-k", "test_step", "--benchmark-compare", "--benchmark-compare-fail=min:5%")
    assert slower.ret != pytest.ExitCode.OK  # pytest-benchmark ends it by an exception
    slower.stdout.fnmatch_lines(["*mbbench: measuring 1 passes*", "*test_step*"])
    slower.stderr.fnmatch_lines(["*Performance has regressed*"])


def test_a_smoke_run_makes_one_step_of_each_cell_and_records_nothing(bench):
    run = bench.runpytest("--benchmark-disable", "-W", "error")
    run.assert_outcomes(passed=7, failed=1, skipped=4)
    run.stdout.fnmatch_lines(["mbbench: measuring 9 passes, *", "FAILED bench_it.py::test_crash*"])
    run.stdout.no_fnmatch_line("*records in*")
    assert not Path("results").exists()


@pytest.mark.parametrize("option", ["--collect-only", "--benchmark-skip"])
def test_nothing_is_measured_where_no_bench_runs(bench, option):
    run = bench.runpytest(option)
    assert run.ret == 0
    run.stdout.no_fnmatch_line("*mbbench: measuring*")
    run.stdout.no_fnmatch_line("*records in*")
    assert not Path("results").exists()
    if option == "--collect-only":
        run.stdout.fnmatch_lines(["*<Function test_timed[[]linear-n100-b32-slice[]]>", "*12 tests collected*"])
    else:
        run.assert_outcomes(passed=1, skipped=11)


def test_nothing_is_measured_where_a_file_cannot_be_collected(bench):
    bench.makepyfile(bench_broken="1 / 0")
    run = bench.runpytest()
    run.assert_outcomes(errors=1)
    run.stdout.no_fnmatch_line("*mbbench: measuring*")


def test_cells_of_a_cuda_device_are_found_by_their_marker(bench):
    run = bench.runpytest("--collect-only", "-q", "-m", "cuda", "--strict-markers")
    run.stdout.fnmatch_lines(["*3/12 tests collected (9 deselected)*"])
    run.stdout.no_fnmatch_line("*::test_timed*slice]")


def test_the_plugin_says_nothing_where_no_test_is_measured(pytester):
    pytester.makepyfile("def test_plain(): pass\ndef test_own(benchmark): benchmark(int)")
    run = pytester.runpytest("-W", "error")
    run.assert_outcomes(passed=2)
    run.stdout.no_fnmatch_line("mbbench*")
    run.stdout.no_fnmatch_line("*= mbbench =*")
    assert not Path("results").exists()
    pytester.runpytest("--help").stdout.fnmatch_lines(["mbbench:", "*--mb-results=DIR*", "*--mb-timeout=S*"])
    pytester.runpytest("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.mbbench(kind=*", "@pytest.mark.cuda: needs a CUDA device*"]
    )


def test_a_measured_test_without_a_cell_fails_with_what_to_do(pytester):
    pytester.makepyfile("def test_it(measured): measured()")
    run = pytester.runpytest("-W", "error")
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["not measured: `measured` needs a parameter `case` that is a cell of mbbench.grid"])


@pytest.mark.parametrize(
    ("marker", "problem", "message"),
    [
        ("second=1.0", "linear", "unknown setting of the marker mbbench 'second': did you mean 'seconds'? expected *"),
        ("kind='tiem'", "linear", "unknown kind of the marker mbbench 'tiem': did you mean 'time'? expected *"),
        ("unit='epochs'", "linear", "unknown unit of the marker mbbench 'epochs': did you mean 'epoch'? expected *"),
        ("seconds=0", "linear", "max_seconds is 0: a limit is above 0"),
        ("", "nowhere.py:it", "there is no file nowhere.py: give the path of a Python file *"),
    ],
)
def test_what_cannot_be_measured_ends_the_run_with_one_line(pytester, marker, problem, message):
    pytester.makepyfile(
        f"""
        import pytest
        from mbbench import grid

        @pytest.mark.mbbench({marker})
        @pytest.mark.parametrize("case", grid("{problem}", n_samples=100), ids=str)
        def test_it(case, measured):
            measured()
        """
    )
    run = pytester.runpytest()
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    (run.stderr if any("mbbench:" in line for line in run.errlines) else run.stdout).fnmatch_lines([f"*mbbench: {message}"])
    run.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_results_that_cannot_be_written_end_the_run_before_anything_is_measured(bench):
    Path("records").write_text("a file in the way")
    run = bench.runpytest("-k", "test_step", "--mb-results=records")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stdout.no_fnmatch_line("*mbbench: measuring*")


def test_two_tests_may_ask_for_one_cell_with_different_budgets(pytester):
    pytester.makepyfile(
        """
        import pytest
        from mbbench import grid

        CASES = grid("linear", n_samples=100, device=["cpu", "cuda"])

        @pytest.mark.mbbench(repeats=1, seconds=0.02)
        @pytest.mark.parametrize("case", CASES, ids=str)
        def test_short(case, measured):
            [record] = measured()
            assert record.budget.max_seconds == 0.02

        @pytest.mark.mbbench(seconds=0.03)
        class TestLong:
            @pytest.mark.mbbench(repeats=2)
            @pytest.mark.parametrize("case", CASES, ids=str)
            def test_long(self, case, measured):
                assert [record.budget.max_seconds for record in measured()] == [0.03, 0.03]
        """
    )
    run = pytester.runpytest()
    run.assert_outcomes(passed=2, skipped=2)
    run.stdout.fnmatch_lines(["5 records in *"])


def test_options_narrow_the_cells_and_leave_tests_without_a_cell(bench):
    run = bench.runpytest("--collect-only", "-q", "--mb-batch-size=100,32", "--mb-device", "cpu", "--mb-n=100")
    run.stdout.fnmatch_lines(["*5/12 tests collected (7 deselected)*"])
    kept = [line.partition("::")[2] for line in run.outlines if "::" in line]
    cells = [f"[linear-n100-{size}-slice]" for size in ("b32", "bfull")]
    assert kept == [*(f"test_timed{cell}" for cell in cells), f"test_step{cells[0]}", "test_own", "test_plain"]


def test_an_option_that_no_cell_meets_is_a_usage_error_with_what_there_is(bench):
    run = bench.runpytest("--mb-batch-size=17", "-k", "test_timed")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: mbbench: --mb-batch-size is '17', but no *: use of 32, 200, full"])
    run.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert bench.runpytest("--mb-batch-size=17", "-k", "test_plain").ret == 0  # as it may stand in addopts


def test_the_grid_of_a_bench_file_may_stand_in_pyproject(pytester):
    table = '[tool.mbbench]\nproblem = "linear"\nn = 100\nbatch-size = [10, "full"]\nseconds = 0.02\n'
    pytester.makepyprojecttoml(table)
    pytester.makepyfile(
        """
        import pytest
        from mbbench import grid

        @pytest.mark.mbbench(repeats=1, seconds=0.02)
        @pytest.mark.parametrize("case", grid(), ids=str)
        def test_it(case, measured):
            measured()
        """
    )
    run = pytester.runpytest("--benchmark-only", "--mb-batch-size=full")
    run.assert_outcomes(passed=1, deselected=1)
    [record] = store.load_records("results")
    assert str(record.case) == "linear-n100-bfull-slice"
