"""Time the training loop: warm up, then timed rounds for a fixed time. Between two clock reads stands training only.

A round is at least 10 ms of consecutive updates. Where an epoch is short, or has fewer than 100 updates, a round is a
whole number of epochs and the cost of starting them is inside its clock: what a user would see. Where an epoch is long
(most of the measuring time or more) a round is a part of it; then starts are timed apart and added per epoch.

A streamed file is read a window at a time, so there a round is whole windows: inside less, its median would miss the read.

Easy to get wrong: a ragged last batch is cheaper than the others, so rounds inside an epoch stop before it and are scaled
by rows (off by less than one update in 100); DataLoader makes its order with the first batch, not with its iterator.
"""

import gc
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mbbench.measuring import devices
from mbbench.measuring.batches import Update
from mbbench.measuring.modules import load_function
from mbbench.measuring.training import Training
from mbbench.record import Phase

ROUND_S = 0.010
"""A clock read costs 0.1 us and a timer interrupt some 5 us: under 10 ms they would show."""
WARMUP_S = 0.3
WARMUP_ROUNDS = 5
PARTIAL_STEPS = 100
"""Fewest updates in an epoch of which a round may be a part."""
FEWEST_ROUNDS = 6
"""6 rounds are the fewest that bound a median at 95 % (2 * 0.5**6 = 3.1 %)."""
FEWEST_WINDOWS = 6
"""Of a streamed file, in an epoch of which a round may be a part."""
WINDOWS = 2
"""Of a streamed file, in a round: the last update may begin another, which counts half as much as in one."""
STARTS_SHARE = 0.05
"""Of the measuring time, spent on starting epochs to learn what a start adds."""
MOST_STARTS = 50


@dataclass(frozen=True)
class Clocks:
    """The clocks that are read, so that a test can script them."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time


@dataclass(frozen=True)
class Round:
    """What is inside one clock: `steps` updates with `samples` rows; `epochs` 0 where it is a part of one."""

    steps: int
    samples: int
    epochs: int


def time_rounds(
    training: Training,
    seconds: float,
    on_phase: Callable[[Phase], None],
    clocks: Clocks = Clocks(),
    smoke: bool = False,
) -> dict[str, Any]:
    """Warm up, then time rounds for `seconds`.

    Args:
        training: the case, prepared.
        seconds: of timed rounds; at least one round is timed however long it takes.
        on_phase: told "warm-up" and "train" as each begins.
        clocks: wall and CPU clock.
        smoke: no warm-up, one round of one update: does it run at all?

    Returns:
        Fields of a Measurement, times in seconds.
    """
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection costs 100 ms with torch loaded, and would fall into some rounds
    synchronise = devices.synchroniser(training.case.device)
    on_phase("warm-up")
    starts: list[float] = []
    if smoke:
        plan, warm = Round(1, training.case.samples_per_step, 1), {"warmup_s": 0.0, "warmup_steps": 0}
    else:
        plan, warm = warm_up(training, seconds, synchronise, clocks)
        starts = epoch_starts(training, seconds * STARTS_SHARE, synchronise, clocks)
    on_phase("train")
    began = clocks.wall()
    read = _clocked_rounds(training, plan, 0.0 if smoke else seconds, synchronise, clocks)
    return warm | {
        **read,
        "steps_per_round": plan.steps,
        "samples_per_round": plan.samples,
        "epochs_per_round": plan.epochs,
        "epoch_start_s": tuple(starts),
        "measuring_s": clocks.wall() - began,
    }


def _clocked_rounds(
    training: Training, plan: Round, seconds: float, synchronise: Callable[[], None], clocks: Clocks
) -> dict[str, Any]:
    """Train round after round for `seconds`, one at least; return what each clock read of each, and their page faults."""
    wall: list[float] = []
    cpu: list[float] = []
    event: list[float] = []
    readings: list[float] = []
    meter = _meter(training)
    faults = _minor_faults()
    events = devices.events(training.case.device)
    began = clocks.wall()
    for updates in round_updates(training, plan):
        synchronise()
        before = meter()
        if events:
            events[0].record()
        cpu_0, wall_0 = clocks.cpu(), clocks.wall()
        training.train(updates)
        if events:
            events[1].record()
        synchronise()
        wall_1, cpu_1 = clocks.wall(), clocks.cpu()
        wall.append(wall_1 - wall_0)
        cpu.append(cpu_1 - cpu_0)
        readings.append(meter() - before)
        if events:
            event.append(events[0].elapsed_time(events[1]) / 1e3)
        if wall_1 - began >= seconds:
            break
    later = _minor_faults()
    return {
        "round_s": tuple(wall),
        "round_cpu_s": tuple(cpu),
        "round_event_s": tuple(event),
        "meter": () if training.case.option("meter") == "none" else tuple(readings),
        "minor_faults": None if faults is None or later is None else later - faults,
    }


def _meter(training: Training) -> Callable[[], float]:
    """Return what reads the user's own meter, 0 where there is none."""
    name = training.case.option("meter")
    if name == "none":
        return float
    meter = load_function("meter", name, "() -> a number that only grows")
    return lambda: float(meter())


