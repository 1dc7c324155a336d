"""What a comparison of two trees found, in words: for a terminal, as JSON, as Markdown, as JUnit's XML, as annotations.

Easy to get wrong: "not shown to be slower" reads like "same", so an undecided benchmark says the smallest change that it
could have shown; and names are the user's, so every form escapes them in its own way.
"""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mbbench.reporting import readable
from mbbench.reporting.gate import TOLERANCE, Change

SIGNS = {"slower": "▲", "faster": "▼", "same": "=", "undecided": "?"}
ORDER = ("slower", "undecided", "faster", "same")
INTERRUPTED = "interrupted"
MOST_ANNOTATIONS = 10
MOST_SUMMARY, MOST_COMMENT = 2**20, 2**16
"""Bytes that a step summary and a comment may have."""


@dataclass
class Comparison:
    """What was compared, and what became of each benchmark.

    Attributes:
        base: commit of the base.
        head: commit of the head, or "the working tree".
        notes: what a reader should know of the trees.
        tolerance: the least change that matters, as a part.
        changes: the verdict on each benchmark.
        control: the verdict on a second child of the base, None where there was no block.
        control_name: the benchmark that it ran.
        lost: benchmarks without a verdict, each with its reason.
        missing: benchmarks that only the base has.
        new: benchmarks that only head has.
        own: the project's own modules and where each side loaded them from.
        blocks: how many were run.
        seconds: taken in all.
        unfinished: why it ended early, "" where it did not.
    """

    base: str
    head: str
    notes: tuple[str, ...] = ()
    tolerance: float = TOLERANCE
    changes: dict[str, Change] = field(default_factory=dict)
    control: Change | None = None
    control_name: str = ""
    lost: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    own: dict[str, dict[str, str]] = field(default_factory=dict)
    blocks: int = 0
    seconds: float = 0.0
    unfinished: str = ""

    @property
    def unreliable(self) -> bool:
        """Whether the control, which compares the base with itself, was flagged."""
        return self.control is not None and self.control.verdict in ("slower", "faster")

    @property
    def verdict(self) -> str:
        """One word for all: "unreliable", "slower", "undecided", "faster" or "same"; "nothing" without any verdict."""
        if not self.changes:
            return "nothing"
        if self.unreliable:
            return "unreliable"
        found = {change.verdict for change in self.changes.values()}
        return next(verdict for verdict in ORDER if verdict in found)

    def exit_code(self, strict: bool = False) -> int:
        """Return 1 for a regression, 4 where nothing could be compared, 130 after Ctrl-C, else 0.

        With `strict` 3 where something is undecided, 4 where the run is unreliable.
        """
        if self.unfinished == INTERRUPTED:
            return 130
        codes = {"nothing": 4, "slower": 1, "unreliable": 4 if strict else 0, "undecided": 3 if strict else 0}
        return codes.get(self.verdict, 0)

    def of(self, verdict: str) -> list[str]:
        """Return the benchmarks with a verdict, the largest change first."""
        found = [name for name, change in self.changes.items() if change.verdict == verdict]
        return sorted(found, key=lambda name: -abs(self.changes[name].ratio.value - 1))


def headline(found: Comparison) -> str:
    """Return the verdict in a sentence or two."""
    if not found.changes:
        return "Nothing could be compared."
    counts = [f"{len(names)} {verdict}" for verdict in ORDER if (names := found.of(verdict))]
    total = f"{readable.plural(len(found.changes), 'benchmark')}: {', '.join(counts)}"
    if found.unreliable and found.control is not None:
        return (
            f"This run is unreliable: the base against itself was called {found.control.verdict} "
            f"({_percent(found.control)}, {found.control_name}). {total}; run it again on a quieter machine."
        )
    slower = found.of("slower")
    if slower:
        worst = found.changes[slower[0]]
        return f"Slower than {found.base[:12]}: {slower[0]} by {_percent(worst)}. {total}."
    early = [name for name in found.of("undecided") if found.changes[name].smallest_detectable is None]
    if early:
        worst = found.changes[early[0]]
        why = found.unfinished or "there were too few blocks"
        return f"Not decided, {why}: {early[0]} reads {_percent(worst)} after {worst.ratio.n} blocks. {total}."
    if found.of("undecided"):
        least = max((c.smallest_detectable or 0.0) for c in found.changes.values() if c.verdict == "undecided")
        seen = f" A change below {readable.percent(least)} could have been missed." if least else ""
        return f"Nothing was shown to be slower than {found.base[:12]}. {total}.{seen}"
    return f"Nothing is slower than {found.base[:12]}. {total}."


def lines(found: Comparison) -> list[str]:
    """Return the comparison for a terminal, the worst first."""
    said = [headline(found), ""]
    for verdict in ORDER:
        said += [f"  {SIGNS[verdict]} {verdict:<9} {name}: {_sentence(found.changes[name])}" for name in found.of(verdict)]
    said += [f"  - not compared: {name}: {why}" for name, why in sorted(found.lost.items())]
    said += [f"  - only in head: {name}" for name in found.new]
    said += [f"  - only in base: {name}" for name in found.missing]
    return [*said, "", *_about(found)]


def to_json(found: Comparison, strict: bool = False) -> str:
    """Return the comparison as JSON."""
    benchmarks = [_plain(name, change) for name, change in found.changes.items()]
    control = None if found.control is None else _plain(found.control_name, found.control)
    return json.dumps(
        {
            "verdict": found.verdict,
            "exit_code": found.exit_code(strict),
            "base": found.base,
            "head": found.head,
            "benchmarks": benchmarks,
            "control": control,
            "lost": found.lost,
            "missing": list(found.missing),
            "new": list(found.new),
            "own": found.own,
            "notes": list(found.notes),
            "unfinished": found.unfinished,
            "blocks": found.blocks,
            "seconds": found.seconds,
        },
        indent=2,
    )


