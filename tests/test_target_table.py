"""Tables of times and steps to target, against a truth worked by hand."""

import math
import random

import pandas as pd
import pytest
import synthetic as s
import targeted as t

from mbbench.reporting import step_table, tables, target_table
from mbbench.reporting.choosing import choices


@pytest.fixture(scope="module")
def found():
    return choices(t.everything())


def row(table, loader, size):
    full = size is None
    (only,) = table[
        (table["loader"] == loader) & (table["full_batch"] == full) & (full | (table["batch_size"] == size))
    ].to_dict("records")
    return only


def test_each_loader_and_batch_size_has_a_row_in_order(found):
    table = target_table.sizes(found)
    assert list(table.columns) == list(target_table.SIZE_COLUMNS)
    assert list(table["loader"]) == ["slice"] * 7 + ["dataloader"] * 7
    assert list(table["batch_size"]) == [1, 2, 4, 8, 16, 32, 64] * 2
    assert list(table["full_batch"]) == ([False] * 6 + [True]) * 2


@pytest.mark.parametrize(
    ("loader", "size", "steps", "step_s", "seconds"),
    [
        ("slice", 4, 300, 60e-6, 0.018),
        ("slice", 8, 200, 80e-6, 0.016),
        ("slice", 16, 150, 120e-6, 0.018),
        ("slice", 32, 125, 200e-6, 0.025),
        ("slice", None, 96, 300e-6, 0.0288),
        ("dataloader", 4, 300, 400e-6, 0.12),
        ("dataloader", 8, 200, 600e-6, 0.12),
        ("dataloader", None, 96, 4e-3, 0.384),
    ],
)
def test_a_size_has_the_planted_steps_and_seconds(found, loader, size, steps, step_s, seconds):
    got = row(target_table.sizes(found), loader, size)
    assert got["steps"] == pytest.approx(steps, rel=1e-9)
    assert (got["steps_low"], got["steps_high"]) == pytest.approx((0.8 * steps, 1.25 * steps))
    assert got["step_s"] == pytest.approx(step_s, rel=1e-9)
    assert got["seconds"] == pytest.approx(seconds, rel=1e-9)
    assert got["multiple"] == pytest.approx(seconds / 0.016, rel=1e-9)
    assert (got["seeds"], got["reached"], got["lr"], got["status"]) == (5, 5, 0.5, "reached")


def test_the_interval_of_a_time_is_students_with_the_spread_pooled_over_the_sizes(found):
    # Variance of each size's five logs: 2 ln(1.25)^2 / 4; repeats agree; 5 sizes leave 20 degrees of freedom: t = 2.086.
    half = 2.08596 * math.sqrt(2 * math.log(1.25) ** 2 / 4 / 5)
    got = row(target_table.sizes(found), "slice", 8)
    assert got["seconds_low"] == pytest.approx(0.016 * math.exp(-half), rel=1e-5)
    assert got["seconds_high"] == pytest.approx(0.016 * math.exp(half), rel=1e-5)


def test_sizes_that_never_got_there_say_how_it_ended_and_have_no_time(found):
    table = target_table.sizes(found)
    diverged, short = row(table, "slice", 1), row(table, "slice", 2)
    assert (diverged["status"], diverged["reached"]) == ("diverged", 0)
    assert (short["status"], short["reached"], short["seeds"]) == ("not_reached", 3, 5)
    for lost in (diverged, short):
        assert all(math.isnan(lost[name]) for name in ("steps", "steps_low", "seconds", "seconds_low", "multiple", "lr"))
        assert lost["step_s"] > 0


def test_races_count_those_that_did_not_get_there_as_the_longest(found):
    got = row(target_table.sizes(found), "slice", 8)
    assert (got["races"], got["races_reached"], got["race_s"]) == (5, 4, pytest.approx(0.012))
    assert (got["race_low"], got["race_high"]) == (0.010, 0.013)
    assert row(target_table.sizes(found), "dataloader", 8)["races"] == 0
    table = target_table.races(found)
    assert sorted(table["seconds"].dropna()) == [0.010, 0.011, 0.012, 0.013]
    assert list(table.loc[table["seconds"].isna(), "status"]) == ["budget_exhausted"]


