"""Say what stands behind a recommended batch size: what is as good, what others cost, what limits it, where it holds.

Easy to get wrong: what was not tried, or did not reach the target, is said as such and never left out; and what gradients
say of the critical batch size stands beside the measured one, never alone.
"""

from mbbench.reporting import readable
from mbbench.reporting.choosing import Choice
from mbbench.reporting.finding import Finding
from mbbench.reporting.outcomes import happened, nearest
from mbbench.reporting.recommendation import AS_GOOD
from mbbench.reporting.stats import Estimate
from mbbench.reporting.tried import typical_s

LIMITS = {
    "memory": "memory: by the curves a larger batch would be faster, and a larger one that was tried ran out of memory",
    "gradient noise": "gradient noise: half of the steps or more are there only to average it out",
    "step overhead": "step overhead: half of a step's time or more goes by whatever it holds",
    "per-sample cost": "cost per sample: half of a step's time or more is spent on its samples",
}
"""What keeps the time to target from being less, in words; shares by the curves, see `recommendation.py`."""


def findings(choice: Choice) -> list[Finding]:
    """Return what there is to say on a choice, the most important first."""
    said = [_recommended(choice), _as_good(choice), _full_batch(choice), _batch_1(choice), _limited(choice)]
    return [finding for finding in (*said, _noise(choice), _raced(choice), _targets(choice), _holds(choice)) if finding]


def _recommended(choice: Choice) -> Finding | None:
    found = choice.recommendation
    if found is None or found.batch_size is None or found.seconds is None:
        return None
    name, size = choice.named(found.batch_size), choice.recommended
    by = {
        "curves": "by the curves through all sizes",
        "table": "by the measured times, the least of them",
        None: "",
    }[found.chosen_by]
    if found.instead_of is not None:
        by = f"by reckoned and raced times together; {by} alone it would be {choice.named(found.instead_of)}"
    seeds = readable.plural(found.seconds.n, "seed")
    text = f"{name}, {seconds_in_words(found.seconds)} to loss {choice.target:g} ({seeds}), {by}"
    if size is not None and size.lr is not None:
        return Finding("Recommended", f"{text}; learning rate {size.lr:.3g}.")
    near = nearest(choice.reached, found)
    rate = (
        f"; of the nearest that was, {readable.batch(near.cell.batch_size)}, the best learning rate is {near.lr:.3g}"
        if (near is not None and near.lr is not None)
        else ""
    )
    return Finding("Recommended", f"{text}. It was not tried itself{rate}.")


def _as_good(choice: Choice) -> Finding | None:
    found = choice.recommendation
    if found is None or found.batch_size is None:
        return None
    others = [choice.named(size) for size in found.as_good if size != found.batch_size]
    near = readable.percent(AS_GOOD - 1)
    if len(choice.reached) == 1 and not others:
        return Finding("As good", "no other batch size was compared.")
    bare = found.seconds is None or found.seconds.low is None
    if not others:
        apart = f"more than {near} slower" + ("" if found.chosen_by == "curves" or bare else ", beyond the spread")
        return Finding("As good", f"none: every other batch size that reached the target is {apart}{_bare(bare)}.")
    or_not = "" if found.chosen_by == "curves" or bare else ", or not shown to be slower"
    return Finding("As good", f"{readable.listed(others)}: within {near} of it{or_not}{_bare(bare)}.")


def _bare(bare: bool) -> str:
    return " by a reading without an interval" if bare else ""


def _full_batch(choice: Choice) -> Finding | None:
    found = choice.recommendation
    return _cost(choice, "Full batch", choice.cell.n_samples, found.full_batch_multiple if found else None)


def _batch_1(choice: Choice) -> Finding | None:
    found = choice.recommendation
    return _cost(choice, "Batch 1", 1, found.batch_1_multiple if found else None)


def _cost(choice: Choice, label: str, batch_size: int, multiple: Estimate | None) -> Finding | None:
    """Return what a batch size costs against the recommended one."""
    found = choice.recommendation
    if found is None or found.batch_size is None:
        return None
    if found.batch_size == batch_size:
        return Finding(label, "it is the recommended one.")
    if multiple is not None:
        best = choice.named(found.batch_size)
        interval = "" if multiple.low is not None else ", no interval"
        return Finding(label, f"takes {readable.more_time(multiple, f'with {best}')}{interval}.")
    size = choice.find(batch_size)
    if size is None:
        return Finding(label, "was not tried, so it is not known what it costs.")
    if size.steps and size.lr is None:
        return Finding(label, f"did not reach the target with 4 of 5 seeds: {happened(size)}.")
    lacking = "searched" if size.step_s else "timed" if size.steps else "measured"
    return Finding(label, f"was not {lacking}, so it is not known what it costs.")


