"""Say what losses were reached after equal epochs, equal updates and equal seconds, and why that is no ranking.

Easy to get wrong: a smaller batch makes more updates in an epoch, so equal epochs favour it whatever it is worth; and one
learning rate for all batch sizes favours those that it happens to suit. A loader that shuffles inside a window only may
cost some loss, which is compared at equal batch sizes and with nothing else.
"""

from collections.abc import Sequence

from mbbench.reporting import notebook_law, readable
from mbbench.reporting.finding import Finding
from mbbench.reporting.losses import comparable, complete, horizon, loss_at
from mbbench.reporting.pooling import Pool, Setting

SHOWN = 4
"""Batch sizes in one sentence; the table has them all."""
FULLY_SHUFFLED = ("slice", "gather", "dataloader", "dataloader-batched")
"""Loaders that draw an order of all rows for each epoch, the one to compare with first."""


def findings(setting: Setting) -> list[Finding]:
    """Return what there is to say on the losses of a setting."""
    if not any(pool.trainings for pool in setting.pools):
        return []
    pools = comparable(setting)
    said = []
    if len(pools) > 1:
        # As far as every curve goes, those that are not named too: the figure of equal amounts stops there.
        comparisons = (_epochs(pools), _updates(pools), _seconds(pools))
        said = [finding for finding in comparisons if finding]
        said.append(Finding("No ranking", _learning_rate(pools)))
    elif pools:
        whole = [pool for pool in setting.pools if complete(pool)]
        name = pools[0].batch if len({pool.batch for pool in whole}) == 1 else readable.batch(pools[0].cell.batch_size)
        one = len({pool.cell.batch_size for pool in whole}) == 1
        only = f"only {name} has" if one else "no two batch sizes with one loader have"
        said.append(Finding("Convergence", f"{only} whole loss curves, nothing to compare them with."))
    # Its comparison is taken apart wherever its rows are trained at one rate: a reader will look for the ranking it printed.
    notebook = [notebook_law.finding()] if setting.pools[0].cell.problem == "notebook" else []
    return _diverged(setting) + said + notebook + _window(setting)


def _epochs(pools: Sequence[Pool]) -> Finding | None:
    reached = horizon(pools, "epoch")
    if reached is None:
        return None
    shown = _shown(pools)
    losses = [
        f"{_loss(pool, 'epoch', reached)} with {pool.batch} "
        f"({readable.plural(max(1, round(reached * pool.cell.steps_per_epoch)), 'update')})"
        for pool in shown
    ]
    text = f"loss after {readable.epochs(reached)}: {', '.join(losses)}. A smaller batch makes more updates per epoch."
    text += _overlap(shown, "epoch", reached)
    return Finding("Equal epochs", text)


def _updates(pools: Sequence[Pool]) -> Finding | None:
    reached = horizon(pools, "step")
    if reached is None:
        return None
    shown = _shown(pools)
    losses = [
        f"{_loss(pool, 'step', reached)} with {pool.batch} ({readable.epochs(reached / pool.cell.steps_per_epoch)})"
        for pool in shown
    ]
    text = f"loss after {readable.plural(round(reached), 'update')}: {', '.join(losses)}."
    return Finding("Equal updates", text + _overlap(shown, "step", reached))


def _seconds(pools: Sequence[Pool]) -> Finding | None:
    reached = horizon(pools, "train_s")
    if reached is None:
        return None
    shown = _shown(pools)
    losses = [f"{_loss(pool, 'train_s', reached)} with {pool.batch}" for pool in shown]
    loader = shown[0].cell.loader
    text = f"loss after {readable.seconds(reached)} of training with {loader}: {', '.join(losses)}."
    return Finding("Equal seconds", text + _overlap(shown, "train_s", reached))


def _learning_rate(pools: Sequence[Pool]) -> str:
    used = sorted({lr for pool in pools for r in pool.trainings if (lr := r.measurement.lr) is not None})
    one = "one learning rate" + (f" ({used[0]:g})" if used else "")
    rate = f"{one} for all batch sizes" if len(used) < 2 else f"learning rates from {used[0]:g} to {used[-1]:g}"
    seeds = sorted({len(pool.finished) for pool in pools})
    means = "one seed each, no interval" if seeds == [1] else f"losses are means of {_seed_counts(seeds)}"
    return f"{rate}, not tuned: not a ranking of batch sizes; {means}."


def _diverged(setting: Setting) -> list[Finding]:
    parts = []
    for pool in setting.pools:
        count = sum(record.measurement.status == "diverged" for record in pool.trainings)
        if count:
            parts.append(f"{count} of {readable.plural(len(pool.trainings), 'seed')} with {setting.name(pool)}")
    if not parts:
        return []
    text = f"{readable.listed(parts)} at the learning rate used; left out of the comparison, as survivors would flatter it."
    return [Finding("Diverged", text)]


def _window(setting: Setting) -> list[Finding]:
    """Return what shuffling inside a window costs in loss: `stream` against a loader that shuffles all rows."""
    parts = []
    for pool in setting.pools:
        cell = pool.cell
        if cell.loader != "stream" or not cell.shuffle or cell.batch_size is None or not complete(pool):
            continue  # the gradient of all rows is the same in any order
        others = (setting.find(cell.batch_size, loader, cell.micro_batch) for loader in FULLY_SHUFFLED)
        other = next((other for other in others if other is not None and complete(other)), None)
        reached = horizon([pool, other], "epoch") if other is not None else None
        if other is not None and reached is not None:
            parts.append(_shuffles(pool, other, reached))
    if not parts:
        return []
    shown, more = parts[:SHOWN], len(parts) - SHOWN
    rest = f"; {more} more in the table" if more > 0 else ""
    return [Finding("Window", f"{'; '.join(shown)}{rest}. With stream, rows are shuffled only inside a window.")]


def _shuffles(pool: Pool, other: Pool, reached: float) -> str:
    ours, theirs = loss_at(pool, "epoch", reached), loss_at(other, "epoch", reached)
    apart = "no interval"
    if ours.low is not None and ours.high is not None and theirs.low is not None and theirs.high is not None:
        alike = max(ours.low, theirs.low) <= min(ours.high, theirs.high)
        apart = "their 95 % intervals overlap" if alike else "their 95 % intervals do not overlap"
    return (
        f"loss after {readable.epochs(reached)} with {pool.batch}: {readable.loss(ours.value)} with stream, "
        f"{readable.loss(theirs.value)} with a full shuffle ({other.cell.loader}), {apart}"
    )


def _shown(pools: Sequence[Pool]) -> list[Pool]:
    """Return at most `SHOWN` pools, spread from the smallest batch to the largest, both included."""
    if len(pools) <= SHOWN:
        return list(pools)
    last = len(pools) - 1
    return [pools[round(k * last / (SHOWN - 1))] for k in range(SHOWN)]


def _loss(pool: Pool, axis: str, position: float) -> str:
    return readable.loss(loss_at(pool, axis, position).value)


def _overlap(pools: Sequence[Pool], axis: str, position: float) -> str:
    found = [loss_at(pool, axis, position) for pool in pools]
    lows, highs = ([end for end in ends if end is not None] for ends in zip(*((f.low, f.high) for f in found), strict=True))
    if len(lows) < len(found) or max(lows) > min(highs):
        return ""
    return " All their 95 % intervals overlap."


def _seed_counts(seeds: Sequence[int]) -> str:
    return readable.plural(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
