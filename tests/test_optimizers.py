"""The user's own optimizer, schedule and loader by name, and clipping: the one training loop with them."""

import itertools

import pytest
import torch
from torch import nn

from mbbench.case import Case, UsageError, check_cell
from mbbench.measuring.jobs import Facts
from mbbench.measuring.modules import digest_of
from mbbench.measuring.problems import Problem
from mbbench.measuring.training import prepare

X = torch.arange(10.0).reshape(10, 1)
PROBLEM = Problem(model=lambda: nn.Linear(1, 1), loss=nn.functional.mse_loss, data=(X, X), held_out=0.0)
MINE = """
import torch
from torch.utils.data import DataLoader, TensorDataset

def heavy(parameters, lr): return torch.optim.SGD(parameters, lr=lr, momentum=0.5)
def half(parameters, lr): return torch.optim.SGD([each for each in parameters if each.ndim == 2], lr=lr)
def twice(parameters, lr):
    groups = [{"params": [each for each in parameters if each.ndim == ndim]} for ndim in (1, 2)]
    return torch.optim.SGD(groups, lr=lr)
def none(*given, **named): return None
def plateau(optimizer): return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
def halves(optimizer): return torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
def by_epoch(optimizer, steps_per_epoch): return torch.optim.lr_scheduler.StepLR(optimizer, steps_per_epoch, 0.1)
def whole(data, batch_size, seed): return DataLoader(TensorDataset(*data), batch_size)
def cut(data, batch_size, seed): return DataLoader(TensorDataset(*data), batch_size, drop_last=True)
def pairs(data, batch_size, seed): return DataLoader(TensorDataset(*data), 2)
def once(data, batch_size, seed): return iter([data])
seven = 7
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)


def case(**fields):
    return Case(problem="a:b", n_samples=10, **({"lr": 1e-3} | fields))


def trained(steps, **fields):
    training = prepare(case(batch_size=4, shuffle=False, **fields), PROBLEM)
    training.train(itertools.islice(training.stream(), steps))
    return training


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("mine.py:twice", torch.optim.SGD), ("mine.py:heavy", torch.optim.SGD), ("torch.optim:AdamW", torch.optim.AdamW)],
)
def test_an_optimizer_by_name_is_the_one_that_trains(name, theirs):
    training = trained(1, optimizer=name)
    assert type(training.optimizer) is theirs
    assert training.optimizer.param_groups[0]["lr"] == 1e-3
    assert name in str(case(optimizer=name))


def test_lbfgs_is_told_that_it_needs_a_closure():
    with pytest.raises(UsageError, match="optimizer LBFGS needs a closure that computes the loss anew"):
        prepare(case(optimizer="torch.optim:LBFGS"), PROBLEM)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "mine.py:none"}, "optimizer mine.py:none returned a NoneType"),
        ({"optimizer": "mine.py:half"}, "optimizer mine.py:half leaves out 1 of 2 parameters: freeze them or train them"),
        ({"optimizer": "mine.py:heavi"}, "mine.py has no attribute 'heavi': did you mean 'heavy'?"),
        ({"optimizer": "mine.py:seven"}, r"optimizer mine.py:seven is a int: give a function \(parameters, lr\)"),
        ({"optimizer": "yours.py:heavy"}, "there is no file yours.py"),
        ({"options": (("schedule", "mine.py:none"),)}, "schedule mine.py:none gives a NoneType"),
        ({"options": (("schedule", "mine.py:plateau"),)}, "schedule ReduceLROnPlateau waits for a metric"),
        (
            {"loader": "mine.py:cut", "batch_size": 4},
            "loader mine.py:cut left out 2 of 10 rows of an epoch: give each row once",
        ),
        ({"loader": "mine.py:pairs", "batch_size": 4}, "loader mine.py:pairs made a batch of 2 rows where 4 were due"),
        ({"loader": "mine.py:whole", "shuffle": False}, "loader mine.py:whole orders its rows itself"),
        ({"loader": "mine.py:none"}, "loader mine.py:none returned a NoneType"),
        ({"loader": "mine.py:once"}, "loader mine.py:once returned a .*iterator: return what can be iterated over again"),
    ],
)
def test_what_is_none_is_refused_with_what_was_expected(fields, message):
    with pytest.raises(UsageError, match=message):
        list(prepare(case(**fields), PROBLEM).epoch())


def test_a_schedule_follows_each_update_and_may_ask_for_the_steps_of_an_epoch():
    rate = lambda training: training.optimizer.param_groups[0]["lr"]  # noqa: E731
    assert [rate(trained(steps, options=(("schedule", "mine.py:halves"),))) for steps in (1, 2, 4)] == [1e-3, 5e-4, 2.5e-4]
    assert rate(trained(3, options=(("schedule", "mine.py:by_epoch"),))) == pytest.approx(1e-4)


def test_clipping_scales_a_long_gradient_and_leaves_a_short_one():
    start = torch.cat([part.detach().flatten() for part in PROBLEM.start(0).parameters()])

    def moved(clip):
        training = trained(1, lr=1.0, options=(("clip", clip),))
        return float((torch.cat([part.detach().flatten() for part in training.model.parameters()]) - start).norm())

    assert moved("0.25") == pytest.approx(0.25, rel=1e-5)
    assert moved("1e6") > 1


def test_a_loader_by_name_hands_out_its_batches():
    training = prepare(case(loader="mine.py:whole", batch_size=4), PROBLEM)
    assert [[len(x) for x, _, _ in update] for update in training.epoch()] == [[4], [4], [2]]
    assert [[len(x) for x, _, _ in update] for update in training.epoch()] == [[4], [4], [2]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"options": (("clip", "0"),)}, "clip is '0': expected the largest norm of a gradient, a number above 0"),
        ({"options": (("clip", "much"),)}, "clip is 'much'"),
        ({"options": (("schedule", "cosine"),)}, "schedule is 'cosine': expected your own"),
        ({"optimizer": "/tmp/mine.py:heavy"}, "optimizer is '/tmp/mine.py:heavy': a record holds no absolute path"),
    ],
)
def test_names_and_values_are_checked_where_a_cell_is_made(fields, message):
    with pytest.raises(UsageError, match=message):
        check_cell(case(**fields))


def test_an_edited_optimizer_is_another_source(tmp_path):
    own = case(optimizer="mine.py:heavy", options=(("schedule", "mine.py:halves"),))
    assert own.own_names == ("mine.py:heavy", "mine.py:halves")
    before = Facts(source="s", own={name: digest_of(name) for name in own.own_names})
    (tmp_path / "mine.py").write_text(MINE.replace("momentum=0.5", "momentum=0.75"))
    after = Facts(source="s", own={name: digest_of(name) for name in own.own_names})
    assert before.source_of(own) != after.source_of(own) != "s"
    assert before.source_of(case()) == after.source_of(case()) == "s"
