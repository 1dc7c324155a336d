"""Record loss curves: train under a budget, and evaluate at steps that are fixed before the run, the clock stopped.

Easy to get wrong: the step at which a run is looked at must not depend on its clock or its losses, or two runs cannot be
compared point by point; a warm-up must leave model, optimizer and random order untouched; and "diverged" is a loss that
is not finite, or twice in a row more than 1e6 times the first (one spike may still come back).
"""

import copy
import gc
import itertools
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mbbench.case import Budget, Cell
from mbbench.measuring import devices, optimizers
from mbbench.measuring.batches import epochs
from mbbench.measuring.training import Training, held_out_metric, losses, train
from mbbench.record import Curve, Phase

EVALUATION_SHARE = 0.02
"""Of the training time, for evaluations, unless that leaves fewer than FEWEST_POINTS."""
FEWEST_POINTS = 10
MOST_POINTS = 100
STEP_S, STEP_OVERHEAD_ROWS = 60e-6, 256
"""What a step costs beside its rows, in seconds and in rows (linear, d = 32, one thread): for planning, by arithmetic."""
FORWARD = 0.6
"""An evaluation as a part of a step over as many rows: 0.45 to 0.55 on digits, where by arithmetic it is a third."""
CHECKS = 20
"""How often, at least, a run looks at its clock before its seconds are over."""
EXPLODED = 1e6
WARM_UP_STEPS = 5


def evaluation_steps(case: Cell, rows: int, budget: Budget) -> list[int]:
    """Return the steps after which a run is evaluated: geometric from 1, rounded, the budget's last step included.

    Their number keeps evaluations near `EVALUATION_SHARE` of the training time, by arithmetic and not by the clock: an
    evaluation is a forward pass over all rows, a step forward, backward and update over its own (`FORWARD`).

    Args:
        case: what is trained.
        rows: of an evaluation, training and held-out.
        budget: a limit of seconds counts as the steps that would fit at `STEP_S` and more each.
    """
    last = last_step(budget, case.steps_per_epoch)
    fit = last if budget.max_seconds is None else max(1, int(budget.max_seconds / _step_s(case)))
    evaluation = FORWARD * (STEP_OVERHEAD_ROWS + rows) / (STEP_OVERHEAD_ROWS + case.samples_per_step)
    end = min(last, fit)
    points = min(MOST_POINTS, max(FEWEST_POINTS, int(EVALUATION_SHARE * end / evaluation)))
    if last <= points:
        return list(range(1, last + 1))
    ratio = end ** (1 / (points - 1))
    steps, position = set(), 1.0
    while round(position) < last:
        steps.add(round(position))
        position *= ratio
    return [*sorted(steps), last]


def _step_s(case: Cell) -> float:
    return STEP_S * (1 + case.samples_per_step / STEP_OVERHEAD_ROWS)


def last_step(budget: Budget, steps_per_epoch: int) -> int:
    """Return the step at which the budget's steps or epochs end a run; a budget of seconds alone ends it elsewhere."""
    limits = [budget.max_steps] if budget.max_steps else []
    if budget.max_epochs:
        limits.append(budget.max_epochs * steps_per_epoch)
    return min(limits, default=10_000_000)


