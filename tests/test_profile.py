"""What is made of the raw seconds of a profile, by hand."""

import pytest

from mbbench.case import Case
from mbbench.profile import PHASES, Laps, Profile

CELL = Case(problem="linear", n_samples=100, batch_size=10)
LAPS = Laps(
    steps=(4, 4, 2),
    starts=(1, 0, 1),
    start_s=(20.0, 0.0, 40.0),  # a start takes 20, 40: 30
    batch_s=(3.0, 8.0, 3.0),  # another fetch takes 1, 2, 3: 2
    forward_s=(8.0, 12.0, 6.0),  # 2, 3, 3
    backward_s=(16.0, 20.0, 8.0),  # 4, 5, 4
    optimizer_s=(4.0, 2.0, 4.0),  # 1, 0.5, 2
)
ROW = Laps(
    steps=(10, 10),
    starts=(1, 0),
    start_s=(0.0, 0.0),
    batch_s=(0.0, 0.0),
    forward_s=(10.0, 20.0),  # 1.5
    backward_s=(10.0, 10.0),  # 1
    optimizer_s=(0.0, 0.0),
)


def test_each_phase_is_the_median_over_rounds_of_its_mean_step():
    found = Profile(laps=LAPS).phases_s(CELL)
    assert found == {"batch": pytest.approx((30 + 9 * 2) / 10), "forward": 3.0, "backward": 4.0, "optimizer": 1.0}


def test_what_a_single_row_takes_is_taken_off_forward_and_backward_and_called_dispatch():
    found = Profile(laps=LAPS, one_row=ROW).phases_s(CELL)
    assert (found["dispatch"], found["forward"], found["backward"]) == (2.5, 1.5, 3.0)
    assert sum(found.values()) == pytest.approx(sum(Profile(laps=LAPS).phases_s(CELL).values()))
    assert set(found) == set(PHASES)


def test_a_step_of_several_micro_batches_pays_for_a_single_row_as_often():
    found = Profile(laps=LAPS, one_row=ROW).phases_s(CELL.on(micro_batch=5))
    assert (found["dispatch"], found["forward"], found["backward"]) == (3.0 + 2.0, 0.0, 2.0)


def test_a_single_row_never_takes_more_than_the_phase_has():
    found = Profile(laps=LAPS, one_row=ROW).phases_s(CELL.on(micro_batch=1))
    assert (found["dispatch"], found["forward"], found["backward"]) == (7.0, 0.0, 0.0)


def test_a_full_batch_pays_for_a_start_with_every_step():
    assert Profile(laps=LAPS).phases_s(CELL.on(batch_size=None))["batch"] == 30.0


def test_where_no_epoch_was_begun_in_a_round_the_start_counts_as_nothing():
    ordinary = Laps(
        steps=(4,), starts=(0,), start_s=(0.0,), batch_s=(8.0,), forward_s=(4.0,), backward_s=(4.0,), optimizer_s=(4.0,)
    )
    assert Profile(laps=ordinary).phases_s(CELL)["batch"] == pytest.approx(0.9 * 2.0)


def test_the_seconds_of_a_step_are_all_its_phases_as_they_ran():
    assert Profile(laps=LAPS).steps_s == ((20 + 3 + 8 + 16 + 4) / 4, (8 + 12 + 20 + 2) / 4, (40 + 3 + 6 + 8 + 4) / 2)


def test_rates_are_of_the_fastest_and_none_where_nothing_was_measured():
    found = Profile(laps=LAPS, copy_bytes=100, copy_s=(5.0, 4.0), matmul_flop=30, matmul_s=(3.0, 2.0))
    assert (found.bandwidth, found.matrix_rate) == (25.0, 15.0)
    assert (Profile(laps=LAPS).bandwidth, Profile(laps=LAPS).matrix_rate) == (None, None)
