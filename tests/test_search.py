"""Searches of a learning rate as plain data: first passages, typical steps, best rates, worked by hand."""

import math
import random

import msgspec
import pytest

from mbbench.search import Run, Search, best_rate, central_rate, crossing, edge, promising_rate, steps_to, typical_steps


def run(lr, seed, steps=None, ended="reached", losses=None):
    """Return a run whose loss is 10 at the start, 2 at `steps` / 2 and 1 at `steps`; 10 and 8 where it never reaches 1."""
    if losses is None:
        losses = {0: 10.0, 100: 8.0} if steps is None else {0: 10.0, steps // 2: 2.0, steps: 1.0}
    return Run(lr=lr, seed=seed, ended=ended, step=tuple(losses), train_loss=tuple(losses.values()))


def search(steps, targets=(2.0, 1.0, 0.5)):
    """Return a search with these steps to loss 1 at each rate, one a seed, None where it is never reached."""
    runs = [run(lr, seed, each) for lr, several in steps.items() for seed, each in enumerate(several)]
    return Search(targets=targets, runs=tuple(runs), vectorised=True)


@pytest.mark.parametrize(
    ("step", "losses", "target", "expected"),
    [
        ((0, 100, 200), (8.0, 4.0, 1.0), 2.0, 150.0),  # half-way from 4 to 1 in log
        ((0, 100, 200), (8.0, 4.0, 1.0), 4.0, 100.0),
        ((0, 100, 200), (8.0, 4.0, 1.0), 4 * 0.25**0.25, 125.0),
        ((0, 100, 200), (8.0, 4.0, 1.0), 0.99, None),
        ((0, 100, 200), (8.0, 4.0, 1.0), 8.0, 0.0),  # there before the first update
        ((0, 100, 200), (8.0, 4.0, 1.0), 9.0, 0.0),
        ((0, 10, 20, 30), (8.0, 2.0, 6.0, 1.0), 4.0, 5.0),  # the first passage, not the last
        ((0, 10, 20, 30), (8.0, None, 2.0, 1.0), 4.0, 20.0),  # what was before is not known
        ((0, 10, 20), (8.0, 4.0, None), 2.0, None),
        ((0, 10, 20), (None, None, None), 2.0, None),
        ((0, 10, 20), (3.0, 1.0, -1.0), 0.0, 15.0),  # no logarithm: linear
        ((0, 10, 20), (-1.0, -2.0, -4.0), -3.0, 15.0),
        ((0, 10, 20), (3.0, 1.0, -1.0), 0.5, 12.5),
        ((0, 10, 20), (3.0, 2.0, 0.0), 1.0, 15.0),
        ((0,), (3.0,), 1.0, None),
        ((), (), 1.0, None),
    ],
)
def test_steps_to_a_target_are_the_first_passage_interpolated_in_log_loss(step, losses, target, expected):
    found = crossing(step, losses, target)
    assert found is None if expected is None else found == pytest.approx(expected, rel=1e-12)


def test_losses_and_steps_of_different_lengths_are_no_curve():
    with pytest.raises(ValueError, match="shorter"):
        crossing((0, 10), (3.0,), 1.0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([10.0, 20.0, 30.0, 40.0, 50.0], 30.0),
        ([10.0, 20.0, 30.0, 40.0, None], 30.0),  # the fifth counts as the largest
        ([None, 40.0, 30.0, 20.0, 10.0], 30.0),
        ([10.0, 20.0, 30.0, None, None], None),
        ([10.0, 20.0, 30.0, 40.0], 25.0),
        ([10.0, 20.0, 30.0, None], None),  # 3 of 4 are fewer than 4 of 5
        ([7.0], 7.0),
        ([None], None),
        ([], None),
    ],
)
def test_typical_steps_are_the_median_where_four_of_five_seeds_reach_the_target(steps, expected):
    assert typical_steps(steps) == expected


@pytest.mark.parametrize("fives", range(1, 41))
def test_four_of_five_is_exact_for_every_number_of_seeds(fives):
    missing = [None] * fives
    assert typical_steps([1.0] * (4 * fives) + missing) == 1.0
    assert typical_steps([1.0] * (4 * fives - 1) + [*missing, None]) is None


def test_the_best_rate_has_the_fewest_typical_steps_and_is_the_smallest_of_equals():
    assert best_rate(search({0.1: [200] * 5, 0.2: [100] * 5, 0.4: [100] * 5})) == 0.2
    # The median decides, not the fastest seed; and a rate at which two of five fail has no steps at all.
    assert best_rate(search({0.1: [100] * 5, 0.2: [10, 10, 900, 900, 900], 0.4: [10, 10, 10, None, None]})) == 0.1
    # One seed far out, or not there, counts: its median is that of the better rate, or less.
    assert best_rate(search({0.1: [132, 140, 131, 143, 122], 0.2: [131, 216, 130, 126, 144]})) == 0.1
    assert best_rate(search({0.1: [110] * 5, 0.2: [100, 100, 100, 100, None]})) == 0.1
    assert best_rate(search({0.1: [None] * 5, 0.2: [100, 100, 100, 100, None]})) == 0.2
    assert best_rate(search({0.1: [None] * 5})) is None


def test_the_best_rate_depends_on_the_target_asked_for():
    curves = {
        0.1: {0: 10.0, 10: 3.0, 20: 2.0, 40: 0.5},  # slow at first
        0.2: {0: 10.0, 10: 2.0, 20: 1.9, 80: 0.5},
    }
    runs = tuple(run(lr, 0, losses=each) for lr, each in curves.items())
    found = Search(targets=(2.0, 0.5, 0.1), runs=runs, vectorised=True)
    assert (best_rate(found, 2.0), best_rate(found, 0.5), best_rate(found), best_rate(found, 0.1)) == (0.2, 0.1, 0.1, None)


