"""Hold a cell to its memory limit from inside its process, and tell running out of memory from other errors.

The limit is on private writable memory (RLIMIT_DATA, Linux) beyond the process's size at rest; on an accelerator it is a
part of the device's memory. A watchdog in the parent (`process.py`) is the second net, off Linux the only one.

Easy to get wrong: OpenMP's threads are made at the first parallel operation, and under a limit libgomp answers a failure
with exit code 1, so they are made before the limit (without that 3 to 15 in 100 tight cells ended so); whoever handles
the error needs memory too, so the limit is lifted first; on the CPU torch has no error class of its own for this.
"""

import sys

import torch
from torch import nn

from mbbench.measuring import resident

PARALLEL_ELEMENTS = 1 << 18
"""Eight times what torch gives one thread (32,768), so that every thread of up to eight has a share."""
SAID_ALWAYS = ("DefaultCPUAllocator", "std::bad_alloc", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""What an allocation that failed says: torch on the CPU, C++, CUDA, and CUDA's libraries."""
SAID_UNDER_A_LIMIT = (
    "could not create a primitive",  # oneDNN, whatever the reason
    "could not create a memory",
    "could not execute a primitive",
    "Cannot allocate memory",
    "can't start new thread",
    "Thread creation failed",
    "cannot map zero-fill pages",
    "failed to map segment",
    "cannot allocate memory in static TLS block",
)
"""What may have other reasons too, and is taken for memory while a limit is set."""


def rest(threads: int) -> int:
    """Make what every cell needs once (threads, kernels' buffers), and return this process's bytes at rest.

    Args:
        threads: of one operation; they exist afterwards.
    """
    torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        model = nn.Linear(8, 1)
        nn.functional.mse_loss(model(torch.ones(4, 8)), torch.ones(4, 1)).backward()  # type: ignore[no-untyped-call]
        torch.ones(max(PARALLEL_ELEMENTS, 32_768 * threads)).mul_(2).sum()
        torch.mm(torch.ones(256, 256), torch.ones(256, 256))
    return resident.settle()


def impose(limit_bytes: int, device: str) -> None:
    """Limit what this process may take from now on, beyond what it has."""
    if device != "cpu":
        part = min(1.0, limit_bytes / total_bytes(device))
        where = () if torch.device(device).type == "mps" else (torch.device(device),)  # there is but one
        torch.get_device_module(device).set_per_process_memory_fraction(part, *where)
    elif sys.platform == "linux":
        _limit(resident.data_bytes() + limit_bytes)


def lift() -> None:
    """Take this process's limit away again."""
    if sys.platform == "linux":
        _limit(None)


def total_bytes(device: str) -> int:
    """Return the size of an accelerator's memory."""
    return int(torch.accelerator.get_memory_info(torch.device(device))[1])


def free_bytes(device: str) -> int | None:
    """Return what can still be taken of a device's memory; None where the device does not tell."""
    if device == "cpu":
        return resident.free_bytes()
    try:
        return int(torch.accelerator.get_memory_info(torch.device(device))[0])
    except (RuntimeError, NotImplementedError):  # mps has no such count
        return None


def out_of_memory(error: BaseException, limited: bool) -> bool:
    """Return whether an error means that memory ran out.

    Args:
        error: what was raised.
        limited: whether the process was near a limit: then some errors that name no memory mean it too.
    """
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in text for words in SAID_ALWAYS):
        return True
    return limited and (isinstance(error, SystemError) or any(words in text for words in SAID_UNDER_A_LIMIT))


def _limit(size: int | None) -> None:
    import resource  # Windows has none

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = resource.RLIM_INFINITY if size is None else size
    if hard != resource.RLIM_INFINITY:  # somebody set one already: no process may go above it
        wanted = hard if size is None else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
