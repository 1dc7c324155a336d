"""What a commit does to memory and convergence: exact figures by hand, and real trees side by side."""

import math
import time

import pytest
from test_compare import git, project, worktrees

from mbbench.comparing import trees, untimed
from mbbench.comparing.course import Course
from mbbench.reporting import paired_seeds
from mbbench.reporting.compared import Comparison, from_json, to_json

STEPS = (0, 1, 2, 4, 8)


def curve(*losses, held_out=None):
    return STEPS, losses, held_out or (None,) * len(losses)


def test_the_target_is_what_the_base_has_half_way():
    base = {0: curve(8.0, 4.0, 2.0, 1.0, 0.5), 1: curve(8.0, 8.0, 8.0, 4.0, 0.5)}
    assert paired_seeds.target(base) == pytest.approx(2.0)  # 1 and 4 after 4 of 8 updates
    assert paired_seeds.target({0: curve(8.0, 4.0, 2.0, None, None)}) is None
    assert paired_seeds.target({0: curve(8.0, 4.0, 2.0, -1.0, -2.0)}) is None


def test_updates_are_paired_by_seed_and_never_is_twice_as_long_as_was_tried():
    base = {0: curve(8.0, 4.0, 2.0, 1.0, 0.5), 1: curve(8.0, 4.0, 2.0, 1.0, 0.5)}
    head = {0: curve(8.0, 8.0, 4.0, 2.0, 1.0), 1: curve(8.0, 8.0, 8.0, 8.0, 8.0)}
    assert paired_seeds.updates(base, head, 2.0) == [pytest.approx(math.log(2)), pytest.approx(math.log(8))]
    assert paired_seeds.updates(base, base, 2.0) == [0.0, 0.0]
    assert paired_seeds.updates(head, base, 2.0) == [pytest.approx(-math.log(2)), pytest.approx(-math.log(8))]


def test_held_out_losses_are_the_last_ones_and_all_or_none():
    base = {0: curve(1.0, held_out=(4.0, 2.0)), 1: curve(1.0, held_out=(4.0, 1.0))}
    head = {0: curve(1.0, held_out=(4.0, 3.0)), 1: curve(1.0, held_out=(4.0, 1.0))}
    assert paired_seeds.held_out(base, head) == [pytest.approx(math.log(1.5)), 0.0]
    diverged = {0: head[0], 1: curve(1.0, held_out=(4.0, None))}
    assert paired_seeds.held_out(base, diverged)[1] == pytest.approx(math.log(paired_seeds.DIVERGED))
    assert paired_seeds.held_out(diverged, base) == []  # a base without such losses says nothing


def test_a_run_that_diverges_early_is_no_fast_one():
    base = {seed: curve(8.0, 4.0, 2.0, 1.0, 0.5) for seed in range(2)}
    head = {0: ((0, 1), (8.0, None), (None, None)), 1: ((0,), (None,), (None,))}
    assert paired_seeds.updates(base, head, 0.5) == [pytest.approx(math.log(2)), pytest.approx(math.log(2))]


def test_a_difference_is_the_largest_of_any_loss_to_the_bit():
    base = {0: curve(8.0, 4.0, 2.0, 1.0, 0.5)}
    assert paired_seeds.difference(base, {0: curve(8.0, 4.0, 2.0, 1.0, 0.5)}) is None
    assert paired_seeds.difference(base, {0: curve(8.0, 4.0, 2.0, 1.0, math.nextafter(0.5, 1))}) == pytest.approx(
        2**-52, rel=1
    )
    assert paired_seeds.difference(base, {0: curve(8.0, 5.0, 2.0, 1.0, 0.4)}) == pytest.approx(0.2)
    assert paired_seeds.difference(base, {0: curve(8.0, 4.0, 2.0, 1.0, None)}) == math.inf
    assert paired_seeds.difference(base, {0: curve(8.0, 4.0)}) == math.inf


MEMORY = """
import torch
import toy

def test_some(benchmark):
    benchmark(lambda: torch.zeros(toy.work() // 4000) + 1)

def test_pedantic(benchmark):
    benchmark.pedantic(lambda rows: rows * 2, setup=lambda: ((torch.zeros(toy.work() // 4000),), {}))

def test_none(benchmark):
    benchmark(toy.work)
"""


