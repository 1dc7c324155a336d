"""Every sentence is true of the records it was made from."""

import re

import msgspec
import pytest
import synthetic as s

from mbbench.case import Cell
from mbbench.record import Measurement
from mbbench.reporting.advice import lines, verdict
from mbbench.reporting.pooling import settings
from mbbench.reporting.speed import scaling, winner

HEADS = [32, 256, None]


def timed(epochs_s, loader="slice", **fields):
    cells = {size: s.case(size, loader=loader) for size in epochs_s}
    return [record for size, epoch_s in epochs_s.items() for record in s.time_records(cells[size], epoch_s, **fields)]


def said(records, label):
    found = verdict(records)
    every = [*found.doubts, *(finding for answer in found.answers for finding in answer.findings)]
    return [finding.text for finding in every if finding.label == label]


def test_a_clear_winner_is_named_with_what_the_others_cost():
    found = verdict(timed({32: 0.040, 256: 0.010, None: 0.020}, between=0.02))
    first, second = found.headline.split(". ", 1)
    assert first == "Batch 256 has the fastest epoch"
    assert second == (
        "An epoch with full batch takes 2.0 times as long (1.9 to 2.1) and one with batch 32 takes 4.0 times as long (3.8 "
        "to 4.2)."
    )


def test_swapping_winner_and_loser_swaps_the_sentences():
    there = verdict(timed({32: 0.040, None: 0.010})).sentences
    back = verdict(timed({32: 0.010, None: 0.040})).sentences
    assert "Full batch has the fastest epoch. An epoch with batch 32 takes 4.0" in there[0]
    assert "Batch 32 has the fastest epoch. An epoch with full batch takes 4.0" in back[0]


def test_batches_within_ten_percent_are_as_good():
    records = timed({32: 0.040, 256: 0.0105, None: 0.010})
    assert verdict(records).headline.startswith("Full batch and batch 256 have the fastest epochs, equal within 10 %.")
    assert said(records, "As fast") == [
        "an epoch with batch 256 (1.05 times as long, 1.04 to 1.06): within 10 % of the fastest."
    ]


def test_all_tied_is_said_as_such():
    found = verdict(timed({32: 0.0101, 256: 0.0103, None: 0.010}))
    assert found.headline == "All 3 batch sizes take the same time for an epoch, within 10 %."


def test_a_difference_inside_its_interval_is_undecided():
    records = timed({32: 0.0125, None: 0.010}, between=0.3)
    assert verdict(records).headline.startswith("Full batch had the fastest epoch, but not beyond doubt.")
    assert said(records, "Undecided") == [
        "an epoch with batch 32 (1.2 times as long, 0.63 to 2.5): the interval holds both being as fast as the fastest and "
        "being slower. More repeats may decide."
    ]


def test_what_has_an_interval_and_what_has_none_are_undecided_for_different_reasons():
    records = timed({64: 0.0125, None: 0.010}, between=0.3) + timed({2: 0.2, 4: 0.1}, repeats=1)
    (text,) = said(records, "Undecided")
    assert "an epoch with batch 64 (1.2 times as long, " in text
    assert "): the interval holds both being as fast as the fastest and being slower; with batch 4 (10 times as" in text
    assert text.endswith(
        "and batch 2 (20 times as long): no interval, which takes 3 repeats of each and of the fastest. More "
        "repeats may decide."
    )
    assert verdict(records).headline.endswith("2 of 4 times are readings of 1 repeat without an interval.")


@pytest.mark.parametrize("repeats", [1, 2])
def test_without_intervals_nothing_is_equal_and_nobody_wins(repeats):
    records = timed({32: 0.0101, 256: 0.0103, None: 0.010}, repeats=repeats)
    found = verdict(records)
    assert found.headline.startswith("Full batch had the fastest epoch, but not beyond doubt.")
    assert not said(records, "As fast")
    assert "same time" not in found.headline
    (setting,) = settings(records)
    assert winner(setting) == "undecided"
    both = verdict([*records, *(msgspec.structs.replace(r, case=r.case.on(problem="mlp")) for r in records)])
    assert both.headline.startswith("Fastest epoch: undecided in 2 of 2 settings")


