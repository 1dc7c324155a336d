"""Two sets of records side by side in words: one sentence, and a table with a row for each figure of each cell.

Easy to get wrong: this is a hint and not a gate, and is called so; of many intervals some leave equality out by chance; and
an epoch and a step of one cell are one measurement, which is counted once.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mbbench.record import Record
from mbbench.reporting import provenance, readable
from mbbench.reporting.sides import Pair, Side, cells, pairs
from mbbench.reporting.stats import Estimate
from mbbench.reporting.tables import Table

HINT = "Not interleaved: a hint, not a gate."
COUNTED = {"an epoch": "time of an epoch", "updates": "updates to the target", "loss": "loss after equal updates"}
"""How a figure begins that is counted, and what it is of; a step's time is that of its epoch."""


@dataclass(frozen=True)
class Beside:
    """What the page says of two sets of records.

    Attributes:
        sides: name, and where its records come from.
        rest: what the rest of the page is of.
        finding: what there is to compare, in a sentence or two.
        table: every figure of every cell of both, empty where there is none.
    """

    sides: tuple[tuple[str, str], tuple[str, str]]
    rest: str
    finding: str
    table: Table


def beside(a: Side, b: Side, kept: Iterable[Record] = ()) -> Beside:
    """Put two sides beside each other, where the rest of the page is of the records that were kept."""
    found = pairs(a, b)
    return Beside(
        ((_called("A", a), provenance.about(a.records)), (_called("B", b), provenance.about(b.records))),
        _rest(a, b, {id(record) for record in kept}),
        f"{_shared(a, b)} {_told(found)}{HINT}",
        table(found, _called("A", a), _called("B", b)),
    )


def lines(a: Side, b: Side) -> list[str]:
    """Return what two sides have in common, for a terminal: a sentence, and a line for each figure of each cell."""
    said = [HINT, beside(a, b).finding.removesuffix(HINT).strip()]
    for pair in pairs(a, b):
        factor, between = _factor(pair.ratio)
        told = f"{factor} times" + (f" ({between})" if between else "") if factor else "no factor"
        note = f"; {pair.note}" if pair.note else ""
        said.append(f"  {pair.cell}: {pair.what}: {told}: {pair.first} in {a.name}, {pair.second} in {b.name}{note}")
    return said


def to_json(a: Side, b: Side) -> str:
    """Return the same as JSON."""
    rows = [
        {"cell": pair.cell, "figure": pair.what, "a": pair.first, "b": pair.second, "note": pair.note}
        | {name: getattr(pair.ratio, key, None) for name, key in _FIGURES.items()}
        for pair in pairs(a, b)
    ]
    return json.dumps({"kind": "stored records", "note": HINT, "a": a.name, "b": b.name, "figures": rows}, indent=2)


_FIGURES = {"ratio": "value", "low": "low", "high": "high", "n": "n"}


def table(found: Sequence[Pair], first: str, second: str) -> Table:
    """Return the figures as text; factors, intervals and notes only where there are any."""
    heads = ["cell", "figure", first, second, "B / A", "95 % interval", "note"]
    rows = [[pair.cell, pair.what, pair.first, pair.second, *_factor(pair.ratio), pair.note] for pair in found]
    kept = [place for place in range(len(heads)) if place < 4 or any(row[place] for row in rows)]
    return [heads[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _called(letter: str, of: Side) -> str:
    """Name a side: "A: before", "A" where that is its name."""
    return letter if of.name.upper() == letter else f"{letter}: {of.name}"


def _rest(a: Side, b: Side, kept: set[int]) -> str:
    """Say how many records of each side the rest of the page is made from."""
    counts = [(sum(id(record) in kept for record in of.records), len(of.records)) for of in (a, b)]
    parts = [
        f"{'all' if some == of_all else f'{some:,} of'} {of_all:,} records of {letter}"
        for letter, (some, of_all) in zip("AB", counts, strict=True)
    ]
    why = "" if all(some == of_all for some, of_all in counts) else ": of what both measured, the newer records only"
    return f"the rest of this page is made from {readable.listed(parts)}{why}."


def _shared(a: Side, b: Side) -> str:
    first, second = set(cells(a)), set(cells(b))
    both = len(first & second)
    alone = [f"{len(own):,} only in {name}" for name, own in (("A", first - second), ("B", second - first)) if own]
    rest = f", {readable.listed(alone)}" if alone else ""
    if not both:
        return f"No cell is in both{rest}, so nothing can be compared."
    return f"{readable.plural(both, 'cell')} {'is' if both == 1 else 'are'} in both{rest}."


def _told(found: Sequence[Pair]) -> str:
    """Return in how many cells an interval leaves out that both are equal, figure by figure, and in how many by chance."""
    parts = []
    for begins, figure in COUNTED.items():
        ratios = [pair.ratio for pair in found if pair.what.startswith(begins) and pair.ratio is not None]
        told = [(ratio.low, ratio.high, ratio.value) for ratio in ratios if ratio.low is not None and ratio.high is not None]
        apart = [value for low, high, value in told if not low <= 1 <= high]
        more = sum(value > 1 for value in apart)
        which = f" ({more:,} with more in B, {len(apart) - more:,} with less)" if apart else ""
        parts += [f"{figure}, in {len(apart):,} of {readable.plural(len(told), 'cell')}{which}"] if told else []
    return (
        f"The interval leaves out that A and B are equal: {'; '.join(parts)}. By chance one in 20 would. " if parts else ""
    )


def _factor(ratio: Estimate | None) -> tuple[str, str]:
    if ratio is None:
        return "", ""
    if ratio.low is None or ratio.high is None:
        return _digits(ratio.value), ""
    return _digits(ratio.value), f"{_digits(ratio.low)} to {_digits(ratio.high)} (n = {ratio.n})"


def _digits(factor: float) -> str:
    """Return a factor with three digits behind the point near 1, where a reader looks for a per cent."""
    return f"{factor:.3f}" if 0.5 <= factor < 1.9995 else readable.multiple(factor) if factor > 1 else f"{factor:.3g}"
