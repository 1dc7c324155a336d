"""What a machine can do at most, on a scripted clock; and what a row of a known model takes."""

import itertools

import pytest
import torch
from torch import nn

from mbbench.measuring import machine


def ticking(seconds: float):
    """Return a clock that is `seconds` later with each reading."""
    return (tick * seconds for tick in itertools.count()).__next__


def test_a_copy_reads_and_writes_its_buffer():
    found = machine.copies("cpu", ticking(0.02), size=1024)
    assert found["copy_bytes"] == 2048
    assert found["copy_s"] == pytest.approx([0.02] * len(found["copy_s"]))


def test_work_is_done_for_its_seconds_and_three_times_at_least():
    assert len(machine._seconds(lambda: None, "cpu", ticking(1.0), 0.0)) == 3
    done: list[int] = []
    machine._seconds(lambda: done.append(1), "cpu", ticking(0.5), 10.0)
    assert len(done) == 8  # the first three are two readings each, the others three


def test_matrices_double_until_a_product_takes_ten_milliseconds():
    slow = machine.products("cpu", torch.float32, ticking(0.02), side=8)
    assert slow["matmul_flop"] == 2 * 8**3
    taken = itertools.chain([0.001] * 17, itertools.repeat(0.02))
    now = itertools.accumulate(taken)
    quick = machine.products("cpu", torch.float32, now.__next__, side=8)
    assert quick["matmul_flop"] == 2 * 32**3  # eight readings for each size, the last of them slow


def test_matrices_grow_to_a_limit(monkeypatch):
    monkeypatch.setattr(machine, "MOST_SIDE", 32)
    monkeypatch.setattr(machine, "SECONDS", 0.0)
    assert machine.products("cpu", torch.float64, lambda: 0.0, side=8)["matmul_flop"] == 2 * 32**3


def test_what_has_no_room_is_not_known(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(torch, "ones", full)
    monkeypatch.setattr(torch, "full", full)
    assert machine.copies("cpu") == {}
    assert machine.products("cpu", torch.float32) == {}


def test_the_operations_of_a_row_are_those_of_its_products():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    x, y = torch.ones(4, 8), torch.ones(4, 1)
    forward = 2 * (8 * 16 + 16)
    weights, inputs = 2 * (8 * 16 + 16), 2 * 16  # nobody asks for the gradient of the rows
    before = [parameter.clone() for parameter in model.parameters()]
    assert machine.flop_per_row(model, nn.functional.mse_loss, x, y) == forward + weights + inputs
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(map(torch.equal, before, model.parameters()))


def test_operations_that_cannot_be_counted_are_not_known():
    class Scale(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.factor = factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.factor == 0:
                raise RuntimeError("not today")
            return x * self.weight

    x = torch.ones(4, 3)
    assert machine.flop_per_row(Scale(1.0), nn.functional.mse_loss, x, x) is None  # no product in it
    assert machine.flop_per_row(Scale(0.0), nn.functional.mse_loss, x, x) is None
