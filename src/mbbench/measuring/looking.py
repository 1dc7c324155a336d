"""A look at a few steps of somebody's training loop: hooks read the clock around model and optimizer, gradients are summed.

Easy to get wrong: between two epochs the loop may evaluate, which is none of its steps, so a look pauses there and its hooks
go; a compiled model would be compiled anew for a hook, so it gets none; and a loop without a loader is counted from a hook
of its optimizer, in which no other of its hooks may come or go, so there they stay (`hold`).
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mbbench.measuring.probing import rows
from mbbench.seen import Gradients, Look


class Looking:
    """Looks, one after the other.

    Attributes:
        wait: waits for the accelerator.
        on: whether one is under way.
        batches: of it so far.
        inputs: what the model was last called with, positional and by name; None before that.
    """

    def __init__(self, wait: Callable[[], None]) -> None:
        """Take what waits for the accelerator."""
        self.wait, self.on, self.batches = wait, False, 0
        self.inputs: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._hooks: list[Any] = []
        self._held: list[Any] = []

    def hold(self, optimizer: torch.optim.Optimizer) -> None:
        """Put hooks on an optimizer that stay until they are released, and do nothing between looks."""
        self._held = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def release(self) -> None:
        """Take the hooks that are held away."""
        for hook in self._held:
            hook.remove()
        self._held = []

    def begin(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Begin a look at the steps that follow."""
        self._model, self._optimizer, self.on = model, optimizer, True
        self.batches = self._updates = self._rows = self._depth = 0
        self._loader_s = self._forward_s = self._optimizer_s = self._total_s = self._mark = self._own_s = 0.0
        self._sum: list[Tensor] = []
        self._squares: list[float] = []
        self.resume()

    def resume(self) -> None:
        """Put the hooks of a look that is under way where they belong."""
        if not self.on or self._hooks:
            return
        self.wait()
        if not self._held:
            self._hooks = [
                self._optimizer.register_step_pre_hook(self._before_step),
                self._optimizer.register_step_post_hook(self._after_step),
            ]
        if not hasattr(self._model, "_orig_mod"):
            self._hooks += [
                self._model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
                self._model.register_forward_hook(self._after_forward, always_call=True),
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
            self.resume()

    def batch(self, loader_s: float, step_s: float) -> None:
        """Count a step that has ended, the loader's part in it included."""
        self.batches, self._depth = self.batches + 1, 0
        self._loader_s, self._total_s = self._loader_s + loader_s, self._total_s + step_s - self._own_s
        self._own_s = 0.0

    def end(self) -> tuple[Look, Gradients | None]:
        """End the look and return what was read; no gradients of fewer than two updates."""
        self.pause()
        self.on = False
        figures = self._loader_s, self._forward_s, self._optimizer_s, self._total_s
        look, count = Look(self.batches, self._updates, self._rows, *figures), len(self._squares)
        total, self._sum = self._sum, []
        del self._model, self._optimizer
        if count < 2 or not self._rows:
            return look, None
        mean = sum(float((part / count).double().square().sum()) for part in total)
        return look, Gradients(count, self._rows / count, sum(self._squares) / count, mean)

    def _before_forward(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._depth += 1
        if self._depth == 1:
            self.inputs = args, kwargs
            self._rows += rows(args) or rows(kwargs)
            self.wait()
            self._mark = time.perf_counter()

    def _after_forward(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.wait()
            self._forward_s += time.perf_counter() - self._mark

    def _before_step(self, *_: object) -> None:
        if not self.on:
            return
        self.wait()
        began = time.perf_counter()
        self._add_gradients()
        self.wait()
        self._mark = time.perf_counter()
        self._own_s += self._mark - began  # which is no part of the loop

    def _after_step(self, *_: object) -> None:
        if not self.on:
            return
        self.wait()
        self._optimizer_s += time.perf_counter() - self._mark
        self._updates += 1

    def _add_gradients(self) -> None:
        groups = self._optimizer.param_groups
        parts = [part.grad.detach() for group in groups for part in group["params"] if part.grad is not None]
        if not parts or any(part.is_sparse for part in parts) or (self._sum and len(self._sum) != len(parts)):
            return
        self._squares.append(sum(float(part.double().square().sum()) for part in parts))
        if not self._sum:
            self._sum = [part.clone() for part in parts]
            return
        for total, part in zip(self._sum, parts, strict=True):
            total += part
