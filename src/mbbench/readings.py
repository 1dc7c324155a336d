"""What the clock of a record read, for both wings: seconds a step of a time record, seconds to the target of a race."""

import statistics

from mbbench.record import Record
from mbbench.search import crossing


def step_seconds(record: Record) -> float | None:
    """Return the seconds of a step of a time record, epoch starts included; None of any other and where it was not timed."""
    case, measurement = record.case, record.measurement
    epochs = measurement.epochs_s(case.n_samples) if record.kind == "time" and measurement.status == "ok" else ()
    return statistics.median(epochs) / case.steps_per_epoch if epochs else None


def target_s(race: Record) -> float | None:
    """Return the seconds of training after which a race was at its target, interpolated; None where it never was."""
    curve, target = race.measurement.curve, race.budget.target_loss
    return None if curve is None or target is None else crossing(curve.train_s, curve.train_loss, target)
