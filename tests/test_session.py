import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from mbbench import api, store
from mbbench.axes import grid
from mbbench.case import Budget, Case, Cell, UsageError
from mbbench.measuring import inquiring, session
from mbbench.measuring.jobs import Place, locate, make_jobs
from mbbench.record import Record, encode

USER = """
import ctypes, os, signal, sys, time
import torch
from mbbench import Problem

x = torch.arange(8.0).reshape(8, 1)
mse = torch.nn.functional.mse_loss
calls = 0

def problem(**fields):
    plain = {"model": lambda: torch.nn.Linear(1, 1), "loss": mse, "data": (x, 2 * x), "held_out": 0.0, "lr": 1e-3}
    return Problem(**(plain | fields))

def with_loss(happening, after=0):
    def loss(prediction, target):
        global calls
        calls += 1
        if calls > after:
            happening()
        return mse(prediction, target)
    return problem(loss=loss)

def fail(error):
    raise error

def fork_and_die():
    if os.fork() == 0:
        time.sleep(3)
        os._exit(0)
    os._exit(3)

def sleepy_rows(n, seed):
    time.sleep(60)

class Slow(torch.nn.Linear):
    def forward(self, x):
        time.sleep(0.005)
        return super().forward(x)

good = problem()
segfault = with_loss(lambda: os.kill(os.getpid(), 11))
late_segfault = with_loss(lambda: os.kill(os.getpid(), 11), after=8)
late_error = with_loss(lambda: 1 / 0, after=8)
leaves = with_loss(lambda: os._exit(3))
leaves_well = with_loss(lambda: os._exit(0))
exits = with_loss(lambda: sys.exit("bye"))
killed = with_loss(lambda: os.kill(os.getpid(), 9))
hangs = with_loss(lambda: (open("hanging", "w").close(), time.sleep(60)))
forks = with_loss(fork_and_die)
raises = with_loss(lambda: fail(FileNotFoundError(2, "No such file", "/home/me/rows.csv")))
hanging_data = problem(data=sleepy_rows)
bad_data = problem(data=lambda n, seed: (x[:3], x[:3]))
bad_json = with_loss(lambda: __import__("json").loads("?"))
bad_model = problem(model=lambda: fail(ValueError("no such layer")))
huge = problem(model=lambda: torch.nn.Linear(1, 1).register_buffer("big", torch.empty(1 << 50)))
slow = problem(model=lambda: Slow(1, 1))
module = problem(model=torch.nn.Linear(1, 1))
dropout = problem(model=torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout(0.5)))
odd_numbers = problem(lr=torch.tensor(2.0**-10), n_samples=torch.tensor(8))
chatty = with_loss(lambda: (print("on the way"), os.write(1, b"straight out"), os.write(2, b"to stderr")))
last_words = with_loss(lambda: (print("last words"), os._exit(3)))
loaded = with_loss(lambda: fail(RuntimeError(sorted({"pandas", "scipy", "seaborn", "pytest"} & set(sys.modules)))))
main = with_loss(lambda: fail(RuntimeError(getattr(sys.modules["__main__"], "__file__", "hidden"))))
not_one = 3

def environ():
    return problem(lr=float(os.environ["MBBENCH_TEST_LR"]))

def folder():
    return problem(lr=float(os.path.exists("user.py")))
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A folder with the user's file in it, which is the present one."""
    (tmp_path / "user.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def few_steps(cell: Cell) -> Budget:
    return Budget(max_steps=20)


def measured(
    *problems: str, kind: str = "time", timeout_s: float = 60.0, file: str = "user.py", **fields: object
) -> list[tuple[Record, str]]:
    """Measure each problem once, in this order; return each record with what was printed."""
    facts, jobs = {}, []
    for problem in problems:
        name, place = locate(f"{file}:{problem}", Path.cwd())
        facts[name] = inquiring.describe(name, place)
        cell = Case(**({"problem": name, "n_samples": 8, "batch_size": 2} | fields))
        jobs += make_jobs([cell], place, kinds=[kind], repeats=1, seeds=1, seconds=0.05, curve_budget=few_steps)
    results: list[tuple[Record, str]] = []
    begun = session.begin(facts, Path("results"), timeout_s)
    session.execute(begun, jobs, lambda record, printed: results.append((record, printed)))
    assert store.load_file(begun.path) == [store.decode(encode(record)) for record, _ in results]
    return results


@pytest.mark.parametrize(
    ("problem", "kind", "status", "phase", "message"),
    [
        ("segfault", "time", "crash", "warm-up", "the process died in phase warm-up: SIGSEGV"),
        ("late_segfault", "convergence", "crash", "train", "the process died in phase train: SIGSEGV"),
        ("leaves", "time", "crash", "warm-up", "the process died in phase warm-up: exit code 3"),
        ("leaves_well", "convergence", "crash", "warm-up", "the process died in phase warm-up: exit code 0"),
        ("exits", "time", "crash", "warm-up", "the process died in phase warm-up: exit code 1"),
        ("killed", "time", "killed", "warm-up", "killed from outside in phase warm-up (out of memory, or by hand)"),
        (
            "raises",
            "time",
            "error",
            "warm-up",
            "FileNotFoundError: [Errno 2] No such file: 'rows.csv' (user.py, line {raise error})",
        ),
        (
            "bad_json",
            "time",
            "error",
            "warm-up",
            "JSONDecodeError: Expecting value: line 1 column 1 (char 0) (user.py, line {json})",
        ),
        ("late_error", "convergence", "error", "train", "ZeroDivisionError: division by zero (user.py, line {1 / 0})"),
        ("bad_data", "time", "error", "data", "UsageError: data(8, 0) returned 3 rows"),
        ("bad_model", "time", "error", "model", "ValueError: no such layer (user.py, line {raise error})"),
    ],
    ids=lambda value: value if value.isidentifier() else "",
)
def test_a_cell_that_fails_ends_with_its_status_and_the_next_one_is_measured(user, problem, kind, status, phase, message):
    (failed, _), (after, _) = measured(problem, "good", kind=kind)
    assert (failed.measurement.status, failed.measurement.phase) == (status, phase)
    for number, line in enumerate(USER.splitlines(), start=1):
        for source in ("raise error", "1 / 0", "json"):
            message = message.replace(f"{{{source}}}", str(number)) if source in line else message
    assert failed.measurement.message == message
    assert failed.measurement.cell_s > 0
    assert after.measurement.status == "ok"
    assert after.measurement.message is None
    assert str(user) not in encode(failed).decode()


@pytest.mark.parametrize(("problem", "phase"), [("hangs", "warm-up"), ("hanging_data", "data")])
def test_a_cell_that_hangs_is_killed_after_its_timeout(user, problem, phase):
    (hung, _), (after, _) = measured(problem, "good", timeout_s=2.5)
    assert hung.measurement.status == "timeout"
    assert hung.measurement.message == f"no answer within 2.5 s, in phase {phase}"
    assert 2.5 <= hung.measurement.cell_s < 5.0
    assert after.measurement.status == "ok"


def test_a_death_is_seen_although_a_process_that_the_user_forked_lives_on(user):
    [(forked, _)] = measured("forks")
    assert forked.measurement.message == "the process died in phase warm-up: exit code 3"
    assert forked.measurement.cell_s < 2.0


def test_a_model_too_large_for_any_memory_ends_as_oom(user):
    (huge, _), (after, _) = measured("huge", "good")
    assert (huge.measurement.status, huge.measurement.phase) == ("oom", "model")
    assert "can't allocate memory" in huge.measurement.message
    assert after.measurement.status == "ok"


def test_a_learning_rate_far_too_high_ends_as_diverged_with_the_curve_up_to_there(user):
    [(record, _)] = measured("good", kind="convergence", lr=1e30)
    curve = record.measurement.curve
    assert record.measurement.status == "diverged"
    assert record.measurement.message == f"the training loss was not finite after {curve.step[-1]} steps at lr 1e+30"
    assert curve.train_loss[0] > 0
    assert curve.train_loss[-1] is None


def test_what_the_user_prints_reaches_nobody_but_where_a_cell_failed(user, capfd):
    (chatty, printed), (dead, last_words) = measured("chatty", "last_words")
    assert (chatty.measurement.status, printed) == ("ok", "")
    assert (dead.measurement.status, last_words) == ("crash", "last words")
    assert capfd.readouterr() == ("", "")


def test_the_last_words_of_a_worker_are_cut_to_their_end_and_stay_out_of_the_record(user):
    (user / "loud.py").write_text(USER + "loud = with_loss(lambda: (print('x' * 100_000 + 'end'), os._exit(3)))")
    [(record, printed)] = measured("loud", file="loud.py")
    assert len(printed) < 5000
    assert printed.endswith("xend")
    assert b"xend" not in encode(record)


def test_a_file_edited_between_two_cells_is_seen_and_so_is_its_neighbour(user):
    seen = []
    for lr, rows in ((0.1, 8), (0.2, 7)):  # of the same length, within the same second
        (user / "neighbour.py").write_text(f"ROWS = {rows}")
        (user / "mine.py").write_text(USER + f"import neighbour\nmine = problem(lr={lr}, n_samples=neighbour.ROWS)")
        [(record, _)] = measured("mine", file="mine.py", n_samples=4)
        facts = inquiring.describe("mine.py:mine", locate("mine.py:mine", user)[1])
        seen.append((record.measurement.lr, facts.default_samples))
        assert record.source == facts.source
        seen.append(record.source)
    assert seen[::2] == [(0.1, 8), (0.2, 7)]
    assert seen[1] != seen[3]
    assert not list(user.rglob("*.pyc"))


def test_a_worker_sees_the_present_environment_and_folder_and_not_those_the_server_began_in(user, monkeypatch):
    monkeypatch.setenv("MBBENCH_TEST_LR", "0.125")
    [(environ, _), (folder, _)] = measured("environ", "folder")
    assert environ.measurement.lr == 0.125
    assert folder.measurement.lr == 1.0
    monkeypatch.delenv("MBBENCH_TEST_LR")
    assert inquiring.describe("user.py:environ", locate("user.py:environ", user)[1]).error.startswith("KeyError")


def test_a_worker_holds_neither_the_main_program_nor_the_tables_of_the_report(monkeypatch, user):
    assert "pytest" in sys.modules
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "main.py", raising=False)  # xdist's processes have none
    (loaded, _), (main, _) = measured("loaded", "main")
    assert loaded.measurement.message.startswith("RuntimeError: [] (")
    assert main.measurement.message.startswith("RuntimeError: hidden (")
    assert sys.modules["__main__"].__file__ == "main.py"


