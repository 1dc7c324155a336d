"""Turn a figure's SVG into one that can stand in a page: ids of its own, colours as variables, no inline styles.

Easy to get wrong: every matplotlib SVG has the same ids, and two in one page take each other's markers; and a style
attribute is refused by a content security policy that allows only what it has the hash of, so styles become classes. And
numbers are shortened where they are coordinates only: shortened in text they were other tick labels.
"""

import io
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from mbbench.reporting import palette

_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_COORDINATES = ("d", "height", "points", "transform", "width", "x", "y")
LONG = 20
"""Corners of a path that is no marker."""
_DROPPED = (f"{_SVG}metadata", f"{_SVG}style")


class Styles:
    """The classes that a page's figures use, collected while the figures are added."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, style: str) -> str:
        """Return the class that stands for a style."""
        return self._names.setdefault(style, f"m{len(self._names)}")

    def css(self) -> str:
        """Return the classes as CSS."""
        return "".join(f".{name}{{{style}}}" for style, name in self._names.items())


def text(figure: Figure) -> str:
    """Return the figure as a standalone SVG with real colours and real text."""
    buffer, dpi = io.StringIO(), figure.dpi
    # savefig draws twice, first for the layout alone; drawing makes the layout too: the same text, 15 % of a page sooner.
    canvas: Any = FigureCanvasSVG(figure)  # its print_svg has no types (matplotlib 3.11)
    canvas.print_svg(buffer, metadata={"Date": None})
    figure.dpi = dpi  # 72 meanwhile
    return buffer.getvalue()


def inline(svg: str, prefix: str, title: str, description: str, styles: Styles) -> str:
    """Return the SVG as an element for a page.

    What a `sheet.Sheet` marked has the numbers of its legend entries as `data-series`, an entry its own as `data-key`.

    Args:
        svg: what `text` returned.
        prefix: unlike that of any other figure in the page; put before every id.
        title: what the figure is about, for who cannot see it.
        description: what it shows.
        styles: takes up the figure's styles.
    """
    root = ElementTree.fromstring(svg)
    used = set(re.findall(r"[\"(]#([^\")]+)[\")]", svg))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in _DROPPED:
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = _attributes(element.attrib, prefix, used, styles)
    named = {"role": "img", "aria-label": title, "aria-describedby": f"{prefix}-desc"}  # a <title> would be a tooltip
    root.attrib = {"viewBox": root.attrib["viewBox"], "class": "chart", **named}
    element = ElementTree.Element("desc", {"id": f"{prefix}-desc"})
    element.text = description
    root.insert(0, element)
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(attributes: dict[str, str], prefix: str, used: set[str], styles: Styles) -> dict[str, str]:
    changed = {}
    for name, value in attributes.items():
        kind, _, numbers = value.partition("-")
        if name == "id" and kind in ("series", "legend"):
            changed["data-series" if kind == "series" else "data-key"] = numbers.replace("-", " ")
        elif name == "id":
            changed |= {"id": f"{prefix}-{value}"} if value in used else {}
        elif name in _COORDINATES:
            changed[name] = _short(value)
        elif name in ("href", _LINK):
            changed["href"] = value.replace("#", f"#{prefix}-", 1)
        elif name == "style":
            changed["class"] = styles.name(_style(value).replace("url(#", f"url(#{prefix}-"))
        elif name == "fill" and value in palette.VARIABLES:  # of what is hatched
            changed["class"] = styles.name(f"fill:{_style(value)}")
        else:
            changed[name] = value.replace("url(#", f"url(#{prefix}-")
    return changed


def _short(coordinates: str) -> str:
    """Return coordinates with two decimals; along a curve relative ones with one, which is a fifth of a pixel."""
    if coordinates.count("L") > LONG and re.fullmatch(r"[MLz\d\s.-]+", coordinates):
        return _relative(coordinates)
    return re.sub(r"-?\d+\.\d+", lambda match: f"{float(match[0]):.2f}", re.sub(r"\s+", " ", coordinates).strip())


def _relative(path: str) -> str:
    """Return a path of straight lines by what each leads on: half as long. Rounded before the difference: no drift."""
    parts, x, y = [], 0.0, 0.0
    for kind, *at in re.findall(r"([MLz])(?:\s*([\d.-]+)\s+([\d.-]+))?", path):
        if kind == "z":
            parts.append("z")
            continue
        to_x, to_y = (round(float(each), 1) for each in at)
        if kind == "M":
            parts.append(f"M{to_x:g} {to_y:g}l")
        else:
            parts.append(" ".join(f"{each:.1f}".removesuffix(".0") for each in (to_x - x, to_y - y)))
        x, y = to_x, to_y
    return " ".join(parts)


def _style(style: str) -> str:
    """Return a style with variables for colours, and without a font of its own."""
    parts = [part.strip() for part in style.split(";") if part.strip() and not part.strip().startswith("font-family")]
    kept = []
    for part in parts:
        short = re.fullmatch(r"font: (?:\S+ )*?([\d.]+px) .*", part)  # "font: 8px 'DejaVu Sans', ..."
        kept.append(f"font-size:{short[1]}" if short else part.replace(": ", ":"))
    return re.sub(r"#[0-9a-f]{6}\b", _variable, ";".join(kept))


def _variable(match: re.Match[str]) -> str:
    known = palette.VARIABLES.get(match[0])
    return f"var(--{known[0]})" if known else match[0]
