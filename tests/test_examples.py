"""The examples run as their first lines say, in a small size."""

import json
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from test_readme import typed

from mbbench import store

EXAMPLES = ROOT / "examples"
SMALL = "--seconds 0.02 --repeats 1 --seeds 1 --max-steps 3 --threads 1 --measure time,convergence"


@pytest.mark.parametrize("name", ["image_cnn", "tabular", "char_transformer"])
def test_a_problem_runs_by_the_words_of_its_first_lines(name, tmp_path):
    words = command(name).replace(" --quick", "").replace("examples/", f"{EXAMPLES}/")
    typed(f"{words} {SMALL} --batch-size full", tmp_path)
    records = store.load_records(tmp_path / "results")
    assert {record.measurement.status for record in records} <= {"ok", "budget_exhausted"}
    assert {record.kind for record in records} == {"time", "convergence"}
    losses = [record.measurement.curve.train_loss for record in records if record.measurement.curve]
    assert all(each[-1] < each[0] for each in losses)


def test_a_file_larger_than_the_memory_budget_is_trained_from(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    subprocess.run([sys.executable, EXAMPLES / "big_parquet.py", "800_000"], check=True)
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
