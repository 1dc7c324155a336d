"""A copy of a model is tried at other batch sizes: what it keeps, and what cannot be tried."""

import pytest
from looped import X
from torch import nn

from mbbench.measuring import probing


@pytest.fixture(autouse=True)
def time_enough(monkeypatch):
    monkeypatch.setattr(probing, "MOST_S", 60.0)


def test_probes_keep_what_grows_with_the_rows():
    net = nn.Sequential(nn.Linear(3, 50), nn.Tanh(), nn.Linear(50, 1))
    probes, why = probing.probe(net, (X,), {}, lambda: None)
    assert why == ""
    small, large = probes[1], probes[-1]
    each = (large.kept_bytes - small.kept_bytes) / (large.rows - small.rows)
    assert each == pytest.approx(4 * (3 + 50 + 1 + 1), rel=0.2)  # the input, what tanh returns, the output
    assert probing.probe(net, (), {"flag": True}, lambda: None) == ((), "the model is called with no tensor that has rows")
    assert "could not be tried (RuntimeError" in probing.probe(nn.Linear(4, 1), (X,), {}, lambda: None)[1]


def test_what_would_take_too_long_or_too_much_memory_is_not_tried():
    net = nn.Sequential(nn.Linear(3, 50), nn.Tanh(), nn.Linear(50, 1))
    own = 2 * sum(part.nbytes for part in net.parameters())

    def tried(**limits):
        probes, why = probing.probe(net, (X,), {}, lambda: None, **limits)
        return [probe.rows for probe in probes], why

    assert tried() == ([1, 5, 10, 20], "")
    assert tried(step_s=10.0) == ([1, 5], "")  # batch 10 would take 4 times 20 s
    assert tried(step_s=20.0) == ([], "a step takes too long to be tried some times in 60 s")
    assert tried(room_bytes=own - 1) == ([], "there is no room for a copy of the model")
    assert tried(room_bytes=own + 3000) == ([1, 5, 10], "")  # 220 bytes a row, and a few for all


def test_a_model_that_refuses_a_single_row_is_tried_with_more():
    probes, why = probing.probe(nn.BatchNorm1d(3), (X,), {}, lambda: None)
    assert ([probe.rows for probe in probes], why) == ([5, 10, 20], "")
