"""pytest plugin: measures the cells of bench files in worker processes and shows them in pytest-benchmark's own table.

A bench test names its cell by a parameter `case` and asks for the fixture `measured`; the marker `mbbench` says which
pass, how many repeats or seeds, and for how long. All collected cells are measured first, in shuffled order with their
repeats interleaved; each test then replays its rounds into `benchmark.pedantic` through a clock that stands still but for
what the worker's clock read. So the table, --benchmark-json, -autosave, -compare and -compare-fail all show training time.

Easy to get wrong: the plugin is loaded by every pytest of its environment, so it imports nothing heavy and does nothing
where no test asks for `measured`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mbbench.narrowing import FIELDS
from mbbench.replay import ReplayClock

if TYPE_CHECKING:
    from mbbench.case import Cell
    from mbbench.measuring.jobs import Job
    from mbbench.record import Record

FIXTURE = "measured"
COMPARED = "MBBENCH_COMPARE"
"""In the environment of a side of a comparison: training runs in that process, one of its own, and is not recorded."""
MARKER = (
    'mbbench(kind="time", repeats=3, seeds=3, seconds=0.5, max_steps=None, max_seconds=None, '
    'memory_budget=None, unit="epoch"): '
    "how the cells of a bench are measured; unit is what one round of the table stands for: epoch, step or run"
)


class Bench:
    """What was measured for the collected tests of one session.

    Attributes:
        records: of each test, by its node id.
        count: records made; two tests may share one.
        path: the results file.
        smoke: one step of each cell, nothing is recorded.
    """

    def __init__(self) -> None:
        self.records: dict[str, list[Record]] = {}
        self.count = 0
        self.path: Path | None = None
        self.smoke = False


BENCH = pytest.StashKey[Bench]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options, all of which begin with --mb."""
    group = parser.getgroup("mbbench")
    group.addoption("--mb-results", metavar="DIR", default="results", help="folder for the records of bench/ (results/)")
    group.addoption("--mb-memory-budget", metavar="SIZE", help="what a cell may take, as 2GiB (80 %% of what is free)")
    group.addoption("--mb-no-predict", action="store_true", help="run also cells that are predicted not to fit")
    group.addoption("--mb-timeout", metavar="S", type=float, default=300.0, help="kill a cell after S seconds (300)")
    for option in FIELDS:
        group.addoption(f"--mb-{option}", metavar="A,B", help=f"only cells with this {option}, several by comma")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER)
    config.addinivalue_line("markers", "gate: what `mbbench compare` compares, where any benchmark has this mark")
    config.addinivalue_line("markers", "cuda: needs a CUDA device, is skipped with its reason elsewhere")
    config.stash[BENCH] = Bench()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the cells of an accelerator with its name, so that `-m cuda` finds them."""
    if _is_measured(item) and (cell := _cell(item)) and cell.device.startswith("cuda"):
        item.add_marker("cuda")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Narrow the cells; give each measured test a clock of its own, merged into its nearest `benchmark` marker."""
    _narrow(config, items)
    for item in items:
        if _is_measured(item):
            nearest = item.get_closest_marker("benchmark")
            options = {**(nearest.kwargs if nearest else {}), "timer": ReplayClock()}
            item.add_marker(pytest.mark.benchmark(**options), append=False)
            # A cell that failed has nothing to show: one fault, not two where warnings are errors.
            item.add_marker(pytest.mark.filterwarnings("ignore:Benchmark fixture was not used at all"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Measure all collected cells before the first test presents one."""
    config = session.config
    items = [item for item in session.items if _is_measured(item)]
    stopped = config.option.collectonly or (session.testsfailed and not config.option.continue_on_collection_errors)
    if not items or stopped or config.getoption("benchmark_skip") or COMPARED in os.environ:
        return
    bench = config.stash[BENCH]
    # Under xdist other tests run at the same moment: nothing can be timed, and pytest-benchmark disables itself too.
    bench.smoke = bool(config.getoption("benchmark_disable")) or hasattr(config, "workerinput")
    _measure(config, items, bench)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how many records were written, where, and how to read them."""
    bench = config.stash[BENCH]
    if bench.path is None:
        return
    folder = bench.path.parent
    terminalreporter.section("mbbench")
    terminalreporter.write_line(f"{bench.count} records in {bench.path}")
    for doubt in _doubts(bench):
        terminalreporter.write_line(f"to be careful about: {doubt}")
    terminalreporter.write_line(f"the report: mbbench report {folder} -o reports/index.html")


@pytest.fixture
def measured(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[], list[Record]]:
    """Return a function that presents this test's cell: it replays the rounds into `benchmark` and returns the records.

    A cell that ended `oom`, `unavailable` or `not_applicable`, or left no time to show, is skipped with its reason; one
    that ended with a fault (crash, killed, timeout, error) fails.
    """
    return lambda: _present(request.node, benchmark)


def _present(item: pytest.Item, benchmark: Any) -> list[Record]:
    from mbbench import suite
    from mbbench.record import FAULTS

    bench = item.config.stash[BENCH]
    records = bench.records.get(item.nodeid)
    cell = _cell(item)
    if COMPARED in os.environ and cell is not None:
        benchmark(suite.Update(cell))
        return []
    if records is None:
        pytest.fail("not measured: `measured` needs a parameter `case` that is a cell of mbbench.grid", pytrace=False)
    faults = [record.measurement for record in records if record.measurement.status in FAULTS]
    if faults:
        pytest.fail(f"{faults[0].status}: {faults[0].message}", pytrace=False)
    unit = _settings(item)["unit"]
    seconds = [value for record in records for value in suite.rounds_s(record, unit)]
    if not seconds and not (bench.smoke and records[0].measurement.status == "ok"):
        first = records[0].measurement
        pytest.skip(f"{first.status}: {first.message}")
    clock = item.get_closest_marker("benchmark").kwargs["timer"]  # type: ignore[union-attr]
    clock.load(seconds)
    benchmark.extra_info["mbbench"] = suite.extra_info(records, unit)
    benchmark.pedantic(clock.tick, rounds=max(1, len(seconds)))
    return records


def _narrow(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the cells that were not asked for; a test without a cell stays, and so do all where none has one."""
    asked = {option: text for option in FIELDS if (text := config.getoption(f"mb_{option.replace('-', '_')}")) is not None}
    cells = {item: cell for item in items if asked and (cell := _cell(item))}
    if not cells:
        return
    from mbbench.case import UsageError
    from mbbench.narrowing import kept

    try:
        chosen = kept(cells.values(), asked)
    except UsageError as error:
        raise pytest.UsageError(f"mbbench: {error}") from None
    config.hook.pytest_deselected(items=[item for item, cell in cells.items() if cell not in chosen])
    items[:] = [item for item in items if item not in cells or cells[item] in chosen]


def _is_measured(item: pytest.Item) -> bool:
    return FIXTURE in getattr(item, "fixturenames", ())


def _settings(item: pytest.Item) -> dict[str, Any]:
    from mbbench import suite

    return suite.settings(marker.kwargs for marker in item.iter_markers("mbbench"))


def _cell(item: pytest.Item) -> Cell | None:
    from mbbench.case import Cell

    found = getattr(item, "callspec", None) and item.callspec.params.get("case")  # type: ignore[attr-defined]
    return found if isinstance(found, Cell) else None


def _measure(config: pytest.Config, items: list[pytest.Item], bench: Bench) -> None:
    from mbbench import suite
    from mbbench.axes import read_bytes
    from mbbench.case import UsageError
    from mbbench.measuring.jobs import expected_s
    from mbbench.measuring.session import execute

    jobs: dict[Job, list[str]] = {}  # two tests may ask for the same pass: it is measured once
    results = None if bench.smoke else Path(config.getoption("mb_results"))
    budget, refuse = config.getoption("mb_memory_budget"), not config.getoption("mb_no_predict")
    try:
        max_bytes = None if budget is None else read_bytes(budget)
        for item in items:
            cell = _cell(item)
            if cell is not None:
                for job in suite.bench_jobs(cell, _settings(item), bench.smoke, max_bytes):
                    jobs.setdefault(job, []).append(item.nodeid)
        if not jobs:
            return
        session, order = suite.bench_session(list(jobs), results, config.getoption("mb_timeout"), refuse)
    except UsageError as error:
        raise pytest.UsageError(f"mbbench: {error}") from None
    bench.path = session.path
    timed = [job for job in order if job.kind != "race"]
    total = len(timed) + sum(job.repeat for job in order if job.kind == "race")
    show = _progress(config, total, sum(map(expected_s, order)))
    pending = iter(timed)

    def keep(job: Job, record: Record, printed: str) -> None:
        bench.count += 1
        for nodeid in jobs[job]:
            bench.records.setdefault(nodeid, []).append(record)
        show(record, printed)

    execute(session, timed, lambda record, printed: keep(next(pending), record, printed))
    suite.race(session, [job for job in order if job.kind == "race"], keep)


def _doubts(bench: Bench) -> list[str]:
    """Return what the report would doubt of these records: how wide the intervals came out, what was disturbed."""
    from mbbench.reporting import advice

    records = {id(record): record for several in bench.records.values() for record in several}
    return [str(doubt) for doubt in advice.verdict(records.values()).doubts]


def _progress(config: pytest.Config, total: int, expected_s: float) -> Callable[[Record, str], None]:
    """Return what tells the terminal of each record: a line that is written over on a screen, a line per tenth elsewhere."""
    import time

    reporter = config.pluginmanager.get_plugin("terminalreporter")
    began, count = time.monotonic(), 0
    if reporter is None or config.option.verbose < 0:
        return lambda record, printed: None
    reporter.write_line(f"mbbench: measuring {total} passes, each in a fresh process, about {expected_s:.0f} s")

    def show(record: Record, printed: str) -> None:
        nonlocal count
        count += 1
        left = (time.monotonic() - began) / count * (total - count)
        line = f"mbbench: {count}/{total}, {left:.0f} s left, {record.case} ({record.kind}): {record.measurement.status}"
        if reporter.isatty:
            reporter.rewrite(line, erase=True)
        elif count * 10 // total > (count - 1) * 10 // total:
            reporter.write_line(line)
        if printed:
            reporter.write_line(f"\n{printed}")
        if reporter.isatty and count == total:
            reporter.write_line("")

    return show
