"""Where a report's numbers come from: commit, machine, versions, runs, what is timed; and the words it uses."""

from collections.abc import Sequence

from mbbench.record import Record
from mbbench.reporting import readable

WORDS = (
    ("sample", "샘플", "one row of the data"),
    ("batch", "배치", "the samples of one update; full batch (전체 배치): all of them"),
    ("mini-batch", "미니배치", "a batch smaller than the data; batch size (배치 크기): its number of samples"),
    ("step, iteration, update", "이터레이션", "one update of the parameters from one batch"),
    ("epoch", "에폭", "every sample seen once: n / batch size steps, rounded up"),
    ("learning rate", "학습률", "how far one update moves the parameters along the gradient"),
    ("loader", "데이터 로더", "how rows reach the model: sliced tensors, gathered rows, a DataLoader"),
    ("repeat", "반복 측정", "one fresh process that times a cell again"),
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
        ("uncommitted changes", "yes" if env.diff else "no"),
        ("mbbench", ", ".join(sorted({record.environment.version for record in records}))),
        ("fingerprint of the machine", env.fingerprint),
        ("runs", ", ".join(runs)),
        ("records", f"{len(records):,}"),
        ("processor clock", env.governor or "not known"),
        ("load when the run began", "not known" if env.load_1m is None else f"{env.load_1m:.2f}"),
    ]
    facts += [(name.replace("_", " "), str(value)) for name, value in env.identity.items() if value is not None]
    return [*facts, ("to repeat", f"mbbench run {command(records)}")]


def command(records: Sequence[Record]) -> str:
    """Return the arguments of `mbbench run` that ask for these cells again, as one grid."""
    cells = [record.case for record in records]
    sizes = sorted({cell.batch_size for cell in cells if cell.batch_size})
    batches = [str(size) for size in sizes] + (["full"] if any(cell.batch_size is None for cell in cells) else [])
    problems = sorted({cell.problem for cell in cells})
    parts = [*problems, "--batch-size", ",".join(batches)]
    parts += ["--n", ",".join(map(str, sorted({cell.n_samples for cell in cells})))]
    for name, default in (("loader", "slice"), ("device", "cpu"), ("optimizer", "sgd"), ("dtype", "float32")):
        values = sorted({getattr(cell, name) for cell in cells})
        if values != [default]:
            parts += [f"--{name}", ",".join(values)]
    parts += ["--threads", ",".join(map(str, sorted({cell.threads for cell in cells})))]
    return " ".join(parts)