def test_with_half_the_races_lost_there_is_no_median():
    lost = [s.race_record(t.cell(8), seconds, seed=seed) for seed, seconds in enumerate((0.01, None, None))]
    got = row(target_table.sizes(choices([*t.searches(), *t.times(), *lost])), "slice", 8)
    assert math.isnan(got["race_s"])
    assert (got["races"], got["races_reached"], got["race_low"]) == (3, 1, 0.01)


def test_seeds_have_their_steps_times_the_typical_seconds_of_a_step(found):
    table = target_table.seeds(found)
    eight = table[(table["loader"] == "dataloader") & (table["batch_size"] == 8)]
    assert sorted(eight["steps"]) == pytest.approx([160, 200, 200, 200, 250])
    assert sorted(eight["seconds"]) == pytest.approx([0.096, 0.12, 0.12, 0.12, 0.15])
    # The three seeds of batch 2 that got there are seeds all the same.
    assert len(table[(table["loader"] == "slice") & (table["batch_size"] == 2)]) == 3


def test_curves_that_hold_are_drawn_between_the_sizes_they_were_fitted_to(found):
    # a Bc / b: sqrt(40 * 8 / 5) = 8 rows; Smin (sqrt a + sqrt(b Bc))^2 = 100 * (2 sqrt 40)^2 us.
    table = target_table.time_curves(found)
    slices = table[table["loader"] == "slice"]
    assert (slices["batch_size"].min(), slices["batch_size"].max()) == pytest.approx((4, 32))
    assert slices["seconds"].min() == pytest.approx(0.016, rel=1e-3)
    assert slices["seconds"].iloc[0] == pytest.approx(0.018, rel=1e-6)


def test_the_as_good_sizes_lie_between_the_middles_to_their_neighbours(found):
    table = target_table.bands(found)
    marked = target_table.sizes(found)
    assert list(marked.loc[(marked["loader"] == "slice") & marked["recommended"], "batch_size"]) == [8]
    # 10 % above 16 ms are 17.6 ms: 4 and 16 take 18.
    (band,) = table[table["loader"] == "slice"].to_dict("records")
    assert (band["low"], band["high"]) == pytest.approx((math.sqrt(4 * 8), math.sqrt(8 * 16)))
    # Through the DataLoader sqrt(200 * 8 / 50) = 5.7 rows are best, and 4 and 8 alike.
    (band,) = table[table["loader"] == "dataloader"].to_dict("records")
    assert (band["low"], band["high"]) == pytest.approx((math.sqrt(2 * 4), math.sqrt(8 * 16)))


def test_picks_are_the_recommendations(found):
    picks = target_table.picks(found).set_index("loader")
    assert (picks.loc["slice", "batch_size"], picks.loc["slice", "chosen_by"]) == (8, "curves")
    assert picks.loc["slice", "seconds"] == pytest.approx(0.016, rel=1e-6)
    assert picks.loc["slice", "seconds_low"] < 0.016 < picks.loc["slice", "seconds_high"]


def test_loaders_share_their_steps(found):
    table = step_table.steps(found)
    assert set(table["series"]) == {"slice, dataloader"}
    assert table["shared"].all()
    assert list(table["batch_size"]) == [1, 2, 4, 8, 16, 32, 64]
    assert list(table["steps"].dropna()) == pytest.approx([300, 200, 150, 125, 96])
    assert list(table["samples"].dropna()) == pytest.approx([1200, 1600, 2400, 4000, 6144])
    assert list(table["status"])[:3] == ["diverged", "not_reached", "reached"]
    assert len(step_table.step_seeds(found)) == 5 * 5 + 3


def test_the_fit_of_steps_and_what_is_marked_beside_it_are_the_planted_ones(found):
    fit = step_table.step_curves(found)
    assert fit["holds"].all()
    assert list(fit["steps"].iloc[[0, -1]]) == pytest.approx([300, 125], rel=1e-6)
    (bc,) = step_table.critical(found).values()
    assert bc.value == pytest.approx(8, rel=1e-6)
    assert bc.low < 8 < bc.high
    assert step_table.noise_scale(found) == (6, 20)
    assert step_table.noise_scale(choices([*t.searches()[:3], *t.times()])) is None


