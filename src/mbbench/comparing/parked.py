"""The child's side of a comparison: pytest on its own tree, stopped inside each benchmark until it is told how often to run.

Loaded by its path in a forked child, so nothing of mbbench is imported here. Says, as tuples, ("hello", name),
("collected", ids, ids of the gate), ("parked", id, seconds), ("ran", wall, cpu), ("report", id, when, outcome, text) and
("end", status, foreign, own); is told which ids to keep, and then how many rounds to run, None to go on. Easy to get wrong:
comparing identical code in silence, where a module of the other tree was found first; so all modules are looked at when it
ends.
"""

import gc
import os
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import pytest_benchmark.fixture

ROUND_S = 0.001
"""Of a round at least, so that the clock is read seldom."""
WARM_ROUNDS, WARM_S = 12, 0.2
TAIL = 600
"""Characters of a failure's text that are passed on."""


class Parked:
    """The plugin: hands each benchmark's rounds to whoever asks for them."""

    def __init__(self, connection: Connection) -> None:
        """Take where to ask."""
        self.connection = connection
        self.item = ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Tell which benchmarks there are and which are marked as the gate; keep those that are wanted, in their order."""
        found = [item for item in items if "benchmark" in getattr(item, "fixturenames", ())]
        gate = [item.nodeid for item in found if item.get_closest_marker("gate")]
        self.connection.send(("collected", [item.nodeid for item in found], gate))
        by_id = {item.nodeid: item for item in items}
        wanted = [by_id[name] for name in self.connection.recv()]
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = wanted

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Pass on what could not be collected."""
        if report.failed:
            self.connection.send(("uncollected", report.nodeid, str(report.longrepr)[-TAIL:]))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Remember which benchmark it is."""
        self.item = item.nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pass on how a benchmark ended."""
        if report.when == "teardown" or report.outcome != "passed":
            text = str(report.longrepr)[-TAIL:] if report.longrepr else ""
            self.connection.send(("report", report.nodeid, report.when, report.outcome, text))

    def serve(self, once: Callable[[], tuple[float, float]]) -> None:
        """Warm up, say how long a round takes, and run as many as asked for, again and again."""
        gc.collect()
        gc.freeze()
        gc.disable()
        began, count = time.perf_counter(), 0
        while count < WARM_ROUNDS or time.perf_counter() - began < WARM_S:
            once()
            count += 1
        self.connection.send(("parked", self.item, (time.perf_counter() - began) / count))
        while (rounds := self.connection.recv()) is not None:
            wall = cpu = 0.0
            for _ in range(rounds):
                seconds, used = once()
                wall, cpu = wall + seconds, cpu + used
            self.connection.send(("ran", wall / rounds, cpu / rounds))
        gc.enable()
        gc.unfreeze()


def _install(parked: Parked) -> None:
    """Make pytest-benchmark's fixture hand over its function instead of timing it, in this process only."""
    clock, cpu_clock = time.perf_counter, time.process_time

    def call(self: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)

        def loop(count: int) -> tuple[float, float]:
            cpu, wall = cpu_clock(), clock()
            for _ in range(count):
                function(*args, **kwargs)
            return (clock() - wall) / count, (cpu_clock() - cpu) / count

        count = max(1, int(ROUND_S / max(loop(3)[0], 1e-9)))
        self._mode = "mbbench"  # else it warns that it was not used
        parked.serve(lambda: loop(count))
        return result

    def pedantic(
        self: Any,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        setup: Callable[..., Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        rounds: int = 1,
        warmup_rounds: int = 0,
        iterations: int = 1,
    ) -> Any:
        result = None

        def once() -> tuple[float, float]:
            nonlocal result
            given = setup() if setup is not None else None
            positional, named = given if given else (args, kwargs or {})
            cpu, wall = cpu_clock(), clock()
            for _ in range(iterations):
                result = target(*positional, **named)
            taken = (clock() - wall) / iterations, (cpu_clock() - cpu) / iterations
            if teardown is not None:
                teardown(*positional, **named)
            return taken

        self._mode = "mbbench"
        parked.serve(once)
        return result

    fixture: Any = pytest_benchmark.fixture.BenchmarkFixture
    fixture.__call__, fixture.pedantic = call, pedantic


def run(side: dict[str, str], arguments: list[str]) -> int:
    """Run pytest on a tree and serve its benchmarks; return pytest's status."""
    tree = Path(side["tree"])
    log = os.open(side["log"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.chdir(tree)
    sys.path[:0] = [path for path in (str(tree / "src"), str(tree)) if Path(path).is_dir()]
    sys.argv, sys.dont_write_bytecode = ["pytest"], True
    os.environ["MBBENCH_COMPARE"] = "1"
    meeting = socket.socket(socket.AF_UNIX)
    meeting.connect(side["address"])
    with Connection(meeting.detach()) as connection:
        connection.send(("hello", side["name"]))
        parked = Parked(connection)
        _install(parked)
        options = ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist", "-q", "--rootdir", str(tree)]
        status = int(pytest.main([*options, *arguments], plugins=[parked]))
        connection.send(("end", status, *_origins(tree.resolve(), Path(side["other"]).resolve())))
    sys.stdout.flush()
    return status


def _origins(tree: Path, other: Path) -> tuple[dict[str, str], ...]:
    """Return the modules from the other tree, the project's top-level modules from this one, and those from elsewhere.

    An environment may lie inside the tree: what is installed there is elsewhere.
    """
    foreign, own, strays = dict[str, str](), dict[str, str](), dict[str, str]()
    names = _packages(tree)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        path = Path(os.path.realpath(file))
        installed = "site-packages" in path.parts
        if path.is_relative_to(other) and not installed and not (tree.is_relative_to(other) and path.is_relative_to(tree)):
            foreign[name] = str(path)
        elif name in names:
            (own if path.is_relative_to(tree) and not installed else strays)[name] = str(path)
    return foreign, own, strays


def _packages(tree: Path) -> set[str]:
    """Return the names that a tree's own code is imported by."""
    found = set()
    for folder in (tree / "src", tree):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.suffix == ".py" and path.stem not in ("setup", "conftest", "noxfile"):
                found.add(path.stem)
            elif (path / "__init__.py").is_file() and path.name not in ("tests", "bench", "docs"):
                found.add(path.name)
    return found
