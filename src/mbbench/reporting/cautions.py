"""Say what to be careful about in a choice of batch size: what was too little, and what does not look as it should.

Sizes left out are in `missing.py`, what contradicts the choice in `contradictions.py`. Easy to get wrong: a
warning that is always there is read by nobody, so each has a condition that a good set of records does not meet.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from mbbench.reporting import asking, contradictions, missing, pooling, readable
from mbbench.reporting.joining import Group
from mbbench.reporting.outcomes import happened
from mbbench.reporting.recommendation import Recommendation
from mbbench.reporting.stats import FEWEST
from mbbench.reporting.warning import Code, Seen, Told, Warning, names
from mbbench.search import REACHED, edge

LONGER_S = 120
"""Seconds of a search to be asked for where the usual 60 were not enough."""


def cautions(
    group: Group, by_target: Mapping[float | None, Recommendation | None], by_policy: Mapping[str, Recommendation | None]
) -> tuple[Warning, ...]:
    """Return the warnings on a group, from its recommendation for each target and those of other policies."""
    seen = Seen(group, by_target, by_policy)
    found = ((code, told) for code, look in _LOOKS.items() if (told := look(seen)))
    return tuple(
        Warning(code.value, readable.first_up(sentence), readable.first_up(step)) for code, (sentence, step) in found
    )


def _at_start(seen: Seen) -> Told:
    there = [size for size in seen.group.sizes if any(steps == 0 for steps in size.steps)]
    if not there or seen.group.target is None:
        return None
    sentence = (
        f"the loss is at or below {readable.loss(seen.group.target)} before the first update with {names(there)}: there is "
        "nothing to be reached, so nothing is recommended."
    )
    return sentence, f"give a lower target: {seen.again(seen.group.sizes, '--target', 'LOSS')}"


def _not_reached(seen: Seen) -> Told:
    lost = [size for size in seen.group.sizes if size.steps and size.lr is None]
    if not lost:
        return None
    target, told = seen.group.target, names(lost, [happened(size) for size in lost])
    longer = f"search longer: {seen.again(lost, '--max-seconds', str(LONGER_S), '--again')}"
    if target is None:
        return f"no target could be chosen with {told}.", f"{longer}, or give --target."
    seeds = len(lost[0].steps)
    sentence = f"fewer than {math.ceil(REACHED * seeds)} of {seeds} seeds reached loss {readable.loss(target)} with {told}."
    return sentence, f"{longer}, or aim at a loss that is easier to reach with --target."


def _not_tuned(seen: Seen) -> Told:
    if seen.group.policy == "tuned":
        return None
    rule = {"fixed": "the same for all batch sizes", "linear": "in proportion to the batch size"}.get(
        seen.group.policy, "in proportion to the square root of the batch size"
    )
    sentence = (
        f"not tuned: not a ranking. Learning rates are {rule}, which favours the batch sizes that this happens to suit."
    )
    return sentence, "tune them: the same command with --lr-policy tuned."


def _few_sizes(seen: Seen) -> Told:
    if not seen.flagged(Code.FEW_SIZES) or not seen.reached:
        return None
    tried = len(seen.reached)
    step = f"try more batch sizes: `{asking.within(seen.group.cell)}` tries powers of two."
    if tried == 1:
        return f"only {names(seen.reached)} reached the target, so it is not known whether another is faster.", step
    with_full = " (full batch among them)" if any(size.cell.batch_size is None for size in seen.reached) else ""
    said = f"{tried} batch sizes reached the target{with_full}: too few for curves"
    return f"{said}, so nothing is known between and beyond them.", step


def _few_seeds(seen: Seen) -> Told:
    least = min((len(size.steps) for size in seen.compared), default=FEWEST)
    if least >= FEWEST:
        return None
    said = "one seed" if least == 1 else f"{least} seeds"
    return (
        f"{said}: no interval, so what looks best may be so by chance.",
        f"use 5: {seen.again(seen.compared, '--seeds 5')}",
    )


def _few_repeats(seen: Seen) -> Told:
    once = [size for size in seen.compared if len(size.step_s) == 1]
    if not once or len(once) < len(seen.compared):
        return None  # the spread between repeats is taken from the sizes that have several
    sentence = "each batch size was timed in one process only: how much its time varies from one to the next is not known."
    return sentence, f"time each several times: {seen.again(seen.compared, '--repeats 3', measure='time')}"


def _lr_at_edge(seen: Seen) -> Told:
    if seen.group.policy != "tuned":
        return None
    sides = [
        (size, edge(size.runs, size.lr))
        for size in seen.group.sizes
        # Where the start is at the target every rate reaches it in 0 steps, and none is better.
        if size.runs is not None and size.lr is not None and 0 not in size.steps
    ]
    ends = {"high": "the highest", "low": "the lowest"}
    at = [
        (size, f"{size.lr:.3g}, {ends[side] if size.runs and len(size.runs.rates) > 1 else 'the only one'}")
        for size, side in sides
        if side
    ]
    if not at:
        return None
    sizes = [size for size, _ in at]
    sentence = (
        "the best learning rate is at the edge of those that were tried to their end with "
        f"{names(sizes, [told for _, told in at])}: beyond it there may be a better one, and with it fewer steps."
    )
    return sentence, f"search longer: {seen.again(sizes, '--max-seconds', str(LONGER_S), '--again')}"


def _steps_off(seen: Seen) -> Told:
    if not seen.flagged(Code.STEPS_OFF) or seen.main is None or seen.main.curves is None:
        return None
    worst, off = _worst(seen, seen.main.curves.steps.residuals)
    sentence = (
        "steps to the target do not follow their curve, by which they fall with the batch size and level off: with "
        f"{worst} they are {off} it. {_who_chooses(seen)}"
    )
    seeds = 2 * max(len(size.steps) for size in seen.compared)
    return sentence, f"more seeds tell a bump from noise: {seen.again(seen.compared, f'--seeds {seeds}')}"


def _time_off(seen: Seen) -> Told:
    if not seen.flagged(Code.TIME_OFF) or seen.main is None or seen.main.curves is None:
        return None
    worst, off = _worst(seen, seen.main.curves.step_time.residuals)
    sentence = (
        f"seconds a step are not on a straight line over the batch size: with {worst} they are {off} it. "
        f"{_who_chooses(seen)}"
    )
    again = seen.again(seen.compared, "--repeats 5 --again", measure="time")
    return (
        sentence,
        f"time again while nothing else runs, {again}; if it stays, a cache fills up or another kernel is used there.",
    )


def _who_chooses(seen: Seen) -> str:
    assert seen.main is not None
    if seen.main.chosen_by == "curves":
        return "That is far from the best batch size, so the curves choose all the same."
    return "So the measured times choose, and more sizes count as as good."


def _worst(seen: Seen, residuals: Sequence[float]) -> tuple[str, str]:
    """Return the batch size that is furthest off a fit, and by how much, as "26 % above"."""
    fitted = [size for size in seen.reached if size.cell.batch_size is not None]
    off = max(residuals, key=lambda part: abs(math.log1p(part)))
    size = fitted[residuals.index(off)]
    return readable.batch(size.cell.batch_size), f"{readable.percent(abs(off))} {'above' if off > 0 else 'below'}"


def _outside(seen: Seen) -> Told:
    if not seen.flagged(Code.OUTSIDE) or seen.main is None or seen.main.curves is None:
        return None
    sizes = [size.cell.samples_per_step for size in seen.reached if size.cell.batch_size is not None]
    best, n = seen.main.curves.best.batch_size, seen.group.cell.n_samples
    above = best > sizes[-1]
    further = [
        size for size in ((2 * sizes[-1], 4 * sizes[-1]) if above else (sizes[0] // 4, sizes[0] // 2)) if 1 <= size < n
    ]
    sentence = (
        f"by the curves the best batch size is about {readable.count(best)}, {'above' if above else 'below'} all that were "
        f"tried and compared ({sizes[0]:,} to {sizes[-1]:,}); that far they are not trusted."
    )
    if not further and any(size.cell.batch_size is None for size in seen.group.sizes):
        return sentence, "nothing further out can be tried but the full batch, which was."
    return sentence, f"try further out: {seen.again(further or [None])}"


def _noise_open(seen: Seen) -> Told:
    said, n = [], seen.group.cell.n_samples
    if seen.flagged(Code.NOISE_OPEN):
        said.append(
            f"steps fall in proportion to the batch size up to all {n:,} rows: where more samples a step stop saving steps "
            "is not resolved"
        )
    points = [point for size in seen.group.sizes if size.runs is not None for point in size.runs.noise]
    if unknown := sum(point.b_super is None for point in points):
        said.append(
            f"at {unknown:,} of {readable.plural(len(points), 'point')} of training the gradient noise scale is not "
            f"resolved, as {n:,} rows are too few for it"
        )
    return (f"{'; '.join(said)}.", "more rows would tell, with --n, if there are any.") if said else None


def _contended(seen: Seen) -> Told:
    told = [(size, busy) for size in seen.group.sizes for r in size.timings if (busy := pooling.contended(r)) is not None]
    late = [size for size, busy in told if busy]
    if not late:
        return None
    sentence = (
        f"{len(late):,} of {len(told):,} time records waited more than 5 % of their time for the processor: something else "
        "was running, or the model or the loader itself waits."
    )
    sizes = [size for size in seen.group.sizes if size in late]
    return sentence, f"time again while nothing else runs: {seen.again(sizes, '--again', measure='time')}"


_LOOKS: dict[Code, Callable[[Seen], Told]] = {
    Code.AT_START: _at_start,
    Code.NOT_REACHED: _not_reached,
    Code.NOT_TUNED: _not_tuned,
    Code.FEW_SIZES: _few_sizes,
    Code.FEW_SEEDS: _few_seeds,
    Code.FEW_REPEATS: _few_repeats,
    Code.NOT_COMPARED: missing.not_compared,
    Code.OTHER_TARGET: missing.other_target,
    Code.LR_AT_EDGE: _lr_at_edge,
    Code.STEPS_OFF: _steps_off,
    Code.TIME_OFF: _time_off,
    Code.OUTSIDE: _outside,
    Code.NOISE_OPEN: _noise_open,
    Code.CONTENDED: _contended,
    Code.TARGETS_DISAGREE: contradictions.targets_disagree,
    Code.POLICY_CHANGES: contradictions.policy_changes,
    Code.HELDOUT_WORSE: contradictions.heldout_worse,
    Code.RACE_DIFFERS: contradictions.race_differs,
}
