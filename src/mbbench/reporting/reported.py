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
from mbbench.record import Record
from mbbench.reporting import advice, compared_words, page, regressions
from mbbench.reporting.advice import Verdict
from mbbench.reporting.compared import Comparison
from mbbench.reporting.drawing import Files
from mbbench.reporting.sides import Side, names, side
from mbbench.store import files as files_of
from mbbench.store import load_records

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
RESULTS = Path("results")
"""Where records are looked for unless it is said."""
HEIGHT = 900
"""Pixels of the page in a notebook, which scrolls in itself."""


@dataclass(frozen=True)
class Report:
    """A page that was written, and what it says; as the last value of a notebook's cell it shows itself.

    Attributes:
        path: of the page.
        verdict: everything that it says of records in words.
        html: the page.
        compared: the two commits that it sets side by side, if any.
    """

    path: Path
    verdict: Verdict
    html: str = field(repr=False)
    compared: Comparison | None = None

    def __str__(self) -> str:
        """Return what it says as lines of plain text."""
        said = advice.lines(self.verdict)
        return "\n".join(said if self.compared is None else [*said, "", compared_words.headline(self.compared)])

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
    source: Paths | None = None,
    output: str | os.PathLike[str] = "reports/index.html",
    *,
    figures: str | Path | None = None,
    compare: str | os.PathLike[str] | None = None,
) -> Report:
    """Write one HTML page on the records of a file, of a folder or of several, and return what it says.

    Args:
        source: a results folder, a .jsonl file, or several; of exactly two folders each cell of both is also put side by
            side. None: `results/`, which may be missing or empty where there is a comparison.
        output: the page to write.
        figures: folder for every figure as SVG, PNG and PDF; None: `figures/` beside the page, as SVG and PNG.
        compare: a comparison of two commits, as `mbbench compare BASE --json` writes it.

    Raises:
        StoreError: there is no such path, a line is not a record, or there is no record at all, in one of two folders too.
        UsageError: the page or a figure cannot be written, or there is no such comparison.
    """
    compared = None if compare is None else regressions.clean(regressions.load(Path(compare)))
    paths = (
        [RESULTS] if source is None else [Path(source)] if isinstance(source, str | os.PathLike) else [*map(Path, source)]
    )
    records, sides = _records(paths) if compare is None or source is not None or _any(RESULTS) else ([], None)
    target = Path(output)
    files = Files(target.parent / "figures") if figures is None else Files(Path(figures), ("png", "pdf"))
    _made(target.parent, target, "-o FILE")
    if figures is not None:
        _made(files.folder, files.folder, "--figures DIR")
    try:
        said = page.build(records, target, figures=files, sides=sides, compared=compared)
    except OSError as error:
        raise _refused(error.filename or target, error, "-o FILE") from None
    return Report(target, said, target.read_text(encoding="utf-8"), compared)


def of_comparison(found: Comparison, output: Path) -> None:
    """Write the page of a comparison alone, in one file; raise UsageError where it cannot be written."""
    _made(output.parent, output, "--html FILE")
    try:
        page.build([], output, figures=False, compared=regressions.clean(found))
    except OSError as error:
        raise _refused(error.filename or output, error, "--html FILE") from None


def _records(paths: list[Path]) -> tuple[list[Record], tuple[Side, Side] | None]:
    """Return all records, and the two sets that they are if they are."""
    if not two_sets(paths):
        return load_records(paths), None
    both = [load_records(path) for path in paths]
    called = names(*paths)
    sides = side(called[0], both[0]), side(called[1], both[1])
    return [record for several in both for record in several], sides


def _any(folder: Path) -> bool:
    """Return whether a folder holds a file of records with something in it."""
    return folder.is_dir() and any(path.stat().st_size for path in files_of(folder))


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
