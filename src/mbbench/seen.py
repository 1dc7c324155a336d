"""What was seen of a training loop while it was watched: plain numbers, for the words about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Look(NamedTuple):
    """A few batches in which every phase was timed.

    Attributes:
        batches: how many.
        updates: of the optimizer in them.
        rows: that the model was given in them; 0 where it is not known.
        loader_s, forward_s, optimizer_s: seconds in all; what is left of `total_s` is the loss, the backward and the rest.
        total_s: of these batches.
    """

    batches: int
    updates: int
    rows: int
    loader_s: float
    forward_s: float
    optimizer_s: float
    total_s: float


class Gradients(NamedTuple):
    """Gradients of updates that followed each other.

    Attributes:
        updates: how many.
        rows: of an update.
        mean_square: mean over updates of the squared norm of their gradient.
        square_of_mean: squared norm of their mean gradient.
    """

    updates: int
    rows: float
    mean_square: float
    square_of_mean: float


class Probe(NamedTuple):
    """One forward and backward of a copy of the model.

    Attributes:
        rows: of the batch.
        seconds: the median of a few.
        kept_bytes: of tensors that are kept for the backward.
    """

    rows: int
    seconds: float
    kept_bytes: int


class Stretch(NamedTuple):
    """Batches with their seconds, those in the loader apart and included."""

    batches: int
    loader_s: float
    total_s: float

    def more(self, batches: int, loader_s: float, total_s: float) -> "Stretch":
        """Return it with some more."""
        return Stretch(self.batches + batches, self.loader_s + loader_s, self.total_s + total_s)


NONE = Stretch(0, 0.0, 0.0)


class Pace(NamedTuple):
    """Seconds of an update, those in the loader apart and included."""

    loader_s: float
    total_s: float


@dataclass
class Seen:
    """A loop that was watched.

    Attributes:
        loader: what its batches came from, "" where it has no loader.
        model, optimizer: their classes.
        lr: of the optimizer's first group.
        device: of the model.
        trainer: what runs the loop and tells of its batches, "" where it is the user's own: then what passes between two
            batches is not the loader's alone.
        optimizer_name: of a Cell, the nearest to its optimizer.
        data: of a Problem, its arguments for these rows.
        rows: of the data set; None where it is not known.
        answers_loss: whether the model returns its loss.
        batches, epochs: seen so far.
        total_s: seconds of its batches, the loader's included.
        timed: the batches whose time in the loader is known, the end of an epoch included, where it says that there is no
            more. Of small steps a part: see `watched.RUN`.
        aside: of them the first, which warms up, and those that were looked at, which take longer.
        looks, gradients: see there.
        peak_bytes: the most that the process, or the accelerator, has taken; None where it is not known.
        free_bytes: that were free in the end; None where it is not known.
        probes: of copies, smaller batches first.
        unprobed: why there are none, "" where there are.
    """

    loader: str
    model: str
    optimizer: str
    lr: float
    device: str
    trainer: str = ""
    optimizer_name: str = "sgd"
    data: str = "data=(features, targets)"
    rows: int | None = None
    answers_loss: bool = False
    batches: int = 0
    epochs: int = 0
    total_s: float = 0.0
    timed: Stretch = NONE
    aside: Stretch = NONE
    looks: list[Look] = field(default_factory=list)
    gradients: list[Gradients] = field(default_factory=list)
    peak_bytes: int | None = None
    free_bytes: int | None = None
    probes: tuple[Probe, ...] = ()
    unprobed: str = ""

    @property
    def rows_a_batch(self) -> float:
        """Return the mean number of rows of a batch, as far as it was looked at; 0 where it is not known."""
        return _part(sum(look.rows for look in self.looks), sum(look.batches for look in self.looks))

    @property
    def updates(self) -> int:
        """Return how many updates were made: as many a batch as in the looks, one where there were none."""
        looked = sum(look.batches for look in self.looks)
        return round(self.batches * sum(look.updates for look in self.looks) / looked) if looked else self.batches

    @property
    def plain(self) -> Stretch:
        """Return the batches that were neither the first nor looked at; the loader's share is that of the timed ones."""
        batches, loader_s, total_s = self.aside
        timed = self.timed.more(-batches, -loader_s, -total_s)
        plain_s = self.total_s - total_s
        return Stretch(
            self.batches - batches, _part(timed.loader_s, timed.total_s) * plain_s if timed.batches else 0.0, plain_s
        )

    @property
    def pace(self) -> Pace | None:
        """Return the mean time of an update in plain batches; None where there were none, or no update."""
        batches, loader_s, total_s = self.plain
        updates = batches * self.updates / self.batches if self.batches else 0.0
        return Pace(loader_s / updates, total_s / updates) if updates else None


def _part(total: float, of: float) -> float:
    return total / of if of else 0.0


class Noise(NamedTuple):
    """The gradient noise scale tr(Sigma) / |G|^2 with its standard error, in rows."""

    rows: float
    error: float
    n: int


def noise(gradients: Sequence[Gradients]) -> Noise | None:
    """Return the noise scale from stretches of updates; None where it is not resolved.

    McCandlish et al. 2018 (arXiv 1812.06162), appendix A.1, with the mean of k successive gradients as the large batch: the
    mean squared norm is |G|^2 + tr(Sigma) / B and that of the mean |G|^2 + tr(Sigma) / (k B). Both are averaged over the
    stretches before they are divided; the error is the jackknife's over stretches, three or more. The parameters move
    during a stretch, which adds to tr(Sigma): a hint, and rather too large.
    """
    if len(gradients) < 3:
        return None
    whole = _scale(gradients)
    left_out = [_scale([*gradients[:place], *gradients[place + 1 :]]) for place in range(len(gradients))]
    if whole is None or any(each is None for each in left_out):
        return None
    several = [each for each in left_out if each is not None]
    mean, n = math.fsum(several) / len(several), len(several)
    error = math.sqrt((n - 1) / n * math.fsum((each - mean) ** 2 for each in several))
    return Noise(whole, error, n) if error <= 0.5 * whole else None


def _scale(gradients: Sequence[Gradients]) -> float | None:
    traces, squares = [], []
    for several in gradients:
        trace = (several.mean_square - several.square_of_mean) * several.rows * several.updates / (several.updates - 1)
        traces.append(trace)
        squares.append(several.square_of_mean - trace / (several.updates * several.rows))
    trace, square = math.fsum(traces), math.fsum(squares)
    return trace / square if square > 0 and trace > 0 else None
