"""The answer in words and as JSON says what the records say, whatever that is."""

import json
import re

import numpy as np
import planted
import pytest
import synthetic as s
from test_cautions import BEYOND, RACES, SIZES, point, races, with_policy

from mbbench.record import Measurement
from mbbench.reporting import advising, analysis, page, provenance
from mbbench.reporting.advice import lines, verdict
from mbbench.reporting.choosing import choices
from mbbench.reporting.pooling import settings
from mbbench.reporting.reasons import findings


def headline(records):
    (choice,) = choices(records)
    return advising.headline(choice)


def said(records):
    (choice,) = choices(records)
    return {finding.label: finding.text for finding in findings(choice)}


def parsed(records):
    return json.loads(advising.to_json(choices(records)))


TIE = {"step_s": lambda size: 1e-3, "steps": lambda size: 50.0}
FULL = {"sizes": planted.SIZES[:-1], "full": (51.0, 5e-4)}


def test_the_winner_is_named_with_its_time_and_interval():
    text = headline(planted.records(np.random.default_rng(1)))
    assert re.match(
        r"With slice, batch \d+ reaches loss 0\.1 first: 3\d\.\d ms \(95 % 3\d\.\d ms to 3\d\.\d ms\) of tr", text
    )
    assert "As good: batch 128." in text
    assert re.search(r"Full batch takes 1\d times as long as with batch \d+ \(1\d to 1\d\)\.", text)


def test_without_noise_the_numbers_are_the_planted_ones():
    (found,) = parsed(planted.records())
    best = planted.steps(64) * planted.step_s(64)
    assert (found["recommended"], found["as_good"], found["chosen_by"]) == (64, [64, 128], "curves")
    assert found["time_to_target_s"] == pytest.approx(best, rel=1e-6)
    assert found["interval_s"] == pytest.approx([best, best], rel=1e-4)
    for name, size in (("full_batch_ratio", 4096), ("batch_1_ratio", 1)):
        assert found[name] == pytest.approx(planted.steps(size) * planted.step_s(size) / best, rel=1e-6)
    assert (found["b_star"], found["bc"]) == (pytest.approx(80, rel=1e-6), pytest.approx(64, rel=1e-6))
    assert found["bc_interval"] == pytest.approx([64, 64], rel=1e-3)
    about = {"problem": "digits-mlp", "n_samples": 4096, "device": "cpu", "loader": "slice", "target": 0.1}
    assert about.items() <= found.items()
    assert (found["lr_policy"], found["warnings"]) == ("tuned", [])
    assert found["limited_by"] in ("gradient noise", "step overhead")  # at Bc both hold, and rounding decides
    assert (found["lr"], found["raced_s"]) == (0.5, None)


def test_a_size_between_those_tried_is_said_not_to_have_been_tried():
    records = planted.records(sizes=(1, 16, 512, 4096))
    (found,) = parsed(records)
    assert (found["recommended"], found["lr"], found["raced_s"]) == (80, None, None)
    assert (
        "It was not tried itself; of the nearest that was, batch 16, the best learning rate is 0.5."
        in (said(records)["Recommended"])
    )


def test_a_size_that_was_tried_has_its_rate_and_races_in_the_json():
    sizes = (1, 8, 64, 512, 4096)
    (found,) = parsed(planted.records(sizes=sizes, step_s=planted.knee) + races({64: RACES[64]}))
    assert (found["recommended"], found["lr"], found["chosen_by"]) == (64, 0.5, "table")
    assert found["raced_s"] == pytest.approx(np.exp(np.log(RACES[64]).mean()))
    assert [each["code"] for each in found["warnings"]] == ["time-not-on-line"]
    assert all(set(each) == {"code", "sentence", "next_step"} for each in found["warnings"])


def test_a_tie_says_tie():
    text = headline(planted.records(np.random.default_rng(1), sizes=(256, 512), **TIE))
    assert text.startswith(
        "With slice, it is a tie to loss 0.1 between all that was compared: batch 256 and batch 512, within"
    )
    assert " first" not in text
    close = planted.records(sizes=planted.SIZES[:-1], full=(51.0, 0.0324 / 51))  # as fast as batch 80
    assert re.match(r"With slice, it is a tie to loss 0.1 between batch 64, .* and full batch, within 10 %", headline(close))


