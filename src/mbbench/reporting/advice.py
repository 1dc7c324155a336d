"""The verdict: everything a report says in words, made from the records by one function for page, terminal and JSON.

Easy to get wrong: a sentence must stay true when the numbers change; each kind of state has a test.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mbbench.record import Record
from mbbench.reporting import advising, convergence, loaders, memory, readable, reasons, share_words, speed
from mbbench.reporting.capacity import fitting, full_fits
from mbbench.reporting.choosing import Choice, choices
from mbbench.reporting.doubts import doubts, failed, statuses
from mbbench.reporting.finding import Finding
from mbbench.reporting.peaks import asked_about, unfit
from mbbench.reporting.pooling import Setting, common, settings
from mbbench.reporting.selection import latest
from mbbench.reporting.warning import Code


@dataclass(frozen=True)
class Answer:
    """What there is to say on one setting.

    Attributes:
        title: of the setting.
        headline: a few sentences: what reaches the target first where that was searched, and which epoch is fastest.
        findings: a handful, the most important first.
    """

    title: str
    headline: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Verdict:
    """What there is to say on a set of records.

    Attributes:
        headline: one or two sentences.
        answers: one for each setting.
        doubts: what to be careful about.
    """

    headline: str
    answers: tuple[Answer, ...]
    doubts: tuple[Finding, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return everything that is said, in order."""
        said = [self.headline]
        for answer in self.answers:
            said += [answer.headline, *map(str, answer.findings)]
        return (*said, *map(str, self.doubts))


def verdict(records: Iterable[Record]) -> Verdict:
    """Return the verdict on those of the records that may stand in one report; the others are counted in its doubts."""
    kept, notes = latest(records)
    found, chosen = settings(kept), choices(kept)
    of = [[choice for choice in chosen if common(choice.cell) == common(setting.pools[0].cell)] for setting in found]
    answers = tuple(
        Answer(s.title, _headline(s, several), tuple(_findings(s, several))) for s, several in zip(found, of, strict=True)
    )
    return Verdict(_overall(found, answers, chosen), answers, (*_warnings(chosen), *doubts(found, notes)))


def lines(verdict: Verdict) -> list[str]:
    """Return the verdict as lines of plain text."""
    said = [verdict.headline]
    for answer in verdict.answers:
        said += ["", answer.title]
        if answer.headline != verdict.headline:
            said.append(f"  {answer.headline}")
        said += [f"  - {finding}" for finding in answer.findings]
    if verdict.doubts:
        said += ["", "To be careful about", *(f"  ! {doubt}" for doubt in verdict.doubts)]
    return said


def _headline(setting: Setting, chosen: list[Choice]) -> str:
    """Return what reaches the target first, with the loader that is fastest; and which epoch is fastest."""
    first = ""
    if chosen:
        times = [c.recommendation.seconds if c.recommendation else None for c in chosen]
        best = min(zip(times, chosen, strict=True), key=lambda pair: pair[0].value if pair[0] else math.inf)[1]
        first = advising.headline(best)
    room = readable.first_up(fitting(setting, reasons=False))
    if setting.timed:
        tight = any(unfit(pool) for pool in setting.pools)
        return f"{first} {speed.headline(setting)} {room if tight else ''}".strip()
    return f"{first} {_untimed(setting, bool(room))} {room}".strip()


def _warnings(chosen: list[Choice]) -> list[Finding]:
    """Return the warnings on the choices, each sentence once, without those that the doubts on clocks say as well."""
    said: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for choice in chosen:
        for warning in choice.warnings:
            if warning.code not in (Code.CONTENDED, Code.FEW_REPEATS):
                said.setdefault((warning.code, warning.sentence), (warning.next_step, []))[1].append(choice.title)
    return [
        Finding(
            readable.first_up(code.replace("-", " ")),
            f"{sentence} {step}" + (f" ({'; '.join(titles)})" if len(titles) < len(chosen) else ""),
        )
        for (code, sentence), (step, titles) in said.items()
    ]