def test_a_tie_beside_what_is_undecided_is_not_beyond_doubt():
    records = [*timed({32: 0.0101, None: 0.010}), *timed({256: 0.0105}, repeats=1)]
    assert verdict(records).headline.startswith(
        "Full batch and batch 32 had the fastest epochs, equal within 10 %, but not beyond doubt."
    )


def test_a_loader_without_an_interval_is_a_reading():
    records = timed({32: 0.02, None: 0.01}, repeats=1)
    alike = [*records, *timed({32: 0.0201, None: 0.0102}, loader="gather", repeats=1)]
    assert said(alike, "Loader") == [
        "an epoch through gather takes 1.00 times (batch 32) to 1.02 times (full batch) as long as one through slice (no "
        "interval)."
    ]
    slow = [*records, *timed({32: 0.16}, loader="dataloader", repeats=1)]
    assert said(slow, "Loader")[0].endswith("takes 8.0 times as long as one through slice at batch 32 (no interval).")
    assert said(slow, "Not the batch")[0].endswith("the rest is the loader, not the batch size (no interval).")
    two = verdict([*slow, *(msgspec.structs.replace(r, case=r.case.on(problem="mlp")) for r in slow)])
    assert two.headline.endswith(
        " An epoch through dataloader takes up to 8.0 times as long as through slice (a reading of 1 repeat, no interval)."
    )


def test_a_loader_whose_interval_holds_no_cost_is_charged_with_none():
    records = [*timed({32: 0.02, None: 0.01}, between=0.3), *timed({32: 0.026}, loader="dataloader", between=0.3)]
    assert not said(records, "Not the batch")
    two = verdict([*records, *(msgspec.structs.replace(r, case=r.case.on(problem="mlp")) for r in records)])
    assert "through dataloader" not in two.headline


def test_one_repeat_gives_a_reading_and_says_so():
    records = timed({32: 0.040, None: 0.010}, repeats=1)
    assert "reading of 1 repeat without an interval" in verdict(records).headline
    assert "(1 repeat, no interval)" in said(records, "Fastest epoch")[0]
    assert said(records, "Few repeats")
    assert not re.search(r"\d to \d", verdict(records).headline)


@pytest.mark.parametrize("size", [32, None])
def test_one_batch_size_alone_is_not_called_best(size):
    headline = verdict(timed({size: 0.01})).headline
    assert headline.startswith("Only " + ("full batch" if size is None else "batch 32"))
    assert "fastest" not in headline


def test_without_loss_curves_nothing_is_said_on_convergence():
    records = timed({32: 0.04, None: 0.01})
    assert said(records, "Convergence") == ["no loss curve was recorded, so nothing is said on it."]
    assert not any("loss after" in sentence for sentence in verdict(records).sentences)


def test_without_times_nothing_is_said_on_speed():
    found = verdict([record for size in HEADS for record in s.curve_records(s.case(size))])
    assert found.headline == "No epoch was timed, so nothing is said on speed."
    assert not any("fastest" in sentence for sentence in found.sentences)


def test_everything_out_of_memory():
    found = verdict([s.failure(s.case(size)) for size in HEADS])
    assert found.headline == "No epoch could be timed: 3 out of memory."


def test_everything_failed_in_several_ways():
    records = [s.failure(s.case(32), "crash"), s.failure(s.case(64), "timeout"), s.failure(s.case(None), "crash")]
    assert verdict(records).headline == "No epoch could be timed: 2 crashed, 1 timed out."
    assert said(records, "Not measured") == ["3 of 3 measurements did not end ok: 2 crashed, 1 timed out."]


