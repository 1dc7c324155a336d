"""What training took of memory at its peak, cell by cell, and which cells did not fit: numbers, no words.

Easy to get wrong: a limit is on what the process takes, a prediction is of its tensors; and an accelerator has no count of
tensors beside its allocator's, so there the allocator's peak stands for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from mbbench.case import FULL
from mbbench.record import Measurement, Record
from mbbench.reporting.pooling import Pool, Setting

ENDED = ("ok", "budget_exhausted", "diverged")
"""Statuses of a pass that had the memory it needed."""


@dataclass(frozen=True)
class Peak:
    """What one cell took, all in bytes.

    Attributes:
        pool: the cell.
        tensors: most that its tensors took while training.
        measurement: of its memory pass, with everything else.
    """

    pool: Pool
    tensors: int
    measurement: Measurement

    @property
    def on_device(self) -> bool:
        """Whether this is memory of an accelerator, as its allocator counts it."""
        return self.measurement.peak_tensor_bytes is None

    @property
    def process(self) -> int | None:
        """What was taken from the system to hold the tensors: by the process, on an accelerator by torch's allocator."""
        measured = self.measurement
        return measured.peak_device_reserved_bytes if self.on_device else measured.peak_rss_delta_bytes

    @property
    def unseen(self) -> int | None:
        """What the prediction did not see (operators' scratch), below 0 where it was too high; None without one."""
        predicted = self.measurement.predicted_peak_bytes
        return None if predicted is None else self.tensors - predicted


def peak(pool: Pool) -> Peak | None:
    """Return what a pool took, None where that was not measured."""
    for record in pool.memories:
        measured = record.measurement
        tensors = measured.peak_tensor_bytes
        if tensors is None:
            tensors = measured.peak_device_allocated_bytes
        if measured.status == "ok" and tensors is not None:
            return Peak(pool, tensors, measured)
    return None


def peaks(pools: Iterable[Pool]) -> list[Peak]:
    """Return what those of the pools took whose memory was measured."""
    return [found for pool in pools if (found := peak(pool))]


def unfit(pool: Pool) -> Record | None:
    """Return the record that says that a pool does not fit: out of memory, while no pass of it came to its end."""
    records = pool.memories + pool.timings + pool.trainings  # the memory pass knows most
    if any(record.measurement.status in ENDED for record in records):
        return None
    return next((record for record in records if record.measurement.status == "oom"), None)


def fits(pool: Pool) -> bool | None:
    """Return whether a pool fits; None where that is not known."""
    if unfit(pool):
        return False
    records = pool.memories + pool.timings + pool.trainings
    return True if any(record.measurement.status in ENDED for record in records) else None


def wavers(pool: Pool) -> bool:
    """Return whether a pool came to its end in one pass or repeat and ran out of memory in another."""
    statuses = {record.measurement.status for record in pool.memories + pool.timings + pool.trainings}
    return "oom" in statuses and bool(statuses & set(ENDED))


def limit(record: Record) -> int | None:
    """Return the bytes that a record's cell was allowed, None where that is not known."""
    known = record.measurement.limit_bytes
    return record.budget.max_bytes if known is None else known


def asked_about(setting: Setting) -> bool:
    """Return whether there is anything to say on memory: a memory pass, or a limit that was met."""
    unfitting = [record for pool in setting.pools if (record := unfit(pool))]
    return any(pool.memories for pool in setting.pools) or any(limit(record) is not None for record in unfitting)


def limits(setting: Setting) -> list[int]:
    """Return the limits that matter, in order: those that a cell did not fit in, and those that were asked for."""
    unfitting = [record for pool in setting.pools if (record := unfit(pool))]
    asked = [record for record in setting.records if record.budget.max_bytes is not None]
    return sorted({known for record in (*unfitting, *asked) if (known := limit(record)) is not None})


def table(setting: Setting) -> pd.DataFrame:
    """Return one row per cell that was asked for its memory or did not fit, as `charts.memory` draws it.

    Columns: loader, micro_batch (0: none), batch_size (a number or "full"), samples_per_step; peak_bytes and process_bytes
    (NaN where not measured); lost_bytes, where a cell that does not fit is drawn: at its prediction, without one at its
    limit, NaN without either; status ("ok", "oom" ...).
    """
    rows = []
    for pool in setting.pools:
        out = unfit(pool)
        if not pool.memories and out is None:
            continue
        found = peak(pool)
        predicted = out.measurement.predicted_peak_bytes if out else None
        rows.append(
            {
                "loader": pool.cell.loader,
                "micro_batch": pool.cell.micro_batch or 0,
                "batch_size": FULL if pool.cell.batch_size is None else pool.cell.batch_size,
                "samples_per_step": pool.cell.samples_per_step,
                "peak_bytes": found.tensors if found else None,
                "process_bytes": found.process if found else None,
                "lost_bytes": (limit(out) if predicted is None else predicted) if out else None,
                "status": "oom" if out else pool.status("memory"),
            }
        )
    numbers = ["peak_bytes", "process_bytes", "lost_bytes"]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)) if rows else pd.DataFrame()
