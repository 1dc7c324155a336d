"""A figure that knows what can be read off it: each point with its words, and which legend entries it belongs to.

Easy to get wrong: where a point lies is known only once the figure was laid out, which saving it does; and what an entry of
the legend shows and hides is more than a line (markers, bars, bands, seeds), so each of these is marked as it is drawn.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIZE_IN = (4.7, 3.15)
"""Small on purpose: 340 points wide, so that 8.5 point text is still 8.5 pixels on a page 400 pixels wide."""


class Reading(NamedTuple):
    """A point that can be read: where it lies in its axes' data, and what it says."""

    axes: Axes
    keys: tuple[str, ...]
    x: float
    y: float
    words: str


class Sheet(Figure):
    """A figure with one or more axes, laid out as it is drawn."""

    def __init__(self, columns: int = 1, rows: Sequence[float] = (1.0,), height_in: float = SIZE_IN[1]) -> None:
        """Make an empty one with that many axes side by side, and below each other one for each of the relative heights."""
        super().__init__(figsize=(SIZE_IN[0], height_in), layout="constrained")
        self.subplots(len(rows), columns, sharex=len(rows) > 1, height_ratios=rows)
        self.legend_title = ""
        self._keys: list[str] = []
        self._readings: list[Reading] = []
        sns.despine(fig=self)

    def mark(self, drawn: Artist | Iterable[Artist], *keys: str) -> None:
        """Say to which legend entries something belongs: it shows as long as all of them do."""
        name = "-".join(["series", *map(str, self._numbers(keys))])
        for artist in (drawn,) if isinstance(drawn, Artist) else drawn:
            artist.set_gid(name)

    def mark_legend(self, label: str, parts: Iterable[Artist]) -> None:
        """Say which parts of a legend are the entry of that label; one that nothing belongs to stays as it is."""
        if label in self._keys:
            for part in parts:
                part.set_gid(f"legend-{self._keys.index(label)}")

    def read(self, axes: Axes, keys: Sequence[str], points: Iterable[tuple[float, float, str]]) -> None:
        """Add points of a series that can be read, each with its words; the first key names the series."""
        self._numbers(keys)
        self._readings += [Reading(axes, tuple(keys), float(x), float(y), words) for x, y, words in points]

    def readings(self) -> dict[str, Any]:
        """Return what the page's script reads, once the figure was saved.

        {"title": of the legend, "keys": its entries, "series": [{"keys": numbers of these, "points": [[x, y, words], ...]},
        ...]}, with x and y in the SVG's own units, from its upper left.
        """
        to_page = self.transFigure.inverted()
        width, height = (72 * float(inches) for inches in self.get_size_inches())
        series: dict[tuple[str, ...], list[list[Any]]] = {}
        for axes, keys, x, y, words in self._readings:
            across, up = to_page.transform(axes.transData.transform((x, y)))
            series.setdefault(keys, []).append([round(float(across) * width, 1), round(float(1 - up) * height, 1), words])
        return {
            "title": self.legend_title,
            "keys": self._keys,
            "series": [{"keys": self._numbers(keys), "points": points} for keys, points in series.items()],
        }

    def _numbers(self, keys: Sequence[str]) -> list[int]:
        for key in keys:
            if key not in self._keys:
                self._keys.append(key)
        return [self._keys.index(key) for key in keys]
