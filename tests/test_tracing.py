"""A trace is the real loop under the profiler: its steps are there, its times add up, and it names no place."""

import itertools
import json
import socket

import pytest
import torch

from mbbench.case import Case
from mbbench.measuring.problems import resolve
from mbbench.measuring.tracing import STEPS, WARM_UP, trace
from mbbench.measuring.training import prepare

CASE = Case(problem="digits-mlp", n_samples=200, batch_size=32)


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """Trace a cell: the training, what was found, the phases and the file."""
    file = tmp_path_factory.mktemp("traced") / "trace.json"
    training, phases = prepare(CASE, resolve("digits-mlp")[0]), []
    found = trace(training, file, phases.append, lambda: phases.append("released"), most_s=60.0)
    return training, found, phases, file


def test_it_trains_as_the_real_loop_does_and_the_limit_serves_while_it_warms_up(traced):
    training, _, phases, _ = traced
    plain = prepare(CASE, resolve("digits-mlp")[0])
    plain.train(itertools.islice(plain.stream(), WARM_UP + 1 + STEPS[1]))
    assert all(map(torch.equal, training.model.parameters(), plain.model.parameters()))
    assert phases == ["warm-up", "released", "train"]


def test_the_table_has_every_operation_once_and_its_times_make_up_the_steps(traced):
    _, found, _, _ = traced
    assert found.steps == STEPS[1]
    names = {each.name: each for each in found.operations}
    assert len(names) == len(found.operations)
    assert names["aten::addmm"].calls == 2 * STEPS[1]  # two layers
    assert names["aten::addmm"].kept_bytes > 0
    assert names["aten::addmm"].device_s is None
    assert found.operations[0].self_s == max(each.self_s for each in found.operations)
    assert found.between_s + sum(each.self_s for each in found.operations) == pytest.approx(found.steps_s, rel=0.02)


def test_the_file_is_chromes_json_with_every_step_and_names_neither_folder_nor_machine(traced):
    *_, file = traced
    text = file.read_text()
    events = json.loads(text)["traceEvents"]
    assert sum(event.get("name", "").startswith("ProfilerStep#") and event["ph"] == "X" for event in events) == STEPS[1]
    assert str(file.parent) not in text
    assert f'"{socket.gethostname()}"' not in text


def test_where_steps_are_long_the_fewest_are_traced(tmp_path):
    found = trace(prepare(CASE, resolve("digits-mlp")[0]), tmp_path / "trace.json", lambda phase: None, most_s=0.0)
    assert found.steps == STEPS[0]
