"""Doubt the fitted curves: where steps or times do not follow them, the curves must not choose the batch size.

Easy to get wrong: noise is no misfit. With few seeds a single batch size is easily 25 % off the curve, and the curve is
then the better of the two, since it averages over all sizes. So a residual counts only where it stands out from the
spread between seeds or repeats, if that is known.
"""

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mbbench.reporting.fits import Array, Optimum, StepCurve, StepTime, line, time_to_target
from mbbench.reporting.tried import TriedSize, spread

MOST_STEPS_RESIDUAL = 0.25
MOST_TIME_RESIDUAL = 0.15
SURE_RESIDUAL = 0.15
"""Of steps, against the curve through all the other sizes, where seeds tell that it is no noise."""
STEPS_ERRORS, TIME_ERRORS = 3.4, 5.0
"""Standard errors that a misfit stands out by. A knee in the times is many of them; in the steps a bump of 30 % is five, at
13 sizes of 5 seeds with 10 % noise. There 3.4 calls 1.5 % of sweeps on the curves a misfit (whose table then misses the
best by more than 2 % in 0.65 % of all) and misses 2.1 % of bumps; 3.2 calls 2.4 % and 3.5 misses 2.9 % (4000 sweeps)."""
FAR = 4.0
"""Times the best time to target, from which on a size off its curve casts no doubt on the choice: with batch 1 of digits-mlp
steps are 13 % above it, at 20 times the best time, and the table that chose instead was off by 17 % in one of four races."""
KNEE_GAIN = 4.0
"""How many times less squared error two lines leave than one, to be called a knee."""


class Misfit(StrEnum):
    """What is wrong with the curves or their data."""

    STEPS_RESIDUAL = "steps-residual"
    """Steps to target are off the curve at some size."""
    STEPS_RISE = "steps-rise"
    """More samples a step take more steps at some size."""
    TIME_RESIDUAL = "time-residual"
    """Seconds a step are off the line at some size."""
    TIME_KNEE = "time-knee"
    """Seconds a step follow two lines: a cache or a device filled up, another kernel was chosen."""
    OUTSIDE = "optimum-outside"
    """The best batch size is below or above all that were tried."""
    CRITICAL_ABOVE_N = "critical-above-n"
    """Steps fall as 1 / B up to the whole data set: gradient noise hardly shows, Bc is not resolved."""
    FEW_SIZES = "few-sizes"
    """Fewer than three sizes reached the target: no curves."""
    NOT_REACHED = "not-reached"
    """At some size fewer than 4 of 5 seeds reached the target. It is left out; the curves may hold all the same."""


def misfits(sizes: Sequence[TriedSize], step_time: StepTime, steps: StepCurve, best: Optimum, n_samples: int) -> set[Misfit]:
    """Return what is wrong with two curves fitted to these sizes, given in rising order."""
    found = set()
    if _steps_off(sizes, steps).any():
        found.add(Misfit.STEPS_RESIDUAL)
    if _steps_rise(sizes):
        found.add(Misfit.STEPS_RISE)
    noise = _time_errors(sizes)
    if _time_off(step_time, noise).any():
        found.add(Misfit.TIME_RESIDUAL)
    if _knee(sizes, step_time, noise):
        found.add(Misfit.TIME_KNEE)
    if not sizes[0].batch_size <= best.batch_size <= sizes[-1].batch_size:
        found.add(Misfit.OUTSIDE)
    if steps.critical_batch_size > n_samples:
        found.add(Misfit.CRITICAL_ABOVE_N)
    return found


def remote(sizes: Sequence[TriedSize], step_time: StepTime, steps: StepCurve, best: Optimum) -> set[Misfit]:
    """Return the misfits that show only at sizes which take FAR times the best and more: they bear on no choice near it."""
    fitted = [time_to_target(step_time, steps, size.batch_size) for size in sizes]
    near = np.array(fitted) < FAR * best.seconds
    off = {
        Misfit.STEPS_RESIDUAL: _steps_off(sizes, steps),
        Misfit.TIME_RESIDUAL: _time_off(step_time, _time_errors(sizes)),
    }
    return {misfit for misfit, where in off.items() if where.any() and not (where & near).any()}


