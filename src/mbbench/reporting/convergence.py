"""Say what losses were reached after equal epochs, equal updates and equal seconds, and why that is no ranking.

Easy to get wrong: a smaller batch makes more updates in an epoch, so equal epochs favour it whatever it is worth; and one
learning rate for all batch sizes favours those that it happens to suit.
"""

from collections.abc import Sequence

from mbbench.reporting import readable
from mbbench.reporting.finding import Finding
from mbbench.reporting.losses import comparable, horizon, loss_at
from mbbench.reporting.pooling import Pool, Setting

SHOWN = 4
"""Batch sizes in one sentence; the table has them all."""


def findings(setting: Setting) -> list[Finding]:
    """Return what there is to say on the losses of a setting."""
    if not any(pool.trainings for pool in setting.pools):
        return []
    pools = comparable(setting)
    said = []
    if len(pools) > 1:
        shown = _shown(pools)
        comparisons = (_epochs(shown), _updates(shown), _seconds(shown))
        said = [finding for finding in comparisons if finding]
        said.append(Finding("No ranking", _learning_rate(pools)))
    elif pools:
        said.append(Finding("Convergence", f"only {pools[0].batch} has whole loss curves, nothing to compare them with."))
    return _diverged(setting) + said


def _epochs(pools: Sequence[Pool]) -> Finding | None:
    reached = horizon(pools, "epoch")
    if reached is None:
        return None
    losses = [
        f"{_loss(pool, 'epoch', reached)} with {pool.batch} "
        f"({readable.plural(max(1, round(reached * pool.cell.steps_per_epoch)), 'update')})"
        for pool in pools
    ]
    text = f"loss after {_epochs_word(reached)}: {', '.join(losses)}. A smaller batch makes more updates per epoch."
    text += _overlap(pools, "epoch", reached)
    return Finding("Equal epochs", text)


def _updates(pools: Sequence[Pool]) -> Finding | None:
    reached = horizon(pools, "step")
    if reached is None:
        return None
    losses = [
        f"{_loss(pool, 'step', reached)} with {pool.batch} ({_epochs_word(reached / pool.cell.steps_per_epoch)})"
        for pool in pools
    ]
    text = f"loss after {readable.plural(round(reached), 'update')}: {', '.join(losses)}."
    return Finding("Equal updates", text + _overlap(pools, "step", reached))


def _seconds(pools: Sequence[Pool]) -> Finding | None:
    reached = horizon(pools, "train_s")
    if reached is None:
        return None
    losses = [f"{_loss(pool, 'train_s', reached)} with {pool.batch}" for pool in pools]
    loader = pools[0].cell.loader
    text = f"loss after {readable.seconds(reached)} of training with {loader}: {', '.join(losses)}."
    return Finding("Equal seconds", text + _overlap(pools, "train_s", reached))


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
            name = pool.name if len(setting.loaders) > 1 else pool.batch
            parts.append(f"{count} of {readable.plural(len(pool.trainings), 'seed')} with {name}")
    if not parts:
        return []
    text = f"{readable.listed(parts)} at the learning rate used; left out of the comparison, as survivors would flatter it."
    return [Finding("Diverged", text)]


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


def _epochs_word(number: float) -> str:
    word = f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
    return f"{word} epoch" if word == "1" else f"{word} epochs"


def _seed_counts(seeds: Sequence[int]) -> str:
    return readable.plural(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
