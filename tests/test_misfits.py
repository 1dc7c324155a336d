"""Each misfit is seen where it was planted, and noise is none."""

import math

import numpy as np
import planted
import pytest

from mbbench.reporting.fits import fit_step_time, fit_steps, optimum
from mbbench.reporting.misfits import Misfit, misfits


def doubts(sizes, n_samples=planted.N):
    batch_sizes = [size.batch_size for size in sizes]
    time = fit_step_time(batch_sizes, [math.exp(size.log_step_s) for size in sizes])
    steps = fit_steps(batch_sizes, [math.exp(size.log_steps) for size in sizes])
    return misfits(sizes, time, steps, optimum(time, steps, n_samples), n_samples)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("count", [3, 4, 5, 13])
def test_curves_that_hold_have_no_misfit(seeds, count):
    sizes = [planted.SIZES[round(position)] for position in np.linspace(0, 12, count)]
    assert doubts(planted.sweep(sizes=sizes, seeds=seeds, repeats=seeds)) == set()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"step_s": planted.knee}, {Misfit.TIME_RESIDUAL, Misfit.TIME_KNEE}),
        ({"steps": planted.bump}, {Misfit.STEPS_RESIDUAL}),
        ({"steps": planted.noisy_throughout}, {Misfit.CRITICAL_ABOVE_N}),
        ({"steps": lambda size: 50.0 + 20 * (size == 1024)}, {Misfit.STEPS_RESIDUAL, Misfit.STEPS_RISE}),
        ({"sizes": (128, 256, 512, 1024)}, {Misfit.OUTSIDE}),
        ({"sizes": (2, 4, 8, 16)}, {Misfit.OUTSIDE}),
    ],
)
def test_what_was_planted_is_seen_and_nothing_else(fields, expected):
    assert doubts(planted.sweep(**fields)) == expected


def test_without_repetition_a_bump_has_to_be_larger_than_a_quarter():
    def bumped(by):
        return planted.sweep(steps=lambda size: planted.steps(size) * (by if size == 256 else 1), seeds=1)

    assert Misfit.STEPS_RESIDUAL not in doubts(bumped(1.25))
    assert Misfit.STEPS_RESIDUAL in doubts(bumped(1.35))


def test_a_knee_is_seen_where_no_single_size_is_far_off_the_line():
    # From 128 on a sample costs 2.8 us instead of 2: one line is off by up to 12 %.
    found = doubts(planted.sweep(step_s=lambda size: planted.step_s(size) + 0.8e-6 * max(0, size - 128)))
    assert found == {Misfit.TIME_KNEE}


def test_noise_of_few_seeds_is_no_misfit():
    generator = np.random.default_rng(0)
    seen = sum(bool(doubts(planted.sweep(generator, noise=0.3, seeds=3, repeats=3))) for _ in range(100))
    # 13 of 400 are seen; by 25 % and 15 % alone, whatever the noise, it was 100 of 100.
    assert seen <= 9
