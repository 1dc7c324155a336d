"""How steps to target and learning rates go with the batch size, through what little is known: where to begin a search.

For planning only: what is said in the end comes from curves through all sizes (`reporting/fits.py`).
"""

import math
from collections.abc import Callable, Sequence


def rule(batch_size: int, anchor: tuple[int, float], critical: float) -> float:
    """Return a learning rate to begin with: that of the anchor times (1 + Bc / B0) / (1 + Bc / B); Bc may be infinite.

    McCandlish et al. 2018 (arXiv 1812.06162), section 2.2; on digits-softmax it costs at most 1.7 times the best steps,
    where constant, linear and square-root scaling each fail somewhere (K14).
    """
    size, lr = anchor
    if math.isinf(critical):
        return lr * batch_size / size
    return lr * (1 + critical / size) / (1 + critical / batch_size)


def critical_between(small: tuple[int, float], large: tuple[int, float]) -> float:
    """Return Bc of S(B) = Smin (1 + Bc / B) through two points (batch size, steps).

    It is 0 where steps do not fall, and infinite where they fall as 1 / B or faster.
    """
    if small[1] <= large[1]:
        return 0.0
    if not large[1]:  # there before the first update
        return math.inf
    ratio = small[1] / large[1]
    rest = 1 / small[0] - ratio / large[0]
    return (ratio - 1) / rest if rest > 0 else math.inf


def steps_through(points: Sequence[tuple[int, float]]) -> Callable[[int], float] | None:
    """Return S(B) through the smallest and the largest of some points; None without any, constant through one."""
    if not points:
        return None
    (small, steps), (large, _) = points[0], points[-1]
    critical = critical_between(points[0], points[-1]) if small < large else 0.0
    if math.isinf(critical):
        return lambda size: steps * small / size
    return lambda size: steps * (1 + critical / size) / (1 + critical / small)