def test_full_batch_that_is_best_is_said_so():
    text = headline(planted.records(**FULL))
    assert text.startswith("With slice, full batch is best: it reaches loss 0.1 first, in 25.5 ms")
    (found,) = parsed(planted.records(**FULL))
    assert (found["recommended"], found["as_good"], found["full_batch_ratio"]) == ("full", ["full"], 1.0)
    assert said(planted.records(**FULL))["Full batch"] == "it is the recommended one."
    assert verdict(planted.records(**FULL)).headline.startswith("With slice, full batch is best")


def test_full_batch_and_batch_1_are_told_as_multiples_or_that_they_were_not_tried():
    text = said(planted.records(np.random.default_rng(1)))
    assert re.match(r"takes \d+ times as long as with batch \d+ \(\d+ to \d+\)\.", text["Batch 1"])
    missing = said(planted.records(sizes=(8, 32, 64, 128, 512)))
    assert missing["Batch 1"] == missing["Full batch"] == "was not tried, so it is not known what it costs."
    lost = said(planted.records(reached=lambda size: size > 1, search=lambda size: {"lowest": 0.4}))
    assert lost["Batch 1"].startswith("did not reach the target with 4 of 5 seeds: the lowest loss seen is 0.4")
    half = said(planted.records(timed=planted.SIZES[1:]))
    assert half["Batch 1"] == "was not timed, so it is not known what it costs."
    other = said(planted.records(searched=planted.SIZES[1:]))
    assert other["Batch 1"] == "was not searched, so it is not known what it costs."


def test_one_seed_has_no_interval_and_says_so():
    records = planted.records(seeds=1)
    assert "(no interval)" in headline(records)
    (found,) = parsed(records)
    assert found["interval_s"] is None
    assert "One seed: no interval" in found["warnings"][0]["sentence"]


def test_without_an_interval_or_where_the_full_batch_may_be_as_fast_nothing_is_beyond_doubt():
    once = planted.records(sizes=(32, 64), seeds=1, repeats=1)
    assert "batch 64 reaches loss 0.1 first, but not beyond doubt: " in headline(once)
    assert said(once)["As good"] == (
        "none: every other batch size that reached the target is more than 10 % slower by a reading without an interval."
    )
    wide = np.random.default_rng(5)
    slower = (400.0, 1.6 * planted.steps(64) * planted.step_s(64) / 400)
    (choice,) = choices(planted.records(wide, sizes=(1, 8, 32, 64, 128, 512), full=slower, noise=0.6, seeds=5))
    multiple = choice.recommendation.full_batch_multiple
    assert multiple.low < 1 < multiple.value
    assert advising.winner(choice) == "undecided"
    assert "first, but not beyond doubt:" in advising.headline(choice)
    assert "beyond doubt" not in headline(planted.records(full=(60.0, 0.02)))


def test_a_mini_batch_without_a_full_batch_beats_none():
    (choice,) = choices(planted.records(sizes=(1, 8, 32, 64)))
    assert advising.winner(choice) == "unopposed"
    two = [r for problem in ("digits-mlp", "mlp") for r in planted.records(sizes=(1, 8, 64), cell={"problem": problem})]
    assert verdict(two).headline.startswith(
        "First at the target loss: a mini-batch, without a full batch to compare it with, in 2 of 2 combinations"
    )


def test_one_size_alone_has_no_other_as_good_and_says_so():
    assert said(planted.records(sizes=(64,)))["As good"] == "no other batch size was compared."


def test_where_nothing_is_recommended_nothing_holds():
    assert "Holds for" not in said(planted.records(sizes=(8, 64), reached=lambda size: False))


def test_times_that_no_clock_tells_apart_are_as_long():
    alike = said(planted.records(full=(200.0, planted.steps(64) * planted.step_s(64) / 200)))
    assert alike["Full batch"].startswith("takes as long as with batch 64")


def test_where_nothing_reached_the_lowest_loss_is_told_with_its_size_and_rate():
    lowest = {1: 0.9, 8: 0.42, 64: 0.7}
    records = planted.records(sizes=(1, 8, 64), reached=lambda size: False, search=lambda size: {"lowest": lowest[size]})
    assert headline(records) == (
        "No batch size reaches loss 0.1 with 4 of 5 seeds: the lowest loss seen is 0.42, with batch 8 at learning rate 0.25."
    )
    (found,) = parsed(records)
    assert (found["recommended"], found["as_good"], found["time_to_target_s"], found["interval_s"]) == (None, [], None, None)


