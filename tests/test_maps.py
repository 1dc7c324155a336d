"""The map over rows and devices: which records make one, what is in it, and a sentence that is true of every one."""

import itertools

import pytest
import synthetic as s
import targeted as t

from mbbench.reporting import map_frames, map_words
from mbbench.reporting.choosing import choices
from mbbench.reporting.maps import Map, Row, Spot, maps
from mbbench.reporting.pooling import settings
from mbbench.reporting.selection import latest

SIZES = (4, 16, 64, 256, None)


def made(records):
    kept, _ = latest(records)
    return maps(settings(kept), choices(kept))


def epochs(n, best, device="cpu", sizes=SIZES, **fields):
    """Time records of which one batch size is the fastest, those beside it twice as slow a step away, and so on."""
    records = []
    for place, size in enumerate(sizes):
        cell = t.cell(size, n_samples=n, device=device, **fields)
        records += s.time_records(cell, 0.01 * 2 ** abs(place - sizes.index(best)))
    return records


def targets(n, best, device="cpu", sizes=(4, 16, 64, None), **fields):
    """Searches and times of which one batch size takes the least time to the target."""
    records = []
    for place, size in enumerate(sizes):
        cell = t.cell(size, n_samples=n, device=device, **fields)
        steps = 100.0 * 3 ** abs(place - sizes.index(best))
        records.append(s.target_record(t.cell(size, n_samples=n), [steps * part for part in t.SPREAD]))
        records += [s.time_record(cell, 1e-3 * cell.steps_per_epoch, repeat=repeat) for repeat in range(3)]
    return records


def row(n, best, device="cpu", good=(), recommended=None, threads=1, sizes=SIZES):
    cell = t.cell(None, n_samples=n, device=device, threads=threads)
    spots = []
    for place, size in enumerate(sizes):
        seconds = None if best == "none" else 0.01 * 2 ** abs(place - sizes.index(best))
        spots.append(Spot(size, seconds, "ok" if seconds else "not_reached", size == best or size in good))
    return Row(cell, tuple(spots), recommended)


def said(*rows, kind="target"):
    return map_words.finding(Map("digits-mlp, slice", kind, rows))


def test_epochs_at_two_numbers_of_rows_make_a_map():
    (found,) = made([*epochs(512, 16), *epochs(1024, 64)])
    assert (found.title, found.kind) == ("digits-mlp, slice", "epoch")
    assert [row.n for row in found.rows] == [512, 1024]
    assert [row.best.batch_size for row in found.rows] == [16, 64]
    assert [found.rows[0].multiple(spot) for spot in found.rows[0].spots] == pytest.approx([2, 1, 2, 4, 8])


def test_times_to_the_target_come_before_epochs():
    (found,) = made([*targets(512, 16), *targets(1024, 64)])
    assert found.kind == "target"
    assert [found.rows[1].multiple(spot) for spot in found.rows[1].spots] == pytest.approx([9, 3, 1, 3])


def test_a_search_at_one_n_alone_leaves_the_epochs_of_both():
    (found,) = made([*targets(512, 16), *epochs(1024, 64)])
    assert found.kind == "epoch"
    assert len(found.rows) == 2


def test_searches_without_a_time_and_no_epochs_at_a_second_n_are_shown_as_not_reached():
    lost = [s.target_record(t.cell(size, n_samples=1024), [None] * 5) for size in (4, 16)]
    lost += [s.failure(t.cell(size, n_samples=1024), "oom") for size in (4, 16)]
    (found,) = made([*targets(512, 16), *lost])
    assert found.kind == "target"
    assert [spot.status for spot in found.rows[1].spots] == ["not_reached", "not_reached"]


@pytest.mark.parametrize(
    "records",
    [
        epochs(512, 16),
        [*epochs(512, 16), *epochs(512, 16, threads=2)],
        [*epochs(512, 16), *epochs(1024, 16, threads=2)],
        [*epochs(512, 16), *epochs(1024, 16, loader="gather")],
        [*epochs(512, 16), *epochs(1024, 16, problem="linear")],
        [*epochs(512, 16), *epochs(1024, 16, device="cuda")],
        [s.failure(t.cell(8, n_samples=n), "error") for n in (512, 1024)],
    ],
)
def test_what_differs_in_anything_else_or_has_no_time_makes_none(records):
    assert made(records) == []


