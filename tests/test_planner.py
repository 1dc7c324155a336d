import itertools
import time
from pathlib import Path

import pytest
from synthetic import case, record, time_record

from mbbench import api, planner, racing, targets
from mbbench.axes import default_sizes, grid, read_seconds
from mbbench.case import UsageError
from mbbench.measuring.jobs import Place
from mbbench.record import Measurement, decode, encode
from mbbench.reporting.choosing import choices
from mbbench.search import Run, Search
from mbbench.targets import Aim, Chase

AIM = Aim(Place("linear"), seeds=2, target=0.1, max_s=30.0)


def searched(cell, steps, measuring_s=1.0):
    """A target record whose two seeds reach the three targets at a half, at once and at twice these steps."""
    runs = tuple(
        Run(
            lr=0.1,
            seed=seed,
            ended="reached",
            step=(0, steps // 2, steps, 2 * steps),
            train_loss=(1.0, 0.2, 0.1, 0.05),
        )
        for seed in (0, 1)
    )
    found = Search(targets=(0.2, 0.1, 0.05), runs=runs, vectorised=True)
    return record(cell, Measurement(status="ok", search=found, measuring_s=measuring_s), kind="target")


def timed_run(cells, left_s, seconds=60.0):
    said = []
    until = time.monotonic() + left_s + planner.CLOSING_S
    return planner.Timed(None, cells, cells, AIM, until, seconds, said.append, lambda record, printed: None), said


def chase_of(cells, *records):
    (chain,) = targets.chains(cells)
    chase = Chase(chain, AIM)
    chase.records += records
    return chase


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        (1, ["full"]),
        (5, [1, 2, 4, "full"]),
        (8, [1, 2, 4, "full"]),
        (1438, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, "full"]),
        (10**6, [4**k for k in range(10)] + ["full"]),
    ],
)
def test_default_sizes_are_powers_below_n_and_the_full_batch_and_never_more_than_twelve(n, sizes):
    assert default_sizes(n) == sizes


def test_default_sizes_leave_out_those_with_a_batch_of_one_row_where_a_model_takes_none():
    assert default_sizes(17, least_rows=2) == ["full"]
    assert default_sizes(22, least_rows=2) == [2, 4, 8, 16, "full"]


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("90", 90), ("1.5 min", 90), ("2h", 7200), ("5m", 300)])
def test_times_are_read(text, seconds):
    assert read_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "0", "60 apples", "nan"])
def test_what_is_no_time_is_said(text):
    with pytest.raises(UsageError, match="expected a time above 0"):
        read_seconds(text)


def test_a_search_is_bounded_by_the_time_there_is_and_dropped_where_there_is_none():
    cells = [case(size) for size in (16, 64)]
    chase = chase_of(cells, searched(case(32), 100))
    jobs = [chase._job(cell) for cell in cells]
    timed, said = timed_run(cells, left_s=20)
    first, _ = planner._in_time(timed, jobs, reserve_s=5)
    assert 14 < first.search.most_s <= 15
    assert not said
    timed, said = timed_run(cells, left_s=6)
    assert not list(planner._in_time(timed, jobs, reserve_s=5))
    assert said == ["batch 16, 64 not searched: there is no time left"]


def test_the_least_promising_sizes_are_dropped_first_and_it_is_said():
    cells = [case(size) for size in (1, 4, 32, 128, None)]
    chase = chase_of(cells, searched(case(32), 100, measuring_s=1.0), searched(case(None), 50))
    timed, said = timed_run(cells, left_s=60)
    # A step takes 1 ms whatever its batch: the more steps, the longer; S = 50 (1 + 32 / B) through the two.
    timed.records += [time_record(cell, 1e-3 * cell.steps_per_epoch) for cell in cells]
    jobs = [chase._job(cell) for cell in cells if cell.batch_size in (1, 4, 128)]
    everything = [job.case.batch_size for job in planner._afforded(timed, chase, jobs, 9.0)]
    assert everything == [1, 4, 128]
    assert not said
    times = planner._predicted_times(timed, chase)
    assert times[128] < times[32] < times[4] < times[1]
    assert times[1] == pytest.approx(50 * 33 / (50 * (1 + 32 / 2048)), rel=0.1)  # full batch takes the least
    timed, said = timed_run(cells, left_s=9 + 17)
    timed.records += [time_record(cell, 1e-3 * cell.steps_per_epoch) for cell in cells]
    kept = [job.case.batch_size for job in planner._afforded(timed, chase, jobs[::-1], 9.0)]
    assert kept == [128, 4]
    assert [line for line in said if line.startswith("batch 1 not searched: predicted")]