def test_all_diverged_is_said():
    records = planted.records(sizes=(1, 8), reached=lambda size: False, search=lambda size: {"ended": "diverged"})
    text = "No batch size reaches loss 0.1: every run diverged, at every batch size and learning rate tried."
    assert headline(records) == text


def test_one_batch_size_is_not_called_first():
    text = headline(planted.records(sizes=(64,)))
    assert text.startswith("With slice, only batch 64 reaches loss 0.1 of what was compared:")
    assert "first" not in text


def test_no_rows_for_any_batch_size_and_no_times_are_said():
    beyond = [s.record(BEYOND, Measurement(status="not_applicable"), kind) for kind in ("target", "time")]
    assert (
        headline(beyond) == "Nothing was compared: every batch size asked for is larger than the data, which has 4,096 rows."
    )
    assert headline(planted.records(timed=())) == "Nothing is recommended: no batch size was both searched and timed."
    crash = s.failure(planted.case(8), "crash", kind="target")
    assert headline([crash]) == "Nothing was compared: no search for steps to a target came to its end."
    at_start = planted.records(sizes=SIZES, search=lambda size: {"aims": (3.0,)})
    assert headline(at_start) == "Nothing was compared: the loss is at 3 or below before the first update."


def test_rates_that_were_not_tuned_are_no_ranking():
    records = [r for r in planted.records(sizes=SIZES) if r.kind == "time"] + with_policy("linear", planted.steps)
    assert headline(records).startswith("Not tuned, not a ranking: with slice,")
    assert said(records)["Holds for"].endswith("linear learning rates, not tuned: not a ranking.")


def test_the_noise_scale_stands_beside_the_measured_critical_batch_size_only():
    with_noise = planted.records(search=lambda size: {"noise": (point(80.0), point(None))} if size == 32 else {})
    text = said(with_noise)["Critical batch size"]
    assert text.startswith("64 samples (95 % 64 to 64)")
    assert "only a prior" in text
    assert "resolved at 1 of 2 points" in text
    two = planted.records(sizes=(32, 64), search=lambda size: {"noise": (point(80.0),)})
    assert "Critical batch size" not in said(two)  # no curves, so nothing to stand beside


def test_races_are_told_with_what_is_typical_and_their_spread():
    text = said(planted.records() + races({64: [0.03, 0.032, 0.034], 128: [None, None, 0.04]}))["Really trained"]
    assert text == (
        "to loss 0.1, typical of the seeds: batch 64 in 32.0 ms (3 seeds, 30.0 ms to 34.0 ms) and batch 128 did not get "
        "there in most runs (1 of 3 runs reached)."
    )


@pytest.mark.parametrize(
    "records",
    [
        planted.records(np.random.default_rng(1)),
        planted.records(**FULL),
        planted.records(sizes=(256, 512), **TIE),
        planted.records(seeds=1, repeats=1),
        planted.records(reached=lambda size: False),
        planted.records(timed=()),
    ],
)
def test_no_sentence_shows_what_is_not_known(records):
    text = "\n".join([*advising.lines(choices(records)), *lines(verdict(records)), advising.to_json(choices(records))])
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b|NaN|Infinity", text)


def test_the_verdict_begins_with_the_advice_and_the_warnings_are_doubts():
    records = planted.records(sizes=SIZES, step_s=planted.knee) + races(RACES)
    found = verdict(records)
    assert len(found.answers) == 1
    assert found.answers[0].headline.startswith("With slice, batch 64 reaches loss 0.1 first")
    assert "fastest epoch" in found.answers[0].headline
    assert [finding.label for finding in found.answers[0].findings][:2] == ["Recommended", "As good"]
    assert "Time not on line" in [doubt.label for doubt in found.doubts]
    assert not [doubt for doubt in found.doubts if doubt.label == "Not measured"]


def test_the_findings_of_several_loaders_name_theirs_and_what_is_alike_is_said_once():
    records = planted.records() + planted.records(
        loader="dataloader", searched=(), step_s=lambda size: 9 * planted.step_s(size)
    )
    found = verdict(records).answers[0]
    labels = [finding.label for finding in found.findings]
    assert labels.count("Target") == 1
    assert [label for label in labels if label.startswith("Recommended")] == [
        "Recommended (slice)",
        "Recommended (dataloader)",
    ]
    assert found.headline.startswith("With slice, batch 64 reaches loss 0.1 first")


