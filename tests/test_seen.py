"""What follows from what was seen of a loop: its noise scale, its batches that were left in peace, its pace."""

import pytest
from looped import seen

from mbbench.seen import Gradients, Look, Pace, Stretch, noise


def stretch(square, trace, rows=8, updates=4):
    return Gradients(updates, rows, square + trace / rows, square + trace / (rows * updates))


def test_the_noise_scale_is_exact_where_there_is_no_noise_in_it():
    found = noise([stretch(4.0, 32.0)] * 3)
    assert (found.rows, found.n) == (pytest.approx(8.0), 3)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert noise([stretch(4.0, 32.0)] * 2) is None
    assert noise([stretch(0.0, 32.0)] * 3) is None
    assert noise([stretch(4.0, 32.0), stretch(4.0, 320.0), stretch(4.0, 3.2)]) is None  # its error is most of it


def test_numerator_and_denominator_are_averaged_apart():
    several = [stretch(1.0, 10.0), stretch(3.0, 10.0), stretch(2.0, 10.0)]
    assert noise(several).rows == pytest.approx(30 / 6)


def test_the_pace_is_that_of_batches_that_were_left_in_peace():
    one = seen(batches=100, loader_s=1.0, total_s=5.0, aside=Stretch(20, 0.6, 2.6))
    assert one.plain == Stretch(80, pytest.approx(0.4), pytest.approx(2.4))
    assert one.pace == pytest.approx(Pace(0.005, 0.03))


def test_an_update_of_several_batches_takes_all_of_them():
    one = seen(batches=100, total_s=2.0, loader_s=0.0, looks=[Look(8, 2, 256, 0.0, 0.0, 0.0, 0.1)])
    assert one.updates == 25
    assert one.pace == pytest.approx(Pace(0.0, 0.08))


def test_nothing_is_known_of_the_pace_without_plain_batches_or_without_updates():
    assert seen(batches=3, aside=Stretch(3, 0.6, 1.0)).pace is None
    assert seen(batches=0, loader_s=0.0, total_s=0.0, looks=[]).pace is None
    assert seen(looks=[Look(8, 0, 256, 0.0, 0.0, 0.0, 0.1)]).pace is None
