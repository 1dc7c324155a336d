"""Where the seconds of a step went, raw, as a profile pass recorded them, and what a step's phases are made of them.

Easy to get wrong: fetching the batch that begins an epoch pays for the shuffle of all of them, so it is kept apart, and
every step of the epoch gets its share; a step in micro-batches pays for forward and backward as often as it has of them.
"""

import math
import statistics
from collections.abc import Iterable

import msgspec

from mbbench.case import Cell

PHASES = ("batch", "dispatch", "forward", "backward", "optimizer")
"""Of a step. "batch": fetching the rows, with its share of starting the epoch; "dispatch": what forward and backward take on
a single row, beside their samples; "forward" (with the loss) and "backward": what they take beyond that; "optimizer":
zero_grad and step."""


class Laps(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of each phase of training, one value a round, summed over the round's updates.

    Attributes:
        steps: updates of the round.
        starts: how many of them began an epoch.
        start_s: fetching the batches of those.
        batch_s: fetching the batches of the others.
        forward_s: forward passes with their losses.
        backward_s: backward passes.
        optimizer_s: zero_grad and step.
    """

    steps: tuple[int, ...]
    starts: tuple[int, ...]
    start_s: tuple[float, ...]
    batch_s: tuple[float, ...]
    forward_s: tuple[float, ...]
    backward_s: tuple[float, ...]
    optimizer_s: tuple[float, ...]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile pass saw of one cell, and of this machine with the cell's device, dtype and threads.

    Attributes:
        laps: of the training itself.
        one_row: the same training on a single row, interleaved; None where that cannot be done (BatchNorm).
        flop_per_row: floating-point operations of matrix products and convolutions in one forward and backward pass, by
            torch's counter; None where it failed or saw none.
        copy_bytes: read and written by one copy of a buffer far larger than the caches; None where that does not fit.
        copy_s: seconds of each such copy.
        matmul_flop: of one product of two square matrices; None where they do not fit.
        matmul_s: seconds of each such product.
    """

    laps: Laps
    one_row: Laps | None = None
    flop_per_row: float | None = None
    copy_bytes: int | None = None
    copy_s: tuple[float, ...] = ()
    matmul_flop: int | None = None
    matmul_s: tuple[float, ...] = ()

    @property
    def bandwidth(self) -> float | None:
        """Bytes a second between processor and memory, read and written, by the fastest copy."""
        return self.copy_bytes / min(self.copy_s) if self.copy_bytes and self.copy_s else None

    @property
    def matrix_rate(self) -> float | None:
        """Floating-point operations a second of the fastest product of matrices."""
        return self.matmul_flop / min(self.matmul_s) if self.matmul_flop and self.matmul_s else None

    @property
    def steps_s(self) -> tuple[float, ...]:
        """Seconds of a profiled step, once per round, as it ran."""
        laps = self.laps
        phases = (laps.start_s, laps.batch_s, laps.forward_s, laps.backward_s, laps.optimizer_s)
        return tuple(sum(each) / steps for steps, *each in zip(laps.steps, *phases, strict=True))

    def phases_s(self, cell: Cell) -> dict[str, float]:
        """Return the seconds of each of `PHASES` in a step of the cell, without "dispatch" where no single row was trained.

        Medians over the rounds of the mean step of each. What a single row takes is at most what the phase takes.
        """
        laps = self.laps
        found = {"batch": _fetch_s(laps, cell.steps_per_epoch)}
        whole = {
            name: _typical(laps.steps, seconds)
            for name, seconds in (("forward", laps.forward_s), ("backward", laps.backward_s))
        }
        if self.one_row is not None:
            passes = math.ceil(cell.samples_per_step / cell.micro_batch) if cell.micro_batch else 1
            row = {
                name: min(whole[name], passes * _typical(self.one_row.steps, seconds))
                for name, seconds in (("forward", self.one_row.forward_s), ("backward", self.one_row.backward_s))
            }
            found["dispatch"] = sum(row.values())
            whole = {name: seconds - row[name] for name, seconds in whole.items()}
        return found | whole | {"optimizer": _typical(laps.steps, laps.optimizer_s)}


def _fetch_s(laps: Laps, steps_per_epoch: int) -> float:
    """Return the seconds of fetching the rows of a step, over an epoch: one fetch begins it, the others do not."""
    ordinary = [steps - starts for steps, starts in zip(laps.steps, laps.starts, strict=True)]
    start_s = _typical(laps.starts, laps.start_s) if any(laps.starts) else 0.0
    if steps_per_epoch == 1 or not any(ordinary):
        return start_s
    return (start_s + (steps_per_epoch - 1) * _typical(ordinary, laps.batch_s)) / steps_per_epoch


def _typical(counts: Iterable[int], seconds: Iterable[float]) -> float:
    """Return the median over the rounds of seconds for each of what is counted; rounds without any are left out."""
    return statistics.median(taken / count for count, taken in zip(counts, seconds, strict=True) if count)