def test_several_settings_are_counted_by_what_is_first():
    several = planted.records() + planted.records(loader="dataloader", searched=())
    more = planted.records(cell={"problem": "digits-softmax"}, **FULL)
    text = verdict([*several, *more]).headline
    assert text.startswith(
        "First at the target loss: a mini-batch in 2 and full batch in 1 of 3 combinations of setting and loader."
    )


def test_searches_and_races_open_no_setting_of_their_own():
    records = planted.records() + planted.records(loader="dataloader", searched=()) + races(RACES)
    fixed = with_policy("fixed", planted.steps)
    (setting,) = settings([*records, *fixed])
    assert setting.title == "digits-mlp, n = 4,096, CPU, 2 threads"
    assert setting.loaders == ("slice", "dataloader")
    assert len(setting.records) == len(records) + len(fixed)
    pool = setting.find(64, "slice")
    assert (len(pool.timings), len(pool.searches), len(pool.races), pool.trainings) == (5, 2, 5, ())
    assert (pool.status("target"), pool.status("race")) == ("ok", "ok")
    assert len(setting.find(64, "dataloader").searches) == 2
    (alone,) = settings([*fixed, *planted.records(timed=())])
    assert alone.title == "digits-mlp, n = 4,096, CPU, 1 thread"


def test_a_search_that_ran_out_of_steps_is_no_failure_and_one_that_crashed_is():
    lost = planted.records(reached=lambda size: size > 1)
    assert not [doubt for doubt in verdict(lost).doubts if doubt.label == "Not measured"]
    crash = s.failure(planted.case(64), "crash", kind="target")
    records = [*planted.records(searched=(1, 8, 512)), *planted.records(loader="gather", searched=()), crash]
    (doubt,) = [doubt for doubt in verdict(records).doubts if doubt.label == "Not measured"]
    assert doubt.text == f"1 of {len(records)} measurements did not end ok: 1 crashed."  # once, though it is in two pools


def test_the_tables_have_searches_and_races_and_no_curve_of_a_race():
    records = planted.records(sizes=SIZES) + races(RACES)
    cells = analysis.summary(records)
    assert len(cells) == len(SIZES)
    assert set(cells["target_status"]) == {"ok"}
    assert cells.set_index("batch_size")["race_status"][64] == "ok"
    assert len(analysis.table(records)) == len(records)
    assert "search" not in analysis.table(records)
    assert analysis.curve_table(records).empty
    assert "ok" in analysis.text_table(planted.records(sizes=SIZES, timed=()))


def test_a_page_of_searches_and_races_says_the_advice(tmp_path):
    records = planted.records(sizes=SIZES) + races(RACES)
    said = page.build(records, tmp_path / "index.html", figures=False)
    text = (tmp_path / "index.html").read_text()
    assert said.headline.startswith("With slice, batch")
    assert "reaches loss 0.1 first" in text
    assert "is tuned at each batch size" in text
    assert "recorded too and are not drawn" not in text  # a race has a few points and is no curve
    page.build(planted.records(sizes=SIZES, timed=()), tmp_path / "untimed.html", figures=False)


def test_the_command_that_repeats_a_search_asks_for_it_as_it_was_asked_for():
    records = planted.records(sizes=(8, 32)) + races({32: RACES[64]}) + with_policy("fixed", planted.steps)[1:3]
    (command,) = provenance.commands(records)
    assert "--batch-size 8,32 " in command
    assert "--measure time,target" in command
    assert "--lr-policy tuned,fixed" in command
    assert "--threads 2 " in command
    assert "--seeds 5" in command
    assert "lr_policy" not in command
    apart = provenance.commands(planted.records(sizes=(8, 64)) + with_policy("fixed", planted.steps)[1:3])
    assert [each.split(" --n ")[0].split()[-1] for each in apart] == ["8,64", "8,32"]
    assert ["--lr-policy fixed" in each for each in apart] == [False, True]
    aimed = s.target_record(planted.case(8), [9.0] * 5, budget=s.Budget(target_loss=0.1, max_seconds=60.0))
    assert "--target 0.1" in provenance.commands([aimed])[0]
    assert "--threads 1" in provenance.commands([aimed])[0]
