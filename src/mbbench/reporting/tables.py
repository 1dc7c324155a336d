"""The numbers behind a setting's figures, as heads and rows of text.

Easy to get wrong: what is not known is an empty field, never 0; and a column that is empty throughout is left out.
"""

import math
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from mbbench.profile import PHASES
from mbbench.record import Kind
from mbbench.reporting import losses, readable
from mbbench.reporting.analysis import metered, pool_table
from mbbench.reporting.peaks import Peak, limit, peak, unfit
from mbbench.reporting.pooling import Pool, Setting
from mbbench.reporting.share_words import NAMES
from mbbench.reporting.step_share import share
from mbbench.reporting.target_words import STATUSES

Table = tuple[list[str], list[list[str]]]
"""Heads and rows, as text."""


def time_table(setting: Setting) -> Table:
    """Return what was timed of each cell."""
    rows = []
    for pool in setting.pools:
        epoch, step = pool.epoch_s, pool.step_s
        row = _cell(pool) | {"epoch": readable.seconds(epoch.value) if epoch else ""}
        if epoch and epoch.low is not None and epoch.high is not None:
            row["95 % interval"] = f"{readable.seconds(epoch.low)} to {readable.seconds(epoch.high)}"
        row["step"] = readable.seconds(step.value) if step else ""
        row["samples/s"] = f"{pool.cell.n_samples / epoch.value:,.0f}" if epoch else ""
        grown = [each for each in map(metered, pool.timings) if not math.isnan(each)]
        row["meter per step"] = f"{statistics.median(grown):.3g}" if grown else ""
        rows.append(row | {"repeats": str(len(pool.repeats)), "status": _status(pool, "time")})
    return _table(rows, ("epoch", "95 % interval", "step", "samples/s", "meter per step", "repeats", "status"))


def share_table(setting: Setting) -> Table:
    """Return where a step of each profiled cell goes."""
    rows = []
    for pool in setting.pools:
        if not pool.profiles:
            continue
        row, found = _cell(pool), share(pool)
        if found:
            row |= {"step": readable.seconds(found.step_s)}
            row |= {"timed": readable.seconds(found.timed_s)} if found.timed_s else {}
            for phase, taken in found.phases_s.items():
                row[NAMES[phase]] = f"{readable.seconds(taken)} ({readable.percent(found.part(phase))})"
        rows.append(row | {"status": _status(pool, "profile")})
    return _table(rows, ("step", "timed", *(NAMES[phase] for phase in PHASES), "status"))


def memory_table(setting: Setting) -> Table:
    """Return what each cell took at its peak, was predicted to take and was allowed."""
    rows = []
    for pool in setting.pools:
        out, found = unfit(pool), peak(pool)
        record = out or next(iter(pool.memories), None)
        if record is None:
            continue
        measured = record.measurement
        row = _cell(pool) | {
            "making the rows": _size(measured.setup_peak_tensor_bytes),
            "predicted": _size(measured.predicted_peak_bytes),
            "limit": _size(limit(record)),
            "status": _memory_status(pool),
        }
        rows.append(row | (_taken(found) if found else {}))
    heads = (
        "tensors",
        "making the rows",
        "process",
        "held by allocator",
        "used on device",
        "overhead",
        "predicted",
        "scratch",
    )
    return _table(rows, (*heads, "gradient off by", "limit", "status"))


def loss_table(setting: Setting) -> Table:
    """Return the losses of each trained cell at positions that all of them reached, and at its end."""
    pools = [pool for pool in setting.pools if pool.trainings]
    together = losses.comparable(setting)
    heads = {}
    for axis in ("epoch", "step", "train_s"):
        reached = losses.horizon(together, axis)
        if reached is not None:
            at = readable.seconds(reached) if axis == "train_s" else f"{reached:,.4g} {axis}s"
            heads[f"loss after {at}"] = (axis, reached)
    rows = []
    for pool, ends in zip(pools, pool_table(pools).itertuples(index=False), strict=True):
        row = _cell(pool)
        for head, (axis, reached) in heads.items():
            row[head] = _estimate(pool, axis, reached) if losses.reaches(pool, axis, reached) else ""
        row["final loss (median)"] = _known(ends.final_train_loss, readable.loss)
        row["held-out"] = _known(ends.final_heldout_loss, readable.loss)
        row["held-out metric"] = _known(ends.final_heldout_metric, "{:.4g}".format)
        row["after epochs"] = _known(ends.final_epoch, "{:,.4g}".format)
        rows.append(row | {"seeds": str(ends.seeds), "status": _status(pool, "convergence")})
    return _table(rows, (*heads, "final loss (median)", "held-out", "held-out metric", "after epochs", "seeds", "status"))


