"""The words of `mbbench notebook` follow its numbers: who costs what, and whether the batch size itself does."""

import pytest
import synthetic

from mbbench.reporting import advice, notebook, notebook_law

EQUAL = {
    "steps": [2001, 6003],
    "full_batch_mse": [0.869, 0.2756],
    "batch_2_mse": [0.91, 0.29],
    "batch_2_sd": [0.09, 0.04],
    "shuffles": 3,
    "updates_per_epoch": {"full_batch": 1, "batch_2": 3},
    "full_batch_at_other_lr": {"4.5e-05": {"status": "ok", "mse": 0.2118}, "4.6e-05": {"status": "diverged", "mse": None}},
}
TABLE = {"epoch": [0], "batch": [0], "cost": [1.5], "printed": [1.5], "prediction": 150.0, "printed_prediction": 150.1}


def timed(loader_s: float, slices_s: float, full_s: float) -> str:
    def records(loader, batch_size, seconds):
        cell = synthetic.case(batch_size, problem="notebook", n_samples=5, loader=loader)
        return synthetic.time_records(cell, seconds)

    measured = [*records("dataloader", 2, loader_s), *records("slice", 2, slices_s), *records("slice", None, full_s)]
    return "\n".join(notebook.timed(measured))


def test_updates_and_loader_are_told_apart():
    words = timed(loader_s=9e-4, slices_s=3e-4, full_s=1e-4)
    assert "batch 2 takes 9.0 times as long" in words
    assert "three updates an epoch against one make it 3.0 times" in words
    assert "did without, 3.0 times" in words
    assert "Update for update, batch 2 by slices takes 1.0" in words
    assert "nothing that can be seen" in words


def test_a_batch_size_that_costs_something_by_itself_is_said_so():
    words = timed(loader_s=9e-4, slices_s=6e-4, full_s=1e-4)
    assert "takes 2.0 times as long" in words
    assert "that is the batch size itself" in words


def test_what_was_not_measured_is_not_compared():
    assert "not measured" in "\n".join(notebook.timed([]))
    assert "Update for update" not in "\n".join(notebook.timed([]))


def test_the_comparison_is_never_called_faster_converging():
    words = "\n".join(notebook.replayed({"full_batch": TABLE, "mini_batch": TABLE, "equal_steps": EQUAL}))
    assert "update for update they are about the same" in words
    assert "it diverges" in words
    other = EQUAL | {"batch_2_mse": [0.4, 0.29]}
    words = "\n".join(notebook.replayed({"full_batch": TABLE, "mini_batch": TABLE, "equal_steps": other}))
    assert "update for update the error of batch 2 is 0.46 and 1.05 times full batch's" in words
    assert "faster" not in words


def test_the_exact_comparison_is_that_of_the_known_answers_and_the_page_says_it():
    found = notebook_law.losses()
    assert found["full batch"] == pytest.approx((0.869034, 0.275571), abs=1e-6)
    assert found["batch 2"] == pytest.approx((0.9148, 0.2931), abs=5e-5)
    cells = [synthetic.case(size, problem="notebook", n_samples=5) for size in (2, None)]
    verdict = advice.verdict([record for cell in cells for record in synthetic.curve_records(cell)])
    (said,) = [each.text for each in verdict.answers[0].findings if each.label == "The notebook"]
    for figure in ("0.8690", "0.2756", "0.9148", "0.2931", "that is all its advantage"):
        assert figure in said
    assert "converges faster" not in " ".join(verdict.sentences)
    elsewhere = advice.verdict([r for size in (2, None) for r in synthetic.curve_records(synthetic.case(size))])
    assert not any(each.label == "The notebook" for each in elsewhere.answers[0].findings)
