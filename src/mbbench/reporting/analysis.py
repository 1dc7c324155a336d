"""Records as tables: one row per record, per curve point, or per cell.

Easy to get wrong: `batch_size` in `load` and `curves` is the number of samples of a step (full batch: all of them), and
`full_batch` says how it was asked for; a time that is not known is NaN, never 0.
"""

import math
import os
import statistics
from collections.abc import Callable, Iterable

import msgspec
import pandas as pd

from mbbench.case import FULL, Cell
from mbbench.record import Measurement, Record
from mbbench.reporting import readable
from mbbench.reporting.pooling import Pool, contended, pools, timed
from mbbench.store import load_records

Source = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def load(source: Source = "results/") -> pd.DataFrame:
    """Return one row per record of a file, of a folder or of several.

    Columns: run_id, kind, repeat, commit, fingerprint, time; `case` (its id) and the fields of Case, with `batch_size` as
    samples per step and `full_batch` as asked for; the fields of Measurement but its curve, search and profile; and, medians
    over the rounds of a time record, `epoch_s` (seconds), `step_s` (seconds) and `samples_per_s`, where samples_per_s times
    epoch_s is n_samples; `faults_per_epoch`, its minor page faults over its timed epochs. `lr` is the learning rate that was
    used, `lr_asked` that of the case (NaN: the problem's own).

    Raises:
        StoreError: there is no such path, a line is not a record, or there is no record at all.
    """
    return table(load_records(source))


