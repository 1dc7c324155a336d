"""Two trees to compare: a worktree of the base beside the tree as it is, with head's benchmarks in both.

Easy to get wrong: the worktree has to go whatever happens, and git's note of it too, and no other worktree's. A killed
process cleans nothing up; so a shell that waits for this process's end removes the temporary folder with all that is in it,
and where that was killed too, the next run does.
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
JANITOR = """
clean() {
    rm -rf -- "$1"
    grep -lF -- "$1/" "$2"/worktrees/*/gitdir | while read -r note; do rm -rf -- "${note%/gitdir}"; done
}
read -r word
clean "$1" "$2"
[ "$word" = done ] || { sleep 3; clean "$1" "$2"; }
"""
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
        root: of the repository.
    """

    base: Path
    head: Path
    base_commit: str
    head_commit: str | None
    notes: tuple[str, ...]
    root: Path

    def state(self) -> str:
        """Return what tells whether the working tree has changed; "" where head is a commit."""
        if self.head_commit is not None:
            return ""
        files = _git(self.root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
        times = [(file, (self.root / file).stat().st_mtime_ns) for file in files if (self.root / file).is_file()]
        return f"{_git(self.root, 'diff', 'HEAD', '--no-ext-diff')} {times}"


@contextmanager
def trees(base: str, head: str | None, bench: str, folder: Path) -> Iterator[Trees]:
    """Make both trees and remove what was made.

    Args:
        base: revision; what is compared with is its merge base with the head.
        head: revision, None: the working tree as it is.
        bench: folder of the benchmarks; head's is copied over the base's.
        folder: anywhere inside the project: the nearest one above with a pyproject.toml or setup file is the project's.

    Raises:
        UsageError: no git, no such revision, no common history, no benchmarks, no room.
    """
    root = _root(folder)
    project, own = _project(root, folder.resolve()), _inside(bench)
    head_commit = None if head is None else _commit(root, head)
    base_commit = _merge_base(root, _commit(root, base), head_commit or _commit(root, "HEAD"))
    _sweep(root)
    with _folder(root) as made:
        _add(root, made / "base", base_commit)
        other = root if head_commit is None else made / "head"
        if head_commit is not None:
            _add(root, other, head_commit)
        at, other = made / "base" / project, other / project
        if not (other / own).is_dir():
            raise UsageError(f"{other / own} is no folder: give the benchmarks' folder with --bench")
        if not at.is_dir():
            raise UsageError(f"{project} is not in {base_commit[:12]}: there is nothing to compare with")
        _copy(other / own, at / own)
        yield Trees(at, other, base_commit, head_commit, tuple(_notes(root, base_commit, head_commit)), root)


def _project(root: Path, folder: Path) -> Path:
    """Return the project's folder, from the top of the repository."""
    for each in (folder, *folder.parents):
        if each == root or any((each / name).is_file() for name in ("pyproject.toml", "setup.py", "setup.cfg")):
            return each.relative_to(root)
    return Path()


def _inside(bench: str) -> Path:
    """Return the folder of the benchmarks; refuse one that is not a folder of its own inside the project."""
    path = Path(bench)
    if path.is_absolute() or ".." in path.parts or path in (Path(), Path("src")):
        raise UsageError(
            f"--bench is {bench!r}: head's is laid over the base's, so give a folder inside the project that holds the "
            "benchmarks and nothing else, as it is called from there"
        )
    return path


@contextmanager
def _folder(root: Path) -> Iterator[Path]:
    """Make a temporary folder that goes when this ends, or this process does."""
    made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")).resolve()
    common = Path(root, _git(root, "rev-parse", "--git-common-dir")).resolve()
    words, nowhere = ["sh", "-c", JANITOR, "sh", str(made), str(common)], subprocess.DEVNULL
    # In a session of its own: Ctrl-C and a CI that ends the job are meant for this process.
    janitor = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True)
    try:
        yield made
    finally:
        janitor.communicate(b"done\n")


def _sweep(root: Path) -> None:
    """Remove what runs of this repository that were killed have left."""
    for line in _git(root, "worktree", "list", "--porcelain").splitlines():
        tree = Path(line.removeprefix("worktree "))
        pid = tree.parent.name.removeprefix(PREFIX).partition("-")[0]
        if line.startswith("worktree ") and tree.parent.name.startswith(PREFIX) and not psutil.pid_exists(int(pid)):
            if tree.exists():
                _git(root, "worktree", "remove", "--force", "--force", str(tree))
            shutil.rmtree(tree.parent, ignore_errors=True)


def _root(folder: Path) -> Path:
    if shutil.which("git") is None:
        raise UsageError("git is not installed: mbbench compare takes the base from the project's history")
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel")).resolve()
    except UsageError as error:
        raise UsageError(
            f"{folder} is in no git repository that mbbench compare could take the base from: {error}"
        ) from None


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
        said = done.stderr.strip().splitlines()
        raise UsageError(f"git {arguments[0]}: {said[0] if said else f'ended with {done.returncode}'}")
    return done.stdout.strip()
