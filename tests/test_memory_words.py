"""Every sentence on memory is true of the records it was made from."""

import msgspec
import pytest
import synthetic as s

from mbbench.case import DTYPES, Cell
from mbbench.record import Measurement
from mbbench.reporting.accumulation import SAME
from mbbench.reporting.advice import lines, verdict
from mbbench.reporting.capacity import full_fits, how
from mbbench.reporting.peaks import fits, limits, peak, table, unfit, wavers
from mbbench.reporting.pooling import pools, settings

MIB = 2**20
SIZES = (64, 512, 4096, None)  # 8.25, 10, 24 and 40 MiB of tensors by the law


def memories(sizes=SIZES, loader="slice", device="cpu", **fields):
    return [s.memory_record(s.case(size, loader=loader, device=device), **fields) for size in sizes]


def micro(size, **fields):
    return s.memory_record(s.case(None, micro_batch=size), **fields)


def said(records, label):
    found = verdict(records)
    every = [*found.doubts, *(finding for answer in found.answers for finding in answer.findings)]
    return [finding.text for finding in every if finding.label == label]


def changed(record, **fields):
    return msgspec.structs.replace(record, measurement=msgspec.structs.replace(record.measurement, **fields))


def test_without_memory_records_nothing_is_said_on_memory():
    labels = {finding.label for answer in verdict(s.suite()).answers for finding in answer.findings}
    assert not labels & {"Fits", "Memory", "Accumulation", "Overhead", "Scratch", "Prediction", "Setup", "Device"}
    assert not any("memory" in sentence or "MiB" in sentence for sentence in verdict(s.suite()).sentences)


def test_memory_records_alone_have_a_headline():
    assert verdict(memories()).headline == (
        "No epoch was timed, so nothing is said on speed. Every batch size tried fits in 1 GiB, up to full batch."
    )


def test_the_largest_that_fits_and_the_smallest_that_does_not_are_named_with_the_limit():
    records = memories(limit_bytes=20 * MIB)
    assert said(records, "Fits") == [
        "batch 512 is the largest batch tried that fits in 20 MiB; batch 4,096 is the smallest that does not "
        "(predicted 24 MiB of tensors, not run)."
    ]
    assert "batch 512 is the largest" in verdict(records).headline.lower()
    assert "predicted" not in verdict(records).headline


def test_raising_the_limit_moves_the_sentence():
    assert said(memories(limit_bytes=32 * MIB), "Fits")[0].startswith(
        "batch 4,096 is the largest batch tried that fits in 32 MiB; full batch does not ("
    )


def test_a_prediction_below_its_limit_is_said_to_need_what_the_allocator_adds():
    assert (
        "(predicted 24 MiB of tensors and what the allocator adds, not run)"
        in said(memories(limit_bytes=26 * MIB), "Fits")[0]
    )


def test_a_limit_that_nobody_gave_is_what_was_free():
    assert "fits in the 1 GiB allowed of what was free" in said(memories(asked=False), "Fits")[0]


def test_a_limit_that_is_not_known_is_left_out():
    records = [*memories((64,), limit_bytes=None), *memories((512,), limit_bytes=None, oom_by="raised")]
    assert said(records, "Fits") == [
        "batch 64 is the largest batch tried that fits; batch 512 does not (an allocation failed in training)."
    ]


@pytest.mark.parametrize(
    ("oom_by", "measured", "words"),
    [
        ("predicted", {"predicted_peak_bytes": None}, "predicted, not run"),
        ("raised", {"phase": "data"}, "an allocation failed while the rows were made"),
        ("raised", {"phase": None}, "an allocation failed"),
        ("watchdog", {"peak_rss_delta_bytes": 1200 * MIB}, "ended in training, its process was seen at 1.17 GiB"),
        ("watchdog", {}, "ended in training, its process was seen above it"),
    ],
)
def test_how_it_was_found_that_a_cell_does_not_fit_is_said(oom_by, measured, words):
    assert how(s.memory_record(s.case(512), oom_by=oom_by, **measured)) == words


def test_an_unknown_way_of_running_out_of_memory_is_no_way():
    assert how(s.failure(s.case(512))) == "ran out of memory in training"