def markdown(found: Comparison, most: int = MOST_SUMMARY) -> str:
    """Return the comparison as Markdown of at most so many bytes; rows are left out from the end, and counted."""
    head = [
        f"**{_escaped(headline(found))}**",
        "",
        "| | benchmark | change | 95 % interval | blocks |",
        "|---|---|---|---|---|",
    ]
    names = [name for verdict in ORDER for name in found.of(verdict)]
    rows = [_row(name, found.changes[name]) for name in names]
    end = ["", *(f"- not compared: {_escaped(name)}: {_escaped(why)}" for name, why in sorted(found.lost.items()))]
    end += [f"- only in head: {_escaped(name)}" for name in found.new]
    end += ["", *(_escaped(each) for each in _about(found))]
    kept = len(rows)
    while True:
        some = [] if kept == len(rows) else [f"| | {len(rows) - kept} more rows are left out | | | |"]
        text = "\n".join([*head, *rows[:kept], *some, *end]) + "\n"
        if len(text.encode()) <= most or not kept:
            return text if len(text.encode()) <= most else "\n".join([*head[:1], *some, ""])
        kept = kept * 3 // 4


def junit(found: Comparison) -> str:
    """Return the comparison as JUnit's XML: a failure for each confirmed regression, skipped where undecided or lost."""
    suite = ElementTree.Element("testsuite", name="mbbench compare", tests=str(len(found.changes) + len(found.lost)))
    failures = skipped = 0
    for name, change in found.changes.items():
        case = ElementTree.SubElement(suite, "testcase", classname="mbbench.compare", name=_printable(name))
        if change.verdict == "slower" and not found.unreliable:
            failures += 1
            ElementTree.SubElement(case, "failure", message=_sentence(change)).text = _sentence(change)
        elif change.verdict == "undecided" or found.unreliable:
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=_sentence(change))
    for name, why in found.lost.items():
        skipped += 1
        case = ElementTree.SubElement(suite, "testcase", classname="mbbench.compare", name=_printable(name))
        ElementTree.SubElement(case, "skipped", message=_printable(f"not compared: {why}"))
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def annotations(found: Comparison) -> list[str]:
    """Return at most ten lines that a CI shows beside the change: GitHub's workflow commands."""
    said = []
    for name in found.of("slower"):
        path = name.partition("::")[0]
        title = _command(f"slower: {name}")
        said.append(f"::error file={_command(path)},title={title}::{_command(_sentence(found.changes[name]))}")
    if found.unreliable:
        said = [f"::warning title=mbbench::{_command(headline(found))}"]
    return said[:MOST_ANNOTATIONS]


def _sentence(change: Change) -> str:
    ratio = change.ratio
    between = f" (95 % {_signed(ratio.low)} to {_signed(ratio.high)})" if ratio.low and ratio.high else ""
    clock = "CPU time" if change.clock == "cpu" else f"{change.clock} time"
    said = f"{_signed(ratio.value)} {clock}{between}, {readable.plural(ratio.n, 'block')}"
    if change.verdict == "undecided":
        least = change.smallest_detectable
        said += "; too few blocks to tell" if least is None else f"; below {readable.percent(least)} it could not be seen"
        said += f"; it looked {change.suspected}, which was not confirmed" if change.suspected else ""
    return said


def _about(found: Comparison) -> Iterator[str]:
    """Yield what was compared, in sentences."""
    took = f"{readable.plural(found.blocks, 'block')} in {readable.seconds(found.seconds)}"
    yield f"base {found.base[:12]}, head {found.head[:12] if ' ' not in found.head else found.head}: {took}."
    for side, modules in found.own.items():
        for name, path in sorted(modules.items()):
            yield f"measured {name} of {side} from {path}"
    if found.control is not None:
        verdict = f"{found.control.verdict}, {_sentence(found.control)}"
        yield f"control, the base against itself ({found.control_name}): {verdict}."
    if found.unfinished:
        longer = " What is undecided may need more time: --time." if found.of("undecided") else ""
        yield f"It ended early: {found.unfinished}.{longer}"
    yield from found.notes


def _plain(name: str, change: Change) -> dict[str, Any]:
    ratio = change.ratio
    return {
        "name": name,
        "metric": "time",
        "clock": change.clock,
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "n": ratio.n,
        "verdict": change.verdict,
        "smallest_detectable": change.smallest_detectable,
    }


def _row(name: str, change: Change) -> str:
    ratio = change.ratio
    between = f"{_signed(ratio.low)} to {_signed(ratio.high)}" if ratio.low and ratio.high else ""
    sign = f"{SIGNS[change.verdict]} {change.verdict}"
    return f"| {sign} | {_escaped(name)} | {_signed(ratio.value)} | {between} | {ratio.n} |"


def _percent(change: Change) -> str:
    return _signed(change.ratio.value)


def _signed(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    flat = " ".join(text.split())
    return "".join(f"&#{ord(letter)};" if letter in "\\`*_{}[]<>()#+!|~@&" else letter for letter in flat)


def _printable(text: str) -> str:
    """Return text that XML can hold."""
    return "".join(
        letter
        if letter in "\t\n"
        or (ord(letter) >= 32 and not 0xD800 <= ord(letter) <= 0xDFFF and ord(letter) not in (0xFFFE, 0xFFFF))
        else "?"
        for letter in text
    )


def _command(text: str) -> str:
    """Return text as it may stand in a workflow command."""
    codes = {"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"}
    return "".join(codes.get(letter, letter) for letter in text)
