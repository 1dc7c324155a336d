"""`mbbench.watch` for loops that others run: a callback for Lightning's Trainer, and one for that of Hugging Face.

Their libraries are imported when a callback is made, never before. Easy to get wrong: between two batches a trainer does
more than wait for the loader. What it tells of (evaluation, logging, saving) is left out; the rest is counted with the
loader, and is called so.
"""

import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import nn

from mbbench.case import UsageError
from mbbench.measuring import nested
from mbbench.watched import Loop
from mbbench.watching import AFTER_S, loop_of


def watch_lightning(*, after_s: float = AFTER_S, say: Callable[[str], None] = print) -> Any:
    """Return a callback for Lightning: `Trainer(callbacks=[mbbench.watch_lightning()])`.

    Args:
        after_s: seconds of training after which it says what it has seen so far.
        say: takes each line.

    Raises:
        UsageError: Lightning is not installed.
    """
    theirs = _library("lightning.pytorch", "pytorch_lightning")
    running = _Running(after_s, say)

    class Watching(theirs.Callback):  # type: ignore[name-defined, misc]  # the base is theirs, whichever is there
        """What was seen of a fit, in words."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero:
                running.begin("Lightning's Trainer", trainer.train_dataloader, pl_module, trainer.optimizers)

        def on_train_epoch_start(self, *_: Any) -> None:
            running.epoch()

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            running.batch_begins(batch)

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            running.before_update(optimizer)

        def on_train_batch_end(self, *_: Any) -> None:
            running.batch_ends()

        def on_validation_end(self, *_: Any) -> None:
            running.left_out()

        def on_train_end(self, *_: Any) -> None:
            running.end()

        def on_exception(self, *_: Any) -> None:
            running.end()

    return Watching()


def watch_transformers(*, after_s: float = AFTER_S, say: Callable[[str], None] = print) -> Any:
    """Return a callback for Hugging Face: `Trainer(..., callbacks=[mbbench.watch_transformers()])`.

    A batch is that of an update: with gradient accumulation several of the loader's.

    Args:
        after_s: seconds of training after which it says what it has seen so far.
        say: takes each line.

    Raises:
        UsageError: transformers is not installed.
    """
    theirs = _library("transformers")
    running = _Running(after_s, say)

    class Watching(theirs.TrainerCallback):  # type: ignore[name-defined, misc]  # the base is theirs
        """What was seen of a training, in words."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                loader, model, optimizer = kwargs["train_dataloader"], kwargs["model"], kwargs["optimizer"]
                running.begin("Hugging Face's Trainer", loader, model, [optimizer])

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            running.epoch()

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            running.batch_begins()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            running.batch_ends()

        def on_log(self, *_: Any, **__: Any) -> None:
            running.left_out()

        def on_evaluate(self, *_: Any, **__: Any) -> None:
            running.left_out()

        def on_save(self, *_: Any, **__: Any) -> None:
            running.left_out()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            running.end()

    return Watching()


class _Running:
    """A loop that a trainer runs, counted by what the trainer tells of it.

    A look's hooks are there while a batch is trained only: between two of them the trainer may evaluate, which calls the
    model too.
    """

    def __init__(self, after_s: float, say: Callable[[str], None]) -> None:
        self._after_s, self._say = after_s, say
        self._loop: Loop | None = None
        self._began = self._fetched = self._loader_s = 0.0

    def begin(self, trainer: str, loader: Any, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Training begins; more than one optimizer is not watched, and that is said."""
        if len(optimizers) != 1:
            self._say(
                f"mbbench watches a loop with one optimizer: {trainer} has {len(optimizers)} here, so it is not watched."
            )
            return
        self._loop = loop_of(loader, model, optimizers[0], self._after_s, self._say)
        self._loop.seen.trainer = trainer

    def epoch(self) -> None:
        """An epoch begins; what came before was no part of a step."""
        if self._loop is not None:
            self._loop.seen.epochs += 1
            self.left_out()

    def left_out(self) -> None:
        """What was done since the last batch is no part of a step."""
        self._began = time.perf_counter()

    def batch_begins(self, given: Any = None) -> None:
        """A batch is there; what it is, where that is told."""
        if self._loop is not None:
            self._loader_s = time.perf_counter() - self._began
            if self._loop.look.on:
                self._loop.look.resume(nested.count(given))
            self._fetched = time.perf_counter()

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """The gradients are there."""
        if self._loop is not None:
            self._loop.look.before_update(optimizer)

    def batch_ends(self) -> None:
        """It is trained."""
        if self._loop is not None:
            look = self._loop.look
            if look.on:
                look.wait()
            self._loop.count(1, self._loader_s, self._loader_s + time.perf_counter() - self._fetched)
            look.pause()
            self._began = time.perf_counter()

    def end(self) -> None:
        """Training ends, or breaks off: say what was seen."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.finish()


def _library(*names: str) -> ModuleType:
    for name in sorted(names, key=lambda name: name not in sys.modules):  # of two forks the one that is in use
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise  # it is there, and something that it needs is not
    package = names[0].partition(".")[0]
    raise UsageError(
        f"{package} is not installed, whose Trainer this is a callback for: pip install {package}, or, around a loop of "
        "your own, `for batch in mbbench.watch(loader, model, optimizer):`"
    )