def test_everything_out_of_memory():
    records = memories(limit_bytes=4 * MIB)
    assert verdict(records).headline == "No batch size tried fits, not even batch 64 in 4 MiB."
    assert said(records, "Fits")[0].endswith("batch 64 in 4 MiB (predicted 8.25 MiB of tensors, not run).")
    assert not said(records, "Memory")


def test_one_cell_alone_says_nothing_on_others():
    records = memories((512,))
    assert said(records, "Fits") == ["batch 512 fits in 1 GiB; no other batch size was tried in one piece."]
    assert said(records, "Memory") == ["batch 512 takes 10 MiB of tensors (its process: 12.5 MiB) at the peak."]
    alone = memories((512,), limit_bytes=4 * MIB)
    assert said(alone, "Fits")[0].startswith(
        "batch 512 does not fit in 4 MiB (predicted 10 MiB of tensors, not run); no other"
    )


def test_a_crash_tells_nothing_of_what_fits():
    records = [*memories((64, 512)), s.failure(s.case(4096), "crash", kind="memory")]
    assert said(records, "Fits") == ["batch 512 is the largest batch tried that fits in 1 GiB; none ran out of memory."]
    none = [*memories((64,), limit_bytes=4 * MIB), s.failure(s.case(32), "crash", kind="memory")]
    assert said(none, "Fits")[0].endswith("and of no batch size it is known that it fits.")


def test_a_batch_larger_than_the_data_is_not_called_tried():
    cell = Cell(problem="linear", n_samples=8192, batch_size=10_000)
    records = [*memories(), s.record(cell, Measurement(status="not_applicable"), kind="memory")]
    assert said(records, "Fits")[0].startswith("every batch size tried fits")


def test_a_device_that_is_not_here_has_no_memory():
    found = verdict([s.failure(s.case(size, device="cuda"), "unavailable", kind="memory") for size in SIZES])
    assert found.headline == "Nothing could be measured: 4 not available here."


def test_the_loader_is_named_only_where_it_decides_what_fits():
    alike = [*memories(limit_bytes=20 * MIB), *memories(loader="gather", limit_bytes=20 * MIB)]
    assert said(alike, "Fits")[0].startswith("batch 512 is the largest batch tried that fits in 20 MiB; batch 4,096 is")
    unlike = [*memories(), *memories(loader="dataloader", limit_bytes=20 * MIB)]
    assert said(unlike, "Fits")[0].startswith(
        "full batch with slice is the largest batch tried that fits in 1 GiB; batch 4,096 with dataloader is the smallest "
        "that does not fit in 20 MiB ("
    )


def test_a_cell_that_was_timed_fits_although_its_memory_was_not_counted():
    records = [*memories((64,)), *s.time_records(s.case(4096), 0.01)]
    assert said(records, "Fits") == ["every batch size tried fits, up to batch 4,096."]  # in which limit is not known


def test_a_time_pass_that_met_its_limit_is_told_of_without_any_memory_pass():
    lost = s.failure(s.case(None))
    assert not said([*s.time_records(s.case(64), 0.01), lost], "Fits")  # no limit, nothing to say
    met = changed(lost, limit_bytes=64 * MIB, oom_by="raised")
    assert said([*s.time_records(s.case(64), 0.01), met], "Fits") == [
        "batch 64 is the largest batch tried that fits; full batch does not fit in the 64 MiB allowed of what was free "
        "(an allocation failed in training)."
    ]


def test_growth_is_told_between_batches_that_were_tried():
    (text,) = said(memories(), "Memory")
    assert text.startswith(
        "at the peak, batch 64 takes 8.25 MiB of tensors (its process: 10.3 MiB), full batch takes 40 MiB of tensors "
        "(its process: 50 MiB): 4.8 times as much for 128 times the batch."
    )
    assert "At most 8.25 MiB of it (rows, model, optimizer) does not grow with the batch." in text
    assert text.endswith("From batch 512 to batch 4,096 each further sample of the batch takes 4 KiB.")


