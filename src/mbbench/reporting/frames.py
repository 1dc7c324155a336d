"""What a section of the page is made of: pictures, and frames that hold them with their method and their table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mbbench.reporting import tables
from mbbench.reporting.sheet import Sheet


@dataclass(frozen=True)
class Picture:
    """A figure in the page.

    Attributes:
        name: of its files.
        tab: on the switch between pictures of one frame.
        svg: the element.
        readings: what its points say, see `sheet.Sheet.readings`.
        finding: one sentence on what it shows.
    """

    name: str
    tab: str
    svg: str
    readings: Mapping[str, Any]
    finding: str


@dataclass(frozen=True)
class Frame:
    """Pictures of the same data, side by side or to switch between, with method and table.

    Attributes:
        title: in words.
        switch: show one picture at a time.
        pictures: one or more.
        method: one sentence on how it was made.
        table: the numbers behind it.
    """

    title: str
    switch: bool
    pictures: tuple[Picture, ...]
    method: str
    table: tables.Table


Drawer = Callable[[str, str, str, Callable[[], Sheet]], Picture]
"""Makes a picture: from its name, its tab, its finding and what draws it."""
