"""Intervals are right, and none is given where there cannot be one."""

import math

import numpy as np
import pytest

from mbbench.reporting.stats import Estimate, against, from_repeats, from_seeds, ratio


def repeats(medians, within=0.0, rounds=11):
    return [[median * math.exp(within * part) for part in np.linspace(-1, 1, rounds)] for median in medians]


def test_an_estimate_refuses_an_interval_that_does_not_hold_its_value():
    with pytest.raises(ValueError, match="low <= value <= high"):
        Estimate(value=1.0, low=1.1, high=1.2, n=3, unit="s")


def test_an_estimate_refuses_half_an_interval():
    with pytest.raises(ValueError, match="two ends or none"):
        Estimate(value=1.0, low=0.9, high=None, n=3, unit="s")


def test_the_value_is_the_geometric_mean_of_the_medians():
    assert from_repeats(repeats([1.0, 2.0, 4.0], within=0.1), "s").value == pytest.approx(2.0)


def test_the_interval_is_the_t_interval_of_the_log_medians():
    found = from_repeats(repeats([1.0, 2.0, 4.0]), "s")
    # Three values a factor 2 apart: standard error log(2) / sqrt(3), t quantile with 2 degrees of freedom 4.3027.
    assert found.high == pytest.approx(2 * math.exp(4.30265 * math.log(2) / math.sqrt(3)), rel=1e-5)
    assert found.low == pytest.approx(4 / found.high)


def test_an_outlying_round_does_not_move_the_value():
    rounds = [1.0] * 10 + [50.0]
    assert from_repeats([rounds] * 3, "s").value == pytest.approx(1.0)


@pytest.mark.parametrize("number", [1, 2])
def test_fewer_than_three_repeats_have_no_interval(number):
    found = from_repeats(repeats([1.0, 1.1][:number], within=0.1), "s")
    assert (found.low, found.high, found.n) == (None, None, number)


def test_repeats_that_agree_by_chance_are_no_better_known_than_their_rounds():
    found = from_repeats(repeats([1.0, 1.0, 1.0], within=0.2), "s")
    assert found.high > 1.05


def test_a_time_of_zero_is_refused():
    with pytest.raises(ValueError, match="log scale"):
        from_repeats([[0.0, 1.0]], "s")


def test_a_ratio_swaps_with_its_sides():
    slow, fast = repeats([2.0, 2.1, 1.9], 0.02), repeats([1.0, 1.02, 0.97], 0.02)
    there, back = ratio(slow, fast), ratio(fast, slow)
    assert there.value == pytest.approx(1 / back.value)
    assert there.low == pytest.approx(1 / back.high)


def test_a_ratio_of_few_repeats_has_no_interval():
    assert ratio(repeats([2.0, 2.1]), repeats([1.0, 1.0, 1.1])).low is None


def test_losses_above_zero_are_pooled_geometrically_and_others_arithmetically():
    assert from_seeds([1.0, 4.0]).value == pytest.approx(2.0)
    found = from_seeds([-1.0, 0.0, 4.0])
    assert found.value == pytest.approx(1.0)
    assert found.low < 1.0 < found.high


def test_one_seed_has_no_interval():
    assert from_seeds([0.5]).low is None


def test_the_interval_of_repeats_covers_the_truth_in_95_of_100_simulations():
    generator = np.random.default_rng(0)
    runs, covered, ratios = 1500, 0, 0
    for _ in range(runs):
        sides = [np.exp(generator.normal(0, 0.05, (4, 1)) + generator.normal(0, 0.01, (4, 9))).tolist() for _ in range(2)]
        found, compared = from_repeats(sides[0], "s"), ratio(*sides)
        covered += found.low <= 1 <= found.high
        ratios += compared.low <= 1 <= compared.high
    assert 0.935 < covered / runs < 0.975  # the floor of the rounds makes it a little too wide, never too narrow
    assert 0.935 < ratios / runs < 0.985


def test_multiples_of_the_fastest_hold_together():
    """14 identical cells of three repeats, processes 10 % apart: in at most 5 % of runs is any called different."""
    generator = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        cells = [[[float(np.exp(generator.normal(0, 0.1)))] * 5 for _ in range(3)] for _ in range(14)]
        best, *others = sorted(cells, key=lambda repeats: from_repeats(repeats, "s").value)
        wrong += any(found.low > 1 for found in against(others, best))
    # 5 % of 400 is 20; 33 is its upper 99.8 % limit.
    assert wrong <= 33


def test_one_multiple_of_the_fastest_is_the_t_interval_of_the_pooled_spread():
    # log medians 0, d, -d and 1, 1 + d, 1 - d: variance d^2 each, 4 degrees of freedom, t(0.975, 4) = 2.776445.
    d = 0.01
    sides = [[[math.exp(base + step)] * 4 for step in (0, d, -d)] for base in (0.0, 1.0)]
    [found] = against([sides[1]], sides[0])
    half = 2.776445105 * d * math.sqrt(2 / 3)
    assert (found.low, found.value, found.high) == pytest.approx((math.exp(1 - half), math.e, math.exp(1 + half)), rel=1e-8)
    assert found.n == 3


def test_multiples_without_three_repeats_have_no_interval():
    [found] = against([[[2.0], [2.0]]], [[1.0], [1.0]])
    assert (found.value, found.low) == (2.0, None)


def test_seeds_that_all_gave_the_same_loss_replicate_nothing():
    assert from_seeds([0.5, 0.5, 0.5]).low is None
    assert from_seeds([0.5, 0.5, 0.6]).low is not None
