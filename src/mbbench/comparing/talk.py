"""What a child says and is told while pytest brings it through its benchmarks, one message after the other.

Easy to get wrong: messages have to be read in step, or one benchmark's answer is taken for the next one's; so each is of the
benchmark that is expected, or the child is lost. A child may die at any moment, while it is told something too.
"""

from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

SILENCE_S = 120.0
"""After which a child that says nothing is taken for lost."""


class LostError(Exception):
    """A child died, fell silent, or said what could not be."""


@dataclass
class Collected:
    """What a side has.

    Attributes:
        tests: its benchmarks.
        gate: those that are marked as the gate.
        errors: by file, why it could not be collected.
        status: pytest's, where it ended before it had collected.
    """

    tests: list[str] = field(default_factory=list)
    gate: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    status: int | None = None


class Child:
    """A side, and the line to it."""

    def __init__(self, name: str, connection: Connection) -> None:
        """Take the name of the side and where it is reached."""
        self.name, self._connection = name, connection
        self.seconds: float | None = None
        """Of a round, once it waits in a benchmark; None where it can do nothing of what is asked for."""

    def tell(self, words: Any) -> None:
        """Say something to it."""
        try:
            self._connection.send(words)
        except OSError:
            raise LostError(f"{self.name} crashed") from None

    def hear(self) -> Any:
        """Return what it answers from inside a benchmark."""
        message = self.message()
        if message[0] == "report":
            raise LostError(f"{self.name} {_told(message)}")
        if message[0] != "ran":
            raise LostError(f"{self.name} said {message[0]!r} where an answer was expected")
        return message[1]

    def ask(self, words: Any) -> Any:
        """Let it run something and return its answer."""
        self.tell(words)
        return self.hear()

    def collected(self) -> Collected:
        """Return what it collects."""
        found = Collected()
        while True:
            message = self.message()
            if message[0] == "collected":
                found.tests, found.gate = message[1], message[2]
                return found
            if message[0] == "uncollected":
                last = str(message[2]).strip().splitlines()
                found.errors[message[1]] = last[-1].strip() if last else ""
            elif message[0] == "end":
                found.status = message[1]
                return found

    def park(self, test: str) -> str:
        """Wait until it waits in a benchmark and return ""; or why it never came there, once it has left it behind."""
        why = "it never called benchmark"
        while True:
            message = self.message()
            self._check(message, test)
            if message[0] == "parked":
                self.seconds = message[2]
                return ""
            if message[3] != "passed":
                why = _told(message)
            if message[2] == "teardown":
                return why

    def leave(self, test: str) -> str:
        """Let it go on to the end of the benchmark that it waits in; return what failed after its calls, "" for nothing."""
        self.tell(None)
        failed = ""
        while True:
            message = self.message()
            self._check(message, test)
            if message[0] == "report" and message[3] == "failed":
                failed = failed or _told(message)
            if message[2] == "teardown":
                return failed

    def end(self) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """Return where its modules came from once it ends: the other side, its own, and elsewhere."""
        message = self.message()
        if message[0] != "end":
            raise LostError(f"{self.name} said {message[0]!r} where its end was expected")
        return message[2], message[3], message[4]

    def message(self) -> tuple[Any, ...]:
        """Return the next thing that it says."""
        try:
            if not self._connection.poll(SILENCE_S):
                raise LostError(f"{self.name} was silent for {SILENCE_S:.0f} s")
            message: tuple[Any, ...] = self._connection.recv()
        except (EOFError, OSError):
            raise LostError(f"{self.name} crashed") from None
        return message

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _check(self, message: tuple[Any, ...], test: str) -> None:
        if message[0] == "end":
            raise LostError(f"{self.name} ended before it came there")
        if message[0] not in ("parked", "report") or message[1] != test:
            raise LostError(f"{self.name} was in {message[1]} when {test} was expected")


def _told(report: tuple[Any, ...]) -> str:
    """Return what became of a benchmark, from a report."""
    last = [line for line in str(report[4]).strip().splitlines() if line.strip()]
    return f"{report[3]} in {report[2]}: {last[-1].strip() if last else ''}"
