"""The command line: what a person types, and what mbbench answers. Reads as the table of contents.

Bad input gets one line on standard error and exit code 2; a cell that failed makes it 1; Ctrl-C keeps what is measured
and makes it 130.
"""

import functools
import shlex
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer

from mbbench import __version__, api, case, compare, notebook, planner
from mbbench.axes import micro_batches, numbers, read_seconds, split
from mbbench.configured import Configured
from mbbench.record import FAULTS, Record
from mbbench.terminal import close, planned, screen, traced, watched

NAMELESS = "no problem is named: as `mbbench run digits-mlp`, or as problem in [tool.mbbench] of pyproject.toml"
app = typer.Typer(
    name="mbbench",
    help="Full batch or mini-batch, which batch size, on this machine? Measured, with evidence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command(
    cls=Configured,
    epilog="Example: mbbench run digits-mlp --batch-size 16,64,256,full --loader slice,dataloader --quick",
)
def run(
    problem: Annotated[
        str | None, typer.Argument(help="A built-in name (mbbench list), my_model.py:problem or pkg.mod:problem.")
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            help="Samples per update, comma-separated; full is all. Default: 32,256,full; for a target powers of two."
        ),
    ] = None,
    time_: Annotated[
        str | None, typer.Option("--time", help="Recommend a batch size within this time: 60s, 5min. Plans by itself.")
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Training loss to reach. Default: the problem's own, or found by a reference run.")
    ] = None,
    lr_policy: Annotated[str, typer.Option(help="Of a target pass: tuned, fixed, linear, sqrt; comma-separated.")] = "tuned",
    n: Annotated[str | None, typer.Option(help="Training rows, comma-separated. Default: the problem's own.")] = None,
    loader: Annotated[str, typer.Option(help=f"Of {', '.join(case.LOADERS)}, or your own: my_model.py:name.")] = "slice",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, xpu; comma-separated.")] = "cpu",
    micro_batch: Annotated[
        str | None, typer.Option(help="Samples per forward pass, comma-separated: gradient accumulation; none is without.")
    ] = None,
    optimizer: Annotated[
        str, typer.Option(help=f"Of {', '.join(case.OPTIMIZERS)}, or your own: my_model.py:name, torch.optim:AdamW.")
    ] = "sgd",
    lr: Annotated[str | None, typer.Option(help="Learning rates. Default: the problem's own.")] = None,
    dtype: Annotated[str, typer.Option(help=f"Of {', '.join(case.DTYPES)}.")] = "float32",
    threads: Annotated[str | None, typer.Option(help="Threads of one operation. Default: physical cores.")] = None,
    shuffle: Annotated[bool, typer.Option(help="A new order of the rows in every epoch.")] = True,
    rows: Annotated[str, typer.Option(help="Where the rows lie: device, or host (moved batch by batch).")] = "device",
    autocast: Annotated[str, typer.Option(help="Model and loss under torch.autocast: none, bf16, fp16.")] = "none",
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Images and model in channels-last format.")
    ] = False,
    clip: Annotated[str, typer.Option(help="Largest norm of a gradient; larger ones are scaled down.")] = "none",
    schedule: Annotated[
        str, typer.Option(help="Your own learning-rate schedule: my_model.py:name, a function of the optimizer.")
    ] = "none",
    metric: Annotated[
        str, typer.Option(help="Your own held-out metric: my_model.py:name, a function of prediction and target.")
    ] = "none",
    meter: Annotated[
        str, typer.Option(help="Your own meter, read around each round: my_model.py:name, a function; joules, say.")
    ] = "none",
    malloc: Annotated[str, typer.Option(help="default, or mmap64k: a diagnostic of the memory pass.")] = "default",
    measure: Annotated[
        str | None, typer.Option(help="Passes: time, convergence, memory, profile, target. Default: the first three.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Loss curves per case (3); runs of each learning rate (5).")] = None,
    repeats: Annotated[int, typer.Option(help="Time passes per case, each in a fresh process.")] = 3,
    seconds: Annotated[float, typer.Option(help="Of timed rounds per time or profile pass.")] = 1.0,
    max_steps: Annotated[int | None, typer.Option(help="Of a loss curve. Default: 2000, or 20 epochs if more.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Of training per loss curve. Default: 5.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which a cell is killed.")] = 300.0,
    memory_budget: Annotated[
        str | None, typer.Option(help="What a cell may take: 2GiB. Default: 80 % of what is free.")
    ] = None,
    predict: Annotated[bool, typer.Option(help="Do not run a cell that is predicted not to fit.")] = True,
    results: Annotated[Path, typer.Option(help="Folder for the records.")] = Path("results"),
    quick: Annotated[bool, typer.Option("--quick", help="A first look: share 30 s between all cells.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Measure also what is measured already.")] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Trace steps of one cell with torch.profiler instead; nothing is timed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be measured, and about how long it takes.")
    ] = False,
) -> None:
    """Measure a problem over batch sizes, data set sizes, loaders and devices; end with a verdict.

    What is not typed is taken from [tool.mbbench] of the nearest pyproject.toml: keys are the long names of these options.
    """
    began, within = time.monotonic(), None if time_ is None or profile else read_seconds(time_)
    if problem is None:
        raise case.UsageError(NAMELESS)
    if profile and dry_run:
        raise case.UsageError("--profile times nothing, so there is nothing to show: leave out --dry-run")
    passes = split("time" if profile else measure or ("time,convergence,memory" if within is None else "time,target"))
    plan = api.plan(
        problem,
        results=results,
        batch_size=split(batch_size) if batch_size else api.AUTO if "target" in passes else api.DEFAULT_BATCH_SIZES,
        n=None if n is None else numbers("n", n, int),
        loader=split(loader),
        device=split(device),
        micro_batch=None if micro_batch is None else micro_batches(micro_batch),
        optimizer=split(optimizer),
        lr=None if lr is None else numbers("lr", lr, float),
        dtype=split(dtype),
        threads=None if threads is None else numbers("threads", threads, int),
        shuffle=shuffle,
        options={
            "rows": rows,
            "autocast": autocast,
            "channels_last": "yes" if channels_last else "no",
            "clip": clip,
            "schedule": schedule,
            "metric": metric,
            "meter": meter,
            "malloc": malloc,
        },
        measure=passes,
        seeds=seeds,
        repeats=repeats,
        seconds=seconds,
        max_steps=max_steps,
        max_seconds=max_seconds,
        target=target,
        lr_policy=split(lr_policy),
        timeout_s=timeout if within is None else planner.timeout_s(within),
        memory_budget=memory_budget,
        predict=predict and not profile,
        quick=quick,
        again=again or profile,
        write=not (dry_run or profile),
    )
    if profile:
        traced(plan)
        return
    if plan.kept and within is None:
        screen.print(f"{len(plan.kept)} of {len(plan.kept) + len(plan.jobs)} are measured already and kept (--again: anew)")
    if dry_run:
        typer.echo("\n".join(planned(plan, within)))
        return
    if within is None:
        close(watched(plan), results)
        return
    say = functools.partial(screen.print, markup=False, soft_wrap=True)
    close(watched(plan, functools.partial(api.run_within, plan, within, began, say)), results)


