"""Measure what training takes of memory: the exact peak of tensor memory, and what the process really took.

One process of its own runs a few updates twice: first plainly, for the resident peak, then under torch's profiler, which
counts every byte of every tensor, operator scratch included (and costs 1.5 times the time and more: never in a timed pass).

Easy to get wrong: the peak of an epoch may lie at its end, where the last batch still holds the shuffled rows while those
of the next epoch are made; optimizers make their state at the first update; making the rows may take more than training
on them, so the two are told apart; rows that a problem holds as tensors were there before anything was counted.
"""

import contextlib
import gc
import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from mbbench.case import Cell
from mbbench.measuring import nested, resident
from mbbench.measuring.batches import MicroBatch, Update
from mbbench.measuring.gradients import checked
from mbbench.measuring.jobs import MEMORY_UPDATES
from mbbench.measuring.problems import Problem
from mbbench.measuring.training import Training, prepare
from mbbench.record import Phase

Item = TypeVar("Item")
FIRST = MEMORY_UPDATES - 2
"""Updates at the start of an epoch (and micro-batches of an update) that are made: optimizers have their state by then."""
WALK = 500
"""Most batches that are fetched to come to an epoch's ragged last one (0.1 s, and 60 events each under the profiler)."""
MMAP_BYTES = 64 * 1024
WARM_UP_ROWS = 4
TRAIN_MARK = "mbbench: train"


