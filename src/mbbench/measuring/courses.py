"""Follow several runs of one case to their targets: when each is looked at, when one is given up, and what it leaves.

Easy to get wrong: where to stop a run must not favour a rate. A run ends early only once another rate, with its own seed,
has reached a target in less than 1 / HOPELESS of the steps that it has made without. And it is looked at densely where it
may cross a target, at most 2 % of its steps apart; far above all targets 10 % is enough.
"""

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from mbbench.measuring.convergence import divergence
from mbbench.measuring.ensemble import Losses, Runs
from mbbench.measuring.training import Training
from mbbench.search import Ending, Run, Search, crossing

HOPELESS = 1.5
"""Times the steps of the best rate so far, with the same seed and to any of the targets, at which a run is stopped."""
DENSE = 1.02
"""From one evaluation to the next, in steps."""
SPARSE, NEAR = 5, 2.0
"""Only each SPARSE-th evaluation is made (10 % apart) of a run whose last SPARSE losses were above NEAR times the next
target it has to reach. Losses swing by more than that at the best rates: by the last loss alone first passages were missed,
and S read 32 % too many (digits-softmax, batch 16); by five, S is that of all evaluations at each of 11 sizes tried."""
FEWER = 0.5
"""Of the runs trained together that go on, from which on the others are dropped: a smaller model is traced anew (70 ms)."""


@dataclass
class Bench:
    """What a search has at hand, and what it has found so far.

    Attributes:
        trainings: a seed's training at its start.
        most_steps: of a run.
        until: monotonic time at which it ends.
        targets: losses to reach, falling.
        vectorised: whether runs are trained together.
        runs: found so far.
    """

    trainings: dict[int, Training]
    most_steps: int
    until: float
    targets: tuple[float, ...]
    vectorised: bool
    runs: list[Run] = field(default_factory=list)

    def search(self) -> Search:
        """Return what was found so far."""
        return Search(
            targets=self.targets,
            runs=tuple(sorted(self.runs, key=lambda run: (run.lr, run.seed))),
            vectorised=self.vectorised,
        )


@dataclass
class Course:
    """The losses of a run as it goes."""

    lr: float
    seed: int
    step: list[int] = field(default_factory=list)
    losses: list[Losses] = field(default_factory=list)
    crossed: dict[float, float] = field(default_factory=dict)
    due: int = 0  # number of the evaluation, see `evaluation`
    ended: Ending | None = None

    def look(self, step: int, losses: Losses, targets: Sequence[float]) -> None:
        """Add an evaluation and the targets that it crossed, and choose when to look again."""
        self.step.append(step)
        self.losses.append(losses)
        for target in targets:
            if target not in self.crossed and losses[0] <= target:
                self.crossed[target] = crossing(self.step[-2:], [loss[0] for loss in self.losses[-2:]], target) or 0.0
        awaited = next((target for target in targets if target not in self.crossed), None)
        # Without a target that can be told from afar, all of the curve is needed.
        recent = min(loss[0] for loss in self.losses[-SPARSE:])
        far = awaited is not None and awaited > 0 and recent > NEAR * awaited
        self.due += SPARSE - self.due % SPARSE if far else 1

    def run(self) -> Run:
        """Return the run as it is recorded."""
        held = [_rounded(loss[1]) for loss in self.losses]
        return Run(
            lr=self.lr,
            seed=self.seed,
            ended=self.ended or "budget",
            step=tuple(self.step),
            train_loss=tuple(_rounded(loss[0]) for loss in self.losses),
            heldout_loss=() if all(loss is None for loss in held) else tuple(held),
        )


def train_all(bench: Bench, runs: Runs, members: Sequence[tuple[float, int]], beyond: float) -> list[Run]:
    """Train runs until each has ended, see `Ending`."""
    courses = [Course(lr, seed) for lr, seed in members]
    inside = list(courses)  # what is trained, a few that have ended included
    number, step, best = 0, 0, fastest(bench)
    while True:
        last = step >= bench.most_steps
        due = [place for place, course in enumerate(inside) if course.ended is None and (last or course.due <= number)]
        for place, losses in zip(due, runs.losses(due), strict=True):
            inside[place].look(step, losses, bench.targets)
        for course in inside:
            for target, steps in course.crossed.items():
                best[course.seed, target] = min(best.get((course.seed, target), math.inf), steps)
        for place in due:
            inside[place].ended = _ending(inside[place], step, bench.targets, best, beyond)
        alive = [place for place, course in enumerate(inside) if course.ended is None]
        if not alive or last or time.monotonic() > bench.until:
            return [course.run() for course in courses]
        if len(alive) <= FEWER * len(inside) or not bench.vectorised:
            runs.keep(alive)
            inside = [inside[place] for place in alive]
        number = min(course.due for course in inside if course.ended is None)
        after = min(bench.most_steps, evaluation(number))
        runs.advance(after - step)
        step = after


@functools.cache
def evaluation(number: int) -> int:
    """Return the step of an evaluation: at most 2 % after the one before, or the next."""
    if number == 0:
        return 0
    before = evaluation(number - 1)
    return max(before + 1, math.floor(before * DENSE))


def _ending(
    course: Course, step: int, targets: Sequence[float], best: dict[tuple[int, float], float], beyond: float
) -> Ending | None:
    if divergence([loss[0] for loss in course.losses]):
        return "diverged"
    if targets and all(target in course.crossed for target in targets) and step >= beyond * course.crossed[targets[-1]]:
        return "reached"
    for target in targets:
        fastest = best.get((course.seed, target), math.inf)
        if target not in course.crossed and step > HOPELESS * max(fastest, 1.0):
            return "slower"
    return None


def fastest(bench: Bench) -> dict[tuple[int, float], float]:
    """Return the fewest steps to each target that were found, by seed and target."""
    best: dict[tuple[int, float], float] = {}
    for run in bench.runs:
        for target in bench.targets:
            crossed = crossing(run.step, run.train_loss, target)
            if crossed is not None:
                best[run.seed, target] = min(best.get((run.seed, target), math.inf), crossed)
    return best


def _rounded(loss: float | None) -> float | None:
    return float(f"{loss:.6g}") if loss is not None and math.isfinite(loss) else None
