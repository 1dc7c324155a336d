"""The examples run as their first lines say, in a small size."""

import itertools
import json
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from test_readme import typed

from mbbench import store
from mbbench.case import Case
from mbbench.measuring import trial
from mbbench.measuring.problems import resolve
from mbbench.measuring.training import losses, prepare

EXAMPLES = ROOT / "examples"
SMALL = "--seconds 0.02 --repeats 1 --seeds 1 --max-steps 3 --threads 1 --measure time,convergence"


def test_the_transformer_runs_by_the_words_of_its_first_lines(tmp_path):
    words = command("char_transformer").replace(" --quick", "").replace("examples/", f"{EXAMPLES}/")
    typed(f"{words} {SMALL} --batch-size full", tmp_path)
    records = store.load_records(tmp_path / "results")
    assert {record.measurement.status for record in records} <= {"ok", "budget_exhausted"}
    assert {record.kind for record in records} == {"time", "convergence"}
    (curve,) = [record.measurement.curve.train_loss for record in records if record.measurement.curve]
    assert curve[-1] < curve[0]


@pytest.mark.parametrize("name", ["image_cnn", "tabular", "char_transformer"])
def test_a_problem_that_its_first_lines_name_passes_the_trial_and_learns(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = command(name).split()
    problem, _ = resolve(words[2])
    for loader in ("slice", "dataloader"):
        cell = Case(problem=words[2], n_samples=20, batch_size=8, loader=loader, optimizer="adam", lr=0.01)
        trial.check(problem, cell)
        training = prepare(cell, problem)
        before, _ = losses(training)
        training.train(itertools.islice(training.stream(), 10))
        assert losses(training)[0] < before


def test_a_file_larger_than_the_memory_budget_is_trained_from(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    subprocess.run([sys.executable, EXAMPLES / "big_parquet.py", "500_000"], check=True)
    assert (tmp_path / "mbbench-big.parquet").stat().st_size > 80 * 2**20
    words = command("big_parquet").replace("examples/", f"{EXAMPLES}/").replace("100MiB", "75MiB")
    typed(f"{words} --seconds 0.02 --repeats 1 --threads 1", tmp_path)
    assert {record.measurement.status for record in store.load_records(tmp_path / "results")} == {"ok"}


def test_a_watched_script_says_what_it_saw(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "watch_script.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "mbbench watched Sequential with Adam: 630 steps of about 3" in done.stdout
    assert "mbbench run " in done.stdout


def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    script = code.replace("mbbench.run(", "shown = mbbench.run(").replace(
        "quick=True", "measure=['time'], seconds=0.02, repeats=1"
    )
    script += "\nprint(shown.to_string())\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "full" in done.stdout
    assert (tmp_path / "results").is_dir()


def command(name: str) -> str:
    """Return what the first lines of an example say to type."""
    (found,) = re.findall(r"^mbbench (run .*)$", (EXAMPLES / f"{name}.py").read_text(), flags=re.MULTILINE)
    return f"mbbench {found}"


def test_every_example_that_the_readme_names_is_there_and_the_other_way_round():
    named = set(re.findall(r"\]\(examples/([a-z_.]+)\)", (ROOT / "README.md").read_text()))
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")} - {"make_houses.py"}
    assert named == there
