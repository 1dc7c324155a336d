"""What came of one batch size: how its runs ended, what its races took; and which of several is nearest to a recommended."""

import math
from collections.abc import Sequence

from mbbench.reporting import readable
from mbbench.reporting.joining import Tried
from mbbench.reporting.recommendation import Recommendation
from mbbench.reporting.tried import TriedSize


def happened(size: Tried) -> str:
    """Return how the runs of a size that missed the target went: "every run diverged", "the lowest loss seen is 0.31"."""
    runs, best = () if size.runs is None else size.runs.runs, lowest(size)
    if best is None:
        return "its loss is not finite from the start" if runs else "nothing was seen"
    if all(run.ended == "diverged" for run in runs):
        return "every run diverged"
    some = sum(steps is not None for steps in size.steps)
    reached = f"{some} of {len(size.steps)} did, " if some else ""
    return f"{reached}the lowest loss seen is {readable.loss(best[0])}, at learning rate {best[1]:.3g}"


def lowest(size: Tried) -> tuple[float, float] | None:
    """Return the lowest training loss that a search saw and its learning rate; None where no loss was finite."""
    runs = () if size.runs is None else size.runs.runs
    return min(((loss, run.lr) for run in runs for loss in run.train_loss if loss is not None), default=None)


def reckoned_s(size: Tried) -> float:
    """Return the time to target of a size with steps and times: the one times the other, as measured."""
    return TriedSize(size.cell.samples_per_step, size.step_s, size.steps).seconds


def nearest(sizes: Sequence[Tried], found: Recommendation | None) -> Tried | None:
    """Return the size, of those given, that is nearest to the recommended one; None where nothing is recommended."""
    if found is None or found.batch_size is None or not sizes:
        return None
    wanted, full = found.batch_size, found.full_batch
    # As many samples as the full batch has a batch of all rows by number: the one that is meant comes first.
    return min(sizes, key=lambda s: (abs(math.log(s.cell.samples_per_step / wanted)), (s.cell.batch_size is None) != full))
