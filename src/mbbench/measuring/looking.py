"""A look at a few steps of somebody's training loop: hooks read the clock around model and optimizer, gradients are summed.

Easy to get wrong: between two epochs the loop may evaluate, which is none of its steps, so a look pauses there and its hooks
go, and a batch that was left by `break` counts for nothing; a step that is given a closure trains inside of it; a compiled
model would be compiled anew for a hook, so it gets none; a loop without a loader is counted from a hook after its updates,
in which no hook of this kind may come or go, so that one tells of them (`told`); and a garbage collection that passes over
all of torch's objects takes as long as a hundred small steps, so a step in which there is one is not looked at.
"""

import contextlib
import functools
import gc
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mbbench.measuring import nested
from mbbench.seen import Gradients, Look

PIECE = 2**12


@dataclass
class _Batch:
    """What was read of the batch under way."""

    rows: int = 0
    updates: int = 0
    forward_s: float = 0.0
    optimizer_s: float = 0.0
    own_s: float = 0.0  # taken by the look itself
    spoiled: bool = False


class Looking:
    """Looks, one after the other.

    Attributes:
        wait: waits for the accelerator.
        on: whether one is under way.
        batches: of it so far.
        inputs: what the model was last called with, positional and by name; None before that.
        answers_loss: whether it answered with an object that has a loss.
        told: whether somebody's hook calls `after_update`.
    """

    def __init__(self, wait: Callable[[], None]) -> None:
        """Take what waits for the accelerator."""
        self.wait, self.on, self.batches, self.answers_loss = wait, False, 0, False
        self.inputs: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._of: tuple[weakref.ref[nn.Module], weakref.ref[torch.optim.Optimizer]] | None = None
        self.told = False
        self._collected = functools.partial(_collected, weakref.ref(self))
        self._hooks: list[Any] = []

    def begin(self, model: nn.Module, optimizer: torch.optim.Optimizer, gradients: bool = True) -> None:
        """Begin a look at the steps that follow; their gradients are summed only if that is wanted."""
        self._summing = gradients
        self._of, self.on = (weakref.ref(model), weakref.ref(optimizer)), True
        self.batches = self._updates = self._rows = self._fresh_rows = self._gradients_rows = 0
        self._loader_s = self._forward_s = self._optimizer_s = self._total_s = 0.0
        self._sum: list[Tensor] = []
        self._squares: list[float] = []
        gc.callbacks.append(self._collected)
        self.resume()

    def resume(self, given: int = 0) -> None:
        """Go on with a look that is under way, from the beginning of a batch, of so many rows where that is known."""
        self._now, self._depth, self._given = _Batch(given), 0, given
        self._forward_mark: float | None = None
        self._step_mark: float | None = None
        self._fresh_rows += given
        self._put()

    def _put(self) -> None:
        """Put the hooks of a look that is under way where they belong."""
        if self._of is None or self._hooks:
            return
        model, optimizer = self._of[0](), self._of[1]()
        self.wait()
        if optimizer is not None:
            self._hooks = [optimizer.register_step_pre_hook(self._before_step)]
            if not self.told:
                self._hooks.append(optimizer.register_step_post_hook(self._after_step))
        if model is not None and not hasattr(model, "_orig_mod"):
            self._hooks += [
                model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
                model.register_forward_hook(self._after_forward, always_call=True),
            ]

    def pause(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Take the hooks away inside, and put back those that there were."""
        there = bool(self._hooks)
        self.pause()
        yield
        if there:
            self._put()

    def count(self, batches: int, loader_s: float, total_s: float) -> bool:
        """Count a batch that has ended, the loader's part in it included; return whether it is one of the look.

        Args:
            batches: 1; or 0: what the loader took between two.
            loader_s: seconds in the loader.
            total_s: seconds in all.
        """
        now = self._now
        if batches:
            self._now, self._depth, self._step_mark = _Batch(), 0, None
        if now.spoiled:
            return False
        self._loader_s, self._total_s = self._loader_s + loader_s, self._total_s + total_s
        if not batches:
            return True
        self.batches, self._updates, self._rows = self.batches + 1, self._updates + now.updates, self._rows + now.rows
        self._forward_s, self._optimizer_s = self._forward_s + now.forward_s, self._optimizer_s + now.optimizer_s
        self._total_s -= now.own_s
        return True

    def end(self) -> tuple[Look, Gradients | None]:
        """End the look and return what was read; no gradients of fewer than two updates."""
        figures = self._loader_s, self._forward_s, self._optimizer_s, self._total_s
        look, count = Look(self.batches, self._updates, self._rows, *figures), len(self._squares)
        total, squares = self._sum, self._squares
        self.drop()
        if count < 2 or not self._gradients_rows:
            return look, None
        of_mean = sum(map(_square, total)) / count**2
        return look, Gradients(count, self._gradients_rows / count, sum(squares) / count, of_mean)

    def drop(self) -> None:
        """End the look, if one is under way, and keep nothing of it."""
        self.pause()
        if self.on:
            gc.callbacks.remove(self._collected)
        self.on, self._of, self._sum, self._squares = False, None, [], []

    def spoil(self) -> None:
        """Leave the batch under way out of the look."""
        self._now.spoiled = True

    def _before_forward(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._depth += 1
        if self._depth > 1 or not torch.is_grad_enabled():  # part of itself, or somebody evaluates
            return
        self.inputs, count = (args, kwargs), 0 if self._given else nested.count((args, kwargs))
        self._now.rows += count
        self._fresh_rows += count
        self.wait()
        self._forward_mark = time.perf_counter()

    def _after_forward(self, _: nn.Module, __: object, answer: object) -> None:
        self._depth -= 1
        if self._depth or self._forward_mark is None:
            return
        self.wait()
        self._now.forward_s += time.perf_counter() - self._forward_mark
        self._forward_mark = None
        self.answers_loss = isinstance(getattr(answer, "loss", None), Tensor)

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        closure = kwargs.get("closure") or next(iter(args[1:]), None)  # the first is the optimizer itself
        if closure is None:
            self.before_update(optimizer)

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """The gradients are there, and the update begins. Whoever knows that says it where the step is given a closure."""
        if not self.on or self._step_mark is not None:
            return
        self.wait()
        began = time.perf_counter()
        if self._summing:
            self._add_gradients(optimizer)
        self.wait()
        self._step_mark = time.perf_counter()
        self._now.own_s += self._step_mark - began  # which is no part of the loop

    def _after_step(self, *_: object) -> None:
        self.after_update()

    def after_update(self) -> None:
        """The update is made."""
        self.wait()
        if self._step_mark is not None:
            self._now.optimizer_s += time.perf_counter() - self._step_mark
            self._step_mark = None
        self._now.updates += 1

    def _add_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        parts = [part.grad.detach() for group in optimizer.param_groups for part in group["params"] if part.grad is not None]
        if not parts or any(part.is_sparse or part.is_complex() for part in parts):
            return
        if self._sum and len(self._sum) != len(parts):
            return
        self._squares.append(sum(map(_square, parts)))
        self._gradients_rows, self._fresh_rows = self._gradients_rows + self._fresh_rows, 0
        if not self._sum:
            self._sum = [part.float() if part.element_size() < 4 else part.clone() for part in parts]
            return
        for total, part in zip(self._sum, parts, strict=True):
            total += part


def _collected(look: "weakref.ref[Looking]", phase: str, about: dict[str, int]) -> None:
    """Take what Python says of a garbage collection."""
    looking = look()
    if looking is not None and looking.on and phase == "stop" and about["generation"] == 2:
        looking.spoil()


def _square(part: Tensor) -> float:
    """Return the sum of squares.

    In float32, whose sum over 1e7 is wrong by 4e-3, but in pieces: a float64 copy of a model's gradients takes memory that
    training may need, and 50 times as long.
    """
    flat = part.reshape(-1)
    flat = flat.float() if flat.element_size() < 4 else flat
    whole = len(flat) // PIECE * PIECE
    rest = flat[whole:]
    pieces = torch.linalg.vector_norm(flat[:whole].view(-1, PIECE), dim=1).double().square().sum().item() if whole else 0.0
    return float(pieces) + torch.dot(rest, rest).item()
