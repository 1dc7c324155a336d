"""Loss curves of searches stand where those of fixed rates do, and say which they are."""

import math

import pandas as pd
import pytest
import synthetic as s
import targeted as t

from mbbench.reporting import convergence, loss_frame, losses, readable, tuned_curves
from mbbench.reporting.choosing import choices
from mbbench.reporting.frames import Picture
from mbbench.reporting.pooling import settings


@pytest.fixture(scope="module")
def found():
    return choices(t.everything())


@pytest.fixture(scope="module")
def tuned(found):
    return tuned_curves.tuned("a title", found)


def drawn(name, tab, finding, draw):
    return Picture(name, tab, "", {}, finding)


def test_each_size_has_the_curves_of_its_best_rate_and_those_without_one_are_named(found, tuned):
    assert [(pool.cell.loader, pool.cell.batch_size) for pool in tuned.pools] == [
        (loader, size) for loader in ("slice", "dataloader") for size in (4, 8, 16, 32, None)
    ]
    assert all(record.measurement.lr == 0.5 for pool in tuned.pools for record in pool.trainings)
    assert tuned_curves.without(found) == [
        "batch 1: no learning rate reached the target",
        "batch 2: no learning rate reached the target",
    ]


def test_a_curve_has_epochs_and_samples_by_its_updates_and_seconds_by_its_loader(tuned):
    for loader, step_s in (("slice", 80e-6), ("dataloader", 600e-6)):
        record = tuned.find(8, loader).trainings[1]
        curve = record.measurement.curve
        assert (record.kind, record.case.seed) == ("convergence", 1)
        assert curve.step == (0, 100, 180, 200, 221, 340)
        assert curve.samples == tuple(8 * step for step in curve.step)
        assert curve.epoch == tuple(step / 8 for step in curve.step)
        assert curve.train_s == pytest.approx(tuple(step_s * step for step in curve.step))
        assert curve.train_loss[3] == pytest.approx(0.1)


def test_the_figure_of_equal_amounts_and_the_sentences_on_each_stop_at_one_place():
    """Six sizes, of which a sentence names four: batch 2048, which none does, was trained least."""
    steps = {8: 10_240, 32: 2560, 128: 900, 512: 700, 2048: 300, None: 800}
    (setting,) = settings([record for size in steps for record in s.curve_records(s.case(size), steps=steps[size])])
    said = {finding.label: finding.text for finding in convergence.findings(setting)}
    assert "batch 2,048" not in said["Equal updates"]
    assert said["Equal updates"].startswith("loss after 300 updates:")
    reached = losses.equal(setting).groupby("axis")["reached"].first()
    assert reached["step"] == 300
    assert said["Equal epochs"].startswith(f"loss after {readable.epochs(reached['epoch'])}:")
    assert said["Equal seconds"].startswith(f"loss after {readable.seconds(reached['train_s'])} of training")


def test_a_lowest_loss_without_intervals_is_a_reading():
    def lowest(seeds):
        records = [r for size in (8, 32, None) for r in s.curve_records(s.case(size), seeds=seeds)]
        return loss_frame.lowest(losses.equal(settings(records)[0]))

    assert lowest(1).endswith("There is no interval, so it may be so by chance.")
    assert "chance" not in lowest(3)


def test_a_full_batch_whose_seeds_agree_is_held_against_the_intervals_of_others():
    """Its loss is the lowest and has no interval; that of batch 32 holds it."""
    rows = [("step", 10.0, 32, False, 0.11, 0.09, 0.13), ("step", 10.0, 64, True, 0.10, math.nan, math.nan)]
    names = ["axis", "reached", "batch_size", "full_batch", "loss", "low", "high"]
    assert "batch 32 or full batch, whose intervals overlap" in loss_frame.lowest(pd.DataFrame(rows, columns=names))


def test_one_epoch_is_no_epochs():
    assert (readable.epochs(1.0), readable.epochs(1.5), readable.epochs(2000)) == ("1 epoch", "1.5 epochs", "2,000 epochs")


def test_the_last_batch_of_an_epoch_has_the_rows_that_are_left():
    ragged = t.cell(24)  # 24, 24, 16
    (choice,) = choices([s.target_record(ragged, [100.0] * 5), *(s.time_record(ragged, 3e-3, repeat=r) for r in range(3))])
    curve = tuned_curves.tuned("t", [choice]).pools[0].trainings[0].measurement.curve
    assert curve.step == (0, 50, 90, 100, 111, 170)
    assert curve.samples == (0, 16 * 64 + 48, 30 * 64, 33 * 64 + 24, 37 * 64, 56 * 64 + 48)


def test_seeds_that_diverged_are_marked_and_are_in_no_comparison():
    steps = [100.0, 100.0, 100.0, 100.0, None]
    records = [s.target_record(t.cell(8), steps, ended="diverged"), s.target_record(t.cell(16), [90.0] * 5)]
    setting = tuned_curves.tuned("t", choices([*records, *t.times(("slice",), (8, 16))]))
    bands = losses.bands(setting, "step")
    assert set(bands.loc[bands["batch_size"] == 8, "diverged_seeds"]) <= {1}
    assert [pool.cell.batch_size for pool in losses.comparable(setting)] == [16]


