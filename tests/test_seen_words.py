"""The sentences about a loop are true of what was seen of it."""

import pytest
from looped import seen

from mbbench.reporting import seen_words
from mbbench.seen import Look, Probe, Stretch


def said(**fields):
    return " ".join(seen_words.lines(seen(**fields), None))


def test_shares_are_of_all_looks_together():
    looks = [Look(8, 8, 256, 0.04, 0.02, 0.01, 0.1), Look(8, 8, 256, 0.02, 0.04, 0.01, 0.1)]
    words = said(looks=looks)
    assert "loader 30 %, forward 30 %, optimizer 10 %, loss, backward and the rest 30 % (of 16 steps in 2 looks)" in words
    assert "The loop spends its time in the loader: 60 % of all of it" in words


@pytest.mark.parametrize(
    ("look", "named"),
    [
        (Look(8, 8, 256, 0.04, 0.02, 0.01, 0.1), True),  # the rest: 0.03
        (Look(8, 8, 256, 0.03, 0.02, 0.01, 0.1), False),  # the rest: 0.04
        (Look(8, 8, 256, 0.04, 0.01, 0.01, 0.1), False),  # the rest as much
        (Look(8, 8, 256, 0.04, 0.04, 0.01, 0.1), False),  # forward as much
    ],
)
def test_below_half_the_loader_is_named_only_where_it_takes_more_than_each_other_part(look, named):
    words = said(looks=[look], loader_s=0.4)
    assert ("Of these the loader takes the most time: 40 % of it, in DataLoader." in words) is named
    assert "The loop spends its time in the loader" not in words


def test_the_loaders_share_is_that_of_batches_that_were_left_in_peace():
    assert "spends its time in the loader: 70 %" in said(aside=Stretch(20, 0.25, 0.5))  # 0.35 of 0.5
    words = said(aside=Stretch(100, 0.6, 1.0))
    assert "spends its time" not in words
    assert "most time" not in words


def test_what_was_not_timed_apart_is_called_a_part_of_the_rest():
    assert "Where a step goes: loader 40 %, optimizer 10 %, forward, loss, backward and the rest 50 %" in said(
        looks=[Look(8, 8, 256, 0.04, 0.0, 0.01, 0.1)]
    )
    assert "forward 20 %, optimizer 10 %, backward and the rest 30 %" in said(answers_loss=True)
    assert "loss, backward, optimizer and the rest 60 %" in said(looks=[Look(8, 8, 256, 0.0, 0.04, 0.0, 0.1)], loader="")


def test_between_the_batches_of_a_trainer_it_is_not_the_loader_alone():
    words = said(trainer="Lightning's Trainer")
    assert "Where a step goes: loader and Lightning's Trainer 40 %" in words
    assert "The loop spends its time in the loader and Lightning's Trainer: 60 % of all of it, in DataLoader." in words


def test_batches_that_are_no_updates_are_called_batches():
    assert said().startswith("mbbench watched Net with SGD: 100 steps of about 32 rows, 2 epochs in 1.00 s, 10.0 ms each.")
    words = said(looks=[Look(8, 2, 256, 0.04, 0.02, 0.01, 0.1)])
    assert "100 batches of about 32 rows with about 25 updates, 2 epochs in 1.00 s" in words


def test_of_a_loop_without_a_step_there_is_nothing_else_to_say():
    assert seen_words.lines(seen(batches=0, loader=""), None) == ["mbbench watched a loop that made no step."]
    assert seen_words.lines(seen(batches=0), None) == [
        "mbbench watched a loop that made no step. Iterate over what `watch` returned, or give it no loader."
    ]
    assert "It was too short to see where a step goes." in said(looks=[])


def test_the_largest_batch_is_predicted_from_what_a_row_keeps():
    probes = (Probe(1, 1e-3, 2000), Probe(32, 2e-3, 33_000), Probe(64, 3e-3, 65_000))
    words = said(probes=probes, free_bytes=10_000_000, peak_bytes=10**9)
    assert "A batch of about 10,000 rows would fill the 9.54 MiB that are free" in words
    assert "predicted, not tried" in words
    assert "at batch 1: 1.00 ms, 32: 62.5 µs, 64: 46.9 µs" in words


def proof(**fields):
    return seen_words.lines(seen(**fields), None)[-2:]


def test_the_command_that_would_prove_it_holds_what_was_seen():
    made, command = proof(data="data=loader.dataset.tensors", rows=200)
    assert made == (
        "To prove it: make model and loader (Net) in my_problem.py as you do here, without the training, and "
        "`problem = mbbench.Problem(model=model, loss=loss_function, data=loader.dataset.tensors, lr=0.1)`."
    )
    assert command == (
        "Then `mbbench run my_problem.py:problem --batch-size 8,32,128,full --loader slice,dataloader --optimizer sgd "
        "--time 60s`."
    )


def test_the_command_asks_for_no_batch_that_is_larger_than_the_data():
    two = [Look(8, 8, 16, 0.04, 0.02, 0.01, 0.1)]
    assert "--batch-size 1,2,full " in proof(data="data=loader.dataset", rows=5, looks=two)[1]
    assert "--batch-size full " in proof(data="data=loader.dataset", rows=1, looks=[Look(8, 8, 8, 0.04, 0.02, 0.01, 0.1)])[1]


def test_the_command_knows_models_that_answer_with_their_loss_and_optimizers_that_are_not_there():
    given = {"data": "data=loader.dataset, collate=loader.collate_fn", "optimizer_name": "torch.optim:AdamW"}
    made, command = proof(answers_loss=True, **given)
    assert "mbbench.Problem(model=model, data=loader.dataset, collate=loader.collate_fn, lr=0.1)" in made
    assert "--loader dataloader --optimizer torch.optim:AdamW --time" in command
    made, command = proof(trainer="Lightning's Trainer", optimizer_name="momentum", device="cuda")
    assert "step=lambda model, batch: model.training_step(batch, 0), data=(features, targets)" in made
    assert "make model, features and targets (Net)" in made
    assert "--loader slice --optimizer momentum --device cuda --time" in command