def measure(
    case: Cell, problem: Problem, on_phase: Callable[[Phase], None], release: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Return the memory fields of a Measurement, and the learning rate.

    Args:
        case: what to train.
        problem: its problem, resolved.
        on_phase: told each phase as it begins.
        release: called when the cell has run within its limit: a profiler needs memory of its own.
    """
    if case.option("malloc") == "mmap64k":
        resident.return_at_once(MMAP_BYTES)
    gc.disable()
    on_phase("warm-up")
    _warm_up(case, problem)
    found = {"lr": problem.lr if case.lr is None else case.lr}
    if case.device == "cpu":
        found |= _resident_peak(case, problem, on_phase)
        before = live_bytes()
        found |= checked(case, problem)
        kept = live_bytes() - before  # a data function that remembers what it made has the check's rows too
        release()
        setup, peak = (size - kept for size in tensor_peaks(case, problem))
        found |= {"setup_peak_tensor_bytes": setup, "peak_tensor_bytes": peak}
    else:
        found |= _on_device(case, problem, on_phase)
        found |= checked(case, problem)
    return found


def short_epochs(training: Training, first: int = FIRST, walk: int = WALK) -> Iterator[Update]:
    """Return updates that meet the peak of any number of epochs: the first ones and the last of one, the first of the next.

    Those between are made on two rows of their batches: so each batch is fetched, and held until the next one is there, as
    in training (passed over unseen, three would be held at once where training holds two).

    Args:
        training: the case, prepared.
        first: how many of the first ones; also of the micro-batches of an accumulated update.
        walk: the last one is left out where more than this would have to be fetched.
    """
    case = training.case
    of_update = -(-case.samples_per_step // case.micro_batch) if case.micro_batch else 1

    def cut(update: Update) -> Update:
        return _ends(iter(update), of_update, first, walk, _two_rows)

    between = walk if case.steps_per_epoch * of_update <= walk else 0
    yield from map(cut, _ends(training.epoch(), case.steps_per_epoch, first, between, lambda u: map(_two_rows, u)))
    yield from map(cut, itertools.islice(training.epoch(), 1))


def _ends(items: Iterator[Item], count: int, first: int, walk: int, small: Callable[[Item], Item]) -> Iterator[Item]:
    """Return the first ones of `count` items and the last; those between made small, or not at all if more than `walk`."""
    yield from itertools.islice(items, first)
    between = count - first - 1
    if 0 <= between <= walk:
        yield from map(small, itertools.islice(items, between))
        yield from items


def _two_rows(batch: MicroBatch) -> MicroBatch:
    x, y, weight = batch
    return nested.cut(x, 0, 2), nested.cut(y, 0, 2), weight  # two, since BatchNorm cannot do with one


def live_bytes() -> int:
    """Return the bytes of all tensors that the user's code keeps, each storage once: rows, a model that was given as one."""
    gc.collect()
    # By type, not isinstance: some objects answer to that with code of their own.
    tensors = [each for each in gc.get_objects() if issubclass(type(each), Tensor) and each.device.type == "cpu"]
    storages = [tensor.untyped_storage() for tensor in tensors if tensor.layout == torch.strided]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def tensor_peaks(case: Cell, problem: Problem) -> tuple[int, int]:
    """Return the peaks of tensor memory in bytes, while rows and model are made and while training.

    CPU only. Counted are the tensors that are made inside, and those that were there before.
    """
    before = live_bytes()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        training = prepare(case, problem)
        with record_function(TRAIN_MARK):
            pass
        training.train(short_epochs(training))
    events = profiler.profiler.kineto_results.events()
    began = next(event.start_ns() for event in events if event.name() == TRAIN_MARK)
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    live, peaks = before, {False: before, True: 0}
    for when, size in changes:
        training_now = when >= began
        if training_now and not peaks[True]:
            peaks[True] = live
        live += size
        peaks[training_now] = max(peaks[training_now], live)
    return peaks[False], peaks[True]


def _resident_peak(case: Cell, problem: Problem, on_phase: Callable[[Phase], None]) -> dict[str, Any]:
    rest, before = resident.settle(), live_bytes()
    training = prepare(case, problem, on_phase)
    resident.settle()  # what making the rows has left behind is not the training's
    on_phase("train")
    began = time.perf_counter()
    with resident.watched_peak() as peak:
        training.train(short_epochs(training))
    measuring_s = time.perf_counter() - began
    taken = None if peak.bytes is None else max(0, peak.bytes - rest) + before
    return {
        "measuring_s": measuring_s,
        "peak_rss_delta_bytes": taken,
        "rss_sampled": peak.sampled,
        "floor_rss_bytes": rest - before,
    }


def _on_device(case: Cell, problem: Problem, on_phase: Callable[[Phase], None]) -> dict[str, Any]:
    """Return an accelerator's figures as its allocator counts them; what it does not tell is None."""
    device = torch.device(case.device)
    memory = torch.accelerator.memory
    gc.collect()
    torch.accelerator.synchronize(device)
    memory.empty_cache()
    memory.reset_peak_memory_stats(device)
    memory.reset_accumulated_memory_stats(device)
    free = memory.get_memory_info(device)[0]
    training = prepare(case, problem, on_phase)
    on_phase("train")
    began = time.perf_counter()
    training.train(short_epochs(training))
    torch.accelerator.synchronize(device)
    measuring_s = time.perf_counter() - began
    stats = memory.memory_stats(device)
    names = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
    settings = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    return {
        "measuring_s": measuring_s,
        "peak_device_allocated_bytes": stats.get("allocated_bytes.all.peak"),
        "peak_device_reserved_bytes": stats.get("reserved_bytes.all.peak"),
        # The allocator keeps what it took, so what is taken at the end is the most that was.
        "peak_device_used_bytes": max(0, free - memory.get_memory_info(device)[0]),
        "allocation_retries": stats.get("num_alloc_retries"),
        "allocator": " ".join(settings) or "default",
    }


def _warm_up(case: Cell, problem: Problem) -> None:
    """Train on a few rows: kernels are loaded, and their buffers made, before anything is counted."""
    # A model that cannot do with so few is measured without; whatever else is wrong, training will tell, in its own phase.
    with contextlib.suppress(Exception):
        rows = problem.sample(min(case.n_samples, WARM_UP_ROWS), case.seed)
        few = msgspec.structs.replace(case, n_samples=nested.count(rows), batch_size=None, micro_batch=None, loader="slice")
        training = prepare(few, problem.on(rows))
        training.train(itertools.islice(training.stream(), 2))
