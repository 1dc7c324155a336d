"""Build the report: one HTML file that asks nothing of any network, and its pictures as files beside it.

Easy to get wrong: names and messages come from other people's files, so everything is escaped; the policy in the page's
head allows one style sheet and one script by their hashes, so nothing may carry a style attribute or a handler.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mbbench.record import Record
from mbbench.reporting import (
    beside,
    checks,
    drawing,
    explorer,
    map_frames,
    map_words,
    palette,
    provenance,
    readable,
    regression_words,
    regressions,
    sections,
    svg,
    tiles,
)
from mbbench.reporting.advice import Verdict, verdict
from mbbench.reporting.choosing import Choice, choices
from mbbench.reporting.compared import Comparison
from mbbench.reporting.doubts import failed
from mbbench.reporting.frames import Drawer
from mbbench.reporting.maps import maps
from mbbench.reporting.pooling import Setting, settings
from mbbench.reporting.selection import latest
from mbbench.reporting.sides import Side

SCRIPTS = ("charts.js", "tables.js", "downloads.js", "page.js")
"""The page's own script, in this order: a policy's hash is that of all of it."""
MOST_BYTES = 5 * 2**20
"""Of the page: more is slow to open, and too much for a mail."""
ALONE = "No records of batch sizes were given: this page is on the comparison of two commits alone."
FIRST = 7
"""Findings of a setting that are not folded away: those on the loader that is advised on first."""


def build(
    records: Iterable[Record],
    output: Path,
    *,
    figures: bool | drawing.Files = True,
    sides: tuple[Side, Side] | None = None,
    compared: Comparison | None = None,
) -> Verdict:
    """Write the report on those of the records that may stand together, and return what it says.

    Args:
        records: of any runs; `selection.latest` chooses. None at all are enough where there is a comparison.
        output: the HTML file; its folder is made if missing.
        figures: write each picture as a file as well: as SVG and PNG to `figures/` beside the page, or as it says.
        sides: two sets of records to be put side by side.
        compared: two commits.

    Raises:
        ValueError: there are no records, and no comparison either.
    """
    given = list(records)
    if not given and compared is None:
        raise ValueError("there are no records to report: measure first, with `mbbench run`")
    kept = latest(given)[0] if given else []
    output.parent.mkdir(parents=True, exist_ok=True)
    files, styles = drawing.files(figures, output), svg.Styles()
    found, several = choices(kept), settings(kept)
    said = verdict(given) if given else Verdict(ALONE, (), ())
    shorts = sections.short_titles([answer.title for answer in said.answers])
    shown = [
        sections.section(number, short, setting, answer, found, styles, files)
        for number, (short, setting, answer) in enumerate(zip(shorts, several, said.answers, strict=True), start=1)
    ]
    curves = explorer.data([trained for setting in several if (trained := sections.trained(setting, found))])
    parts = {
        "verdict": said,
        "sections": shown,
        "links": None if files is None else files.links(output),
        "beside": None if sides is None else beside.beside(*sides, kept),
    } | _compared(compared, styles, files)
    if kept:
        parts |= _measured(kept, several, found, drawing.drawer("map", "Rows and devices", styles, files))
        parts["tiles"] = tiles.tiles(several, found, regression_words.tile(compared))
    output.write_text(_within(parts, styles, curves), encoding="utf-8")
    return said


def _compared(compared: Comparison | None, styles: svg.Styles, files: drawing.Files | None) -> dict[str, Any]:
    """Return the page's part on two commits, without a comparison how to make one."""
    if compared is None:
        return {"regressions": None, "compare_commands": regressions.HOW}
    base = compared.base[:12]
    drawer = drawing.drawer(regressions.ANCHOR, f"Change of each benchmark against {base}", styles, files)
    return {"regressions": regressions.part(compared, drawer), "compare_commands": ()}


def _measured(kept: list[Record], several: list[Setting], found: list[Choice], picture: Drawer) -> dict[str, Any]:
    """Return what the page has of records beside the sections of their settings."""
    own = [record for record in kept if record.case.problem == kept[0].case.problem]
    return {
        "explorer_command": provenance.filling(own, "convergence"),
        "tiles_of": tiles.of(several, found),
        "maps": map_frames.frames(maps(several, found), picture),
        "map_command": map_words.command(several[0].pools[0].cell),
    } | _background(kept)


def _background(kept: list[Record]) -> dict[str, Any]:
    """Return what stands behind all settings: what failed, and where the numbers come from."""
    return {
        "failures": [_failure(record) for record in failed(kept)],
        "about": provenance.about(kept),
        "checks": checks.checks(kept),
        "facts": provenance.facts(kept),
        "commands": provenance.commands(kept),
    }


def _within(parts: dict[str, Any], styles: svg.Styles, curves: list[dict[str, Any]]) -> str:
    """Return the page; where it is too large without what one can do without, which it says."""
    for left_out in ((), ("the explorer",), ("the explorer", "the values under the pointer")):
        page = _page(parts, styles, [] if left_out else curves, left_out)
        if len(page.encode()) <= MOST_BYTES:
            break
    return page


def _page(parts: dict[str, Any], styles: svg.Styles, curves: list[dict[str, Any]], left_out: tuple[str, ...]) -> str:
    css = palette.css() + _read("style.css") + styles.css()
    scripts = ["\n".join(['"use strict";', *map(_read, SCRIPTS)])]
    if curves:
        css += _read("vendor/uPlot.min.css")
        scripts.append(_vendored("uPlot") + _read("explorer.js"))
    return _template().render(
        css=Markup(css),
        style_hash=_hash(css),
        scripts=[Markup(script) for script in scripts],
        script_hashes=[_hash(script) for script in scripts],
        explorer=curves,
        left_out=left_out,
        first=FIRST,
        open_rows=regressions.OPEN,
        fill_commands=regressions.FILL,
        words=provenance.WORDS,
        **parts,
    )


def _hash(text: str) -> str:
    """Return the hash by which a policy allows a text."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _failure(record: Record) -> tuple[str, str, str, str]:
    measurement = record.measurement
    status = readable.TROUBLES.get(measurement.status, measurement.status)
    which = {"convergence": f", seed {record.case.seed}", "time": f", repeat {record.repeat}"}.get(record.kind, "")
    return str(record.case), f"{record.kind}{which}", status, measurement.message or ""


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["code"] = _code
    return environment.from_string(_read("template.html.j2"))


def _code(text: str) -> Markup:
    """Return text, escaped, with what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return Markup.escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


def _vendored(name: str) -> str:
    """Return a library with its licence, which has to go with every copy, and without its address."""
    code = _read(f"vendor/{name}.iife.min.js")
    return f"/*\n{name}\n{_read(f'vendor/{name}-LICENSE.txt')}*/\n{code[code.index('*/') + 2 :]}\n"


def _read(name: str) -> str:
    text = resources.files("mbbench.reporting").joinpath(name).read_text(encoding="utf-8")
    return re.sub(r"\n\s*", "\n", text) if name.endswith(".css") else text
