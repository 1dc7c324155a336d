"""The words of `mbbench notebook`: the replayed tables beside the printed figures, and what the comparison measured.

Easy to get wrong: equal epochs are not equal work. At batch 2 an epoch of five rows has three updates, as full batch one.
"""

from collections.abc import Sequence
from typing import Any

from mbbench.record import Record
from mbbench.reporting import readable, stats

Rounds = Sequence[Sequence[float]]
"""Seconds of an epoch, once per round, for each repeat."""

ALIKE = 1.2
"""Errors this close are about the same: the orders of the rows alone spread them by 10 to 15 % (one SD)."""
EPOCHS = 2001
"""The notebook trained for epochs 0 to 2000."""


def replayed(tables: dict[str, Any]) -> list[str]:
    """Return the lines on what the notebook printed and what its comparison shows, given `tables` of the replay."""
    full, mini, equal = tables["full_batch"], tables["mini_batch"], tables["equal_steps"]
    lines = ["Full batch, replayed beside the notebook's printed costs", "  epoch         cost      printed"]
    for epoch, cost, printed in zip(full["epoch"], full["cost"], full["printed"], strict=True):
        lines.append(f"  {epoch:5d} {cost:12.6f} {printed:12.6f}")
    lines += [_prediction(full), "", "Batch size 2, replayed beside the notebook's printed costs"]
    lines.append("  epoch batch         cost      printed")
    for epoch, batch, cost, printed in zip(mini["epoch"], mini["batch"], mini["cost"], mini["printed"], strict=True):
        lines.append(f"  {epoch:5d} {batch:5d} {cost:12.6f} {printed:12.6f}")
    lines += [_prediction(mini), "", "What the comparison shows", *_at_equal_steps(equal), ""]
    return lines


def timed(records: Sequence[Record]) -> list[str]:
    """Return the lines on the notebook's ways of training, timed: each with its interval, as multiples of full batch."""
    lines = ["What the notebook's ways cost, for its 2001 epochs"]
    ways = {
        "batch 2, DataLoader": ("dataloader", 2, EPOCHS),
        "batch 2, slices": ("slice", 2, EPOCHS),
        "full batch": ("slice", None, EPOCHS),
        "full batch, as many updates as batch 2": ("slice", None, 3 * EPOCHS),
    }
    found = {name: _seconds(records, loader, size, epochs) for name, (loader, size, epochs) in ways.items()}
    for name, estimate in found.items():
        lines.append(f"  {name:38s} {'not measured' if estimate is None else _readable(estimate)}")
    rounds = [_rounds(records, *way[:2]) for way in list(ways.values())[:3]]
    if all(rounds):
        lines += ["", *_taken_apart(*rounds)]
    return lines


def _taken_apart(loader: Rounds, slices: Rounds, full: Rounds) -> list[str]:
    """Return the sentences on what makes the notebook's batch 2 slower: updates, loader, and the batch itself."""
    whole, updates, loading = stats.ratio(loader, full), stats.ratio(slices, full), stats.ratio(loader, slices)
    update = stats.ratio(slices, [[3 * seconds for seconds in rounds] for rounds in full])
    low, high = (end if end is not None else update.value for end in (update.low, update.high))
    alike = "the batch size itself changes nothing that can be seen" if low <= 1 <= high else "that is the batch size itself"
    return [
        f"The notebook's batch 2 takes {readable.times(whole)} as its full batch. Its three updates an epoch against one "
        f"make it {readable.times(updates)}, the DataLoader, which the full batch did without, {readable.times(loading)}.",
        f"Update for update, batch 2 by slices takes {readable.times(update)} as full batch: {alike}.",
    ]


def _prediction(table: dict[str, Any]) -> str:
    return f"  prediction for (73, 80, 75): {table['prediction']:.4f}, printed {table['printed_prediction']:.4f}"


def _at_equal_steps(equal: dict[str, Any]) -> list[str]:
    few, many = equal["steps"]
    full, batch_2, spread = equal["full_batch_mse"], equal["batch_2_mse"], equal["batch_2_sd"]
    updates = equal["updates_per_epoch"]
    shuffles = equal["shuffles"]
    good, bad = equal["full_batch_at_other_lr"].items()
    return [
        f"  At equal epochs batch 2 makes {updates['batch_2']} updates where full batch makes {updates['full_batch']}, "
        "and the learning rate is the same: the comparison is of the number of updates.",
        f"  After {few} updates from one start: full batch {full[0]:.4f}, batch 2 {batch_2[0]:.4f} "
        f"(mean of {shuffles} orders, SD {spread[0]:.3f}).",
        f"  After {many} updates: full batch {full[1]:.4f}, batch 2 {batch_2[1]:.4f} (SD {spread[1]:.3f}).",
        f"  {_update_for_update([b / a for a, b in zip(full, batch_2, strict=True)])}",
        f"  At learning rate {good[0]} full batch reaches {good[1]['mse']:.4f} in {few} updates; "
        f"at {bad[0]}, above 2 / L = 4.544e-05, it {'diverges' if bad[1]['status'] == 'diverged' else 'does not diverge'}.",
    ]


def _update_for_update(ratios: list[float]) -> str:
    if all(1 / ALIKE <= ratio <= ALIKE for ratio in ratios):
        return "So update for update they are about the same, and the advantage at equal epochs is the number of updates."
    found = readable.listed(f"{ratio:.2f}" for ratio in ratios)
    return f"So update for update the error of batch 2 is {found} times full batch's."


def _rounds(records: Sequence[Record], loader: str, batch_size: int | None) -> Rounds:
    return [
        record.measurement.epochs_s(record.case.n_samples)
        for record in records
        if (record.case.loader, record.case.batch_size) == (loader, batch_size) and record.measurement.status == "ok"
    ]


def _seconds(records: Sequence[Record], loader: str, batch_size: int | None, epochs: int) -> stats.Estimate | None:
    repeats = [[seconds * epochs for seconds in rounds] for rounds in _rounds(records, loader, batch_size)]
    return stats.from_repeats(repeats, unit="s") if repeats else None


def _readable(estimate: stats.Estimate) -> str:
    interval = "no interval" if estimate.low is None else f"[{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f} s {interval} (n = {estimate.n} processes)"
