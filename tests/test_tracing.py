"""A trace is the real loop under the profiler: its steps are there, its times add up, and it names no place."""

import itertools
import json
import socket
from types import SimpleNamespace

import pytest
import torch

from mbbench.case import Case
from mbbench.measuring.problems import resolve
from mbbench.measuring.tracing import STEPS, WARM_UP, _trace, trace
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


def test_on_an_accelerator_an_operation_has_its_kernels_time_and_they_are_not_listed_beside_it():
    def row(key: str, device: str, calls: int, self_us: float, device_us: float, kept: int = 0) -> SimpleNamespace:
        return SimpleNamespace(
            key=key,
            device_type=SimpleNamespace(name=device),
            count=calls,
            cpu_time_total=1000.0,
            self_cpu_time_total=self_us,
            self_device_time_total=device_us,
            self_device_memory_usage=kept,
        )

    found = _trace(
        [
            row("ProfilerStep*", "CPU", 4, 300.0, 0.0),
            row("ProfilerStep*", "CUDA", 4, 0.0, 900.0),
            row("aten::add", "CPU", 8, 500.0, 50.0),
            row("aten::mm", "CPU", 4, 100.0, 800.0, kept=64),
            row("gemm_kernel", "CUDA", 4, 0.0, 800.0),
            row("[memory]", "CPU", 9, 0.0, 0.0, kept=-64),
        ],
        on_device=True,
    )
    assert (found.steps, found.steps_s, found.between_s) == (4, 1e-3, 3e-4)
    told = [(each.name, each.calls, each.self_s, each.device_s, each.kept_bytes) for each in found.operations]
    assert told == [("aten::mm", 4, 1e-4, 8e-4, 64), ("aten::add", 8, 5e-4, 5e-5, 0)]
