"""What the README tells people to type is typed here: its model, its commands, its bench, its make targets."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import mbbench
from mbbench import store

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def typed(words: str, folder: Path) -> str:
    command = [sys.executable, "-m", *shlex.split(words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the README's model in it."""
    [model] = [block for block in blocks("python") if "my_model.py" in block and "Problem(" in block]
    (tmp_path / "my_model.py").write_text(model)
    return tmp_path


def test_the_readmes_model_is_eight_lines_at_most_and_runs_by_the_readmes_words(folder):
    code = [line for line in (folder / "my_model.py").read_text().splitlines() if line and not line.startswith("#")]
    assert len(code) <= 8
    within, run = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("mbbench run")]
    assert "8 cells" in typed(f"{run} --dry-run", folder)
    assert "within 60 s" in typed(f"{within} --dry-run", folder)


def test_the_readmes_bench_runs_in_pytest(folder):
    [bench] = [block for block in blocks("python") if "measured()" in block]
    (folder / "bench").mkdir()
    (folder / "bench" / "test_mine.py").write_text(bench.replace("seconds=0.5, repeats=3", "seconds=0.02, repeats=1"))
    shown = typed("pytest bench/ --benchmark-only -p no:cacheprovider", folder)
    assert "6 passed" in shown
    assert "6 records in results" in shown
    assert len(store.load_records(folder / "results")) == 6


def test_every_make_target_and_file_that_the_readme_names_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for named in re.findall(r"`make ([a-z -]+)`", README):
        assert set(named.split()) <= targets
    for linked in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / linked).stat().st_size, linked


def test_every_command_that_the_readme_names_is_there(folder):
    for command in re.findall(r"^\| `mbbench ([a-z]+)", README, flags=re.MULTILINE):
        assert "Example: mbbench" in typed(f"mbbench {command} --help", folder)


def test_the_readmes_pyproject_holds_a_grid(tmp_path, monkeypatch):
    [table] = blocks("toml")
    (tmp_path / "pyproject.toml").write_text(table)
    monkeypatch.chdir(tmp_path)
    assert len(mbbench.grid()) == 3 * 2
