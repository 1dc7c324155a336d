"""Train to a target loss against the clock: what a user would wait, epoch starts and all, and no evaluation inside.

Easy to get wrong: an evaluation empties the caches of the step behind it, and 100 of them make a short run another one. So
none is made before most of the steps that are expected are done; where that is too late, the run begins again with half as
many.
"""

import gc
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

from mbbench.case import Budget
from mbbench.measuring import devices
from mbbench.measuring.convergence import curve_of, divergence, warm_up
from mbbench.measuring.courses import DENSE
from mbbench.measuring.training import Training, losses
from mbbench.record import Phase

WARM_UP_S = 0.2
"""As before timed rounds: without, 50 updates of digits-softmax at batch 32 took 19.7 ms instead of 13, a cold start and not
what an update costs."""


def run(make: Callable[[], Training], budget: Budget, look_from: int, on_phase: Callable[[Phase], None]) -> dict[str, Any]:
    """Train to `budget.target_loss` or to its last step, and return the fields of a Measurement, a curve of few points.

    Status "ok": reached; "budget_exhausted": not within the steps; "diverged": see `convergence.divergence`; "error": the
    loss is not finite before any update.

    Args:
        make: the training at its start.
        budget: with a target and a number of steps.
        look_from: steps before the first evaluation behind the start.
        on_phase: told "warm-up" and "train" as each begins.
    """
    while True:
        fields, first = _run(make(), budget, look_from, on_phase)
        if fields["status"] != "ok" or not first or look_from <= 1:
            return fields
        look_from //= 2


def _run(
    training: Training, budget: Budget, look_from: int, on_phase: Callable[[Phase], None]
) -> tuple[dict[str, Any], bool]:
    """Return the fields, and whether the target was reached at the first look."""
    assert budget.target_loss is not None
    assert budget.max_steps is not None
    gc.collect()
    gc.freeze()
    gc.disable()
    on_phase("warm-up")
    warm_up(training, WARM_UP_S)
    on_phase("train")
    synchronise = devices.synchroniser(training.case.device)
    stream, done, train_s, evaluation_s = training.stream(), 0, 0.0, 0.0
    points = [(0, 0.0, *losses(training))]
    status = "budget_exhausted"
    message: str | None = f"the target was not reached within {budget.max_steps:,} steps"
    step = min(max(1, look_from), budget.max_steps)
    looks = 0
    if not math.isfinite(points[0][2]):
        status = "error"
        message = "the training loss is not finite before the first update: look for NaN in the rows or in the model"
    while done < budget.max_steps and status != "error":
        begun = time.perf_counter()
        training.train(itertools.islice(stream, step - done))
        synchronise()
        train_s, done = train_s + time.perf_counter() - begun, step
        begun = time.perf_counter()
        points.append((step, train_s, *losses(training)))
        evaluation_s += time.perf_counter() - begun
        looks += 1
        if reason := divergence([point[2] for point in points]):
            status, message = "diverged", f"{reason} after {step} steps at lr {training.lr:g}"
            break
        if points[-1][2] <= budget.target_loss:
            status, message = "ok", None
            break
        step = min(budget.max_steps, max(step + 1, int(step * DENSE)))
    fields = {
        "status": status,
        "message": message,
        "curve": curve_of(points, training.case.n_samples, training.case.samples_per_step),
        "evaluation_s": evaluation_s,
        "measuring_s": train_s + evaluation_s,
    }
    return fields, looks == 1
