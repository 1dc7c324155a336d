"""The package as others get it: a wheel, installed into an empty environment with what it depends on, and used there."""

import subprocess
import time
import zipfile

import pytest
from conftest import clean_environment

from mbbench.reporting import page

MINE = """\
import torch, mbbench
problem = mbbench.Problem(
    model=lambda: torch.nn.Linear(4, 1),
    loss=torch.nn.functional.mse_loss,
    data=(torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(200, 1)),
)
"""


@pytest.fixture(scope="module")
def installed(installing):
    """Return the folder with the wheel and the environment it is installed into."""
    status, until = installing / "status", time.monotonic() + 280
    while not status.exists():
        assert time.monotonic() < until, (installing / "log").read_text()
        time.sleep(0.1)
    assert status.read_text() == "0\n", (installing / "log").read_text()
    return installing


def test_the_wheel_holds_the_package_its_page_parts_and_its_types_and_nothing_else(installed):
    [wheel] = installed.glob("mbbench-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    parts = {"py.typed", "cli.py", "reporting/template.html.j2", "reporting/style.css"}
    parts |= {f"reporting/{name}" for name in page.SCRIPTS}
    assert {f"mbbench/{part}" for part in parts} <= set(names)
    assert all(name.startswith(("mbbench/", "mbbench-")) for name in names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_wheel_works_in_an_empty_environment(installed, tmp_path):
    def typed(*words):
        command = [installed / "env" / "bin" / "mbbench", *words]
        done = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (tmp_path / "my_model.py").write_text(MINE)
    grid = ("--batch-size", "20,full", "--seconds", "0.05", "--repeats", "1", "--seeds", "1", "--max-steps", "50")
    assert "my_model.py:problem" in typed("run", "my_model.py:problem", *grid, "--threads", "1")
    typed("report")
    assert "my_model.py:problem" in (tmp_path / "reports" / "index.html").read_text()
