"""Where a step goes as numbers: planted seconds come back as shares, and no cell is dropped."""

import math

import pytest
import synthetic as s

from mbbench.case import Cell
from mbbench.profile import PHASES
from mbbench.reporting.pooling import Setting, settings
from mbbench.reporting.step_share import bars, fastest, shares

TOO_LARGE = Cell(problem="linear", n_samples=8192, batch_size=9000)


def of(*records) -> Setting:
    (setting,) = settings(records)
    return setting


def test_the_phases_of_planted_seconds_are_those_that_were_planted():
    [found] = shares(of(s.profile_record(s.case(300)), *s.time_records(s.case(300), 28 * 120e-6)))
    seconds = {"batch": 6e-6, "dispatch": 50e-6, "forward": 20e-6, "backward": 40e-6, "optimizer": 10e-6}
    assert found.phases_s == pytest.approx(seconds)
    assert found.step_s == pytest.approx(126e-6)
    assert found.timed_s == pytest.approx(120e-6)
    assert found.top == "dispatch"
    assert found.part("dispatch") == pytest.approx(50 / 126)


def test_without_a_single_row_there_is_no_dispatch_and_the_step_is_as_long():
    [found] = shares(of(s.profile_record(s.case(300), one_row=False)))
    assert "dispatch" not in found.phases_s
    assert found.part("dispatch") == 0.0
    assert found.step_s == pytest.approx(126e-6)
    assert found.timed_s is None


def test_bars_stand_by_batch_size_with_loaders_side_by_side_and_add_up_to_one():
    cells = [s.case(size, loader=loader) for loader in ("dataloader", "gather", "slice") for size in (None, 8, 512)]
    table = bars(of(*map(s.profile_record, cells)))
    labels = [f"{size} · {loader}" for size in ("8", "512", "full") for loader in ("slice", "dataloader", "gather")]
    assert table["label"].tolist() == labels
    assert table[list(PHASES)].sum(axis=1).tolist() == pytest.approx([1.0] * 9)
    assert set(table["trouble"]) == {""}


def test_bars_of_one_loader_are_named_by_batch_size_and_micro_batch():
    cells = [s.case(8), s.case(None), s.case(None, micro_batch=1024)]
    assert bars(of(*map(s.profile_record, cells)))["label"].tolist() == ["8", "full", "full · by 1,024"]


def test_a_cell_that_failed_has_a_row_with_what_became_of_it():
    failed = [s.failure(s.case(512), "oom", kind="profile"), s.failure(TOO_LARGE, "not_applicable", kind="profile")]
    table = bars(of(s.profile_record(s.case(8)), *failed))
    assert table["trouble"].tolist() == ["", "out of memory", "batch larger than the data"]
    assert table["step_s"].isna().tolist() == [False, True, True]


def test_a_cell_that_was_not_to_be_profiled_has_no_row():
    assert bars(of(s.profile_record(s.case(8)), *s.time_records(s.case(32), 0.1)))["label"].tolist() == ["8"]
    assert bars(of(*s.time_records(s.case(32), 0.1))).empty


def test_where_no_single_row_was_trained_the_share_of_dispatch_is_not_a_number():
    table = bars(of(s.profile_record(s.case(8), one_row=False), s.profile_record(s.case(32))))
    assert [math.isnan(part) for part in table["dispatch"]] == [True, False]


def test_the_machine_is_as_fast_as_it_ever_was():
    assert fastest(shares(of(s.profile_record(s.case(8))))) == pytest.approx((s.BYTES_PER_S, s.FLOP_PER_S, s.ROW_FLOP))
    assert fastest([]) == (None, None, None)
