"""One setting of the report: its sentences, figures with what they show and how, and the tables behind them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mbbench.record import Kind
from mbbench.reporting import canvas, charts, losses, readable, speed, svg
from mbbench.reporting.advice import Answer
from mbbench.reporting.analysis import pool_table
from mbbench.reporting.pooling import Pool, Setting

Table = tuple[list[str], list[list[str]]]
"""Heads and rows, as text."""


@dataclass(frozen=True)
class Picture:
    """A figure in the page.

    Attributes:
        name: of its files.
        tab: on the switch between pictures of one frame.
        svg: the element.
        finding: one sentence on what it shows.
        files: whether it lies beside the page as SVG and PNG.
    """

    name: str
    tab: str
    svg: str
    finding: str
    files: bool


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
    table: Table


@dataclass(frozen=True)
class Section:
    """One setting in the page.

    Attributes:
        anchor: id in the page.
        short: the title as a link at the top.
        answer: what it says.
        frames: what it shows.
    """

    anchor: str
    short: str
    answer: Answer
    frames: tuple[Frame, ...]


def short_titles(titles: Sequence[str]) -> list[str]:
    """Return what tells titles apart: the problem alone where that is enough."""
    problems = [title.split(", ")[0] for title in titles]
    return [problem if problems.count(problem) == 1 else title for problem, title in zip(problems, titles, strict=True)]


def section(number: int, short: str, setting: Setting, answer: Answer, styles: svg.Styles, folder: Path | None) -> Section:
    """Draw the figures of a setting and put them beside its answer."""
    anchor = f"s{number}"
    said = {finding.label: finding.text for finding in answer.findings}

    def picture(name: str, tab: str, finding: str, draw: Callable[[], Figure]) -> Picture:
        full = f"{anchor}-{name}"
        with canvas.style(full):
            figure = draw()
            text = svg.text(figure)
            if folder is not None:
                _save(figure, text, folder / full, f"{setting.title}: {finding}")
        drawn = svg.inline(text, full, f"{setting.title}: {finding}", styles)
        return Picture(full, tab, drawn, readable.first_up(finding), folder is not None)

    frames = []
    if setting.timed:
        frames.append(_times(setting, said, picture))
    if any(record.measurement.curve for record in setting.records):
        frames.append(_losses(setting, said, picture))
    return Section(anchor, short, answer, tuple(frames))


Drawer = Callable[[str, str, str, Callable[[], Figure]], Picture]


def _times(setting: Setting, said: dict[str, str], picture: Drawer) -> Frame:
    cells = pool_table(setting.pools)
    bars = "bars: 95 % interval over repeats" if any(_interval(p) for p in setting.timed) else "too few repeats for bars"
    method = (
        "Median of the rounds of each fresh process, geometric mean over the processes, starting an epoch included; "
        f"{bars}. Throughput is the samples of an epoch over its time. Multiples of the fastest have intervals that hold "
        "at 95 % for all cells together, with the spread between processes pooled."
    )
    pictures = (
        picture("throughput", "", speed.scaling(setting), lambda: charts.throughput(cells)),
        picture("epoch", "", said.get("Loader") or said["Fastest epoch"], lambda: charts.epoch_time(cells)),
    )
    return Frame("How fast do samples go through?", False, pictures, method, _time_table(setting))


def _losses(setting: Setting, said: dict[str, str], picture: Drawer) -> Frame:
    without = [
        f"{pool.batch}: {readable.TROUBLES.get(pool.trainings[0].measurement.status, 'no curve')}"
        for pool in setting.pools
        if pool.trainings and not any(record.measurement.curve for record in pool.trainings)
    ]
    tabs = {"epoch": "Equal epochs", "step": "Equal updates", "samples": "Equal epochs", "train_s": "Equal seconds"}
    names = {"epoch": "epochs", "step": "updates", "samples": "samples", "train_s": "seconds"}
    pictures = []
    for axis in losses.AXES:
        bands = losses.bands(setting, axis)
        if bands.empty:
            continue
        finding = said.get(tabs[axis]) or said.get("Convergence") or "training loss of each batch size."
        pictures.append(picture(f"loss-{axis}", names[axis], finding, lambda b=bands, a=axis: charts.loss(b, a, without)))  # type: ignore[misc]
    seeds = sorted({len(pool.finished) for pool in setting.pools if pool.finished})
    band = "band: its 95 % interval" if seeds and seeds[0] > 2 else "fewer than three seeds: no band"
    method = (
        f"Geometric mean over the seeds of the loss of all training rows; {band}. The loss before the first update is not "
        f"drawn. {readable.first_up(said.get('No ranking', 'Not a ranking of batch sizes.'))}"
    )
    return Frame("How does the loss fall?", True, tuple(pictures), method, _loss_table(setting))


def _time_table(setting: Setting) -> Table:
    heads = ["batch size", "loader", "epoch", "95 % interval", "step", "samples/s", "repeats", "status"]
    rows = []
    for pool in setting.pools:
        epoch, step = pool.epoch_s, pool.step_s
        interval = ""
        if epoch and epoch.low is not None and epoch.high is not None:
            interval = f"{readable.seconds(epoch.low)} to {readable.seconds(epoch.high)}"
        rows.append(
            [
                _batch(pool),
                pool.cell.loader,
                readable.seconds(epoch.value) if epoch else "",
                interval,
                readable.seconds(step.value) if step else "",
                f"{pool.cell.n_samples / epoch.value:,.0f}" if epoch else "",
                str(len(pool.repeats)),
                _status(pool, "time"),
            ]
        )
    return heads, rows


def _loss_table(setting: Setting) -> Table:
    pools = [pool for pool in setting.pools if pool.trainings]
    together = losses.comparable(setting)
    axes = {axis: losses.horizon(together, axis) for axis in ("epoch", "step", "train_s")}
    heads = ["batch size", "loader"]
    for axis, reached in axes.items():
        if reached is not None:
            at = readable.seconds(reached) if axis == "train_s" else f"{reached:,.4g} {axis}s"
            heads.append(f"loss after {at}")
    heads += ["final loss (median)", "held-out", "after epochs", "seeds", "status"]
    summary = pool_table(pools)
    rows = []
    for pool, row in zip(pools, summary.itertuples(index=False), strict=True):
        cells = [_batch(pool), pool.cell.loader]
        for axis, reached in axes.items():
            if reached is not None:
                cells.append(_estimate(pool, axis, reached) if losses.reaches(pool, axis, reached) else "")
        ends = (row.final_train_loss, row.final_heldout_loss)
        cells += [readable.loss(float(end)) if pd.notna(end) else "" for end in ends]  # type: ignore[arg-type]
        cells += [_final_epoch(row.final_epoch), str(row.seeds)]
        rows.append([*cells, _status(pool, "convergence")])
    empty = {place for place, column in enumerate(zip(*rows, strict=True)) if not any(column)}  # held-out rows are optional
    return [head for place, head in enumerate(heads) if place not in empty], [
        [cell for place, cell in enumerate(row) if place not in empty] for row in rows
    ]


def _estimate(pool: Pool, axis: str, reached: float) -> str:
    found = losses.loss_at(pool, axis, reached)
    if found.low is None or found.high is None:
        return readable.loss(found.value)
    return f"{readable.loss(found.value)} ({readable.loss(found.low)} to {readable.loss(found.high)})"


def _final_epoch(epoch: object) -> str:
    number = float(str(epoch))
    return "" if math.isnan(number) else f"{number:,.4g}"


def _batch(pool: Pool) -> str:
    size = pool.cell.samples_per_step
    return f"full ({size:,})" if pool.cell.batch_size is None else f"{size:,}"


def _status(pool: Pool, kind: Kind) -> str:
    words = (readable.TROUBLES.get(status, status) for status in pool.status(kind).split(", "))
    return ", ".join(words) or "not asked for"


def _interval(pool: Pool) -> bool:
    return pool.epoch_s is not None and pool.epoch_s.low is not None


def _save(figure: Figure, text: str, path: Path, title: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".svg").write_text(text, encoding="utf-8")
    figure.set_layout_engine("none")  # it was laid out for the SVG; once more takes 80 ms
    figure.savefig(path.with_suffix(".png"), dpi=200, metadata={"Title": title})
