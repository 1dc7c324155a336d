"""A process that has imported what takes long and nothing of the user's, and forks a child for each side of a comparison.

Run as a script, `python zygote.py`: it must not import mbbench, which may be the package that is compared. Each line of its
input is JSON, {"sides": [{"name", "tree", "other", "folder"}, ...], "socket", "arguments": [...], "threads", "cores"}; it
forks a child for each side in that order and answers with a line {"name", "pid"} for each, and {"name", "status"} as each
ends.
Easy to get wrong: comparing identical code in silence, where a module of the other tree was found first; so all modules are
looked at when a child ends.
"""

import importlib.util
import json
import os
import socket
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy  # noqa: F401
import pytest
import pytest_benchmark.fixture  # noqa: F401
import torch

OURS = ("__main__", "__mp_main__", "_mbbench_parked")
"""This and the child's plugin: they measure, whichever tree they lie in, and are not what is measured."""
OFF = ("randomly", "xdist", "timeout", "rerunfailures")
PYTEST = ["-q", *(f"-pno:{name}" for name in OFF), "--continue-on-collection-errors", "--maxfail=0", "-oaddopts="]
"""Of the user's own options those of one's working day (-n, --cov, -x, --lf, -m) would change what is run, or when."""


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
        if asked["cores"]:
            os.sched_setaffinity(0, asked["cores"])
        status = _run(side, asked["socket"], asked["arguments"], parked)
    finally:
        os._exit(status)


def _run(side: dict[str, str], meet: str, arguments: list[str], parked: ModuleType) -> int:
    """Run pytest on a tree and serve its benchmarks; return pytest's status."""
    tree, folder = Path(side["tree"]), Path(side["folder"])
    log = os.open(folder / f"{side['name']}.log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    meeting = socket.socket(socket.AF_UNIX)
    os.chdir(folder)  # a whole path may be too long for a socket
    meeting.connect(meet)
    os.chdir(tree)
    sys.path[:0] = [path for path in (str(tree / "src"), str(tree)) if Path(path).is_dir()]
    # Both sides compile into a folder of their own and load from there: __pycache__ lies in a working tree only.
    sys.argv, sys.dont_write_bytecode, sys.pycache_prefix = ["pytest"], False, str(folder / "compiled")
    os.environ["MBBENCH_COMPARE"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    with Connection(meeting.detach()) as connection:
        connection.send(("hello", side["name"]))
        plugin = parked.Parked(connection)
        parked.install(plugin)
        places = ["--rootdir", str(tree), "-o", f"cache_dir={folder / 'cache'}"]
        status = int(pytest.main([*PYTEST, *places, *arguments], plugins=[plugin]))
        connection.send(("end", status, *_origins(tree.resolve(), Path(side["other"]).resolve(), tree / arguments[0])))
    sys.stdout.flush()
    return status


def _origins(tree: Path, other: Path, bench: Path) -> tuple[dict[str, str], ...]:
    """Return the modules from the other tree, the project's top-level modules from this one, and those from elsewhere.

    An environment may lie inside the tree: what is installed there is elsewhere. So is what lies in the folder of the
    benchmarks, which is head's on both sides.
    """
    foreign, own, strays = dict[str, str](), dict[str, str](), dict[str, str]()
    names, installed = _packages(tree, bench), (os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix))
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name in OURS:
            continue
        path, top = Path(os.path.realpath(file)), name.partition(".")[0]
        packaged = "site-packages" in path.parts or any(path.is_relative_to(folder) for folder in installed)
        if path.is_relative_to(other) and not packaged and not (tree.is_relative_to(other) and path.is_relative_to(tree)):
            foreign[name] = str(path)
        elif top in names and (name == top or getattr(sys.modules.get(top), "__file__", None) is None):
            inside = path.is_relative_to(tree) and not packaged and not path.is_relative_to(bench)
            (own if inside else strays)[name] = str(path)
    return foreign, own, strays


def _packages(tree: Path, bench: Path) -> set[str]:
    """Return the names that a tree's own code is imported by: a namespace of packages in `src` has no file of its own."""
    found = set()
    for folder in (tree / "src", tree):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.suffix == ".py" and path.stem not in ("setup", "conftest", "noxfile"):
                found.add(path.stem)
            elif path == bench or path.name in ("tests", "bench", "docs"):
                continue
            elif (path / "__init__.py").is_file() or (folder != tree and path.is_dir() and any(path.rglob("*.py"))):
                found.add(path.name)
    return found


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
