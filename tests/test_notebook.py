"""The notebook's two tables replayed to its printed digits (K1, K2), and its comparison taken apart (K3)."""

import json
import math
import subprocess
import sys

import pytest
import torch

from mbbench.measuring import notebook
from mbbench.measuring.problems import resolve


@pytest.fixture(scope="module")
def tables():
    """Return what `mbbench notebook --json` prints: the tables are held as a user gets them."""
    done = subprocess.run(
        [sys.executable, "-m", "mbbench", "notebook", "--json"], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture
def equal_steps(tables):
    return tables["equal_steps"]


def relative(found, printed):
    return max(abs(a / b - 1) for a, b in zip(found, printed, strict=True))


def test_the_full_batch_table_is_replayed_to_its_printed_digits(tables):
    table = tables["full_batch"]
    assert set(table) == {"epoch", "cost", "printed", "prediction", "printed_prediction"}
    assert table["epoch"] == list(range(0, 2001, 100))
    assert relative(table["cost"], table["printed"]) <= 1e-4
    assert table["prediction"] == pytest.approx(152.8214, abs=2e-4)


def test_the_mini_batch_table_is_replayed_to_its_printed_digits_and_ends_where_the_full_batch_begins(tables):
    table = tables["mini_batch"]
    assert table["epoch"] == [epoch for epoch in range(0, 601, 100) for _ in range(3)]
    assert table["batch"] == [0, 1, 2] * 7
    assert relative(table["cost"], table["printed"]) <= 5e-5
    assert table["prediction"] == pytest.approx(151.9353, abs=1e-4)
    assert table["ends_where_full_batch_begins"] is True


def test_both_starts_are_the_known_draws():
    with torch.random.fork_rng(devices=[]):
        full, mini = notebook._start(notebook.FULL_BATCH_WORDS), notebook._start(notebook.MINI_BATCH_WORDS)
    assert full.weight.flatten().tolist() == pytest.approx([0.5312312245, 0.4759868085, -0.1784405410], abs=1e-9)
    assert full.bias.item() == pytest.approx(-0.4235675633, abs=1e-9)
    assert mini.weight.flatten().tolist() == pytest.approx([-0.4085541070, 0.2448265254, -0.5377823114], abs=1e-9)
    assert mini.bias.item() == pytest.approx(-0.2175383866, abs=1e-9)


def test_at_equal_steps_the_two_are_about_the_same(equal_steps):
    assert equal_steps["full_batch_mse"] == pytest.approx([0.869034, 0.275571], rel=2e-6)
    shuffles = equal_steps["shuffles"]
    for found, expected, spread in zip(equal_steps["batch_2_mse"], (0.9148, 0.2931), (0.09, 0.046), strict=True):
        assert abs(found - expected) <= 4 * spread / math.sqrt(shuffles)


def test_the_learning_rate_and_not_the_batch_size_limited_the_full_batch(equal_steps):
    other = equal_steps["full_batch_at_other_lr"]
    assert other["4.5e-05"]["status"] == "ok"
    assert other["4.5e-05"]["mse"] == pytest.approx(0.21176, rel=1e-3)
    assert other["4.6e-05"] == {"status": "diverged", "mse": None}


def test_the_notebooks_hessian_and_optimum_are_what_the_problem_says():
    problem = resolve("notebook")[0]
    x, y = (part.double() for part in problem.data)
    xa = torch.cat([x, torch.ones(5, 1, dtype=torch.float64)], dim=1)
    eigenvalues = torch.linalg.eigvalsh(2 * xa.T @ xa / 5)
    assert (float(eigenvalues[0]), float(eigenvalues[-1])) == pytest.approx(problem.curvature, rel=1e-6)
    best = torch.linalg.lstsq(xa, y, driver="gelsd").solution
    assert float((xa @ best - y).square().mean()) == pytest.approx(problem.optimum_loss, rel=1e-7)
    assert float(torch.tensor([[73.0, 80.0, 75.0, 1.0]], dtype=torch.float64) @ best) == pytest.approx(151.736217, rel=1e-8)
