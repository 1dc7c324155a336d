"""The arithmetic of tables, and which records may stand in one report."""

import math

import msgspec
import pytest
import synthetic as s

from mbbench import store
from mbbench.case import Cell
from mbbench.record import Measurement
from mbbench.reporting import analysis, readable
from mbbench.reporting.losses import band, comparable, horizon, loss_at, reaches
from mbbench.reporting.pooling import contended, pools, settings
from mbbench.reporting.selection import latest
from mbbench.reporting.stats import Estimate


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.jsonl"
    for record in [*s.suite(batch_sizes=[32, None]), s.failure(s.case(8))]:
        store.append(path, record)
    return tmp_path


def test_throughput_times_epoch_time_is_the_number_of_samples_on_every_time_record(results):
    table = analysis.load(results)
    timed = table[(table.kind == "time") & (table.status == "ok")]
    assert len(timed) == 12
    assert (timed.samples_per_s * timed.epoch_s).tolist() == pytest.approx([8192] * 12, rel=1e-15)


def test_a_round_inside_an_epoch_is_scaled_by_its_rows_and_given_one_epoch_start(tmp_path):
    part = Measurement(
        status="ok",
        round_s=(0.1, 0.1, 0.3),
        steps_per_round=10,
        samples_per_round=320,
        epochs_per_round=0,
        epoch_start_s=(0.02,),
    )
    row = analysis.table([s.record(s.case(32), part)]).iloc[0]
    assert row.epoch_s == pytest.approx(0.02 + 0.1 * 8192 / 320)
    assert row.step_s == pytest.approx(0.01)
    assert row.samples_per_s == pytest.approx(8192 / row.epoch_s)


def test_a_batch_size_is_a_number_of_samples_and_says_whether_it_was_asked_as_full(results):
    table = analysis.load(results)
    assert set(zip(table.batch_size, table.full_batch, strict=True)) == {(8, False), (32, False), (8192, True)}


def test_an_unknown_time_is_nan(results):
    table = analysis.load(results)
    assert table[table.kind == "convergence"].epoch_s.isna().all()
    assert table[table.status == "oom"].samples_per_s.isna().all()


def test_curves_have_one_row_per_point_and_nan_after_a_divergence():
    bad = s.curve_record(s.case(8), status="diverged")
    table = analysis.curve_table([bad, s.curve_record(s.case(32)), s.time_record(s.case(32))])
    assert len(table) == len(bad.measurement.curve.step) + len(table[table.status == "ok"])
    assert table[table.status == "diverged"].train_loss.isna().any()
    assert table[table.status == "ok"].train_loss.notna().all()


def test_without_curves_the_table_is_empty_and_has_its_columns():
    assert {"case", "batch_size", "train_loss"} <= set(analysis.curve_table([]).columns)


def test_the_summary_has_one_row_per_cell_and_pools_repeats_and_seeds():
    table = analysis.summary([*s.time_records(s.case(32), 0.02), *s.curve_records(s.case(32)), s.failure(s.case(64))])
    first, second = table.itertuples(index=False)
    assert (first.batch_size, first.repeats, first.seeds) == (32, 3, 3)
    assert first.epoch_s == pytest.approx(0.02)
    assert first.epoch_s_low < 0.02 < first.epoch_s_high
    assert first.samples_per_s * first.epoch_s == pytest.approx(8192)
    middle = s.curve_record(s.case(32), seed=1).measurement.curve
    assert first.final_train_loss == middle.train_loss[-1]
    assert (second.time_status, second.repeats) == ("oom", 0)
    assert math.isnan(second.epoch_s)


def test_the_text_table_leaves_out_what_all_cells_share():
    text = analysis.text_table([*s.time_records(s.case(32), 0.02), *s.time_records(s.case(None), 0.01)])
    assert "20.0 ms" in text
    assert "full" in text
    assert "linear" not in text


def test_a_cell_that_cannot_be_run_has_a_row():
    record = s.record(Cell(problem="linear", n_samples=5, batch_size=8), Measurement(status="not_applicable"))
    assert analysis.summary([record]).iloc[0].time_status == "not_applicable"


def test_records_of_another_machine_are_left_out_and_counted():
    old = s.time_records(s.case(32), 0.5, environment=s.environment("2026-11-22T00:00:00.000Z", processor="Other"))
    new = s.time_records(s.case(32), 0.1)
    kept, notes = latest([*new, *old])
    assert kept == new
    assert notes == ["3 records of other machines left out: times of different machines are not pooled."]


