"""Where a report's numbers come from: commit, machine, versions, runs, what is timed; and the words it uses."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from mbbench.case import FULL, Cell
from mbbench.placing import POLICIES, POLICY
from mbbench.record import Record
from mbbench.reporting import readable
from mbbench.reporting.pooling import Pool, pools

Grid = tuple[tuple[str, tuple[Any, ...]], ...]
"""The values of each axis: what one run asks for."""
SIZES = ("batch_size", "n_samples", "lr", "micro_batch")
DEFAULTS = (("loader", "slice"), ("device", "cpu"), ("optimizer", "sgd"), ("dtype", "float32"))
AXES = (*SIZES, *(name for name, _ in DEFAULTS), "threads")
"""Axes that take several values in one run."""

USUAL = ("time", "convergence", "memory")
"""Passes that a run makes where none are named."""
WORDS = (
    ("sample, row", "샘플", "one row of the data"),
    ("batch", "배치", "the samples of one update"),
    ("batch size", "배치 크기", "the number of samples of a batch"),
    ("full batch", "전체 배치", "a batch of all samples: one update an epoch"),
    ("mini-batch", "미니배치", "a batch smaller than the data"),
    ("micro-batch", "마이크로배치", "the samples of one forward pass, where an update is put together from several"),
    ("gradient accumulation", "그래디언트 누적", "adding up the gradients of micro-batches before one update"),
    ("step, iteration, update", "스텝, 이터레이션", "one update of the parameters from one batch"),
    ("epoch", "에폭", "every sample seen once: n / batch size steps, rounded up"),
    ("learning rate", "학습률", "how far one update moves the parameters along the gradient"),
    ("optimizer", "옵티마이저", "how an update is made from a gradient: plain SGD, momentum, Adam"),
    ("loss", "손실", "what training makes smaller; of all training rows unless it is said to be held-out"),
    ("held-out loss", "검증 손실", "the same of rows that training never sees"),
    ("target", "목표 손실", "a training loss to be reached; steps and seconds to it are what batch sizes are compared by"),
    ("time to target", "목표 도달 시간", "seconds of training until the target: steps to it times seconds a step"),
    ("as good", "대등", "within 10 % of the best, or not shown to be slower"),
    ("throughput", "처리량", "samples of an epoch over its seconds"),
    ("loader", "데이터 로더", "how rows reach the model: sliced tensors, gathered rows, a DataLoader"),
    ("round", "라운드", "updates between two readings of the clock, 10 ms of them or more"),
    ("repeat", "반복 측정", "one fresh process that times a cell again"),
    ("seed", "시드", "where chance begins: start of the model, order of the rows; a run with another one replicates"),
    ("warm-up", "워밍업", "updates before the first reading of the clock, not counted"),
    ("95 % interval", "95 % 신뢰구간", "made so that it holds the true value in 19 of 20 measurements"),
    ("race", "경주", "training to the target against the clock, to check the reckoned time"),
    (
        "critical batch size",
        "임계 배치 크기",
        "the batch with which the target takes twice the fewest steps that any batch takes",
    ),
    ("gradient noise scale", "그래디언트 노이즈 크기", "an estimate of the critical batch size from gradients alone"),
    ("base, head", "기준 커밋, 비교 커밋", "the commit that is compared with, and the one that is judged"),
    ("block", "블록", "fresh processes of base and head that take turns; what a change of time is replicated over"),
    ("control", "대조군", "the base measured against itself: what it shows is noise"),
    ("undecided", "판정 유보", "neither shown to have changed nor shown to be the same"),
    ("peak memory", "최대 메모리 사용량", "the most that is taken at one moment: rows, model, optimizer, activations"),
)
"""English, Korean, meaning."""


def about(records: Sequence[Record]) -> str:
    """Return commit, time and machine in one line."""
    env = records[-1].environment
    commit = f"commit {env.commit[:7]}" if env.commit else "no commit"
    if env.diff:
        commit += " with uncommitted changes"
    when = env.time[:16].replace("T", " ")
    return f"{commit} · {when} UTC · {readable.machine(env.identity)}"


def facts(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return name and value of everything needed to judge and to repeat the measurements."""
    env = records[-1].environment
    runs = sorted({record.run_id for record in records})
    commits = sorted({record.environment.commit or "none" for record in records})
    facts = [
        ("commit", ", ".join(commit[:12] for commit in commits)),
        ("uncommitted changes", "not known" if env.commit is None else "yes" if env.diff else "no"),
        ("mbbench", ", ".join(sorted({record.environment.version for record in records}))),
        ("fingerprint of the machine", env.fingerprint),
        ("runs", ", ".join(runs)),
        ("records", f"{len(records):,}"),
        ("processor clock", env.governor or "not known"),
        ("load when the run began", "not known" if env.load_1m is None else f"{env.load_1m:.2f}"),
    ]
    facts += [(name.replace("_", " "), str(value)) for name, value in env.identity.items() if value is not None]
    return facts


def commands(records: Sequence[Record]) -> list[str]:
    """Return the `mbbench run`s that ask for the same passes of the same cells again, and for no others.

    A run asks for a grid, so cells that are none are asked for by several; races follow from times and searches.
    """
    found: dict[tuple[str, Grid], list[Record]] = {}
    for problem in sorted({record.case.problem for record in records}):
        own = pools([record for record in records if record.case.problem == problem])
        for wanted in _wanted(own):
            of_cell = {pool.cell: [r for r in pool.records if _pass(r) == wanted] for pool in own}
            cells = [cell for cell, several in of_cell.items() if several]
            for grid in _grids(cells):
                inside = (record for cell in cells if _holds(grid, cell) for record in of_cell[cell])
                found.setdefault((problem, grid), []).extend(inside)
    return [
        " ".join([*_grid(problem, dict(grid)), *_passes(several), *_replications(several)])
        for (problem, grid), several in found.items()
    ]


