"""How much memory a process really takes: its anonymous and shared pages, now and at most. Knows no torch.

Easy to get wrong: pages of libraries and files are not the process's own (they are shared, and dropped under pressure), so
they are left out where the system tells them apart; `ru_maxrss` of a new child begins at its parent's peak, so the peak
is reset through `clear_refs` (Linux 4.0 and later). Elsewhere a peak can only be sampled: it is a lower bound, and says so.
"""

import contextlib
import ctypes
import gc
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_S = 0.001
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's names, from malloc.h."""


@dataclass
class Peak:
    """What was read of a stretch of work.

    Attributes:
        bytes: most that the process took, None until the stretch has ended.
        sampled: whether it was sampled, and so is a lower bound only.
    """

    bytes: int | None = None
    sampled: bool = False


def own_bytes(pid: int | None = None) -> int:
    """Return the resident bytes of a process (this one by default) that are its own; all resident bytes off Linux.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    fields = _status(pid)
    if "RssAnon" in fields:
        return fields["RssAnon"] + fields["RssShmem"]
    return int(psutil.Process(pid).memory_info().rss)


def data_bytes() -> int:
    """Return the size of this process that RLIMIT_DATA counts: private writable mappings, touched or not. Linux only."""
    return _status(None)["VmData"]


def settle() -> int:
    """Give back to the system what is free, begin the peak anew, and return the bytes that this process takes at rest."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no malloc_trim, and gives back by itself
            ctypes.CDLL(None).malloc_trim(0)
        restart_peak()
    return own_bytes()


def restart_peak() -> bool:
    """Set this process's peak to its present size; return whether that can be done here."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def file_bytes() -> int:
    """Return this process's resident pages of files, which are not its own; 0 where they are not told apart."""
    return _status(None).get("RssFile", 0)


def peak_bytes(files: int = 0) -> int | None:
    """Return the most of its own that this process has taken since the peak was begun anew; None where it is not known.

    The peak counts pages of files too. They grow as code is used, and may shrink where the system takes some back, so the
    larger of now and `files`, what they were then, is taken off.
    """
    fields = _status(None)
    if "VmHWM" not in fields or "RssFile" not in fields:
        return None
    return max(fields["VmHWM"] - max(files, fields["RssFile"]), fields["RssAnon"] + fields["RssShmem"])


@contextlib.contextmanager
def watched_peak() -> Iterator[Peak]:
    """Read the peak of what runs inside: exact where the system counts it, else sampled from a thread."""
    found, files = Peak(), file_bytes()
    if restart_peak():
        yield found
        found.bytes = peak_bytes(files)
        return
    found.sampled, found.bytes = True, own_bytes()
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            found.bytes = max(found.bytes or 0, own_bytes())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def return_at_once(threshold_bytes: int) -> None:
    """Let every block from this size on have pages of its own, given back when it is freed. glibc only.

    Raises:
        OSError: this is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        raise OSError("option malloc=mmap64k needs glibc") from None
    if not (mallopt(M_MMAP_THRESHOLD, threshold_bytes) and mallopt(M_TRIM_THRESHOLD, threshold_bytes)):
        raise OSError("glibc did not take the mmap threshold")


def free_bytes() -> int:
    """Return what can still be taken of this machine's memory, the limit of a container (control groups 2) counted in."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit; no such file: no version 2 control groups
        limit = int((group / "memory.max").read_text())
        # What files have left in memory is counted, and given back when something else needs the room.
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines()).get("inactive_file", "0")
        free = min(free, limit - int((group / "memory.current").read_text()) + int(cached))
    return max(0, free)


def _status(pid: int | None) -> dict[str, int]:
    """Return the sizes in /proc/<pid>/status in bytes; nothing off Linux."""
    if sys.platform != "linux":
        return {}
    try:
        lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid or 0) from None
    parts = (line.split() for line in lines if line.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in parts}
