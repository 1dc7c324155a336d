"""The command line as a person types it: what it says, its exit codes, and that nothing measured is lost."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
import webbrowser

import planted
import pytest
import torch

import mbbench
from mbbench import cli, store
from mbbench.case import UsageError
from mbbench.record import encode

TINY = ("--seconds", "0.02", "--repeats", "1", "--seeds", "1", "--max-steps", "20", "--threads", "1")


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """Return a function that types a command in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def type_(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mbbench", *words])
        warnings.simplefilter("default")  # pytest makes them errors; a person sees them as lines
        with pytest.raises(SystemExit) as end:
            cli.main()
        code = end.value.code or 0
        shown = capsys.readouterr()
        return int(code), shown.out, shown.err

    return type_


def test_a_run_ends_with_a_table_a_verdict_and_where_its_records_are_and_resumes(typed, tmp_path):
    command = ("run", "digits-mlp", "--batch-size", "64,full", "--n", "500", *TINY)
    code, out, _ = typed(*command)
    assert code == 0
    assert "digits-mlp" in out
    assert "mbbench report results" in out
    records = store.load_records(tmp_path / "results")
    assert len(records) == 6
    assert {record.measurement.status for record in records} <= {"ok", "budget_exhausted"}
    code, out, err = typed(*command)
    assert code == 0
    assert "6 of 6 are measured already" in err
    assert len(store.load_records(tmp_path / "results")) == 6
    code, _, _ = typed("run", "digits-mlp", "--batch-size", "64", "--n", "500", "--measure", "time", *TINY, "--again")
    assert len(store.load_records(tmp_path / "results")) == 7
    frame = mbbench.load(tmp_path / "results")
    timed = frame[frame.kind == "time"]
    assert (timed.samples_per_s * timed.epoch_s).tolist() == pytest.approx([500] * len(timed))
    assert set(mbbench.curves(tmp_path / "results").columns) >= {
        *("problem", "loader", "seed", "step", "epoch", "samples", "train_s", "train_loss", "heldout_loss")
    }
    code, out, _ = typed("list")
    assert code == 0
    assert "digits-mlp: " in out
    code, out, _ = typed("report")
    assert code == 0
    assert "report: reports/index.html" in out
    assert (tmp_path / "reports" / "index.html").is_file()


def test_a_profile_is_a_pass_of_its_own_that_says_where_a_step_goes(typed, tmp_path):
    code, out, _ = typed("run", "digits-mlp", "--batch-size", "8", "--measure", "profile", *TINY)
    assert code == 0
    assert "Step: " in out
    assert "of a step goes to" in out
    [record] = store.load_records(tmp_path / "results")
    assert (record.kind, record.measurement.status) == ("profile", "ok")
    assert "profile" not in mbbench.load(tmp_path / "results").columns


def test_a_profile_of_one_cell_is_a_table_and_a_trace_and_no_record(typed, tmp_path):
    code, out, _ = typed("run", "digits-mlp", "--batch-size", "8", "--threads", "1", "--profile")
    assert code == 0
    assert "aten::addmm" in out
    assert "https://ui.perfetto.dev" in out
    [trace] = tmp_path.iterdir()
    assert trace.name == "trace-digits-mlp-n1438-b8-slice.json"
    assert json.loads(trace.read_text())["traceEvents"]


def test_a_profile_that_cannot_be_made_leaves_no_file(typed, tmp_path):
    code, _, err = typed("run", "digits-mlp", "--profile")
    assert (code, err) == (
        2,
        "mbbench: --profile traces one cell, and the grid has 3: batch_size is 32, 256, full: name one of each\n",
    )
    (tmp_path / "mine.py").write_text(
        "import os, torch, mbbench\n"
        "problem = mbbench.Problem(model=lambda: torch.nn.Linear(2, 1), loss=lambda p, t: os._exit(3),\n"
        "    data=(torch.zeros(28, 2), torch.zeros(28, 1)), held_out=0)\n"
    )
    code, out, err = typed("run", "mine.py:problem", "--batch-size", "7", "--threads", "1", "--profile")
    assert (code, out) == (1, "")
    cell = "mine.py:problem-n28-b7-slice"
    assert err == f"mbbench: no trace of {cell}: crash: the process died in phase warm-up: exit code 3\n"
    (tmp_path / "trace-mine.py-problem-n28-bfull-slice.json").mkdir()
    code, _, err = typed("run", "mine.py:problem", "--batch-size", "full", "--threads", "1", "--profile")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be written: Is a directory" in err
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine.py"]


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(typed, tmp_path):
    code, out, _ = typed("run", "linear", "--batch-size", "32,full", "--dry-run", *TINY)
    assert code == 0
    assert "6 passes over 2 cells" in out
    assert not (tmp_path / "results").exists()


def test_a_grid_keeps_going_past_cells_with_too_large_a_batch_and_records_them(typed, tmp_path):
    code, _, _ = typed("run", "linear", "--n", "50,200", "--batch-size", "100", "--measure", "time", *TINY)
    assert code == 0
    states = [record.measurement.status for record in store.load_records(tmp_path / "results")]
    assert sorted(states) == ["not_applicable", "ok"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "linear", "--batch-size", "0"), "batch_size is 0: use 1 or more"),
        (("run", "linear", "--n", "100", "--batch-size", "128"), "batch_size is 128, but the data set has 100 samples"),
        (("run", "linear", "--batch-size", "many"), "batch_size is 'many': expected a whole number"),
        (("run", "digits-mpl"), "unknown problem 'digits-mpl': did you mean 'digits-mlp'?"),
        (("run", "linear", "--loader", "slise"), "unknown loader 'slise': did you mean 'slice'?"),
        (("run", "linear", "--optimizer", "lion"), "unknown optimizer 'lion'"),
        (("run", "linear", "--device", "gpu0"), "unknown device 'gpu0'"),
        (("run", "linear", "--device", "warp"), "no warp device here"),
        (("run", "linear", "--n", "0"), "n_samples is 0: expected a whole number from 1 up"),
        (("run", "linear", "--n", "ten"), "n is 'ten': expected numbers separated by commas"),
        (("run", "linear", "--n", ""), "axis n_samples is empty"),
        (("run", "digits-mlp", "--n", "5000"), "n is 5000, but digits-mlp has 1797 samples"),
        (("run", "linear", "--lr", "-1"), "lr is -1.0: expected a finite learning rate above 0"),
        (("run", "linear", "--seeds", "0"), "seeds is 0: expected a number above 0"),
        (("run", "linear", "--measure", "speed"), "unknown pass 'speed'"),
        (("run", "linear", "--rows", "disk"), "unknown value of option rows 'disk'"),
        (("run", "nowhere.py:problem"), "there is no file nowhere.py"),
        (("run", "linear", "--results", "taken"), "results cannot be written to taken"),
        (("report", "taken"), "taken, line 1 is not a record"),
        (("report", "nothing"), "nothing does not exist"),
        (("report", "empty"), "empty holds no records"),
    ],
)
def test_bad_input_gets_one_clear_line_and_exit_code_2(typed, tmp_path, words, said):
    (tmp_path / "taken").write_text("not a record\n")
    (tmp_path / "empty").mkdir()
    code, out, err = typed(*words)
    assert code == 2
    assert err.startswith(f"mbbench: {said}")
    assert err.count("\n") == 1
    assert not out


