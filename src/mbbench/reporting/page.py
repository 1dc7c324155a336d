"""Build the report: one HTML file that asks nothing of any network, and its pictures as files beside it.

Easy to get wrong: names and messages come from other people's files, so everything is escaped; the policy in the page's
head allows one style sheet by its hash and no script at all, so nothing may carry a style attribute.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from mbbench.record import Record
from mbbench.reporting import (
    beside,
    checks,
    drawing,
    map_frames,
    map_words,
    palette,
    provenance,
    readable,
    sections,
    svg,
    tiles,
)
from mbbench.reporting.advice import Verdict, verdict
from mbbench.reporting.choosing import choices
from mbbench.reporting.doubts import failed
from mbbench.reporting.maps import maps
from mbbench.reporting.pooling import settings
from mbbench.reporting.selection import latest
from mbbench.reporting.sides import Side


def build(
    records: Iterable[Record],
    output: Path,
    *,
    figures: bool | drawing.Files = True,
    sides: tuple[Side, Side] | None = None,
) -> Verdict:
    """Write the report on those of the records that may stand together, and return what it says.

    Args:
        records: of any runs; `selection.latest` chooses.
        output: the HTML file; its folder is made if missing.
        figures: write each picture as a file as well: as SVG and PNG to `figures/` beside the page, or as it says.
        sides: two sets of records to be put side by side.

    Raises:
        ValueError: there are no records.
    """
    given = list(records)
    if not given:
        raise ValueError("there are no records to report: measure first, with `mbbench run`")
    said = verdict(given)
    kept, _ = latest(given)
    output.parent.mkdir(parents=True, exist_ok=True)
    files = figures if isinstance(figures, drawing.Files) else None
    if figures is True:
        files = drawing.Files(output.parent / "figures")
    styles = svg.Styles()
    found, several = choices(kept), settings(kept)
    shorts = sections.short_titles([answer.title for answer in said.answers])
    shown = [
        sections.section(number, short, setting, answer, found, styles, files)
        for number, (short, setting, answer) in enumerate(zip(shorts, several, said.answers, strict=True), start=1)
    ]
    across = map_frames.frames(maps(several, found), drawing.drawer("map", "Rows and devices", styles, files))
    css = palette.css() + _read("style.css") + styles.css()
    page = _template().render(
        css=Markup(css),
        style_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        verdict=said,
        tiles=tiles.tiles(several, found),
        tiles_of=tiles.of(several, found),
        sections=shown,
        maps=across,
        map_command=map_words.command(several[0].pools[0].cell),
        links=None if files is None else files.links(output),
        beside=None if sides is None else beside.beside(*sides),
        failures=[_failure(record) for record in failed(kept)],
        about=provenance.about(kept),
        checks=checks.checks(kept),
        facts=provenance.facts(kept),
        commands=provenance.commands(kept),
        words=provenance.WORDS,
    )
    output.write_text(page, encoding="utf-8")
    return said


def _failure(record: Record) -> tuple[str, str, str, str]:
    measurement = record.measurement
    status = readable.TROUBLES.get(measurement.status, measurement.status)
    which = {"convergence": f", seed {record.case.seed}", "time": f", repeat {record.repeat}"}.get(record.kind, "")
    return str(record.case), f"{record.kind}{which}", status, measurement.message or ""


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_read("template.html.j2"))


def _read(name: str) -> str:
    text = resources.files("mbbench.reporting").joinpath(name).read_text(encoding="utf-8")
    return re.sub(r"\n\s*", "\n", text) if name.endswith(".css") else text