def test_the_same_case_gives_the_same_curve_to_the_last_bit_and_another_seed_another():
    cells = [Case(problem="linear", n_samples=100, batch_size=32, seed=seed, loader="dataloader") for seed in (3, 3, 4)]
    jobs = [
        job
        for cell in cells
        for job in make_jobs(
            [cell], Place("linear"), kinds=["convergence"], seeds=1, curve_budget=lambda _: Budget(max_steps=8)
        )
    ]
    records = session.execute(session.begin({"linear": inquiring.describe("linear", Place("linear"))}, None), jobs)
    first, second, other = (record.measurement.curve for record in records)
    assert first.train_loss == second.train_loss
    assert None not in first.train_loss
    assert all(a != b for a, b in zip(first.train_loss, other.train_loss, strict=True))
    assert first.samples == other.samples == (0, 32, 64, 96, 100, 132, 164, 196, 200)


def test_a_module_starts_from_the_same_parameters_whatever_the_seed(user):
    (first, _), (second, _) = (measured("module", kind="convergence", seed=seed)[0] for seed in (1, 2))
    curves = first.measurement.curve, second.measurement.curve
    assert curves[0].train_loss[0] == curves[1].train_loss[0]
    assert curves[0].train_loss != curves[1].train_loss  # another order of the rows