def test_only_curves_were_asked_for_and_all_failed():
    found = verdict([s.failure(s.case(32), "error", kind="convergence")])
    assert found.headline == "Nothing could be measured: 1 failed with an error."


def test_a_device_that_is_not_here_is_named_beside_the_one_that_is():
    absent = [s.failure(s.case(size, device="cuda"), "unavailable", "no CUDA device") for size in HEADS]
    found = verdict([*timed({32: 0.04, None: 0.01}), *absent])
    assert [answer.headline for answer in found.answers][1] == "CUDA is not available here: nothing could be measured."
    assert found.headline.startswith("Full batch has the fastest epoch.")


def test_a_batch_larger_than_the_data_is_no_fault_of_the_others():
    cell = Cell(problem="linear", n_samples=8192, batch_size=10_000)
    records = [*timed({32: 0.04, None: 0.01}), s.record(cell, Measurement(status="not_applicable"))]
    assert verdict(records).headline.startswith("Full batch has the fastest epoch.")
    assert said(records, "Not measured") == ["1 of 7 measurements did not end ok: 1 batch larger than the data."]


def test_the_loader_is_charged_at_equal_batch_sizes():
    records = [*timed({32: 0.04, 4096: 0.010}), *timed({32: 0.06, 4096: 0.380}, loader="dataloader")]
    text = said(records, "Loader")[0]
    assert text.startswith("an epoch through dataloader takes 1.5 times (batch 32) to 38 times (batch 4,096")
    assert not said(records, "Not the batch")


def test_the_notebooks_comparison_is_taken_apart():
    records = [*timed({32: 0.02, None: 0.010}), *timed({32: 0.06}, loader="dataloader")]
    text = said(records, "Not the batch")[0]
    assert "takes 6.0 times as long; with slice on both sides 2.0 times" in text


def test_a_loader_that_costs_nothing_is_said_to():
    records = [*timed({32: 0.02, None: 0.01}), *timed({32: 0.0201, None: 0.0102}, loader="gather")]
    assert said(records, "Loader") == ["gather takes as long as slice at every batch size, within 10 %."]


def test_losses_at_equal_epochs_come_with_the_number_of_updates():
    records = [*s.curve_records(s.case(32), steps=2560), *s.curve_records(s.case(None), steps=1000)]
    text = said(records, "Equal epochs")[0]
    assert text.startswith("loss after 10 epochs:")
    assert "with batch 32 (2,560 updates)" in text
    assert "with full batch (10 updates)" in text
    assert "more updates per epoch" in text
    assert said(records, "Equal updates")[0].startswith("loss after 1,000 updates:")
    assert said(records, "Equal seconds")


def test_losses_whose_intervals_overlap_are_said_to():
    alike = [*s.curve_records(s.case(2048)), *s.curve_records(s.case(None))]
    assert said(alike, "Equal updates")[0].endswith("All their 95 % intervals overlap.")
    unlike = [*s.curve_records(s.case(8), steps=2560), *s.curve_records(s.case(None))]
    assert "overlap" not in said(unlike, "Equal updates")[0]


def test_losses_are_never_a_ranking():
    records = [*s.curve_records(s.case(32), steps=2560), *s.curve_records(s.case(None))]
    text = said(records, "No ranking")[0]
    assert "one learning rate (0.01) for all batch sizes, not tuned: not a ranking" in text
    assert not any(re.search(r"converges? (faster|better)", sentence) for sentence in verdict(records).sentences)


def test_several_learning_rates_are_not_called_one():
    records = [*s.curve_records(s.case(32), lr=0.1), *s.curve_records(s.case(None))]
    assert said(records, "No ranking")[0].startswith("learning rates from 0.01 to 0.1, not tuned: not a ranking")


def test_one_seed_is_said_to_be_one():
    records = [*s.curve_records(s.case(32), seeds=1), *s.curve_records(s.case(None), seeds=1)]
    assert "one seed each, no interval" in said(records, "No ranking")[0]
    assert said(records, "Few seeds") == ["2 cells trained with fewer than 3 seeds: no interval and no band."]


