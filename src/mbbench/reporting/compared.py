"""What a comparison of two trees found: a row for each benchmark and metric, one verdict for all, an exit code, and JSON.

Easy to get wrong: an unreliable control is a reading of the clock, so it takes the word from times and not from memory or
convergence, which read no clock.
"""

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from mbbench.reporting.gate import TOLERANCE, Change, Direction, Verdict
from mbbench.reporting.stats import Estimate

METRICS = ("time", "memory", "convergence")
TOGETHER = "time-to-target"
"""The metric that follows from time and convergence: told, and never a failure of its own."""
ORDER = ("slower", "undecided", "faster", "same")
INTERRUPTED = "interrupted"


class Row(NamedTuple):
    """What became of one benchmark in one metric.

    Attributes:
        name: of the benchmark.
        metric: one of `METRICS`, or `TOGETHER`.
        change: the verdict with its figures.
        base: what the base has: seconds of a round, bytes, the loss to get to, or updates made before the held-out loss.
    """

    name: str
    metric: str
    change: Change
    base: float | None = None


@dataclass
class Comparison:
    """What was compared, and what became of each benchmark.

    Attributes:
        base: commit of the base.
        head: commit of the head, or "the working tree".
        notes: what a reader should know of the trees.
        tolerance: the least change of time that matters, as a part.
        rows: the verdicts.
        notices: what changed and is no failure: other bits of losses.
        control: the verdict on a second child of the base, None where there was no block of timing.
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
    rows: list[Row] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    control: Row | None = None
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
        return self.control is not None and self.control.change.verdict in ("slower", "faster")

    @property
    def regressions(self) -> list[Row]:
        """What is worse and believed, the largest change first."""
        return [row for row in self.of("slower") if row.metric in METRICS and not (self.unreliable and row.metric == "time")]

    @property
    def verdict(self) -> str:
        """One word for all: "regression", "unreliable", "undecided", "improved", "same"; "nothing" without any verdict."""
        if not self.rows:
            return "nothing"
        if self.regressions:
            return "regression"
        if self.unreliable:
            return "unreliable"
        found = {row.change.verdict for row in self.rows if row.metric in METRICS}
        return "undecided" if "undecided" in found else "improved" if "faster" in found else "same"

    def exit_code(self, strict: bool = False) -> int:
        """Return 1 for a regression, 4 where nothing could be compared, 130 after Ctrl-C, else 0.

        With `strict` 3 where something is undecided or could not be compared, 4 where the run is unreliable.
        """
        if self.unfinished == INTERRUPTED:
            return 130
        if strict and self.lost and self.verdict in ("same", "improved"):
            return 3
        codes = {"nothing": 4, "regression": 1, "unreliable": 4 if strict else 0, "undecided": 3 if strict else 0}
        return codes.get(self.verdict, 0)

    def of(self, verdict: str, metric: str | None = None) -> list[Row]:
        """Return the rows with a verdict, of one metric or of all, the largest change first."""
        found = [row for row in self.rows if row.change.verdict == verdict and metric in (None, row.metric)]
        return sorted(found, key=lambda row: -abs(row.change.ratio.value - 1))


_PLAIN = (
    "base",
    "head",
    "tolerance",
    "notices",
    "lost",
    "missing",
    "new",
    "own",
    "notes",
    "unfinished",
    "blocks",
    "seconds",
)


def to_json(found: Comparison, strict: bool = False) -> str:
    """Return the comparison as JSON."""
    said = {
        "verdict": found.verdict,
        "exit_code": found.exit_code(strict),
        "benchmarks": [_plain(row) for row in found.rows],
    }
    said["control"] = None if found.control is None else _plain(found.control)
    return json.dumps(said | {name: getattr(found, name) for name in _PLAIN}, indent=2)


def from_json(text: str | bytes) -> Comparison:
    """Return the comparison that `to_json` wrote.

    Raises:
        ValueError: it is none, with what is missing or wrong.
    """
    try:
        said = msgspec.json.decode(text, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"no comparison, as mbbench compare --json writes it: {error}") from None
    control = None if said.control is None else said.control.row()
    plain = {name: getattr(said, name) for name in _PLAIN}
    return Comparison(**plain, rows=[each.row() for each in said.benchmarks], control=control)


_Ratio = Annotated[float, msgspec.Meta(gt=0)]


class _SaidRow(msgspec.Struct):
    """A row as it stands in JSON, with what may stand there."""

    name: str
    metric: Literal["time", "memory", "convergence", "time-to-target"]
    clock: str
    ratio: _Ratio
    low: _Ratio | None
    high: _Ratio | None
    confidence: float
    n: int
    verdict: Verdict
    smallest_detectable: float | None
    suspected: Direction | None
    base: float | None

    def row(self) -> Row:
        ratio = Estimate(value=self.ratio, low=self.low, high=self.high, n=self.n, unit="ratio", confidence=self.confidence)
        change = Change(self.verdict, self.clock, ratio, self.smallest_detectable, self.suspected)
        return Row(self.name, self.metric, change, self.base)


class _Said(msgspec.Struct):
    """A comparison as it stands in JSON."""

    benchmarks: list[_SaidRow]
    control: _SaidRow | None
    base: str
    head: str
    tolerance: Annotated[float, msgspec.Meta(gt=0, le=1)]
    notices: list[str]
    lost: dict[str, str]
    missing: tuple[str, ...]
    new: tuple[str, ...]
    own: dict[str, dict[str, str]]
    notes: tuple[str, ...]
    unfinished: str
    blocks: int
    seconds: float


def _plain(row: Row) -> dict[str, Any]:
    change, ratio = row.change, row.change.ratio
    return {
        "name": row.name,
        "metric": row.metric,
        "clock": change.clock,
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "confidence": ratio.confidence,
        "n": ratio.n,
        "verdict": change.verdict,
        "smallest_detectable": change.smallest_detectable,
        "suspected": change.suspected,
        "base": row.base,
    }
