"""Is a paired change real? An exact test that flips signs, and the interval that it leaves: lists of numbers in and out.

A block of a comparison gives one number, the typical log ratio of head over base inside it. Where the code is the same, head
and base could change places in any block, which flips the sign of its number: so all 2^n sign patterns are equally likely,
whatever the noise is like (Fisher 1935, The Design of Experiments, section 21). Easy to get wrong: chunks inside a block are
not replications, blocks are; and fewer than seven blocks cannot reach 1 % (1 / 2^7 = 0.8 %), so they give no verdict.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FEWEST_BLOCKS = 7
MOST_BLOCKS = 32
"""Of which every sign pattern is counted: 2^16 sums from either half."""


def p_larger(effects: Sequence[float]) -> float:
    """Return the share of all sign patterns whose sum is at least that of the effects: small where they are above 0.

    Args:
        effects: one a block, 1 to `MOST_BLOCKS`.

    Raises:
        ValueError: none, too many, or one that is not finite.
    """
    values = _checked(effects)
    total = float(values.sum())
    half = len(values) // 2
    first, second = (np.sort(_sums(part)) for part in (values[:half], values[half:]))
    # Sums of other order differ in their last digits: equal ones have to count as at least as large.
    slack = 1e-12 * float(np.abs(values).sum())
    below = np.searchsorted(second, total - slack - first, side="left")
    return float((len(second) - below).sum() / 2 ** len(values))


def p_smaller(effects: Sequence[float]) -> float:
    """Return the same for effects below 0."""
    return p_larger([-effect for effect in effects])


def interval(effects: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the changes that the test does not reject, one-sided at half of the rest in either direction.

    The test is turned round: a change is inside while the effects less that change pass. Both ends are found by bisection,
    since the share rises with the change. None where there are too few blocks for it to reject anything.
    """
    values, alpha = _checked(effects), (1 - confidence) / 2
    if len(values) < FEWEST_BLOCKS or 2.0 ** -len(values) > alpha:
        return None
    reach = float(np.ptp(values)) + abs(float(values.mean())) * 1e-9 + 1e-15
    low = _end(values, alpha, float(values.min()) - reach)
    high = -_end(-values, alpha, float((-values).min()) - reach)
    return low, high


def _end(values: NDArray[np.float64], alpha: float, outside: float) -> float:
    """Return the smallest change that is not rejected for being too small."""
    inside = float(values.mean())
    for _ in range(36):  # to 1e-11 of the effects' range
        middle = (outside + inside) / 2
        if p_larger(list(values - middle)) <= alpha:
            outside = middle
        else:
            inside = middle
    return inside


def _checked(effects: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(effects, dtype=float)
    if values.ndim != 1 or not 1 <= len(values) <= MOST_BLOCKS:
        raise ValueError(f"got {values.size} effects: give 1 to {MOST_BLOCKS}, one a block")
    if not np.isfinite(values).all():
        raise ValueError(f"effects are {values.tolist()}: expected finite log ratios")
    return values


def _sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of all sign patterns, shape (2^len,)."""
    return _patterns(len(values)) @ values if len(values) else np.zeros(1)


@lru_cache(maxsize=32)
def _patterns(count: int) -> NDArray[np.float64]:
    """Return all patterns of +1 and -1, shape (2^count, count)."""
    bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
    return 1.0 - 2.0 * bits.astype(float)


def typical(log_ratios: Sequence[float]) -> float:
    """Return the effect of a block: the median of its chunks' log ratios, which one disturbed chunk does not move."""
    return float(np.median(log_ratios)) if len(log_ratios) else math.nan
