"""The closed set of warnings on a recommended batch size, and what they are made from."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mbbench.reporting import asking, readable
from mbbench.reporting.joining import Group, Tried
from mbbench.reporting.misfits import Misfit
from mbbench.reporting.recommendation import Recommendation

SHOWN = 4
"""Batch sizes in one list; further ones are counted."""


class Code(StrEnum):
    """Every warning there is; the order is that in which they are said."""

    AT_START = "target-at-start"
    """The loss is at the target before the first update."""
    NOT_REACHED = "not-reached"
    """At some size fewer than 4 of 5 seeds reached the target."""
    NOT_TUNED = "not-tuned"
    """Learning rates followed a rule, and were not searched."""
    FEW_SIZES = "few-sizes"
    """Fewer than three sizes reached the target."""
    FEW_SEEDS = "few-seeds"
    """Fewer than three seeds at some size: no interval."""
    FEW_REPEATS = "few-repeats"
    """Each size was timed once."""
    NOT_COMPARED = "not-compared"
    """A size has only steps, or only times."""
    OTHER_TARGET = "other-target"
    """A size was searched for another target."""
    LR_AT_EDGE = "lr-at-edge"
    """The best learning rate is the first or the last of those tried."""
    STEPS_OFF = "steps-not-on-curve"
    """Steps to the target rise somewhere, or are off their curve."""
    TIME_OFF = "time-not-on-line"
    """Seconds a step are off their line, or on two."""
    OUTSIDE = "optimum-outside"
    """The best size by the curves is beyond those tried."""
    NOISE_OPEN = "critical-above-n"
    """These rows are too few to tell where more samples a step stop saving steps."""
    CONTENDED = "contended"
    """Something else ran while steps were timed."""
    TARGETS_DISAGREE = "targets-disagree"
    """Another target has another best size."""
    POLICY_CHANGES = "policy-changes-winner"
    """Another way to set the learning rate has another best size."""
    HELDOUT_WORSE = "heldout-worse"
    """The winner generalises worse than a rival."""
    RACE_DIFFERS = "race-differs"
    """Training against the clock does not agree."""


MISFITS = {
    Misfit.STEPS_RESIDUAL: Code.STEPS_OFF,
    Misfit.STEPS_RISE: Code.STEPS_OFF,
    Misfit.TIME_RESIDUAL: Code.TIME_OFF,
    Misfit.TIME_KNEE: Code.TIME_OFF,
    Misfit.OUTSIDE: Code.OUTSIDE,
    Misfit.CRITICAL_ABOVE_N: Code.NOISE_OPEN,
    Misfit.FEW_SIZES: Code.FEW_SIZES,
    Misfit.NOT_REACHED: Code.NOT_REACHED,
}
"""The warning under which each flag of a recommendation is said."""


@dataclass(frozen=True)
class Warning:
    """What to be careful about.

    Attributes:
        code: one of `Code`.
        sentence: what is the matter.
        next_step: a command to type, or what to change.
    """

    code: str
    sentence: str
    next_step: str


Told = tuple[str, str] | None
"""Sentence and next step of a warning; None where there is nothing to warn of."""


@dataclass(frozen=True)
class Seen:
    """What a warning is made from.

    Attributes:
        group: everything that was tried.
        by_target: the recommendation for each target, of None where there is no target.
        by_policy: the recommendation of every other policy, for the main target.
    """

    group: Group
    by_target: Mapping[float | None, Recommendation | None]
    by_policy: Mapping[str, Recommendation | None]

    @property
    def main(self) -> Recommendation | None:
        """The recommendation for the main target."""
        return self.by_target[self.group.target]

    @property
    def compared(self) -> tuple[Tried, ...]:
        """Sizes with both steps and times."""
        return tuple(size for size in self.group.sizes if size.compared)

    @property
    def reached(self) -> tuple[Tried, ...]:
        """Those of them at which enough seeds reached the target."""
        return tuple(size for size in self.compared if size.lr is not None)

    def flagged(self, code: Code) -> bool:
        """Return whether the recommendation has a flag that is said under this code."""
        return self.main is not None and any(MISFITS[flag] == code for flag in self.main.flags)

    def named(self, batch_size: int) -> str:
        """Name a recommended batch size; of as many samples as there are rows, the full batch if that was tried."""
        full = any(size.cell.batch_size is None for size in self.group.sizes)
        return readable.batch(None if full and batch_size == self.group.cell.n_samples else batch_size)

    def again(self, sizes: Iterable[Tried | int | None], *more: str, measure: str = "time,target") -> str:
        """Return the command that measures batch sizes of this group again, as code."""
        cell = self.group.cell
        several = [size.cell.batch_size if isinstance(size, Tried) else size for size in sizes]
        parts = ["mbbench", "run", shlex.quote(cell.problem), "--batch-size", ",".join(map(_typed, several))]
        parts += ["--n", str(cell.n_samples)]
        parts += asking.axes(cell, threads=any(size.timings for size in self.group.sizes))
        parts += ["--lr-policy", self.group.policy] if self.group.policy != "tuned" and "target" in measure else []
        return f"`{' '.join([*parts, '--measure', measure, *more])}`"


def names(sizes: Sequence[Tried], told: Sequence[str] = ()) -> str:
    """Return batch sizes as a list, at most `SHOWN` of them, each with what is told of it in brackets."""
    said = [readable.batch(size.cell.batch_size) for size in sizes]
    said = [f"{name} ({what})" for name, what in zip(said, told, strict=True)] if told else said
    more = len(said) - SHOWN
    return readable.listed([*said[:SHOWN], f"{more} more"] if more > 0 else said)


def _typed(batch_size: int | None) -> str:
    return "full" if batch_size is None else str(batch_size)