def test_halving_a_peak_changes_the_sentences_that_tell_it():
    whole = memories()
    half = [*whole[:-1], changed(whole[-1], peak_tensor_bytes=whole[-1].measurement.peak_tensor_bytes // 2)]
    assert "full batch takes 20 MiB of tensors" in said(half, "Memory")[0]
    assert "2.4 times as much" in said(half, "Memory")[0]
    assert said(half, "Fits") == said(whole, "Fits")


def test_swapping_the_peaks_of_two_batches_swaps_what_is_said():
    small, large = memories((64, None))
    sizes = [record.measurement.peak_tensor_bytes for record in (small, large)]
    (text,) = said([changed(small, peak_tensor_bytes=sizes[1]), changed(large, peak_tensor_bytes=sizes[0])], "Memory")
    assert "batch 64 takes 40 MiB" in text
    assert (
        "less, for 128 times the batch, since slice copies all rows to shuffle them and a full batch is not shuffled" in text
    )
    (text,) = said([small, large], "Memory")
    assert "since slice" not in text


def test_peaks_that_hardly_differ_are_said_to():
    records = [changed(record, peak_tensor_bytes=10 * MIB + number) for number, record in enumerate(memories())]
    assert "within 10 % of each other, for 128 times the batch." in said(records, "Memory")[0]


def test_other_loaders_are_compared_at_equal_batch_sizes():
    alike = [*memories(), *memories(loader="gather"), *memories((64,), loader="dataloader")]
    assert said(alike, "Memory")[0].endswith("At equal batch sizes dataloader and gather take as much as slice.")
    double = [changed(r, peak_tensor_bytes=2 * r.measurement.peak_tensor_bytes) for r in memories(loader="dataloader")]
    assert said([*memories(), *double], "Memory")[0].endswith(
        "At equal batch sizes dataloader takes 2.0 times what slice takes."
    )


def test_what_is_not_known_is_never_zero():
    unknown = {
        "peak_rss_delta_bytes": None,
        "predicted_peak_bytes": None,
        "setup_peak_tensor_bytes": None,
        "limit_bytes": None,
    }
    records = [changed(record, **unknown) for record in memories(limit_bytes=None)]
    found = verdict(records)
    assert said(records, "Fits") == ["every batch size tried fits, up to full batch."]
    assert "process" not in said(records, "Memory")[0]
    assert not said(records, "Overhead") + said(records, "Prediction") + said(records, "Scratch") + said(records, "Setup")
    assert not any(" 0 B" in sentence or "None" in sentence or "nan" in sentence for sentence in found.sentences)


def test_a_peak_that_nobody_could_count_is_left_out():
    records = [changed(record, peak_tensor_bytes=None) for record in memories()]
    assert said(records, "Fits")[0].startswith("every batch size tried fits")
    assert not said(records, "Memory")


def test_overhead_is_told_where_tensors_are_most_of_it():
    assert said(memories(), "Overhead") == ["the process takes 1.25 times what the tensors take."]
    assert not said(memories((64,)), "Overhead")  # 8.7 MB
    full = changed(memories((None,))[0], peak_rss_delta_bytes=44 * MIB)
    assert said([*memories((512,)), full], "Overhead") == [
        "the process takes 1.10 times (full batch) to 1.25 times (batch 512) what the tensors take."
    ]


def test_a_sampled_process_is_a_lower_bound_everywhere():
    records = memories(rss_sampled=True)
    assert "(its process: at least 50 MiB)" in said(records, "Memory")[0]
    assert said(records, "Overhead")[0].endswith("Sampled, so a lower bound.")
    assert said(records, "Sampled")[0].startswith("4 memory records where the peak of the process was sampled")
    assert not said(memories(), "Sampled")
    ended = memories((None,), oom_by="watchdog", rss_sampled=True, peak_rss_delta_bytes=MIB)
    assert not said(ended, "Sampled")  # it has no peak


def test_scratch_is_what_the_prediction_does_not_see():
    records = [*memories((64, 512)), *memories((None,), scratch=10 * MIB)]
    assert said(records, "Scratch") == [
        "10 MiB of the peak of full batch (20 %) stand above the prediction: operators' own scratch, which cannot be "
        "reckoned without running them; above 1 % in 1 of 3 cells."
    ]
    assert not said(records, "Prediction")
    assert said(memories(), "Prediction") == ["within 1 % of the peak that was counted, in 4 cells."]


def test_a_prediction_that_was_too_high_is_told():
    records = memories((512,), peak_tensor_bytes=8 * MIB)
    assert said(records, "Prediction") == ["up to 25 % above the peak that was counted (batch 512)."]
    assert not said(records, "Scratch")


def test_making_the_rows_is_told_where_it_takes_more_than_training():
    records = [*memories((64,), setup_peak_tensor_bytes=30 * MIB), *memories((None,))]
    assert said(records, "Setup") == [
        "making rows and model takes 30 MiB of tensors, training with batch 64 after it 8.25 MiB. So it is in 1 of 2 cells."
    ]
    assert not said(memories(), "Setup")


def test_an_accelerator_has_its_allocators_figures():
    records = memories(device="cuda", limit_bytes=30 * MIB)
    assert "batch 4,096 takes 24 MiB of tensors (torch's allocator: 30 MiB)" in said(records, "Memory")[0]
    assert said(records, "Overhead") == ["torch's allocator holds 1.25 times what the tensors take."]
    assert said(records, "Device") == ["with batch 4,096, CUDA memory in use grew by 330 MiB, whoever used it."]
    assert not said(records, "Retries")


def test_an_allocator_that_had_to_try_again_is_doubted():
    records = [*memories((64,), device="cuda"), *memories((512,), device="cuda", allocation_retries=2)]
    assert said(records, "Retries")[0].startswith("1 memory record where the accelerator's allocator emptied its cache")


def test_accumulation_is_the_way_past_a_full_batch_that_does_not_fit():
    records = [
        *memories(limit_bytes=20 * MIB),
        micro(64, limit_bytes=20 * MIB),
        *s.time_records(s.case(64), 0.010, between=0.01),
        *s.time_records(s.case(None, micro_batch=64), 0.0112, between=0.01),
    ]
    assert said(records, "Accumulation") == [
        "full batch does not fit in 20 MiB; the same gradient (to 2e-7 of it) in micro-batches of 64 fits, in 8.25 MiB of "
        "tensors; an epoch takes 12 % more time than with batch 64 (9.5 to 15 %)."
    ]


def test_accumulation_is_compared_with_the_full_batch_where_that_fits():
    records = [
        *memories((None,)),
        micro(64),
        *s.time_records(s.case(None), 0.010, repeats=1),
        *s.time_records(s.case(None, micro_batch=64), 0.025, repeats=1),
    ]
    assert said(records, "Accumulation") == [
        "full batch in micro-batches of 64 (the same gradient, to 2e-7 of it) takes 8.25 MiB of tensors, against 40 MiB in "
        "one piece; an epoch takes 2.5 times as long as with full batch (no interval)."
    ]


def test_accumulation_that_was_not_timed_has_no_time():
    assert said([*memories(), micro(64)], "Accumulation")[0].endswith("against 40 MiB in one piece.")


def test_accumulation_that_does_not_fit_either_is_said():
    records = [*memories(limit_bytes=20 * MIB), micro(4096, limit_bytes=20 * MIB)]
    assert said(records, "Accumulation") == [
        "full batch in micro-batches of 4,096 does not fit in 20 MiB either (predicted 24 MiB of tensors, not run)."
    ]


def test_another_computation_is_not_called_the_same_gradient():
    told = "BatchNorm takes its statistics from each micro-batch: accumulation is not the full batch's computation"
    records = [*memories(), micro(64, message=told, gradient_difference=None)]
    assert "same gradient" not in " ".join(verdict(records).sentences)
    assert told in said(records, "Told")[0]
    assert (
        "its gradient is another one, 3e-1 of it away"
        in said([*memories(), micro(64, gradient_difference=0.3)], "Accumulation")[0]
    )
    assert "gradient" not in said([*memories(), micro(64, gradient_difference=None)], "Accumulation")[0]


@pytest.mark.parametrize(
    ("dtype", "off", "same"),
    [
        ("float64", 1e-13, True),
        ("float64", 1e-6, False),
        ("float32", 2e-6, True),
        ("float32", 1e-3, False),
        ("bfloat16", 4e-3, True),
        ("float16", 0.02, False),
    ],
)
def test_how_near_a_gradient_must_be_to_be_the_same_follows_the_dtype(dtype, off, same):
    assert set(SAME) == set(DTYPES)
    case = s.case(None, micro_batch=64, dtype=dtype)
    [text] = said([s.memory_record(case, gradient_difference=off)], "Accumulation")
    assert ("the same gradient" in text, "its gradient is another one" in text) == (same, not same)


def test_a_warning_of_torch_does_not_hide_what_the_gradient_is():
    [text] = said(
        [micro(64, message="warned: UserWarning: shapes (8, 1) and (8,)", gradient_difference=0.3)], "Accumulation"
    )
    assert "its gradient is another one, 3e-1 of it away" in text


def test_many_micro_batches_are_counted_and_the_largest_that_fit_are_told():
    records = [*memories(limit_bytes=20 * MIB), *(micro(size, limit_bytes=20 * MIB) for size in (16, 32, 64, 128, 4096))]
    texts = said(records, "Accumulation")
    assert [text.split("micro-batches of ")[1].split(" ")[0] for text in texts[:3]] == ["32", "64", "128"]
    assert texts[3] == "further cells with micro-batches, in the table: 2."


def test_a_full_batch_that_does_not_fit_is_part_of_the_headline():
    records = [*memories(limit_bytes=32 * MIB), *s.time_records(s.case(64), 0.01), *s.time_records(s.case(512), 0.04)]
    assert verdict(records).headline == (
        "Batch 64 has the fastest epoch. An epoch with batch 512 takes 4.0 times as long. "
        "Batch 4,096 is the largest batch tried that fits in 32 MiB; full batch does not."
    )


def test_where_everything_fits_the_headline_is_of_speed_alone():
    times = [*s.time_records(s.case(64), 0.01), *s.time_records(s.case(512), 0.04)]
    assert verdict([*memories(), *times]).headline == verdict(times).headline


def test_several_settings_count_full_batches_that_do_not_fit():
    other = [s.memory_record(s.case(size, problem="mlp"), limit_bytes=20 * MIB) for size in SIZES]
    assert verdict([*memories(), *other]).headline == (
        "No epoch was timed in any of 2 settings. Full batch does not fit the memory it was allowed in 1 of 2 settings."
    )
    assert "does not fit" not in verdict([*memories(), *memories(device="cuda")]).headline


def test_a_budget_that_was_not_enough_is_counted_and_no_failure():
    records = memories(limit_bytes=20 * MIB)
    assert said(records, "Over budget") == ["2 of 4 measurements did not fit in the 20 MiB allowed, which is no failure."]
    assert not said(records, "Not measured")
    spare = memories(limit_bytes=20 * MIB, asked=False)
    assert said(spare, "Not measured") == ["2 of 4 measurements did not end ok: 2 out of memory."]
    assert not said(spare, "Over budget")


def test_a_cell_at_its_limit_is_doubted():
    records = [*memories((512,)), s.failure(s.case(512))]
    assert said(records, "At the limit") == ["1 cell fitted in one pass or repeat and ran out of memory in another."]
    (pool,) = pools(records)
    assert (fits(pool), unfit(pool), wavers(pool)) == (True, None, True)


def test_the_terminal_has_every_sentence_on_memory():
    found = verdict([*memories(limit_bytes=20 * MIB), micro(64)])
    text = "\n".join(lines(found))
    assert all(sentence in text for sentence in found.sentences)


def test_peaks_follow_the_law_and_the_limits_that_matter():
    (setting,) = settings([*memories(limit_bytes=20 * MIB), micro(64)])
    assert [peak(pool).tensors for pool in setting.pools if peak(pool)] == [
        s.tensor_bytes(p.cell) for p in setting.pools if peak(p)
    ]
    assert limits(setting) == [20 * MIB, s.GIB]
    assert full_fits(setting) is False
    (free,) = settings(memories(asked=False))
    assert limits(free) == []


def test_the_table_places_what_does_not_fit_at_its_prediction_or_at_its_limit():
    lost = s.memory_record(s.case(2048), oom_by="raised", predicted_peak_bytes=None)
    (setting,) = settings([*memories((64, None), limit_bytes=20 * MIB), lost])
    frame = table(setting)
    assert frame.status.tolist() == ["ok", "oom", "oom"]
    assert frame.lost_bytes.tolist()[1:] == [s.GIB, 40 * MIB]
    assert frame.peak_bytes.isna().tolist() == [False, True, True]
