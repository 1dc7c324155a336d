"""Profile a step: the real training loop, with a clock read between its phases by what the loop is given.

The loop fetches an update, clears the gradients, fetches a batch, calls the loss and its backward, and steps. Its updates
and its loss are ours to give, so both read the clock on their way, and there is no second loop that could drift from it.
Easy to get wrong: an accelerator is synchronised before each read, so its phases add up but do not overlap as they do in
training; a single row is trained on a copy, with the random state put back, or dropout would draw other numbers than in
the real loop; and the rows of a streamed file are fetched a window at a time, so there a round is whole windows.
"""

import copy
import dataclasses
import gc
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from mbbench.measuring import devices, machine, nested, optimizers
from mbbench.measuring.batches import MicroBatch, Update, epochs
from mbbench.measuring.nested import Nested
from mbbench.measuring.timing import ROUND_S, WARMUP_S, WINDOWS
from mbbench.measuring.training import Training
from mbbench.profile import Laps, Profile
from mbbench.record import Phase

ROW_SHARE = 0.5
"""Seconds on a single row for each second of training."""
FLOP_ROWS = 8
"""Rows on which operations are counted; more than one, since BatchNorm cannot do with one."""
_TIMED = ("start", "batch", "forward", "backward", "optimizer")
Clock = Callable[[], float]


class Stopwatch:
    """Trains round by round, and reads the clock where one phase ends and the next begins.

    Attributes:
        rounds: of each round its updates, those that began an epoch, and the seconds of each of its phases.
    """

    def __init__(self, training: Training, clock: Clock = time.perf_counter) -> None:
        self.rounds: list[tuple[int, int, dict[str, float]]] = []
        self._loss = training.loss
        self._training = dataclasses.replace(training, loss=self._timed_loss)
        self._stream = _marked(training)
        self._synchronise, self._clock = devices.synchroniser(training.case.device), clock
        self._since, self._spent = 0.0, dict.fromkeys(_TIMED, 0.0)

    def round(self, seconds: float, fewest: int = 1) -> None:
        """Train for so many seconds, and at least so many updates."""
        self._training.train(self._updates(seconds, fewest))

    def laps(self) -> Laps:
        """Return what was read."""
        spent = {f"{name}_s": tuple(each[name] for _, _, each in self.rounds) for name in _TIMED}
        return Laps(steps=tuple(r[0] for r in self.rounds), starts=tuple(r[1] for r in self.rounds), **spent)

    def _updates(self, seconds: float, fewest: int) -> Iterator[Update]:
        steps = starts = 0
        self._spent = dict.fromkeys(_TIMED, 0.0)
        self._synchronise()
        began = self._since = self._clock()
        while steps < fewest or self._since - began < seconds:
            first, update = next(self._stream)
            fetch = "start" if first else "batch"
            self._lap(fetch)
            yield self._micro_batches(update, fetch)
            self._lap("optimizer")
            steps, starts = steps + 1, starts + first
        self.rounds.append((steps, starts, self._spent))

    def _micro_batches(self, update: Update, fetch: str) -> Iterator[MicroBatch]:
        parts = iter(update)
        self._lap("optimizer")  # the gradients were cleared
        while True:
            part = next(parts, None)
            self._lap(fetch)
            if part is None:
                return
            yield part
            self._lap("backward")

    def _timed_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        loss = self._loss(prediction, target)
        self._lap("forward")
        return loss

    def _lap(self, phase: str) -> None:
        """Count the seconds since the last reading towards the phase that ends now."""
        self._synchronise()
        now = self._clock()
        self._spent[phase] += now - self._since
        self._since = now


def measure(
    training: Training,
    seconds: float,
    on_phase: Callable[[Phase], None],
    release: Callable[[], None] = lambda: None,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Warm up, profile for `seconds`, then measure this machine's limits; return the fields of a Measurement.

    Args:
        training: the case, prepared.
        seconds: of profiled rounds, those on a single row included; one round at least.
        on_phase: told "warm-up" and "train" as each begins.
        release: called when the cell has run within its memory limit: what follows needs memory of its own.
        clock: seconds.
    """
    gc.collect()
    gc.freeze()
    gc.disable()  # as in timed rounds
    on_phase("warm-up")
    single = single_row(training)
    _alternate(training, single, min(seconds, WARMUP_S), 1, clock)
    on_phase("train")
    began = clock()
    laps, one_row = _alternate(training, single, seconds, _fewest(training), clock)
    measuring_s = clock() - began
    flop_per_row = machine.flop_per_row(training.model, training.loss, *_some_rows(training, FLOP_ROWS))
    release()
    found = Profile(laps=laps, one_row=one_row, flop_per_row=flop_per_row, **machine.limits(training.case, clock))
    return {"profile": found, "measuring_s": measuring_s}


def single_row(training: Training) -> Training | None:
    """Return the training of a copy of the model on one row for ever, at rate 0; None where one row cannot be trained."""
    case, model = training.case, copy.deepcopy(training.model)
    x, y = _some_rows(training, 1)
    update: Update = ((x, y, None),)
    try:
        optimizer = optimizers.make(case, model, 0.0)
        single = dataclasses.replace(training, model=model, optimizer=optimizer, epoch=lambda: itertools.repeat(update))
        with torch.random.fork_rng(devices=[]):
            single.train(itertools.islice(single.epoch(), 1))
    except Exception:  # BatchNorm's, which wants two; whatever else is wrong, the batches will tell
        return None
    return single


def _fewest(training: Training) -> int:
    """Return how many updates a round has at least."""
    if training.updates_together > 1:
        return WINDOWS * training.updates_together
    # An epoch's first fetch is unlike the others: where there are others, a round has one of them.
    return 1 if training.case.steps_per_epoch == 1 else 2


def _alternate(
    training: Training, single: Training | None, seconds: float, fewest: int, clock: Clock
) -> tuple[Laps, Laps | None]:
    """Profile rounds of both in turn, so that what changes on the machine changes for both."""
    batches, row = Stopwatch(training, clock), None if single is None else Stopwatch(single, clock)
    began = clock()
    while True:
        batches.round(ROUND_S, fewest)
        if row is not None:
            with torch.random.fork_rng(devices=[]):
                row.round(ROW_SHARE * ROUND_S)
        if clock() - began >= seconds:
            return batches.laps(), None if row is None else row.laps()


def _marked(training: Training) -> Iterator[tuple[bool, Update]]:
    """Return the updates of epoch after epoch, each with whether it begins one."""
    while True:
        first = True
        for update in training.epoch():
            yield first, update
            first = False


def _some_rows(training: Training, count: int) -> tuple[Nested, ...]:
    """Return up to so many rows of a batch, as the loader hands them out; the order of the training's own is not touched."""
    update = next(epochs(training.case, training.rows, training.weight)())
    x, y, _ = next(iter(update))
    return tuple(nested.mapped(nested.cut(part, 0, count), Tensor.clone) for part in (x, y))
