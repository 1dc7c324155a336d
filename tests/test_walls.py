"""The house: two wings that never import each other, a ground floor that knows neither torch nor pandas."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "mbbench"
GROUND = (
    *("__init__", "axes", "case", "record", "scrub", "store", "maxbatch", "listing", "search"),
    *("narrowing", "notebook_data", "options", "placing", "profile", "pyproject", "readings", "replay", "scaling", "seen"),
    *("trace", "usage"),
)
HEAVY = ("torch", "pandas", "seaborn", "matplotlib", "scipy")


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere, inside functions too, but not only for type checking."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update({str(node.module), *(f"{node.module}.{name.name}" for name in node.names)})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def belongs(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", sorted((SOURCE / "measuring").glob("*.py")), ids=lambda path: path.stem)
def test_measuring_never_imports_the_report(path):
    assert not [name for name in imported(path) if belongs(name, "mbbench.reporting", *HEAVY[1:])]


@pytest.mark.parametrize("path", sorted((SOURCE / "reporting").glob("*.py")), ids=lambda path: path.stem)
def test_reporting_never_imports_measuring_nor_torch(path):
    names = imported(path)
    assert not [name for name in names if belongs(name, "torch")]
    known = ("mbbench.reporting", *(f"mbbench.{name}" for name in GROUND))
    assert not [name for name in names if name.startswith("mbbench.") and not belongs(name, *known)]


@pytest.mark.parametrize("name", GROUND)
def test_the_ground_floor_imports_neither_wing_nor_their_libraries(name):
    names = imported(SOURCE / f"{name}.py")
    assert not [each for each in names if belongs(each, "mbbench.measuring", "mbbench.reporting", *HEAVY)]


@pytest.mark.parametrize(
    "module",
    ["mbbench", "mbbench.cli", "mbbench.api", "mbbench.pytest_plugin", "mbbench.measuring.session", "mbbench.listing"],
)
def test_the_parent_of_a_measurement_imports_neither_torch_nor_pandas(module):
    code = f"import sys, {module}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_of_the_package_exists():
    import mbbench

    assert all(getattr(mbbench, name) is not None for name in mbbench.__all__)
    assert set(mbbench.__all__) <= set(dir(mbbench))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mbbench.nothing
