"""Watch a training loop that exists: `for batch in mbbench.watch(loader, model, optimizer):` around it, and nothing else.

Between two batches the loop's own code runs, and the clock is read where it begins and ends. For a few batches at a time, a
look, hooks also read it around the model and the optimizer, and the gradients are summed. Nothing that training reads is
touched: no random number is drawn, no gradient changed, no loss read; copies are tried at the end, with the random state put
back. Easy to get wrong: a loop is `watch`ed anew in every epoch and is one loop all the same; hooks on every step would cost
a small model more than the promised 2 %, so looks are rare (each when the time has doubled); and an accelerator is waited
for in looks only.
"""

import atexit
import contextlib
import math
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import psutil
import torch
from torch import nn

from mbbench.case import UsageError
from mbbench.measuring import devices, probing, resident
from mbbench.measuring.looking import Looking
from mbbench.seen import Seen

LOOK, BEFORE_FIRST = 8, 4
"""Batches of a look, and before the first one."""
AFTER_S = 60.0
_ALL: list["Watch"] = []


def watch(
    loader: Iterable[Any] | None = None,
    model: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    after_s: float = AFTER_S,
    say: Callable[[str], None] = print,
) -> "Watch":
    """Watch a training loop and say what was seen of it: after a minute, and when it ends.

    Of one model and optimizer, loaders of one class and batch size are one loop, however often it is begun.

    Args:
        loader: what the loop iterates over; None: the loop has none, and stands in a `with`.
        model: the trained module.
        optimizer: its optimizer.
        after_s: seconds of training after which it says what it has seen so far.
        say: takes each line.

    Raises:
        UsageError: model or optimizer is missing or is none.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"watch got a model of type {type(model).__name__}: give watch(loader, model, optimizer)")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(f"watch got an optimizer of type {type(optimizer).__name__}: give watch(loader, model, optimizer)")
    for known in _ALL:
        if known.goes_on(loader, model, optimizer):
            return known
    for known in _ALL:
        known.speak()  # its loop has ended: another one begins
    made = Watch(loader, model, optimizer, after_s, say)
    _ALL.append(made)
    return made


class Watch:
    """A loop that is watched: iterate over it, or stand the loop in a `with`; `str` of it is what was seen."""

    def __init__(
        self,
        loader: Iterable[Any] | None,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        after_s: float,
        say: Callable[[str], None],
    ) -> None:
        """Take what `watch` was given."""
        device = next((part.device for part in model.parameters()), torch.device("cpu"))
        self.seen = Seen(
            loader="" if loader is None else type(loader).__name__,
            model=type(model).__name__,
            optimizer=type(optimizer).__name__,
            lr=float(optimizer.param_groups[0]["lr"]),
            device=device.type,
        )
        self._loader, self._kind = loader, _kind(loader)
        self._model, self._optimizer = weakref.ref(model), weakref.ref(optimizer)
        self._after_s, self._say, self._spoken = after_s, say, 0
        self._look = Looking(devices.synchroniser(device.type))
        self._next_look_s = 0.0
        self._counter: Any = None

    def goes_on(self, loader: Iterable[Any] | None, model: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether this watches the loop of these; if so it goes on with this loader."""
        same = self._model() is model and self._optimizer() is optimizer and self._kind == _kind(loader)
        if same:
            self._loader = loader
        return same

    def __iter__(self) -> Iterator[Any]:
        """Yield the loader's batches."""
        if self._loader is None:
            raise UsageError("watch has no loader to iterate over: give one, or use it in a `with`")
        seen, look, clock = self.seen, self._look, time.perf_counter
        seen.epochs += 1
        look.resume()
        try:
            began = clock()
            batches = iter(self._loader)
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    break
                fetched = clock()
                yield batch
                if look.on:
                    look.wait()
                ended = clock()
                loader_s, step_s = fetched - began, ended - began
                seen.batches += 1
                seen.loader_s += loader_s
                seen.total_s += step_s
                began = ended
                if look.on or seen.total_s >= self._next_look_s or seen.total_s >= self._after_s:
                    self._after_batch(loader_s, step_s)
                    began = clock()
        finally:
            look.pause()

    def __enter__(self) -> Self:
        """Watch updates from here on."""
        optimizer = self._optimizer()
        if optimizer is not None and self._kind == _kind(None):
            self._look.hold(optimizer)
            self._counter = optimizer.register_step_post_hook(self._count)
            self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and say what was seen."""
        if self._counter is not None:
            self._counter.remove()
            self._look.release()
        self._look.pause()
        self.speak()

    def _count(self, *_: object) -> None:
        """Count a step of a loop without a loader, by its update."""
        if self._look.on:
            self._look.wait()
        ended = time.perf_counter()
        step_s, self._began = ended - self._began, ended
        self.seen.batches += 1
        self.seen.total_s += step_s
        if self._look.on or self.seen.total_s >= self._next_look_s or self.seen.total_s >= self._after_s:
            self._after_batch(0.0, step_s)
            self._began = time.perf_counter()

    def _after_batch(self, loader_s: float, step_s: float) -> None:
        """Begin a look or end one, or speak."""
        seen, look = self.seen, self._look
        if look.on:
            look.batch(loader_s, step_s)
            if look.batches == LOOK:
                found, gradients = look.end()
                seen.looks.append(found)
                seen.gradients += [gradients] if gradients else []
                self._next_look_s = 2 * seen.total_s
        elif seen.batches >= BEFORE_FIRST and seen.total_s >= self._next_look_s:
            model, optimizer = self._model(), self._optimizer()
            if model is not None and optimizer is not None:
                look.begin(model, optimizer)
        if seen.total_s >= self._after_s and not self._spoken:
            self._after_s = math.inf
            self.speak()

    def speak(self) -> None:
        """Say what was seen since it last spoke, if anything was."""
        if self.seen.batches == self._spoken:
            return
        self._spoken = self.seen.batches
        for line in self.lines():
            self._say(line)

    def lines(self) -> list[str]:
        """Return what was seen, in sentences."""
        from mbbench.reporting import seen_words

        seen, model, inputs = self.seen, self._model(), self._look.inputs
        seen.peak_bytes, seen.free_bytes = _memory(seen.device)
        if model is not None and inputs is not None:
            with self._look.paused():  # a copy of the model would have its hooks too
                seen.probes, seen.unprobed = probing.probe(model, *inputs, self._look.wait)
        place = _ALL.index(self) if self in _ALL else 0
        return seen_words.lines(seen, [other.seen for other in _ALL[:place]])

    def __str__(self) -> str:
        """Return what was seen, in sentences."""
        return "\n".join(self.lines())


def _kind(loader: Iterable[Any] | None) -> tuple[str, Any]:
    return type(loader).__name__, getattr(loader, "batch_size", None)


def _memory(device: str) -> tuple[int | None, int | None]:
    """Return the most that was taken of memory, and what is free; None for what is not known."""
    if device == "cpu":
        peak = resident.peak_bytes()
        return psutil.Process().memory_info().rss if peak is None else peak, resident.free_bytes()
    return torch.accelerator.memory.max_memory_allocated(), None


@atexit.register
def _at_exit() -> None:
    for each in _ALL:
        with contextlib.suppress(Exception):  # at exit nothing is lost by saying nothing
            each.speak()
