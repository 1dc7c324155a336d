"""Is the recommended batch size as fast to the target, really trained, as the best of all of them?

Not a test: `python bench/bench_recommendation.py` searches and times every power of two and full batch, takes the
recommendation as `mbbench run` would, its races of the nearest rivals included; then it really trains every size to the
target anew, interleaved, and prints the ratio.
Takes about 5 minutes a problem; run nothing beside it. Promised: at most 1.10.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from mbbench import api, racing, targets
from mbbench.measuring import session
from mbbench.readings import target_s
from mbbench.reporting.choosing import Choice, choices
from mbbench.search import typical_steps


def compare(problem: str, loaders: list[str], results: Path, rounds: int) -> None:
    """Print what is recommended for a problem, and what its races say."""
    plan = api.plan(
        problem, results=results, batch_size=api.AUTO, loader=loaders, threads=1, measure=["time", "target"], seconds=0.3
    )
    assert plan.aim is not None
    timed = session.execute(plan.session, plan.jobs)
    found = targets.run(plan.session, plan.searched, plan.aim, {}, lambda record, printed: None)
    confirming = session.execute(plan.session, racing.contenders([*timed, *found], plan.aim))
    chosen = choices([*timed, *found, *confirming])
    once = racing.races(plan.cells, found, plan.aim)
    races = session.execute(plan.session, once * rounds)
    for choice in chosen:
        seconds: dict[int, list[float]] = {}
        for race in races:
            reached = target_s(race) if race.case.loader == choice.loader else None
            if reached is not None:
                seconds.setdefault(race.case.samples_per_step, []).append(reached)
        _say(problem, choice, seconds)


def _say(problem: str, choice: Choice, seconds: dict[int, list[float]]) -> None:
    medians = {size: statistics.median(several) for size, several in seconds.items()}
    best = min(medians, key=lambda size: medians[size])
    print(f"{problem}, {choice.loader}, loss {choice.target:g}")
    for size, several in sorted(seconds.items()):
        reckoned = choice.find(size)
        steps = typical_steps(reckoned.steps) if reckoned and reckoned.step_s else None
        product = (
            "" if steps is None else f", steps times step {steps * statistics.geometric_mean(reckoned.step_s) * 1e3:.1f}"
        )
        spread = f"{min(several) * 1e3:.1f} to {max(several) * 1e3:.1f}"
        print(f"  batch {size:5d}: {medians[size] * 1e3:7.1f} ms ({spread}, n = {len(several)}){product}")
    found = choice.recommendation
    if found is None or found.batch_size is None:
        print("  nothing is recommended")
        return
    as_good = ", ".join(map(str, found.as_good))
    instead = "" if found.instead_of is None else f" and by races, instead of {found.instead_of}"
    print(f"  recommended {found.batch_size} by the {found.chosen_by}{instead}, as good: {as_good}")
    if found.batch_size in medians:
        ratio = medians[found.batch_size] / medians[best]
        print(f"  best raced: {best}; recommended over best: {ratio:.3f}")
    for warning in choice.warnings:
        print(f"  ! {warning.code}: {warning.sentence}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", default=["digits-softmax", "digits-mlp"])
    parser.add_argument("--loader", nargs="*", default=["slice", "dataloader"])
    parser.add_argument("--rounds", type=int, default=1, help="how often each batch size is trained with each of 5 seeds")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.problems:
            compare(name, asked.loader, Path(folder), asked.rounds)
