"""What a commit does to convergence: the same seeds trained by both sides. Losses of training in, log ratios out.

A seed gives one number, the log ratio of the updates that head and base take to a loss; so seeds are the replications, and
the sign-flip test is as exact as it is for blocks. Easy to get wrong: a commit that changes an order of summation changes
every bit of every loss and nothing else, so bits are told and not judged; and a seed that never gets to the loss counts as
one that takes twice as long as was tried on either side, or the worst would be left out: a run that diverges ends early.
"""

import math
from collections.abc import Mapping, Sequence

from mbbench.search import crossing

Losses = Mapping[int, tuple[Sequence[int], Sequence[float | None], Sequence[float | None]]]
"""By seed the updates of its evaluations, the training losses and the held-out losses there; None: not finite, or none."""
TARGET_AT = 0.5
"""Of the updates that were made: the loss that the base has there is the target, so that head may take twice as many."""
DIVERGED = 10.0
"""Times the other's held-out loss, of a run that has none left."""


def target(base: Losses) -> float | None:
    """Return the loss to get to: the base's geometric mean over seeds half-way; None where a seed has none above 0 there."""
    logs = []
    for steps, losses, _ in base.values():
        at = [loss for step, loss in zip(steps, losses, strict=True) if step <= TARGET_AT * steps[-1]]
        if not at or at[-1] is None or at[-1] <= 0 or losses[-1] is None:
            return None
        logs.append(math.log(at[-1]))
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def updates(base: Losses, head: Losses, loss: float) -> list[float]:
    """Return the log ratio of the updates that head and base take to a loss, one a seed."""
    tried = max(steps[-1] for side in (base, head) for steps, _, _ in side.values())
    return [math.log(_updates(head[seed], loss, tried) / _updates(base[seed], loss, tried)) for seed in base]


def held_out(base: Losses, head: Losses) -> list[float]:
    """Return the log ratio of the last held-out losses of head and base, one a seed; none where the base has no such losses.

    A run that diverged on one side alone has none there: it counts as `DIVERGED` times the other's.
    """
    ends = [(_last(base[seed]), _last(head[seed])) for seed in base]
    if any(own is None for own, _ in ends):
        return []
    return [math.log(other / own) if own and other else math.log(DIVERGED) for own, other in ends]


def _last(losses: tuple[Sequence[int], Sequence[float | None], Sequence[float | None]]) -> float | None:
    last = losses[2][-1]
    return last if last is not None and last > 0 else None


def difference(base: Losses, head: Losses) -> float | None:
    """Return the largest relative difference of any loss of both; None where all are the same, bit for bit.

    Infinite where one has a loss and the other has none.
    """
    if base == head:
        return None
    largest = 0.0
    for seed in base:
        for one, other in zip(base[seed][1:], head[seed][1:], strict=True):
            if len(one) != len(other):
                return math.inf
            for own, its in zip(one, other, strict=True):
                if (own is None) != (its is None):
                    return math.inf
                if own is not None and its is not None and own != its:
                    largest = max(largest, abs(its - own) / max(abs(own), abs(its)))
    return largest


def _updates(losses: tuple[Sequence[int], Sequence[float | None], Sequence[float | None]], loss: float, tried: int) -> float:
    steps, train, _ = losses
    reached = crossing(steps, train, loss)
    return max(2.0 * tried if reached is None else reached, 1.0)
