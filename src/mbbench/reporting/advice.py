"""The verdict: everything a report says in words, made from the records by one function for page, terminal and JSON.

Easy to get wrong: a sentence must stay true when the numbers change; each kind of state has a test.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mbbench.record import Record
from mbbench.reporting import convergence, readable, speed
from mbbench.reporting.analysis import latest
from mbbench.reporting.doubts import doubts, failed, statuses
from mbbench.reporting.finding import Finding
from mbbench.reporting.pooling import Setting, settings


@dataclass(frozen=True)
class Answer:
    """What there is to say on one setting.

    Attributes:
        title: of the setting.
        headline: one or two sentences, without absolute times.
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
    found = settings(kept)
    answers = tuple(Answer(s.title, _headline(s), tuple(_findings(s))) for s in found)
    return Verdict(_overall(found, answers), answers, tuple(doubts(found, notes)))


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


def _headline(setting: Setting) -> str:
    if setting.timed:
        return speed.headline(setting)
    tried = [record for record in setting.records if record.kind == "time"]
    if not tried:
        if all(record in failed(setting.records) for record in setting.records):
            return f"Nothing could be measured: {statuses(setting.records)}."
        return "No epoch was timed, so nothing is said on speed."
    if {record.measurement.status for record in tried} == {"unavailable"}:
        return f"{setting.pools[0].cell.device.upper()} is not available here: nothing could be measured."
    return f"No epoch could be timed: {statuses(tried)}."


def _findings(setting: Setting) -> list[Finding]:
    said = speed.findings(setting) + convergence.findings(setting)
    if setting.timed and not any(pool.trainings for pool in setting.pools):
        said.append(Finding("Convergence", "no loss curve was recorded, so nothing is said on it."))
    return said


def _overall(found: list[Setting], answers: tuple[Answer, ...]) -> str:
    if not found:
        return "There are no records to report."
    if len(found) == 1:
        return answers[0].headline
    timed = [setting for setting in found if setting.timed]
    if not timed:
        return f"No epoch was timed in any of {len(found)} settings."
    if len(timed) == 1:
        return answers[found.index(timed[0])].headline
    winners = Counter(speed.winner(setting) for setting in timed)
    words = {"mini": "a mini-batch in", "full": "full batch in", "both": "no difference within 10 % in"}
    words["undecided"] = "undecided in"
    parts = [f"{word} {winners[key]}" for key, word in words.items() if winners[key]]  # type: ignore[index]
    first = f"{len(timed)} settings were timed, none with both full batch and a mini-batch."
    if parts:
        both = readable.plural(winners.total() - winners[None], "setting")
        first = f"Fastest epoch: {readable.listed(parts)} of {both} with full batch and mini-batches."
    costs = [cost for setting in timed if (cost := speed.worst_loader(setting))]
    if not costs:
        return first
    loader, factor = max(costs, key=lambda cost: cost[1])
    if factor <= speed.MARGIN:
        return first
    return f"{first} The {loader} loader takes up to {readable.multiple(factor)} times as long as slicing the same batches."
