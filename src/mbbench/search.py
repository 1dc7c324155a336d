"""What a search for the learning rate of one batch size has seen, and what follows from it: steps to target, the best rate.

Plain data and arithmetic on it, for both wings: the measuring one decides by it where to look next, the reporting one what
to say. Easy to get wrong: a run that never reached the target is no missing value but a large one, and a rate at which fewer
than 4 of 5 seeds reach it has no steps to target at all, however fast the others were.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

REACHED = 0.8
"""Share of the seeds that have to reach the target for a learning rate, or a batch size, to have steps to target."""
AS_GOOD = 1.05
"""Times the steps of the best learning rate within which another is as good."""

Ending = Literal["reached", "slower", "diverged", "budget"]
"""How a run of a search ended: it reached the lowest target; another rate had reached one in two thirds of its steps; its
loss was not finite or exploded; or its steps or seconds were over."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One training run of a search.

    Attributes:
        lr: learning rate.
        seed: of data, start and order.
        ended: how it ended.
        step: updates done at each evaluation, from 0 on.
        train_loss: mean loss of all training rows at each of the steps, None where not finite; six digits.
        heldout_loss: the same of the held-out rows; empty where there are none.
    """

    lr: float
    seed: int
    ended: Ending
    step: tuple[int, ...]
    train_loss: tuple[float | None, ...]
    heldout_loss: tuple[float | None, ...] = ()


class NoisePoint(msgspec.Struct, frozen=True, kw_only=True):
    """The gradient noise scale at one point of a run, both ways, in rows; see `measuring/noise_scale.py`.

    Attributes:
        step: updates done.
        train_loss: there.
        b_fin: tr(Sigma) / |G_N|^2 of these rows, None where the gradient is 0.
        b_super: of the rows' source, None where it is not resolved.
        two_batch: the estimate from small batches and all rows, None where it was refused.
        two_batch_error: its standard error, None where there is none.
        refused: why there is no such estimate.
    """

    step: int
    train_loss: float
    b_fin: float | None
    b_super: float | None
    two_batch: float | None = None
    two_batch_error: float | None = None
    refused: str | None = None


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """All runs at one batch size.

    Attributes:
        targets: training losses to be reached, falling; the middle one is what is advised on.
        runs: by learning rate, then by seed.
        vectorised: whether the runs were trained together as one vectorised model, or one after the other.
        noise: gradient noise scale along the best rate's first seed, where it was measured.
    """

    targets: tuple[float, ...]
    runs: tuple[Run, ...]
    vectorised: bool
    noise: tuple[NoisePoint, ...] = ()

    @property
    def target(self) -> float:
        """The target that is advised on."""
        return self.targets[len(self.targets) // 2]

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates tried, rising."""
        return tuple(sorted({run.lr for run in self.runs}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, rising."""
        return tuple(sorted({run.seed for run in self.runs}))

    def at(self, lr: float) -> tuple[Run, ...]:
        """Return the runs at a learning rate, by seed."""
        return tuple(sorted((run for run in self.runs if run.lr == lr), key=lambda run: run.seed))


def crossing(step: Sequence[float], losses: Sequence[float | None], target: float) -> float | None:
    """Return the steps (or seconds) at which a loss curve first is at or below a target, None where it never is.

    Interpolated in log loss between the two evaluations around it; linearly where a loss is not above 0.
    """
    before: tuple[float, float] | None = None
    for at, loss in zip(step, losses, strict=True):
        if loss is None:
            before = None
            continue
        if loss <= target:
            if before is None or at == before[0]:
                return float(at)
            high, low, level = before[1], loss, target
            if low > 0 and target > 0:
                high, low, level = math.log(high), math.log(low), math.log(target)
            return before[0] + (at - before[0]) * (high - level) / (high - low)
        before = at, loss
    return None


def steps_to(search: Search, lr: float, target: float) -> tuple[float | None, ...]:
    """Return the steps to a target at a learning rate, one a seed, None where it was not reached."""
    return tuple(crossing(run.step, run.train_loss, target) for run in search.at(lr))


def typical_steps(steps: Sequence[float | None]) -> float | None:
    """Return the median over the seeds, those that did not reach as the largest; None where fewer than 4 of 5 reached."""
    if sum(each is not None for each in steps) < REACHED * len(steps) or not steps:
        return None
    return statistics.median(math.inf if each is None else each for each in steps)


def best_rate(search: Search, target: float | None = None) -> float | None:
    """Return the learning rate of the fewest steps to the target, the smallest of equals; None where none reaches it.

    By the geometric mean over the seeds, a seed that did not reach it counting as twice the slowest that did: by the median
    a rate at the edge of what is stable wins, with outliers (digits-mlp, batch 64: 1.17 with seeds from 126 to 216 steps
    before 0.95 with 122 to 143, which with another order of the rows took 144 steps and the former 153, up to 420).

    The target is the search's own unless another is given; a search that has found none yet has no best rate either.
    """
    if target is None and not search.targets:
        return None
    reached = _mean_logs(search, search.target if target is None else target)
    return min(reached, key=lambda lr: (reached[lr], lr)) if reached else None


def central_rate(search: Search) -> float | None:
    """Return the middle of the rates that are as good as the best: where to scale from to other batch sizes.

    Where steps hardly depend on the rate the best is one of many by luck: at batch 1 of digits-softmax 0.26 to 0.44 are
    within 3 %, and K14's rule from the last of them diverges at batch 256, from the middle it costs 1.3 times the best.
    """
    reached = _mean_logs(search, search.target) if search.targets else {}
    good = [lr for lr in reached if reached[lr] <= min(reached.values()) + math.log(AS_GOOD)]
    return good[(len(good) - 1) // 2] if good else None


def _mean_logs(search: Search, target: float) -> dict[float, float]:
    """Return the mean log steps to a target of each rate at which enough seeds reach it, rising rates."""
    found = {lr: steps_to(search, lr, target) for lr in search.rates}
    return {lr: _mean_steps(steps) for lr, steps in found.items() if typical_steps(steps) is not None}


def _mean_steps(steps: Sequence[float | None]) -> float:
    slowest = max(each for each in steps if each is not None)
    logs = [math.log1p(2 * slowest if each is None else each) for each in steps]  # a start at the target takes 0 steps
    return math.fsum(logs) / len(logs)


def promising_rate(search: Search) -> float:
    """Return the best rate or, where none reaches the target, that of the lowest median (over seeds) of the lowest loss."""
    best = best_rate(search)
    if best is not None:
        return best

    def lowest(run: Run) -> float:
        # A diverged run's losses say nothing of where it would have gone.
        known = [loss for loss in run.train_loss if loss is not None]
        return math.inf if run.ended == "diverged" or not known else min(known)

    return min(search.rates, key=lambda lr: (statistics.median(map(lowest, search.at(lr))), lr))


def edge(search: Search, lr: float) -> Literal["low", "high"] | None:
    """Return at which end of the rates tried a rate lies, None inside.

    A rate whose runs were all ended by the clock before they had made as many steps as this one needed tells nothing.
    """
    needed = max((steps for steps in (steps_to(search, lr, search.target) if search.targets else ()) if steps), default=0.0)
    rates = [other for other in search.rates if other == lr or any(_tells(run, needed) for run in search.at(other))]
    if lr == rates[-1]:
        return "high"
    return "low" if lr == rates[0] else None


def _tells(run: Run, needed: float) -> bool:
    return run.ended != "budget" or run.step[-1] >= needed
