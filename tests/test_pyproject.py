"""[tool.mbbench]: which file it is read from, what its values become, what is wrong with it; and the grid that it makes."""

from pathlib import Path

import pytest

from mbbench import grid, pyproject
from mbbench.case import UsageError


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a table into a pyproject.toml in the present folder, or in one above or below it."""
    here = tmp_path / "project" / "sub"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)

    def table(text: str, folder: str = ".", head: str = "[tool.mbbench]") -> None:
        Path(folder, "pyproject.toml").write_text(f"{head}\n{text}\n", encoding="utf-8")

    return table


def test_the_nearest_file_with_the_table_is_read_and_its_paths_lead_from_here(write):
    write("line-length = 100", head="[tool.ruff]")
    write('problem = "models/mine.py:problem"\nresults = "records"', "..")
    write('problem = "linear"', "../..")
    assert pyproject.settings() == ("../pyproject.toml", {"problem": "../models/mine.py:problem", "results": "../records"})
    write('problem = "package.module:problem"\nresults = "/records"')
    assert pyproject.settings() == ("pyproject.toml", {"problem": "package.module:problem", "results": "/records"})


def test_values_become_what_would_be_typed_for_them(write):
    write(
        'batch-size = [16, 64, "full"]\nmicro_batch = "none,8"\nn = 1_000\nlr = [0.1, 1e-5]\n'
        "time = 60\nrepeats = 2\nseconds = 1\nshuffle = false"
    )
    assert pyproject.settings().values == {
        "batch-size": "16,64,full",
        "micro-batch": "none,8",
        "n": "1000",
        "lr": "0.1,1e-05",
        "time": "60",
        "repeats": 2,
        "seconds": 1,
        "shuffle": False,
    }


def test_without_a_table_nothing_is_set(write):
    assert pyproject.settings() == (None, {})
    write("")
    assert pyproject.settings() == ("pyproject.toml", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch-szie = 3", "unknown key of [tool.mbbench] in ../pyproject.toml 'batch-szie': did you mean 'batch-size'? "),
        ("repeats = 'three'", "repeats of [tool.mbbench] in ../pyproject.toml is 'three': expected a whole number"),
        ("quick = 1", "quick of [tool.mbbench] in ../pyproject.toml is 1: expected true or false"),
        ("n = [true]", "n of [tool.mbbench] in ../pyproject.toml is [True]: expected text, a number, or a list of them"),
        ("problem = ['a', 'b']", "problem of [tool.mbbench] in ../pyproject.toml is ['a', 'b']: expected text"),
        ("max-steps = 1\nmax_steps = 2", "max-steps of [tool.mbbench] in ../pyproject.toml is given twice"),
        ("n = ", "../pyproject.toml cannot be read: Invalid value (at line 2, column "),
    ],
)
def test_what_is_wrong_is_said_with_key_file_and_what_is_expected(write, text, said):
    write(text, "..")
    with pytest.raises(UsageError) as error:
        pyproject.settings()
    assert str(error.value).startswith(said)


def test_what_is_no_table_is_said(write):
    write("mbbench = 3", head="[tool]")
    with pytest.raises(UsageError, match=r"^\[tool.mbbench\] in pyproject.toml is 3: expected a table"):
        pyproject.settings()


def test_a_grid_without_a_problem_is_that_of_the_table_but_for_what_is_given(write):
    write(
        'problem = "linear"\nn = [100, 200]\nbatch-size = "10,full"\nlr = 0.5\nrows = "host"\nseconds = 3\nshuffle = false'
    )
    name = "linear-n{}-b{}-slice-lr0.5-ordered-rows=host".format
    assert list(map(str, grid())) == [name(100, 10), name(100, "full"), name(200, 10), name(200, "full")]
    assert list(map(str, grid(n_samples=50, batch_size="full", lr=None))) == ["linear-n50-bfull-slice-ordered-rows=host"]
    assert list(map(str, grid("linear", n_samples=50))) == ["linear-n50-bfull-slice"]
    write('problem = "linear"\nn = 1000')
    assert [cell.batch_size for cell in grid()] == [32, 256, None]


def test_a_grid_that_lacks_its_problem_or_its_rows_says_where_to_name_them(write):
    with pytest.raises(UsageError, match=r"no pyproject.toml here or above has \[tool.mbbench\]: name it in either place"):
        grid()
    write("n = 10")
    with pytest.raises(UsageError, match=r"\[tool.mbbench\] in pyproject.toml has none: name it in either place"):
        grid()
    write('problem = "linear"')
    with pytest.raises(UsageError, match="n_samples is not given"):
        grid()
