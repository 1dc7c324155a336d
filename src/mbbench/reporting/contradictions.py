"""What was measured beside steps and times, where it speaks against the choice: targets, policies, held-out loss, races.

Easy to get wrong: one of several rivals is always a little better by luck. A rival counts where it is better by more than
a margin and beyond the spread over the seeds, with the rivals counted.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from mbbench.reporting import readable
from mbbench.reporting.joining import Tried
from mbbench.reporting.outcomes import nearest, reckoned_s
from mbbench.reporting.stats import CONFIDENCE, FEWEST
from mbbench.reporting.tried import typical_s
from mbbench.reporting.warning import Seen, Told
from mbbench.search import Run, crossing

DISAGREE = 4.0
"""Recommended batch sizes further apart than this are different answers: a factor of 4 costs up to 56 % (K10)."""
MARGIN = 0.02
"""Part of a held-out loss that is no difference worth a word."""
RACE_OFF = 0.10
"""Of the time that was reckoned: as much as sizes differ that are as good."""


def targets_disagree(seen: Seen) -> Told:
    """Return what to say where the three targets have batch sizes far apart."""
    found = {target: best.batch_size for target, best in seen.by_target.items() if best is not None and best.batch_size}
    if len(found) < 2 or max(found.values()) <= DISAGREE * min(found.values()):
        return None
    parts = [f"{seen.named(size)} for loss {target:g}" for target, size in found.items()]
    sentence = f"how far down the loss has to go changes the answer: the best is {readable.listed(parts)}."
    return sentence, f"decide which loss you need: {seen.again(seen.group.sizes, '--target', 'LOSS')}"


def policy_changes(seen: Seen) -> Told:
    """Return what to say where another learning rate policy has a winner that is not as good here."""
    if seen.main is None:
        return None
    ways = {policy: best.batch_size for policy, best in seen.by_policy.items() if best is not None and best.batch_size}
    other = {policy: size for policy, size in ways.items() if size not in seen.main.as_good}
    if not other:
        return None
    parts = [f"{seen.named(size)} with {policy} learning rates" for policy, size in other.items()]
    sentence = (
        f"the best would be {readable.listed(parts)}, which is not as good with {seen.group.policy} ones: the answer holds "
        "only as long as the learning rate is set in this way."
    )
    return sentence, "tune the learning rate anew whenever the batch size is changed."


def heldout_worse(seen: Seen) -> Told:
    """Return what to say where a rival has a lower held-out loss as it reaches the target."""
    winner = winner_of(seen)
    if winner is None or seen.main is None:
        return None
    others = [size for size in seen.reached if size is not winner]
    rivals = [size for size in others if size.cell.samples_per_step in seen.main.as_good] or others
    own = heldout(winner, seen.group.target)
    worse = []
    for rival in rivals:
        theirs = heldout(rival, seen.group.target)
        pairs = [(own[seed], theirs[seed]) for seed in own if seed in theirs]
        if _beyond(pairs, len(rivals)):
            worse.append((statistics.fmean(pair[1] for pair in pairs), statistics.fmean(pair[0] for pair in pairs), rival))
    if not worse:
        return None
    least, mean, rival = min(worse, key=lambda found: found[:2])
    name, other = (readable.batch(size.cell.batch_size) for size in (winner, rival))
    sentence = (
        f"{name} is recommended for its time, but generalises worse: as it reaches the target its held-out loss is "
        f"{readable.loss(mean)}, that of {other} is {readable.loss(least)} (means over seeds; the difference is beyond "
        "their spread)."
    )
    return sentence, f"if the held-out loss is what counts, use {other}."


def race_differs(seen: Seen) -> Told:
    """Return what to say where training against the clock took another time than was reckoned, or a rival won."""
    winner = winner_of(seen)
    if winner is None or seen.main is None or seen.main.seconds is None:
        return None
    said, name = [], readable.batch(winner.cell.batch_size)
    raced = typical_s(winner.race_s)
    if winner.races and raced is None:
        said.append(f"{name} did not reach the target in {_lost(winner)}")
    elif raced is not None:
        # Of a size between those tried, the nearest of these was raced, and is held against its own steps and times.
        reckoned = reckoned_s(winner)
        off = raced / reckoned - 1
        if abs(off) > RACE_OFF:
            side = "more" if off > 0 else "less"
            said.append(
                f"really trained, {name} took {readable.percent(abs(off))} {side} time than steps times seconds a step: "
                f"{readable.seconds(raced)}, not {readable.seconds(reckoned)}"
            )
    rivals = [size for size in seen.group.sizes if size is not winner and size.races]
    faster = [size for size in rivals if _beyond(_raced_pairs(winner, size), len(rivals))]
    if faster and raced is not None:
        best = min(faster, key=lambda size: typical_s(size.race_s) or math.inf)
        rival_s = typical_s(best.race_s)
        if rival_s is not None:
            text = f"{readable.batch(best.cell.batch_size)} raced faster, {readable.seconds(rival_s)} against"
            said.append(f"{text} {readable.seconds(raced)} of {name}, beyond the spread over seeds")
    if not said:
        return None
    which = "them all" if len(faster) > 1 else "both" if faster else "it"
    return (
        f"{'; '.join(said)}.",
        f"measure {which} again while nothing else runs: {seen.again([winner, *faster], '--again')}",
    )


def winner_of(seen: Seen) -> Tried | None:
    """Return what was tried of the recommended batch size or, where that lies between those tried, of the nearest."""
    return nearest(seen.reached, seen.main)


def heldout(size: Tried, target: float | None) -> dict[int, float]:
    """Return the held-out loss where each seed's training loss reaches the target, at the best learning rate."""
    if size.runs is None or size.lr is None or target is None:
        return {}
    found = {run.seed: _heldout(run, target) for run in size.runs.at(size.lr)}
    return {seed: loss for seed, loss in found.items() if loss is not None}


