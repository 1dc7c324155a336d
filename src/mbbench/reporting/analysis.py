"""Records as tables: one row per record, per curve point, or per cell; and which records may stand in one report.

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
from mbbench.record import Measurement, Record, code_state
from mbbench.reporting import readable
from mbbench.reporting.pooling import Pool, contended, pools, timed, unseeded
from mbbench.store import load_records

Source = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def load(source: Source = "results/") -> pd.DataFrame:
    """Return one row per record of a file, of a folder or of several.

    Columns: run_id, kind, repeat, commit, fingerprint, time; `case` (its id) and the fields of Case, with `batch_size` as
    samples per step and `full_batch` as asked for; the fields of Measurement but its curve; and, medians over the rounds
    of a time record, `epoch_s` (seconds), `step_s` (seconds) and `samples_per_s`, where samples_per_s * epoch_s is
    n_samples. `lr` is the learning rate that was used, `lr_asked` that of the case (NaN: the problem's own).

    Raises:
        StoreError: there is no such path, a line is not a record, or there is no record at all.
    """
    return table(load_records(source))


def table(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per record, see `load`."""
    return pd.DataFrame([_row(record) for record in records])


def curves(source: Source = "results/") -> pd.DataFrame:
    """Return one row per point of every loss curve of a file, of a folder or of several.

    Columns: the fields of Case as in `load`, repeat, status; step, epoch, samples, train_s (seconds of training),
    train_loss and heldout_loss (NaN: not finite, or no held-out rows).

    Raises:
        StoreError: there is no such path, a line is not a record, or there is no record at all.
    """
    return curve_table(load_records(source))


def curve_table(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per curve point, see `curves`."""
    frames = []
    for record in records:
        curve = record.measurement.curve
        if curve is None:
            continue
        frame = pd.DataFrame(msgspec.structs.asdict(curve))
        frame = frame.astype({"train_loss": float, "heldout_loss": float})
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
        return pd.DataFrame(columns=[*names, "step", "epoch", "samples", "train_s", "train_loss", "heldout_loss"])
    return pd.concat(frames, ignore_index=True)


def latest(records: Iterable[Record]) -> tuple[list[Record], list[str]]:
    """Return the records that may stand in one report, and sentences on those that were left out.

    Kept: records of the machine that measured last; per problem, those of its newest source; per cell (all its seeds) and
    pass, those of the newest code and budget; and of several that measured the same, the newest.
    """
    ordered = sorted(records, key=lambda record: record.environment.time)
    if not ordered:
        return [], []
    machine = ordered[-1].environment.fingerprint
    here = [record for record in ordered if record.environment.fingerprint == machine]
    sources = {record.case.problem: record.source for record in here}  # later ones overwrite earlier ones
    alike = [record for record in here if record.source == sources[record.case.problem]]
    newest = {_pooled_by(record): _state(record) for record in alike}
    current = [record for record in alike if _state(record) == newest[_pooled_by(record)]]
    kept = {(str(record.case), record.kind, record.repeat): record for record in current}
    notes = []
    if elsewhere := len(ordered) - len(here):
        count = readable.plural(elsewhere, "record")
        notes.append(f"{count} of other machines left out: times of different machines are not pooled.")
    if older := len(here) - len(current):
        count = readable.plural(older, "record")
        notes.append(
            f"{count} left out: the code, the problem's file or the budget has changed since; run again what is missed."
        )
    if twice := len(current) - len(kept):
        notes.append(f"{readable.plural(twice, 'record')} left out because the same was measured again later.")
    if len(states := {code_state(record.environment) for record in kept.values()}) > 1:
        notes.append(f"The cells shown were measured with {len(states)} states of the code: run again to have one.")
    return list(kept.values()), notes


def summary(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per cell apart from seed and repeat, time and convergence side by side.

    `time_status` and `curve_status` name each way in which its records ended ("" where none were asked for).
    `batch_size` is as asked for (a number or "full"), `samples_per_step` always a number. `epoch_s` comes with its 95 %
    interval (NaN below three repeats). `final_train_loss` and `final_heldout_loss` are medians over the seeds that did
    not diverge, at the end of each one's own training, `final_epoch` the median of where that was.
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
    both = zip(cells["time_status"], cells["curve_status"], strict=True)
    shown["status"] = [" / ".join(dict.fromkeys(filter(None, pair))) for pair in both]
    return shown.to_string(index=False)


def _text(value: float, form: Callable[[float], str]) -> str:
    return "" if math.isnan(value) else form(value)


def _summary_row(pool: Pool) -> dict[str, object]:
    cell, epoch, step = pool.cell, pool.epoch_s, pool.step_s
    ends = [(r.measurement.curve.epoch[-1], *_last(r)) for r in pool.finished if r.measurement.curve]
    about = {name: getattr(cell, name) for name in Cell.__struct_fields__ if name not in ("seed", "options")}
    return {
        **about,
        "batch_size": FULL if cell.batch_size is None else cell.batch_size,
        "lr": _first(r.measurement.lr for r in pool.timings + pool.trainings) or cell.lr or math.nan,
        "options": " ".join(f"{name}={value}" for name, value in cell.options),
        "samples_per_step": cell.samples_per_step,
        "steps_per_epoch": cell.steps_per_epoch if cell.applicable else math.nan,
        "time_status": pool.status("time"),
        "curve_status": pool.status("convergence"),
        "repeats": len(pool.repeats),
        "epoch_s": epoch.value if epoch else math.nan,
        "epoch_s_low": _known(epoch.low) if epoch else math.nan,
        "epoch_s_high": _known(epoch.high) if epoch else math.nan,
        "step_s": step.value if step else math.nan,
        "samples_per_s": cell.n_samples / epoch.value if epoch else math.nan,
        "contended": sum(contended(record) is True for record in pool.timings),
        "seeds": len(ends),
        "diverged_seeds": sum(r.measurement.status == "diverged" for r in pool.trainings),
        "final_epoch": _median([end[0] for end in ends]),
        "final_train_loss": _median([end[1] for end in ends]),
        "final_heldout_loss": _median([end[2] for end in ends]),
    }


def _row(record: Record) -> dict[str, object]:
    measurement, env = record.measurement, record.environment
    raw = {name: getattr(measurement, name) for name in Measurement.__struct_fields__ if name != "curve"}
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
    }


def _cell(cell: Cell) -> dict[str, object]:
    fields = {name: getattr(cell, name) for name in Cell.__struct_fields__}
    return {"case": str(cell), **fields, "batch_size": cell.samples_per_step, "full_batch": cell.batch_size is None}


def _pooled_by(record: Record) -> tuple[str, str]:
    return str(unseeded(record.case)), record.kind


def _state(record: Record) -> tuple[object, ...]:
    return (*code_state(record.environment), record.source, record.budget)


def _last(record: Record) -> tuple[float, float]:
    curve = record.measurement.curve
    return (_known(curve.train_loss[-1]), _known(curve.heldout_loss[-1])) if curve else (math.nan, math.nan)


def _median(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)
