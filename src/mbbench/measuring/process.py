"""Run a function of `worker` in a process of its own, and come back whatever happens to that process.

On Linux and for the CPU the process is forked from a server that has torch imported (0.05 s a cell instead of 4 s);
otherwise it is spawned. Never imports torch here: the parent of a measurement stays light and idle.

Easy to get wrong, each met once: the server re-imports the parent's `__main__` in every child unless it is hidden
(0.9 s, and pandas in the measuring process); a preload that fails is swallowed, so the child imports it again and says
why; children do not see later changes of `os.environ`, so it is handed over; a killed parent must leave no child.
"""

import contextlib
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from mbbench.measuring.resident import own_bytes
from mbbench.record import OomBy, Phase, Status

PRELOAD = "mbbench.measuring.preload"
WATCH_S = 0.005
"""Between two looks at a worker's memory: 40 us each, on the parent's core."""
STOP_S = 0.2
"""Between two looks at whether a call is to be stopped."""
SAID_UNDER_A_LIMIT = (
    "libgomp: Thread creation failed",
    "std::bad_alloc",
    "DefaultCPUAllocator",
    "Cannot allocate memory",
    "cannot map zero-fill pages",
    "MemoryError",
)
"""What a worker prints that dies of its limit before it can answer."""


class Failure(msgspec.Struct, frozen=True):
    """A worker that gave no answer: how it ended, the last phase it entered, and one line."""

    status: Status
    phase: Phase
    message: str
    oom_by: OomBy | None = None


class Outcome(NamedTuple):
    """What came of a call: the answer or a Failure, the end of what was printed, the most bytes it was seen to take."""

    answer: bytes | Failure
    printed: str
    seen_bytes: int | None = None


def call(
    function: str,
    message: bytes,
    *,
    device: str,
    timeout_s: float,
    limit_bytes: int | None = None,
    calm: Phase | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Run `worker.<function>(message)` in a fresh process.

    Args:
        function: name of a function of `mbbench.measuring.worker`.
        message: its argument.
        device: "cpu" may fork, any other device is spawned (a forked CUDA context is broken).
        timeout_s: seconds after which the process is killed.
        limit_bytes: of its own memory beyond what it tells to have at rest; it is killed where it is seen above.
        calm: a phase in which it is looked at a tenth as often, since its clock is running.
        stop: once set, the process is killed: for a call on a thread that Ctrl-C does not reach.
    """
    fork = device == "cpu" and sys.platform == "linux"
    context: ForkServerContext | SpawnContext = multiprocessing.get_context("spawn")
    if fork:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([PRELOAD])
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="mbbench-") as folder:
        log = Path(folder, "printed")
        log.touch()
        process = context.Process(target=_child, args=(sender, function, message, dict(os.environ), str(log)))
        with _hidden_main():
            process.start()
        sender.close()
        watch = _Watch(process, limit_bytes)
        phase: Phase = "start"
        deadline = time.monotonic() + timeout_s
        # The pipe alone would not tell of a death: a process that the user's code forked may hold its other end.
        watched = (receiver, process.sentinel)
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                if stop is not None and stop.is_set():
                    return Outcome(Failure("killed", phase, "stopped by hand"), _tail(log), watch.seen)
                pause_s = math.inf if watch.rest is None else WATCH_S * (10 if phase == calm else 1)
                pause_s = pause_s if stop is None else min(pause_s, STOP_S)
                ready = multiprocessing.connection.wait(watched, min(left_s, pause_s))
                if watch.above():
                    return Outcome(Failure("oom", phase, watch.sentence(phase), "watchdog"), _tail(log), watch.seen)
                if not ready:
                    continue
                if receiver not in ready:
                    raise EOFError
                kind, content = receiver.recv()
                if kind == "done":
                    process.join(1)
                    return Outcome(bytes(content), _tail(log), watch.seen)
                if kind == "rest":
                    watch.rest = content
                else:
                    phase = content
            late = Failure("timeout", phase, f"no answer within {timeout_s:g} s, in phase {phase}")
            return Outcome(late, _tail(log), watch.seen)
        except (EOFError, OSError):  # OSError: it died in the middle of its answer
            process.join(1)
            printed = _tail(log)
            return Outcome(_death(process.exitcode, phase, printed, watch.rest is not None), printed, watch.seen)
        finally:
            _end(process)
            receiver.close()


class _Watch:
    """Looks at a worker's memory once it has told its size at rest."""

    def __init__(self, process: BaseProcess, limit_bytes: int | None) -> None:
        self.pid, self.limit = process.pid, limit_bytes
        self.rest: int | None = None
        self.seen: int | None = None

    def above(self) -> bool:
        """Return whether the worker is above its limit now."""
        if self.rest is None or self.limit is None:
            return False
        with contextlib.suppress(psutil.Error):  # it has just ended: the pipe tells how
            self.seen = max(self.seen or 0, own_bytes(self.pid) - self.rest)
        return (self.seen or 0) > self.limit

    def sentence(self, phase: Phase) -> str:
        return f"ended by the watchdog in phase {phase}: {self.seen:,} bytes seen, the limit is {self.limit:,}"


def _end(process: BaseProcess) -> None:
    """Kill a worker and whatever it has forked."""
    if hasattr(os, "killpg") and process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _death(code: int | None, phase: Phase, printed: str, limited: bool) -> Failure:
    said = next((words for words in SAID_UNDER_A_LIMIT if words in printed), None)
    if limited and said and code != -signal.SIGKILL:
        return Failure("oom", phase, f'the process ended in phase {phase} at its memory limit: "{said}"', "raised")
    if code == -signal.SIGKILL:
        return Failure("killed", phase, f"killed from outside in phase {phase} (out of memory, or by hand)")
    name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
    return Failure("crash", phase, f"the process died in phase {phase}: {name}")


def _child(sender: Connection, function: str, message: bytes, environ: dict[str, str], log: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends its children in order
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # what the user's code forks ends with the cell
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:  # stopped by hand before the server had forked this process: nobody waits for it any more
        os._exit(1)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False, errors="replace")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="replace")  # noqa: SIM115
    import faulthandler

    faulthandler.enable()
    os.environ.clear()
    os.environ.update(environ)
    sys.dont_write_bytecode = True
    import mbbench.measuring.preload  # noqa: F401  instant where the server did it; says what is wrong where it could not
    from mbbench.measuring import worker

    answer = getattr(worker, function)(message, lambda kind, content: sender.send((kind, content)))
    sender.send(("done", answer))
    sender.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # no destructors, atexit handlers or thread joins of the user's: the answer is out


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


_starting = threading.Lock()


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    with _starting:  # two threads would restore each other's stand-in
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _tail(log: Path, most: int = 4000) -> str:
    with contextlib.suppress(OSError):
        return log.read_bytes()[-most:].decode(errors="replace").strip()
    return ""
