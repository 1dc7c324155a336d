"""Run a function of `worker` in a process of its own, and come back whatever happens to that process.

On Linux and for the CPU the process is forked from a server that has torch imported (0.05 s a cell instead of 4 s);
otherwise it is spawned. Never imports torch here: the parent of a measurement stays light and idle.

Easy to get wrong, each met once: the server re-imports the parent's `__main__` in every child unless it is hidden
(0.9 s, and pandas in the measuring process); a preload that fails is swallowed, so the child imports it again and says
why; children do not see later changes of `os.environ`, so it is handed over; a killed parent must leave no child.
"""

import contextlib
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

import msgspec

from mbbench.record import Phase, Status

PRELOAD = "mbbench.measuring.preload"


class Failure(msgspec.Struct, frozen=True):
    """A worker that gave no answer: how it ended, the last phase it entered, and one line."""

    status: Status
    phase: Phase
    message: str


def call(function: str, message: bytes, *, device: str, timeout_s: float) -> tuple[bytes | Failure, str]:
    """Run `worker.<function>(message)` in a fresh process.

    Args:
        function: name of a function of `mbbench.measuring.worker`.
        message: its argument.
        device: "cpu" may fork, any other device is spawned (a forked CUDA context is broken).
        timeout_s: seconds after which the process is killed.

    Returns:
        What it returned, or a Failure where it died, was killed, or took too long; and the end of what it printed.
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
        phase: Phase = "start"
        deadline = time.monotonic() + timeout_s
        # The pipe alone would not tell of a death: a process that the user's code forked may hold its other end.
        watched = (receiver, process.sentinel)
        try:
            while ready := multiprocessing.connection.wait(watched, max(0.0, deadline - time.monotonic())):
                if receiver not in ready:
                    raise EOFError
                kind, content = receiver.recv()
                if kind == "done":
                    process.join(1)
                    return bytes(content), _tail(log)
                phase = content
            return Failure("timeout", phase, f"no answer within {timeout_s:g} s, in phase {phase}"), _tail(log)
        except (EOFError, OSError):  # OSError: it died in the middle of its answer
            process.join(1)
            return _death(process.exitcode, phase), _tail(log)
        finally:
            _end(process)
            receiver.close()


def _end(process: BaseProcess) -> None:
    """Kill a worker and whatever it has forked."""
    if hasattr(os, "killpg") and process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _death(code: int | None, phase: Phase) -> Failure:
    if code == -signal.SIGKILL:
        return Failure("killed", phase, f"killed from outside in phase {phase} (out of memory, or by hand)")
    name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
    return Failure("crash", phase, f"the process died in phase {phase}: {name}")


def _child(sender: Connection, function: str, message: bytes, environ: dict[str, str], log: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends its children in order
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # what the user's code forks ends with the cell
    threading.Thread(target=_die_with_parent, daemon=True).start()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
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

    answer = getattr(worker, function)(message, lambda phase: sender.send(("phase", phase)))
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


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
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
