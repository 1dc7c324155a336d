"""The five tiles say what the choice says, and where a figure is missing which command would make it."""

import re

import planted
import pytest
import synthetic as s
import targeted as t

from mbbench.reporting import page, readable
from mbbench.reporting.choosing import choices
from mbbench.reporting.pooling import settings
from mbbench.reporting.selection import latest
from mbbench.reporting.tiles import NOT_COMPARED, UNKNOWN, Tile, leading, of, tiles

ASK = "`mbbench run digits-mlp --n 64 --threads 1 --time 60s`"


def made(records):
    kept, _ = latest(records)
    return settings(kept), choices(kept)


def shown(records):
    return dict(zip(("batch", "time", "full", "rate", "regressions"), tiles(*made(records)), strict=True))


def searched(size, steps, **fields):
    return s.target_record(t.cell(size), steps, **fields)


def test_the_tiles_hold_the_figures_of_the_choice():
    found = shown(t.everything())
    # 200 steps of 40 us + 8 * 5 us; the full batch takes 96 of 300 us.
    assert found["batch"][:2] == ("recommended batch", "8")
    assert found["batch"].detail == "no other that was tried is as good"
    assert found["time"][:2] == ("time to loss 0.1", "16.0 ms")
    assert re.fullmatch(r"95 % \d\d\.\d ms to \d\d\.\d ms, 5 seeds", found["time"].detail)
    assert found["full"][:2] == ("against full batch", "1.8 times as fast")
    assert re.fullmatch(r"95 % \d\.\d to \d\.\d", found["full"].detail)
    assert found["rate"] == ("throughput at that size", readable.rate(8 / 80e-6), "with slice, 3 repeats")
    assert found["regressions"] == NOT_COMPARED == ("regressions", "not compared", "`mbbench compare BASE`")


def test_of_several_loaders_the_fastest_is_shown_and_named():
    several, chosen = made(t.everything())
    assert leading(chosen[::-1]).loader == "slice"
    assert of(several, chosen) == "digits-mlp, n = 64, CPU, 1 thread, slice"


def test_a_single_choice_of_a_single_setting_is_not_named():
    assert of(*made([*t.searches(), *t.times(("slice",))])) == ""


def test_the_first_setting_with_a_recommendation_is_shown_before_one_without():
    without = [s.target_record(t.cell(4, problem="breast-cancer"), [None] * 5)]
    _, chosen = made([*without, *t.everything()])
    assert chosen[0].cell.problem == "breast-cancer"
    assert leading(chosen).cell.problem == "digits-mlp"


def test_as_good_sizes_are_listed_and_beyond_four_counted():
    records = planted.records(sizes=planted.SIZES, steps=lambda size: 100.0, step_s=lambda size: 1e-3)
    tile = shown(records)["batch"]
    assert re.fullmatch(r"as good: ([\d,]+, ){3}[\d,]+ and 8 more", tile.detail)


def test_times_alone_say_what_to_type_and_the_highest_throughput():
    found = shown(t.times())
    assert found["batch"] == Tile("recommended batch", UNKNOWN, ASK)
    assert found["time"] == Tile("time to the target loss", UNKNOWN, "by the same command")
    assert found["full"].value == UNKNOWN
    assert found["rate"] == ("highest throughput", readable.rate(64 / 300e-6), "full batch with slice, 3 repeats")


def test_a_search_without_times_says_what_to_type():
    found = shown(t.searches())
    assert (found["batch"].value, found["batch"].detail) == (UNKNOWN, ASK)
    assert {found[name].value for name in ("time", "full", "rate")} == {UNKNOWN}


def test_a_target_that_nothing_reached_asks_for_more_time():
    records = [*(searched(size, [None] * 5) for size in t.SIZES), *t.times(("slice",))]
    assert shown(records)["batch"].detail == ASK.replace("60s", "5min")


def test_a_start_at_the_target_asks_for_another_target():
    there = [searched(size, [100.0] * 5, aims=(s.START,)) for size in t.SIZES]
    records = [*there, *t.times(("slice",))]
    assert shown(records)["batch"].detail == f"{ASK[:-1]} --target LOSS`"


@pytest.mark.parametrize(
    ("full", "value"),
    [
        ([searched(None, [None] * 5)], "target not reached"),
        ([searched(None, [None] * 5, ended="diverged")], "diverged"),
        ([s.failure(t.cell(None), "oom")], "out of memory"),
    ],
)
def test_a_full_batch_that_never_got_there_is_said_to(full, value):
    records = [*(searched(size, [t.STEPS[size]] * 5) for size in t.SIZES), *t.times(("slice",), t.SIZES), *full]
    tile = shown(records)["full"]
    assert (tile.value, tile.detail) == (value, "with full batch")


def test_a_full_batch_that_was_not_tried_has_the_command_that_tries_it():
    records = [*(searched(size, [t.STEPS[size]] * 5) for size in t.SIZES), *t.times(("slice",), t.SIZES)]
    tile = shown(records)["full"]
    command = "`mbbench run digits-mlp --batch-size full --n 64 --threads 1 --measure time,target`"
    assert (tile.value, tile.detail) == (UNKNOWN, command)


def test_a_recommended_full_batch_is_not_compared_with_itself():
    records = [s.target_record(planted.case(None), [10.0] * 5), *planted.records(sizes=(64, 256, 1024))]
    records += [s.time_record(planted.case(None, threads=2), 1e-3, repeat=repeat) for repeat in range(3)]
    found = shown(records)
    assert found["batch"].value == "full (4,096)"
    assert found["full"][1:] == ("is full batch", "the recommended batch holds all rows")


def test_one_seed_has_no_interval_and_says_so():
    found = shown(planted.records(seeds=1))
    assert found["time"].detail == "no interval, 1 seed"


def test_a_size_between_those_tried_has_the_throughput_of_the_line():
    dataloader = [record for record in t.everything() if record.kind != "time" or record.case.loader == "dataloader"]
    found = shown(dataloader)
    assert found["batch"].value == "6"  # sqrt(200 * 8 / 50) = 5.7
    assert found["rate"].value == readable.rate(6 / (200e-6 + 50e-6 * 6))
    assert found["rate"].detail == "with dataloader, by the line through the sizes that were timed"


def test_failures_alone_have_tiles_without_figures():
    found = shown([s.failure(s.case(size), "error") for size in (32, None)])
    assert [tile.value for tile in found.values()] == [UNKNOWN] * 4 + ["not compared"]


def test_the_command_names_every_axis_that_is_no_default():
    cell = t.cell(8, problem="my model.py:p", loader="gather", device="cuda", optimizer="adam", shuffle=False)
    tile = shown([s.time_record(cell, 0.1)])["batch"]
    assert tile.detail == (
        "`mbbench run 'my model.py:p' --n 64 --loader gather --device cuda --optimizer adam --no-shuffle --time 60s`"
    )


def test_a_later_comparison_fills_the_last_tile():
    told = Tile("regressions", "2 slower", "9 the same")
    assert tiles(*made(t.everything()), told)[-1] == told


def test_the_page_shows_the_tiles_under_the_verdict(tmp_path):
    page.build(t.times(), tmp_path / "index.html", figures=False)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    part = html.split('<section class="tiles"')[1].split("</section>")[0]
    assert html.index('id="verdict"') < html.index('<section class="tiles"')
    assert part.count('<dd class="value">') == 5
    assert part.count(f"<code>{ASK[1:-1]}</code>") == 1
