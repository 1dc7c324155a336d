"""Two trees to compare: a worktree of the base beside the tree as it is, with head's benchmarks in both.

Easy to get wrong: the worktree has to go whatever happens, and git remembers it until it is pruned. A killed process cleans
nothing up; so a shell that waits for this process's end removes the temporary folder with all that is in it, and where that
was killed too, the next run does.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from mbbench.case import UsageError

PREFIX = "mbbench-compare-"
JANITOR = 'read word; rm -rf -- "$1"; [ "$word" = done ] || { sleep 3; rm -rf -- "$1"; }; git -C "$2" worktree prune'
"""Reads until this process says so or is no more; a git that it had started may then still be writing for a while."""
LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "requirements.txt", "constraints.txt", "Pipfile.lock")
"""Files that say what is installed."""


class Trees(NamedTuple):
    """Where both sides lie, and what is to be said of them.

    Attributes:
        base: folder of the base.
        head: folder of the head.
        base_commit: of the base.
        head_commit: of the head, None where the tree is as it is.
        notes: what a reader should know: uncommitted changes, another environment.
    """

    base: Path
    head: Path
    base_commit: str
    head_commit: str | None
    notes: tuple[str, ...]


@contextmanager
def trees(base: str, head: str | None, bench: str, folder: Path) -> Iterator[Trees]:
    """Make both trees and remove what was made.

    Args:
        base: revision; what is compared with is its merge base with the head.
        head: revision, None: the working tree as it is.
        bench: folder of the benchmarks; head's is copied over the base's.
        folder: anywhere inside the project.

    Raises:
        UsageError: no git, no such revision, no common history, no benchmarks, no room.
    """
    root = _root(folder)
    head_commit = None if head is None else _commit(root, head)
    base_commit = _merge_base(root, _commit(root, base), head_commit or _commit(root, "HEAD"))
    _sweep(root)
    with _folder(root) as made:
        at = made / "base"
        _add(root, at, base_commit)
        other = root if head_commit is None else made / "head"
        if head_commit is not None:
            _add(root, other, head_commit)
        if not (other / bench).is_dir():
            raise UsageError(f"{other / bench} is no folder: give the benchmarks' folder with --bench")
        _copy(other / bench, at / bench)
        yield Trees(at, other, base_commit, head_commit, tuple(_notes(root, base_commit, head_commit)))


@contextmanager
def _folder(root: Path) -> Iterator[Path]:
    """Make a temporary folder that goes when this ends, or this process does."""
    made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")).resolve()
    words, nowhere = ["sh", "-c", JANITOR, "sh", str(made), str(root)], subprocess.DEVNULL
    # In a session of its own: Ctrl-C and a CI that ends the job are meant for this process.
    janitor = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True)
    try:
        yield made
    finally:
        janitor.communicate(b"done\n")


def _sweep(root: Path) -> None:
    """Remove what runs of this repository that were killed have left."""
    for line in _git(root, "worktree", "list", "--porcelain").splitlines():
        folder = Path(line.removeprefix("worktree ")).parent
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if line.startswith("worktree ") and folder.name.startswith(PREFIX) and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
    _git(root, "worktree", "prune")


def _root(folder: Path) -> Path:
    if shutil.which("git") is None:
        raise UsageError("git is not installed: mbbench compare takes the base from the project's history")
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel")).resolve()
    except UsageError:
        raise UsageError(f"{folder} is in no git repository: mbbench compare takes the base from its history") from None


def _commit(root: Path, revision: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except UsageError:
        shallow = _git(root, "rev-parse", "--is-shallow-repository") == "true"
        hint = (
            ": the clone is shallow, fetch its history with `git fetch --unshallow` (in CI: fetch-depth: 0)"
            if shallow
            else ""
        )
        raise UsageError(f"{revision!r} is no revision of this repository{hint}") from None


def _merge_base(root: Path, base: str, head: str) -> str:
    try:
        return _git(root, "merge-base", base, head)
    except UsageError:
        if _git(root, "rev-parse", "--is-shallow-repository") == "true":
            depth = "`git fetch --unshallow` (in CI: fetch-depth: 0)"
            raise UsageError(f"the clone is too shallow to hold what {base[:12]} and head have in common: {depth}") from None
        raise UsageError(f"{base[:12]} and head have no history in common: name another base") from None


def _add(root: Path, at: Path, commit: str) -> None:
    try:
        _git(root, "worktree", "add", "--detach", "--quiet", str(at), commit)
    except UsageError as error:
        free = shutil.disk_usage(at.parent).free
        raise UsageError(f"no worktree of {commit[:12]} in {at.parent} ({free / 2**20:.0f} MiB free): {error}") from None


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    try:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    except (OSError, shutil.Error) as error:
        raise UsageError(f"{source} could not be copied to {target}: {error}") from None


def _notes(root: Path, base: str, head: str | None) -> Iterator[str]:
    if head is None and _git(root, "status", "--porcelain"):
        yield "head is the working tree with its uncommitted changes"
    to = [head] if head is not None else []
    changed = _git(root, "diff", "--name-only", base, *to, "--", *LOCKS).split()
    if changed:
        yield (
            f"{', '.join(changed)} differ: both sides run in head's environment; what the base would need, install it with "
            "--setup, or compare in two environments"
        )


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"git {arguments[0]} failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
    return done.stdout.strip()