def test_what_a_model_draws_follows_from_the_seed(user):
    drawn = [measured("dropout", kind="convergence", seed=seed, batch_size=None)[0][0] for seed in (3, 3, 4)]
    first, second, other = (record.measurement.curve.train_loss for record in drawn)
    assert first == second
    assert first[0] == other[0]
    assert first[1:] != other[1:]


def test_five_milliseconds_of_sleep_show_as_five_milliseconds_a_step(user):
    [(record, _)] = measured("slow")
    times = record.measurement
    assert all(seconds >= 0.005 for seconds in times.steps_s())
    assert min(times.steps_s()) < 0.012
    assert min(times.epochs_s(8)) == pytest.approx(4 * min(times.steps_s()), rel=0.01)
    # It slept: the processor was not busy.
    assert sum(times.round_cpu_s) < 0.5 * sum(times.round_s)


def test_throughput_times_time_is_samples_on_every_record(tmp_path):
    cells = [
        *grid("linear", n_samples=100, batch_size=[1, 32, "full"], loader=["slice", "dataloader"]),
        *grid("linear", n_samples=50_000, batch_size=[7], loader=["gather"]),
        *grid("linear", n_samples=100, batch_size=[32], micro_batch=8),
    ]
    jobs = make_jobs(cells, Place("linear"), kinds=["time"], repeats=1, seconds=0.05)
    records = session.execute(session.begin({"linear": inquiring.describe("linear", Place("linear"))}, None), jobs)
    for record in records:
        times, n, size = record.measurement, record.case.n_samples, record.case.samples_per_step
        assert times.status == "ok"
        if times.epochs_per_round:
            assert times.samples_per_round == times.epochs_per_round * n
            assert times.steps_per_round == times.epochs_per_round * record.case.steps_per_epoch
        else:
            assert times.samples_per_round == times.steps_per_round * size
        start_s = statistics.median(times.epoch_start_s or (0.0,)) * (
            times.samples_per_round / n if not times.epochs_per_round else 0
        )
        for epoch_s, round_s in zip(times.epochs_s(n), times.round_s, strict=True):
            assert n / epoch_s * (round_s + start_s) == pytest.approx(times.samples_per_round, rel=1e-9)
        assert sum(times.round_s) <= times.measuring_s
        assert times.warmup_s + times.measuring_s <= times.cell_s
    assert records[6].measurement.epochs_per_round == 0
    assert all(record.measurement.epochs_per_round for record in records[2:6])  # fewer than 100 steps an epoch


