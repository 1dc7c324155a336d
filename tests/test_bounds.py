"""What bounds throughput, from planted times; and words that are true of every state of it."""

import dataclasses

import pytest
import synthetic as s

from mbbench.reporting.bounds import Bounds, bounds, knee_label, method
from mbbench.reporting.fits import StepTime
from mbbench.reporting.pooling import Setting, settings

MINIS = (8, 64, 512, 2048)  # divisors of the rows: no ragged last batch
FIT = "Dashed: the limits of a step{}, B / a and 1 / b, of t = a + b B fitted to 4 mini-batch sizes: a = 60.0 µs, b = 200 ns"
KNOWN = Bounds(1e6, (8, 2048), "slice", StepTime(60e-6, 0.2e-6, (0.0, 0.125)), 50e9, 14_000.0)


def of(*records) -> Setting:
    (setting,) = settings(records)
    return setting


def times(sizes=(*MINIS, None), loader="slice", more_s=0.0) -> list:
    cells = [s.case(size, loader=loader) for size in sizes]
    law = [cell.steps_per_epoch * s.FIXED_S + cell.n_samples * (s.PER_ROW_S + more_s) for cell in cells]
    return [record for cell, seconds in zip(cells, law, strict=True) for record in s.time_records(cell, seconds)]


def told(*records) -> str:
    return method(setting := of(*records), bounds(setting))


def test_the_planted_parts_of_a_step_are_found_with_their_knee():
    found = bounds(of(*times()))
    assert found.step.overhead_s == pytest.approx(60e-6)
    assert found.step.sample_s == pytest.approx(0.2e-6)
    assert found.knee == pytest.approx(300)
    assert found.knee_inside
    assert found.sizes == (8, 8192)
    assert found.highest == pytest.approx(8192 / (60e-6 + 8192 * 0.2e-6))
    assert found.matrix_bound is None


def test_neither_part_of_a_step_lets_more_through_than_its_bound():
    assert [KNOWN.at(size) for size in (30, 300, 3000)] == pytest.approx([30 / 60e-6, 5e6, 5e6])


def test_the_fit_is_of_the_first_loader_and_of_mini_batches_in_one_piece():
    micro = s.time_records(s.case(1024, micro_batch=64), 1.0)
    found = bounds(of(*times(), *times(loader="dataloader", more_s=6e-6), *micro))
    assert found.loader == "slice"
    assert found.step.overhead_s == pytest.approx(60e-6)
    assert len(found.step.residuals) == 4


def test_two_mini_batch_sizes_are_too_few_and_without_times_there_is_nothing():
    assert bounds(of(*times((8, 64, None)))).step is None
    assert bounds(of(s.profile_record(s.case(8)))) is None
    assert method(of(s.profile_record(s.case(8))), None) == ""
    assert told(*times((8, 64, None))) == ""


def test_micro_batches_alone_have_bounds_of_their_own():
    assert bounds(of(*s.time_records(s.case(1024, micro_batch=64), 1.0))).highest == pytest.approx(8192)


def test_the_matrix_rate_over_the_operations_of_a_row_is_samples_a_second():
    found = bounds(of(*times(), s.profile_record(s.case(8))))
    assert found.matrix_bound == pytest.approx(s.FLOP_PER_S / s.ROW_FLOP)
    assert found.near
    for highest, near in ((1.01e5, False), (1.3e5, True), (1e8, True), (1.1e8, False)):
        assert dataclasses.replace(found, highest=highest).near == near


def test_a_part_that_is_nothing_leaves_no_knee():
    for step in (StepTime(0.0, 1e-6, (0.0,)), StepTime(1e-6, 0.0, (0.0,)), None):
        found = dataclasses.replace(KNOWN, step=step)
        assert found.knee is None
        assert not found.knee_inside
    assert dataclasses.replace(KNOWN, step=StepTime(0.0, 1e-6)).at(8) == pytest.approx(1e6)
    assert dataclasses.replace(KNOWN, step=StepTime(1e-6, 0.0)).at(8) == pytest.approx(8e6)


def test_words_on_the_fit():
    knee = "; the knee a / b is at batch 300."
    assert told(*times()) == f"{FIT.format('')}, off by less than 1 %{knee}"
    several = [*times(), *times(loader="dataloader", more_s=6e-6)]
    assert told(*several) == f"{FIT.format(' with slice')}, off by less than 1 %{knee}"
    setting, alone = of(*times()), dataclasses.replace(KNOWN, matrix_rate=None)
    assert "off by 12 % at most; the knee a / b is at batch 300." in method(setting, alone)
    outside = dataclasses.replace(alone, sizes=(8, 128))
    assert method(setting, outside).endswith("the knee a / b is at batch 300, outside what was timed.")
    flat = dataclasses.replace(alone, step=StepTime(0.0, 1e-6, (0.0, 0.0)))
    assert method(setting, flat).endswith(
        "a = 0 ns, b = 1.00 µs, off by less than 1 %; with one of them at 0 there is no knee."
    )


def test_words_on_the_matrix_rate():
    setting, alone = of(*times()), dataclasses.replace(KNOWN, step=None)
    words = "Matrix rate: at 50 Gflop/s a row of 14 kflop lets 3.57 million samples/s through"
    assert method(setting, alone) == f"{words}, 3.6 times the highest throughput."
    far = dataclasses.replace(alone, highest=1e4)
    assert method(setting, far) == f"{words}, 357 times the highest throughput, too far to be drawn."
    assert method(setting, dataclasses.replace(alone, flop_per_row=None)) == ""


@pytest.mark.parametrize(
    ("knee", "words"), [(2.96, "knee 3"), (0.123, "knee 0.12"), (297.0, "knee 300"), (61234.0, "knee 61,000")]
)
def test_a_knee_has_two_digits(knee, words):
    assert knee_label(knee) == words