def test_a_grid_that_cannot_be_timed_in_its_share_is_thinned_and_the_smallest_and_largest_stay(monkeypatch):
    cells = grid("linear", n_samples=2048, batch_size=[2**power for power in range(11)] + ["full"])
    timed, said = timed_run(cells, left_s=3, seconds=4.0)
    monkeypatch.setattr(planner.session, "execute", lambda *arguments: [])
    timed.begun = type("Begun", (), {"run_id": "x"})
    sizes = [cell.samples_per_step for cell in planner._time_once(timed)]
    assert {1, 2048} <= set(sizes)
    assert len(sizes) < len(cells)
    assert "no time to time every batch size" in said[0]


def test_a_run_within_a_time_times_searches_and_races(tmp_path):
    plan = api.plan(
        "notebook", results=tmp_path, batch_size=api.AUTO, measure=["time", "target"], seeds=2, threads=1, target=2.0
    )
    said = []
    records = api.run_within(plan, 12.0, time.monotonic(), said.append)
    kinds = {kind: [r for r in records if r.kind == kind] for kind in ("time", "target", "race")}
    assert {r.case.batch_size for r in kinds["time"]} == {1, 2, 4, None}
    assert {r.measurement.status for r in kinds["target"]} == {"ok"}
    assert kinds["race"]
    raced = [r.case.seed for r in kinds["race"] if r.case.batch_size == kinds["race"][0].case.batch_size]
    assert raced == sorted(set(raced))  # one seed of every contender, then the next
    assert all(r.measurement.lr == lr_of(r, kinds["target"]) for r in kinds["race"])
    assert "cells to time" in said[0]
    assert len(list(Path(tmp_path).glob("*.jsonl"))) == 1


def lr_of(race, searches):
    return next(r.measurement.lr for r in searches if r.case.batch_size == race.case.batch_size)


def test_races_interleave_seeds():
    cells = [case(16), case(64)]
    jobs = racing.races(cells, [searched(cell, 100) for cell in cells], AIM)
    assert [(job.case.seed, job.case.batch_size) for job in jobs] == list(itertools.product((0, 1), (16, 64)))
    assert all(job.race.look_from == 70 for job in jobs)


def from_file(record):
    return decode(encode(record))


def test_records_from_a_file_and_fresh_ones_are_raced_together_and_the_recommended_size_always_is():
    cells = [case(size) for size in (8, 16, 32, 64, 128)]
    times = [time_record(cell, 1e-3 * cell.steps_per_epoch) for cell in cells]
    searches = [searched(cell, steps) for cell, steps in zip(cells, (900, 500, 301, 300, 302), strict=True)]
    (choice,) = choices([*times, *searches])
    fresh = [job.case for job in racing.contenders([*times, *searches], AIM)]
    assert {cell.batch_size for cell in fresh} == {32, 64, 128}
    assert choice.recommended.cell in fresh
    for mixed in ([*map(from_file, times), *searches], [*times, *map(from_file, searches)]):
        assert [job.case for job in racing.contenders(mixed, AIM)] == fresh


def test_a_search_of_streamed_rows_is_no_other_loaders_and_a_tuned_one_comes_first():
    cell = case(32)
    streamed, sliced = searched(cell.on(loader="stream"), 100), searched(cell, 200)
    fixed = searched(targets.with_policy(cell, "fixed"), 300)
    every = [streamed, fixed, sliced]
    assert racing.search_of(cell.on(loader="dataloader", threads=2), every) is sliced
    assert racing.search_of(cell.on(loader="stream"), every) is streamed
    assert racing.search_of(cell.on(loader="stream"), [sliced]) is sliced
    assert racing.search_of(cell, [streamed]) is None
    assert racing.search_of(cell, [fixed, streamed]) is fixed
    assert racing.search_of(case(64), every) is None


def test_problems_of_another_n_do_not_mix():
    small, large = ([case(size, n_samples=n) for size in (32, None)] for n in (1024, 8192))
    timed, _ = timed_run([*small, *large], left_s=60)
    timed.records += [
        time_record(cell, cell.steps_per_epoch * step_s) for cell, step_s in zip(small, (1e-3, 1e-3), strict=True)
    ]
    timed.records += [
        time_record(cell, cell.steps_per_epoch * step_s) for cell, step_s in zip(large, (1e-6, 1e-6), strict=True)
    ]
    chase = chase_of(small, searched(small[0], 100), searched(small[1], 50))
    assert planner._predicted_times(timed, chase) == pytest.approx({32: 2.0, 1024: 1.0}, rel=0.05)
    timed.records += [searched(cell, 100) for cell in (*small, *large)]
    assert [sorted(of_one.values()) for of_one in racing.reckoned_s(timed.records).values()] == [
        pytest.approx([0.1, 0.1], rel=0.05),
        pytest.approx([1e-4, 1e-4], rel=0.05),
    ]
