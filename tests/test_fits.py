"""The two curves are found exactly where they hold, and the best batch size by K10's algebra."""

import math

import numpy as np
import planted
import pytest

from mbbench.reporting.fits import StepCurve, StepTime, cost_of, fit_step_time, fit_steps, most_cost, optimum, time_to_target

TIME, STEPS = StepTime(planted.OVERHEAD_S, planted.SAMPLE_S), StepCurve(planted.LEAST_STEPS, planted.CRITICAL)


def test_planted_curves_without_noise_are_found_exactly():
    time = fit_step_time(planted.SIZES, [planted.step_s(size) for size in planted.SIZES])
    steps = fit_steps(planted.SIZES, [planted.steps(size) for size in planted.SIZES])
    assert (time.overhead_s, time.sample_s) == pytest.approx((200e-6, 2e-6), rel=1e-6)
    assert (steps.least_steps, steps.critical_batch_size) == pytest.approx((50, 64), rel=1e-6)
    assert max(abs(each) for each in (*time.residuals, *steps.residuals)) < 1e-6


@pytest.mark.parametrize("critical", [0.05, 1.0, 3e4])
def test_critical_batch_sizes_outside_of_the_sizes_tried_are_found_too(critical):
    found = fit_steps(planted.SIZES, [7 * (1 + critical / size) for size in planted.SIZES])
    assert (found.least_steps, found.critical_batch_size) == pytest.approx((7, critical), rel=1e-6)


def test_the_best_batch_size_balances_overhead_and_noise():
    found = optimum(TIME, STEPS, planted.N)
    assert found.batch_size == found.unclipped == pytest.approx(80)
    # 50 (sqrt(200 us) + sqrt(2 us * 64))^2
    assert found.seconds == pytest.approx(50 * (math.sqrt(200e-6) + math.sqrt(128e-6)) ** 2)
    assert found.seconds == pytest.approx(min(time_to_target(TIME, STEPS, size) for size in np.geomspace(1, 4096, 100_001)))


@pytest.mark.parametrize(("most", "batch_size"), [(32, 32), (4096, 80)])
def test_the_best_batch_size_is_clipped_to_what_is_possible(most, batch_size):
    found = optimum(TIME, STEPS, most)
    assert found.batch_size == pytest.approx(batch_size)
    assert found.seconds == pytest.approx(time_to_target(TIME, STEPS, batch_size))


def test_without_noise_of_the_gradient_a_single_sample_is_best():
    assert optimum(TIME, StepCurve(50, 0), 100).batch_size == 1


def test_samples_that_cost_nothing_make_the_largest_batch_best_and_steps_that_cost_nothing_the_smallest():
    assert optimum(StepTime(1e-4, 0), STEPS, 1000).batch_size == 1000
    assert optimum(StepTime(0, 1e-6), STEPS, 1000).batch_size == 1


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.8, 2, 4])
def test_a_batch_size_off_the_best_costs_at_most_the_bound(factor):
    assert most_cost(2) == most_cost(0.5) == 0.125
    cost = cost_of(80 * factor, TIME, STEPS, planted.N)
    assert 0 < cost <= most_cost(factor)
    # The bound is reached where a = b Bc.
    assert cost_of(8 * factor, StepTime(8, 1), StepCurve(5, 8), 10**9) == pytest.approx(most_cost(factor))


def test_parameters_are_not_below_zero():
    falling, convex = fit_step_time([1, 2, 4], [3.0, 2.0, 1.0]), fit_step_time([1, 2, 4], [1.0, 3.0, 9.0])
    assert falling.sample_s == 0
    assert convex.overhead_s == 0
    # Least squares of relative errors of one constant: sum(1/t) / sum(1/t^2).
    assert falling.overhead_s == pytest.approx((1 / 3 + 1 / 2 + 1) / (1 / 9 + 1 / 4 + 1))
    assert convex.sample_s == pytest.approx((1 + 2 / 3 + 4 / 9) / (1 + 4 / 9 + 16 / 81))


def test_steps_that_do_not_fall_have_a_critical_batch_size_of_zero():
    found = fit_steps([1, 10, 100], [5.0, 5.0, 5.0])
    assert (found.critical_batch_size, found.least_steps) == (0.0, pytest.approx(5.0))
    assert fit_steps([1, 10, 100], [4.0, 5.0, 6.0]).critical_batch_size == 0


def test_steps_that_fall_in_proportion_have_a_critical_batch_size_far_above_all_tried():
    assert fit_steps([1, 10, 100], [1000.0, 100.0, 10.0]).critical_batch_size > 500 * 100


def test_the_order_of_the_sizes_changes_nothing_but_that_of_the_residuals():
    sizes, values = [1, 4, 16, 64], [4.0, 3.0, 2.5, 2.2]
    there, back = fit_steps(sizes, values), fit_steps(sizes[::-1], values[::-1])
    assert there.critical_batch_size == pytest.approx(back.critical_batch_size, rel=1e-6)
    assert there.residuals == pytest.approx(back.residuals[::-1], rel=1e-6)


def test_the_critical_batch_size_of_digits_is_where_two_sweeps_found_it():
    sizes = [2**k for k in range(11)] + [1797]
    for steps in (
        [1409, 833, 393, 221, 132, 73, 52, 51, 55, 37, 32, 35],
        [1510, 730, 364, 194, 105, 78, 51, 48, 55, 35, 30, 34],
    ):
        assert 20 <= fit_steps(sizes, steps).critical_batch_size <= 80


def test_what_cannot_be_fitted_is_refused_with_a_reason():
    with pytest.raises(ValueError, match="3 or more, each once"):
        fit_steps([1, 2], [3.0, 2.0])
    with pytest.raises(ValueError, match="3 or more, each once"):
        fit_steps([1, 2, 2, 4], [3.0, 2.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="3 batch sizes and 2 step_s"):
        fit_step_time([1, 2, 3], [3.0, 2.0])
    with pytest.raises(ValueError, match="finite numbers above 0"):
        fit_step_time([1, 2, 3], [3.0, 2.0, math.nan])
    with pytest.raises(ValueError, match="most is 0"):
        optimum(TIME, STEPS, 0)
