"""What somebody asked for that cannot be: the error that says so, and checks of names."""

import difflib
from collections.abc import Collection
from pathlib import PurePosixPath, PureWindowsPath


class UsageError(ValueError):
    """Something was asked for that cannot be; the message says what came, what was expected and what to do.

    Attributes:
        details: the user's own traceback, where theirs is at fault; "" elsewhere.
    """

    def __init__(self, message: str, details: str = "") -> None:
        """Take both."""
        super().__init__(message)
        self.details = details


def check_name(what: str, name: str, known: Collection[str]) -> None:
    """Raise UsageError, with the nearest known name, where `name` is not one of `known`."""
    if not isinstance(name, str):
        raise UsageError(f"{what} is a {type(name).__name__}: give a name, one of {', '.join(known)}")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"unknown {what} {name!r}: {hint}expected one of {', '.join(known)}")


def check_relative(what: str, name: str) -> None:
    """Raise UsageError where "file.py:name" is an absolute path, on whatever system."""
    place = name.rpartition(":")[0]
    if PurePosixPath(place).is_absolute() or PureWindowsPath(place).is_absolute():
        raise UsageError(f"{what} is {name!r}: a record holds no absolute path, give it relative")
