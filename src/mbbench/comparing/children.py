"""Children of both sides, alive at once: a process that forks them, and the talk that brings them through the benchmarks.

Easy to get wrong: a child may die at any moment, which costs the benchmark it was in and no other; and what it says comes as
messages that have to be read in step, or one benchmark's answer is taken for the next one's.
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
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

SILENCE_S = 120.0
"""After which a child that says nothing is taken for lost."""


class Side(NamedTuple):
    """A child's name ("base", "head" or "control"), its tree, and the tree that none of its modules may come from."""

    name: str
    tree: Path
    other: Path


class NotComparableError(Exception):
    """No comparison is possible at all; says why."""


class Child:
    """A side that waits in a benchmark and answers.

    Attributes:
        seconds: of a round, where times are asked for; None where it can do nothing of what is asked for.
    """

    def __init__(self, name: str, connection: Connection, seconds: float | None) -> None:
        self._name, self._connection, self.seconds = name, connection, seconds

    def tell(self, words: Any) -> None:
        """Let it run something."""
        self._connection.send(words)

    def hear(self) -> Any:
        """Return what it answers."""
        return _heard(self._name, self._connection, "ran")[1]

    def ask(self, words: Any) -> Any:
        """Let it run something and return its answer."""
        self.tell(words)
        return self.hear()


Visit = Callable[[str, Mapping[str, Child]], Any]
"""What is done with the sides that wait in a benchmark: its name and the children by name in, what was found out."""


@dataclass
class Block:
    """What a block has seen.

    Attributes:
        found: what a visit returned, by benchmark.
        lost: benchmarks that could not be compared, each with its reason.
        collected: benchmarks of each side.
        gate: benchmarks that head marks as the gate.
        own: where the tree's own top-level modules were loaded from, by side.
    """

    found: dict[str, Any] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    collected: dict[str, list[str]] = field(default_factory=dict)
    gate: list[str] = field(default_factory=list)
    own: dict[str, dict[str, str]] = field(default_factory=dict)


class _LostError(Exception):
    """A child died or fell silent."""


class Zygote:
    """A process that forks the children; a context that ends it with everything that it started."""

    def __init__(self, arguments: Sequence[str], threads: int = 1, within: Path | None = None) -> None:
        """Take pytest's arguments, the number of threads, and a folder for its own; None: where temporary ones are."""
        self._asked, self._within = {"arguments": list(arguments), "threads": threads}, within
        self._pids: list[int] = []

    def __enter__(self) -> Self:
        """Start the process and wait until it has imported everything."""
        self._folder = tempfile.TemporaryDirectory(prefix="mbbench-block-", dir=self._within)
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
        self._folder.cleanup()

    def collect(self, sides: Sequence[Side]) -> Block:
        """Let every side collect its benchmarks and run none."""
        return self.run(sides, dict.fromkeys((side.name for side in sides), ()), "time", lambda test, children: None)

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
        block, generator = Block(), random.Random(seed)
        order = list(sides)
        generator.shuffle(order)
        with self._listener(len(order)) as address:
            for side in order:
                words = {"name": side.name, "tree": str(side.tree), "other": str(side.other), "address": address.path}
                words["log"] = str(Path(self._folder.name) / f"{side.name}.log")
                address.sides.append(words)
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(self._asked | {"sides": address.sides}) + "\n")
            self._process.stdin.flush()
            self._pids = [self._line()["pid"] for _ in order]
            children = address.accept()
        try:
            self._talk(block, children, keep, asked, visit)
        finally:
            self._kill()
            for connection in children.values():
                connection.close()
            for _ in order:
                self._line()
        return block

    def _talk(
        self,
        block: Block,
        children: dict[str, Connection],
        keep: Mapping[str, Sequence[str]],
        asked: str,
        visit: Visit,
    ) -> None:
        for name, connection in children.items():
            block.collected[name], gate = _collected(name, connection)
            block.gate = gate if name == "head" else block.gate
        both = [test for test in block.collected["head"] if test in block.collected["base"]]
        wanted = {name: [test for test in keep.get(name, ()) if test in both] for name in children}
        for name, connection in children.items():
            connection.send((wanted[name], asked))
        for test in wanted["head"]:
            try:
                _bring(block, test, {name: each for name, each in children.items() if test in wanted[name]}, visit)
            except _LostError as error:
                block.lost[test] = str(error)
                return  # the others of this block are not reached; the caller runs another one without this
        for name, connection in children.items():
            _, _, foreign, own, strays = _heard(name, connection, "end")
            if foreign:
                raise NotComparableError(f"{name} ran code of the other side: {', '.join(sorted(foreign.values())[:3])}")
            if strays:
                raise NotComparableError(f"{name} ran a copy from elsewhere: {', '.join(sorted(strays.values())[:3])}")
            if wanted[name] and block.found and not own:
                raise NotComparableError(
                    f"the benchmarks import nothing of the project in {name}: no commit could change them"
                )
            block.own[name] = own

    @contextlib.contextmanager
    def _listener(self, count: int) -> Any:
        meeting = _Meeting(str(Path(self._folder.name) / f"{time.monotonic_ns()}"), count)
        try:
            yield meeting
        finally:
            meeting.close()

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


