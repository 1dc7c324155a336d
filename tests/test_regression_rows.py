"""Rows of a comparison: the worst first, names that have room and stay apart, tolerances of their own."""

import comparisons as c
import pytest

from mbbench.reporting import regression_rows as rows
from mbbench.reporting.regression_rows import DOUBTED, MOST, WIDTH, cut, kind, labels, ordered, panels, within


def test_the_worst_stands_first_and_the_best_last():
    found = c.compared(
        *(c.time("a", "faster", 0.9), c.time("b", "same", 1.01), c.time("c", "slower", 1.1), c.time("d", "undecided", 1.5)),
        *(c.time("e", "slower", 1.2), c.time("f", "faster", 0.8), c.time("g", "same", 0.99)),
    )
    assert [row.name for row in ordered(found)] == ["e", "c", "d", "b", "g", "a", "f"]
    assert [row.name for row in ordered(c.mirrored(found))] == ["f", "a", "d", "g", "b", "c", "e"]


def test_each_quantity_has_a_panel_and_the_control_is_apart():
    titles = [panel.title for panel in panels(c.everything())]
    assert titles == [
        "time",
        "tensor memory: exact, no interval",
        "updates to a loss",
        "held-out loss",
        "time to a loss: follows from the two",
        "control: the base against itself",
    ]
    assert "control: the base against itself" not in [p.title for p in panels(c.compared(c.memory("m", 1, 1), control=None))]


def test_of_an_unreliable_run_no_time_is_believed_and_memory_is():
    found = c.everything()
    found.control = c.time("t", "slower", 1.07)
    kinds = {(row.metric, row.change.verdict): kind(found, row) for row in found.rows}
    assert {kinds["time", each] for each in ("slower", "faster", "same")} == {kinds["time-to-target", "slower"]} == {DOUBTED}
    assert kinds["time", "undecided"] == kinds["memory", "undecided"] == "undecided"
    assert (kinds["memory", "slower"], kinds["convergence", "faster"]) == ("worse", "better")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (c.time("t", "same", 1.0), (1 / 1.03, 1.03)),
        (c.seeds("c", "same", 1.0), (1 / 1.05, 1.05)),
        (c.memory("m", 10**9, 10**9), (0.98, 1.02)),  # 2 %
        (c.memory("m", 2**24, 2**24), (0.75, 1.25)),  # 4 MiB of 16
        (c.memory("m", 2**20, 2**20), (0.0, 5.0)),
        (c.memory("m", 0, 1), (0.0, 1 + 4 * 2**20)),
    ],
)
def test_what_does_not_matter_is_a_part_of_times_and_bytes_of_memory(row, expected):
    assert within(c.compared(row), row) == pytest.approx(expected)


def test_of_many_rows_the_least_telling_are_left_out_and_counted():
    same = [c.time(f"s{number}", "same", 1 + number / 10_000) for number in range(100)]
    panel, _ = panels(c.compared(c.time("slow", "slower", 1.1), *same, c.time("fast", "faster", 0.9)))
    drawn = [line.row.name for line in panel.lines]
    assert panel.title == f"time · {MOST} of 102 rows"
    assert (drawn[0], drawn[-1]) == ("slow", "fast")
    assert set(drawn[1:-1]) == {f"s{number}" for number in range(100 - (MOST - 2), 100)}


def test_names_are_short_and_never_the_same():
    long = ["bench/x.py::test_epoch_time[" + "n" * 50 + f"{number}" * 20 + "]" for number in (1, 1, 2)]
    alike = ["bench/a.py::test_run", "bench/b.py::test_run", "bench/c.py::test_other", "no-file", "bench/d.py::test_"]
    ends = [f"bench/x.py::test_{letter * 40}[same parameters of many]" for letter in "pqr"] + [
        f"q{'w' * 99}{x}z" for x in "ab"
    ]
    every = labels([*long, *alike, *ends])
    assert len(set(every.values())) == len(every) == 12 - 2 + 2
    assert all(rows._columns(label) <= WIDTH for label in every.values())
    assert [every[name] for name in alike[:4]] == ["a::run", "b::run", "other", "no-file"]


def test_a_long_name_keeps_its_parameters():
    assert cut("epoch_time[linear-n8192-b32-slice]") == "epoch…inear-n8192-b32-slice]"
    assert cut("a_very_long_benchmark_name_indeed[b32]") == "a_very_long_benchmark_…[b32]"
    assert cut("문" * 40) == "문" * 4 + "…" + "문" * 9  # of two columns each
    assert cut("short") == "short"
