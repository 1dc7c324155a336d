"""Two sets of records side by side: figures of the same cells, factors where they compare, and why not where they do not."""

import msgspec
import pytest
import synthetic as s
import targeted as t

from mbbench.record import Environment
from mbbench.reporting.beside import HINT, beside
from mbbench.reporting.selection import latest
from mbbench.reporting.sides import names, pairs, side


def moved(records, **changes):
    """Return the records as if they were measured elsewhere or later."""
    later = s.environment(time="2026-11-24T12:00:00.000Z")
    environment = msgspec.structs.replace(later, **{k: v for k, v in changes.items() if k in Environment.__struct_fields__})
    rest = {k: v for k, v in changes.items() if k not in Environment.__struct_fields__}
    return [msgspec.structs.replace(record, environment=environment, **rest) for record in records]


def both(first, second):
    return side("old", first), side("new", second)


def only(what, first, second):
    (pair,) = [pair for pair in pairs(*both(first, second)) if pair.what.startswith(what)]
    return pair


def test_times_of_a_cell_are_compared_with_an_interval():
    pair = only("an epoch", s.time_records(s.case(32), 0.1), s.time_records(s.case(32), 0.12))
    assert (pair.cell, pair.first, pair.second) == (
        "linear-n8192-b32-slice",
        "100 ms (3 repeats)",
        "120 ms (3 repeats)",
    )
    assert pair.ratio.value == pytest.approx(1.2)
    assert 1 < pair.ratio.low < 1.2 < pair.ratio.high
    assert pair.note == ""
    # An epoch of 256 steps, its start of 1 us taken out.
    step = only("a step", s.time_records(s.case(32), 0.1), s.time_records(s.case(32), 0.12))
    assert step.first.startswith("391 µs")
    assert step.ratio.value == pytest.approx(1.2, rel=1e-4)


def test_two_repeats_have_a_factor_and_no_interval():
    pair = only("an epoch", s.time_records(s.case(32), 0.1, repeats=2), s.time_records(s.case(32), 0.12))
    assert pair.ratio.value == pytest.approx(1.2)
    assert pair.ratio.low is None


def test_peak_memory_is_one_count_against_another():
    pair = only(
        "peak memory", [s.memory_record(s.case(32))], [s.memory_record(s.case(32), scratch=s.tensor_bytes(s.case(32)))]
    )
    assert pair.ratio.value == pytest.approx(2)
    assert pair.ratio.low is None


def test_updates_to_the_target_are_compared_seed_by_seed():
    first = [s.target_record(t.cell(8), [100.0 * part for part in t.SPREAD])]
    second = [s.target_record(t.cell(8), [200.0 * part for part in t.SPREAD])]
    pair = only("updates", first, second)
    assert (pair.what, pair.first, pair.second) == ("updates to loss 0.1", "100 (5 seeds)", "200 (5 seeds)")
    assert pair.ratio.value == pytest.approx(2)


def test_updates_of_seeds_are_a_geometric_mean_or_named_a_median():
    """Of 80, 100, 100, 100 and 200 the geometric mean is 110 and the median 100."""
    steps = [80.0, 100.0, 100.0, 100.0, 200.0]
    pair = only("updates", [s.target_record(t.cell(8), steps)], [s.target_record(t.cell(8), [*steps[:4], None])])
    assert pair.first == "110 (5 seeds)"
    assert pair.second == "100 (median of 5 seeds, 4 reached it)"


def test_each_kind_of_figure_is_counted_by_cells_once():
    first = [*s.time_records(s.case(32), 0.1), *s.curve_records(s.case(32))]
    second = [*s.time_records(s.case(32), 0.2), *s.curve_records(s.case(32), speed=0.03)]
    said = beside(*both(first, second)).finding
    assert "time of an epoch, in 1 of 1 cell (1 with more in B, 0 with less)" in said
    assert said.count(" cell") == said.count("of 1 cell") + 1  # "1 cell is in both"


def test_the_rest_of_the_page_is_said_to_be_of_the_newer_records():
    old, new = s.time_records(s.case(32), 0.1), moved(s.time_records(s.case(32), 0.2))
    said = beside(*both(old, new), latest([*old, *new])[0])
    assert said.rest == (
        "the rest of this page is made from 0 of 3 records of A and all 3 records of B: of what both measured, the newer "
        "records only."
    )
    other = s.time_records(s.case(64), 0.1)
    assert beside(*both(old, other), latest([*old, *other])[0]).rest == (
        "the rest of this page is made from all 3 records of A and all 3 records of B."
    )


def test_a_side_that_is_called_by_its_letter_is_not_named_twice():
    records = s.time_records(s.case(32), 0.1)
    said = beside(side("A", records), side("later", records))
    assert [name for name, _ in said.sides] == ["A", "B: later"]