def test_numbers_of_torch_in_a_problem_become_plain_numbers_in_its_records(user):
    [(record, _)] = measured("odd_numbers", kind="convergence")
    assert (record.measurement.status, record.measurement.lr) == ("ok", 2.0**-10)
    assert type(inquiring.describe("user.py:odd_numbers", locate("user.py:odd_numbers", user)[1]).default_samples) is int


def test_a_cell_that_cannot_be_run_here_is_a_record_too():
    facts = {"linear": inquiring.describe("linear", Place("linear"), ["cpu", "mps:7"])}
    cells = [Case(problem="linear", n_samples=50, device="mps:7"), Cell(problem="linear", n_samples=50, batch_size=100)]
    jobs = make_jobs(cells, Place("linear"), kinds=["time"], repeats=1)
    first, second = (record.measurement for record in session.execute(session.begin(facts, None), jobs))
    assert (first.status, second.status) == ("unavailable", "not_applicable")
    assert first.message == facts["linear"].unavailable["mps:7"]
    assert first.message.startswith("no mps device here")
    assert second.message == "batch_size is 100, but the data set has 50 samples"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (
            "import os; os.kill(os.getpid(), 11)",
            "problem bad.py:it could not be looked at: the process died in phase start: SIGSEGV",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero (bad.py, line 1)"),
        ("it = 3", "bad.py:it is a int: expected a mbbench.Problem or a function that returns one"),
        ("", "bad.py has no attribute 'it': give the name of a mbbench.Problem in it"),
        ("it = (", "SyntaxError: '(' was never closed (bad.py, line 1)"),
    ],
    ids=["dies", "raises", "is no problem", "is empty", "is no Python"],
)
def test_a_file_that_cannot_be_used_is_an_error_of_its_cells_and_of_no_others(user, source, error):
    (user / "bad.py").write_text(source)
    facts, jobs = {}, []
    for name in ("bad.py:it", "user.py:good"):
        _, place = locate(name, user)
        facts[name] = inquiring.describe(name, place)
        jobs += make_jobs([Case(problem=name, n_samples=8)], place, kinds=["time"], repeats=1, seconds=0.02)
    bad, good = session.execute(session.begin(facts, None), jobs)
    assert (bad.measurement.status, bad.measurement.phase, bad.measurement.message) == ("error", "start", error)
    assert good.measurement.status == "ok"
    assert good.environment.identity["torch"]
    with pytest.raises(UsageError) as caught:
        api.plan("bad.py:it", results=Path("results"))
    assert str(caught.value) == error


def test_measuring_leaves_no_open_file_no_child_and_no_folder_behind(user, monkeypatch):
    (user / "tmp").mkdir()
    measured("good")  # the server is up from here on
    monkeypatch.setattr("tempfile.tempdir", str(user / "tmp"))
    parent = psutil.Process()
    before = (parent.num_fds(), {child.pid for child in parent.children(recursive=True)})
    measured("good", "segfault", "raises")
    measured("hangs", timeout_s=0.5)
    assert (parent.num_fds(), {child.pid for child in parent.children(recursive=True)}) == before
    assert not list((user / "tmp").iterdir())


PLAN = {"batch_size": [1, 2, "full"], "repeats": 2, "seconds": 0.05, "threads": 1}
RUN = """
import sys
from pathlib import Path
from mbbench import api

plan = api.plan("notebook", results=Path("results"), measure=["time"], **{plan!r})
print("planned", flush=True)
api.execute(plan, lambda record, printed, done, jobs: print(done, flush=True))
"""
JOBS = 6


