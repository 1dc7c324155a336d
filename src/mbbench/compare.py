"""`mbbench compare BASE [HEAD]`: is a commit slower, hungrier or worse at converging? The command, its files, its exit code.

Easy to get wrong: what is imported here is imported by every command, so the wings are imported when they are needed.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbbench.axes import read_seconds
from mbbench.case import UsageError, check_name

if TYPE_CHECKING:
    from mbbench.comparing.trees import Trees


def command(
    base: Annotated[
        str, typer.Argument(help="Revision to compare with; its merge base with the head is taken. Or results.")
    ],
    head: Annotated[str | None, typer.Argument(help="Revision, or results. Default: the working tree as it is.")] = None,
    bench: Annotated[str, typer.Option(help="Folder of the benchmarks; head's is used on both sides.")] = "bench",
    keyword: Annotated[str | None, typer.Option("-k", help="Only benchmarks that match, as pytest's -k.")] = None,
    metric: Annotated[str, typer.Option(help="Of time, memory, convergence; several by comma.")] = "time,memory,convergence",
    within: Annotated[str, typer.Option("--time", help="Time for everything: 90, 10m.")] = "10m",
    tolerance: Annotated[
        float, typer.Option(help="The least change of time that matters, in percent.", min=0.1, max=100)
    ] = 3.0,
    threads: Annotated[int, typer.Option(help="Of torch in each process.", min=1)] = 1,
    setup: Annotated[str | None, typer.Option(help="Command that is run in both trees first, to build them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON, on the output.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write it as a page, one file: a picture and a table.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write it as Markdown: a step summary.")] = None,
    comment: Annotated[Path | None, typer.Option(help="Write it as Markdown that fits into a comment: 60 kB.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write it as JUnit's XML.")] = None,
    annotate: Annotated[bool, typer.Option(help="Print GitHub annotations of regressions.")] = False,
    strict: Annotated[bool, typer.Option(help="Exit code 3 for undecided, 4 for an unreliable run.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Say what would be compared and how long it takes, by one block of it.")
    ] = False,
) -> None:
    """Compare two commits side by side, in the same minutes: which benchmarks are slower, hungrier, worse at converging?

    Two folders or files of results are put beside each other instead: a hint, not a gate.
    """
    if head is not None and _results(base) and _results(head):
        _beside(Path(base), Path(head), as_json)
        return
    metrics = _metrics(metric)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a cancelled CI job leaves no worktree and no process either
    from mbbench.comparing import comparison, trees
    from mbbench.comparing.children import NotComparableError
    from mbbench.reporting import compared

    arguments, seconds = [bench, *([f"-k{keyword}"] if keyword else [])], read_seconds(within)
    try:
        with trees.trees(base, head, bench, Path.cwd()) as both:
            for tree in (both.base, both.head) if setup else ():
                _prepare(setup or "", tree)
            if dry_run:
                _plan(both, arguments, metrics, threads, seconds)
                return
            found = comparison.compare(
                both,
                arguments,
                within_s=seconds,
                metrics=metrics,
                tolerance=tolerance / 100,
                threads=threads,
                say=_say,
            )
    except NotComparableError as error:
        typer.echo(f"mbbench: no comparison: {error}", err=True)
        found = compared.Comparison(base, head or comparison.WORKING, unfinished=str(error))
    from mbbench.reporting import compared_files, compared_words

    typer.echo(compared.to_json(found, strict) if as_json else "\n".join(compared_words.lines(found)))
    if html is not None:
        from mbbench.reporting import reported

        reported.of_comparison(found, html)
    _write(markdown, compared_files.markdown(found))
    _write(comment, compared_files.markdown(found, compared_files.MOST_COMMENT))
    _write(junit, compared_files.junit(found))
    for line in compared_files.annotations(found) if annotate else ():
        typer.echo(line, err=as_json)  # what is read as JSON holds nothing else; CI reads both
    raise typer.Exit(found.exit_code(strict))


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _results(word: str) -> bool:
    """Return whether a word names records, and not a revision that is called like a folder."""
    path = Path(word)
    return path.suffix == ".jsonl" if path.is_file() else any(path.glob("*.jsonl"))


def _metrics(words: str) -> list[str]:
    from mbbench.reporting.compared import METRICS

    metrics = [word.strip() for word in words.split(",") if word.strip()]
    for each in metrics:
        check_name("metric", each, METRICS)
    if not metrics:
        raise UsageError(f"--metric is {words!r}: give some of {', '.join(METRICS)}")
    return metrics


def _beside(first: Path, second: Path, as_json: bool) -> None:
    """Say what two sets of records have in common; raise UsageError where they are of two machines."""
    from mbbench.reporting import beside, sides
    from mbbench.store import load_records

    called = sides.names(first, second)
    a, b = (sides.side(name, load_records(path)) for name, path in zip(called, (first, second), strict=True))
    if why := sides.unlike(a, b):
        raise UsageError(
            f"{first} and {second} are of {why}: their times are not compared; `mbbench report {first} {second}` shows both"
        )
    typer.echo(beside.to_json(a, b) if as_json else "\n".join(beside.lines(a, b)))


def _prepare(setup: str, tree: Path) -> None:
    done = subprocess.run(setup, shell=True, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UsageError(f"--setup {setup!r} failed in {tree} with {done.returncode}: {''.join(last)}")


def _plan(both: "Trees", arguments: list[str], metrics: list[str], threads: int, seconds: float) -> None:
    """Say what would be compared, and run one block of its timing to say how long all of it takes."""
    from mbbench.comparing import comparison
    from mbbench.comparing.course import Course
    from mbbench.reporting import gate, readable
    from mbbench.reporting.compared import Comparison

    course = Course(Comparison("", ""), both, arguments, time.monotonic() + seconds, _say, threads)
    tests = comparison.wanted(course.collect(), arguments)
    for test in tests:
        typer.echo(test)
    said = f"{readable.plural(len(tests), 'benchmark')}, base {both.base_commit[:12]}, {', '.join(metrics)}"
    if tests and "time" in metrics:
        cost = comparison.block_s(course, tests) * len(tests)
        least, most = cost * gate.LOOKS[0], cost * (gate.LOOKS[-1] + comparison.CONFIRMING)
        said += f": about {min(least, seconds):.0f} s where all are the same, at most {min(most, seconds):.0f} s"
        said += f" of timing with --time {seconds:g}; a block of one took {cost / len(tests):.1f} s just now"
    typer.echo(said)
    for note in both.notes:
        typer.echo(note)


def _write(path: Path | None, text: str) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