def _limited(choice: Choice) -> Finding | None:
    found = choice.recommendation
    if found is None or found.batch_size is None:
        return None
    if found.limit is None:
        return Finding("Limited by", "not told, since there are no curves that hold.")
    return Finding("Limited by", f"{LIMITS[found.limit]}.")


def _noise(choice: Choice) -> Finding | None:
    """Return the measured critical batch size, and beside it, never alone, what gradients said of it beforehand."""
    curves = choice.recommendation.curves if choice.recommendation else None
    if curves is None:
        return None
    critical = curves.critical_batch_size
    ends = "no interval"
    if critical.low is not None and critical.high is not None:
        ends = f"95 % {readable.count(critical.low)} to {readable.count(critical.high)}"
    held = "" if curves.holds else ", of curves that do not hold"
    text = (
        f"{readable.count(critical.value)} samples ({ends}{held}): with as many in a batch it takes twice the fewest steps"
    )
    points = [point for size in choice.sizes if size.runs is not None for point in size.runs.noise]
    if not points:
        return Finding("Critical batch size", f"{text}.")
    known = [point.b_super for point in points if point.b_super is not None]
    estimates = [
        (p.two_batch, p.two_batch_error) for p in points if p.two_batch is not None and p.two_batch_error is not None
    ]
    said = "not resolved anywhere"
    if known:
        said = f"{min(known):,.3g} to {max(known):,.3g} samples"
        said += f", resolved at {len(known)} of {readable.plural(len(points), 'point')} of training"
    if estimates:
        value, error = estimates[-1]
        said += f"; by two batch sizes, at the last of them, {value:,.3g} with a standard error of {error:,.2g}"
    return Finding("Critical batch size", f"{text}. The gradients alone, only a prior, give a noise scale: {said}.")


def _raced(choice: Choice) -> Finding | None:
    parts = []
    for size in choice.sizes:
        times = [seconds for seconds in size.race_s if seconds is not None]
        if not size.races:
            continue
        middle, name = typical_s(size.race_s), readable.batch(size.cell.batch_size)
        reached = f"{len(times)} of {readable.plural(len(size.races), 'run')} reached"
        if middle is None or not times:
            parts.append(f"{name} did not get there in most runs ({reached})")
            continue
        spread = f", {readable.seconds(min(times))} to {readable.seconds(max(times))}" if len(times) > 1 else ""
        some = f", {reached}" if len(times) < len(size.races) else ""
        parts.append(f"{name} in {readable.seconds(middle)} ({readable.plural(len(size.races), 'seed')}{spread}{some})")
    if not parts:
        return None
    return Finding("Really trained", f"to loss {choice.target:g}, typical of the seeds: {readable.listed(parts)}.")


def _targets(choice: Choice) -> Finding | None:
    if choice.target is None:
        return None
    others = [readable.loss(target) for target in choice.targets if target != choice.target]
    beside = f"; steps were counted to {readable.listed(others)} as well" if others else ""
    return Finding(
        "Target", f"mean training loss of all {choice.cell.n_samples:,} rows at {choice.target:g} or below{beside}."
    )


def _holds(choice: Choice) -> Finding | None:
    if choice.recommendation is None or choice.recommendation.batch_size is None:
        return None  # there is nothing that could hold
    rates = "learning rates tuned at each batch size"
    if choice.policy != "tuned":
        rates = f"{choice.policy} learning rates, not tuned: not a ranking"
    return Finding("Holds for", f"{choice.title}, {rates}.")


def seconds_in_words(time: Estimate) -> str:
    """Return a time with its interval: "42 ms (95 % 38 ms to 47 ms)"."""
    if time.low is None or time.high is None:
        return f"{readable.seconds(time.value)} (no interval)"
    ends = f"{readable.seconds(time.low)} to {readable.seconds(time.high)}"
    return f"{readable.seconds(time.value)} ({readable.percent(time.confidence)} {ends})"