def test_two_devices_with_one_n_make_a_map_with_a_panel_each():
    (found,) = made([*epochs(512, 16), *epochs(512, 64, device="cuda")])
    assert found.devices == ("CPU, 1 thread", "CUDA")
    assert [len(found.on(device)) for device in found.devices] == [1, 1]


def test_each_problem_has_a_map_of_its_own():
    records = [epochs(n, 16, problem=name) for name in ("linear", "mlp") for n in (512, 1024)]
    assert [found.title for found in made(itertools.chain(*records))] == ["linear, slice", "mlp, slice"]


def test_a_batch_larger_than_the_data_is_no_column_and_no_failure_unless_it_fits_elsewhere():
    from mbbench.case import Cell

    def large(n, size):
        return s.failure(Cell(problem="digits-mlp", n_samples=n, batch_size=size), "not_applicable")

    small, other = epochs(128, 16, sizes=(4, 16, 64, None)), epochs(512, 16)
    (found,) = made([*small, large(128, 256), large(128, 4096), *other, large(512, 4096)])
    assert found.columns == SIZES
    assert found.rows[0].at(256).status == "not_applicable"
    assert map_frames.table(found)[1][0][4] == ""


def test_what_was_not_asked_for_is_not_measured_and_what_failed_is_named():
    records = [*epochs(512, 16, sizes=(4, 16, None)), s.failure(t.cell(64, n_samples=512), "oom"), *epochs(1024, 16)]
    (found,) = made(records)
    assert found.rows[0].at(64).status == "oom"
    assert found.rows[0].at(256).status == "not_timed"
    heads, rows = map_frames.table(found)
    assert heads == ["rows (n)", "4", "16", "64", "256", "full"]
    assert rows[0] == ["512", "2.0 (20.0 ms)", "best (10.0 ms)", "out of memory", "not timed", "2.0 (20.0 ms)"]


def test_batches_in_micro_batches_are_no_column_of_their_own():
    records = [*epochs(512, 16), *epochs(1024, 16), *s.time_records(t.cell(None, n_samples=512, micro_batch=64), 1e-6)]
    (found,) = made(records)
    assert found.rows[0].best.batch_size == 16


def test_the_table_names_the_device_where_there_are_several():
    (found,) = made([*epochs(512, 16), *epochs(512, 64, device="cuda")])
    heads, rows = map_frames.table(found)
    assert heads[:2] == ["device", "rows (n)"]
    assert [row[0] for row in rows] == ["CPU, 1 thread", "CUDA"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ((row(512, 64), row(1024, 64)), "the best batch size is 64 for every n."),
        ((row(512, None), row(1024, None)), "the best batch size is full batch for every n."),
        ((row(512, 4), row(1024, 64)), "the best batch size grows from 4 at n = 512 to 64 at n = 1,024."),
        ((row(512, 64), row(1024, 64), row(2048, 4)), "the best batch size shrinks from 64 at n = 512 to 4 at n = 2,048."),
        ((row(512, 256), row(1024, None)), "the best batch size grows from 256 at n = 512 to full batch at n = 1,024."),
        (
            (row(512, 4), row(1024, 64), row(2048, 16)),
            "the best batch size changes without a trend: 4 at n = 512, 64 at n = 1,024 and 16 at n = 2,048.",
        ),
        (
            (row(512, 4, good=[16]), row(1024, 16)),
            "the best batch size is not shown to change: 16 is the best or not shown to be slower for every n (the least "
            "that was measured is 4 at n = 512 and 16 at n = 1,024).",
        ),
        (
            (row(512, 4, good=[16, 64]), row(1024, 64, good=[16])),
            "the best batch size is not shown to change: 16 and 64 are the best or not shown to be slower for every n (the "
            "least that was measured is 4 at n = 512 and 64 at n = 1,024).",
        ),
        (
            (row(512, 4), row(512, 64, "cuda")),
            "on CPU, 1 thread the best batch size is 4 at n = 512; on CUDA it is 64 at n = 512.",
        ),
        ((row(512, 4), row(512, 4, "cuda")), "the best batch size is 4 on every device at n = 512."),
        (
            (row(512, 4), row(1024, 4), row(512, 4, "cuda"), row(1024, 4, "cuda")),
            "the best batch size is 4 for every n and device.",
        ),
        (
            (row(512, 4), row(1024, 64), row(512, 64, "cuda"), row(1024, 64, "cuda")),
            "on CPU, 1 thread the best batch size grows from 4 at n = 512 to 64 at n = 1,024; on CUDA it is 64 for every n.",
        ),
        (
            (row(512, 4), row(1024, "none")),
            "the best batch size is 4 at n = 512; no other row has a time, so it is not known whether it changes.",
        ),
        (
            (row(512, 4), row(1024, 4), row(2048, "none")),
            "the best batch size is 4 for every n that has a time. There is no time at n = 2,048.",
        ),
        (
            (row(512, 4, recommended="9"), row(1024, 4, recommended="4")),
            "the batch size with the least measured time is 4 for every n. By curves through all sizes or with races, "
            "recommended is 9 at n = 512.",
        ),
    ],
)
def test_the_sentence_is_true_of_every_map(rows, sentence):
    assert said(*rows) == sentence


