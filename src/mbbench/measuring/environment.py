"""Say where a measurement was made: identity (what must be equal to compare) and context (commit, load, time).

Easy to get wrong: nothing here may name a host, a user or a path, and nothing that changes from run to run (clock rates,
free memory, load) may enter the identity. `identity` imports torch and runs in a worker; `context` runs in the parent.
"""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil

from mbbench import __version__
from mbbench.record import Environment, digest


def identity() -> dict[str, str | int | None]:
    """Return processor, caches, memory, accelerators, torch build, system and Python of this process."""
    import torch

    from mbbench.measuring import devices

    cpuinfo = _cpuinfo()
    build = digest(torch.__config__.show().encode())
    return {
        "processor": cpuinfo.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "flags": digest((cpuinfo.get("flags") or cpuinfo.get("Features", "")).encode()),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(logical=True),
        "usable_threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "caches": _caches(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        **devices.identity(),
        "torch": str(torch.__version__),
        "torch_build": build,
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def context(identity: dict[str, str | int | None]) -> Environment:
    """Return the environment of a run that begins now in the present folder, given its identity."""
    commit, diff = _code()
    return Environment(
        identity=identity,
        commit=commit,
        diff=diff,
        version=__version__,
        time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        load_1m=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        governor=_read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
    )


def physical_cores() -> int:
    """Return the threads torch would use by default: physical cores, as far as this process may use them."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(psutil.cpu_count(logical=False) or 1, usable or 1))


def _code() -> tuple[str | None, str | None]:
    """Return the commit of the present folder's repository and a hash of what is not committed, or None for either."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None, None
    changes = _git("diff", "HEAD", "--binary")
    if changes is None:
        return commit, "unknown"  # never equal to "nothing changed"
    for name in (_git("ls-files", "--others", "--exclude-standard", "-z", "--", "*.py") or "").split("\0"):
        if name and Path(name).is_file():
            changes += name + Path(name).read_text(errors="replace")
    return commit, digest(changes.encode()) if changes else None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace", check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):  # no git, no repository or no commit yet: not known
        return None
    return done.stdout.strip()


def _cpuinfo() -> dict[str, str]:
    lines = (_read(Path("/proc/cpuinfo")) or "").partition("\n\n")[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _caches() -> str | None:
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(index / name) or "?" for name in ("level", "type", "size"))
        found.append(f"L{level}{kind[0].lower() if kind != 'Unified' else ''} {size}")
    return ", ".join(found) or None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
