"""What comparing two watched loops measures is said from their totals, and is true at every edge of them."""

import pytest
from looped import seen

from mbbench.reporting import seen_beside
from mbbench.seen import Look, Stretch


def full(**fields):
    """A loop of 100 updates of 10 ms without a loader."""
    return seen(**({"loader": "", "batches": 100, "loader_s": 0.0, "total_s": 1.0} | fields))


def mini(**fields):
    """A loop of 300 updates of 14 ms, 4 ms of them in its loader."""
    return seen(**({"batches": 300, "loader_s": 1.2, "total_s": 4.2} | fields))


def test_a_loader_and_three_times_the_updates():
    assert list(seen_beside.lines(mini(), full())) == [
        "Comparing its time with that of the loop before (Net, 100 steps in 1.00 s) measures the loader (DataLoader, before "
        "none) and the number of updates, and not the batch size alone. It makes 3.0 times the updates (300, before 100). "
        "An update takes 4.00 ms longer (14.0 ms, before 10.0 ms), and it spends all of that time in the loader (4.00 ms of "
        "an update, before nothing)."
    ]


@pytest.mark.parametrize(
    ("loader_s", "total_s", "words"),
    [
        (
            1.2,
            4.8,
            "An update takes 6.00 ms longer (16.0 ms, before 10.0 ms), and it spends 67 % of that time in the loader",
        ),
        (2.4, 4.2, "An update takes 4.00 ms longer (14.0 ms, before 10.0 ms), and it spends all of that time in the loader"),
        (
            0.0,
            4.2,
            "An update takes 4.00 ms longer (14.0 ms, before 10.0 ms), and it spends none of that time in the loader",
        ),
        (1.2, 1.8, "An update takes 4.00 ms less (6.00 ms, before 10.0 ms), and it saves none of that time in the loader"),
        (
            0.3,
            3.0,
            "An update takes as long in both, within 5 % (10.0 ms, before 10.0 ms); the loader (1.00 ms of an update",
        ),
        (0.3, 3.1, "An update takes as long in both, within 5 % (10.3 ms, before 10.0 ms)"),
    ],
)
def test_an_update_is_taken_apart(loader_s, total_s, words):
    [said] = seen_beside.lines(mini(loader_s=loader_s, total_s=total_s), full())
    assert words in said


def test_what_a_loop_saves_is_said_the_other_way_round():
    [said] = seen_beside.lines(full(), mini(loader_s=1.5, total_s=4.2))
    assert "measures the loader (none, before DataLoader) and the number of updates" in said
    assert "It makes 0.33 times the updates (100, before 300)." in said
    assert (
        "4.00 ms less (10.0 ms, before 14.0 ms), and it saves all of that time in the loader (nothing of an update" in said
    )


def test_equal_loops_are_compared_without_a_word():
    assert list(seen_beside.lines(seen(), seen(total_s=2.0))) == []
    assert list(seen_beside.lines(seen(), seen(batches=0))) == []
    assert list(seen_beside.lines(seen(batches=115), seen())) == []  # too few updates more


def test_one_loader_and_other_updates():
    [said] = seen_beside.lines(seen(batches=300, loader_s=1.8, total_s=3.0), seen())
    assert "measures the number of updates, and not the batch size alone" in said
    assert "An update takes as long in both" in said


def test_the_loaders_of_one_class_with_other_workers_are_two():
    [said] = seen_beside.lines(seen(loader="DataLoader with 4 workers"), seen())
    assert "measures the loader (DataLoader with 4 workers, before DataLoader), and not" in said
    assert "the updates" not in said


def test_warming_up_and_looks_are_no_part_of_an_update():
    [said] = seen_beside.lines(mini(), full(total_s=9.0, aside=Stretch(20, 0.0, 8.2)))
    assert "(14.0 ms, before 10.0 ms)" in said


def test_without_a_pace_only_what_differs_is_said():
    never = [Look(8, 0, 256, 0.0, 0.0, 0.0, 0.1)]
    [said] = seen_beside.lines(mini(), full(looks=never))
    assert said.endswith("measures the loader (DataLoader, before none), and not the batch size alone.")
    [said] = seen_beside.lines(mini(aside=Stretch(300, 1.2, 4.2)), full())
    assert said.endswith("It makes 3.0 times the updates (300, before 100).")


def test_what_passes_between_the_batches_of_a_trainer_is_not_called_the_loaders_alone():
    [said] = seen_beside.lines(mini(trainer="Lightning's Trainer"), full())
    assert "in the loader and Lightning's Trainer (4.00 ms of an update" in said
