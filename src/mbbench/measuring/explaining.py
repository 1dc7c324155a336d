"""What went wrong in the user's code, in their words: one line that names the place nearest to it, or their traceback.

Easy to get wrong: neither shows a frame of ours or of a library, and the line names files without their folders.
"""

import itertools
import os
import sysconfig
import traceback
from pathlib import Path

from mbbench.scrub import scrub


def explain(error: BaseException) -> str:
    """Return one line: type, message, and where in the file nearest to the user's it happened; no folders."""
    first = (str(error).strip().splitlines() or [""])[0]
    users = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame)]
    where = f" ({Path(users[-1].filename).name}, line {users[-1].lineno})" if users else ""
    return scrub(f"{type(error).__name__}: {first}"[:500]) + where


def users_traceback(error: BaseException) -> str:
    """Return the traceback from the user's own file on, "" where none of it is theirs."""
    if isinstance(error, SyntaxError):  # of the user's file, which has no frame yet
        return "".join(traceback.format_exception_only(error)).rstrip()
    frames = list(itertools.dropwhile(lambda frame: not _is_users(frame), traceback.extract_tb(error.__traceback__)))
    if not frames:
        return ""
    said = traceback.format_list(frames) + traceback.format_exception_only(error)
    return "".join(["Traceback (most recent call last):\n", *said]).rstrip()


def _is_users(frame: traceback.FrameSummary) -> bool:
    # Not by the name "mbbench" alone: a user's folder may be called that too.
    others = (str(Path(__file__).parents[1]) + os.sep, sysconfig.get_path("stdlib") + os.sep, "<frozen")
    return not frame.filename.startswith(others) and not {"site-packages", "dist-packages"} & set(Path(frame.filename).parts)
