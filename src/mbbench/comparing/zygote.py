"""A process that has imported what takes long and nothing of the user's, and forks a child for each side of a comparison.

Run as a script, `python zygote.py`: it must not import mbbench, which may be the package that is compared. Each line of its
input is JSON, {"sides": [{"name", "tree", "other", "folder"}, ...], "socket", "arguments": [...], "threads"}; it forks a
child for each side in that order and answers with a line {"name", "pid"} for each, and {"name", "status"} as each ends.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy  # noqa: F401
import pytest  # noqa: F401
import pytest_benchmark.fixture  # noqa: F401
import torch


def _parked() -> ModuleType:
    """Load the child's module by its path: as a part of mbbench it would bring mbbench."""
    spec = importlib.util.spec_from_file_location("_mbbench_parked", Path(__file__).with_name("parked.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


def _fork(side: dict[str, str], asked: dict[str, Any], parked: ModuleType) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 9
    try:
        os.setpgid(0, 0)  # what a benchmark starts ends with it
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):
            os.dup2(nothing, stream)
        torch.set_num_threads(asked["threads"])
        status = parked.run(side, asked["socket"], asked["arguments"])
    finally:
        os._exit(status)


def main() -> None:
    """Serve until the input ends."""
    folder = str(Path(__file__).parent)
    sys.path[:] = [path for path in sys.path if path not in (folder, "")]  # names of these files are nobody's modules
    parked = _parked()
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)  # the first optimizer imports for 0.3 s
    _say(ready=os.getpid())
    for line in sys.stdin:
        asked = json.loads(line)
        children = {}
        for side in asked["sides"]:
            pid = _fork(side, asked, parked)
            children[pid] = side["name"]
            _say(name=side["name"], pid=pid)
        while children:
            pid, status = os.wait()
            if pid in children:
                _say(name=children.pop(pid), status=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