def loss_curve(training: Training, budget: Budget, on_phase: Callable[[Phase], None]) -> dict[str, Any]:
    """Train under `budget` and return the fields of a Measurement: status, curve, seconds of evaluation.

    Status "ok": the steps or epochs of the budget are done, or its target is reached, or there is no such limit;
    "budget_exhausted": its seconds ended the run before, the curve ends at the last fixed step; "diverged": see above;
    "error": the loss is not finite before any update, which no learning rate explains.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    case = training.case
    on_phase("warm-up")
    warm_up(training)
    on_phase("train")
    synchronise = devices.synchroniser(case.device)
    stream, done, train_s, evaluation_s = training.stream(), 0, 0.0, 0.0
    points: list[tuple[int, float, float, float | None]] = []
    metrics: list[float | None] = []
    status, message = "ok", None
    most_s = math.inf if budget.max_seconds is None else budget.max_seconds
    chunk = max(1, int(most_s / CHECKS / _step_s(case))) if budget.max_seconds else sys.maxsize
    for step in [0, *evaluation_steps(case, training.evaluation_rows, budget)]:
        while done < step and train_s < most_s:
            count = min(chunk, step - done)
            train_0 = time.perf_counter()
            training.train(itertools.islice(stream, count))
            synchronise()
            train_s, done = train_s + time.perf_counter() - train_0, done + count
        if done < step:
            message = f"{most_s:g} s of training ended it after {done} steps"
            status = "budget_exhausted" if budget.max_steps or budget.max_epochs else "ok"
            break
        evaluation_0 = time.perf_counter()
        found = losses(training)
        if case.option("metric") != "none":
            metrics.append(_finite(held_out_metric(training)))
        evaluation_s += time.perf_counter() - evaluation_0
        points.append((step, train_s, *found))
        if step == 0 and not math.isfinite(found[0]):
            message = "the training loss is not finite before the first update: look for NaN in the rows or in the model"
            status = "error"
            break
        if reason := divergence([point[2] for point in points]):
            status, message = "diverged", f"{reason} after {step} steps at lr {training.lr:g}"
            break
        if budget.target_loss is not None and found[0] <= budget.target_loss:
            break
    return {
        "status": status,
        "message": message,
        "curve": curve_of(points, case.n_samples, case.samples_per_step, metrics),
        "evaluation_s": evaluation_s,
        "measuring_s": train_s + evaluation_s,
    }


def divergence(losses: list[float]) -> str | None:
    """Say why these training losses, in order, count as diverged, or return None."""
    if not math.isfinite(losses[-1]):
        return "the training loss was not finite"
    # A loss may be negative (a log-likelihood of a density) or start at 0, which is no measure for anything.
    if len(losses) > 2 and min(losses[-2:]) > EXPLODED * abs(losses[0]) > 0:
        return f"the training loss was twice above {EXPLODED:g} times the first"
    return None


def samples_seen(step: int, n_samples: int, samples_per_step: int) -> int:
    """Return the rows that `step` updates have seen, ragged last batches counted as what they are."""
    whole, rest = divmod(step, math.ceil(n_samples / samples_per_step))
    return whole * n_samples + rest * samples_per_step


def curve_of(
    points: list[tuple[int, float, float, float | None]],
    n_samples: int,
    samples_per_step: int,
    metrics: Sequence[float | None] = (),
) -> Curve:
    """Return the curve of points, each of step, seconds of training, training and held-out loss; and their metric."""
    seen = [samples_seen(point[0], n_samples, samples_per_step) for point in points]
    return Curve(
        step=tuple(point[0] for point in points),
        epoch=tuple(samples / n_samples for samples in seen),
        samples=tuple(seen),
        train_s=tuple(point[1] for point in points),
        train_loss=tuple(_finite(point[2]) for point in points),
        heldout_loss=tuple(_finite(point[3]) for point in points),
        heldout_metric=tuple(metrics),
    )


def _finite(loss: float | None) -> float | None:
    return loss if loss is not None and math.isfinite(loss) else None


def warm_up(training: Training, seconds: float = 0.0) -> None:
    """Run a few steps and an evaluation on copies: the first backward of a process starts threads and picks kernels.

    Goes on for `seconds`; the random state is put back, and the copies are forgotten.
    """
    state = torch.random.get_rng_state()
    model = copy.deepcopy(training.model)
    optimizer = optimizers.make(training.case, model, training.lr)
    epoch, until = epochs(training.case, training.rows, training.weight), time.perf_counter() + seconds
    while True:
        train(model, training.loss, optimizer, itertools.islice(epoch(), WARM_UP_STEPS))
        if time.perf_counter() >= until:
            break
    losses(training)
    torch.random.set_rng_state(state)
