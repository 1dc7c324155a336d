"""What was measured at one batch size: seconds a step by repeat, steps to target by seed, and races to it against the clock.

Easy to get wrong: a seed that did not reach the target is not a missing value but a large one. Leaving such seeds out of
a mean makes a batch size look better the more often it fails, so where some did not reach it, the median is taken with
them as the largest, and with fewer than 4 of 5 reached there is no figure at all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbbench.search import REACHED


@dataclass(frozen=True)
class TriedSize:
    """A batch size and its measurements; both are kept in rising order, so the order given means nothing.

    Attributes:
        batch_size: samples per update.
        step_s: seconds a step, one per repeat.
        steps: steps to target, one per seed; infinite where it was not reached (None may be given).
        race_s: seconds of training after which races were at the target, likewise; () where none were run.
    """

    batch_size: int
    step_s: tuple[float, ...]
    steps: tuple[float, ...]
    race_s: tuple[float, ...] = ()

    def __init__(
        self, batch_size: int, step_s: Sequence[float], steps: Sequence[float | None], race_s: Sequence[float | None] = ()
    ) -> None:
        """Check and sort; raise ValueError with what came and what was expected."""
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: expected 1 or more samples per update")
        if not step_s or not steps:
            raise ValueError(
                f"batch size {batch_size} has {len(step_s)} times and {len(steps)} seeds: give one or more each"
            )
        known = [each for each in (*steps, *race_s) if each is not None]
        if not all(0 < each < math.inf for each in (*step_s, *known)):
            raise ValueError(f"times and steps of batch size {batch_size} have to be finite numbers above 0, or None")
        object.__setattr__(self, "batch_size", batch_size)  # frozen
        object.__setattr__(self, "step_s", tuple(sorted(float(each) for each in step_s)))
        object.__setattr__(self, "steps", _rising(steps))
        object.__setattr__(self, "race_s", _rising(race_s))

    @property
    def reached(self) -> bool:
        """Whether enough seeds reached the target."""
        return sum(map(math.isfinite, self.steps)) >= REACHED * len(self.steps)

    @property
    def log_step_s(self) -> float:
        """Log of the geometric mean of the repeats."""
        return float(np.log(self.step_s).mean())

    @property
    def log_steps(self) -> float:
        """Log of the typical steps to target, see `typical`."""
        return float(typical(np.log(self.steps)))

    @property
    def seconds(self) -> float:
        """Time to target as measured: seconds a step times steps."""
        return math.exp(self.log_step_s + self.log_steps)

    @property
    def raced_s(self) -> float | None:
        """Time to target as raced, see `typical_s`."""
        return typical_s(self.race_s)


def typical_s(times: Sequence[float | None]) -> float | None:
    """Return the typical one of race times, as that of steps is (`typical`); None where it did not reach, or without races.

    Steps of five seeds were 114, 116, 119, 145 and 147 at batch 128 of digits-mlp: a median of races was 34 ms or 41 ms by
    chance, where the mean of their logs is 36.6 ms, as reckoned; those at batch 64 were 122 to 132.
    """
    middle = math.exp(typical(np.log(_rising(times)))) if times else math.inf
    return middle if math.isfinite(middle) else None


def _rising(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(sorted(math.inf if each is None else float(each) for each in values))


def typical(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis; the median where there are infinite ones among them."""
    finite = np.isfinite(logs)
    mean: NDArray[np.float64] = np.where(finite, logs, 0.0).mean(-1)
    return mean if finite.all() else np.where(finite.all(-1), mean, np.median(logs, axis=-1))


def spread(groups: Sequence[Sequence[float]]) -> tuple[float | None, int]:
    """Return the standard deviation of log values within groups, pooled over them, and its degrees of freedom.

    Infinite values are left out; None where no group has two values. Pooled, since three seeds alone tell it to 50 %.
    """
    logs = [np.log([value for value in group if math.isfinite(value)]) for group in groups]
    freedom = sum(len(group) - 1 for group in logs if len(group))
    if freedom < 1:
        return None, 0
    return math.sqrt(sum(float(((group - group.mean()) ** 2).sum()) for group in logs if len(group)) / freedom), freedom