def test_seeds_that_diverged_are_counted_and_their_batch_size_is_not_compared():
    bad = [*s.curve_records(s.case(8), seeds=1), *(s.curve_record(s.case(8), k, status="diverged") for k in (1, 2))]
    records = [*bad, *s.curve_records(s.case(32)), *s.curve_records(s.case(None))]
    assert said(records, "Diverged")[0].startswith("2 of 3 seeds with batch 8 at the learning rate used")
    assert "batch 8 " not in said(records, "Equal updates")[0]


def test_disturbed_clocks_are_doubted():
    records = timed({32: 0.04, None: 0.01}, busy=1.2)
    assert said(records, "Disturbed")[0].startswith("6 of 6 time records waited more than 5 %")
    assert not said(timed({32: 0.04, None: 0.01}), "Disturbed")


def test_wide_intervals_are_doubted_with_their_width():
    assert re.match(
        r"the interval of 1 of 1 epoch times .* by 28 % at most", said(timed({32: 0.04}, between=0.1), "Wide")[0]
    )
    assert not said(timed({32: 0.04}), "Wide")


def test_records_left_out_are_counted():
    other = timed({32: 0.5}, environment=s.environment("2026-11-22T00:00:00.000Z", processor="Other"))
    assert said([*timed({32: 0.04}), *other], "Left out")[0].startswith("3 records of other machines")


def test_halving_all_times_changes_sentences_with_absolute_times_only():
    whole = s.suite()
    halves = [s.with_times(record, 0.5) for record in whole]
    pairs = list(zip(verdict(whole).sentences, verdict(halves).sentences, strict=True))
    changed = [before for before, after in pairs if before != after]
    assert {sentence.split(":")[0] for sentence in changed} == {"Fastest epoch", "Equal seconds"}


def split(size, micro, epoch_s, **fields):
    return s.time_records(s.case(size, micro_batch=micro), epoch_s, **fields)


def test_a_full_batch_in_micro_batches_stands_beside_the_full_batch_under_its_own_name():
    records = [*timed({32: 0.040, None: 0.010}), *split(None, 64, 0.020)]
    (answer,) = verdict(records).answers
    assert (
        answer.headline == "Full batch has the fastest epoch. An epoch with batch 32 takes 4.0 times as long (4.0 to 4.1)."
    )
    swapped = verdict([*timed({32: 0.040, None: 0.020}), *split(None, 64, 0.010)])
    assert swapped.headline.startswith(
        "Full batch in micro-batches of 64 has the fastest epoch. An epoch with full batch takes 2.0 times"
    )
    assert (
        "1 update with full batch and 256 with batch 32"
        in said([*timed({32: 0.04}), *split(None, 64, 0.01)], "Fastest epoch")[0]
    )


def test_a_full_batch_in_micro_batches_is_full_batch_where_that_does_not_fit():
    records = [*timed({32: 0.010}), *split(None, 64, 0.040)]
    assert verdict(records).headline == (
        "Batch 32 has the fastest epoch. An epoch with full batch in micro-batches of 64 takes 4.0 times as long."
    )
    (setting,) = settings(records)
    assert winner(setting) == "mini"


def test_ways_to_one_batch_size_are_not_called_batch_sizes():
    one = [*timed({None: 0.010}), *split(None, 64, 0.020)]
    assert verdict(one).headline.startswith("Only full batch was timed")
    assert verdict(split(None, 64, 0.020)).headline.startswith("Only full batch in micro-batches of 64 was timed")
    tied = [*timed({32: 0.010, None: 0.010}), *split(None, 64, 0.010)]
    assert verdict(tied).headline.startswith("All 3 combinations of batch size and micro-batch take the same time")


