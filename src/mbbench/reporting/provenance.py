"""Where a report's numbers come from: commit, machine, versions, runs, what is timed; and the words it uses."""

import shlex
from collections.abc import Iterable, Sequence

from mbbench.placing import POLICIES, POLICY
from mbbench.record import Record
from mbbench.reporting import readable

USUAL = ("time", "convergence", "memory")
"""Passes that a run makes where none are named."""
WORDS = (
    ("sample", "샘플", "one row of the data"),
    ("batch", "배치", "the samples of one update; full batch (전체 배치): all of them"),
    ("mini-batch", "미니배치", "a batch smaller than the data; batch size (배치 크기): its number of samples"),
    ("step, iteration, update", "이터레이션", "one update of the parameters from one batch"),
    ("epoch", "에폭", "every sample seen once: n / batch size steps, rounded up"),
    ("learning rate", "학습률", "how far one update moves the parameters along the gradient"),
    ("loader", "데이터 로더", "how rows reach the model: sliced tensors, gathered rows, a DataLoader"),
    ("repeat", "반복 측정", "one fresh process that times a cell again"),
    ("micro-batch", "마이크로배치", "the samples of one forward pass, where an update is put together from several"),
    ("gradient accumulation", "그래디언트 누적", "adding up the gradients of micro-batches before one update"),
    ("target", "목표 손실", "a training loss to be reached; steps and seconds to it are what batch sizes are compared by"),
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
    """Return one `mbbench run` for each problem that asks for its cells again, as one grid (gaps in it are filled).

    Batches in micro-batches are asked for by a command of their own: in one grid every batch would be split.
    """
    grids: dict[tuple[str, bool], list[Record]] = {}
    for record in records:
        grids.setdefault((record.case.problem, record.case.micro_batch is not None), []).append(record)
    return [_command(problem, grids[problem, split]) for problem, split in sorted(grids)]


def filling(records: Sequence[Record], kinds: str) -> str:
    """Return the command that measures something else of the same cells: `kinds` as `--measure` takes them.

    Args:
        records: of one problem.
        kinds: "memory", or "time,target".
    """
    whole = [record for record in records if record.case.micro_batch is None] or list(records)
    return " ".join([*_grid(whole[0].case.problem, whole), "--measure", kinds])


def _command(problem: str, records: Sequence[Record]) -> str:
    return " ".join([*_grid(problem, records), *_passes(records), *_replications(records)])


def _grid(problem: str, records: Sequence[Record]) -> list[str]:
    cells = [record.case for record in records]
    # Threads, loader and device of a search are nobody's wish, as long as there is anything else.
    asked = [record.case for record in records if record.kind != "target"] or cells
    sizes: list[int | str] = sorted({cell.batch_size for cell in cells if cell.batch_size is not None})
    sizes += ["full"] if any(cell.batch_size is None for cell in cells) else []
    parts = ["mbbench", "run", shlex.quote(problem), "--batch-size", _joined(sizes)]
    parts += ["--n", _joined(sorted({cell.n_samples for cell in cells}))]
    for name, default in (("loader", "slice"), ("device", "cpu"), ("optimizer", "sgd"), ("dtype", "float32")):
        values = list(dict.fromkeys(getattr(cell, name) for cell in asked))
        parts += [f"--{name}", _joined(values)] if values != [default] else []
    for name in ("lr", "micro_batch"):
        values = sorted({value for cell in cells if (value := getattr(cell, name)) is not None})
        parts += [f"--{name.replace('_', '-')}", _joined(values)] if values else []
    parts += ["--threads", _joined(sorted({cell.threads for cell in asked}))]
    parts += ["--no-shuffle"] if not all(cell.shuffle for cell in cells) else []
    for name, value in sorted({option for cell in asked for option in cell.options if option[0] != POLICY}):
        parts += [f"--{name}", value]
    return parts


def _passes(records: Sequence[Record]) -> list[str]:
    """Return what asks for the passes that there are, where not for the usual ones, for a search's aim, and for memory."""
    kinds = [kind for kind in (*USUAL, "target") if any(record.kind == kind for record in records)]
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
    for kind, flag in (("time", "--seconds"), ("convergence", "--max-seconds")):
        longest = max((r.budget.max_seconds or 0.0 for r in records if r.kind == kind), default=0.0)
        parts += [flag, f"{longest:g}"] if longest else []
    parts += ["--repeats", str(1 + max((r.repeat for r in records if r.kind == "time"), default=0))]
    trained = len({r.case.seed for r in records if r.kind == "convergence"})
    searched = max((len(seen.seeds) for r in records if (seen := r.measurement.search)), default=0)
    return [*parts, "--seeds", str(trained or searched or 1)]


def _joined(values: Iterable[object]) -> str:
    return shlex.quote(",".join(map(str, values)))
