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
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, Self

import torch
from torch import nn

from mbbench.case import UsageError
from mbbench.seen import Seen
from mbbench.watched import CHUNK, Loop

AFTER_S = 60.0
_ALL: list[Loop] = []


def watch(
    loader: Iterable[Any] | None = None,
    model: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    after_s: float = AFTER_S,
    say: Callable[[str], None] = print,
) -> "Watch":
    """Watch a training loop and say what was seen of it: after a minute, and when it ends.

    Of one model and optimizer, loaders of one class, batch size and number of workers are one loop, however often it begins.

    Args:
        loader: what the loop iterates over; None: the loop has none, and stands in a `with`.
        model: the trained module.
        optimizer: its optimizer.
        after_s: seconds of training after which it says what it has seen so far.
        say: takes each line.

    Raises:
        UsageError: model or optimizer is missing or is none.
    """
    if _ALL and loader is not None:  # of a small epoch each call is a part, so a loop that goes on is found without one
        last = _ALL[-1]
        if last.loader() is loader and last.model() is model and last.given() is optimizer:
            return Watch(last, loader)
    return Watch(loop_of(loader, model, optimizer, after_s, say), loader)


def loop_of(
    loader: Iterable[Any] | None,
    model: nn.Module | None,
    optimizer: torch.optim.Optimizer | None,
    after_s: float,
    say: Callable[[str], None],
) -> Loop:
    """Return the loop of these: one that goes on, or one that begins, where those before it speak."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"watch got a model of type {type(model).__name__}: give watch(loader, model, optimizer)")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(f"watch got an optimizer of type {type(optimizer).__name__}: give watch(loader, model, optimizer)")
    for known in _ALL:
        if known.goes_on(loader, model, optimizer):
            return known
    for known in _ALL:
        known.finish()
    made = Loop(loader, model, optimizer, after_s, say, _ALL[-1].seen if _ALL else None)
    _ALL.append(made)
    return made


class Watch:
    """A watched loop with its loader: iterate over it, or stand the loop in a `with`; `str` of it is what was seen."""

    def __init__(self, loop: Loop, loader: Iterable[Any] | None) -> None:
        """Take both."""
        self._loop, self._loader = loop, loader

    @property
    def seen(self) -> Seen:
        """What was seen, until a second ago."""
        return self._loop.seen

    def __iter__(self) -> Iterator[Any]:
        """Yield the loader's batches."""
        if self._loader is None:
            raise UsageError("watch has no loader to iterate over: give one, or use it in a `with`")
        loop, seen, clock = self._loop, self._loop.seen, time.perf_counter
        seen.epochs += 1
        since = clock()
        source = iter(self._loader)
        batches = CHUNK
        while batches == CHUNK:
            if loop.untimed <= 0:
                batches = yield from self._timed(source, since)
                since = clock()
                continue
            # The usual way. After a step of torch's nothing is in the processor's caches: ten lines take 1 % of an epoch of
            # three small steps.
            batches = 0
            try:
                for batch in source:
                    yield batch
                    batches += 1
                    if batches == CHUNK:
                        break
            finally:
                ended = clock()
                seen.batches += batches
                seen.total_s = total_s = seen.total_s + ended - since
                loop.untimed = 0 if total_s >= loop.due_s else loop.untimed - batches
            since = ended

    def _timed(self, source: Iterator[Any], since: float) -> Generator[Any, None, int]:
        """Yield a chunk of batches, each timed; return how many there were."""
        loop, look, clock = self._loop, self._loop.look, time.perf_counter
        looking, all_of_them, batches, waited_s = look.on, 0, 0, 0.0
        if looking:
            look.resume()
        began = ended = since
        due = since + loop.due_s - loop.seen.total_s
        try:
            for batch in islice(source, CHUNK):
                fetched = clock()
                yield batch
                if looking:
                    look.wait()
                ended = clock()
                waited_s += fetched - began
                batches += 1
                if ended >= due:
                    loop.count(batches, waited_s, ended - since)
                    all_of_them += batches
                    looking, batches, waited_s, ended = look.on, 0, 0.0, clock()
                    since, due = ended, ended + loop.due_s - loop.seen.total_s
                began = ended
            ended = clock()
            waited_s += ended - began  # in which the loader said that there is no more
        finally:
            loop.count(batches, waited_s, ended - since)
            if look.on:
                look.pause()
        return all_of_them + batches

    def __enter__(self) -> Self:
        """Watch updates from here on."""
        if not self.seen.batches:
            self._loop.spoken = -1  # whoever stands a loop in a `with` hears of it even if it made no step
        optimizer = self._loop.optimizer
        self._counter = None
        if optimizer is not None and self._loader is None:
            self._counter = optimizer.register_step_post_hook(self._updated)
            self._loop.look.told = True
            self._go_on()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and say what was seen."""
        if self._counter is not None:
            self._counter.remove()
            self._loop.count(self._updates, 0.0, self._ended - self._since)
        self._loop.look.pause()
        self._loop.finish()

    def _updated(self, *_: object) -> None:
        """Count a step of a loop without a loader, by its update."""
        if self._looking:
            self._loop.look.after_update()
        self._ended = time.perf_counter()
        self._updates += 1
        if self._ended >= self._due:
            self._loop.count(self._updates, 0.0, self._ended - self._since)
            self._go_on()

    def _go_on(self) -> None:
        self._looking, self._updates, self._since = self._loop.look.on, 0, time.perf_counter()
        self._ended, self._due = self._since, self._since + self._loop.due_s - self.seen.total_s

    def lines(self) -> list[str]:
        """Return what was seen, in sentences."""
        return self._loop.lines()

    def __str__(self) -> str:
        """Return what was seen, in sentences."""
        return "\n".join(self.lines())


@atexit.register
def _at_exit() -> None:
    for each in _ALL:
        with contextlib.suppress(Exception):  # at exit nothing is lost by saying nothing
            each.finish()
