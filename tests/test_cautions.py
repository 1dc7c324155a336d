"""Each warning is raised by records that deserve it and by no others, and says what to do."""

import re
import shlex

import msgspec
import numpy as np
import planted
import pytest
import synthetic as s

from mbbench.case import Cell
from mbbench.record import Measurement
from mbbench.reporting.choosing import choices
from mbbench.reporting.misfits import Misfit
from mbbench.reporting.warning import MISFITS, Code
from mbbench.search import NoisePoint

SIZES = (1, 8, 32, 64, 128, 512, 4096)
LATE = s.environment("2026-11-24T12:00:00.000Z")


def records(**fields):
    return planted.records(**({"sizes": SIZES} | fields))


def races(times, **fields):
    return [
        s.race_record(planted.case(size, threads=2), each, seed=seed, **fields)
        for size, several in times.items()
        for seed, each in enumerate(several)
    ]


def with_policy(policy, steps):
    cells = {size: planted.case(size, options=(("lr_policy", policy),)) for size in SIZES}
    return [s.target_record(cell, [steps(size)] * 5) for size, cell in cells.items()]


def disagreeing(size):
    """Steps to the main target, and a curve whose steps to the others fall very differently with the batch size."""
    step = tuple(range(0, 20_000, 10))
    easy, main, hard = 40 * (1 + 1 / size), 50 * (1 + 64 / size), 60 * (1 + 4000 / size)
    at = np.interp(step, [0, easy, main + 10, hard + 20, 1e6], [2.0, 0.2, 0.1, 0.05, 0.04])
    run = s.search_run(0.5, 0, 1.0)
    known = {"step": step, "train_loss": tuple(at), "heldout_loss": ()}
    return [msgspec.structs.replace(run, lr=lr, seed=seed, **known) for lr in (0.25, 0.5, 1.0) for seed in range(5)]


def searched(found, make):
    """Return the records with the runs of each search replaced."""
    return [
        msgspec.structs.replace(
            r, measurement=msgspec.structs.replace(r.measurement, search=make(r.measurement.search, r.case.batch_size))
        )
        if r.kind == "target"
        else r
        for r in found
    ]


def point(b_super):
    return NoisePoint(step=10, train_loss=0.5, b_fin=9.0, b_super=b_super)


def seconds(size):
    return planted.steps(size) * planted.step_s(size)


def wavering(generator, centre):
    return (centre * np.exp(generator.normal(0, 0.02, 5))).tolist()


RACES = {size: wavering(np.random.default_rng(size), seconds(64)) for size in (64, 128)}
BEYOND = Cell(problem="digits-mlp", n_samples=planted.N, batch_size=9999)

DESERVED = {
    Code.AT_START: lambda: records(search=lambda size: {"aims": (3.0,)}),
    Code.NOT_REACHED: lambda: records(reached=lambda size: size > 1),
    Code.NOT_TUNED: lambda: [r for r in records() if r.kind == "time"] + with_policy("fixed", planted.steps),
    Code.FEW_SIZES: lambda: records(sizes=(32, 64)),
    Code.FEW_SEEDS: lambda: records(seeds=1),
    Code.FEW_REPEATS: lambda: records(repeats=1),
    Code.NOT_COMPARED: lambda: records(timed=[size for size in SIZES if size != 128]),
    Code.OTHER_TARGET: lambda: [
        *records(search=lambda size: {"target": 0.3} if size == 8 else {}),
        s.target_record(planted.case(64), [planted.steps(64)] * 5, environment=LATE),  # the newest says which target counts
    ],
    Code.LR_AT_EDGE: lambda: records(search=lambda size: {"edge": size == 64}),
    Code.STEPS_OFF: lambda: records(steps=lambda size: planted.steps(size) * (1.5 if size == 128 else 1)),
    Code.TIME_OFF: lambda: records(step_s=planted.knee),
    Code.OUTSIDE: lambda: records(sizes=(1, 2, 4, 8)),
    Code.NOISE_OPEN: lambda: records(steps=planted.noisy_throughout),
    Code.CONTENDED: lambda: [*records(), s.time_record(planted.case(64, loader="gather"), 0.1, busy=1.2)],
    Code.TARGETS_DISAGREE: lambda: searched(
        records(), lambda search, size: msgspec.structs.replace(search, targets=(0.2, 0.1, 0.05), runs=disagreeing(size))
    ),
    Code.POLICY_CHANGES: lambda: [*records(), *with_policy("fixed", lambda size: 4000.0 * (9 if size < 512 else 1))],
    Code.HELDOUT_WORSE: lambda: records(search=lambda size: {"heldout": 1.6 if size == 64 else 1.2}),
    Code.RACE_DIFFERS: lambda: [*records(), *races({64: [2 * each for each in RACES[64]]})],
}


