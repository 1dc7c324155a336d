"""How large is a report, how long does it take to build and to draw, and how does that grow with what was recorded?

Not a test: `python bench/bench_report.py` makes records of 10 batch sizes with 2 loaders and 5 seeds, of 1e3 to 1e6 recorded
points in all, builds their page without figures beside it, and prints one line for each. Promised at 1e5 points: at most
1 MiB, 250 KiB compressed, 10 s to build and 1.5 s to draw, and no worse than linear growth.
"""

import gzip
import math
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from mbbench.case import Budget, Case
from mbbench.record import Curve, Environment, Measurement, Record
from mbbench.reporting import page

SIZES = (1, 4, 16, 32, 64, 128, 256, 1024, 4096, None)
LOADERS, SEEDS, REPEATS, ROUNDS = ("slice", "dataloader"), 5, 3, 20
POINTS = (1_000, 10_000, 100_000, 1_000_000)
ENVIRONMENT = Environment(
    identity={"processor": "planted", "cores": 2, "memory_gib": 16, "torch": "2.13.0"},
    commit="0" * 40,
    diff=None,
    version="0.1.0",
    time="2026-11-25T12:00:00.000Z",
    load_1m=0.1,
    governor="performance",
)


def records(points: int) -> list[Record]:
    """Return times and loss curves with about that many recorded points in all."""
    cells = [Case(problem="linear", n_samples=8192, batch_size=size, loader=loader) for loader in LOADERS for size in SIZES]
    each = max(2, (points - len(cells) * REPEATS * ROUNDS) // (len(cells) * SEEDS))
    found = []
    for cell in cells:
        found += [_record(cell, "time", number, _timing(cell, number)) for number in range(REPEATS)]
        found += [_record(cell.on(seed=seed), "convergence", 0, _training(cell, seed, each)) for seed in range(SEEDS)]
    return found


def _record(cell: Case, kind: str, repeat: int, measurement: Measurement) -> Record:
    common = {"run_id": "run", "source": "planted", "environment": ENVIRONMENT}
    return Record(kind=kind, repeat=repeat, case=cell, budget=Budget(max_seconds=1.0), measurement=measurement, **common)


def _step_s(cell: Case) -> float:
    return (60e-6 if cell.loader == "slice" else 90e-6) + cell.samples_per_step * (2e-7 if cell.loader == "slice" else 3e-6)


def _timing(cell: Case, repeat: int) -> Measurement:
    noise = np.random.default_rng(repeat).normal(0, 0.02, ROUNDS)
    rounds = tuple(float(cell.steps_per_epoch * _step_s(cell) * math.exp(part)) for part in noise)
    counts = {"steps_per_round": cell.steps_per_epoch, "samples_per_round": cell.n_samples, "epochs_per_round": 1}
    starts = {"epoch_start_s": (1e-6,) * 3, "warmup_s": 0.1, "warmup_steps": 10}
    return Measurement(status="ok", phase="train", lr=0.01, round_s=rounds, round_cpu_s=rounds, **counts, **starts)


def _training(cell: Case, seed: int, points: int) -> Measurement:
    noise = np.random.default_rng(seed)
    step = np.unique(np.concatenate([[0], np.geomspace(1, 20 * points, points - 1).round()])).astype(int)
    step = np.concatenate([step, step[-1] + 1 + np.arange(points - len(step))])  # rounding left fewer
    loss = (10 / (1 + 0.02 * step) + 0.01 + 1 / cell.samples_per_step) * np.exp(noise.normal(0, 0.02, len(step)))
    curve = Curve(
        step=tuple(map(int, step)),
        epoch=tuple(map(float, step / cell.steps_per_epoch)),
        samples=tuple(map(int, step * cell.samples_per_step)),
        train_s=tuple(map(float, step * _step_s(cell))),
        train_loss=tuple(map(float, loss)),
        heldout_loss=tuple(map(float, loss * 1.1)),
    )
    return Measurement(status="ok", phase="train", lr=0.01, curve=curve, evaluation_s=0.01)


def drawn_s(path: Path) -> float | None:
    """Return the seconds until Chromium has loaded and first painted the page; None where there is no such browser."""
    browser = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if browser is None:
        return None
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        shown = opened.new_page(viewport={"width": 1100, "height": 900})
        shown.goto(path.as_uri())
        milliseconds = shown.evaluate(
            """() => Math.max(performance.getEntriesByType("navigation")[0].loadEventEnd,
                              ...performance.getEntriesByType("paint").map(each => each.startTime))"""
        )
        opened.close()
    return float(milliseconds) / 1e3


def main() -> None:
    """Print size and time of a report for rising numbers of recorded points."""
    with tempfile.TemporaryDirectory() as folder:
        for points in (POINTS[0], *POINTS):  # the first is the warm-up
            made, output = records(points), Path(folder) / "index.html"
            count = sum(
                len(r.measurement.round_s) + (len(r.measurement.curve.step) if r.measurement.curve else 0) for r in made
            )
            began = time.perf_counter()
            page.build(made, output, figures=False)
            took, text = time.perf_counter() - began, output.read_bytes()
            seconds = drawn_s(output)
            print(
                f"{count:9,d} points: {len(text) / 1024:6.0f} KiB, {len(gzip.compress(text)) / 1024:5.0f} KiB compressed, "
                f"built in {took:5.2f} s, drawn in {'unknown' if seconds is None else f'{seconds:.2f} s'}"
            )


if __name__ == "__main__":
    main()
