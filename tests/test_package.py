"""The package as others get it: a wheel, installed into an empty environment with what it depends on, and used there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MINE = """\
import torch, mbbench
problem = mbbench.Problem(
    model=lambda: torch.nn.Linear(4, 1),
    loss=torch.nn.functional.mse_loss,
    data=(torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(200, 1)),
)
"""


def run(*command, cwd, **environ):
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, env=clean | environ, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    [built] = folder.glob("mbbench-*.whl")
    return built


def test_the_wheel_holds_the_package_its_page_parts_and_its_types_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"mbbench/py.typed", "mbbench/cli.py", "mbbench/reporting/template.html.j2"} <= set(names)
    assert all(name.startswith(("mbbench/", "mbbench-")) for name in names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    # --no-compile: half a minute of byte-compiling torch, for one use.
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile")
    run(*pip, "--constraint", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    (tmp_path / "my_model.py").write_text(MINE)
    command = (python.parent / "mbbench", "run", "my_model.py:problem", "--batch-size", "20,full", "--seconds", "0.05")
    shown = run(*command, "--repeats", "1", "--seeds", "1", "--max-steps", "50", "--threads", "1", cwd=tmp_path)
    assert "my_model.py:problem" in shown
    run(python.parent / "mbbench", "report", cwd=tmp_path)
    page = (tmp_path / "reports" / "index.html").read_text()
    assert "my_model.py:problem" in page
