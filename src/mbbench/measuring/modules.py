"""The user's code: a file or a module, imported by its name, and a hash of what it consists of.

Easy to get wrong: it is imported in the worker only, without bytecode, so that an edit is always seen.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from mbbench.case import UsageError
from mbbench.record import digest


def load_file(path: Path) -> ModuleType:
    """Import a Python file; raise UsageError where there is none."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give the path of a Python file that defines a mbbench.Problem")
    sys.path.insert(0, str(path.parent.resolve()))  # its neighbours can be imported, as when it is run
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def load_module(name: str) -> ModuleType:
    """Import a module, also one in the working directory; raise UsageError where there is none."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(f"there is no module {name!r}: give package.module:problem or file.py:problem") from None
        raise


def source_of(folder: Path, *files: str | None) -> str:
    """Return a hash of these files and of every module imported from inside `folder`, installed packages left out."""
    inside = {Path(file).resolve() for file in files if file}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve().is_relative_to(folder.resolve()) and "site-packages" not in file:
            inside.add(Path(file).resolve())
    return digest(b"".join(path.read_bytes() for path in sorted(inside) if path.is_file()))
