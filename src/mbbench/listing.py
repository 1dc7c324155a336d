"""What there is to choose from, and what is recorded: the words of `mbbench list`."""

import collections
from pathlib import Path

from mbbench import case, store


def lines(results: Path) -> list[str]:
    """Return the built-in names with a line each, and one line for each results file in a folder, if there is one."""
    shown = []
    for title, names in (
        ("problems (or your own: my_model.py:problem, package.module:problem)", case.PROBLEMS),
        ("loaders", case.LOADERS),
        ("optimizers", case.OPTIMIZERS),
    ):
        width = max(map(len, names))
        shown += [title, *(f"  {name:{width}}  {what}" for name, what in names.items()), ""]
    files = sorted(results.rglob("*.jsonl")) if results.is_dir() else []
    shown.append(f"records in {results}/" if files else f"records in {results}/: none yet")
    for path in files:
        records = store.load_file(path)
        counts = collections.Counter(record.measurement.status for record in records)
        states = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        problems = ", ".join(sorted({record.case.problem for record in records}))
        shown.append(f"  {path.relative_to(results)}  {problems}: {states or 'empty'}")
    return shown
