"""Make a report as somebody asks for it, from which records, with which figures where; it shows itself in a notebook.

Easy to get wrong: two folders are two sets to be compared, anything else is one set; and what a notebook shows is a page
in a page, so it is escaped, and its links to files beside it would lead nowhere.
"""

import html
import os
import re
import webbrowser
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mbbench.case import UsageError
from mbbench.reporting import advice, page
from mbbench.reporting.advice import Verdict
from mbbench.reporting.drawing import Files
from mbbench.reporting.sides import names, side
from mbbench.store import load_records

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
HEIGHT = 900
"""Pixels of the page in a notebook, which scrolls in itself."""


@dataclass(frozen=True)
class Report:
    """A page that was written, and what it says; as the last value of a notebook's cell it shows itself.

    Attributes:
        path: of the page.
        verdict: everything that it says in words.
        html: the page.
    """

    path: Path
    verdict: Verdict
    html: str = field(repr=False)

    def __str__(self) -> str:
        """Return what it says as lines of plain text."""
        return "\n".join(advice.lines(self.verdict))

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own."""
        shown = re.sub(r'<span class="files">.*?</span>', "", self.html)
        style = f"width:100%;height:{HEIGHT}px;border:0"
        return (
            f'<iframe title="mbbench report" sandbox="allow-scripts allow-downloads" style="{style}" '
            f'srcdoc="{html.escape(shown)}"></iframe>'
        )

    def show(self) -> None:
        """Open the page in a browser; raise UsageError where there is none."""
        if not webbrowser.open(self.path.resolve().as_uri()):
            raise UsageError(f"no browser could be opened: open {self.path} by hand")


def report(
    source: Paths = "results/", output: str | os.PathLike[str] = "reports/index.html", *, figures: str | Path | None = None
) -> Report:
    """Write one HTML page on the records of a file, of a folder or of several, and return what it says.

    Args:
        source: a results folder, a .jsonl file, or several; of exactly two folders each cell of both is also put side by
            side.
        output: the page to write.
        figures: folder for every figure as SVG, PNG and PDF; None: `figures/` beside the page, as SVG and PNG.

    Raises:
        StoreError: there is no such path, a line is not a record, or there is no record at all, in one of two folders too.
        UsageError: the page or a figure cannot be written.
    """
    paths = [Path(source)] if isinstance(source, str | os.PathLike) else [Path(each) for each in source]
    target, sides = Path(output), None
    files = Files(target.parent / "figures") if figures is None else Files(Path(figures), ("png", "pdf"))
    if two_sets(paths):
        both = [load_records(path) for path in paths]
        called = names(*paths)
        sides = side(called[0], both[0]), side(called[1], both[1])
        records = [record for several in both for record in several]
    else:
        records = load_records(paths)
    _made(target.parent, target, "-o FILE")
    if figures is not None:
        _made(files.folder, files.folder, "--figures DIR")
    try:
        said = page.build(records, target, figures=files, sides=sides)
    except OSError as error:
        raise _refused(error.filename or target, error, "-o FILE") from None
    return Report(target, said, target.read_text(encoding="utf-8"))


def two_sets(paths: list[Path]) -> bool:
    """Return whether paths are two folders to be compared: neither is the other, nor inside it."""
    if len(paths) != 2 or not all(path.is_dir() for path in paths):
        return False
    one, other = (path.resolve() for path in paths)
    return not one.is_relative_to(other) and not other.is_relative_to(one)


def _made(folder: Path, asked: Path, option: str) -> None:
    """Make a folder before anything is drawn; raise UsageError where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(asked, error, option) from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{asked} cannot be written (no permission): give another with {option}")


def _refused(asked: str | Path, error: OSError, option: str) -> UsageError:
    return UsageError(f"{asked} cannot be written ({error.strerror}): give another with {option}")