def table(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per record, see `load`."""
    return pd.DataFrame([_row(record) for record in records])


def curves(source: Source = "results/") -> pd.DataFrame:
    """Return one row per point of every loss curve, those of races left out, of a file, of a folder or of several.

    Columns: the fields of Case as in `load`, repeat, status; step, epoch, samples, train_s (seconds of training),
    train_loss, heldout_loss and heldout_metric (NaN: not finite, or no held-out rows, or no metric).

    Raises:
        StoreError: there is no such path, a line is not a record, or there is no record at all.
    """
    return curve_table(load_records(source))


def curve_table(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per curve point, see `curves`."""
    frames = []
    for record in records:
        curve = record.measurement.curve
        if curve is None or record.kind == "race":  # its few points are no curve to be drawn
            continue
        frame = pd.DataFrame(msgspec.structs.asdict(curve) | {"heldout_metric": curve.heldout_metric or None})
        frame = frame.astype({"train_loss": float, "heldout_loss": float, "heldout_metric": float})
        about = _cell(record.case) | {
            "lr": record.measurement.lr,
            "run_id": record.run_id,
            "repeat": record.repeat,
            "status": record.measurement.status,
        }
        for position, (name, value) in enumerate(about.items()):
            frame.insert(position, name, [value] * len(frame))
        frames.append(frame)
    if not frames:
        names = ["case", *Cell.__struct_fields__, "full_batch", "run_id", "repeat", "status"]
        columns = ["step", "epoch", "samples", "train_s", "train_loss", "heldout_loss", "heldout_metric"]
        return pd.DataFrame(columns=[*names, *columns])
    return pd.concat(frames, ignore_index=True)


def summary(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per cell apart from seed and repeat, time, memory and convergence side by side.

    `time_status`, `memory_status`, `curve_status`, `target_status`, `race_status` and `profile_status` name each way in
    which its records ended ("": none were asked for).
    `batch_size` is as asked for (a number or "full"), `samples_per_step` always a number. `epoch_s` comes with its 95 %
    interval (NaN below three repeats). `final_train_loss` and `final_heldout_loss` are medians over the seeds that did
    not diverge, at the end of each one's own training, `final_epoch` the median of where that was. `peak_tensor_bytes`,
    `peak_device_allocated_bytes` and `peak_rss_delta_bytes` are those of a memory record that ended ok,
    `predicted_peak_bytes` that of any record; NaN where not known. `micro_batch` is NaN where a batch is not split.
    """
    return pool_table(pools(records))


def pool_table(pools: Iterable[Pool]) -> pd.DataFrame:
    """Return one row per pool, see `summary`."""
    return pd.DataFrame([_summary_row(pool) for pool in pools])


def text_table(records: Iterable[Record]) -> str:
    """Return the summary as lines for a terminal: what is the same in all cells left out, units as people read them."""
    cells = summary(records)
    about = ["problem", "n_samples", "device", "threads", "optimizer", "lr", "dtype", "micro_batch", "shuffle", "options"]
    varying = [name for name in about if cells[name].nunique(dropna=name == "lr") > 1]
    shown = cells[[*varying, "batch_size", "loader"]].rename(columns=lambda name: name.replace("_", " "))
    if "micro_batch" in varying:
        shown["micro batch"] = [_text(value, readable.count) for value in cells["micro_batch"]]
    if (cells["time_status"] != "").any():
        shown["epoch"] = [_text(value, readable.seconds) for value in cells["epoch_s"]]
        ends = zip(cells["epoch_s_low"], cells["epoch_s_high"], strict=True)
        shown["95 % interval"] = [
            "" if math.isnan(low) else f"{readable.seconds(low)} to {readable.seconds(high)}" for low, high in ends
        ]
        shown["samples/s"] = [_text(value, readable.count) for value in cells["samples_per_s"]]
        shown["repeats"] = cells["repeats"]
    if (cells["curve_status"] != "").any():
        # Of a cell with a diverged seed nothing is shown: the survivors would flatter it.
        flattered = cells["diverged_seeds"] > 0
        shown["loss"] = [_text(value, readable.loss) for value in cells["final_train_loss"].mask(flattered)]
        shown["after epochs"] = [_text(value, "{:,.4g}".format) for value in cells["final_epoch"].mask(flattered)]
        shown["seeds"] = cells["seeds"]
    peaks = cells["peak_tensor_bytes"].fillna(cells["peak_device_allocated_bytes"])
    if peaks.notna().any():
        shown["peak memory"] = [_text(value, readable.size) for value in peaks]
    kinds = ("time", "memory", "curve", "target", "race", "profile")
    passes = zip(*(cells[f"{kind}_status"] for kind in kinds), strict=True)
    shown["status"] = [" / ".join(dict.fromkeys(filter(None, each))) for each in passes]
    return shown.to_string(index=False)


def _text(value: float, form: Callable[[float], str]) -> str:
    return "" if math.isnan(value) else form(value)


def _summary_row(pool: Pool) -> dict[str, object]:
    cell, epoch, step = pool.cell, pool.epoch_s, pool.step_s
    ends = [(r.measurement.curve.epoch[-1], *_last(r)) for r in pool.finished if r.measurement.curve]
    about = {name: getattr(cell, name) for name in Cell.__struct_fields__ if name not in ("seed", "options")}
    return {
        **about,
        "micro_batch": _known(cell.micro_batch),
        "batch_size": FULL if cell.batch_size is None else cell.batch_size,
        "lr": _first(r.measurement.lr for r in pool.timings + pool.trainings) or cell.lr or math.nan,
        "options": " ".join(f"{name}={value}" for name, value in cell.options),
        "samples_per_step": cell.samples_per_step,
        "steps_per_epoch": cell.steps_per_epoch if cell.applicable else math.nan,
        "time_status": pool.status("time"),
        "curve_status": pool.status("convergence"),
        "target_status": pool.status("target"),
        "race_status": pool.status("race"),
        "profile_status": pool.status("profile"),
        "repeats": len(pool.repeats),
        "epoch_s": epoch.value if epoch else math.nan,
        "epoch_s_low": _known(epoch.low) if epoch else math.nan,
        "epoch_s_high": _known(epoch.high) if epoch else math.nan,
        "step_s": step.value if step else math.nan,
        "samples_per_s": cell.n_samples / epoch.value if epoch else math.nan,
        "memory_status": pool.status("memory"),
        **_memory(pool),
        "contended": sum(contended(record) is True for record in pool.timings),
        "seeds": len(ends),
        "diverged_seeds": sum(r.measurement.status == "diverged" for r in pool.trainings),
        "final_epoch": _median([end[0] for end in ends]),
        "final_train_loss": _median([end[1] for end in ends]),
        "final_heldout_loss": _median([end[2] for end in ends]),
        "final_heldout_metric": _median([end[3] for end in ends]),
        "meter_per_step": _median([metered(record) for record in pool.timings]),
    }


def _memory(pool: Pool) -> dict[str, float]:
    measured = next((r.measurement for r in pool.memories if r.measurement.status == "ok"), None)
    names = ("peak_tensor_bytes", "peak_device_allocated_bytes", "peak_rss_delta_bytes")
    known = {name: _known(getattr(measured, name, None)) for name in names}
    records = pool.memories + pool.timings + pool.trainings
    return known | {"predicted_peak_bytes": _known(_first(r.measurement.predicted_peak_bytes for r in records))}


def _row(record: Record) -> dict[str, object]:
    measurement, env = record.measurement, record.environment
    raw = {
        name: getattr(measurement, name)
        for name in Measurement.__struct_fields__
        if name not in ("curve", "search", "profile")
    }
    epochs = measurement.epochs_s(record.case.n_samples) if timed(record) else ()
    steps = measurement.steps_s() if timed(record) else ()
    epoch_s = statistics.median(epochs) if epochs else math.nan
    return {
        "run_id": record.run_id,
        "kind": record.kind,
        "repeat": record.repeat,
        "commit": env.commit,
        "fingerprint": env.fingerprint,
        "time": env.time,
        **_cell(record.case),
        "lr_asked": _known(record.case.lr),
        **raw,
        "lr": _known(measurement.lr if measurement.lr is not None else record.case.lr),
        "epoch_s": epoch_s,
        "step_s": statistics.median(steps) if steps else math.nan,
        "samples_per_s": record.case.n_samples / epoch_s,
        "faults_per_epoch": _faults(record),
    }


def _faults(record: Record) -> float:
    """Return the page faults of an epoch: those of all timed rounds over the epochs that these rounds hold."""
    measured = record.measurement
    rows = len(measured.round_s) * (measured.samples_per_round or 0)
    if not timed(record) or measured.minor_faults is None or not rows:
        return math.nan
    return measured.minor_faults * record.case.n_samples / rows


def _cell(cell: Cell) -> dict[str, object]:
    fields = {name: getattr(cell, name) for name in Cell.__struct_fields__}
    return {"case": str(cell), **fields, "batch_size": cell.samples_per_step, "full_batch": cell.batch_size is None}


def _last(record: Record) -> tuple[float, float, float]:
    curve = record.measurement.curve
    if curve is None:
        return math.nan, math.nan, math.nan
    metric = curve.heldout_metric[-1] if curve.heldout_metric else None
    return _known(curve.train_loss[-1]), _known(curve.heldout_loss[-1]), _known(metric)


def metered(record: Record) -> float:
    """Return how much the user's own meter grew in a step, the median of the rounds; NaN without one."""
    measured = record.measurement
    if not measured.meter or not measured.steps_per_round:
        return math.nan
    return statistics.median(measured.meter) / measured.steps_per_round


def _median(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)