def filling(records: Sequence[Record], kinds: str) -> str:
    """Return the command that measures something else of the same cells: `kinds` as `--measure` takes them.

    Args:
        records: of one problem.
        kinds: "memory", or "time,target".
    """
    some = [record for record in records if record.case.micro_batch is None] or records
    whole = [record.case for record in some]
    # Threads, loader and device of a search are nobody's wish, as long as there is anything else.
    asked = [record.case for record in some if record.kind != "target"] or whole
    values = {name: [getattr(cell, name) for cell in (whole if name in SIZES else asked)] for name in AXES}
    values |= {"shuffle": [all(cell.shuffle for cell in whole)], "options": [_options(cell) for cell in asked]}
    grid = {name: _ordered(name, found) for name, found in values.items()}
    return " ".join([*_grid(whole[0].problem, grid), "--measure", kinds])


def _wanted(own: Sequence[Pool]) -> list[tuple[str, str]]:
    """Return the passes that there are, searches once for each policy."""
    there = {_pass(record) for pool in own for record in pool.records}
    kinds = (*USUAL, "profile")
    return [
        each for each in (*((kind, "") for kind in kinds), *(("target", policy) for policy in POLICIES)) if each in there
    ]


def _pass(record: Record) -> tuple[str, str]:
    return record.kind, str(record.case.option(POLICY)) if record.kind == "target" else ""


def _grids(cells: Sequence[Cell]) -> list[Grid]:
    """Return grids that hold these cells, each once, and nothing else: few, if not always the fewest."""
    rows = [
        {name: (getattr(cell, name),) for name in AXES} | {"shuffle": (cell.shuffle,), "options": (_options(cell),)}
        for cell in cells
    ]
    for axis in AXES:
        alike: dict[object, list[dict[str, tuple[Any, ...]]]] = {}
        for row in rows:
            rest = tuple(values for name, values in row.items() if name != axis)
            # No option says "none of them": what has no rate or micro-batch of its own is asked for apart.
            alike.setdefault((rest, axis != "batch_size" and row[axis] == (None,)), []).append(row)
        rows = [
            several[0] | {axis: _ordered(axis, [value for row in several for value in row[axis]])}
            for several in alike.values()
        ]
    return [tuple(row.items()) for row in rows]


def _holds(grid: Grid, cell: Cell) -> bool:
    values = dict(grid)
    return all(getattr(cell, name) in values[name] for name in (*AXES, "shuffle")) and _options(cell) in values["options"]


def _ordered(axis: str, values: Iterable[Any]) -> tuple[Any, ...]:
    """Return values once each: the usual one first, then rising, none last."""
    usual = dict(DEFAULTS).get(axis)
    return tuple(sorted(set(values), key=lambda value: (value is None, value != usual, 0 if value is None else value)))


def _options(cell: Cell) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in cell.options if name != POLICY)


def _grid(problem: str, values: dict[str, tuple[Any, ...]]) -> list[str]:
    """Return the options that ask for every cell of a grid, given the values of each axis."""
    sizes = [FULL if size is None else size for size in values["batch_size"]]
    parts = ["mbbench", "run", shlex.quote(problem), "--batch-size", _joined(sizes), "--n", _joined(values["n_samples"])]
    for name, default in DEFAULTS:
        parts += [f"--{name}", _joined(values[name])] if values[name] != (default,) else []
    for name in ("lr", "micro_batch"):
        known = [value for value in values[name] if value is not None]
        parts += [f"--{name.replace('_', '-')}", _joined(known)] if known else []
    parts += ["--threads", _joined(values["threads"])]
    parts += [] if all(values["shuffle"]) else ["--no-shuffle"]
    for name, value in sorted({option for options in values["options"] for option in options}):
        parts += [f"--{name}", value]
    return parts


def _passes(records: Sequence[Record]) -> list[str]:
    """Return what asks for the passes that there are, where not for the usual ones, for a search's aim, and for memory."""
    kinds = [kind for kind in (*USUAL, "profile", "target") if any(record.kind == kind for record in records)]
    parts = ["--measure", _joined(kinds)] if kinds != list(USUAL) else []
    searches = [record for record in records if record.kind == "target"]
    policies = [policy for policy in POLICIES if any(record.case.option(POLICY) == policy for record in searches)]
    parts += ["--lr-policy", _joined(policies)] if policies not in ([], list(POLICIES[:1])) else []
    aims = {record.budget.target_loss for record in searches}
    parts += ["--target", f"{aim:g}"] if len(aims) == 1 and (aim := aims.pop()) is not None else []
    budget = max((record.budget.max_bytes or 0 for record in records), default=0)
    return parts + (["--memory-budget", str(budget)] if budget else [])


def _replications(records: Sequence[Record]) -> list[str]:
    """Return what asks for as much time, as many repeats and as many seeds."""
    parts = []
    for kinds, flag in ((("time", "profile"), "--seconds"), (("convergence",), "--max-seconds")):
        longest = max((r.budget.max_seconds or 0.0 for r in records if r.kind in kinds), default=0.0)
        parts += [flag, f"{longest:g}"] if longest else []
    parts += ["--repeats", str(1 + max((r.repeat for r in records if r.kind == "time"), default=0))]
    trained = len({r.case.seed for r in records if r.kind == "convergence"})
    searched = max((len(seen.seeds) for r in records if (seen := r.measurement.search)), default=0)
    return [*parts, "--seeds", str(trained or searched or 1)]


def _joined(values: Iterable[object]) -> str:
    return shlex.quote(",".join(map(str, values)))
