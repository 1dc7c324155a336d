"""The user's code: a file or a module, imported by its name, and a hash of what it consists of.

Easy to get wrong: it is imported in the worker only, without bytecode, so that an edit is always seen.
"""

import difflib
import importlib
import importlib.util
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from mbbench.case import UsageError
from mbbench.record import digest

_LOADED: dict[Path, tuple[tuple[int, int], ModuleType]] = {}
"""Files that were imported, with their size and time of change: a problem, its optimizer and its loader may share one."""


def load_file(path: Path) -> ModuleType:
    """Import a Python file, once for each state of it; raise UsageError where there is none."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give the path of a Python file, from the working directory")
    path = path.resolve()
    state = path.stat().st_size, path.stat().st_mtime_ns
    known = _LOADED.get(path)
    if known is not None and known[0] == state and sys.modules.get(path.stem) is known[1]:
        return known[1]
    sys.path.insert(0, str(path.parent))  # its neighbours can be imported, as when it is run
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    _LOADED[path] = state, module
    return module


def load_module(name: str) -> ModuleType:
    """Import a module, also one in the working directory; raise UsageError where there is none."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(f"there is no module {name!r}: give package.module:name or file.py:name") from None
        raise


def source_of(folder: Path, *files: str | None) -> str:
    """Return a hash of these files and of every module imported from inside `folder`, installed packages left out."""
    inside = {Path(file).resolve() for file in files if file}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve().is_relative_to(folder.resolve()) and "site-packages" not in file:
            inside.add(Path(file).resolve())
    return digest(b"".join(path.read_bytes() for path in sorted(inside) if path.is_file()))


def load_function(what: str, name: str, form: str) -> Any:
    """Return a function of the user's own.

    Args:
        what: "optimizer", "metric" ...
        name: "file.py:name" or "package.module:name".
        form: of the function, as "(prediction, target) -> a number".

    Raises:
        UsageError: it is not there, or is no function.
    """
    _, found = load_attribute(name, f"a function {form}")
    if not callable(found):
        raise UsageError(f"{what} {name} is a {type(found).__name__}: give a function {form}")
    return found


def digest_of(name: str) -> str:
    """Return a hash of what "file.py:name" or "package.module:name" consists of; of an installed package its name.

    Of the file and of those beside it whose modules, functions or classes it uses: what else happens to be imported does not
    change it.

    Raises:
        UsageError: it is not there.
    """
    module, _ = load_attribute(name, "what is asked for")
    folder = _file(module).parent
    found, todo = dict[Path, bytes](), [module]
    while todo:
        here = todo.pop()
        file = _file(here)
        if is_own(file) and file not in found and file.is_relative_to(folder):
            found[file] = file.read_bytes()
            values = vars(here).values()
            used = (each if isinstance(each, ModuleType) else sys.modules.get(_home(each)) for each in values)
            todo += [each for each in used if each is not None]
    return digest(b"".join(found[file] for file in sorted(found)) or name.encode())


def _file(module: ModuleType) -> Path:
    return Path(getattr(module, "__file__", None) or "").resolve()


def _home(value: Any) -> str:
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) else ""


def is_own(file: Path) -> bool:
    """Return whether a file is the user's: there, and of no installed package nor of Python's own library."""
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return file.is_file() and not installed and not file.is_relative_to(sysconfig.get_path("stdlib"))


def load_attribute(name: str, expected: str) -> tuple[ModuleType, Any]:
    """Return the module and what is found in it by "file.py:name" or "package.module:name".

    Args:
        name: as above; a file relative to the working directory.
        expected: what it is to be, for the message.

    Raises:
        UsageError: there is no such file, module or attribute.
    """
    target, attribute = name.rsplit(":", 1)
    module = load_file(Path(target)) if target.endswith(".py") else load_module(target)
    found = getattr(module, attribute, None)
    if found is None:
        near = difflib.get_close_matches(attribute, [each for each in vars(module) if not each.startswith("_")], n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"{Path(target).name} has no attribute {attribute!r}: {hint}give the name of {expected} in it")
    return module, found
