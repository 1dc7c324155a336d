"""Every sentence on where a step goes is true of its cells: one or many, one loader or several, with and without times."""

import msgspec
import pytest
import synthetic as s

from mbbench.reporting.pooling import Setting, settings
from mbbench.reporting.share_words import finding, findings, machine, method
from mbbench.reporting.step_share import shares

ALL_KNOWN = "Python and dispatch is what forward and backward take on a single row, and is taken off both."
MACHINE = "This machine copies 10 GB/s (read and written) and multiplies matrices at 50 Gflop/s"


def of(*records) -> Setting:
    (setting,) = settings(records)
    return setting


def said(*records) -> str:
    return finding(shares(of(*records)))


def told(*records) -> str:
    return method(setting := of(*records), shares(setting))


def profiles(sizes=(8, 512, None), loaders=("slice",), **fields) -> list:
    return [s.profile_record(s.case(size, loader=loader), **fields) for loader in loaders for size in sizes]


def bare(**changes):
    record = s.profile_record(s.case(8))
    profile = msgspec.structs.replace(record.measurement.profile, **changes)
    return msgspec.structs.replace(record, measurement=msgspec.structs.replace(record.measurement, profile=profile))


def test_one_cell():
    # 61.76 us: 50 of them dispatch.
    assert said(*profiles([8])) == "81 % of a step goes to Python and dispatch at batch 8."


def test_one_loader_from_the_smallest_to_the_largest_batch():
    # Full batch: 1862 us, of which 1092 backward work.
    expected = "81 % of a step goes to Python and dispatch at batch 8 and 59 % to the backward pass at full batch."
    assert said(*profiles()) == expected


def test_one_loader_whose_steps_go_to_one_thing_throughout():
    assert said(*profiles([1, 8])) == "83 % of a step goes to Python and dispatch at batch 1 and 81 % at batch 8."


def test_a_loader_that_assembles_for_most_of_a_step_is_set_against_the_plain_one():
    # Batch 512: 3072 of 3234 us with dataloader, 10.2 of 172.6 with slice.
    assert said(*profiles([8, 512], ["slice", "dataloader"])) == (
        "assembling the batch takes 95 % of a step at batch 512 with dataloader and 5.9 % with slice; "
        "with slice, 81 % of a step goes to Python and dispatch at batch 8 and 40 % to the backward pass at batch 512."
    )


def test_the_plain_loader_is_the_first_where_none_is_slice():
    assert said(*profiles([512], ["dataloader", "gather"])) == (
        "with dataloader, 95 % of a step goes to assembling the batch at batch 512; "
        "with gather, 40 % of a step goes to the backward pass at batch 512."
    )


def test_loaders_that_are_alike_are_each_named():
    assert said(*profiles([8], ["slice", "gather"])) == (
        "with slice, 81 % of a step goes to Python and dispatch at batch 8; "
        "with gather, 81 % of a step goes to Python and dispatch at batch 8."
    )


def test_loaders_at_different_batch_sizes_are_not_set_against_each_other():
    records = [*profiles([8]), *profiles([512], ["dataloader"])]
    assert said(*records) == (
        "with slice, 81 % of a step goes to Python and dispatch at batch 8; "
        "with dataloader, 95 % of a step goes to assembling the batch at batch 512."
    )


def test_without_a_single_row_nothing_is_called_dispatch():
    assert "dispatch" not in said(*profiles(one_row=False))
    unknown = "How much of forward and backward is Python and dispatch is not known: a single row cannot be trained alone."
    assert unknown in told(*profiles(one_row=False))
    assert ALL_KNOWN in told(*profiles())
    mixed = told(*profiles([8]), *profiles([32, 512], one_row=False))
    assert ALL_KNOWN.replace("both.", "both (not known of 2 cells).") in mixed


def test_failed_cells_do_not_change_the_sentence_and_alone_make_none():
    failed = s.failure(s.case(2048), "oom", kind="profile")
    assert said(*profiles(), failed) == said(*profiles())
    assert findings(of(failed)) == []
    assert findings(of(*s.time_records(s.case(8), 0.1))) == []
    assert [each.label for each in findings(of(*profiles()))] == ["Step"]


def test_the_method_says_how_many_rounds_and_what_a_clock_was_read_between():
    text = told(*profiles())
    assert text.startswith("A clock read between the phases of the training loop itself, in a process of its own")
    assert "median over 5 rounds." in text
    assert "share of starting its epoch" in text
    assert "waited for" not in text


def test_rounds_of_different_number_are_a_range():
    laps = s.laps(10, rounds=1, start=0.0, batch=0.0, forward=1e-6, backward=1e-6, optimizer=1e-6)
    assert "median over 1 round." in told(bare(laps=laps))
    assert "median over 1 to 5 rounds." in told(bare(laps=laps), s.profile_record(s.case(32)))


def test_of_an_accelerator_it_says_that_nothing_overlaps():
    assert "so nothing overlaps as it does in training" in told(s.profile_record(s.case(8, device="cuda")))


@pytest.mark.parametrize(
    ("longer", "sentence"),
    [
        (1.0, "The phases add up to the timed step within 25 %."),
        (1.1, "The phases add up to the timed step within 25 %."),
        (1.4, "A profiled step is up to 49 % longer than a timed one (batch 512)."),
        (0.5, "A profiled step is up to 50 % shorter than a timed one (batch 8)."),
    ],
)
def test_how_far_the_sum_is_from_the_timed_step(longer, sentence):
    timed = [s.time_record(s.case(size)) for size in (8, 512)]
    assert sentence in told(*profiles([8, 512], longer=longer), *timed)


def test_without_times_nothing_is_said_on_them():
    assert "timed" not in told(*profiles())


def test_what_the_machine_can_do_is_said_as_far_as_it_is_known():
    row = "forward and backward of a row are 14 kflop."
    assert machine(shares(of(*profiles()))) == f"{MACHINE}; {row}"
    assert machine(shares(of(bare(copy_s=(), matmul_s=())))) == "Forward and backward of a row are 14 kflop."
    assert machine(shares(of(bare(copy_s=(), flop_per_row=None)))) == "This machine multiplies matrices at 50 Gflop/s."
    assert machine(shares(of(bare(copy_s=(), matmul_s=(), flop_per_row=None)))) == ""
