"""Say where one step goes: which phase takes most of it, for which batch size and loader, and how that was measured.

Easy to get wrong: with one cell, one loader or no single row the sentences are others; and whatever phase is named, the
verb must not mind whether it is one thing or two.
"""

import math
from collections.abc import Sequence

from mbbench.reporting import readable
from mbbench.reporting.finding import Finding
from mbbench.reporting.pooling import Setting
from mbbench.reporting.step_share import Share, fastest, shares

NAMES = {
    "batch": "batch assembly",
    "dispatch": "Python and dispatch",
    "forward": "forward",
    "backward": "backward",
    "optimizer": "optimizer",
}
"""Each phase in a legend and at the head of a column."""
_GOES_TO = {
    "batch": "assembling the batch",
    "dispatch": "Python and dispatch",
    "forward": "the forward pass",
    "backward": "the backward pass",
    "optimizer": "the optimizer",
}
APART = 1.25
"""A profiled step over a timed one: beyond, it is said."""
CONTRAST = 2.0
"""Times the other loader's share of batch assembly, from which on the two are set against each other."""


def findings(setting: Setting) -> list[Finding]:
    """Return where a step goes, nothing where that was not measured."""
    found = shares(setting)
    return [Finding("Step", finding(found))] if found else []


def finding(found: Sequence[Share]) -> str:
    """Return one sentence on at least one share."""
    loaders = list(dict.fromkeys(each.pool.cell.loader for each in found))
    if len(loaders) == 1:
        return f"{_course(found)}."
    plain = "slice" if "slice" in loaders else loaders[0]
    of = {loader: [each for each in found if each.pool.cell.loader == loader] for loader in loaders}
    against = _contrast(found, of[plain])
    if against:
        return f"{against}; with {plain}, {_course(of[plain])}."
    return "; ".join(f"with {loader}, {_course(several)}" for loader, several in of.items()) + "."


def method(setting: Setting, found: Sequence[Share]) -> str:
    """Return how it was measured, of at least one share."""
    rounds = sorted({len(each.profile.laps.steps) for each in found})
    count = readable.plural(rounds[0], "round") if rounds[0] == rounds[-1] else f"{rounds[0]:,} to {rounds[-1]:,} rounds"
    said = [
        "A clock read between the phases of the training loop itself, in a process of its own: the mean step of each round, "
        f"median over {count}.",
        "Batch assembly holds each step's share of starting its epoch.",
        _single_row(found),
    ]
    if any(each.pool.cell.device != "cpu" for each in found):
        said.append("The device is waited for between phases, so nothing overlaps as it does in training.")
    return " ".join(filter(None, (*said, _against_timed(setting, found), machine(found))))


def machine(found: Sequence[Share]) -> str:
    """Return what this machine can do at most and what a row asks of it, "" where nothing is known."""
    bandwidth, rate, flop = fastest(found)
    can = [] if bandwidth is None else [f"copies {readable.si(bandwidth, 'B')}/s (read and written)"]
    can += [] if rate is None else [f"multiplies matrices at {readable.si(rate, 'flop')}/s"]
    row = "" if flop is None else f"forward and backward of a row are {readable.si(flop, 'flop')}"
    return readable.first_up("; ".join(filter(None, (f"this machine {' and '.join(can)}" if can else "", row)))) + (
        "." if can or row else ""
    )


def _course(found: Sequence[Share]) -> str:
    """Say what takes most of a step at the smallest and at the largest batch size."""
    first, last = found[0], found[-1]
    begin = f"{_part(first, first.top)} of a step goes to {_GOES_TO[first.top]} at {first.pool.batch}"
    if first is last:
        return begin
    where = f"at {last.pool.batch}"
    if first.top == last.top:
        return f"{begin} and {_part(last, last.top)} {where}"
    return f"{begin} and {_part(last, last.top)} to {_GOES_TO[last.top]} {where}"


def _contrast(found: Sequence[Share], plain: Sequence[Share]) -> str:
    """Set the cell that assembling the batch costs most against the plain loader's at the same batch size, if that tells."""
    at = {_size(each): each for each in plain}
    pairs = [(each, at[_size(each)]) for each in found if _size(each) in at and each not in plain and each.top == "batch"]
    if not pairs:
        return ""
    most, other = max(pairs, key=lambda pair: pair[0].part("batch"))
    if most.part("batch") < CONTRAST * other.part("batch"):
        return ""
    return (
        f"assembling the batch takes {_part(most, 'batch')} of a step at {most.pool.batch} with {most.pool.cell.loader} and "
        f"{_part(other, 'batch')} with {other.pool.cell.loader}"
    )


def _size(each: Share) -> tuple[int | None, int | None]:
    return each.pool.cell.batch_size, each.pool.cell.micro_batch


def _part(each: Share, phase: str) -> str:
    return readable.percent(each.part(phase))


def _single_row(found: Sequence[Share]) -> str:
    without = sum("dispatch" not in each.phases_s for each in found)
    if without == len(found):
        return "How much of forward and backward is Python and dispatch is not known: a single row cannot be trained alone."
    some = f" (not known of {readable.plural(without, 'cell')})" if without else ""
    return f"Python and dispatch is what forward and backward take on a single row, and is taken off both{some}."


def _against_timed(setting: Setting, found: Sequence[Share]) -> str:
    """Say how far profiled steps are from timed ones, "" where none was timed."""
    ratios = [(each.step_s / each.timed_s, each) for each in found if each.timed_s]
    if not ratios:
        return ""
    ratio, most = max(ratios, key=lambda pair: abs(math.log(pair[0])))
    if 1 / APART <= ratio <= APART:
        return f"The phases add up to the timed step within {readable.percent(APART - 1)}."
    way = "longer" if ratio > 1 else "shorter"
    return f"A profiled step is up to {readable.percent(abs(ratio - 1))} {way} than a timed one ({setting.name(most.pool)})."
