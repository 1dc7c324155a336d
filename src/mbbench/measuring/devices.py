"""What a device can do: be there, finish its work before a clock is read, time itself, say what it is.

Easy to get wrong: an accelerator works behind the back of the host, so a clock read without `synchronise` measures how
fast work is queued; `torch.cuda` answers on a CPU build with zeros, so only devices that are there are asked.
"""

import subprocess
from collections.abc import Callable

import torch


def unavailable(device: str) -> str | None:
    """Return why `device` cannot be used here, or None where it can."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return None
    here = torch.accelerator.current_accelerator(check_available=True)
    if here is None:
        return f"no {kind} device here: torch {torch.__version__} finds no accelerator"
    if here.type != kind:
        return f"no {kind} device here: the accelerator is {here.type}"
    count = torch.accelerator.device_count()
    if index and int(index) >= count:
        return f"{device} is not here: {count} {kind} device(s), numbered from 0"
    return None


def synchroniser(device: str) -> Callable[[], None]:
    """Return a function that waits until all work on `device` is done; on the CPU there is nothing to wait for."""
    if torch.device(device).type == "cpu":
        return _nothing
    return lambda: torch.accelerator.synchronize(torch.device(device))


def _nothing() -> None:
    pass


def events(device: str) -> tuple[torch.Event, torch.Event] | None:
    """Return two events that time the device's own stream, or None on the CPU, which has no stream."""
    if torch.device(device).type == "cpu":
        return None
    return torch.Event(device, enable_timing=True), torch.Event(device, enable_timing=True)


def identity() -> dict[str, str | int | None]:
    """Return what tells accelerators apart: name, memory in bytes, count, runtime and driver version; None where none."""
    here = torch.accelerator.current_accelerator(check_available=True)
    if here is None:
        return {"accelerator": None}
    module = torch.get_device_module(here)
    properties = module.get_device_properties(0)
    return {
        "accelerator": here.type,
        "accelerator_name": properties.name,
        "accelerator_memory_bytes": properties.total_memory,
        "accelerator_count": torch.accelerator.device_count(),
        "accelerator_runtime": torch.version.cuda or torch.version.hip,
        "accelerator_driver": _nvidia_driver() if torch.version.cuda else None,
    }


def _nvidia_driver() -> str | None:
    # torch knows the runtime's version only; the driver's comes from the tool that ships with it.
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
