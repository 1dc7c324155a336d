"""The frames of the maps over rows and devices: figure, sentence, method and the table behind them."""

from collections.abc import Sequence

from mbbench.reporting import map_chart, map_words, readable
from mbbench.reporting.frames import Drawer, Frame
from mbbench.reporting.maps import TOO_LARGE, Map, Row, Spot
from mbbench.reporting.tables import Table
from mbbench.reporting.target_words import STATUSES


def frames(maps: Sequence[Map], picture: Drawer) -> list[Frame]:
    """Return a frame for each map."""
    return [_frame(number, found, picture) for number, found in enumerate(maps, start=1)]


def table(found: Map) -> Table:
    """Return a map as text, a row for each n and a column for each batch size: multiple and time, or why there is none."""
    devices = len(found.devices) > 1
    heads = [*(["device"] if devices else []), "rows (n)", *map(_head, found.columns)]
    rows = []
    for row in found.rows:
        about = [*([row.device] if devices else []), f"{row.n:,}"]
        rows.append([*about, *(_cell(row, row.at(column)) for column in found.columns)])
    return heads, rows


def _frame(number: int, found: Map, picture: Drawer) -> Frame:
    chart = picture(f"heat{number}", "", map_words.finding(found), lambda: map_chart.heat(found))
    what = "time to target" if found.kind == "target" else "time of an epoch"
    return Frame(f"{found.title}: {what}", False, (chart,), map_words.method(found), table(found))


def _head(column: int | None) -> str:
    return "full" if column is None else f"{column:,}"


def _cell(row: Row, spot: Spot) -> str:
    multiple = row.multiple(spot)
    if multiple is None or spot.seconds is None:
        return "" if spot.status == TOO_LARGE else STATUSES.get(spot.status, spot.status)
    return f"{'best' if spot == row.best else readable.multiple(multiple)} ({readable.seconds(spot.seconds)})"
