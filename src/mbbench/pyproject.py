"""The grid in a project's pyproject.toml: what [tool.mbbench] says, for `mbbench run` and for bench files.

Easy to get wrong: a file in a parent folder names its own files from there, so their paths are turned into ones from here.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mbbench.case import UsageError, check_name

FILE = "pyproject.toml"
Value = bool | int | float | str
KINDS: dict[str, tuple[Any, str]] = {
    "text": (str, "text"),
    "amount": (str | int | float, "text or a number"),
    "several": (str | int | float | list[str | int | float], "text, a number, or a list of them"),
    "whole": (int, "a whole number"),
    "number": (float, "a number"),
    "switch": (bool, "true or false"),
}
"""What a key may hold: as msgspec checks it, and in words."""
KEYS: dict[str, str] = {
    **dict.fromkeys(("problem", "rows", "malloc", "results", "autocast", "schedule", "metric", "meter"), "text"),
    **dict.fromkeys(("time", "memory-budget", "clip"), "amount"),
    **dict.fromkeys(("batch-size", "micro-batch", "n", "lr", "threads", "loader", "device", "optimizer"), "several"),
    **dict.fromkeys(("dtype", "measure", "lr-policy"), "several"),
    **dict.fromkeys(("seeds", "repeats", "max-steps"), "whole"),
    **dict.fromkeys(("target", "seconds", "max-seconds", "timeout"), "number"),
    **dict.fromkeys(("shuffle", "predict", "quick", "again", "dry-run", "profile", "channels-last"), "switch"),
}
"""The long option names of `mbbench run`, without their dashes, and the kind of each."""
OWN = ("problem", "loader", "optimizer", "schedule", "metric", "meter")
"""Keys that may name something of the user's own, as file.py:name."""


class Settings(NamedTuple):
    """What was found.

    Attributes:
        file: the pyproject.toml, as it is reached from here; None where none has the table.
        values: by key; a list, and a number where text is expected, as it would be typed on the command line.
    """

    file: str | None
    values: dict[str, Value]


def settings() -> Settings:
    """Return what the nearest pyproject.toml that has [tool.mbbench] says, in the working directory or above it.

    Raises:
        UsageError: a file on the way cannot be read, or a key or a value is none that there is.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        shown = os.path.relpath(folder / FILE, here)
        table = _table(folder / FILE, shown)
        if table is None:
            continue
        values: dict[str, Value] = {}
        for written, value in table.items():
            key = written.replace("_", "-")
            check_name(f"key of [tool.mbbench] in {shown}", key, KEYS)
            if key in values:
                raise UsageError(f"{key} of [tool.mbbench] in {shown} is given twice, with a dash and with an underscore")
            values[key] = _from(folder, here, key, _checked(key, value, shown))
        return Settings(shown, values)
    return Settings(None, {})


def _table(path: Path, shown: str) -> dict[str, Any] | None:
    try:
        if not path.is_file():
            return None
        tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool")
    except (OSError, ValueError) as error:  # no TOML, no UTF-8
        raise UsageError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    table = tool.get("mbbench") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"[tool.mbbench] in {shown} is {table!r}: expected a table of options of `mbbench run`")
    return table


def _checked(key: str, value: Any, shown: str) -> Value:
    kind = KEYS[key]
    expected, words = KINDS[kind]
    try:
        msgspec.convert(value, type=expected)
    except msgspec.ValidationError:
        raise UsageError(f"{key} of [tool.mbbench] in {shown} is {value!r}: expected {words}") from None
    if kind in ("whole", "number", "switch"):
        return value  # type: ignore[no-any-return]
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _from(folder: Path, here: Path, key: str, value: Value) -> Value:
    """Return a value whose paths, if it names any, lead from here to what it names beside the file."""
    if key == "results":
        return _relative(folder, here, str(value))
    if key not in OWN:
        return value
    parts = [each.rpartition(":") for each in str(value).split(",")]
    found = [_relative(folder, here, file) if file.endswith(".py") else file for file, _, _ in parts]
    return ",".join(f"{file}{colon}{name}" for file, (_, colon, name) in zip(found, parts, strict=True))


def _relative(folder: Path, here: Path, file: str) -> str:
    return file if Path(file).is_absolute() else Path(os.path.relpath(folder / file, here)).as_posix()
