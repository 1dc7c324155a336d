"""Optimizers by name, and what goes with their steps: clipping of the gradients, a schedule of the learning rate.

Clipping and schedule are hooks of the optimizer's step, so there is one training loop with them and without. Easy to get
wrong: a schedule changes the rate after the update, as in torch's own loops.
"""

import inspect
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from mbbench.case import Cell, UsageError
from mbbench.measuring.modules import load_function


def make(case: Cell, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Return the optimizer that a case names, over a model's parameters, with its clipping and its schedule.

    Raises:
        UsageError: a name of the user's own is not there, returns something else, or needs a closure.
    """
    if case.optimizer in OPTIMIZERS:
        made = OPTIMIZERS[case.optimizer](model.parameters(), lr)
    else:
        made = _own(case.optimizer, list(model.parameters()), lr)
    if (clip := case.option("clip")) != "none":
        parameters, most = list(model.parameters()), float(clip)
        made.register_step_pre_hook(lambda *_: _clip(parameters, most))
    if (schedule := case.option("schedule")) != "none":
        _schedule(schedule, made, case)
    return made


def _own(name: str, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    made = load_function("optimizer", name, "(parameters, lr) -> optimizer")(parameters, lr=lr)
    if not isinstance(made, torch.optim.Optimizer):
        raise UsageError(f"optimizer {name} returned a {type(made).__name__}: expected a torch.optim.Optimizer")
    held = {id(part) for group in made.param_groups for part in group["params"]}
    left = sum(part.requires_grad and id(part) not in held for part in parameters)
    if left:
        raise UsageError(f"optimizer {name} leaves out {left} of {len(parameters)} parameters: freeze them or train them")
    closure = inspect.signature(type(made).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise UsageError(
            f"optimizer {type(made).__name__} needs a closure that computes the loss anew, several times a step: mbbench "
            "computes it once a step, so that all optimizers do the same work; use one whose step() needs none"
        )
    return made


def _clip(parameters: list[nn.Parameter], most: float) -> None:
    nn.utils.clip_grad_norm_(parameters, most)


def _schedule(name: str, optimizer: torch.optim.Optimizer, case: Cell) -> None:
    found = load_function("schedule", name, "(optimizer) -> torch's LRScheduler")
    asks = "steps_per_epoch" in inspect.signature(found).parameters
    try:
        made = found(optimizer, steps_per_epoch=case.steps_per_epoch) if asks else found(optimizer)
    except TypeError as error:
        raise UsageError(f"schedule {name} cannot be made ({error}): name a function of yours that makes it") from error
    if not callable(getattr(made, "step", None)):
        raise UsageError(
            f"schedule {name} gives a {type(made).__name__}: give a function (optimizer) -> torch's LRScheduler"
        )
    needed = [each for each in inspect.signature(made.step).parameters.values() if each.default is each.empty]
    if needed:
        raise UsageError(f"schedule {type(made).__name__} waits for a metric: give one whose step() needs nothing")
    optimizer.register_step_post_hook(lambda *_: made.step())


def _sgd(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr)


def _momentum(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def _adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=lr)


OPTIMIZERS: dict[str, Callable[[Iterable[Tensor], float], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adam": _adam,
}