def test_only_the_newest_code_of_a_cell_is_kept_over_all_its_seeds():
    old = s.curve_records(s.case(32), environment=s.environment("2026-11-22T00:00:00.000Z", commit="0" * 40))
    new = s.curve_records(s.case(32), seeds=1)
    kept, notes = latest([*old, *new])
    assert kept == new
    assert "3 records left out: the code," in notes[0]


def test_the_newer_of_two_equal_measurements_is_kept():
    first = s.time_record(s.case(32), 0.5)
    again = s.time_record(s.case(32), 0.1, environment=s.environment("2026-11-24T00:00:00.000Z"))
    kept, notes = latest([first, again])
    assert kept == [again]
    assert "1 record left out because the same was measured again later." in notes


def test_cells_of_several_code_states_are_named():
    old = s.time_record(s.case(32), 0.5, environment=s.environment("2026-11-22T00:00:00.000Z", commit="0" * 40))
    kept, notes = latest([old, s.time_record(s.case(64), 0.5)])
    assert len(kept) == 2
    assert "2 states of the code" in notes[0]


def test_records_with_the_users_own_and_without_stand_in_one_report_until_either_is_edited():
    later = s.environment("2026-11-24T00:00:00.000Z")
    plain = s.time_record(s.case(32))
    mine = s.time_record(s.case(32, optimizer="mine.py:heavy"), source="s1+o1")
    loaded = s.time_record(s.case(32, optimizer="mine.py:heavy", loader="mine.py:whole"), source="s1+l1+o1")
    assert latest([plain, mine, loaded]) == ([plain, mine, loaded], [])
    edited = s.time_record(mine.case, source="s1+o2", environment=later)
    assert latest([plain, mine, loaded, edited])[0] == [plain, edited]
    other = s.time_record(plain.case, source="s2", environment=later)
    assert latest([plain, mine, loaded, other])[0] == [other]


def test_nothing_is_kept_of_nothing():
    assert latest([]) == ([], [])


def test_a_record_is_contended_where_its_wall_clock_outran_its_processor():
    cell = s.case(32)
    assert contended(s.time_record(cell, busy=1.2)) is True
    assert contended(s.time_record(cell, busy=1.0)) is False
    assert contended(s.time_record(cell.on(threads=2), busy=0.5)) is None
    assert contended(s.time_record(cell.on(device="cuda"), busy=2.0)) is None


def test_settings_keep_apart_what_may_not_be_compared():
    records = [s.time_record(s.case(32, **other)) for other in ({}, {"n_samples": 4096}, {"threads": 2}, {"lr": 0.1})]
    titles = [setting.title for setting in settings(records)]
    assert len(set(titles)) == 4
    assert "linear, n = 8,192, CPU, 1 thread" in titles


def test_a_batch_in_micro_batches_stands_in_the_setting_of_the_batch():
    cells = [s.case(32), s.case(None), s.case(None, micro_batch=64), s.case(1024, micro_batch=64)]
    (setting,) = settings([s.time_record(cell) for cell in reversed(cells)])
    assert setting.title == "linear, n = 8,192, CPU, 1 thread"
    assert [pool.batch for pool in setting.pools] == [
        "batch 32",
        "batch 1,024 in micro-batches of 64",
        "full batch",
        "full batch in micro-batches of 64",
    ]
    assert setting.find(None, "slice").cell == s.case(None)
    assert setting.find(None, "slice", 64).cell == s.case(None, micro_batch=64)
    assert setting.find(1024, "slice") is None


def test_page_faults_are_of_one_epoch():
    faults = msgspec.structs.replace
    whole, part = s.time_record(s.case(32)), s.time_record(s.case(32))
    whole = faults(whole, measurement=faults(whole.measurement, minor_faults=190))  # 19 rounds of an epoch
    part = faults(part, measurement=faults(part.measurement, minor_faults=190, samples_per_round=2048, epochs_per_round=0))
    rows = analysis.table([whole, part, s.time_record(s.case(32)), *s.curve_records(s.case(32), seeds=1)])
    assert rows.faults_per_epoch.tolist()[:2] == [10, 40]
    assert rows.faults_per_epoch.isna().tolist() == [False, False, True, True]