def test_throughput_is_compared_between_batches_in_one_piece():
    (setting,) = settings([*timed({32: 0.040, None: 0.010}), *split(None, 64, 0.080)])
    assert scaling(setting) == "from batch 32 to full batch, throughput is multiplied by 4.0 with slice."
    (setting,) = settings([*timed({32: 0.040}), *split(None, 64, 0.080)])
    assert scaling(setting) == "no two batch sizes were timed alike."


def test_the_loader_is_charged_at_equal_micro_batches():
    records = [*timed({None: 0.010}), *split(None, 64, 0.020)]
    records += s.time_records(s.case(None, loader="dataloader", micro_batch=64), 0.060)
    assert said(records, "Loader") == [
        "an epoch through dataloader takes 3.0 times as long as one through slice at full batch in micro-batches of 64."
    ]
    assert not said(records, "Not the batch")


def test_losses_of_a_batch_in_micro_batches_are_told_only_where_it_was_not_trained_whole():
    accumulated = s.curve_records(s.case(None, micro_batch=64))
    both = [*s.curve_records(s.case(32), steps=2560), *s.curve_records(s.case(None)), *accumulated]
    assert "micro-batches" not in said(both, "Equal epochs")[0]
    alone = [*s.curve_records(s.case(32), steps=2560), *accumulated]
    assert "with full batch in micro-batches of 64 (10 updates)" in said(alone, "Equal epochs")[0]
    same = [*s.curve_records(s.case(None)), *accumulated]
    assert said(same, "Convergence") == ["only full batch has whole loss curves, nothing to compare them with."]
    assert "only full batch in micro-batches of 64 has" in said(accumulated, "Convergence")[0]
    several = [*accumulated, *s.curve_records(s.case(None, micro_batch=16))]
    assert "only full batch has" in said(several, "Convergence")[0]
    apart = [*s.curve_records(s.case(32)), *s.curve_records(s.case(64, loader="gather"))]
    assert "no two batch sizes with one loader have" in said(apart, "Convergence")[0]


def streamed(factor, seeds=3):
    records = s.curve_records(s.case(32, loader="stream"), steps=2560, seeds=seeds)
    curves = [record.measurement.curve for record in records]
    losses = [tuple(factor * loss for loss in curve.train_loss) for curve in curves]
    return [
        msgspec.structs.replace(
            record,
            measurement=msgspec.structs.replace(record.measurement, curve=msgspec.structs.replace(curve, train_loss=loss)),
        )
        for record, curve, loss in zip(records, curves, losses, strict=True)
    ]


def test_what_shuffling_inside_a_window_costs_is_said_at_equal_batch_sizes():
    full = s.curve_records(s.case(32), steps=2560)
    (text,) = said([*full, *streamed(1.0)], "Window")
    assert text == (
        "loss after 10 epochs with batch 32: 0.0449 with stream, 0.0449 with a full shuffle (slice), their 95 % intervals "
        "overlap. With stream, rows are shuffled only inside a window."
    )
    (text,) = said([*full, *streamed(2.0)], "Window")
    assert "0.0898 with stream, 0.0449 with a full shuffle (slice), their 95 % intervals do not overlap." in text
    (text,) = said([*s.curve_records(s.case(32), steps=2560, seeds=1), *streamed(2.0, seeds=1)], "Window")
    assert "(slice), no interval." in text


def test_nothing_is_said_of_windows_where_there_is_nothing_to_compare():
    assert not said([*s.curve_records(s.case(64)), *streamed(1.0)], "Window")
    diverged = [s.curve_record(s.case(32), seed=seed, status="diverged") for seed in range(3)]
    assert not said([*diverged, *streamed(1.0)], "Window")
    full = [*s.curve_records(s.case(None)), *s.curve_records(s.case(None, loader="stream"))]
    assert not said(full, "Window")  # its gradient is the same in any order
    ordered = {"shuffle": False}
    assert not said(
        [*s.curve_records(s.case(32, **ordered)), *s.curve_records(s.case(32, loader="stream", **ordered))], "Window"
    )


