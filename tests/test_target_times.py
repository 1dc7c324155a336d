"""Measured times to target carry the noise of seeds and of repeats, pooled over the sizes."""

import math

import pytest

from mbbench.reporting.target_times import measured_times, multiple, seconds_of
from mbbench.reporting.tried import TriedSize

E = math.e


def sizes():
    # Logs of steps 0, d, -d: spread d with 2 degrees of freedom each; of times the same with half of it.
    d = 0.1
    steps = [100 * E**step for step in (0, d, -d)]
    times = [1e-3 * E**step for step in (0, d / 2, -d / 2)]
    return [TriedSize(1, times, steps), TriedSize(8, [2 * each for each in times], steps), TriedSize(64, times, [None] * 3)]


def test_a_time_is_the_product_of_typical_values_with_both_errors():
    found = measured_times(sizes())
    assert list(found) == [1, 8]  # 64 was never reached
    assert math.exp(found[8].log) == pytest.approx(0.2)
    assert found[8].error == pytest.approx(math.hypot(0.1, 0.05) / math.sqrt(3))
    assert found[8].freedom == 4
    estimate = seconds_of(found[8])
    # t(0.975, 4) = 2.776445
    assert estimate.high / estimate.value == pytest.approx(
        math.exp(2.776445 * math.hypot(0.1, 0.05) / math.sqrt(3)), rel=1e-6
    )
    assert (estimate.n, estimate.unit) == (3, "s")


def test_a_multiple_adds_the_errors_of_both():
    found = measured_times(sizes())
    ratio = multiple(found[8], found[1])
    assert ratio.value == pytest.approx(2.0)
    half = 2.776445 * math.sqrt(2) * found[1].error
    assert (ratio.low, ratio.high) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)), rel=1e-6)


def test_a_multiple_of_itself_is_one_and_of_nothing_is_none():
    found = measured_times(sizes())
    assert (multiple(found[1], found[1]).value, multiple(found[1], found[1]).low) == (1.0, None)
    assert multiple(None, found[1]) is None
    assert multiple(found[1], None) is None


def test_two_seeds_have_no_interval():
    [found] = measured_times([TriedSize(1, [1.0], [10, 20])]).values()
    assert (found.error, seconds_of(found).low) == (None, None)
