"""Choose the batch size that reaches the target first, for each problem, n, device and loader: records in, choices out.

Easy to get wrong: a search says how many steps, a time pass how long a step takes, and neither alone chooses anything. A
size without one of them is shown and not chosen from.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mbbench.case import Cell
from mbbench.record import Record
from mbbench.reporting import pooling, readable
from mbbench.reporting.cautions import cautions
from mbbench.reporting.joining import Group, Tried, at_target, groups
from mbbench.reporting.recommendation import Recommendation, recommend
from mbbench.reporting.selection import latest
from mbbench.reporting.tried import TriedSize
from mbbench.reporting.warning import Warning

__all__ = ["Choice", "Tried", "Warning", "choices"]


@dataclass(frozen=True)
class Choice:
    """What there is to choose from, and what was chosen.

    Attributes:
        title: "digits-mlp, n = 1,438, CPU, 2 threads, slice".
        loader: how rows reach the model.
        targets: training losses, falling; the middle one is advised on; () where no search found any.
        sizes: rising batch size, full batch last.
        recommendation: of the main target, None where nothing was both searched and timed.
        warnings: what to be careful about.
        policy: of the learning rates: "tuned", or what was searched instead.
    """

    title: str
    loader: str
    targets: tuple[float, ...]
    sizes: tuple[Tried, ...]
    recommendation: Recommendation | None
    warnings: tuple[Warning, ...]
    policy: str = "tuned"

    @property
    def target(self) -> float | None:
        """The target that is advised on, None where no search found any."""
        return self.targets[len(self.targets) // 2] if self.targets else None

    @property
    def recommended(self) -> Tried | None:
        """What was tried of the recommended batch size; None where nothing is recommended, or a size between those tried."""
        found = self.recommendation
        return None if found is None or found.batch_size is None else self.find(found.batch_size)

    @property
    def cell(self) -> Cell:
        """One of its cells: all are alike but for the batch size."""
        return self.sizes[0].cell

    @property
    def reached(self) -> tuple[Tried, ...]:
        """Sizes with steps and times at which enough seeds reached the target."""
        return tuple(size for size in self.sizes if size.compared and size.lr is not None)

    def named(self, batch_size: int) -> str:
        """Name a batch size in words; of as many samples as there are rows, the full batch if it was tried."""
        size = self.find(batch_size)
        return readable.batch(batch_size if size is None else size.cell.batch_size)

    def find(self, batch_size: int) -> Tried | None:
        """Return what was tried of a batch size; of as many samples as there are rows, the full batch if it was tried."""
        return next((size for size in reversed(self.sizes) if size.cell.samples_per_step == batch_size), None)


def choices(records: Iterable[Record]) -> list[Choice]:
    """Return a choice for each problem, n, device, loader ... that steps to a target were searched for."""
    kept, _ = latest(records)
    return [_choice(group, others) for group, *others in groups(kept)]


def recommended(group: Group, target: float | None, intervals: bool = True) -> Recommendation | None:
    """Return the recommendation for a target; None where nothing was both searched and timed, or the start is at the target.

    Without `intervals` it is the same, and made in a fraction of the time.
    """
    known = [size for size in group.sizes if size.runs is not None and size.compared]
    steps = [at_target(size.runs, target)[1] for size in known if size.runs is not None]
    if not known or any(each == 0 for several in steps for each in several):
        return None
    found = {}
    for size, several in zip(known, steps, strict=True):
        raced = size.race_s if target == group.target else ()
        found[size.cell.batch_size] = TriedSize(size.cell.samples_per_step, size.step_s, several, raced)
    full, n = found.pop(None, None), group.cell.n_samples
    # Asked for as a number, all rows make the same update as the full batch: one of the two stands for both.
    mini = [each for each in found.values() if full is None or each.batch_size < n]
    return recommend(mini, n, full_batch=full, memory_batch_size=_fitting(group), intervals=intervals)


def _choice(group: Group, others: list[Group]) -> Choice:
    found = {target: recommended(group, target, target == group.target) for target in (group.targets or (None,))}
    # A policy that was searched for another target has nothing to say on this one.
    policies = {each.policy: recommended(each, each.target, False) for each in others if each.target == group.target}
    return Choice(
        title=f"{pooling.title(group.cell)}, {group.cell.loader}",
        loader=group.cell.loader,
        targets=group.targets,
        sizes=group.sizes,
        recommendation=found[group.target],
        warnings=cautions(group, found, policies),
        policy=group.policy,
    )


def _fitting(group: Group) -> int | None:
    """Return the largest batch size that was timed, where a larger one ran out of memory; None where none did."""
    n = group.cell.n_samples
    most = max((size.cell.samples_per_step for size in group.sizes if size.step_s), default=None)
    return most if most is not None and any((size or n) > most for size in group.unfit) else None
