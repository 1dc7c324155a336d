"""`mbbench compare BASE [HEAD]`: did a commit make a benchmark slower? The command, its files and its exit code.

Easy to get wrong: what is imported here is imported by every command, so the wings are imported when they are needed.
"""

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbbench.axes import read_seconds
from mbbench.case import UsageError

if TYPE_CHECKING:
    from mbbench.reporting.compared import Comparison

BLOCK_S = 1.4
"""Seconds of a benchmark and block on two cores."""


def command(
    base: Annotated[str, typer.Argument(help="Revision to compare with; its merge base with the head is taken.")],
    head: Annotated[str | None, typer.Argument(help="Revision. Default: the working tree as it is.")] = None,
    bench: Annotated[str, typer.Option(help="Folder of the benchmarks; head's is used on both sides.")] = "bench",
    keyword: Annotated[str | None, typer.Option("-k", help="Only benchmarks that match, as pytest's -k.")] = None,
    within: Annotated[str, typer.Option("--time", help="Time for everything: 90, 10m.")] = "10m",
    tolerance: Annotated[float, typer.Option(help="The least change that matters, in percent.", min=0.1, max=100)] = 3.0,
    threads: Annotated[int, typer.Option(help="Of torch in each process.", min=1)] = 1,
    setup: Annotated[str | None, typer.Option(help="Command that is run in both trees first, to build them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON, on the output.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write it as Markdown: a step summary.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write it as JUnit's XML.")] = None,
    annotate: Annotated[bool, typer.Option(help="Print GitHub annotations of regressions.")] = False,
    strict: Annotated[bool, typer.Option(help="Exit code 3 for undecided, 4 for an unreliable run.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Say what would be compared and how long it takes.")] = False,
) -> None:
    """Compare two commits side by side, in the same minutes, and say which benchmarks are slower or faster."""
    from mbbench.comparing import trees
    from mbbench.comparing.blocks import NotComparableError

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a cancelled CI job leaves no worktree and no process either
    arguments, seconds = [bench, *(["-k", keyword] if keyword else [])], read_seconds(within)
    try:
        with trees.trees(base, head, bench, Path.cwd()) as made:
            for tree in dict.fromkeys((made.base, made.head)) if setup else ():
                _prepare(setup or "", tree)
            if dry_run:
                _plan(made, arguments, threads, seconds)
                return
            found = _compare(made, arguments, seconds, tolerance / 100, threads)
    except NotComparableError as error:
        typer.echo(f"mbbench: no comparison: {error}", err=True)
        raise typer.Exit(4) from None
    _tell(found, as_json, markdown, junit, annotate, strict)
    raise typer.Exit(found.exit_code(strict))


def _compare(made: object, arguments: list[str], seconds: float, tolerance: float, threads: int) -> "Comparison":
    from mbbench.comparing import comparison, trees

    assert isinstance(made, trees.Trees)

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    return comparison.compare(made, arguments, within_s=seconds, tolerance=tolerance, threads=threads, say=say)


def _prepare(setup: str, tree: Path) -> None:
    done = subprocess.run(setup, shell=True, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UsageError(f"--setup {setup!r} failed in {tree} with {done.returncode}: {''.join(last)}")


def _plan(made: object, arguments: list[str], threads: int, seconds: float) -> None:
    from mbbench.comparing import comparison, trees
    from mbbench.reporting import gate, readable

    assert isinstance(made, trees.Trees)
    tests = comparison.collected(made, arguments, threads)
    cost = len(tests) * BLOCK_S
    least, most = cost * gate.LOOKS[0], cost * (gate.LOOKS[-1] + comparison.CONFIRMING)
    for test in tests:
        typer.echo(test)
    typer.echo(
        f"{readable.plural(len(tests), 'benchmark')}, base {made.base_commit[:12]}: about {least:.0f} s where all are the "
        f"same, at most {min(most, seconds):.0f} s with --time {seconds:g}"
    )
    for note in made.notes:
        typer.echo(note)


def _tell(
    found: "Comparison", as_json: bool, markdown: Path | None, junit: Path | None, annotate: bool, strict: bool
) -> None:
    from mbbench.reporting import compared

    typer.echo(compared.to_json(found, strict) if as_json else "\n".join(compared.lines(found)))
    for path, text in ((markdown, compared.markdown(found)), (junit, compared.junit(found))):
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    for line in compared.annotations(found) if annotate else ():
        typer.echo(line)