def _time_off(step_time: StepTime, noise: Array | None) -> NDArray[np.bool_]:
    return _off(np.log1p(step_time.residuals), math.log1p(MOST_TIME_RESIDUAL), noise, TIME_ERRORS)


def _off(logs: Array, most: float, errors: Array | None, most_errors: float) -> NDArray[np.bool_]:
    beyond = np.abs(logs) > most
    return beyond if errors is None else beyond & (np.abs(logs) > most_errors * errors)


def _errors(groups: Sequence[Sequence[float]]) -> Array | None:
    noise = spread(groups)[0]
    return None if noise is None else np.array([noise / math.sqrt(len(group)) for group in groups])


def _time_errors(sizes: Sequence[TriedSize]) -> Array | None:
    return _errors([size.step_s for size in sizes])


def _steps_off(sizes: Sequence[TriedSize], steps: StepCurve) -> NDArray[np.bool_]:
    """Say where steps are off the curve: by the residual itself, or surely so against a curve through the other sizes.

    A size pulls the curve towards itself: by its leverage h (of the curve linearised), the residual against the others is
    1 / (1 - h) of its own, and its standard error 1 / sqrt(1 - h) of a size's.
    """
    logs, errors = np.log1p(steps.residuals), _errors([size.steps for size in sizes])
    batch_sizes = np.array([size.batch_size for size in sizes], dtype=float)
    if errors is None:
        return _off(logs, math.log1p(MOST_STEPS_RESIDUAL), None, STEPS_ERRORS)
    # d log S / d log Smin = 1, d log S / d log Bc = Bc / (B + Bc)
    slopes = steps.critical_batch_size / (batch_sizes + steps.critical_batch_size)
    columns = np.stack([np.ones_like(slopes), slopes], axis=1)
    leverage = np.einsum("ij,ji->i", columns, np.linalg.pinv(columns))
    rest = np.maximum(1 - leverage, 1e-9)
    own = _off(logs, math.log1p(MOST_STEPS_RESIDUAL), errors, STEPS_ERRORS)
    return own | _off(logs / rest, math.log1p(SURE_RESIDUAL), errors / np.sqrt(rest), STEPS_ERRORS)


def _steps_rise(sizes: Sequence[TriedSize]) -> bool:
    logs, errors = np.array([size.log_steps for size in sizes]), _errors([size.steps for size in sizes])
    both = None if errors is None else np.hypot(errors[1:], errors[:-1])
    rises = np.maximum(np.diff(logs), 0.0)
    return bool(_off(rises, math.log1p(MOST_STEPS_RESIDUAL if both is None else SURE_RESIDUAL), both, STEPS_ERRORS).any())


def _knee(sizes: Sequence[TriedSize], step_time: StepTime, errors: Array | None) -> bool:
    """Say whether two lines, of three sizes or more each, fit the times much better than one that is clearly off."""
    if not _off(np.log1p(step_time.residuals), math.log1p(MOST_TIME_RESIDUAL / 2), errors, TIME_ERRORS).any():
        return False
    batch_sizes = np.array([size.batch_size for size in sizes], dtype=float)
    step_s = np.exp([size.log_step_s for size in sizes])

    def left(part: slice) -> float:
        overhead, sample = line(np.ones((1, len(step_s[part]))), batch_sizes[part], step_s[part][None])
        return float((((overhead + sample * batch_sizes[part]) / step_s[part] - 1) ** 2).sum())

    one = left(slice(None))
    return any(one > KNEE_GAIN * (left(slice(0, at)) + left(slice(at, None))) for at in range(3, len(sizes) - 2))
