"""Full batch or mini-batch, which batch size, on this machine: measured, with evidence.

`import mbbench` is light: torch and pandas are imported by the names that need them, when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mbbench.api import max_batch as max_batch
    from mbbench.api import run as run
    from mbbench.axes import grid as grid
    from mbbench.callbacks import watch_lightning as watch_lightning
    from mbbench.callbacks import watch_transformers as watch_transformers
    from mbbench.case import Budget as Budget
    from mbbench.case import Case as Case
    from mbbench.measuring.files import Files as Files
    from mbbench.measuring.problems import Problem as Problem
    from mbbench.reporting.analysis import curves as curves
    from mbbench.reporting.analysis import load as load
    from mbbench.reporting.reported import report as report
    from mbbench.watching import watch as watch

_HOME = {
    "Budget": "mbbench.case",
    "Case": "mbbench.case",
    "Files": "mbbench.measuring.files",
    "Problem": "mbbench.measuring.problems",
    "curves": "mbbench.reporting.analysis",
    "grid": "mbbench.axes",
    "max_batch": "mbbench.api",
    "load": "mbbench.reporting.analysis",
    "report": "mbbench.reporting.reported",
    "run": "mbbench.api",
    "watch": "mbbench.watching",
    "watch_lightning": "mbbench.callbacks",
    "watch_transformers": "mbbench.callbacks",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mbbench' has no attribute {name!r}")
    # Kept: looked up anew in each epoch, `mbbench.watch` takes 9 us of a small one's 660.
    found = globals()[name] = getattr(import_module(_HOME[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