def warned(found):
    return {Code(warning.code): warning for choice in choices(found) for warning in choice.warnings}


@pytest.mark.parametrize("code", Code)
def test_every_warning_is_raised_where_it_is_deserved(code):
    warning = warned(DESERVED[code]())[code]
    assert warning.sentence[0].isupper() or warning.sentence[0].isdigit()
    assert warning.next_step[0].isupper()
    assert warning.sentence.endswith(".")
    assert re.search(r"[.`]$", warning.next_step)
    assert not re.search(r"nan|None|inf\b", warning.sentence + warning.next_step)


def test_records_without_a_flaw_raise_no_warning():
    good = records() + races(RACES) + with_policy("fixed", lambda size: 2 * planted.steps(size))
    noisy = s.target_record(planted.case(64), [planted.steps(64)] * 5, noise=(point(80.0), point(90.0)), environment=LATE)
    assert warned([*good, noisy]) == {}


def test_a_deserved_warning_is_not_followed_by_others():
    """What each planted flaw raises beside its own; all that are named here follow from the flaw."""
    beside = {
        Code.FEW_SEEDS: set(),
        Code.CONTENDED: {Code.NOT_COMPARED, Code.FEW_REPEATS},  # another loader's only time
        Code.OUTSIDE: set(),
        Code.OTHER_TARGET: set(),
        Code.LR_AT_EDGE: set(),
        Code.STEPS_OFF: set(),
        Code.TIME_OFF: set(),
        Code.HELDOUT_WORSE: set(),
        Code.RACE_DIFFERS: set(),
        Code.POLICY_CHANGES: set(),
        Code.NOT_REACHED: set(),
        Code.NOT_TUNED: set(),
    }
    for code, others in beside.items():
        assert set(warned(DESERVED[code]())) - {Code.FEW_SIZES} - others == {code}


def test_every_flag_of_a_recommendation_is_said_under_some_warning():
    assert set(MISFITS) == set(Misfit)


def test_every_command_in_a_next_step_can_be_parsed_by_the_command_line():
    import typer

    from mbbench import cli

    known = {option for p in typer.main.get_command(cli.app).commands["run"].params for option in p.opts + p.secondary_opts}
    known |= {"--target", "--lr-policy", "--time"}  # of the search
    commands = [
        found for code in Code for w in warned(DESERVED[code]()).values() for found in re.findall(r"`(.*?)`", w.next_step)
    ]
    assert len(commands) > 15
    for command in commands:
        words = shlex.split(command)
        assert words[:3] == ["mbbench", "run", "digits-mlp"]
        assert {word for word in words if word.startswith("--")} <= known


def sentence(code, found):
    return warned(found)[code].sentence


def test_what_happened_at_a_size_that_did_not_reach_is_said():
    lost = records(
        reached=lambda size: size > 8,
        search=lambda size: {"ended": "diverged"} if size == 1 else {"lowest": 0.31},
    )
    text = sentence(Code.NOT_REACHED, lost)
    assert text == (
        "Fewer than 4 of 5 seeds reached loss 0.1 with batch 1 (every run diverged) and batch 8 (the lowest loss seen is "
        "0.31, at learning rate 0.25)."
    )
    some = s.target_record(planted.case(8), [100.0, 100.0, 100.0, None, None], environment=LATE)
    assert "batch 8 (3 of 5 did, the lowest loss seen is" in sentence(Code.NOT_REACHED, [*records(), some])


