"""Whether the runs of a training may be vectorised: tried on a few batches, both ways.

Easy to get wrong: a model that keeps state outside its parameters (BatchNorm's running mean) or draws its own random numbers
(dropout) is another model when vectorised, and its losses may well agree for a while.
"""

import math

import torch
from torch.utils.flop_counter import FlopCounterMode

from mbbench.measuring.ensemble import Ensemble, OneByOne, with_rate
from mbbench.measuring.items import Items
from mbbench.measuring.training import Training

CHANGING = ("autocast", "channels_last", "clip", "schedule")
"""Options that make another update."""
CHECK_STEPS = 5
MOST_FLOPS = 0.5e6
"""Of one run's update, by torch's count. Above, runs are as fast one after the other (digits-mlp: at batch 32, 0.4e6)."""
NOT_WORTH_IT = "an update is arithmetic more than overhead"
AGREE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Relative difference of gradients, and of the loss behind `CHECK_STEPS` batches, that is rounding; other dtypes: 0.05."""


def refusal(training: Training) -> str | None:
    """Return why the runs of a training are not vectorised, None where they are: they agree, and it is worth it."""
    rows, case = training.rows, training.case
    if isinstance(rows, Items) or not all(
        isinstance(part, torch.Tensor) for part in (rows if isinstance(rows, tuple) else ())
    ):
        return "a batch is more than one tensor of features and one of targets, or its rows are items of a data set"
    changed = [f"option {name}" for name in CHANGING if case.option(name) not in ("none", "no")]
    changed += [name for name in (case.optimizer, case.loader) if ":" in name]
    if changed:
        return f"{', '.join(changed)}: its updates are not those that are vectorised"
    random = torch.random.get_rng_state()
    plain = OneByOne([with_rate(training, training.lr)])
    with FlopCounterMode(display=False) as counter:
        plain.advance(1)
    if counter.get_total_flops() > MOST_FLOPS:
        return NOT_WORTH_IT
    if not torch.equal(random, torch.random.get_rng_state()):
        return "it draws random numbers as it trains, which a seed would not tell any more"
    try:
        return _disagreement(training)
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        return f"torch.func cannot vectorise it ({type(error).__name__})"


def _disagreement(training: Training) -> str | None:
    """Return what sets a training apart when it is vectorised, None where nothing does.

    At a learning rate of 0: gradients batch by batch are compared, and what a model keeps beside its parameters shows in
    them or in the loss behind. At a small rate losses would agree whatever was computed, at a large one there are none.
    """
    most = AGREE.get(getattr(torch, training.case.dtype), 0.05)
    together, plain = Ensemble([with_rate(training, 0.0)]), OneByOne([with_rate(training, 0.0)])
    for _ in range(CHECK_STEPS):
        together.advance(1)
        plain.advance(1)
        apart = _gradients_apart(together, plain.trainings[0])
        if not apart <= most:
            return f"vectorised it is another computation: a gradient is off by {apart:.2g} of its norm"
    ours, theirs = together.losses([0])[0][0], plain.losses([0])[0][0]
    if math.isfinite(theirs) and not abs(ours - theirs) <= most * max(abs(theirs), 1e-12):
        return f"vectorised it is another computation: loss {ours:g} instead of {theirs:g} after {CHECK_STEPS} batches"
    return None


def _gradients_apart(together: Ensemble, training: Training) -> float:
    """Return the norm of the difference between the last gradients of both, over the norm; 0 where that is not finite."""
    difference = square = 0.0
    for name, parameter in training.model.named_parameters():
        if parameter.requires_grad and parameter.grad is not None:
            difference += float((together.gradients[name][0] - parameter.grad).double().square().sum())
            square += float(parameter.grad.double().square().sum())
    return math.sqrt(difference / square) if 0 < square < math.inf else 0.0