@pytest.mark.parametrize(
    ("epochs_s", "expected"),
    [
        ({32: 0.04, None: 0.01}, "full"),
        ({32: 0.01, None: 0.04}, "mini"),
        ({32: 0.01, None: 0.0105}, "both"),
        ({32: 0.01, 64: 0.02}, None),
    ],
)
def test_who_wins_a_setting(epochs_s, expected):
    (setting,) = settings(timed(epochs_s))
    assert winner(setting) == expected


def test_a_batch_of_all_rows_by_its_number_is_no_mini_batch():
    (setting,) = settings(timed({32: 0.04, 8192: 0.01, None: 0.02}))
    assert winner(setting) == "full"
    (setting,) = settings(timed({8192: 0.01, None: 0.02}))
    assert winner(setting) is None


def test_where_every_run_diverged_that_is_said_and_not_called_unmeasured():
    records = [s.curve_record(s.case(size), seed, status="diverged") for size in (8, 32) for seed in range(3)]
    assert verdict(records).headline == "Every run diverged, so there is nothing to compare."


def test_many_settings_are_counted_in_the_headline():
    records = s.suite(problems=["linear", "digits-mlp", "mlp"], batch_sizes=[32, None])
    found = verdict(records)
    assert found.headline == (
        "Fastest epoch: full batch in 3 of 3 settings with full batch and mini-batches. An epoch through dataloader takes "
        "up to 30 times as long as through slice."
    )
    assert len(found.answers) == 3


def test_a_training_whose_seconds_ended_it_is_no_failure():
    records = [*timed({32: 0.04}), *s.curve_records(s.case(32), status="budget_exhausted")]
    assert not said(records, "Not measured")


def test_the_terminal_has_every_sentence():
    found = verdict([*s.suite(), s.failure(s.case(4096))])
    text = "\n".join(lines(found))
    assert all(sentence in text for sentence in found.sentences)


def test_nothing_is_said_of_nothing():
    assert verdict([]).headline == "There are no records to report."


def test_the_verdict_becomes_json():
    assert b"Fastest epoch" in msgspec.json.encode(verdict(s.suite(batch_sizes=[32, None])))


def test_cells_timed_in_several_runs_are_doubted():
    one, other = timed({32: 0.01}), timed({None: 0.02})
    other = [msgspec.structs.replace(record, run_id="another") for record in other]
    assert "1 setting with cells timed in several runs" in said([*one, *other], "Several runs")[0]
    assert not said(one, "Several runs")


def test_two_clocks_that_disagree_are_doubted():
    def with_events(factor):
        records = timed({32: 0.01, None: 0.02})
        for record in records:
            events = tuple(seconds / factor for seconds in record.measurement.round_s)
            measurement = msgspec.structs.replace(record.measurement, round_event_s=events)
            yield msgspec.structs.replace(record, measurement=measurement)

    assert "6 time records of an accelerator" in said(list(with_events(1.2)), "Two clocks")[0]
    assert not said(list(with_events(1.01)), "Two clocks")


def test_seeds_that_change_nothing_are_doubted():
    cell = s.case(None)
    same = [msgspec.structs.replace(s.curve_record(cell), case=cell.on(seed=seed)) for seed in range(3)]
    assert "1 cell where every seed gave the very same curve" in said(same, "Same seeds")[0]


def test_a_problem_edited_between_two_runs_is_not_compared_with_itself():
    old = [msgspec.structs.replace(record, source="old") for record in timed({32: 0.01})]
    later = s.environment(time="2027-01-01T00:00:00Z")
    new = [msgspec.structs.replace(record, source="new", environment=later) for record in timed({256: 0.05})]
    words = " ".join(verdict([*old, *new]).sentences)
    assert "Only batch 256 was timed" in words
    assert "3 records left out: the code, the problem's file or the budget has changed" in words
