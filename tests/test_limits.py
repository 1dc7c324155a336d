"""Nine ways for a cell to fail, each ending in its right status while the run goes on."""

import random
import sys
from pathlib import Path

import models
import psutil
import pytest
import torch

from mbbench import api
from mbbench.case import Case, UsageError
from mbbench.measuring import limits, resident

MIB = 2**20
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA holds on Linux alone")

USER = """
import mmap, os, signal, time
import torch
from torch import nn
from mbbench import Problem

mse = nn.functional.mse_loss
kept = []

def rows(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 64, generator=generator), torch.randn(n, 1, generator=generator)

def problem(**fields):
    plain = {"model": lambda: nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 1)), "loss": mse, "data": rows}
    return Problem(**(plain | {"held_out": 0.0, "lr": 1e-3, "n_samples": 64} | fields))

def with_loss(happening, **fields):
    def loss(prediction, target):
        happening()
        return mse(prediction, target)
    return problem(loss=loss, **fields)

def fail():
    raise ValueError("the loss did not like it")

def take_shared_pages():
    # pages that RLIMIT_DATA does not count
    block = mmap.mmap(-1, 60 << 20)
    block.write(b"x" * (60 << 20))
    kept.append(block)
    time.sleep(0.01)

def large_rows(n, seed):
    torch.ones(n, 64, 64)
    return rows(n, seed)

plain = problem
def too_much_data(): return problem(data=large_rows)
def shared(): return with_loss(take_shared_pages)
def sleeps(): return with_loss(lambda: time.sleep(60))
def segfaults(): return with_loss(lambda: os.kill(os.getpid(), signal.SIGSEGV))
def killed(): return with_loss(lambda: os.kill(os.getpid(), signal.SIGKILL))
def raises(): return with_loss(fail)
def diverges(): return problem(lr=1e6, data=rows)
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    path = tmp_path_factory.mktemp("user") / "failing.py"
    path.write_text(USER)
    return str(path)


def a_case(n=64, batch_size=None, **fields):
    return Case(problem="f.py:x", n_samples=n, batch_size=batch_size, **fields)


@LINUX
@pytest.mark.parametrize("kind", ["time", "memory"])
def test_full_batch_over_the_limit_raises_in_the_middle_of_its_training(measure, user, kind):
    found = measure(user, "plain", a_case(100_000), kind=kind, refuse=False, max_bytes=100 * MIB)
    assert (found.status, found.oom_by, found.phase) == ("oom", "raised", "warm-up" if kind == "time" else "train")
    assert found.limit_bytes == 100 * MIB
    assert found.predicted_peak_bytes > 400 * MIB
    assert found.peak_rss_delta_bytes <= 110 * MIB
    assert "DefaultCPUAllocator" in found.message


@LINUX
def test_rows_that_are_too_large_to_be_made_are_out_of_memory_in_the_phase_data(measure, user):
    found = measure(user, "too_much_data", a_case(20_000, 32), max_bytes=100 * MIB)
    assert (found.status, found.oom_by, found.phase) == ("oom", "raised", "data")


def test_a_cell_that_is_predicted_not_to_fit_is_not_run(measure, user):
    found = measure(user, "plain", a_case(100_000), max_bytes=100 * MIB)
    assert (found.status, found.oom_by, found.phase) == ("oom", "predicted", "start")
    assert "not run" in found.message
    assert found.peak_tensor_bytes is None
    assert found.peak_rss_delta_bytes is None


def test_what_the_limit_does_not_count_the_watchdog_sees(measure, user):
    found = measure(user, "shared", a_case(), max_bytes=100 * MIB)
    assert (found.status, found.oom_by) == ("oom", "watchdog")
    assert found.rss_sampled
    assert 100 * MIB < found.peak_rss_delta_bytes < 200 * MIB


@pytest.mark.parametrize(
    ("name", "kind", "status", "words"),
    [
        ("sleeps", "time", "timeout", "no answer within"),
        ("segfaults", "memory", "crash", "SIGSEGV"),
        ("killed", "memory", "killed", "killed from outside"),
        ("raises", "memory", "error", "the loss did not like it (failing.py, line"),
        ("diverges", "convergence", "diverged", "at lr 1e+06"),
    ],
)
def test_other_failures_keep_their_status_under_a_limit(measure, user, name, kind, status, words):
    timeout_s = 1.5 if name == "sleeps" else 60
    found = measure(user, name, a_case(), kind=kind, max_bytes=500 * MIB, timeout_s=timeout_s)
    assert (found.status, found.oom_by) == (status, None)
    assert words in found.message


def test_a_cell_that_fits_is_untouched_by_its_limit(measure, user):
    found = measure(user, "plain", a_case(20_000, 256), kind="time", max_bytes=200 * MIB)
    assert (found.status, found.limit_bytes) == ("ok", 200 * MIB)


def test_errors_that_mean_memory_are_told_from_others():
    always = (MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't"))
    under_a_limit = (
        SystemError("no memory"),
        RuntimeError("could not create a primitive"),
        OSError(12, "Cannot allocate memory"),
    )
    never = (ValueError("full"), RuntimeError("shapes"))
    for limited in (True, False):
        assert all(limits.out_of_memory(error, limited) for error in always)
        assert all(limits.out_of_memory(error, limited) is limited for error in under_a_limit)
        assert not any(limits.out_of_memory(error, limited) for error in never)


@LINUX
def test_the_peak_of_a_process_is_seen_though_it_was_given_back():
    rest = resident.settle()
    with resident.watched_peak() as peak:
        torch.ones(50 * MIB // 4)
    assert not peak.sampled
    assert abs(peak.bytes - rest - 50 * MIB) < 2 * MIB
    assert resident.own_bytes() - rest < 25 * MIB


def test_where_the_system_counts_no_peak_it_is_sampled_and_says_so(monkeypatch):
    monkeypatch.setattr(resident, "restart_peak", lambda: False)
    with resident.watched_peak() as peak:
        torch.ones(2 * MIB)
    assert peak.sampled
    assert peak.bytes > 0


def test_a_container_leaves_less_than_the_machine(monkeypatch):
    texts = {"memory.max": f"{300 * MIB}\n", "memory.current": f"{100 * MIB}\n", "memory.stat": "anon 5\ninactive_file 0\n"}
    monkeypatch.setattr(Path, "read_text", lambda path: texts[path.name])
    assert resident.free_bytes() == 200 * MIB
    texts["memory.stat"] = f"anon 5\ninactive_file {50 * MIB}\n"
    assert resident.free_bytes() == 250 * MIB
    texts["memory.max"] = "max\n"
    assert resident.free_bytes() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


@pytest.mark.parametrize("budget", ["0", "-1GiB", "much", "1 parsec", ""])
def test_a_budget_that_is_none_is_refused_with_what_was_expected(tmp_path, budget):
    with pytest.raises(UsageError, match='expected an amount above 0, such as "1GiB"'):
        api.plan("linear", results=tmp_path, memory_budget=budget)


def test_full_batch_that_does_not_fit_gets_accumulation_beside_it(tmp_path):
    plan = api.plan("mlp", results=tmp_path, n=20_000, batch_size=[32, "full"], memory_budget="100MiB", measure="memory")
    assert [(cell.batch_size, cell.micro_batch is None) for cell in plan.cells] == [(32, True), (None, True), (None, False)]
    roomy = api.plan("mlp", results=tmp_path, n=20_000, batch_size=[32, "full"], memory_budget="10GiB", measure="memory")
    assert len(roomy.cells) == 2


def test_the_diagnostic_of_the_allocator_never_enters_a_timed_pass(tmp_path):
    with pytest.raises(UsageError, match="a diagnostic of the memory pass alone"):
        api.plan("linear", results=tmp_path, options={"malloc": "mmap64k"})


@LINUX
@pytest.mark.long
def test_two_hundred_random_limits_end_in_a_right_status(measure):
    """No hang, no lost record, no status but ok and oom; a cell that is given far more than it takes is ok."""
    generator = random.Random(20261124)
    odd, counts = [], {"ok": 0, "oom": 0}
    for number in range(200):
        kind = generator.choice(["mlp", "cnn", "gru", "transformer"])
        budget = int(MIB * 0.25 * 1600 ** generator.random())
        case = a_case(
            generator.choice([64, 1000, 8000]),
            optimizer=generator.choice(["sgd", "adam"]),
            threads=generator.choice([1, 2]),
        )
        found = measure(
            models.__file__, kind, case, kind=generator.choice(["time", "memory"]), refuse=False, max_bytes=budget
        )
        roomy = (found.predicted_peak_bytes or 0) * 4 + 50 * MIB < budget
        if found.status not in counts or (roomy and found.status != "ok"):
            odd.append((number, kind, budget, str(case), found.status, found.message))
        counts[found.status] = counts.get(found.status, 0) + 1
    assert not odd, odd
    assert min(counts["ok"], counts["oom"]) > 20, counts
