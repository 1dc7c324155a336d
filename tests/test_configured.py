"""The options of `mbbench run` and [tool.mbbench]: the same names and kinds, and what is typed wins."""

import inspect
import sys
import typing
from pathlib import Path

import pytest
import typer

from mbbench import cli, pyproject

TABLE = """[tool.mbbench]
problem = "linear"
batch-size = [16, "full"]
n = 500
repeats = 2
shuffle = false
"""


@pytest.fixture
def planned(monkeypatch, capsys, tmp_path):
    """Return a function that types `mbbench run ...`: what a plan is asked for, or the exit code, and what is said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.api, "plan", lambda problem, **axes: asked.update(axes, problem=problem) or sys.exit(0))
    asked: dict[str, object] = {}

    def type_(*words: str) -> tuple[dict[str, object], int, str]:
        asked.clear()
        monkeypatch.setattr(sys, "argv", ["mbbench", "run", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        shown = capsys.readouterr()
        return dict(asked), int(end.value.code or 0), shown.err + shown.out

    return type_


def test_every_option_has_a_key_of_its_kind_and_every_key_an_option():
    command = typer.main.get_command(cli.app).commands["run"]
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    kinds = {int: "whole", float: "number", bool: "switch"}
    options = {max(param.opts, key=len).lstrip("-"): hints[param.name] for param in command.params}
    assert set(options) == set(pyproject.KEYS)
    for key, hint in options.items():
        [kind] = {each for each in (*typing.get_args(hint), hint) if isinstance(each, type) and each is not type(None)}
        assert pyproject.KEYS[key] in ([kinds[kind]] if kind in kinds else ["text", "amount", "several"]), key


def test_what_is_not_typed_is_taken_from_the_table_and_said(planned):
    Path("pyproject.toml").write_text(TABLE)
    asked, code, said = planned("--n", "100", "--shuffle")
    assert code == 0
    assert asked["problem"] == "linear"
    assert (asked["batch_size"], asked["n"], asked["repeats"], asked["shuffle"]) == (["16", "full"], [100], 2, True)
    assert said == "from [tool.mbbench] in pyproject.toml: problem, batch-size, repeats\n"
    assert planned("mlp")[0]["problem"] == "mlp"


def test_a_wrong_table_is_one_line_and_help_is_shown_all_the_same(planned):
    Path("pyproject.toml").write_text("[tool.mbbench]\nloder = 'slice'\n")
    asked, code, said = planned("linear")
    assert (asked, code) == ({}, 2)
    assert said.startswith("mbbench: unknown key of [tool.mbbench] in pyproject.toml 'loder': did you mean 'loader'?")
    assert said.count("\n") == 1
    assert planned("--help")[1] == 0


def test_a_run_without_a_problem_says_where_to_name_one(planned):
    assert planned()[1:] == (2, f"mbbench: {cli.NAMELESS}\n")