def course(made, found, seconds=600.0):
    return Course(found, made, ["bench"], time.monotonic() + seconds, lambda words: None)


def test_memory_is_that_of_the_tensors_on_each_side(tmp_path):
    root = project(tmp_path, MEMORY, base=4000, head=8000)  # work() is 7,998,000 and 31,996,000
    found = Comparison("a", "b")
    with trees.trees("base", None, "bench", root) as made:
        untimed.memory(course(made, found), [f"bench/test_x.py::test_{name}" for name in ("some", "pedantic", "none")])
    rows = {row.name.partition("::test_")[2]: row for row in found.rows}
    assert set(rows) == {"some", "pedantic"}  # what makes no tensors has no memory to judge
    small, large = 7_998_000 // 4000 * 4, 31_996_000 // 4000 * 4
    assert rows["some"].base == pytest.approx(2 * small, rel=0.1)  # zeros and the sum, to the allocator's alignment
    assert rows["some"].base * rows["some"].change.ratio.value == pytest.approx(2 * large, rel=0.1)
    assert rows["pedantic"].base == rows["some"].base  # rows made by the set-up count as well
    assert {row.change.verdict for row in rows.values()} == {"same"}  # a few KiB matter to nobody
    assert found.lost == {}
    assert len(worktrees(root)) == 1


TRAINED = """
import pytest
from mbbench import grid

@pytest.mark.parametrize("case", [cell for name in ("same", "slower", "other_bits", "worse")
    for cell in grid(f"toy:{name}", n_samples=64, batch_size=8)], ids=str)
def test_trains(case, measured):
    measured()

def test_other(benchmark):
    benchmark(sum, range(10))
"""
PROBLEMS = """
import torch
from torch import nn
from mbbench import Problem

HEAD = {head}

def rows(n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator)
    y = x @ torch.arange(1.0, 5.0).unsqueeze(1) + 0.1 * torch.randn(n, 1, generator=generator)
    return x, y

def summed(prediction, target):
    return ((prediction - target) ** 2).flip(0).sum() / len(target) if HEAD else nn.functional.mse_loss(prediction, target)

def problem(lr=0.02, loss=nn.functional.mse_loss, bias=0.0):
    def model():
        made = nn.Linear(4, 1)
        if HEAD and bias:
            made.register_forward_hook(lambda module, given, result: result + bias * (len(result) == 13))
        return made
    return Problem(model=model, loss=loss, data=rows, lr=lr, n_samples=64)

same, other_bits = problem(), problem(loss=summed)
slower = problem(lr=0.01 if HEAD else 0.02)
worse = problem(bias=1.0)
"""


@pytest.mark.long  # 18 s; its parts are tested above
def test_convergence_is_judged_by_paired_seeds_and_other_bits_are_told(tmp_path):
    root = project(tmp_path, TRAINED)
    git(root, "checkout", "-q", "-B", "main", "base")
    for head in (False, True):
        (root / "src/toy/__init__.py").write_text(PROBLEMS.format(head=head))
        git(root, "commit", "-qam", "problems")
    git(root, "branch", "-f", "base", "HEAD~1")
    found = Comparison("a", "b")
    with trees.trees("base", "main", "bench", root) as made:
        names = [f"test_trains[toy:{name}-n64-b8-slice]" for name in ("same", "slower", "other_bits", "worse")]
        tests = [f"bench/test_x.py::{name}" for name in (*names, "test_other")]
        untimed.convergence(course(made, found), tests, 30.0)
    said = {(row.name.partition("toy:")[2].partition("-")[0], row.change.clock): row.change for row in found.rows}
    assert said["same", "updates"].ratio.value == 1.0
    assert said["slower", "updates"].verdict == "slower"
    assert 1.95 < said["slower", "updates"].ratio.value < 2.2  # half the rate: a little more than twice the updates
    assert said["other_bits", "updates"].verdict == "same"
    assert said["worse", "updates"].ratio.value == 1.0
    assert said["worse", "held-out loss"].verdict == "slower"
    (notice,) = [notice for notice in found.notices if "other_bits" in notice]
    assert notice.startswith("numerics changed")
    assert not any("toy:same" in notice for notice in found.notices)
    assert from_json(to_json(found)) == found