THEIRS = """
import torch, mbbench
from torch.nn.functional import cross_entropy, mse_loss
x, y = torch.randn(40, 4), torch.arange(40) % 3
made = lambda **changes: mbbench.Problem(
    **{"model": lambda: torch.nn.Linear(4, 3), "loss": cross_entropy, "data": (x, y)} | changes)
def vector(): return made(loss=lambda found, y: cross_entropy(found, y, reduction="none"))
def shapes(): return made(data=(x[:, :3], y))
def unset(): return made(data=(x.masked_fill(x > 1.5, torch.nan), y))
def endless(): return made(data=(row for row in x))
def labels(): return made(data=(x, y + 1))
"""


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ("shape", "theirs.py has no attribute 'shape': did you mean 'shapes'?"),
        ("vector", "the loss has shape (32,): return one number, the mean over the rows"),
        ("shapes", "one step on 32 rows fails: RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x3 and 4x3)"),
        ("unset", "data holds a value that is not finite (NaN or infinite) in row "),
        ("endless", "data is a generator, which does not say how many rows it has"),
        ("labels", "one step on 32 rows fails: IndexError: Target 3 is out of bounds."),
    ],
)
def test_a_problem_that_cannot_work_is_told_so_before_anything_is_measured(typed, tmp_path, problem, said):
    (tmp_path / "theirs.py").write_text(THEIRS)
    code, out, err = typed("run", f"theirs.py:{problem}")
    assert code == 2
    *_, line = err.splitlines()
    assert line.startswith(f"mbbench: {said}")
    assert not out
    assert not (tmp_path / "results").exists()


