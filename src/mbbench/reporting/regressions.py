"""The regression part of the page: its verdict, its figure and its table, from a comparison that somebody else's file holds.

Easy to get wrong: names and messages are the user's and may hold what no SVG can (control characters) and what a page should
not show (folders of a machine), so all of them are cleaned here, once; and a page without a comparison says how to make one.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbbench.case import UsageError
from mbbench.reporting import compared, readable, regression_chart, regression_words
from mbbench.reporting.compared import Comparison, Row
from mbbench.reporting.compared_words import ended, headline, ran
from mbbench.reporting.frames import Drawer, Frame
from mbbench.reporting.regression_rows import panels
from mbbench.scrub import scrub

ANCHOR = "regressions"
HOW = ("mbbench compare BASE --json > compare.json", "mbbench report RESULTS --compare compare.json")
"""The commands that fill this part."""
FILL = ("mbbench run PROBLEM --time 60s", "mbbench report results/ --compare compare.json")
"""The commands that fill all others."""
OPEN = 12
"""Rows of a table that is not folded away."""
GOOD = ("same", "improved")
"""Verdicts that need no doubt."""


@dataclass(frozen=True)
class Regressions:
    """What the page says of a comparison.

    Attributes:
        headline: the verdict in a sentence or two.
        mood: "good", "bad" or "doubt".
        about: what was compared, and what was not.
        frame: figure, method and table; without pictures where there is nothing to draw.
        notes: what else a reader should know.
    """

    headline: str
    mood: str
    about: str
    frame: Frame
    notes: tuple[str, ...]


def load(path: Path) -> Comparison:
    """Return the comparison in a file.

    Raises:
        UsageError: there is none, with how to write one.
    """
    how = f"write it with `{HOW[0]}`"
    try:
        return compared.from_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): {how}") from None
    except ValueError as error:
        raise UsageError(f"{path} is {error}: {how}") from None


def part(found: Comparison, picture: Drawer) -> Regressions:
    """Return what the page says of a comparison that is `clean`, with its figure drawn."""
    drawn = panels(found) if found.rows else []
    said = regression_words.finding(found)
    pictures = (picture("forest", "", said, lambda: regression_chart.forest(drawn)),) if drawn else ()
    frame = Frame("", False, pictures, regression_words.method(found), regression_words.table(found))
    good = found.verdict in GOOD and not found.unfinished and not found.lost
    mood = "bad" if found.regressions else "good" if good else "doubt"
    about = [readable.first_up(ran(found)), ended(found) if found.unfinished else "", regression_words.left_out(found)]
    modules = sorted({name for side in found.own.values() for name in side})
    notes = [*found.notices, *found.notes, *([f"Each side ran its own {', '.join(modules)}."] if modules else [])]
    return Regressions(headline(found), mood, " ".join(filter(None, about)), frame, tuple(notes))


def clean(found: Comparison) -> Comparison:
    """Return the comparison with texts that can be drawn and shown: printable, and its messages without folders."""
    fields: dict[str, Any] = {name: _clean(getattr(found, name)) for name in ("base", "head", "missing", "new")}
    fields |= {name: _clean(getattr(found, name), message=True) for name in ("notes", "notices", "lost", "unfinished")}
    fields["own"] = {side: {_clean(name): "" for name in modules} for side, modules in found.own.items()}
    fields["rows"] = [_row(row) for row in found.rows]
    fields["control"] = None if found.control is None else _row(found.control)
    return dataclasses.replace(found, **fields)


def _row(row: Row) -> Row:
    return row._replace(name=_clean(row.name), change=dataclasses.replace(row.change, clock=_clean(row.change.clock)))


def _clean(said: Any, message: bool = False) -> Any:
    """Return a text, or each of several, without what is not printable; of a message, without folders."""
    if isinstance(said, dict):
        return {_clean(name): _clean(text, message) for name, text in said.items()}
    if isinstance(said, list | tuple):
        return type(said)(_clean(each, message) for each in said)
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(said.split()))
    return scrub(text) if message else text