def test_a_search_of_several_loaders_is_shown_once():
    assert len([pair for pair in pairs(*both(t.everything(), t.everything())) if pair.cell.endswith("b8-slice")]) == 3


def test_updates_to_different_targets_do_not_compare():
    pair = only("updates", [s.target_record(t.cell(8), [100.0] * 5)], [s.target_record(t.cell(8), [90.0] * 5, target=0.2)])
    assert pair.ratio is None
    assert pair.note == "not comparable: targets are 0.1 and 0.2"


def test_a_seed_that_never_got_there_leaves_no_factor():
    pair = only("updates", [s.target_record(t.cell(8), [100.0] * 5)], [s.target_record(t.cell(8), [*[90.0] * 4, None])])
    assert pair.ratio is None
    assert pair.note == "no factor: not every seed of both has a value above 0"
    lost = only("updates", [s.target_record(t.cell(8), [100.0] * 5)], [s.target_record(t.cell(8), [None] * 5)])
    assert lost.second == "not reached"


def test_losses_are_compared_after_as_many_updates_as_all_made():
    first, second = s.curve_records(s.case(32)), s.curve_records(s.case(32), steps=800, speed=0.03)
    pair = only("loss", first, second)
    assert pair.what == "loss after 800 updates"
    assert pair.ratio.value < 1
    assert pair.ratio.n == 3


def test_the_same_curves_differ_by_nothing_and_have_no_interval():
    pair = only("loss", s.curve_records(s.case(32)), s.curve_records(s.case(32)))
    assert (pair.ratio.value, pair.ratio.low) == (1.0, None)


def test_without_a_seed_in_common_losses_do_not_compare():
    pair = only("loss", [s.curve_record(s.case(32), seed=0)], [s.curve_record(s.case(32), seed=1)])
    assert pair.note == "not comparable: no seed is in both"


def test_records_of_another_machine_are_marked_in_every_row_with_what_differs():
    other = moved(t.everything(), identity=s.IDENTITY | {"torch": "2.14.0+cpu", "processor": "Other"})
    found = pairs(*both(t.everything(), other))
    assert found
    assert {pair.note for pair in found} == {"not comparable: another machine or environment (processor and torch)"}
    assert {pair.ratio for pair in found} == {None}


def test_another_file_of_the_problem_is_said_and_compared():
    pair = only("an epoch", s.time_records(s.case(32), 0.1), moved(s.time_records(s.case(32), 0.1), source="s2"))
    assert pair.ratio is not None
    assert pair.note == "the problem's file differs"


def test_what_failed_on_one_side_stands_beside_the_figure_of_the_other():
    pair = only("an epoch", s.time_records(s.case(32), 0.1), [s.failure(s.case(32), "oom")])
    assert (pair.second, pair.ratio) == ("out of memory", None)
    assert only("peak memory", [s.memory_record(s.case(32))], s.time_records(s.case(32), 0.1)).second == "not measured"


def test_the_words_count_cells_and_intervals_and_call_it_a_hint():
    first = [*s.time_records(s.case(32), 0.1), *s.time_records(s.case(64), 0.1), *s.time_records(s.case(8), 0.1)]
    second = [*s.time_records(s.case(32), 0.2), *s.time_records(s.case(64), 0.1), *s.time_records(s.case(16), 0.1)]
    said = beside(*both(first, second))
    assert said.finding == (
        "2 cells are in both, 1 only in A and 1 only in B. The interval leaves out that A and B are equal: time of an "
        f"epoch, in 1 of 2 cells (1 with more in B, 0 with less). By chance one in 20 would. {HINT}"
    )
    heads, rows = said.table
    assert heads == ["cell", "figure", "A: old", "B: new", "B / A", "95 % interval"]
    assert rows[0][:5] == ["linear-n8192-b32-slice", "an epoch", "100 ms (3 repeats)", "200 ms (3 repeats)", "2.0"]
    assert rows[0][5].endswith("(n = 3)")


def test_without_a_cell_in_both_nothing_is_compared():
    said = beside(*both(s.time_records(s.case(32), 0.1), s.time_records(s.case(64), 0.1)))
    assert said.finding.startswith("No cell is in both, 1 only in A and 1 only in B, so nothing can be compared.")
    assert said.table[1] == []


def test_folders_are_named_by_what_tells_them_apart(tmp_path):
    assert names(tmp_path / "old", tmp_path / "new") == ("old", "new")
    assert names(tmp_path / "old" / "results", tmp_path / "new" / "results") == ("old/results", "new/results")
    deep = names(tmp_path / "x" / "a" / "b", tmp_path / "y" / "a" / "b")
    assert deep == ("the first", "the second")
