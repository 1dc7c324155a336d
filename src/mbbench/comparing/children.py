"""Children of both sides, alive at once: a process that forks them, and one block in which they go through the benchmarks.

Easy to get wrong: a child may die at any moment, which costs the benchmark it was in and no other; and code that is not the
side's own, however it was found, makes all of it worthless, so every module is looked at when a child ends.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

from mbbench.comparing.talk import SILENCE_S, Child, Collected, LostError

SOCKET = "meet"
"""Its name in the zygote's folder. Only the name is bound: a whole path may be longer than the 104 characters there are."""


class Side(NamedTuple):
    """A child's name ("base", "head" or "control"), its tree, and the tree that none of its modules may come from."""

    name: str
    tree: Path
    other: Path


class NotComparableError(Exception):
    """No comparison is possible at all; says why."""


Visit = Callable[[str, Mapping[str, Child]], Any]
"""What is done with the sides that wait in a benchmark: its name and the children by name in, what was found out."""


@dataclass
class Block:
    """What a block has seen.

    Attributes:
        found: what a visit returned, by benchmark.
        lost: benchmarks that could not be compared, each with its reason.
        failed: benchmarks that failed on every side once their calls were over, each with its reason.
        collected: what each side has.
        own: where the tree's own top-level modules were loaded from, by side.
        ended: whether every benchmark was reached.
    """

    found: dict[str, Any] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    collected: dict[str, Collected] = field(default_factory=dict)
    own: dict[str, dict[str, str]] = field(default_factory=dict)
    ended: bool = False

    @property
    def both(self) -> list[str]:
        """Return the benchmarks that base and head have, in head's order."""
        return [test for test in self.collected["head"].tests if test in self.collected["base"].tests]


