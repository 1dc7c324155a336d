"""A look reads what belongs to the steps of a loop and nothing else."""

import gc
import time

import pytest
import torch
from looped import X, Y
from torch import nn

import mbbench
from mbbench import watched, watching
from mbbench.measuring import looking


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(watching, "_ALL", [])


def test_evaluation_between_epochs_is_no_part_of_a_step():
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loader = [(X, Y)] * 3  # no look is over within an epoch
    for _ in range(12):
        for x, y in mbbench.watch(loader, net, optimizer):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        net(torch.zeros(1000, 3))
    assert watching._ALL[0].seen.looks
    assert {look.rows for look in watching._ALL[0].seen.looks} == {5 * watched.LOOK}


def test_a_step_with_a_closure_is_not_called_the_optimizers():
    net = nn.Linear(3, 1)
    optimizer = torch.optim.LBFGS(net.parameters(), lr=1e-6, max_iter=2)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(X), Y)
        loss.backward()
        return loss

    loop = mbbench.watch([X] * 40, net, optimizer)
    for _ in loop:
        optimizer.step(closure)
    assert all(look.optimizer_s == 0 and look.updates == look.batches for look in loop.seen.looks)
    assert all(0 < look.forward_s < look.total_s for look in loop.seen.looks)
    assert not loop.seen.gradients
    assert "loss, backward, optimizer and the rest" in str(loop)


def test_an_evaluation_amid_a_step_is_no_forward_of_it():
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loop = mbbench.watch([X] * 40, net, optimizer)
    for x in loop:
        net(x).sum().backward()
        optimizer.step()
        with torch.no_grad():
            net(torch.zeros(1000, 3))
    assert {look.rows for look in loop.seen.looks} == {5 * watched.LOOK}
    assert loop._loop.look.inputs[0][0].shape == (5, 3)


def test_a_batch_that_is_broken_off_counts_for_nothing():
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    for _ in range(20):
        for number, x in enumerate(mbbench.watch([X] * 40, net, optimizer)):
            net(x).sum().backward()
            optimizer.step()
            if number == 4:
                break
    [one] = watching._ALL
    assert one.seen.batches == 80
    assert all((look.batches, look.updates, look.rows) == (8, 8, 40) for look in one.seen.looks)
    assert one.seen.looks


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("count", [1, looking.PIECE - 1, 3 * looking.PIECE + 5])
def test_squares_are_summed_exactly_enough(kind, count):
    part = torch.full((count, 1), 1.5, dtype=kind).T
    assert looking._square(part) == pytest.approx(2.25 * count, rel=1e-6)


def test_gradients_are_not_summed_where_there_is_no_room_for_it(monkeypatch):
    monkeypatch.setattr(watched, "LARGE_BYTES", 0)
    monkeypatch.setattr(watched, "_memory", lambda device: (0, 8))
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loop = mbbench.watch([X] * 40, net, optimizer)
    for x in loop:
        net(x).sum().backward()
        optimizer.step()
    assert loop.seen.looks
    assert not loop.seen.gradients


def test_looks_become_rarer_where_they_cost_much(monkeypatch):
    now = 0.0

    def passes(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loop, begun = mbbench.watch(range(4000), net, optimizer, after_s=1e9), []
    for number in loop:
        passes(1.5 if loop._loop.look.on else 1.0)
        if loop._loop.look.on and loop._loop.look.batches == 0:
            begun.append(number)
    # The first costs 8 times half a second, so the next begins after 400 s; from then on it is when the time has doubled.
    assert begun == [4, 396, 816, 1660, 3352]


def test_a_step_in_which_all_garbage_is_collected_is_not_looked_at():
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loop, collected = mbbench.watch([X] * 40, net, optimizer), 0
    callbacks = list(gc.callbacks)
    for x in loop:
        net(x).sum().backward()
        if loop._loop.look.on and loop._loop.look.batches in (3, 5) and collected < 2:
            gc.collect()
            collected += 1
        optimizer.step()
    [first, *_] = loop.seen.looks
    assert (first.batches, first.updates, first.rows, collected) == (8, 8, 40, 2)
    assert gc.callbacks == callbacks