def test_the_central_rate_is_the_middle_of_those_within_5_percent_of_the_best():
    steps = {0.1: 120, 0.2: 104, 0.3: 102, 0.4: 103, 0.5: 100, 0.6: 106}
    assert best_rate(search({lr: [each] * 5 for lr, each in steps.items()})) == 0.5
    assert central_rate(search({lr: [each] * 5 for lr, each in steps.items()})) == 0.3  # of 0.2 to 0.5 the lower middle
    assert central_rate(search({0.1: [120] * 5, 0.2: [100] * 5, 0.4: [None] * 5})) == 0.2
    assert central_rate(search({0.1: [None] * 5})) is None
    assert central_rate(search({0.1: [200] * 3}, targets=())) is None


def test_a_search_without_a_target_has_no_best_rate_and_its_most_promising_one_is_the_lowest():
    found = search({0.1: [200] * 3, 0.2: [None] * 3}, targets=())
    assert best_rate(found) is None
    assert promising_rate(found) == 0.1
    assert best_rate(found, 1.0) == 0.1


def test_the_target_advised_on_is_the_middle_one():
    several = [(3.0,), (2.0, 1.0), (3.0, 2.0, 1.0)]
    assert [search({0.1: [1]}, targets=targets).target for targets in several] == [3.0, 1.0, 2.0]


def test_where_no_rate_reaches_the_most_promising_one_is_that_of_the_lowest_median_of_lowest_losses():
    def stuck(lr, seed, lowest, ended="budget"):
        return run(lr, seed, ended=ended, losses={0: 10.0, 50: lowest, 100: 9.0})

    calm = [stuck(0.1, seed, loss) for seed, loss in enumerate([4.0, 5.0, 6.0])]
    lucky = [stuck(0.2, seed, loss) for seed, loss in enumerate([1.5, 6.0, 7.0])]
    # It went lower before it exploded, which says nothing of where it would have gone.
    exploded = [stuck(0.4, seed, 1.1, "diverged") for seed in range(3)]
    found = Search(targets=(1.0,), runs=tuple(calm + lucky + exploded), vectorised=False)
    assert best_rate(found) is None
    assert promising_rate(found) == 0.1
    assert promising_rate(msgspec.structs.replace(found, runs=tuple(lucky + exploded))) == 0.2
    assert promising_rate(msgspec.structs.replace(found, runs=tuple(exploded))) == 0.4
    never = Run(lr=0.05, seed=0, ended="diverged", step=(0,), train_loss=(None,))
    assert promising_rate(msgspec.structs.replace(found, runs=(never, *exploded))) == 0.05  # the smallest of equals
    reaches = [run(0.8, seed, 100) for seed in range(3)]
    assert promising_rate(msgspec.structs.replace(found, runs=tuple(calm + reaches))) == 0.8


def test_the_edges_are_the_ends_of_what_was_tried():
    found = search({0.1: [1], 0.2: [1], 0.4: [1]})
    assert [edge(found, lr) for lr in found.rates] == ["low", None, "high"]
    # A single rate lies at both ends; it is extended upwards first.
    assert edge(search({0.1: [1]}), 0.1) == "high"


def test_steps_to_a_target_are_one_a_seed_and_rounding_a_loss_to_six_digits_does_not_move_them():
    found = search({0.1: [200, 100, None]})
    assert steps_to(found, 0.1, 1.0) == (200.0, 100.0, None)
    assert steps_to(found, 0.1, 2.0) == (100.0, 50.0, None)
    exact = crossing((0, 10, 20), (3.0, 1.23456789, 0.3456789), 0.5)
    assert crossing((0, 10, 20), (3.0, 1.23457, 0.345679), 0.5) == pytest.approx(exact, rel=1e-5)


def test_the_order_of_runs_changes_nothing():
    found = search({0.1: [200, 190, 210], 0.2: [100, 120, None], 0.4: [None, 100, 50]})
    generator = random.Random(1)
    for _ in range(20):
        other = msgspec.structs.replace(found, runs=tuple(generator.sample(found.runs, len(found.runs))))
        assert (other.rates, other.seeds) == (found.rates, found.seeds) == ((0.1, 0.2, 0.4), (0, 1, 2))
        for lr in found.rates:
            assert other.at(lr) == found.at(lr)
            assert steps_to(other, lr, 1.0) == steps_to(found, lr, 1.0)
        assert (best_rate(other), promising_rate(other)) == (best_rate(found), promising_rate(found)) == (0.1, 0.1)


def test_a_search_goes_through_json_and_back():
    found = search({0.1: [200, None], math.sqrt(2): [100, 3]})
    assert msgspec.json.decode(msgspec.json.encode(found), type=Search) == found


def test_a_rate_that_the_clock_cut_off_makes_no_inside():
    def run(lr, ended, steps):
        losses = (1.0, 0.1) if ended == "reached" else (1.0, 0.9)
        return Run(lr=lr, seed=0, ended=ended, step=(0, steps), train_loss=losses)

    def found(*cut):
        runs = (run(0.1, "slower", 150), run(0.2, "reached", 100), *cut)
        return Search(targets=(0.1,), runs=runs, vectorised=True)

    assert edge(found(run(0.4, "slower", 150)), 0.2) is None
    assert edge(found(run(0.4, "budget", 2000)), 0.2) is None
    assert edge(found(run(0.4, "budget", 60)), 0.2) == "high"
