"""Choose the records that may stand in one report, and say what was left out.

Easy to get wrong: what is newest. It is asked per cell and pass, over all seeds and repeats together, so that no pool mixes
two states of the code.
"""

from collections.abc import Iterable

from mbbench.record import Record, code_state
from mbbench.reporting import readable
from mbbench.reporting.pooling import unseeded


def latest(records: Iterable[Record]) -> tuple[list[Record], list[str]]:
    """Return the records that may stand in one report, and sentences on those that were left out.

    Kept: records of the machine that measured last; per problem, those of its newest source; per cell (all its seeds) and
    pass, those of the newest code and budget; and of several that measured the same, the newest.
    """
    ordered = sorted(records, key=lambda record: record.environment.time)
    if not ordered:
        return [], []
    machine = ordered[-1].environment.fingerprint
    here = [record for record in ordered if record.environment.fingerprint == machine]
    # Later ones overwrite earlier ones. A cell with the user's own optimizer and one without are of one problem.
    sources = {record.case.problem: record.problem_source for record in here}
    own = {name: source for record in here for name, source in record.own_sources.items()}
    alike = [
        record
        for record in here
        if record.problem_source == sources[record.case.problem]
        and all(own[name] == source for name, source in record.own_sources.items())
    ]
    newest = {_pooled_by(record): _state(record) for record in alike}
    current = [record for record in alike if _state(record) == newest[_pooled_by(record)]]
    kept = {(str(record.case), record.kind, record.repeat): record for record in current}
    notes = []
    if elsewhere := len(ordered) - len(here):
        count = readable.plural(elsewhere, "record")
        notes.append(f"{count} of other machines left out: times of different machines are not pooled.")
    if older := len(here) - len(current):
        count = readable.plural(older, "record")
        notes.append(
            f"{count} left out: the code, the problem's file or the budget has changed since; run again what is missed."
        )
    if twice := len(current) - len(kept):
        notes.append(f"{readable.plural(twice, 'record')} left out because the same was measured again later.")
    if len(states := {code_state(record.environment) for record in kept.values()}) > 1:
        notes.append(f"The cells shown were measured with {len(states)} states of the code: run again to have one.")
    return list(kept.values()), notes


def _pooled_by(record: Record) -> tuple[str, str]:
    return str(unseeded(record.case)), record.kind


def _state(record: Record) -> tuple[object, ...]:
    return (*code_state(record.environment), record.source, record.budget)