def target_table(sizes: pd.DataFrame) -> Table:
    """Return what each size took to the target, from `target_table.sizes`."""
    rows = []
    for size in sizes.to_dict("records"):
        row = _sized(size) | {"lr": _known(size["lr"], "{:.3g}".format), "steps (seeds)": _steps(size)}
        row["a step"] = _known(size["step_s"], readable.seconds)
        row["time to target (95 %)"] = _ranged(size, "seconds", ("seconds_low", "seconds_high"), readable.seconds)
        row["of least"] = _known(size["multiple"], readable.multiple)
        lost = size["races_reached"] < size["races"]
        raced = _known(size["race_s"], readable.seconds)
        row["raced"] = f"{raced} ({size['races_reached']} of {size['races']})".lstrip() if lost else raced
        ended = STATUSES.get(size["status"], size["status"])
        word = "recommended" if size["recommended"] else "as good" if size["as_good"] else ended
        some = 0 < size["reached"] < size["seeds"]
        rows.append(row | {"status": f"{word} ({size['reached']} of {size['seeds']})" if some else word})
    return _table(rows, ("status", "lr", "steps (seeds)", "a step", "time to target (95 %)", "of least", "raced"))


def step_table(steps: pd.DataFrame) -> Table:
    """Return the steps and samples that each size took to the target, from `step_table.steps`."""
    rows = []
    for size in steps.to_dict("records"):
        row = _sized(size) | {"loader": size["series"], "steps (seeds)": _steps(size)}
        row["samples"] = _known(size["samples"], readable.count)
        rows.append(row | {"status": STATUSES.get(size["status"], size["status"])})
    return _table(rows, ("steps (seeds)", "samples", "status"))


def _sized(size: Mapping[Hashable, Any]) -> dict[str, str]:
    batch = f"full ({size['batch_size']:,})" if size["full_batch"] else f"{size['batch_size']:,}"
    return {"batch size": batch, "loader": str(size["loader"])}


def _steps(size: Mapping[Hashable, Any]) -> str:
    return _ranged(size, "steps", ("steps_low", "steps_high"), readable.count)


def _ranged(row: Mapping[Hashable, Any], name: str, ends: tuple[str, str], form: Callable[[float], str]) -> str:
    """Return a value with what it ranges over, where that is known and anything at all: "200 (160 to 250)"."""
    value, low, high = (_known(row[each], form) for each in (name, *ends))
    return f"{value} ({low} to {high})" if value and low and low != high else value


def _cell(pool: Pool) -> dict[str, str]:
    """Return what names a cell: its batch size, loader, and micro-batch."""
    size, micro = pool.cell.samples_per_step, pool.cell.micro_batch
    batch = f"full ({size:,})" if pool.cell.batch_size is None else f"{size:,}"
    return {"batch size": batch, "loader": pool.cell.loader, "micro-batch": "" if micro is None else f"{micro:,}"}


def _table(rows: list[dict[str, str]], heads: Sequence[str]) -> Table:
    """Return the rows under those of the heads that have something below them."""
    kept = [head for head in ("batch size", "loader", "micro-batch", *heads) if any(row.get(head) for row in rows)]
    return kept, [[row.get(head, "") for head in kept] for row in rows]


def _taken(found: Peak) -> dict[str, str]:
    measured, device = found.measurement, found.on_device
    least = "at least " if measured.rss_sampled else ""
    process = _size(measured.peak_rss_delta_bytes)
    return {
        "tensors": readable.size(found.tensors),
        "process": f"{least}{process}" if process else "",
        "held by allocator": _size(measured.peak_device_reserved_bytes) if device else "",
        "used on device": _size(measured.peak_device_used_bytes) if device else "",
        "overhead": f"{found.process / found.tensors:.2f}" if found.process is not None and found.tensors else "",
        # Below 0 the prediction was too high, and nothing is known of scratch.
        "scratch": readable.size(found.unseen) if found.unseen is not None and found.unseen >= 0 else "",
        "gradient off by": "" if measured.gradient_difference is None else readable.power(measured.gradient_difference),
    }


def _memory_status(pool: Pool) -> str:
    out = unfit(pool)
    if out is None:
        return _status(pool, "memory")
    by = out.measurement.oom_by
    return readable.TROUBLES["oom"] + (f": {by}" if by else "")


def _size(known: int | None) -> str:
    return "" if known is None else readable.size(known)


def _known(value: object, form: Callable[[float], str]) -> str:
    number = float(str(value))
    return "" if math.isnan(number) else form(number)


def _estimate(pool: Pool, axis: str, reached: float) -> str:
    found = losses.loss_at(pool, axis, reached)
    if found.low is None or found.high is None:
        return readable.loss(found.value)
    return f"{readable.loss(found.value)} ({readable.loss(found.low)} to {readable.loss(found.high)})"


def _status(pool: Pool, kind: Kind) -> str:
    words = (readable.TROUBLES.get(status, status) for status in pool.status(kind).split(", "))
    return ", ".join(words) or "not asked for"