def test_a_map_of_epochs_says_so_and_what_to_type():
    assert said(row(512, 4), row(1024, 4), kind="epoch") == "the batch size with the fastest epoch is 4 for every n."
    method = map_words.method(Map("digits-mlp, slice", "epoch", (row(512, 4), row(1024, 4))))
    assert "the time of an epoch" in method
    assert method.endswith("`mbbench run digits-mlp --n 512,1024 --threads 1 --time 60s`")


def test_times_that_are_not_told_apart_are_as_good_and_no_change():
    near = [record for size in (4, 16) for record in s.time_records(t.cell(size, n_samples=512), 0.01 + 5e-5 * size)]
    other = [record for size in (4, 16) for record in s.time_records(t.cell(size, n_samples=1024), 0.02 - 5e-5 * size)]
    (found,) = made([*near, *other])
    assert map_words.finding(found).startswith("the batch size with the fastest epoch is not shown to change: 4 and 16 are")


def test_single_repeats_are_called_readings_and_make_nothing_as_good():
    def once(n, seconds):
        return [s.time_record(t.cell(size, n_samples=n), each) for size, each in zip((4, 16), seconds, strict=True)]

    (found,) = made([*once(512, (0.01, 0.03)), *once(1024, (0.02, 0.01))])
    assert map_words.finding(found) == (
        "the batch size with the fastest epoch grows from 4 at n = 512 to 16 at n = 1,024. Some of these times are readings "
        "without an interval."
    )


def test_the_target_is_named_and_where_rows_have_their_own_each():
    same = [*targets(512, 16), *targets(1024, 64)]
    assert map_words.method(made(same)[0]).startswith("Time to loss 0.1 as measured")
    other = [s.target_record(t.cell(size, n_samples=2048), [90.0] * 5, target=0.2) for size in (4, 16)]
    other += [s.time_record(t.cell(size, n_samples=2048), 1.0, repeat=repeat) for size in (4, 16) for repeat in range(3)]
    said = map_words.method(made([*same, *other])[0])
    assert "each row's own target (loss 0.1 at n = 512, 0.1 at n = 1,024 and 0.2 at n = 2,048)" in said


def test_untuned_rates_are_no_ranking():
    tuned = Map("digits-mlp, slice", "target", (row(512, 4), row(1024, 4)))
    assert "not a ranking" not in map_words.method(tuned)
    untuned = Map(tuned.title, tuned.kind, (*tuned.rows[:1], Row(tuned.rows[1].cell, tuned.rows[1].spots, None, False)))
    assert "not a ranking" in map_words.method(untuned)
