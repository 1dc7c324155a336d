"""One setting of the report: its sentences, figures with what they show and how, and the tables behind them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from mbbench.reporting import canvas, charts, loss_chart, losses, peaks, readable, speed, svg, tables
from mbbench.reporting.advice import Answer
from mbbench.reporting.analysis import pool_table
from mbbench.reporting.pooling import Pool, Setting


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
    table: tables.Table


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
    if _drawable(setting):
        frames.append(_memory(setting, said, picture))
    if any(record.measurement.curve for pool in setting.pools for record in pool.trainings):
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
    return Frame("How fast do samples go through?", False, pictures, method, tables.time_table(setting))


def _memory(setting: Setting, said: dict[str, str], picture: Drawer) -> Frame:
    cells, found = peaks.table(setting), peaks.peaks(setting.pools)
    on_device = any(peak.on_device for peak in found)
    when = "over the first and last updates of an epoch and the first of the next, in a process of its own"
    method = f"Peak of what torch's allocator handed out to tensors, and of what it held, {when}."
    if not on_device:
        sampled = "; where it was sampled, at least that" if any(peak.measurement.rss_sampled for peak in found) else ""
        method = (
            f"Exact peak of tensor memory {when}, counted by torch's profiler; process: what it took beyond its size at "
            f"rest, with everything imported, before the profiler ran{sampled}."
        )
    method += " Predicted is reckoned without allocating."
    if any(record.measurement.oom_by == "predicted" for record in setting.records):
        method += " A cell is not run where that and what the allocator adds exceed the limit; its cross is at the former."
    finding = said.get("Memory") or said.get("Accumulation") or said.get("Fits") or "no peak could be measured."
    holder = "held by allocator" if on_device else "process"
    chart = picture("memory", "", finding, lambda: charts.memory(cells, peaks.limits(setting), holder))
    return Frame("How much memory does it take?", False, (chart,), method, tables.memory_table(setting))


def _drawable(setting: Setting) -> bool:
    """Return whether a memory pass left anything to draw: a peak, or a cell that does not fit and how large it would be."""
    if not any(pool.memories for pool in setting.pools):
        return False
    return bool(peaks.table(setting)[["peak_bytes", "lost_bytes"]].notna().any(axis=None))


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
        pictures.append(picture(f"loss-{axis}", names[axis], finding, partial(loss_chart.loss, bands, axis, without)))
    seeds = sorted({len(pool.finished) for pool in setting.pools if pool.finished})
    band = "band: its 95 % interval" if seeds and seeds[0] > 2 else "fewer than three seeds: no band"
    method = (
        f"Geometric mean over the seeds of the loss of all training rows; {band}. The loss before the first update is not "
        f"drawn. {readable.first_up(said.get('No ranking', 'Not a ranking of batch sizes.'))}"
    )
    return Frame("How does the loss fall?", True, tuple(pictures), method, tables.loss_table(setting))


def _interval(pool: Pool) -> bool:
    return pool.epoch_s is not None and pool.epoch_s.low is not None


def _save(figure: Figure, text: str, path: Path, title: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".svg").write_text(text, encoding="utf-8")
    figure.set_layout_engine("none")  # it was laid out for the SVG; once more takes 80 ms
    figure.savefig(path.with_suffix(".png"), dpi=200, metadata={"Title": title})
