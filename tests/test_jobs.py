from pathlib import Path

import pytest

from mbbench.axes import grid
from mbbench.case import Budget, Case, UsageError
from mbbench.measuring.jobs import Facts, Job, Place, default_curve_budget, expected_s, interleaved, locate, make_jobs
from mbbench.measuring.jobs import once_where_unavailable as once
from mbbench.record import Kind

PLACE = Place("linear")
CELLS = grid("linear", n_samples=100, batch_size=[1, 10, "full"])


def block(job: Job) -> int:
    return job.repeat if job.kind == "time" else job.case.seed


def jobs_of(kinds: list[Kind], **fields: object) -> list[Job]:
    return make_jobs(CELLS, PLACE, kinds=kinds, **fields)


@pytest.mark.parametrize("name", ["linear", "mlp-w64", "package.module:problem"])
def test_a_name_that_is_no_file_is_its_own_place(name, tmp_path):
    assert locate(name, tmp_path) == (name, Place(name))


@pytest.mark.parametrize("given", ["net.py", "./net.py", "models/../net.py", "{folder}/net.py"])
def test_a_file_inside_the_folder_is_recorded_relative_to_it(given, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "net.py").touch()
    name, place = locate(f"{given.format(folder=tmp_path)}:problem", tmp_path)
    assert name == "net.py:problem"
    assert place == Place(f"{tmp_path / 'net.py'}:problem")


def test_a_file_in_a_folder_below_keeps_that_folder(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.py").touch()
    assert locate("models/net.py:make", tmp_path) == ("models/net.py:make", Place(f"{tmp_path}/models/net.py:make"))


def test_a_file_outside_the_folder_is_recorded_by_its_name_alone(tmp_path):
    (tmp_path / "net.py").touch()
    (tmp_path / "work").mkdir()
    for given in ("../net.py", str(tmp_path / "net.py")):
        name, place = locate(f"{given}:problem", tmp_path / "work")
        assert name == "net.py:problem"
        assert place == Place(f"{tmp_path / 'net.py'}:problem")
        Case(problem=name, n_samples=1)


def test_a_folder_reached_through_a_link_is_the_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "net.py").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert locate("net.py:problem", tmp_path / "link")[0] == "net.py:problem"


def test_a_file_that_is_not_there_is_a_usage_error():
    with pytest.raises(UsageError, match=r"there is no file nowhere/net\.py: give the path of a Python file"):
        locate("nowhere/net.py:problem", Path.cwd())


def test_a_name_of_no_known_form_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="unknown problem 'lineer': did you mean 'linear'"):
        locate("lineer", tmp_path)


def test_a_cell_makes_a_time_pass_for_each_repeat_and_a_curve_for_each_seed():
    jobs = jobs_of(["time", "convergence"], repeats=4, seeds=2, seconds=0.25)
    assert len(jobs) == len(CELLS) * (4 + 2)
    for cell in CELLS:
        time = [job for job in jobs if job.kind == "time" and job.case == cell]
        assert [job.repeat for job in time] == [0, 1, 2, 3]
        assert {job.budget for job in time} == {Budget(max_seconds=0.25)}
        curves = [job for job in jobs if job.kind == "convergence" and job.case.batch_size == cell.batch_size]
        assert [(job.case.seed, job.repeat) for job in curves] == [(0, 0), (1, 0)]
    assert {job.place for job in jobs} == {PLACE}
    assert not any(job.smoke for job in jobs)


def test_a_cell_makes_one_profile_pass_where_that_is_asked_for():
    jobs = jobs_of(["time", "profile"], repeats=3, seconds=0.25, max_bytes=2**30)
    profiles = [job for job in jobs if job.kind == "profile"]
    assert [(job.case, job.repeat) for job in profiles] == [(cell, 0) for cell in CELLS]
    assert {job.budget for job in profiles} == {Budget(max_seconds=0.25, max_bytes=2**30)}
    assert "profile" not in {job.kind for job in make_jobs(CELLS, PLACE)}
    cells = grid("linear", n_samples=50, batch_size=[100, 50])
    assert [job.case.applicable for job in make_jobs(cells, PLACE, kinds=["profile"])] == [False, True]
    [job, *_] = profiles
    assert expected_s(job) > expected_s(jobs[0]) > 0.5


def test_seeds_are_counted_from_the_seed_of_the_case():
    jobs = make_jobs([Case(problem="linear", n_samples=100, seed=5)], PLACE, kinds=["convergence"], seeds=3)
    assert [job.case.seed for job in jobs] == [5, 6, 7]


