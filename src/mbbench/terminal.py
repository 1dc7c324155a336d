"""What a terminal sees of a run: its progress, what went wrong on the way, and the verdict at its end."""

from collections.abc import Callable
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mbbench import api, targets
from mbbench.measuring.inquiring import size_id
from mbbench.measuring.jobs import expected_s
from mbbench.record import FAULTS, Measurement, Record

screen = Console(stderr=True, highlight=False)


def watched(plan: api.Plan, work: Callable[[api.OnProgress], list[Record]] | None = None) -> list[Record]:
    """Do a plan, or other work on it, under a progress bar; on Ctrl-C end with exit code 130, what is measured is kept."""
    told, done, total = set[str](), 0, len(plan.jobs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("ETA"), TimeRemainingColumn(), console=screen) as progress:
        bar = progress.add_task("measuring", total=len(plan.jobs))

        def on_progress(record: Record, printed: str, number: int, of: int) -> None:
            nonlocal done, total
            done, total = number, of
            progress.update(bar, completed=done, total=total)
            measurement = record.measurement
            if measurement.status not in ("ok", "not_applicable", "budget_exhausted"):
                line = f"{size_id(record.case)} ({record.kind}): {measurement.status}: {measurement.message}"
                if line not in told:  # the same of another seed or repeat is no news
                    told.add(line)
                    screen.print(line, markup=False, soft_wrap=True)
            if printed:
                screen.print(printed, style="dim", markup=False, soft_wrap=True)

        try:
            return work(on_progress) if work else [*plan.kept, *api.execute(plan, on_progress)]
        except KeyboardInterrupt:
            progress.stop()
            said = f"{done} of {total} are measured and kept in {plan.session.path}" if done else "nothing measured yet"
            # A run within a time measures anew, and what is kept can be asked all the same.
            after = "mbbench advise says what they tell" if work else "the same command goes on from there"
            screen.print(f"mbbench: stopped by hand: {said}; {after}", soft_wrap=True)
            raise typer.Exit(130) from None


def planned(plan: api.Plan, within: float | None) -> list[str]:
    """Return what would be measured: each pass, about how long it takes at most, and what memory training it would take."""
    rows = [(job.kind, job.case, f"{expected_s(job):.1f} s") for job in plan.jobs]
    searched = [cell for chain in targets.chains(plan.searched) for cell in chain]
    rows += [("target", cell, f"{plan.aim.max_s:.0f} s") for cell in searched if plan.aim]
    # Of a search: what one of its runs takes, as it was predicted for the cell it searches for.
    known = {(cell.n_samples, cell.batch_size): plan.session.predicted.get(size_id(cell)) for cell in plan.cells}
    taken = [plan.session.predicted.get(size_id(cell), known.get((cell.n_samples, cell.batch_size))) for _, cell, _ in rows]
    if not rows:
        return ["everything is measured already (--again: anew)"]
    widest = max(len(str(cell)) for _, cell, _ in rows)
    lines = [f"{'pass':12s}{'cell':{widest}s} {'at most':>8s} {'memory':>9s}"]
    for (kind, cell, seconds), bytes_ in zip(rows, taken, strict=True):
        memory = "" if bytes_ is None else f"{bytes_ / 2**20:,.1f} MiB"
        lines.append(f"{kind:12s}{cell!s:{widest}s} {seconds:>8s} {memory:>9s}".rstrip())
    count = f"{len(plan.jobs)} passes and {len(searched)} searches" if searched else f"{len(plan.jobs)} passes"
    if within is None:
        return [*lines, f"{count} over {len(plan.cells)} cells, about {plan.expected_s:.0f} s at most"]
    return [*lines, f"{count}; within {within:g} s: each cell once, then what is promising, the rest is dropped and said so"]


def traced(plan: api.Plan) -> None:
    """Trace the one cell of a plan and print its costliest operations; end with exit code 1 where that failed."""
    from mbbench.reporting import trace_words

    path = trace_words.file(plan.cells[0])
    found, printed = api.trace(plan, path)
    if isinstance(found, Measurement):
        screen.print(f"mbbench: no trace of {plan.cells[0]}: {found.status}: {found.message}", markup=False, soft_wrap=True)
        if printed:
            screen.print(printed, style="dim", markup=False, soft_wrap=True)
        raise typer.Exit(1)
    typer.echo("\n".join(trace_words.lines(found, plan.cells[0], path, path.stat().st_size)))


def close(records: list[Record], results: Path) -> None:
    """Print table, verdict and where everything is; end with exit code 1 where a cell failed."""
    from mbbench.reporting import advice, analysis

    typer.echo(analysis.text_table(records) + "\n")
    for line in advice.lines(advice.verdict(records)):
        typer.echo(line)
    typer.echo(
        f"\n{len(records)} records of this grid in {results}; the page: mbbench report {results} -o reports/index.html"
    )
    failed = sum(record.measurement.status in FAULTS for record in records)
    if failed:
        screen.print(f"mbbench: {failed} of {len(records)} failed; each is in the results with its reason", soft_wrap=True)
        raise typer.Exit(1)
