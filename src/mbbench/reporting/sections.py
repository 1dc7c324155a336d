"""One setting of the report: its sentences, figures with what they show and how, and the tables behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

from mbbench.reporting import (
    bounds,
    charts,
    drawing,
    loss_frame,
    peaks,
    pooling,
    provenance,
    readable,
    share_chart,
    share_words,
    speed,
    step_share,
    svg,
    tables,
    target_frames,
    tuned_curves,
)
from mbbench.reporting.advice import Answer
from mbbench.reporting.analysis import pool_table
from mbbench.reporting.choosing import Choice
from mbbench.reporting.finding import Finding
from mbbench.reporting.frames import Drawer, Frame
from mbbench.reporting.pooling import Pool, Setting

CAPTIONS = ("Memory", "Equal epochs", "Equal updates", "Step")
"""Labels of findings that are long and stand under a figure: said there, they are not said again above it."""


@dataclass(frozen=True)
class Section:
    """One setting in the page.

    Attributes:
        anchor: id in the page.
        short: the title as a link at the top.
        answer: what it says.
        frames: what it shows.
        absent: what was not measured, each with the command that would.
    """

    anchor: str
    short: str
    answer: Answer
    frames: tuple[Frame, ...]
    absent: tuple[tuple[str, str], ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return what it says that none of its long captions says."""
        said = {picture.finding for frame in self.frames for picture in frame.pictures}
        return tuple(f for f in self.answer.findings if f.label not in CAPTIONS or readable.first_up(f.text) not in said)


def short_titles(titles: Sequence[str]) -> list[str]:
    """Return what tells titles apart: the problem alone where that is enough."""
    problems = [title.split(", ")[0] for title in titles]
    return [problem if problems.count(problem) == 1 else title for problem, title in zip(problems, titles, strict=True)]


def section(
    number: int,
    short: str,
    setting: Setting,
    answer: Answer,
    choices: Sequence[Choice],
    styles: svg.Styles,
    files: drawing.Files | None,
) -> Section:
    """Draw the figures of a setting and put them beside its answer; of the choices, those of this setting."""
    anchor = f"s{number}"
    said = {finding.label: finding.text for finding in answer.findings}

    picture = drawing.drawer(anchor, setting.title, styles, files)
    own = of_setting(setting, choices)
    frames = target_frames.frames(own, picture)
    curves = trained(setting, choices)
    if curves is setting:
        frames.append(loss_frame.fixed(setting, said, picture))
    elif curves is not None:
        frames.append(loss_frame.tuned(curves, own, any(pool.trainings for pool in setting.pools), picture))
    if setting.timed:
        frames.append(_times(setting, said, picture))
    if "Step" in said:
        frames.append(_shares(setting, said["Step"], picture))
    if _drawable(setting):
        frames.append(_memory(setting, said, picture))
    return Section(anchor, short, answer, tuple(frames), _absent(setting, bool(own), curves is not None))


def _absent(setting: Setting, searched: bool, trained: bool) -> tuple[tuple[str, str], ...]:
    """Return what this setting has no record of, each with the command that makes one."""
    kinds = {record.kind for record in setting.records}
    parts = {
        "which batch size reaches a target first": ("time,target", searched),
        "how the loss falls": ("convergence", trained or "convergence" in kinds),
        "how fast samples go through": ("time", "time" in kinds),
        "where one step goes": ("profile", "profile" in kinds),
        "how much memory it takes": ("memory", "memory" in kinds),
    }
    return tuple((what, provenance.filling(setting.records, kind)) for what, (kind, there) in parts.items() if not there)


def of_setting(setting: Setting, choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices of a setting, one for each loader that was searched."""
    return [choice for choice in choices if pooling.common(choice.cell) == pooling.common(setting.pools[0].cell)]


def trained(setting: Setting, choices: Sequence[Choice]) -> Setting | None:
    """Return the loss curves to draw: at the best learning rates where there was a search, else the setting's, if any."""
    tuned = tuned_curves.tuned(setting.title, of_setting(setting, choices))
    if tuned is not None:
        return tuned
    return setting if any(r.measurement.curve for pool in setting.pools for r in pool.trainings) else None


def _times(setting: Setting, said: dict[str, str], picture: Drawer) -> Frame:
    cells, found = pool_table(setting.pools), bounds.bounds(setting)
    known = sum(map(_interval, setting.timed))
    bars = "bars: 95 % interval over repeats" if known else "too few repeats for bars"
    bars += ", where there are three or more" if 0 < known < len(setting.timed) else ""
    together = (
        "Multiples of the fastest have intervals that hold at 95 % for all cells together, with the spread between "
        "processes pooled. "
    )
    method = (
        "Median of the rounds of each fresh process, geometric mean over the processes, starting an epoch included; "
        f"{bars}. Throughput is the samples of an epoch over its time. {together if known > 1 else ''}"
        f"{bounds.method(setting, found)}"
    ).strip()
    pictures = (
        picture("throughput", "", speed.scaling(setting), lambda: charts.throughput(cells, found)),
        picture("epoch", "", said.get("Loader") or said["Fastest epoch"], lambda: charts.epoch_time(cells)),
    )
    return Frame("How fast do samples go through?", False, pictures, method, tables.time_table(setting))


def _shares(setting: Setting, finding: str, picture: Drawer) -> Frame:
    bars, method = step_share.bars(setting), share_words.method(setting, step_share.shares(setting))
    chart = picture("step", "", finding, lambda: share_chart.shares(bars))
    return Frame("Where does one step go?", False, (chart,), method, tables.share_table(setting))


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


def _interval(pool: Pool) -> bool:
    return pool.epoch_s is not None and pool.epoch_s.low is not None