def _minor_faults() -> int | None:
    """Return how often this process met a page that it had not yet been given; None where that is not counted."""
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def plan_round(n_samples: int, samples_per_step: int, step_s: float, seconds: float, window: int = 1) -> Round:
    """Choose what a round is: whole epochs, or a part of one where an epoch is long.

    Args:
        n_samples: rows of the data set.
        samples_per_step: rows of one update.
        step_s: seconds of one update, from the warm-up.
        seconds: of timed rounds there will be.
        window: updates whose rows are fetched together.
    """
    steps = math.ceil(n_samples / samples_per_step)
    epoch_s = steps * step_s
    fewest = PARTIAL_STEPS if window == 1 else max(PARTIAL_STEPS, FEWEST_WINDOWS * window)
    if steps < fewest or epoch_s <= max(seconds, FEWEST_ROUNDS * ROUND_S) / FEWEST_ROUNDS:
        epochs = max(1, math.ceil(ROUND_S / epoch_s))
        return Round(epochs * steps, epochs * n_samples, epochs)
    part = math.ceil(ROUND_S / step_s)
    if window > 1:
        part = math.ceil(part / (WINDOWS * window)) * WINDOWS * window
    return Round(part, part * samples_per_step, 0)


def round_updates(training: Training, plan: Round) -> Iterator[Iterator[Update]]:
    """Return the updates of round after round, without end; every round holds exactly the planned rows."""
    if plan.epochs:
        stream = training.stream()
        while True:
            yield itertools.islice(stream, plan.steps)
    rounds_per_epoch = (training.case.n_samples // training.case.samples_per_step - 1) // plan.steps
    while True:
        epoch = training.epoch()
        # A start's own cost (shuffle, iterator) falls due with the first update, which is made outside the clock: every
        # timed update then fetches its own batch, no more and no less.
        training.train(itertools.islice(epoch, 1))
        for _ in range(rounds_per_epoch):
            yield itertools.islice(epoch, plan.steps)


def warm_up(
    training: Training, seconds: float, synchronise: Callable[[], None], clocks: Clocks
) -> tuple[Round, dict[str, Any]]:
    """Train until caches, allocators and clock rates have settled; return what a round is to be, and what was done.

    After the first update the warm-up is `WARMUP_ROUNDS` rounds and `WARMUP_S` long, but no longer than the measuring
    itself: a long round, or a quick look at a tiny cell, gets less, and `warmup_s` and `warmup_steps` of the record say it.
    """
    case, stream, began = training.case, training.stream(), clocks.wall()
    training.train(itertools.islice(stream, 1))  # the first loads kernels and tells of no other
    synchronise()
    warm, count, steps, step_s = clocks.wall(), 1, 1, math.inf
    while True:
        chunk_0 = clocks.wall()
        training.train(itertools.islice(stream, count))
        synchronise()
        now = clocks.wall()
        chunk_s, steps = now - chunk_0, steps + count
        if chunk_s < ROUND_S:
            count *= 2
            continue
        step_s = min(step_s, chunk_s / count)  # noise only adds: planned from a slow chunk, rounds came out at 6 ms
        plan = plan_round(case.n_samples, case.samples_per_step, step_s, seconds, training.updates_together)
        if now - warm >= min(seconds, WARMUP_S) and (steps >= WARMUP_ROUNDS * plan.steps or now - warm >= seconds):
            return plan, {"warmup_s": now - began, "warmup_steps": steps}


def epoch_starts(training: Training, seconds: float, synchronise: Callable[[], None], clocks: Clocks) -> list[float]:
    """Start epochs and return what each start adds: iterator and first batch, less an ordinary batch.

    Of a streamed file the first window, less the second. An epoch of fewer than three updates (or windows) has no ordinary
    one to take off (its second may be ragged): there nothing is returned, and the start stays with the step. Otherwise one
    start at least, then more for `seconds`, up to `MOST_STARTS`.
    """
    took: list[float] = []
    count = training.updates_together
    if training.case.steps_per_epoch < 3 * count:
        return took
    began = clocks.wall()
    while not took or (len(took) < MOST_STARTS and clocks.wall() - began < seconds):
        synchronise()
        start_0 = clocks.wall()
        epoch = training.epoch()
        _assemble(epoch, count)
        synchronise()
        ordinary_0 = clocks.wall()
        _assemble(epoch, count)
        synchronise()
        # The difference of two readings of noise can come out below 0; a start cannot take less than nothing.
        took.append(max(0.0, (ordinary_0 - start_0) - (clocks.wall() - ordinary_0)))
    return took


def _assemble(epoch: Iterator[Update], count: int) -> None:
    for update in itertools.islice(epoch, count):
        for _ in update:  # an accumulated update picks its rows as it is walked through
            pass