@app.command(epilog="Example: mbbench maxbatch mlp --n 1000000 --memory-budget 2GiB")
def maxbatch(
    problem: Annotated[str, typer.Argument(help="A built-in name (mbbench list), my_model.py:problem or pkg.mod:problem.")],
    n: Annotated[int | None, typer.Option(help="Training rows. Default: the problem's own.")] = None,
    memory_budget: Annotated[str | None, typer.Option(help="What it may take: 2GiB. Default: 80 % of what is free.")] = None,
    minimum: Annotated[int, typer.Option("--min", help="Smallest batch size of interest.")] = 1,
    maximum: Annotated[int | None, typer.Option("--max", help="Largest batch size of interest. Default: all rows.")] = None,
    loader: Annotated[str, typer.Option(help=f"Of {', '.join(case.LOADERS)}.")] = "slice",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or xpu.")] = "cpu",
    optimizer: Annotated[str, typer.Option(help=f"Of {', '.join(case.OPTIMIZERS)}.")] = "sgd",
    dtype: Annotated[str, typer.Option(help=f"Of {', '.join(case.DTYPES)}.")] = "float32",
    threads: Annotated[int | None, typer.Option(help="Threads of one operation. Default: physical cores.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which a try is killed.")] = 300.0,
    results: Annotated[Path, typer.Option(help="Folder for the records.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="The answer as JSON.")] = False,
) -> None:
    """Find the largest batch size that fits a memory budget, really trained; and how full batch fits by accumulation."""
    from mbbench.reporting import fitting as words

    def on_try(record: Record, printed: str) -> None:
        screen.print("\n".join(filter(None, (words.tried(record), printed))), markup=False, soft_wrap=True)

    found = api.max_batch(
        problem,
        results=results,
        n=n,
        memory_budget=memory_budget,
        minimum=minimum,
        maximum=maximum,
        timeout_s=timeout,
        on_try=on_try,
        loader=loader,
        device=device,
        optimizer=optimizer,
        dtype=dtype,
        threads=threads,
    )
    typer.echo(words.to_json(found) if as_json else "\n".join(words.lines(found)))
    if any(tried.status in FAULTS for tried in found.tried):
        raise typer.Exit(1)


@app.command(epilog="Example: mbbench report results/ -o reports/index.html")
def report(
    results: Annotated[list[Path] | None, typer.Argument(help="Results folder or .jsonl files. Default: results/.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("reports/index.html"),
    figures: Annotated[Path | None, typer.Option(help="Folder for figures, PDF too. Default: figures/ by the page.")] = None,
    compare_: Annotated[
        Path | None, typer.Option("--compare", help="Two commits in it too: what `mbbench compare BASE --json` wrote.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Turn records into one HTML page, and its figures beside it; two folders are also put side by side."""
    from mbbench.reporting import reported

    made = reported.report(results, output, figures=figures, compare=compare_)
    typer.echo(f"{made}\n\nreport: {output}")
    if open_:
        made.show()


@app.command(epilog="Example: mbbench advise results/ --json")
def advise(
    results: Annotated[list[Path] | None, typer.Argument(help="Results folder or .jsonl files. Default: results/.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The answer as JSON, a list.")] = False,
) -> None:
    """Say which batch size reaches the target loss first, how sure that is, and what to be careful about."""
    from mbbench import store
    from mbbench.reporting import advising, choosing

    records = store.load_records(results or [Path("results")])
    chosen = choosing.choices(records)
    if not chosen:
        problem = shlex.quote(records[-1].case.problem)
        raise case.UsageError(f"no steps to a target were searched for: mbbench run {problem} --time 60s")
    typer.echo(advising.to_json(chosen) if as_json else "\n".join(advising.lines(chosen)))


app.command("compare", epilog="Example: mbbench compare main --time 5m")(compare.command)


@app.command("list", epilog="Example: mbbench list --results results/")
def list_(results: Annotated[Path, typer.Option(help="Folder with records.")] = Path("results")) -> None:
    """List the built-in problems, loaders and optimizers, and what is recorded."""
    from mbbench import listing

    for line in listing.lines(results):
        typer.echo(line)


app.command("notebook", epilog="Example: mbbench notebook --json")(notebook.command)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; what cannot be done becomes one line and exit code 2."""
    warnings.showwarning = _warn
    try:
        app()
    except case.UsageError as error:
        if error.details:
            screen.print(error.details, soft_wrap=True, markup=False)
        screen.print(f"mbbench: {error}", soft_wrap=True, markup=False)
        sys.exit(2)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    screen.print(f"mbbench: warning: {message}", soft_wrap=True, markup=False)