class Zygote:
    """A process that forks the children; a context that ends it with everything that it started."""

    def __init__(self, arguments: Sequence[str], threads: int = 1, within: Path | None = None) -> None:
        """Take pytest's arguments, the number of threads, and a folder for its own; None: where temporary ones are."""
        self._arguments, self._threads, self._within = list(arguments), threads, within
        self._pids: list[int] = []

    def __enter__(self) -> Self:
        """Start the process and wait until it has imported everything."""
        self._temporary = tempfile.TemporaryDirectory(prefix="mbbench-block-", dir=self._within)
        self._folder = Path(self._temporary.name)
        script = Path(__file__).with_name("zygote.py")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # In a session of its own: Ctrl-C is this process's to answer, or the blocks that are done would be lost.
        self._process = subprocess.Popen([sys.executable, str(script)], text=True, start_new_session=True, **pipes)
        try:
            self._line()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it and all children, whatever they do."""
        self._kill()
        self._process.kill()
        self._process.communicate()
        self._temporary.cleanup()

    def collect(self, sides: Sequence[Side]) -> Block:
        """Let every side collect its benchmarks and run none."""
        return self.run(sides, {}, "time", lambda test, children: None)

    def run(
        self, sides: Sequence[Side], keep: Mapping[str, Sequence[str]], asked: str, visit: Visit, seed: int = 0
    ) -> Block:
        """Run one block.

        Args:
            sides: base first, then head, and control where there is one.
            keep: benchmarks of each side, in one order; what base or head do not have is left out.
            asked: what the children are asked for: see `parked`.
            visit: what to do in each benchmark.
            seed: of the order in which the sides start.

        Raises:
            NotComparableError: a side could not be collected, or ran code of the other.
        """
        block, order = Block(), list(sides)
        random.Random(seed).shuffle(order)
        with self._children(order, _cores(self._threads, seed)) as children:
            for name, child in children.items():
                block.collected[name] = self._collected(name, child)
            wanted = {name: [test for test in keep.get(name, ()) if test in block.both] for name in children}
            try:
                for name, child in children.items():
                    child.tell((wanted[name], asked))
                for test in wanted.get("head", ()):
                    _bring(block, test, [child for name, child in children.items() if test in wanted[name]], visit)
            except LostError as error:
                # The others of this block are not reached; the caller runs another one without this.
                block.lost[next(test for test in wanted["head"] if test not in {*block.found, *block.lost})] = str(error)
                return block
            for name, child in children.items():
                block.own[name] = _own(name, child, bool(wanted[name] and block.found))
            block.ended = True
        return block

    @contextlib.contextmanager
    def _children(self, order: Sequence[Side], cores: Sequence[int]) -> Iterator[dict[str, Child]]:
        """Fork a child for each side, in that order, all on these cores; end them, whatever happens."""
        assert self._process.stdin is not None
        children: dict[str, Child] = {}
        with socket.socket(socket.AF_UNIX) as meeting:
            with contextlib.chdir(self._folder):
                meeting.bind(SOCKET)
            meeting.listen(len(order))
            meeting.settimeout(SILENCE_S)
            told = [
                {"name": side.name, "tree": str(side.tree), "other": str(side.other), "folder": str(self._folder)}
                for side in order
            ]
            asked = {"arguments": self._arguments, "threads": self._threads, "cores": cores, "socket": SOCKET, "sides": told}
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            self._pids = [self._line()["pid"] for _ in order]
            try:
                for _ in order:
                    child = Child("a child", Connection(meeting.accept()[0].detach()))
                    child.name = str(child.message()[1])
                    children[child.name] = child
                yield dict(sorted(children.items()))
            except (TimeoutError, LostError) as error:
                raise NotComparableError(f"a child did not start: {error}") from None
            finally:
                self._kill()
                for child in children.values():
                    child.close()
                for _ in order:
                    self._line()
                (self._folder / SOCKET).unlink()

    def _collected(self, name: str, child: Child) -> Collected:
        try:
            found = child.collected()
        except LostError as error:
            raise NotComparableError(f"{error} while it collected the benchmarks{self._log(name)}") from None
        if found.status is not None or (found.errors and not found.tests):
            why = "; ".join(f"{file}: {error}" for file, error in found.errors.items())
            why = why or f"pytest ended with {found.status}{self._log(name)}"
            raise NotComparableError(f"{name} could not be collected: {why}")
        return found

    def _log(self, name: str) -> str:
        """Return the last words that a side printed, after a colon; "" where it printed nothing."""
        with contextlib.suppress(OSError):
            lines = (self._folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
            return f": {lines[-1].strip()}" if lines else ""
        return ""

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._process.communicate()[1].strip().splitlines()
            raise NotComparableError(f"the process that forks both sides ended: {said[-1] if said else 'it said nothing'}")
        found: dict[str, Any] = json.loads(line)
        return found

    def _kill(self) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self._pids = []


def _cores(threads: int, seed: int) -> list[int]:
    """Return as many cores as there are threads, for all sides of a block; none where that cannot be chosen.

    Sides take turns, so they can share them, and what differs between cores (a neighbour, a clock) is the same for all. On
    two shared cores the effects of blocks of identical code spread by 0.75 % so (n = 48), and by 8 to 12 % without.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    own = sorted(os.sched_getaffinity(0))
    return random.Random(seed).sample(own, threads) if threads <= len(own) else []


def _bring(block: Block, test: str, children: Sequence[Child], visit: Visit) -> None:
    """Bring each side to this benchmark, visit them there, and let each go on to its end."""
    stopped = {child.name: why for child in children if (why := child.park(test))}
    waiting = {child.name: child for child in children if child.name not in stopped}
    found = None if stopped else visit(test, waiting)
    failed = {name: why for name, child in waiting.items() if (why := child.leave(test))}
    if stopped or (failed and len(failed) < len(waiting)):
        # What fails on one side alone did not do the same thing there, however fast it was.
        block.lost[test] = "; ".join(f"{name}: {why}" for name, why in sorted((stopped | failed).items()))
        return
    block.found[test] = found
    if failed:
        block.failed[test] = failed["head"]


def _own(name: str, child: Child, ran: bool) -> dict[str, str]:
    """Return the side's own modules when it ends; raise NotComparableError where it ran others, or none of its own."""
    try:
        foreign, own, strays = child.end()
    except LostError as error:
        raise NotComparableError(f"{error} after its benchmarks, so what it ran could not be checked") from None
    if foreign:
        raise NotComparableError(f"{name} ran code of the other side: {', '.join(sorted(foreign.values())[:3])}")
    if strays:
        several = ", ".join(sorted(strays.values())[:3])
        raise NotComparableError(f"{name} ran a copy from elsewhere, or from the folder of the benchmarks: {several}")
    if ran and not own:
        raise NotComparableError(f"the benchmarks import nothing of the project in {name}: no commit could change them")
    return own