def _untimed(setting: Setting, fits_said: bool) -> str:
    """Return why there is no time."""
    tried = [record for record in setting.records if record.kind == "time"]
    if not tried:
        if all(record in failed(setting.records) for record in setting.records):
            if all(record.measurement.status == "diverged" for record in setting.records):
                return "Every run diverged, so there is nothing to compare."
            return "" if fits_said else f"Nothing could be measured: {statuses(setting.records)}."
        return "No epoch was timed, so nothing is said on speed."
    if {record.measurement.status for record in tried} == {"unavailable"}:
        return f"{setting.pools[0].cell.device.upper()} is not available here: nothing could be measured."
    return f"No epoch could be timed: {statuses(tried)}."


def _findings(setting: Setting, chosen: list[Choice]) -> list[Finding]:
    said = _chosen(chosen)
    said += speed.findings(setting) + loaders.findings(setting) + share_words.findings(setting)
    said += memory.findings(setting) + convergence.findings(setting)
    if setting.timed and not any(pool.trainings or pool.searches for pool in setting.pools):
        said.append(Finding("Convergence", "no loss curve was recorded, so nothing is said on it."))
    return said


def _chosen(chosen: list[Choice]) -> list[Finding]:
    """Return what there is to say on the choices of a setting: of several, with the loader, or once where it is the same."""
    every = [(choice, finding) for choice in chosen for finding in reasons.findings(choice)]
    alike = Counter(finding for _, finding in every)
    if len(chosen) == 1:
        return [finding for _, finding in every]
    return list(
        dict.fromkeys(
            finding if alike[finding] == len(chosen) else Finding(f"{finding.label} ({choice.loader})", finding.text)
            for choice, finding in every
        )
    )


def _overall(found: list[Setting], answers: tuple[Answer, ...], chosen: list[Choice]) -> str:
    if not found:
        return "There are no records to report."
    if len(found) == 1:
        return answers[0].headline
    first = _first(chosen)
    timed = [setting for setting in found if setting.timed]
    if not timed:
        return f"{first}No epoch was timed in any of {len(found)} settings.{_full_batches(found)}"
    if len(timed) == 1:
        return answers[found.index(timed[0])].headline
    return first + _fastest(timed) + _costliest(timed) + _full_batches(found)


def _first(chosen: list[Choice]) -> str:
    """Return what reaches the target first in how many of several choices, "" where there is none."""
    if not chosen:
        return ""
    winners = Counter(advising.winner(choice) for choice in chosen)
    words = {"mini": "a mini-batch in", "full": "full batch in", "tie": "a tie in", "only": "nothing to compare with in"}
    words |= {"undecided": "undecided between full batch and a mini-batch in", "none": "no recommendation in"}
    words["unopposed"] = "a mini-batch, without a full batch to compare it with, in"
    parts = [f"{word} {winners[key]}" for key, word in words.items() if winners[key]]  # type: ignore[index]
    return f"First at the target loss: {readable.listed(parts)} of {len(chosen)} combinations of setting and loader. "


def _fastest(timed: list[Setting]) -> str:
    winners = Counter(speed.winner(setting) for setting in timed)
    words = {"mini": "a mini-batch in", "full": "full batch in", "both": "no difference within 10 % in"}
    words["undecided"] = "undecided in"
    parts = [f"{word} {winners[key]}" for key, word in words.items() if winners[key]]  # type: ignore[index]
    if not parts:
        return f"{len(timed)} settings were timed, none with both full batch and a mini-batch."
    both = readable.plural(winners.total() - winners[None], "setting")
    return f"Fastest epoch: {readable.listed(parts)} of {both} with full batch and mini-batches."


def _costliest(timed: list[Setting]) -> str:
    costs = [cost for setting in timed if (cost := loaders.worst(setting))]
    most = max(costs, key=lambda cost: cost[1].value, default=None)
    if most is None or most[1].value <= speed.MARGIN:
        return ""
    loader, by = most
    ends = f" (95 % {readable.interval(by)})" if readable.interval(by) else ""
    if by.low is None:
        ends = f" (a reading of {readable.plural(by.n, 'repeat')}, no interval)"
    return f" An epoch through {loader} takes up to {readable.multiple(by.value)} times as long as through slice{ends}."


def _full_batches(found: list[Setting]) -> str:
    """Return in how many settings the full batch does not fit in memory, "" where there is none."""
    known = [full_fits(setting) for setting in found if asked_about(setting) and full_fits(setting) is not None]
    if False not in known:
        return ""
    of = readable.plural(len(known), "setting")
    return f" Full batch does not fit the memory it was allowed in {known.count(False)} of {of}."