def test_a_file_that_does_not_import_shows_its_own_traceback_and_none_of_ours(typed, tmp_path):
    (tmp_path / "theirs.py").write_text("import mbbench\ndef half(): return 1 / 0\nproblem = half()\n")
    code, _, err = typed("run", "theirs.py:problem")
    assert code == 2
    first, *frames, line = err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert frames[0].endswith('theirs.py", line 3, in <module>')
    assert frames[-1] == "ZeroDivisionError: division by zero"
    assert "site-packages" not in err
    assert "measuring" not in err
    assert line == "mbbench: ZeroDivisionError: division by zero (theirs.py, line 2)"


def test_a_file_that_is_no_python_shows_the_line_that_is_none(typed, tmp_path):
    (tmp_path / "theirs.py").write_text("import mbbench\nproblem = mbbench.Problem(\n")
    code, _, err = typed("run", "theirs.py:problem")
    assert code == 2
    assert 'theirs.py", line 2' in err
    assert "measuring" not in err
    assert err.splitlines()[-1].startswith("mbbench: SyntaxError: '(' was never closed")


def test_a_problem_that_cannot_be_sent_to_a_process_is_told_so():
    locked = functools.partial(torch.nn.functional.mse_loss, reduction=threading.Lock())
    problem = mbbench.Problem(model=lambda: None, loss=locked, data=([[1.0]], [[1.0]]))
    with pytest.raises(UsageError, match=r"the problem cannot be sent to a process of its own .*lock.*file\.py:problem"):
        mbbench.run(problem)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batchsize": 16}, "unknown option 'batchsize': did you mean 'batch_size'?"),
        ({"time": "soon"}, "time is 'soon': expected a time above 0"),
        ({"autocast": "bf8"}, "unknown value of option autocast 'bf8'"),
        ({"optimizer": torch.optim.AdamW}, "optimizer is a type: give its name, as my_model.py:name"),
    ],
)
def test_what_python_asks_for_is_checked_as_what_is_typed(tmp_path, options, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        mbbench.run("linear", results=tmp_path, **options)


def test_report_puts_two_folders_side_by_side_writes_its_figures_and_opens_the_page(typed, tmp_path, monkeypatch):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        records = planted.records(sizes=(8, 64))
        (tmp_path / name / "run.jsonl").write_bytes(b"".join(encode(record) for record in records))
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    code, out, _ = typed("report", "old", "new", "-o", "page/index.html", "--figures", "page/pictures", "--open")
    assert code == 0
    assert "report: page/index.html" in out
    assert "A: old" in (tmp_path / "page" / "index.html").read_text()
    assert {path.suffix for path in (tmp_path / "page" / "pictures").iterdir()} == {".svg", ".png", ".pdf"}
    assert opened == [(tmp_path / "page" / "index.html").as_uri()]
    (tmp_path / "empty").mkdir()
    code, out, err = typed("report", "old", "empty")
    assert (code, out) == (2, "")
    assert err == "mbbench: empty holds no records: measure first, with `mbbench run` or `pytest bench/`\n"
    code, out, err = typed("report", "old", "--figures", "old/run.jsonl")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"mbbench: old/run.jsonl cannot be written \(.*\): give another with --figures DIR\n", err)


def test_an_unknown_option_is_a_usage_error(typed):
    code, _, err = typed("run", "linear", "--bacth-size", "3")
    assert code == 2
    assert "--batch-size" in err