def test_three_of_five_seeds_are_too_few_and_four_are_enough():
    for seeds, raised in ((3, True), (4, False)):
        some = s.target_record(planted.case(8), [450.0] * seeds + [None] * (5 - seeds), environment=LATE)
        assert (Code.NOT_REACHED in warned([*records(), some])) is raised


def test_a_rate_at_the_edge_matters_only_where_rates_were_searched():
    edge = [s.target_record(r.case, [400.0] * 5, edge=True) for r in with_policy("fixed", planted.steps)]
    assert Code.LR_AT_EDGE not in warned([r for r in records() if r.kind == "time"] + edge)


def test_a_rate_at_the_edge_is_at_the_edge_of_those_that_came_to_their_end():
    """Beyond it others were begun that the clock ended; and where there is no other it is not called the highest."""

    def cut(search, size):
        ended = {"ended": "budget", "step": (0, 1, 2), "train_loss": (2.0, 1.9, 1.8), "heldout_loss": ()}
        more = [msgspec.structs.replace(run, lr=run.lr * 4, **ended) for run in search.at(search.rates[-1])]
        return msgspec.structs.replace(search, runs=(*search.runs, *more)) if size == 64 else search

    text = sentence(Code.LR_AT_EDGE, searched(DESERVED[Code.LR_AT_EDGE](), cut))
    assert text.startswith(
        "The best learning rate is at the edge of those that were tried to their end with batch 64 (0.5, the highest):"
    )

    def alone(search, size):
        return msgspec.structs.replace(search, runs=search.at(0.5)) if size == 64 else search

    assert "batch 64 (0.5, the only one)" in sentence(Code.LR_AT_EDGE, searched(records(), alone))

    def lowest(search, size):
        runs = [run for run in search.runs if run.lr >= 0.5]
        return msgspec.structs.replace(search, runs=tuple(runs)) if size == 64 else search

    assert "batch 64 (0.5, the lowest)" in sentence(Code.LR_AT_EDGE, searched(records(), lowest))


def test_where_the_start_is_at_the_target_no_rate_is_at_an_edge():
    assert Code.LR_AT_EDGE not in warned(DESERVED[Code.AT_START]())


def test_more_sizes_are_asked_for_of_the_same_rows_and_threads():
    step = warned(DESERVED[Code.FEW_SIZES]())[Code.FEW_SIZES].next_step
    assert "`mbbench run digits-mlp --n 4096 --threads 2 --time 60s`" in step


def test_the_worst_point_off_a_curve_is_named():
    text = sentence(Code.TIME_OFF, DESERVED[Code.TIME_OFF]())
    assert "with batch 4,096" in text or "with batch 512" in text
    assert "above it" in text
    assert "with batch 128 they are" in sentence(Code.STEPS_OFF, DESERVED[Code.STEPS_OFF]())


def test_a_noise_scale_that_is_not_resolved_is_said_with_how_often():
    some = s.target_record(planted.case(64), [planted.steps(64)] * 5, noise=(point(80.0), point(None)), environment=LATE)
    assert sentence(Code.NOISE_OPEN, [*records(), some]).startswith("At 1 of 2 points of training the gradient noise scale")


def test_beyond_the_sizes_tried_the_next_step_tries_them():
    above = warned(DESERVED[Code.OUTSIDE]())[Code.OUTSIDE]
    assert "above all that were tried and compared (1 to 8)" in above.sentence
    assert "--batch-size 16,32 " in above.next_step
    below = warned(records(sizes=(512, 1024, 2048)))[Code.OUTSIDE]
    assert "below all that were tried and compared (512 to 2,048)" in below.sentence
    assert "--batch-size 128,256 " in below.next_step


def test_targets_that_disagree_are_told_with_their_sizes():
    text = sentence(Code.TARGETS_DISAGREE, DESERVED[Code.TARGETS_DISAGREE]())
    assert re.search(r"batch [\d,]+ for loss 0.2, batch [\d,]+ for loss 0.1 and batch [\d,]+ for loss 0.05", text)


def test_a_winner_that_generalises_worse_than_a_rival_as_good_is_told():
    text = sentence(Code.HELDOUT_WORSE, DESERVED[Code.HELDOUT_WORSE]())
    assert "is recommended for its time, but generalises worse" in text
    assert "held-out loss is 0.16, that of batch" in text


