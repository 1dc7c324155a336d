"""Put records into results/ and take them out again: one file a run, one line a record, written the moment it exists.

Easy to get wrong: a run may be killed while it writes, so a last line without its end is left out with a warning; a
broken line anywhere else is an error that names it, because a result must not vanish in silence.
"""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from mbbench.case import UsageError
from mbbench.record import Environment, Record, decode, encode

KEPT = "reference"
"""Folder of records of other machines that are kept as data: read where it is named itself."""


class StoreError(UsageError):
    """Results that cannot be written or read, with one line that says what to do."""


def results_file(folder: Path, environment: Environment) -> Path:
    """Return a new, empty `<time>-<commit>-<fingerprint>.jsonl` in `folder`, which is made if missing.

    Raises:
        StoreError: the folder cannot be made or written to.
    """
    stamp = environment.time.replace("-", "").replace(":", "").partition(".")[0].removesuffix("Z")
    commit = (environment.commit or "nogit")[:7]
    path = folder / f"{stamp}Z-{commit}-{environment.fingerprint}.jsonl"
    number = 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                path.touch(exist_ok=False)
                break
            except FileExistsError:  # two runs in one second
                number += 1
                path = path.with_stem(f"{path.stem.partition('_')[0]}_{number}")
    except OSError as error:
        raise StoreError(
            f"results cannot be written to {folder} ({error.strerror}): give a folder that can, with --results DIR"
        ) from None
    return path


def append(path: Path, record: Record) -> None:
    """Write one record at the end of a file, at once and in one piece.

    Raises:
        StoreError: it cannot be written; what was written before stays.
    """
    line = encode(record)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            while line:  # a write may be cut short by a signal or a full disk, which then raises
                line = line[os.write(descriptor, line) :]
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}): make room, then the same command goes on") from None


def drop_if_empty(path: Path) -> None:
    """Remove a results file into which nothing was recorded."""
    if path.exists() and not path.stat().st_size:
        path.unlink()


def load_file(path: Path) -> list[Record]:
    """Return the records of one file, in the order in which they were written.

    Raises:
        StoreError: a line is not a record. A last line that was cut off is left out with a warning instead.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror})") from None
    lines = content.split(b"\n")
    if lines[-1]:
        warnings.warn(f"{path}: the last line was cut off and is left out", stacklevel=2)
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            records.append(decode(line))
        except ValueError as error:
            raise StoreError(f"{path}, line {number} is not a record ({error}): mend or delete that line") from None
    return records


def files(folder: Path) -> list[Path]:
    """Return the files of records in a folder and its subfolders, but for those kept as data (`KEPT`) in one of these."""
    return sorted(path for path in folder.rglob("*.jsonl") if KEPT not in path.relative_to(folder).parts)


def load_records(source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Record]:
    """Return all records of a file, of a folder (see `files`) or of several, oldest file first.

    Raises:
        StoreError: there is no such path, a line is not a record, or there is no record at all.
    """
    several = [source] if isinstance(source, str | os.PathLike) else list(source)
    paths: list[Path] = []
    for path in map(Path, several):
        if not path.exists():
            raise StoreError(f"{path} does not exist: give a results folder or a .jsonl file")
        paths += files(path) if path.is_dir() else [path]
    once = {path.resolve(): path for path in reversed(paths)}  # a file named twice would count its records twice
    records = [record for path in reversed(once.values()) for record in load_file(path)]
    if not records:
        names = ", ".join(str(path) for path in several)
        raise StoreError(f"{names} holds no records: measure first, with `mbbench run` or `pytest bench/`")
    return sorted(records, key=lambda record: record.environment.time)
