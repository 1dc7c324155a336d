"""Which rule for the learning rate works from every batch size it is tuned at? K14 in all readings of its words.

Not a test: `python bench/bench_scaling_laws.py` trains digits-softmax to a loss of 0.15 with 10 seeds at every rate of a
sqrt(2) grid and at every rate that a rule asks for, and prints the dearest size of each rule and anchor, as a multiple of
the best steps there: mean and median, of 4 to 10 seeds, at 5 and at 12 batch sizes. Takes 10 minutes on two cores.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Collection

import torch

from mbbench.case import Case
from mbbench.measuring import courses, tuning
from mbbench.measuring.jobs import SearchPlan
from mbbench.measuring.problems import resolve
from mbbench.measuring.training import prepare
from mbbench.reporting.fits import fit_steps
from mbbench.scaling import rule
from mbbench.search import steps_to

N, SEEDS = 1797, 10
ANCHORS = (1, 8, 32, 256, N)
TYPICAL = {1: 1450, 2: 780, 4: 380, 8: 205, 16: 118, 32: 75, 64: 51, 128: 50, 256: 55, 512: 36, 1024: 32, N: 35}
"""Steps to the target by batch size, K12: three times as many are made at most."""
GRID = [0.125 * math.sqrt(2) ** step for step in range(15)]
Steps = dict[float, list[float | None]]
LAWS: dict[str, Callable[[int, int, float, float], float]] = {
    "rule": lambda size, anchor, lr, critical: rule(size, (anchor, lr), critical),
    "constant": lambda size, anchor, lr, critical: lr,
    "linear": lambda size, anchor, lr, critical: lr * size / anchor,
    "sqrt": lambda size, anchor, lr, critical: lr * math.sqrt(size / anchor),
}


def steps_at(size: int, rates: Collection[float]) -> Steps:
    """Return each seed's steps to the target at some rates, None where it does not get there."""
    problem = resolve("digits-softmax")[0]
    case = Case(problem="digits-softmax", n_samples=N, batch_size=None if size == N else size)
    made = {seed: prepare(case.on(seed=seed), problem) for seed in range(SEEDS)}
    plan = SearchPlan(
        seeds=tuple(range(SEEDS)),
        rates=tuple(sorted(rates)),
        targets=(0.3, 0.15, 0.149),
        fixed=True,
        most_steps=3 * TYPICAL[size],
        most_s=600.0,
    )
    search, _ = tuning.search(made, plan)
    return {lr: steps_to(search, lr, 0.15) for lr in rates}


def typical(steps: list[float | None], mean: bool) -> float:
    """Return the mean or the median over seeds; infinite where fewer than 4 of 5 get there."""
    if sum(step is not None for step in steps) < math.ceil(0.8 * len(steps)):
        return math.inf
    each = [math.inf if step is None else step for step in steps]
    return statistics.fmean(each) if mean else statistics.median(each)


def main() -> None:
    """Print a line for each reading."""
    courses.HOPELESS = 1e9  # rates are compared, and none is stopped for another
    on_grid = {size: steps_at(size, GRID) for size in TYPICAL}
    readings = []
    for sizes, seeds, mean in itertools.product((ANCHORS, tuple(TYPICAL)), (4, 5, 6, 8, 10), (False, True)):
        reached = {size: {lr: typical(on_grid[size][lr][:seeds], mean) for lr in GRID} for size in sizes}
        tuned = {size: min(GRID, key=lambda lr, at=reached[size]: at[lr]) for size in sizes}
        best = {size: reached[size][tuned[size]] for size in sizes}
        critical = fit_steps(list(best), list(best.values())).critical_batch_size
        asked = {
            (name, anchor, size): law(size, anchor, tuned[anchor], critical)
            for (name, law), anchor, size in itertools.product(LAWS.items(), ANCHORS, sizes)
        }
        readings.append((seeds, mean, best, asked))
    found = {
        size: steps_at(size, {lr for *_, asked in readings for (_, _, at), lr in asked.items() if at == size})
        for size in TYPICAL
    }
    for seeds, mean, best, asked in readings:
        print(f"{len(best)} sizes, {'mean' if mean else 'median'} of {seeds} seeds")
        for name, anchor in itertools.product(LAWS, ANCHORS):
            costs = {size: typical(found[size][asked[name, anchor, size]][:seeds], mean) / best[size] for size in best}
            worst = max(costs, key=lambda size: costs[size])
            print(f"  {name:8} from {anchor:4}: {costs[worst]:5.2f} at {worst}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