def test_a_cell_that_cannot_be_run_makes_one_job_of_each_pass():
    cells = grid("linear", n_samples=[50, 100], batch_size=100)
    jobs = make_jobs(cells, PLACE, repeats=3, seeds=3)
    assert [(job.kind, job.repeat) for job in jobs if not job.case.applicable] == [
        ("time", 0),
        ("convergence", 0),
        ("memory", 0),
    ]


def test_a_curve_has_2000_steps_or_20_epochs_whichever_is_more_and_5_s():
    short, long = Case(problem="linear", n_samples=1000), Case(problem="linear", n_samples=1000, batch_size=1)
    assert default_curve_budget(short) == Budget(max_steps=2000, max_seconds=5.0)
    assert default_curve_budget(long) == Budget(max_steps=20_000, max_seconds=5.0)


def test_a_curve_budget_is_asked_for_each_cell():
    jobs = make_jobs(
        CELLS, PLACE, kinds=["convergence"], seeds=1, curve_budget=lambda c: Budget(max_steps=c.steps_per_epoch)
    )
    assert [job.budget.max_steps for job in jobs] == [100, 10, 1]


def test_each_block_holds_each_cell_once_and_all_jobs_are_kept():
    jobs = jobs_of(["time", "convergence"], repeats=5, seeds=3)
    order = interleaved(jobs, "seed")
    assert len(order) == len(jobs)
    assert set(order) == set(jobs)
    assert [block(job) for job in order] == sorted(block(job) for job in order)
    for number in range(5):
        cells = [(job.kind, job.case.batch_size) for job in order if block(job) == number]
        assert len(cells) == len(set(cells)) == len(CELLS) * (2 if number < 3 else 1)


def test_blocks_are_shuffled_each_in_an_order_of_its_own():
    jobs = make_jobs(grid("linear", n_samples=100, batch_size=range(1, 30)), PLACE, kinds=["time"], repeats=3)
    order = interleaved(jobs, "seed")
    blocks = [[job.case.batch_size for job in order if job.repeat == number] for number in range(3)]
    assert len({tuple(one) for one in [*blocks, list(range(1, 30))]}) == 4


def test_the_order_follows_from_the_seed():
    jobs = jobs_of(["time"], repeats=5)
    assert interleaved(jobs, "a") == interleaved(jobs, "a")
    assert interleaved(jobs, "a") != interleaved(jobs, "b")


def test_repeats_on_a_device_that_is_not_here_are_left_out():
    cells = grid("linear", n_samples=100, batch_size=[10, "full"], device=["cpu", "cuda"])
    jobs = make_jobs(cells, PLACE, repeats=3, seeds=2)
    kept = once(jobs, {"linear": Facts(unavailable={"cpu": None, "cuda": "no cuda device here"})})
    here = [job for job in jobs if job.case.device == "cpu"]
    assert [job for job in kept if job.case.device == "cpu"] == here
    missing = [(job.kind, job.case.batch_size, job.repeat, job.case.seed) for job in kept if job.case.device == "cuda"]
    assert missing == [
        *[("time", 10, 0, 0), ("convergence", 10, 0, 0), ("convergence", 10, 0, 1), ("memory", 10, 0, 0)],
        *[("time", None, 0, 0), ("convergence", None, 0, 0), ("convergence", None, 0, 1), ("memory", None, 0, 0)],
    ]


def test_passes_that_differ_in_their_budget_only_are_all_kept():
    facts = {"linear": Facts(unavailable={"cpu": None})}
    jobs = [*jobs_of(["time"], repeats=2, seconds=0.5), *jobs_of(["time"], repeats=2, seconds=1.0)]
    assert once(jobs, facts) == jobs
    missing = {"linear": Facts(unavailable={"cpu": "not here"})}
    assert len(once(jobs, missing)) == 2 * len(CELLS)


def test_memory_passes_come_first_and_small_before_large():
    cells = grid("linear", n_samples=100, batch_size=["full", 1, 10])
    order = interleaved(make_jobs(cells, PLACE, repeats=2, seeds=1), seed="s")
    assert [job.case.samples_per_step for job in order[:3]] == [1, 10, 100]
    assert [job.kind for job in order[:3]] == ["memory"] * 3
    assert "memory" not in [job.kind for job in order[3:]]