def test_a_held_out_difference_inside_the_spread_or_too_small_is_none():
    small = records(search=lambda size: {"heldout": 1.21 if size == 64 else 1.2})
    assert Code.HELDOUT_WORSE not in warned(small)
    found = searched(
        records(), lambda search, size: msgspec.structs.replace(search, runs=[_wild(run) for run in search.runs])
    )
    assert Code.HELDOUT_WORSE not in warned(found)


def _wild(run):
    factor = np.random.default_rng(hash((run.lr, run.seed, run.step[2])) % 2**32).uniform(0.8, 1.2)
    return msgspec.structs.replace(run, heldout_loss=tuple(loss * factor for loss in run.heldout_loss))


def test_races_that_take_as_long_as_reckoned_are_no_matter_and_a_faster_rival_is():
    assert Code.RACE_DIFFERS not in warned([*records(), *races(RACES)])
    rival = {64: RACES[64], 256: [each * 0.9 for each in RACES[64]]}  # reckoned at 1.36 of 64: halfway it is behind
    text = sentence(Code.RACE_DIFFERS, [*records(), *races(rival)])
    assert text.startswith("Batch 256 raced faster")
    (decided,) = choices([*records(), *races({64: RACES[64], 128: [each * 0.9 for each in RACES[64]]})])
    assert (decided.recommendation.batch_size, decided.recommendation.instead_of) == (128, 64)
    unlike = {64: RACES[64], 256: [each * by for each, by in zip(RACES[64], (0.5, 1.5, 0.6, 1.3, 0.9), strict=True)]}
    assert Code.RACE_DIFFERS not in warned([*records(), *races(unlike)])  # inside the spread


@pytest.mark.parametrize(("by", "words"), [(2, "took 100 % more time than"), (0.5, "took 50 % less time than")])
def test_a_race_took_more_or_less_time(by, words):
    found = warned([*records(), *races({64: [by * each for each in RACES[64]]})])[Code.RACE_DIFFERS]
    assert words in found.sentence
    assert found.next_step.startswith("Measure it again while nothing else runs")


def test_races_that_did_not_reach_are_told():
    text = sentence(Code.RACE_DIFFERS, [*records(), *races({64: [None, None, None, 0.03, 0.03]})])
    assert text == "Batch 64 did not reach the target in 3 of 5 races (its steps were over)."


def test_another_policy_with_the_same_winner_is_no_matter():
    assert Code.POLICY_CHANGES not in warned([*records(), *with_policy("linear", lambda size: 2 * planted.steps(size))])


def test_sizes_that_are_not_compared_are_told_why():
    knee = records(step_s=planted.knee, timed=SIZES[2:], searched=SIZES[1:])  # no curves that hold, to rule out anything
    knee += [s.time_record(planted.case(1, threads=2), 0.1), s.failure(planted.case(8, threads=2), "oom")]
    knee += [s.record(BEYOND, Measurement(status="not_applicable"), "target")]
    assert sentence(Code.NOT_COMPARED, knee) == (
        "Left out, since it takes both steps and times: batch 1 (steps not searched), batch 8 (out of memory) and batch "
        "9,999 (larger than the data)."
    )


def test_a_size_that_the_curves_rule_out_is_not_missed():
    assert Code.NOT_COMPARED not in warned(records(timed=SIZES[2:], searched=SIZES[1:]))


def test_one_batch_size_only_and_two_are_told_apart():
    assert sentence(Code.FEW_SIZES, records(sizes=(64,))).startswith("Only batch 64 reached the target")
    assert sentence(Code.FEW_SIZES, records(sizes=(32, 64))).startswith("2 batch sizes reached the target")


def test_one_seed_is_told_to_have_no_interval():
    assert sentence(Code.FEW_SEEDS, records(seeds=1)).startswith("One seed: no interval")
    assert sentence(Code.FEW_SEEDS, records(seeds=2)).startswith("2 seeds: no interval")
    assert Code.FEW_SEEDS not in warned(records(seeds=3))