def killed_at_a_random_moment(folder: Path) -> int:
    """Kill a run's parent after some lines and part of a cell, see its processes end; return the records it told of."""
    generator = random.Random(folder.name)
    folder.mkdir()
    mark = uuid.uuid4().hex
    command = [sys.executable, "-c", RUN.format(plan=PLAN)]
    environ = os.environ | {"MBBENCH_TEST_MARK": mark}
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True) as parent:
        lines = [parent.stdout.readline() for _ in range(generator.randrange(JOBS))]
        assert all(lines)
        time.sleep(generator.uniform(0.0, 0.2))  # the random moment
        parent.kill()
        lines += parent.stdout.readlines()
    assert not psutil.wait_procs(marked(mark), timeout=15)[1]
    assert not marked(mark)
    return sum(line != "planned\n" for line in lines)


def marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MBBENCH_TEST_MARK") == mark:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.parametrize("moments", [2, pytest.param(20, marks=pytest.mark.long)])
def test_a_run_killed_at_any_moment_loses_no_record_leaves_no_process_and_goes_on_where_it_was(
    tmp_path, monkeypatch, moments
):
    folders = [tmp_path / f"moment{number}" for number in range(moments)]
    with ThreadPoolExecutor(2) as threads:
        told = list(threads.map(killed_at_a_random_moment, folders))
    for folder, finished in zip(folders, told, strict=True):
        monkeypatch.chdir(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a last line may be cut off
            plan = api.plan("notebook", results=Path("results"), measure=["time"], **PLAN)
            assert len(plan.kept) >= finished  # what was told of is on disk
            assert len(plan.kept) + len(plan.jobs) == JOBS
            api.execute(plan)
            records = store.load_records(folder / "results")
        assert len(records) == JOBS
        assert len({record.key for record in records}) == JOBS
        assert {record.measurement.status for record in records} == {"ok"}
        assert not api.plan("notebook", results=Path("results"), measure=["time"], **PLAN).jobs


def test_a_cell_that_hangs_ends_with_its_parent(user):
    mark = uuid.uuid4().hex
    script = RUN.replace('"notebook"', '"user.py:hangs"').format(plan=PLAN | {"batch_size": [2]})
    environ = os.environ | {"MBBENCH_TEST_MARK": mark}
    with subprocess.Popen([sys.executable, "-c", script], env=environ, stdout=subprocess.DEVNULL) as parent:
        while not (user / "hanging").exists():
            assert parent.poll() is None
            time.sleep(0.01)
        parent.kill()
    assert not psutil.wait_procs(marked(mark), timeout=15)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="there is a server of workers on Linux only")
def test_ctrl_c_while_the_server_starts_prints_nothing_of_it_and_leaves_no_process(tmp_path):
    mark = uuid.uuid4().hex
    command = [sys.executable, "-c", RUN.format(plan=PLAN)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environ = os.environ | {"MBBENCH_TEST_MARK": mark}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, start_new_session=True, **streams) as parent:
        while not any("torch" in part.path for process in marked(mark) for part in process.memory_maps()):
            assert parent.poll() is None
            time.sleep(0.01)
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to all of them
        printed = parent.communicate()[1]
    assert printed.count("Traceback") == 1  # the parent's own
    assert printed.rstrip().endswith("KeyboardInterrupt")
    assert "preload" not in printed
    assert not psutil.wait_procs(marked(mark), timeout=15)[1]


def test_records_with_a_fault_are_measured_again_and_all_others_are_kept(user):
    name, place = locate("user.py:good", user)
    facts = {name: inquiring.describe(name, place)}
    begun = session.begin(facts, Path("results"))
    cells = grid(name, n_samples=8, batch_size=[1, 2, 4, 8, 16])
    jobs = make_jobs(cells, place, kinds=["time"], repeats=1, seconds=0.02)
    records = session.execute(begun, jobs)
    done = session.finished(Path("results"))
    assert [begun.key(job) for job in jobs] == [record.key for record in records] == list(done)
    assert session.finished(user / "nowhere") == {}
    fault = json.loads(encode(records[0]).replace(b'"status":"ok"', b'"status":"crash"'))
    (user / "results" / "other.jsonl").write_text(json.dumps(fault) + "\n")
    begun.path.write_bytes(b"".join(map(encode, records[1:])))
    assert list(session.finished(Path("results"))) == [record.key for record in records[1:]]
