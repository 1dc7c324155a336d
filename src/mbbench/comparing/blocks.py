"""One block of a comparison: a fresh child for each side, alive at once, whose benchmarks take turns of a few milliseconds.

Easy to get wrong: a child may die at any moment, which costs the benchmark it was in and no other; and what it says comes as
messages that have to be read in step, or one benchmark's turn is taken for the next one's.
"""

import contextlib
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

TURN_S = 0.015
CHUNKS = 60
SILENCE_S = 120.0
"""After which a child that says nothing is taken for lost."""


class Side(NamedTuple):
    """A child's name ("base", "head" or "control"), its tree, and the tree that none of its modules may come from."""

    name: str
    tree: Path
    other: Path


class NotComparableError(Exception):
    """No comparison is possible at all; says why."""


@dataclass
class Block:
    """What a block has seen.

    Attributes:
        ratios: log ratios against the base by benchmark, side and clock, one a chunk.
        seconds: of one round of the base, by benchmark.
        lost: benchmarks that could not be compared, each with its reason.
        collected: benchmarks of each side.
        gate: benchmarks that head marks as the gate.
        own: where the tree's own top-level modules were loaded from, by side.
    """

    ratios: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    collected: dict[str, list[str]] = field(default_factory=dict)
    gate: list[str] = field(default_factory=list)
    own: dict[str, dict[str, str]] = field(default_factory=dict)


class _LostError(Exception):
    """A child died or fell silent."""


class Zygote:
    """A process that forks the children; a context that ends it with everything that it started."""

    def __init__(self, arguments: Sequence[str], threads: int = 1) -> None:
        """Take pytest's arguments and the number of threads."""
        self._asked = {"arguments": list(arguments), "threads": threads}
        self._pids: list[int] = []

    def __enter__(self) -> Self:
        """Start the process and wait until it has imported everything."""
        self._folder = tempfile.TemporaryDirectory(prefix="mbbench-block-")
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

    def run(self, sides: Sequence[Side], keep: Mapping[str, Sequence[str]] | None = None, seed: int = 0) -> Block:
        """Run one block.

        Args:
            sides: base first, then head, and control where there is one.
            keep: benchmarks of each side, in one order; None: those that base and head both have.
            seed: of the order of the turns.

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
            self._talk(block, children, keep, generator)
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
        keep: Mapping[str, Sequence[str]] | None,
        generator: random.Random,
    ) -> None:
        for name, connection in children.items():
            block.collected[name], gate = _collected(name, connection)
            block.gate = gate if name == "head" else block.gate
        both = [test for test in block.collected["head"] if test in block.collected["base"]]
        wanted = {name: [t for t in (keep or {}).get(name, both if keep is None else ()) if t in both] for name in children}
        for name, connection in children.items():
            connection.send(wanted[name])
        for test in wanted["head"]:
            taking = {name: connection for name, connection in children.items() if test in wanted[name]}
            try:
                _alternate(block, test, taking, generator)
            except _LostError as error:
                block.lost[test] = str(error)
                return  # the others of this block are not reached; the caller runs another one without this
        for name, connection in children.items():
            _, _, foreign, own, strays = _heard(name, connection, "end")
            if foreign:
                raise NotComparableError(f"{name} ran code of the other side: {', '.join(sorted(foreign.values())[:3])}")
            if strays:
                raise NotComparableError(f"{name} ran a copy from elsewhere: {', '.join(sorted(strays.values())[:3])}")
            if wanted[name] and block.ratios and not own:
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


def _alternate(block: Block, test: str, children: Mapping[str, Connection], generator: random.Random) -> None:
    """Bring each side to this benchmark, run it in turns, and let each go on to its end."""
    parked = {name: _park(name, connection) for name, connection in children.items()}
    stopped = {name: found for name, found in parked.items() if isinstance(found, str)}
    waiting = {name: found for name, found in parked.items() if not isinstance(found, str)}
    if stopped:
        block.lost[test] = "; ".join(f"{name}: {why}" for name, why in sorted(stopped.items()))
    elif len(waiting) == len(children):
        count = max(1, round(TURN_S / max(waiting.values())))
        turns: dict[str, list[tuple[float, float]]] = {name: [] for name in children}
        for _ in range(CHUNKS):
            order = list(children)
            generator.shuffle(order)
            for name in order:
                children[name].send(count)
                turns[name].append(_heard(name, children[name], "ran")[1:])
        block.seconds[test] = sorted(wall for wall, _ in turns["base"])[CHUNKS // 2]
        block.ratios[test] = {
            name: {
                clock: [_log_ratio(own[at], base[at]) for own, base in zip(of_side, turns["base"], strict=True)]
                for at, clock in enumerate(("wall", "cpu"))
            }
            for name, of_side in turns.items()
            if name != "base"
        }
    for name in waiting:
        children[name].send(None)
        while _heard(name, children[name], "report")[2] != "teardown":
            pass


def _park(name: str, connection: Connection) -> float | str:
    """Return the seconds of a round once a side waits in its benchmark, or why it never came there."""
    why = "it never called benchmark"
    while True:
        message = _message(name, connection)
        if message[0] == "parked":
            return float(message[2])
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


def _log_ratio(own: float, base: float) -> float:
    """Return log(own / base); the clock of the CPU may read 0 in a short turn, which tells nothing."""
    return math.log(own / base) if own > 0 and base > 0 else 0.0


def effects(blocks: Iterable[Block], test: str, side: str = "head") -> dict[str, list[float]]:
    """Return the effect of each block on a benchmark by clock: the median of its chunks' log ratios."""
    found: dict[str, list[float]] = {"wall": [], "cpu": []}
    for block in blocks:
        for clock, values in block.ratios.get(test, {}).get(side, {}).items():
            found[clock].append(sorted(values)[len(values) // 2])
    return found