def test_a_cell_that_fails_makes_exit_code_1_and_the_others_go_on(typed, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch, mbbench\n"
        "def loss(prediction, target):\n"
        "    if len(target) == 7: raise RuntimeError('seven rows')\n"
        "    return ((prediction - target) ** 2).mean()\n"
        "problem = mbbench.Problem(model=lambda: torch.nn.Linear(2, 1), loss=loss,\n"
        "    data=(torch.zeros(28, 2), torch.zeros(28, 1)), held_out=0)\n"
    )
    code, _, err = typed("run", "mine.py:problem", "--batch-size", "7,14,full", "--measure", "time", *TINY)
    assert code == 1
    assert "RuntimeError: seven rows (mine.py, line 3)" in err
    assert str(tmp_path) not in err
    assert "Traceback" not in err
    states = {record.case.batch_size: record.measurement.status for record in store.load_records(tmp_path / "results")}
    assert states == {7: "error", 14: "ok", None: "ok"}


def test_shapes_that_broadcast_are_measured_and_said(typed, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch, mbbench\n"
        "problem = mbbench.Problem(model=lambda: torch.nn.Linear(2, 3), loss=torch.nn.functional.mse_loss,\n"
        "    data=(torch.randn(28, 2), torch.zeros(28, 1)), held_out=0)\n"
    )
    code, out, _ = typed("run", "mine.py:problem", "--batch-size", "7,full", *TINY)
    assert code == 0
    assert "said: warned: UserWarning: Using a target size" in out


def test_a_results_file_cut_off_in_its_last_line_loads_without_it_and_says_so(typed, tmp_path):
    typed("run", "linear", "--batch-size", "32,full", "--measure", "time", *TINY)
    [file] = (tmp_path / "results").glob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-40])
    code, _, err = typed("report")
    assert code == 0
    assert "the last line was cut off and is left out" in err
    with pytest.warns(UserWarning, match="the last line was cut off"):
        assert len(mbbench.load(tmp_path / "results")) == 1


def test_ctrl_c_keeps_what_is_measured_and_ends_with_130(tmp_path):
    command = ("-m", "mbbench", "run", "linear", "--batch-size", "16,32,64,full", "--seconds", "0.3", "--measure", "time")
    process = subprocess.Popen(
        [sys.executable, *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    results = tmp_path / "results"
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size for file in results.glob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    kept = store.load_records(results)
    assert 1 <= len(kept) < 12
    assert f"{len(kept)} of 12 are measured and kept" in " ".join(err.split())


def test_every_command_has_an_example_in_its_help(typed):
    for command in ("run", "report", "list", "notebook"):
        code, out, _ = typed(command, "--help")
        assert code == 0
        assert f"Example: mbbench {command}" in " ".join(out.split())


def test_the_version_is_said(typed):
    assert typed("--version")[1].strip() == mbbench.__version__


def test_advise_says_the_answer_in_words_and_as_json(typed, tmp_path):
    path = tmp_path / "results" / "run.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"".join(encode(record) for record in planted.records(sizes=(1, 8, 64, 512, 4096))))
    code, out, _ = typed("advise")
    assert code == 0
    assert out.startswith("digits-mlp, n = 4,096, CPU, 2 threads, slice\n  With slice, batch")
    assert "reaches loss 0.1 first" in out
    code, out, _ = typed("advise", str(path), "--json")
    (found,) = json.loads(out)
    assert code == 0
    assert found["time_to_target_s"] == pytest.approx(0.0328, rel=1e-6)
    code, out, _ = typed("report")
    assert code == 0
    assert "Recommended: batch" in out


def test_advise_without_a_search_says_how_to_make_one(typed, tmp_path):
    code, _, err = typed("advise", str(tmp_path / "nothing"))
    assert code == 2
    assert "does not exist" in err
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"".join(encode(record) for record in planted.records(sizes=(8, 64), searched=())))
    code, out, err = typed("advise", str(path))
    assert (code, out) == (2, "")
    assert "mbbench run digits-mlp --time 60s" in err
