"""The package as others get it: a wheel, installed into an environment of its own, and used there."""

import ast
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata

import pytest
from conftest import ROOT, clean_environment
from packaging.requirements import Requirement

from mbbench.reporting import page

MINE = """\
import torch, mbbench
problem = mbbench.Problem(
    model=lambda: torch.nn.Linear(4, 1),
    loss=torch.nn.functional.mse_loss,
    data=(torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(200, 1)),
)
"""


def pip(*words):
    run = [sys.executable, "-m", "pip", *map(str, words)]
    done = subprocess.run(run, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the wheel's path."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    [made] = folder.glob("mbbench-*.whl")
    return made


def test_the_wheel_holds_the_package_its_page_parts_and_its_types_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    parts = {"py.typed", "cli.py", "reporting/template.html.j2", "reporting/style.css"}
    parts |= {f"reporting/{name}" for name in page.SCRIPTS}
    assert {f"mbbench/{part}" for part in parts} <= set(names)
    assert all(name.startswith(("mbbench/", "mbbench-")) for name in names)
    assert not [name for name in names if name.endswith(".pyc")]


@pytest.mark.parametrize("dependencies", ["borrowed", pytest.param("installed", marks=pytest.mark.long)])
def test_the_wheel_works_in_an_environment_of_its_own(wheel, tmp_path, dependencies):
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    into = ("--python", environment / "bin" / "python", "install", "--quiet", "--no-compile")
    if dependencies == "installed":
        pip(*into, "--constraint", ROOT / "constraints.txt", wheel)
    else:  # those of the tests, without the mbbench that is there: half a minute of a core less
        pip(*into, "--no-deps", wheel)
        [packages] = environment.glob("lib/python*/site-packages")
        (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))

    def typed(*words):
        command = [environment / "bin" / "mbbench", *words]
        done = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = [environment / "bin" / "python", "-c", "import mbbench; print(mbbench.__file__)"]
    assert subprocess.check_output(where, cwd=tmp_path, env=clean_environment(), text=True).startswith(str(environment))
    (tmp_path / "my_model.py").write_text(MINE)
    grid = ("--batch-size", "20,full", "--seconds", "0.05", "--repeats", "1", "--seeds", "1", "--max-steps", "50")
    assert "my_model.py:problem" in typed("run", "my_model.py:problem", *grid, "--threads", "1")
    typed("report")
    assert "my_model.py:problem" in (tmp_path / "reports" / "index.html").read_text()


def test_what_the_package_imports_comes_with_it():
    come, waiting = set(), ["mbbench"]
    while waiting:
        wanted = [Requirement(each) for each in metadata.requires(waiting.pop()) or ()]
        found = {each.name.lower() for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})}
        waiting += found - come
        come |= found
    imported = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module)
    holders = metadata.packages_distributions()
    for name in {each.partition(".")[0] for each in imported} - sys.stdlib_module_names - {"mbbench"}:
        assert come & {holder.lower() for holder in holders[name]}, name
