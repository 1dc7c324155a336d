"""The child's side of a comparison: pytest on its own tree, stopped inside each benchmark until it is told how often to run.

Loaded by its path in a forked child, so nothing of mbbench is imported here. Says, as tuples, ("hello", name),
("collected", ids, ids of the gate), ("parked", id, seconds of a round; None where it cannot do what is asked for), ("ran",
answer), ("report", id, when, outcome, text) and ("end", status, foreign, own, strays). Is told which ids to keep and what is
asked for; then, of each benchmark that it parks in, again and again what to run, and None to go on:

    "time": a number of rounds; answers (wall, cpu), seconds of a round
    "memory": a number of calls; answers the peak of tensor memory in bytes
    "convergence": (seeds, updates); answers {seed: (updates, training losses, held-out losses)}

Easy to get wrong: an answer is of the calls alone: what they left behind is collected off the clocks, and an earlier result
would be counted as memory.
"""

import gc
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest
import pytest_benchmark.fixture
import torch
from torch.profiler import ProfilerActivity, profile, record_function

ROUND_S = 0.001
"""Of a round at least, so that the clock is read seldom."""
WARM_S = 0.2
CALLS_MARK = "mbbench: calls"
TAIL = 600
"""Characters of a failure's text that are passed on."""


class Parked:
    """The plugin: hands each benchmark's rounds to whoever asks for them."""

    def __init__(self, connection: Connection) -> None:
        """Take where to ask."""
        self.connection = connection
        self.item, self.asked = "", "time"
        self.profiler: Any = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Tell which benchmarks there are and which are marked as the gate; keep those that are wanted, in their order."""
        found = [item for item in items if "benchmark" in getattr(item, "fixturenames", ())]
        gate = [item.nodeid for item in found if item.get_closest_marker("gate")]
        self.connection.send(("collected", [item.nodeid for item in found], gate))
        by_id = {item.nodeid: item for item in items}
        names, self.asked = self.connection.recv()
        wanted = [by_id[name] for name in names]
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = wanted

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Pass on what could not be collected."""
        if report.failed:
            self.connection.send(("uncollected", report.nodeid, str(report.longrepr)[-TAIL:]))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Remember which benchmark it is; from here on count what its tensors take."""
        self.item = item.nodeid
        if self.asked == "memory":
            self.profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            self.profiler.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """End the counting of a benchmark that never came to its calls."""
        if self.profiler is not None:
            self.profiler.stop()
            self.profiler = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pass on how a benchmark ended."""
        if report.when == "teardown" or report.outcome != "passed":
            crash = getattr(report.longrepr, "reprcrash", None)  # the exception's own words, where it was one
            text = str(report.longrepr)[-TAIL:] if crash is None else crash.message.partition("\n")[0][:TAIL]
            self.connection.send(("report", report.nodeid, report.when, report.outcome, text if report.longrepr else ""))

    def offer(self, timed: Callable[[], tuple[float, float]], call: Callable[[], Any], losses: Any) -> None:
        """Park here and run what is asked for.

        Args:
            timed: runs a round, returns its seconds by the wall and by the CPU clock.
            call: makes one call.
            losses: (seeds, updates) -> losses of training; None where the benchmark trains nothing that we know.
        """
        if self.asked == "memory":
            self._serve(0.0, lambda calls: self._peak(call, calls))
        elif self.asked == "convergence":
            self._serve(None if losses is None else 0.0, lambda words: losses(*words))
        else:
            gc.collect()
            gc.freeze()
            gc.disable()
            began, count = time.perf_counter(), 0
            while not count or time.perf_counter() - began < WARM_S:
                timed()
                count += 1
            self._serve((time.perf_counter() - began) / count, lambda rounds: _rounds(timed, rounds))
            gc.enable()
            gc.unfreeze()

    def _serve(self, seconds: float | None, answer: Callable[[Any], Any]) -> None:
        self.connection.send(("parked", self.item, seconds))
        while (words := self.connection.recv()) is not None:
            self.connection.send(("ran", answer(words)))

    def _peak(self, call: Callable[[], Any], calls: int) -> int:
        """Return the most bytes that tensors took during some calls, those counted that the benchmark had made before."""
        gc.collect()
        with record_function(CALLS_MARK):
            pass
        for _ in range(calls):
            call()
        profiler, self.profiler = self.profiler, None
        profiler.stop()
        events = profiler.profiler.kineto_results.events()
        began = next(event.start_ns() for event in events if event.name() == CALLS_MARK)
        changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
        live = sum(size for when, size in changes if when < began)
        peak = live
        for _, size in (change for change in changes if change[0] >= began):
            live += size
            peak = max(peak, live)
        return int(peak)


def _rounds(timed: Callable[[], tuple[float, float]], rounds: int) -> tuple[float, float]:
    """Return the seconds of a round by both clocks; what earlier rounds left behind is collected first, off the clocks."""
    gc.collect()
    wall = cpu = 0.0
    for _ in range(rounds):
        seconds, used = timed()
        wall, cpu = wall + seconds, cpu + used
    return wall / rounds, cpu / rounds


def _synchroniser() -> Callable[[], None]:
    """Return what waits for an accelerator: without it a clock would read how long work takes to be handed over."""
    return torch.accelerator.synchronize if torch.accelerator.is_available() else lambda: None


def _take(fixture: Any) -> None:
    """Note that a test has used its benchmark, which it may do once; unused it would warn."""
    if fixture._mode:
        raise pytest_benchmark.fixture.FixtureAlreadyUsed(f"Fixture can only be used once. Used in {fixture._mode} mode.")
    fixture._mode = "mbbench"


def install(parked: Parked) -> None:
    """Make pytest-benchmark's fixture hand over its function instead of timing it, in this process only."""
    clock, cpu_clock, wait = time.perf_counter, time.process_time, _synchroniser()

    def call(self: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def once() -> Any:
            return function(*args, **kwargs)

        def loop(count: int) -> tuple[float, float]:
            wait()
            cpu, wall = cpu_clock(), clock()
            for _ in range(count):
                function(*args, **kwargs)
            wait()
            return (clock() - wall) / count, (cpu_clock() - cpu) / count

        _take(self)
        once()  # what fails, fails here
        count = max(1, int(ROUND_S / max(loop(1)[0], 1e-9))) if parked.asked == "time" else 1
        parked.offer(lambda: loop(count), once, getattr(function, "losses", None))
        return once()  # and not an earlier result, which would be in memory while that is counted

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

        def once(keep: bool = False) -> tuple[float, float]:
            nonlocal result
            given = setup() if setup is not None else None
            positional, named = given if given else (args, kwargs or {})
            wait()
            cpu, wall = cpu_clock(), clock()
            for _ in range(iterations):
                result = target(*positional, **named)
            wait()
            taken = (clock() - wall) / iterations, (cpu_clock() - cpu) / iterations
            if teardown is not None:
                teardown(*positional, **named)
            result = result if keep else None
            return taken

        _take(self)
        once()
        parked.offer(once, once, getattr(target, "losses", None))
        once(keep=True)
        return result

    fixture: Any = pytest_benchmark.fixture.BenchmarkFixture
    fixture.__call__, fixture.pedantic = call, pedantic
