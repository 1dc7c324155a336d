"""What a comparison found, as files that a CI shows: Markdown, JUnit's XML, and annotations.

Easy to get wrong: names are the user's, so every form escapes them in its own way; and each has its own limit of size.
"""

import xml.etree.ElementTree as ElementTree

from mbbench.reporting.compared import METRICS, ORDER, TOGETHER, Comparison, Row
from mbbench.reporting.compared_words import SIGNS, about, doubt, headline, sentence, signed, word

MOST_ANNOTATIONS = 10
MOST_SUMMARY, MOST_COMMENT = 2**20, 60_000
"""Bytes that a step summary may have, and a comment less what whoever posts it adds: GitHub takes 65,536 characters."""


def markdown(found: Comparison, most: int = MOST_SUMMARY) -> str:
    """Return the comparison as Markdown of at most so many bytes; rows are left out from the end, and counted."""
    head = [
        f"**{_escaped(headline(found))}**",
        "",
        "| | benchmark | change | 95 % interval | n |",
        "|---|---|---|---|---|",
    ]
    rows = [_row(found, row) for verdict in ORDER for row in found.of(verdict)]
    end = ["", *(f"- not compared: {_escaped(name)}: {_escaped(why)}" for name, why in sorted(found.lost.items()))]
    end += [f"- only in head: {_escaped(name)}" for name in found.new]
    end += [f"- only in base: {_escaped(name)}" for name in found.missing]
    end += [f"- {_escaped(notice)}" for notice in found.notices]
    end += ["", *(f"- {_escaped(each)}" for each in about(found))]
    kept = len(rows)
    while True:
        some = [] if kept == len(rows) else [f"| | {len(rows) - kept} more rows are left out | | | |"]
        text = "\n".join([*head, *rows[:kept], *some, *end]) + "\n"
        if len(text.encode()) <= most or not kept:
            return text if len(text.encode()) <= most else "\n".join([*head[:1], *some, ""])
        kept = kept * 3 // 4


def junit(found: Comparison) -> str:
    """Return the comparison as JUnit's XML: a failure for each confirmed regression, skipped where undecided or lost."""
    rows = [row for row in found.rows if row.metric != TOGETHER]
    suite = ElementTree.Element("testsuite", name="mbbench compare", tests=str(len(rows) + len(found.lost)))
    failures = skipped = 0
    for row in rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"mbbench.compare.{row.metric}", name=_printable(row.name)
        )
        if row in found.regressions:
            failures += 1
            ElementTree.SubElement(case, "failure", message=sentence(row)).text = f"{word(row)}: {sentence(row)}"
        elif row.change.verdict == "undecided" or (found.unreliable and row.metric == "time"):
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=sentence(row))
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
    for row in found.regressions:
        path, title = row.name.partition("::")[0], _command(f"{word(row)}: {row.name}")
        said.append(f"::error file={_command(path)},title={title}::{_command(sentence(row))}")
    if found.unreliable:
        said.insert(0, f"::warning title=mbbench::{_command(headline(found))}")
    return said[:MOST_ANNOTATIONS]


def _row(found: Comparison, row: Row) -> str:
    ratio = row.change.ratio
    between = f"{signed(ratio.low)} to {signed(ratio.high)}" if ratio.low is not None and ratio.high is not None else ""
    what = "" if row.metric == METRICS[0] else f" ({row.change.clock if row.metric == 'convergence' else row.metric})"
    sign = f"{SIGNS[row.change.verdict]} {word(row)}{doubt(found, row)}"
    return f"| {sign} | {_escaped(row.name + what)} | {signed(ratio.value)} | {between} | {ratio.n} |"


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in one line, and that mentions nobody: entities alone do not stop that."""
    flat = " ".join(text.split()).replace("@", "@\u200b")
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
