"""The words of a trace: shares and means a step of numbers made by hand."""

from pathlib import Path

from mbbench.case import Case
from mbbench.reporting import trace_words
from mbbench.trace import Operation, Trace

CASE = Case(problem="models/mine.py:problem", n_samples=100, batch_size=10)


def operation(name: str, self_s: float, calls: int = 40, device_s: float | None = None, kept: int = 0) -> Operation:
    return Operation(name=name, calls=calls, self_s=self_s, device_s=device_s, kept_bytes=kept)


def test_a_trace_is_a_sentence_a_table_of_the_costliest_and_where_to_look():
    several = [operation(f"aten::o{number}", 1e-5, calls=20) for number in range(15)]
    found = Trace(
        steps=20,
        steps_s=0.04,
        between_s=0.01,
        operations=(operation("aten::addmm", 0.02985, kept=20 * 4096), operation("x" * 70, 0.0, calls=4000), *several),
    )
    lines = trace_words.lines(found, CASE, Path("trace.json"), 3 * 2**20)
    assert lines[0] == (
        "models.mine.py:problem-n100-b10-slice: a step takes 2.00 ms under torch.profiler, longer than without "
        "(n = 20 steps); 25 % of it is Python between the operations."
    )
    head, first, second, *others, rest = lines[2:-3]
    assert " ".join(head.split()) == "operation, what it called left out on the processor share calls memory kept"
    assert first.split() == ["aten::addmm", "1.49", "ms", "100", "%", "2", "4", "KiB"]
    assert second.split() == ["x" * 59 + "…", "0", "ns", "0", "%", "200"]
    assert len(others) == trace_words.SHOWN - 2
    assert rest.split()[:3] == ["5", "other", "operations"]
    assert len({len(line) for line in lines[2:-3]}) == 1
    assert lines[-1] == "The trace: trace.json (3 MiB). Open it at https://ui.perfetto.dev or in chrome://tracing."


def test_on_an_accelerator_its_own_time_counts_where_the_profiler_saw_any():
    found = Trace(
        steps=1,
        steps_s=1.0,
        between_s=0.5,
        operations=(operation("aten::mm", 0.1, device_s=0.3), operation("aten::add", 0.2, device_s=0.1)),
    )
    lines = trace_words.lines(found, CASE.on(device="cuda"), Path("trace.json"), 1)
    assert "on the cuda" in lines[2]
    assert lines[3].split()[:5] == ["aten::mm", "300", "ms", "75", "%"]


def test_the_file_of_a_trace_has_a_name_that_every_file_system_takes():
    assert trace_words.file(CASE) == Path("trace-models.mine.py-problem-n100-b10-slice.json")
