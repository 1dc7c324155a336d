"""A problem that cannot work is told so before anything is measured, in a line of its own."""

import pytest
import torch
from torch import nn

from mbbench.case import Cell, UsageError
from mbbench.measuring import trial
from mbbench.measuring.problems import Problem

CELL = Cell(problem="a:b", n_samples=50)
X, LABELS = torch.randn(50, 4), torch.arange(50) % 3


def problem(**fields):
    usual = {"model": lambda: nn.Linear(4, 3), "loss": nn.functional.cross_entropy, "data": (X, LABELS)}
    return Problem(**(usual | fields))


def at(row, value, of=LABELS):
    changed = of.clone()
    changed[row] = value
    return changed


NAN = at((40, 1), torch.nan, X)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"data": (X[:, :3], LABELS)},
            r"one step on \d+ rows fails: RuntimeError: mat1 and mat2 .*; a row has features float32 \(3,\)",
        ),
        ({"loss": nn.functional.mse_loss}, r"one step on \d+ rows fails: .*target int64 \(\)"),
        ({"data": (X.int(), LABELS)}, "integers stay integers: convert features to floats"),
        ({"loss": nn.CrossEntropyLoss(reduction="none")}, r"the loss has shape \(\d+,\): return one number, the mean"),
        ({"loss": lambda found, y: 1.5}, "the loss is a float: return a tensor, the mean over the rows"),
        ({"loss": lambda found, y: None}, "the loss is a NoneType: return a tensor"),
        (
            {"model": lambda: nn.Linear(4, 1), "loss": nn.functional.mse_loss, "data": (X, X[:, 0])},
            r"each prediction is compared with every target: a row has prediction \(1,\) and target \(\)",
        ),
        (
            {"model": lambda: nn.Linear(4, 1), "loss": lambda p, y: (p - y).abs().mean(), "data": (X, X[:, 0])},
            "each prediction is compared with every target",
        ),
        ({"loss": lambda found, y: torch.tensor(1.5)}, "the loss does not depend on the model's parameters"),
        (
            {"data": (X, at(45, 3))},
            r"Target 3 is out of bounds.*the labels go from 0 to 3, the model predicts shape \(3,\) a row",
        ),
        ({"data": (X, at(45, -1))}, "the labels go from -1 to 2"),
        ({"data": (NAN, LABELS)}, r"data holds a value that is not finite \(NaN or infinite\) in row 40"),
        ({"model": lambda: nn.Lin(4, 3)}, "model, optimizer or rows cannot be made: AttributeError"),
        ({"model": lambda: 3}, r"model\(\) returned a int"),
        ({"data": lambda n, seed: 1 / 0}, r"the first rows cannot be made: ZeroDivisionError.*test_trial.py, line"),
    ],
)
def test_what_cannot_work_is_said_at_once(fields, message):
    with pytest.raises(UsageError, match=message):
        trial.check(problem(**fields), CELL)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"data": (NAN, LABELS), "loss": lambda found, y: nn.functional.cross_entropy(found.nan_to_num(), y)},
        {"data": (X, at(45, -100))},
        {
            "model": lambda: nn.Linear(4, 1),
            "loss": lambda p, y: nn.functional.mse_loss(p.squeeze(1), y),
            "data": (X, X[:, 0]),
        },
        {"model": lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3))},
        {"data": lambda n, seed: (X[:1].repeat(n, 1), LABELS[:1].repeat(n))},
    ],
)
def test_what_works_is_not_complained_about(fields):
    trial.check(problem(**fields), CELL)


def test_a_model_that_takes_no_single_row_is_told_of():
    assert trial.check(problem(), CELL) == 1
    assert trial.check(problem(model=lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))), CELL) == 2


def test_no_memory_for_the_trial_is_left_for_the_cells_to_tell():
    def large(n, seed):
        raise MemoryError

    trial.check(problem(data=large), CELL)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "torch.optim:LBFGS"}, "optimizer LBFGS needs a closure"),
        ({"options": (("metric", "cmath:sqrt"),)}, "metric cmath:sqrt fails: TypeError"),
        ({"options": (("meter", "cmath:sqrt"),)}, "meter cmath:sqrt fails: TypeError"),
        ({"options": (("schedule", "json:loads"),)}, "schedule json:loads cannot be made .*name a function of yours"),
    ],
)
def test_what_a_cell_names_of_the_users_own_is_tried_too(fields, message):
    with pytest.raises(UsageError, match=message):
        trial.check(problem(), Cell(problem="a:b", n_samples=50, **fields))


def test_a_loader_that_drops_rows_is_seen_by_a_ragged_epoch_and_a_metric_needs_predictions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "def drops(data, batch_size, seed): return DataLoader(TensorDataset(*data), batch_size, drop_last=True)\n"
    )
    with pytest.raises(UsageError, match=r"loader mine\.py:drops left out 2 of 32 rows of an epoch"):
        trial.check(problem(), Cell(problem="a:b", n_samples=50, loader="mine.py:drops"))
    with pytest.raises(UsageError, match="loader stream reads rows from files"):
        trial.check(problem(), Cell(problem="a:b", n_samples=50, loader="stream"))
    whole = problem(loss=None, step=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]))
    with pytest.raises(UsageError, match="a metric is computed from prediction and target: give the problem a loss"):
        trial.check(whole, Cell(problem="a:b", n_samples=50, options=(("metric", "math:sqrt"),)))