def test_a_loader_that_was_not_timed_has_no_seconds():
    setting = tuned_curves.tuned("t", choices(t.searches()))
    assert losses.bands(setting, "train_s").empty
    assert not losses.bands(setting, "step").empty


def test_few_sizes_are_drawn_with_the_ends_and_those_wanted(tuned):
    sizes = tuple(2**power for power in range(12))
    many = choices([s.target_record(s.case(size), [100.0] * 5) for size in sizes])
    setting = tuned_curves.tuned("t", many)
    kept = [pool.cell.batch_size for pool in tuned_curves.drawn(setting, [512]).pools]
    assert len(kept) == tuned_curves.DRAWN
    assert {1, 512, 2048} <= set(kept)
    assert kept == sorted(kept)
    two = tuned_curves.drawn(tuned, [8])
    assert {pool.cell.batch_size for pool in two.pools} == {4, 8, None}
    assert {pool.cell.loader for pool in tuned_curves.of_one_loader(tuned).pools} == {"slice"}


def test_equal_epochs_updates_and_seconds_are_read_from_the_planted_curves():
    # 8 and 16 rows take 100 updates to the target and are followed for 170: 21.25 epochs of 8, in which 16 make 85 updates.
    searches = [s.target_record(t.cell(size), [100.0] * 5) for size in (8, 16)]
    setting = tuned_curves.tuned("t", choices([*searches, *t.times(("slice",), (8, 16))]))
    frame = losses.equal(setting).set_index(["axis", "batch_size"])
    assert frame.loc["step", "reached"].tolist() == [170, 170]
    assert frame.loc["step", "loss"].tolist() == pytest.approx([s.loss_after(1.7)] * 2)
    assert frame.loc["epoch", "reached"].tolist() == [21.25, 21.25]
    # Evaluated at 50 and at 90 updates, read on the log scale of both.
    part = math.log(85 / 50) / math.log(90 / 50)
    between = s.loss_after(0.5) ** (1 - part) * s.loss_after(0.9) ** part
    assert frame.loc["epoch", "loss"].tolist() == pytest.approx([s.loss_after(1.7), between])
    # 170 updates of 80 us are 113.3 of 120 us.
    assert frame.loc["train_s", "reached"].tolist() == pytest.approx([0.0136, 0.0136])
    part = math.log((0.0136 / 120e-6) / 111) / math.log(170 / 111)
    between = s.loss_after(1.11) ** (1 - part) * s.loss_after(1.7) ** part
    assert frame.loc["train_s", "loss"].tolist() == pytest.approx([s.loss_after(1.7), between])


def test_what_is_held_equal_decides_which_is_lowest(tuned):
    budgets = losses.equal(tuned_curves.of_one_loader(tuned))
    said = loss_frame.lowest(budgets)
    assert said.startswith("lowest loss: after ")
    assert said.count(";") == 2
    lowest = {axis: rows.sort_values("loss").iloc[0]["batch_size"] for axis, rows in budgets.groupby("axis")}
    assert (lowest["epoch"], lowest["step"], lowest["train_s"]) == (4, 64, 8)


def test_an_evaluation_after_several_updates_still_tells_the_first_of_them():
    # Full batch is evaluated after 48 of its 96 updates: as many epochs; batch 4 is over after 31.
    found = choices([s.target_record(t.cell(size), [t.STEPS[size]] * 5) for size in (4, None)])
    frame = losses.equal(tuned_curves.tuned("t", found)).set_index(["axis", "batch_size"])
    row = frame.loc[("epoch", 64)]
    assert row["reached"] == pytest.approx(510 / 16)
    first = s.loss_after(1 / 96)
    assert s.loss_after(0.5) < row["loss"] < first


def test_the_frame_says_whether_rates_were_tuned(found, tuned):
    frame = loss_frame.tuned(tuned, found, False, drawn)
    assert frame.title == loss_frame.TITLE
    assert [picture.tab for picture in frame.pictures] == ["equal", "epochs", "updates", "samples", "seconds"]
    assert "The learning rate is tuned at each batch size (0.5)" in frame.method
    assert "recorded too" not in frame.method
    assert "recorded too and are not drawn" in loss_frame.tuned(tuned, found, True, drawn).method


def test_curves_at_given_rates_alone_are_no_ranking():
    (setting,) = settings([record for size in (8, 32, None) for record in s.curve_records(s.case(size))])
    frame = loss_frame.fixed(setting, {"No ranking": "one learning rate, not tuned: not a ranking."}, drawn)
    assert "One learning rate, not tuned: not a ranking." in frame.method
    assert "is tuned at each" not in frame.method
    assert frame.pictures[0].tab == "equal"


def test_a_search_at_one_rate_for_all_is_said_to_be_untuned():
    fixed = (("lr_policy", "fixed"),)
    found = choices([s.target_record(t.cell(size, options=fixed), [t.STEPS[size]] * 5) for size in t.SIZES])
    method = loss_frame.tuned(tuned_curves.tuned("t", found), found, False, drawn).method
    assert "Learning rates (0.5) are not tuned: not a ranking of batch sizes." in method


def test_alike_sizes_are_named_together():
    sizes = choices([s.target_record(t.cell(size), [100 * part for part in t.SPREAD]) for size in t.SIZES])
    said = loss_frame.lowest(losses.equal(tuned_curves.tuned("t", sizes)))
    assert "updates 4 sizes from batch 4 to batch 32, whose intervals overlap" in said