def test_steps_that_follow_no_curve_are_fitted_as_doubtful_and_have_no_critical_size():
    steps = {4: 300.0, 8: 200.0, 16: 900.0, 32: 125.0}
    bumpy = [s.target_record(t.cell(size), [each * part for part in t.SPREAD]) for size, each in steps.items()]
    found = choices([*bumpy, *t.times(sizes=t.SIZES)])
    assert not step_table.step_curves(found)["holds"].any()
    assert step_table.critical(found) == {}
    assert target_table.time_curves(found).empty


def test_the_order_of_the_records_changes_nothing():
    records = t.everything()
    tables_of = (
        target_table.sizes,
        target_table.seeds,
        target_table.races,
        target_table.bands,
        target_table.picks,
        target_table.time_curves,
        step_table.steps,
        step_table.step_curves,
    )
    expected = [make(choices(records)) for make in tables_of]
    for seed in range(3):
        mixed = random.Random(seed).sample(records, len(records))
        for make, before in zip(tables_of, expected, strict=True):
            pd.testing.assert_frame_equal(make(choices(mixed)), before)


def test_a_size_without_search_or_without_time_has_a_row_that_says_so():
    searched = [*t.searches()[:4], *t.times(("slice",), (*t.SIZES, None))]
    got = row(target_table.sizes(choices(searched)), "slice", None)
    assert (got["status"], got["seeds"]) == ("not_searched", 0)
    assert math.isnan(got["seconds"])
    untimed = [*t.searches(), *t.times(("slice",), t.SIZES), s.failure(t.cell(None), "oom")]
    assert row(target_table.sizes(choices(untimed)), "slice", None)["status"] == "oom"
    assert row(target_table.sizes(choices(untimed)), "slice", 1)["status"] == "diverged"


def test_a_start_at_the_target_is_said_and_not_drawn():
    found = choices([s.target_record(t.cell(8), [90.0] * 5, aims=(2 * s.START,)), *t.times(("slice",), (8,))])
    got = row(target_table.sizes(found), "slice", 8)
    assert got["status"] == "at_start"
    assert math.isnan(got["steps"])
    assert math.isnan(got["seconds"])


def test_the_table_of_the_page_has_the_same_numbers_in_words(found):
    heads, rows = tables.target_table(target_table.sizes(found))
    assert heads == [
        *("batch size", "loader", "status", "lr", "steps (seeds)", "a step", "time to target (95 %)", "of least", "raced"),
    ]
    assert rows[0] == ["1", "slice", "diverged", "", "", "45.0 µs", "", "", ""]
    assert rows[1] == ["2", "slice", "not reached (3 of 5)", "", "", "50.0 µs", "", "", ""]
    assert rows[3] == [
        *("8", "slice", "recommended", "0.5", "200 (160 to 250)", "80.0 µs", "16.0 ms (13.8 ms to 18.5 ms)", "1.00"),
        "12.0 ms (4 of 5)",
    ]
    assert rows[6][:3] == ["full (64)", "slice", "reached"]
    assert (rows[6][-2], rows[8][0], rows[8][2], rows[9][2]) == ("1.8", "2", "not reached (3 of 5)", "as good")
    heads, rows = tables.step_table(step_table.steps(found))
    assert heads == ["batch size", "loader", "steps (seeds)", "samples", "status"]
    assert rows[2] == ["4", "slice, dataloader", "300 (240 to 375)", "1,200", "reached"]


def test_seeds_that_all_agree_have_no_range_and_what_is_not_known_is_empty():
    alike = choices([s.target_record(t.cell(8), [200.0] * 5), *t.times(("slice",), (4, 8))])
    heads, rows = tables.target_table(target_table.sizes(alike))
    assert "raced" not in heads
    assert [row[heads.index("steps (seeds)")] for row in rows] == ["", "200"]
    assert [row[heads.index("status")] for row in rows] == ["not searched", "recommended"]
