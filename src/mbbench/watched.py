"""A loop that is watched: what is counted of it, when it is looked at, and when it speaks.

Easy to get wrong: it is known for as long as the process lives, so that a later loop can be compared with it; so it keeps
neither the model nor the loader, and inputs of the model only until it has spoken for its end.
"""

import contextlib
import math
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import psutil
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

from mbbench.measuring import devices, probing, resident
from mbbench.measuring.looking import Looking
from mbbench.seen import Seen

LOOK, BEFORE_FIRST = 8, 4
"""Batches of a look, and before the first one."""
LOOK_SHARE = 0.01
"""Of the time, that looks may have cost when the next one begins."""
MOST_LEFT_S = 1.0
"""Between two times that a loop is counted: so much may be unknown to whoever asks amid an epoch."""
SMALL_S, RUN, FEWEST_RUNS, GOLDEN = 1e-3, 128, 8, (5**0.5 - 1) / 2
"""Of batches that take less than `SMALL_S` a run of `RUN` is timed one by one, and then 8 to 16 times as many are not.

That takes 2 us a batch, 1 % of a step of 0.2 ms; single ones would take 20 us, since a step of torch's drives all code that
does not run in every step out of the processor's caches.
"""
CHUNK = 64
"""Batches after which it is asked again whether they are to be timed."""
LARGE_BYTES = 2**24
"""Parameters from which on it is asked whether there is room for the sum of their gradients."""