class _Meeting:
    """Where children come to: a socket in a folder that only this user can enter."""

    def __init__(self, path: str, count: int) -> None:
        self.path, self.count, self.sides = path, count, list[dict[str, str]]()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen(count)
        self._socket.settimeout(SILENCE_S)

    def accept(self) -> dict[str, Connection]:
        found = {}
        try:
            for _ in range(self.count):
                connection = Connection(self._socket.accept()[0].detach())
                found[str(_heard("a child", connection, "hello")[1])] = connection
        except TimeoutError:
            raise NotComparableError(f"a child did not start within {SILENCE_S:.0f} s") from None
        return {str(side["name"]): found[str(side["name"])] for side in sorted(self.sides, key=lambda side: side["name"])}

    def close(self) -> None:
        self._socket.close()
        Path(self.path).unlink(missing_ok=True)


def _collected(name: str, connection: Connection) -> tuple[list[str], list[str]]:
    """Return a side's benchmarks and those that are marked as the gate."""
    errors: list[str] = []
    while True:
        try:
            message = _message(name, connection)
        except _LostError as error:
            raise NotComparableError(f"{error} while it collected the benchmarks") from None
        if message[0] == "collected":
            if not message[1] and errors:
                raise NotComparableError(f"{name} could not be collected: {errors[0]}")
            return message[1], message[2]
        if message[0] == "uncollected":
            last = str(message[2]).strip().splitlines()
            errors.append(f"{message[1]}: {last[-1] if last else ''}")
        elif message[0] == "end":
            raise NotComparableError(
                f"{name} could not be collected: {'; '.join(errors) or f'pytest ended with {message[1]}'}"
            )


def _bring(block: Block, test: str, children: Mapping[str, Connection], visit: Visit) -> None:
    """Bring each side to this benchmark, visit them there, and let each go on to its end."""
    parked = {name: _park(name, connection) for name, connection in children.items()}
    stopped = {name: found for name, found in parked.items() if isinstance(found, str)}
    waiting = {name: found for name, found in parked.items() if isinstance(found, Child)}
    if stopped:
        block.lost[test] = "; ".join(f"{name}: {why}" for name, why in sorted(stopped.items()))
    else:
        block.found[test] = visit(test, waiting)
    for name in waiting:
        children[name].send(None)
        while _heard(name, children[name], "report")[2] != "teardown":
            pass


def _park(name: str, connection: Connection) -> Child | str:
    """Return a side once it waits in its benchmark, or why it never came there."""
    why = "it never called benchmark"
    while True:
        message = _message(name, connection)
        if message[0] == "parked":
            return Child(name, connection, message[2])
        if message[0] == "report":
            if message[3] != "passed":
                last = [line for line in str(message[4]).strip().splitlines() if line.strip()]
                why = f"{message[3]} in {message[2]}: {last[-1].strip() if last else ''}"
            if message[2] == "teardown":
                return why


def _heard(name: str, connection: Connection, kind: str) -> tuple[Any, ...]:
    message = _message(name, connection)
    if message[0] != kind:
        raise _LostError(f"{name} said {message[0]!r} where {kind!r} was expected")
    return message


def _message(name: str, connection: Connection) -> tuple[Any, ...]:
    try:
        if not connection.poll(SILENCE_S):
            raise _LostError(f"{name} was silent for {SILENCE_S:.0f} s")
        message: tuple[Any, ...] = connection.recv()
    except (EOFError, ConnectionError):
        raise _LostError(f"{name} crashed") from None
    return message
