"""Draw a figure once and use it twice: inline in the page, and as files for those who want it elsewhere.

Easy to get wrong: everything that is drawn and saved is so inside the style; and the layout was made for the SVG, so the
other formats take it as it is (once more takes 80 ms).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mbbench.reporting import canvas, readable, svg
from mbbench.reporting.frames import Drawer, Picture
from mbbench.reporting.sheet import Sheet


@dataclass(frozen=True)
class Files:
    """Where figures are written as files.

    Attributes:
        folder: made if missing.
        formats: beside SVG, which the page has too: "png", "pdf".
    """

    folder: Path
    formats: tuple[str, ...] = ("png",)

    def links(self, page: Path) -> Mapping[str, str] | None:
        """Return what a page's links to files begin with, for each format; None where the page lies elsewhere.

        A link that leads out of the page's folder would name folders of a machine, and break once the page is moved.
        """
        folder, place = self.folder.resolve(), page.resolve().parent
        if not folder.is_relative_to(place):
            return None
        start = quote(folder.relative_to(place).as_posix())
        return dict.fromkeys(("svg", *self.formats), f"{start}/")


def files(figures: bool | Files, page: Path) -> Files | None:
    """Return where figures are written: beside the page where it is not said, None where nowhere."""
    if isinstance(figures, Files):
        return figures
    return Files(page.parent / "figures") if figures else None


def drawer(anchor: str, title: str, styles: svg.Styles, files: Files | None) -> Drawer:
    """Return what makes the pictures of one part of the page.

    Args:
        anchor: of that part; each picture's name begins with it.
        title: what its figures are about.
        styles: takes up the figures' styles.
        files: None writes none.
    """

    def picture(name: str, tab: str, finding: str, draw: Callable[[], Sheet]) -> Picture:
        full = f"{anchor}-{name}"
        with canvas.style(full):
            figure = draw()
            text = svg.text(figure)
            if files is not None:
                _save(figure, text, files, full, f"{title}: {finding}")
        drawn = svg.inline(text, full, _named(figure, title), readable.first_up(finding), styles)
        return Picture(full, tab, drawn, figure.readings(), readable.first_up(finding))

    return picture


def _named(figure: Sheet, title: str) -> str:
    """Return a name for who cannot see the figure: "time of one epoch against batch size, digits-mlp, n = 1,438 ..."."""
    axes = figure.axes[0]
    labels = [axes.get_ylabel(), axes.get_xlabel()]
    return f"{labels[0]} against {labels[1]}, {title}" if all(labels) else title


def _save(figure: Sheet, text: str, files: Files, name: str, title: str) -> None:
    files.folder.mkdir(parents=True, exist_ok=True)
    (files.folder / f"{name}.svg").write_text(text, encoding="utf-8")
    figure.set_layout_engine("none")
    for kind in files.formats:
        # A PDF's date would make two builds of the same records differ.
        about = {"Title": title} | ({"CreationDate": None} if kind == "pdf" else {})
        figure.savefig(files.folder / f"{name}.{kind}", dpi=200, metadata=about)