class Loop:
    """A loop that is watched.

    Attributes:
        seen: what was seen of it.
        look: the look at it.
        given, model, loader: weak references to what it is of.
        spoken: batches there were when it last spoke.
        due_s: seconds of training after which it has to be counted again; 0: after every batch.
        untimed: how many of the next batches need not be timed one by one.
    """

    def __init__(
        self,
        loader: Iterable[Any] | None,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        after_s: float,
        say: Callable[[str], None],
        before: Seen | None,
    ) -> None:
        """Take what `watch` was given, and what was seen of the loop before."""
        self.given, self.model, self.loader = (
            weakref.ref(optimizer),
            weakref.ref(model, lambda _: self._forget()),
            _weakly(loader),
        )
        # Accelerate's optimizer is one by its class alone: hooks belong on the one that it holds.
        optimizer = getattr(optimizer, "optimizer", optimizer)
        self._device = next((part.device for part in model.parameters()), torch.device("cpu"))
        self.seen = Seen(
            loader=_named(loader),
            model=type(model).__name__,
            optimizer=type(optimizer).__name__,
            optimizer_name=_optimizer(optimizer),
            lr=float(optimizer.param_groups[0]["lr"]),
            device=self._device.type,
        )
        self.seen.data, self.seen.rows = _data(loader)
        self.look = Looking(devices.synchroniser(self._device.type))
        self._kind, self._optimizer = _kind(loader), weakref.ref(optimizer)
        self._after_s, self._say, self._before, self.spoken = after_s, say, before, 0
        self._next_look_s = self.due_s = self._turn = 0.0
        self._run, self.untimed = RUN, 0
        self._probed_bytes = 0  # the peak after a copy was tried, which is not the training's

    def goes_on(self, loader: Iterable[Any] | None, model: object, optimizer: object) -> bool:
        """Return whether this is the loop of these."""
        # What is gone is None, as what was not given is.
        return self.given() is optimizer is not None and self.model() is model is not None and self._kind == _kind(loader)

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """Its optimizer; None where that is gone."""
        return self._optimizer()

    def count(self, batches: int, loader_s: float, total_s: float) -> None:
        """Count batches that were trained and timed, the loader's part in it included; amid a look they come one by one.

        Args:
            batches: how many; 0: the loader alone took time, at the end of an epoch.
            loader_s: seconds in the loader.
            total_s: seconds in all.
        """
        seen = self.seen
        seen.timed = seen.timed.more(batches, loader_s, total_s)
        seen.batches += batches
        seen.total_s += total_s
        if self.look.on or (batches and seen.total_s >= self.due_s):
            self._consider(batches, loader_s, total_s)
        self._run -= batches
        if self._run <= 0 and not self.look.on and seen.total_s < SMALL_S * seen.batches:
            # By the golden ratio, which falls evenly and never in step with the epochs, whose beginnings are the loader's.
            self._run, self._turn = RUN, (self._turn + GOLDEN) % 1.0
            self.untimed = int(RUN * (FEWEST_RUNS + self._turn * FEWEST_RUNS))

    def _consider(self, batches: int, loader_s: float, total_s: float) -> None:
        """Begin a look or end one, or speak."""
        seen, look = self.seen, self.look
        if look.on:
            if look.count(batches, loader_s, total_s):
                seen.aside = seen.aside.more(batches, loader_s, total_s)
            if look.batches == LOOK:
                found, gradients = look.end()
                seen.looks.append(found)
                seen.gradients += [gradients] if gradients else []
                seen.answers_loss = look.answers_loss
                # One that something else has disturbed looks dear, and must not be the last.
                self._next_look_s = min(max(2 * seen.total_s, self._looks_cost_s() / LOOK_SHARE), 32 * seen.total_s)
        elif seen.batches == 1:
            self._first_s = total_s
            seen.aside = seen.aside.more(1, loader_s, total_s)
        elif seen.batches >= BEFORE_FIRST and seen.total_s >= self._next_look_s:
            model, optimizer = self.model(), self._optimizer()
            if model is not None and optimizer is not None:
                look.begin(model, optimizer, self._has_room(optimizer))
        if seen.total_s >= self._after_s:
            self._after_s = math.inf
            self.speak()
        always = look.on or seen.batches < BEFORE_FIRST
        self.due_s = 0.0 if always else min(self._next_look_s, self._after_s, seen.total_s + MOST_LEFT_S)

    def _looks_cost_s(self) -> float:
        """Return what looks have cost: what their batches took more than the others."""
        aside, plain = self.seen.aside, self.seen.plain
        batches, total_s = aside.batches - 1, aside.total_s - self._first_s
        return total_s - batches * plain.total_s / plain.batches

    def _has_room(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether the sum of the gradients fits well into the memory that is free."""
        size = sum(part.nbytes for group in optimizer.param_groups for part in group["params"])
        free_bytes = _memory(self._device)[1] if size > LARGE_BYTES else None
        return free_bytes is None or size < free_bytes / 4

    def finish(self) -> None:
        """Say what was seen, since the loop has ended as far as is known, and let go of what it was trained on."""
        self.speak()
        self._forget()

    def _forget(self) -> None:
        self.look.drop()
        self.look.inputs = None

    def speak(self) -> None:
        """Say what was seen since it last spoke, if anything was."""
        if self.seen.batches == self.spoken:
            return
        self.spoken = self.seen.batches
        for line in self.lines():
            self._say(line)

    def lines(self) -> list[str]:
        """Return what was seen, in sentences."""
        from mbbench.reporting import seen_words

        peak_bytes, self.seen.free_bytes = _memory(self._device)
        if peak_bytes is None or peak_bytes > self._probed_bytes:
            self.seen.peak_bytes = peak_bytes
        if not self.seen.probes:
            self._probe()
            self._probed_bytes = _memory(self._device)[0] or 0
        return seen_words.lines(self.seen, self._before)

    def _probe(self) -> None:
        """Try other batch sizes on a copy of the model, once."""
        seen, model, inputs = self.seen, self.model(), self.look.inputs
        if model is None or inputs is None:
            if seen.looks:
                seen.unprobed = "the model is gone" if model is None else "the model itself was not called, or is compiled"
            return
        batches, loader_s, total_s = seen.plain
        step_s = (total_s - loader_s) / batches if batches else 0.0
        room_bytes = None if seen.free_bytes is None else seen.free_bytes // 2
        with self.look.paused():  # a copy of the model would have its hooks too
            seen.probes, seen.unprobed = probing.probe(model, *inputs, self.look.wait, step_s=step_s, room_bytes=room_bytes)


def _kind(loader: Iterable[Any] | None) -> tuple[Any, ...]:
    """Return what tells the loader of one loop from that of another."""
    return type(loader), getattr(loader, "batch_size", None), getattr(loader, "num_workers", None)


def _weakly(loader: Iterable[Any] | None) -> Callable[[], Iterable[Any] | None]:
    try:
        return weakref.ref(loader) if loader is not None else lambda: None
    except TypeError:  # as a list says
        return lambda: None


def _named(loader: Iterable[Any] | None) -> str:
    if loader is None:
        return ""
    workers = getattr(loader, "num_workers", 0)
    return f"{type(loader).__name__} with {workers} workers" if workers else type(loader).__name__


def _optimizer(optimizer: torch.optim.Optimizer) -> str:
    kind = type(optimizer)
    if kind is torch.optim.SGD:
        return "momentum" if optimizer.param_groups[0]["momentum"] else "sgd"
    if kind is torch.optim.Adam:
        return "adam"
    if kind.__module__ == "__main__" or kind is torch.optim.LBFGS:  # that needs a closure
        return "sgd"
    home = "torch.optim" if getattr(torch.optim, kind.__name__, None) is kind else kind.__module__
    return f"{home}:{kind.__name__}"


def _data(loader: Iterable[Any] | None) -> tuple[str, int | None]:
    """Return the arguments of a Problem for a loader's rows, and how many there are."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return "data=(features, targets)", None
    count = len(loader.dataset) if hasattr(loader.dataset, "__len__") else None
    if isinstance(loader.dataset, TensorDataset) and len(loader.dataset.tensors) == 2:
        return "data=loader.dataset.tensors", count
    collate = "" if loader.collate_fn is default_collate else ", collate=loader.collate_fn"
    return f"data=loader.dataset{collate}", count


def _memory(device: torch.device) -> tuple[int | None, int | None]:
    """Return the most that was taken of memory, and what is free; None for what is not known."""
    if device.type == "cpu":
        peak = resident.peak_bytes()
        return psutil.Process().memory_info().rss if peak is None else peak, resident.free_bytes()
    memory = torch.accelerator.memory
    with contextlib.suppress(AttributeError, RuntimeError):  # not every torch and not every backend tells
        cached = memory.memory_reserved(device) - memory.memory_allocated(device)
        return memory.max_memory_allocated(device), memory.get_memory_info(device)[0] + cached
    return None, None