def test_the_summary_has_the_memory_of_each_cell():
    records = [
        s.memory_record(s.case(32)),
        s.memory_record(s.case(512, device="cuda")),
        s.memory_record(s.case(None), limit_bytes=2**20),
        *s.time_records(s.case(64), 0.1),
    ]
    table = analysis.summary(records).set_index("samples_per_step")
    law = s.FIXED_BYTES + 32 * s.PER_ROW_BYTES
    assert table.loc[32, ["peak_tensor_bytes", "predicted_peak_bytes"]].tolist() == [law, law]
    assert table.loc[32, "peak_rss_delta_bytes"] == law * s.OVERHEAD
    assert table.loc[512, "peak_device_allocated_bytes"] == s.FIXED_BYTES + 512 * s.PER_ROW_BYTES
    assert math.isnan(table.loc[512, "peak_tensor_bytes"])
    assert table.memory_status.to_dict() == {32: "ok", 64: "", 8192: "oom", 512: "ok"}
    assert table.peak_tensor_bytes.isna().to_dict() == {32: False, 64: True, 8192: True, 512: True}
    assert table.loc[8192, "predicted_peak_bytes"] == s.FIXED_BYTES + 8192 * s.PER_ROW_BYTES


def test_the_text_table_has_peak_memory_and_micro_batches_only_where_there_are_any():
    times = s.time_records(s.case(None), 0.02)
    assert "memory" not in analysis.text_table(times)
    assert "micro" not in analysis.text_table(times)
    text = analysis.text_table([*times, s.memory_record(s.case(None, micro_batch=64)), s.memory_record(s.case(None))])
    heads, *rows = text.splitlines()
    assert "peak memory" in heads
    assert "micro batch" in heads
    assert "40 MiB" in rows[0]
    assert rows[1].split()[:2] == ["64", "full"]
    assert "8.25 MiB" in rows[1]
    assert "nan" not in text.lower()


def test_sizes_have_three_digits_and_binary_units():
    sizes = [0, 512, 1023, 1536, 312 * 2**20, 1.5 * 2**30, 2**30, 1020 * 2**20, 3 * 2**40, 1234567]
    assert [readable.size(size) for size in sizes] == [
        "0 B",
        "512 B",
        "1 KiB",
        "1.5 KiB",
        "312 MiB",
        "1.5 GiB",
        "1 GiB",
        "1 GiB",
        "3 TiB",
        "1.18 MiB",
    ]


def test_a_ratio_of_times_is_told_as_what_it_adds():
    def more(value, low=None, high=None):
        return readable.more_time(Estimate(value=value, low=low, high=high, n=3, unit="ratio"), "with batch 64")

    assert more(1.12, 1.08, 1.16) == "12 % more time than with batch 64 (8 to 16 %)"
    assert more(0.95, 0.92, 0.98) == "5 % less time than with batch 64 (2 to 8 %)"
    assert more(1.01, 0.98, 1.04) == "1 % more time than with batch 64 (2 % less to 4 % more)"
    assert more(1.12) == "12 % more time than with batch 64"
    assert more(3.1, 3.0, 3.2) == "3.1 times as long as with batch 64 (3.0 to 3.2)"
    assert more(1.12, 0.2, 30) == "1.1 times as long as with batch 64 (0.20 to 30)"


def test_a_band_holds_the_curve_of_the_middle_seed():
    (pool,) = pools(s.curve_records(s.case(32)))
    frame = band(pool, "step")
    assert frame.step.iloc[[0, -1]].tolist() == pytest.approx([1, 1000])
    assert (frame.low < frame.loss).all()
    assert (frame.loss < frame.high).all()
    middle = s.curve_record(s.case(32), seed=1).measurement.curve
    assert frame.loss.iloc[[0, -1]].tolist() == pytest.approx([middle.train_loss[1], middle.train_loss[-1]])


def test_two_seeds_have_no_band():
    (pool,) = pools(s.curve_records(s.case(32), seeds=2))
    assert band(pool, "epoch").low.isna().all()


def test_a_band_ends_where_the_first_seed_diverged():
    (pool,) = pools([*s.curve_records(s.case(32), seeds=2), s.curve_record(s.case(32), seed=2, status="diverged")])
    assert band(pool, "step").step.iloc[-1] < 1000


def test_losses_are_compared_no_further_than_every_curve_goes():
    (setting,) = settings([*s.curve_records(s.case(32), steps=2560), *s.curve_records(s.case(None), steps=1000)])
    compared = comparable(setting)
    assert horizon(compared, "epoch") == pytest.approx(10)
    assert horizon(compared, "step") == 1000
    small, full = compared
    assert loss_at(small, "epoch", 10).value < loss_at(full, "epoch", 10).value
    assert loss_at(full, "step", 1000).value < loss_at(small, "step", 1000).value


def test_a_pool_of_which_a_seed_diverged_is_not_compared():
    bad = [*s.curve_records(s.case(8), seeds=2), s.curve_record(s.case(8), seed=2, status="diverged")]
    (setting,) = settings([*bad, *s.curve_records(s.case(32))])
    assert [pool.cell.batch_size for pool in comparable(setting)] == [32]
    assert [reaches(pool, "step", 100) for pool in setting.pools] == [False, True]
