"""The target pass: search the learning rate of one batch size, and say how that ended.

No clock: an update moves a model alike whatever it costs.
"""

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import msgspec
import torch

from mbbench.case import UsageError
from mbbench.measuring import ensemble, tuning, vectorising
from mbbench.measuring.jobs import Job
from mbbench.measuring.problems import Problem
from mbbench.measuring.training import Training, prepare
from mbbench.measuring.tuning import GRID, never_finite, there_at_once
from mbbench.measuring.two_batch import noise_point
from mbbench.record import Phase, Status
from mbbench.search import REACHED, NoisePoint, Search, best_rate, crossing

FROM_SGD = {"sgd": 1.0, "momentum": 0.1, "adam": 0.02}
"""A first guess from the problem's learning rate, which is plain SGD's: a momentum of 0.9 makes ten steps of one; Adam's
steps are as long as its rate whatever the gradient. A wrong guess costs time only: the grid is extended."""
NOISE_AT = (0.03, 0.1, 0.3, 1.0)
"""Shares of the steps to target, beside the start, where the noise scale is measured."""


def measure(job: Job, problem: Problem, on_phase: Callable[[Phase], None]) -> dict[str, Any]:
    """Do a target pass and return the fields of a Measurement.

    Status "ok": 4 of 5 seeds reach the target at some rate; "error": the loss is not finite before any update; "diverged":
    no run stayed finite; "budget_exhausted": steps or seconds were over before.
    """
    plan, case = job.search, job.case
    assert plan is not None
    torch.set_num_threads(plan.threads)  # no clock runs: as many as there are cores for this search
    trainings = {seed: prepare(msgspec.structs.replace(case, seed=seed), problem, on_phase) for seed in plan.seeds}
    centre = case.lr or problem.lr * FROM_SGD.get(case.optimizer, 1.0)
    rates = plan.rates or tuple(centre * GRID**power for power in range(-3, 4))
    on_phase("train")
    began = time.monotonic()
    found, refused = tuning.search(trainings, msgspec.structs.replace(plan, rates=rates))
    lr = best_rate(found)
    if plan.noise and lr is not None:
        found = msgspec.structs.replace(found, noise=_noise(ensemble.with_rate(trainings[plan.seeds[0]], lr), found, lr))
    status, message = _status(found)
    if message is None and time.monotonic() - began >= plan.most_s:
        message = f"its {plan.most_s:.3g} s were over before all learning rates were tried: a better one may be left"
    told = [message, f"trained one run at a time: {refused}" if refused and refused != vectorising.NOT_WORTH_IT else None]
    return {
        "status": status,
        "message": "; ".join(filter(None, told)) or None,
        "lr": lr,
        "search": found,
        "measuring_s": time.monotonic() - began,
    }


def _status(found: Search) -> tuple[Status, str | None]:
    if there_at_once(found):
        return "ok", f"the target {found.target:g} is reached before the first update: it tells nothing, give a lower one"
    if best_rate(found) is not None:
        return "ok", None
    if never_finite(found):
        return "error", "the training loss is not finite before the first update: look for NaN in the rows or in the model"
    if all(run.ended == "diverged" for run in found.runs):
        rates = found.rates
        return "diverged", f"every run diverged, at learning rates from {rates[0]:.3g} to {rates[-1]:.3g}"
    lowest = min(loss for run in found.runs for loss in run.train_loss if loss is not None)
    longest = max(run.step[-1] for run in found.runs)
    if not found.targets:
        return "budget_exhausted", f"no target was found within {longest:,} steps: the lowest loss seen is {lowest:.4g}"
    several = len(found.seeds)
    enough = f" by {math.ceil(REACHED * several)} of {several} seeds at one learning rate" if several > 1 else ""
    missed = f"the target {found.target:g} was not reached{enough} within {longest:,} steps"
    return "budget_exhausted", f"{missed}: the lowest loss seen is {lowest:.4g}"


def _noise(training: Training, found: Search, lr: float) -> tuple[NoisePoint, ...]:
    """Return the noise scale at a few points of a run, start to target; none where rows have no gradient of their own."""
    (run, *_) = found.at(lr)
    last = crossing(run.step, run.train_loss, found.target) or run.step[-1]
    steps = sorted({0, *(round(last * share) for share in NOISE_AT)})
    points: list[NoisePoint] = []
    stream, done = training.stream(), 0
    try:
        for step in steps:
            training.train(itertools.islice(stream, step - done))
            done = step
            points.append(noise_point(training, step))
    except (UsageError, RuntimeError):  # rows in files or weighed, BatchNorm: said in noise_scale.py
        return ()
    return tuple(points)
