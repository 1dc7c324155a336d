"""Say which batch sizes that were tried stand out of the choice, and what is lacking of them.

Easy to get wrong: a run with an end searches only what may win, so a size that the curves rule out is not worth a word.
"""

import statistics

from mbbench.reporting import readable
from mbbench.reporting.joining import Tried
from mbbench.reporting.recommendation import AS_GOOD
from mbbench.reporting.warning import Seen, Told, names
from mbbench.search import typical_steps


def not_compared(seen: Seen) -> Told:
    """Return what to say of sizes without steps or without times."""
    left = [size for size in seen.group.sizes if not size.compared and size.cell.batch_size not in seen.group.astray]
    sizes = [size for size in left if not _hopeless(seen, size)]
    if not sizes:
        return None
    sentence = f"left out, since it takes both steps and times: {names(sizes, [_lacking(size) for size in sizes])}."
    missing = [size for size in sizes if size.cell.applicable]
    if not missing:
        return sentence, f"ask for batch sizes up to {seen.group.cell.n_samples:,}, or for more rows with --n."
    return sentence, f"measure what is missing: {seen.again(missing)}"


def _hopeless(seen: Seen, size: Tried) -> bool:
    """Return whether the curves hold and, with them for what is lacking, a size is not as good: it may be dropped."""
    found = seen.main
    if found is None or found.curves is None or not found.curves.holds or found.seconds is None or not size.cell.applicable:
        return False
    samples = size.cell.samples_per_step
    typical = typical_steps(size.steps) or found.curves.steps.at(samples)
    step_s = statistics.median(size.step_s) if size.step_s else found.curves.step_time.at(samples)
    return typical * step_s > AS_GOOD * found.seconds.value


def _lacking(size: Tried) -> str:
    if not size.cell.applicable:
        return "larger than the data"
    if size.steps:
        ended = {r.measurement.status for r in size.timings if r.measurement.status != "ok"}
        return readable.listed(sorted(readable.TROUBLES[each] for each in ended)) if ended else "not timed"
    if size.search is None:
        return "steps not searched"
    return f"search {readable.TROUBLES.get(size.search.measurement.status, 'without runs')}"


def other_target(seen: Seen) -> Told:
    """Return what to say of sizes that were searched for another target."""
    astray = [size for size in seen.group.sizes if size.cell.batch_size in seen.group.astray]
    if not astray or seen.group.target is None:
        return None
    aim = f"{seen.group.target:g}"
    sentence = (
        f"left out: {names(astray)}, searched for another target than loss {aim}. Steps to different losses do not compare."
    )
    return sentence, f"search every batch size for one target: {seen.again(seen.group.sizes, '--target', aim)}"
