"""What was measured at a batch size: seeds that did not reach the target are large values, not missing ones."""

import math

import numpy as np
import pytest

from mbbench.reporting.tried import TriedSize, spread, typical


def test_typical_steps_are_the_geometric_mean_of_the_seeds_and_times_that_of_the_repeats():
    size = TriedSize(8, [1e-3, 4e-3], [10, 40])
    assert size.seconds == pytest.approx(2e-3 * 20)


def test_with_one_of_five_seeds_short_of_the_target_the_median_is_typical():
    size = TriedSize(8, [1.0], [10, None, 20, 30, 15])
    assert size.reached
    assert math.exp(size.log_steps) == pytest.approx(20)  # 10 15 20 30 inf


@pytest.mark.parametrize(("missed", "reached"), [(0, True), (1, True), (2, False), (5, False)])
def test_fewer_than_four_of_five_seeds_do_not_count(missed, reached):
    assert TriedSize(8, [1.0], [10] * (5 - missed) + [None] * missed).reached is reached


def test_the_order_of_seeds_and_repeats_means_nothing():
    assert TriedSize(8, [1.0, 2.0], [3, None, 1]) == TriedSize(8, [2.0, 1.0], [1, 3, None])


def test_typical_works_row_by_row():
    found = typical(np.array([[1.0, 3.0, 8.0], [1.0, 3.0, math.inf], [1.0, math.inf, math.inf]]))
    assert found.tolist() == [4.0, 3.0, math.inf]


def test_the_spread_is_pooled_over_groups():
    # Squared deviations of logs: 2 * (1/2)^2 and 0, with one degree of freedom each.
    assert spread([[1, math.e], [5, 5], [7]]) == (pytest.approx(0.5), 2)
    assert spread([[1], [2, math.inf]]) == (None, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((0, [1.0], [1]), "batch_size is 0"),
        ((1, [], [1]), "0 times and 1 seeds"),
        ((1, [1.0], []), "1 times and 0 seeds"),
        ((1, [math.nan], [1]), "finite numbers above 0"),
        ((1, [1.0], [0]), "finite numbers above 0"),
    ],
)
def test_what_cannot_have_been_measured_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TriedSize(*fields)