def _heldout(run: Run, target: float) -> float | None:
    at = crossing(run.step, run.train_loss, target)
    known = [(step, loss) for step, loss in zip(run.step, run.heldout_loss, strict=False) if loss is not None]
    if at is None or not known or not known[0][0] <= at <= known[-1][0]:
        return None
    return float(np.interp(at, [step for step, _ in known], [loss for _, loss in known]))


def _raced_pairs(winner: Tried, rival: Tried) -> list[tuple[float, float]]:
    """Return the race times of both, seed by seed, where both reached."""
    own, theirs = (
        {r.case.seed: seconds for r, seconds in zip(size.races, size.race_s, strict=True) if seconds is not None}
        for size in (winner, rival)
    )
    return [(own[seed], theirs[seed]) for seed in own if seed in theirs]


def _beyond(pairs: Sequence[tuple[float, float]], rivals: int) -> bool:
    """Return whether the first of each pair is larger, by more than a margin and beyond the spread of the differences.

    A t interval of the paired differences, one-sided, its error rate shared among the rivals.
    """
    if len(pairs) < FEWEST:
        return False
    differences = [first - second for first, second in pairs]
    mean, error = statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(len(pairs))
    half = float(stdtrit(len(pairs) - 1, 1 - (1 - CONFIDENCE) / rivals)) * error
    return mean > half and mean > MARGIN * abs(statistics.fmean(second for _, second in pairs))


def _lost(size: Tried) -> str:
    """Return how many races of a size did not reach the target, and how these ended: "1 of 3 races (timed out)"."""
    lost = [race for race, seconds in zip(size.races, size.race_s, strict=True) if seconds is None]
    words = readable.TROUBLES | {"budget_exhausted": "its steps were over"}
    ended = sorted({words.get(race.measurement.status, race.measurement.status) for race in lost})
    return f"{len(lost)} of {readable.plural(len(size.races), 'race')} ({readable.listed(ended)})"
