"""What the figures on the way to the target show, in a sentence each, and how they were made.

Easy to get wrong: few updates are not little time, and neither is a figure's lowest point the recommended size, which the
curves or the whole table chose; each sentence says what its own figure shows and no more.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from mbbench.reporting import readable
from mbbench.reporting.choosing import Choice
from mbbench.reporting.recommendation import Recommendation
from mbbench.reporting.stats import Estimate

STATUSES = {
    **readable.TROUBLES,
    "reached": "reached",
    "not_reached": "not reached",
    "at_start": "at the target before any update",
    "not_searched": "not searched",
    "not_timed": "not timed",
}
"""How a size ended, in words."""
POLICIES = {
    "fixed": "one learning rate for all batch sizes",
    "linear": "learning rates in proportion to the batch size",
    "sqrt": "learning rates in proportion to the square root of the batch size",
}


def target(choices: Sequence[Choice]) -> str:
    """Name the target for an axis: "loss 0.101"; "the target" where loaders have targets of their own, or none was found."""
    found = {choice.target for choice in choices}
    (only,) = found if len(found) == 1 else (None,)
    return "the target" if only is None else f"loss {readable.loss(only)}"


def first(choices: Sequence[Choice], sizes: pd.DataFrame) -> str:
    """Say which batch size is recommended, how long it takes and what the ends would cost; and what never got there."""
    known = [(choice, found) for choice in choices if (found := choice.recommendation) and found.seconds]
    missed = _missed(sizes)
    if not known:
        return f"no time to {target(choices)} is known.{missed}"
    known.sort(key=lambda each: each[1].seconds.value if each[1].seconds else math.inf)
    several = len(choices) > 1
    said = [_recommended(choice, found, several, leading=not place) for place, (choice, found) in enumerate(known)]
    return " ".join(said) + missed


def time_method(choices: Sequence[Choice], sizes: pd.DataFrame, picks: pd.DataFrame) -> str:
    """Say how times to the target were made."""
    said = [
        f"Updates to {target(choices)}, typical of {_seeds(sizes)} at each batch size{_at_rates(choices)}, times the "
        f"seconds of an update, the geometric mean of the repeats with epoch starts included; {_bars(sizes)}. Dots: single "
        "seeds."
    ]
    if (picks["chosen_by"] == "curves").any():
        said.append("Where a thick line is drawn, fitted curves choose, and as good (shaded) is within 10 % of their least.")
    if (picks["chosen_by"] == "table").any():
        said.append("Where points are joined by a thin line, no curve holds: the least measured is chosen, and as good")
        said[-1] += " (shaded) is within 10 % of it or not shown to be slower."
    if sizes["races"].sum():
        said.append("Open markers: single races, really trained against the clock; the bar beside is their typical time.")
        said[-1] += " Among sizes that were raced, these times count as much as the reckoned ones."
    return " ".join(said) + _untuned(choices)


def fewer_steps(steps: pd.DataFrame, critical: Mapping[str, Estimate], noise: tuple[float, float] | None) -> str:
    """Say how many updates the smallest and the largest batch take, and where more samples stop saving updates."""
    known = steps[steps["steps"].notna()].sort_values(["batch_size", "full_batch"])
    low, high = known.iloc[0], known.iloc[-1]
    said = f"{_updates(low)} with {_batch(low)}"
    if len(known) > 1 and low["batch_size"] != high["batch_size"]:
        said += f", {_updates(high)} with {_batch(high)}: {_saving(low, high)}"
    said += "."
    for series, bc in critical.items():
        of = f" ({series})" if len(critical) > 1 else ""
        ends = f", 95 % interval {readable.count(bc.low)} to {readable.count(bc.high)}" if bc.low and bc.high else ""
        said += (
            f" At about {readable.count(bc.value)} samples (Bc{of}{ends}) the fit has twice the least that any batch takes."
        )
    if not critical:
        said += " The steps do not tell a critical batch size."
    if noise is not None:
        ends = " to ".join(dict.fromkeys(f"{end:,.3g}" for end in noise))
        said += f" The gradient noise scale, only a prior, is {ends} samples along a run."
    return said


def trade(steps: pd.DataFrame) -> str:
    """Say which size takes the fewest updates, and which the fewest samples."""
    known = steps[steps["steps"].notna()]
    updates, samples = (known.sort_values(column, kind="stable").iloc[0] for column in ("steps", "samples"))
    if updates.name == samples.name:
        return f"{_batch(updates)} takes the fewest updates and the fewest samples of those tried."
    return (
        f"{_batch(updates)} takes the fewest updates; {_batch(samples)} takes the fewest samples, "
        f"with {readable.multiple(samples['steps'] / updates['steps'])} times the updates and "
        f"1/{readable.multiple(updates['samples'] / samples['samples'])} of the samples. "
        "What an update and a sample cost decides between them."
    )


def step_method(choices: Sequence[Choice], curves: pd.DataFrame) -> str:
    """Say how steps to the target were counted."""
    said = (
        "First update at which the loss of all training rows is at or below "
        f"{target(choices).removeprefix('loss ')}, interpolated between evaluations; dots: single seeds, at each batch "
        f"size{_at_rates(choices)}. Samples: updates times batch size. "
        "1 / B: half the updates for twice the batch."
    )
    if len(curves):
        follows = "" if curves["holds"].all() else ", which the updates do not follow here, so it chooses nothing"
        said += f" Fit: S = Smin (1 + Bc / B){follows}."
    return said + _untuned(choices)


def _recommended(choice: Choice, found: Recommendation, several: bool, leading: bool) -> str:
    assert found.seconds is not None
    assert found.batch_size is not None
    name = readable.batch(None if found.full_batch else found.batch_size)
    at = found.seconds
    ends = f" ({readable.seconds(at.low)} to {readable.seconds(at.high)})" if at.low and at.high else ""
    time = f"{readable.seconds(at.value)}{ends}"
    if not leading:
        return f"With {choice.loader} it is {name}, in {time}{_as_good(choice, found)}."
    loader = f" with {choice.loader}" if several else ""
    said = f"{name}{loader} reaches {target([choice])} in {time}{_as_good(choice, found)}."
    full = found.full_batch_multiple
    if full is not None and not found.full_batch:
        said += f" Full batch takes {readable.times(full)}."
    one = found.batch_1_multiple
    if one is not None and found.batch_size != 1:
        said += f" Batch 1 takes {readable.times(one)}."
    return said


def _as_good(choice: Choice, found: Recommendation) -> str:
    others = [size for size in found.as_good if size != found.batch_size]
    if not others:
        return ""
    words = [choice.named(size).removeprefix("batch ") for size in others]
    return f"; as good: {readable.listed(words)}"


def _missed(sizes: pd.DataFrame) -> str:
    """Name the sizes that never reached the target, each once."""
    lost = sizes[~sizes["status"].isin(["reached", "at_start", "not_searched", "not_timed"]) & sizes["steps"].isna()]
    words = list(dict.fromkeys(f"{_batch(row)} ({STATUSES[row['status']]})" for row in lost.to_dict("records")))
    return f" Without steps to it: {readable.listed(words)}." if words else ""


def _batch(row: Mapping[Hashable, Any] | pd.Series) -> str:
    return readable.batch(None if row["full_batch"] else int(str(row["batch_size"])))


def _updates(row: pd.Series) -> str:
    """Return the typical updates with the range of the seeds, where there is one."""
    ends = list(dict.fromkeys(readable.count(row[name]) for name in ("steps_low", "steps_high")))
    between = f" ({' to '.join(ends)} over the seeds)" if len(ends) > 1 else ""
    return f"{readable.plural(round(row['steps']), 'update')}{between}"


def _saving(low: pd.Series, high: pd.Series) -> str:
    fewer, larger = low["steps"] / high["steps"], high["batch_size"] / low["batch_size"]
    word = f"{readable.multiple(fewer)} times fewer" if fewer >= 1 else f"{readable.multiple(1 / fewer)} times more"
    return f"{word}, of {readable.multiple(larger)} times the samples each"


def _seeds(sizes: pd.DataFrame) -> str:
    counts = sorted(set(sizes.loc[sizes["seeds"] > 0, "seeds"]))
    if not counts:
        return "no seed"
    return readable.plural(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def _bars(sizes: pd.DataFrame) -> str:
    if sizes["seconds_low"].isna().all():
        return "too few seeds for an interval"
    return "bars: 95 % interval, the spread between seeds and repeats pooled over the batch sizes"


def _at_rates(choices: Sequence[Choice]) -> str:
    return "'s best learning rate" if all(choice.policy == "tuned" for choice in choices) else ""


def _untuned(choices: Sequence[Choice]) -> str:
    used = [POLICIES[policy] for policy in dict.fromkeys(choice.policy for choice in choices) if policy != "tuned"]
    return f" {readable.first_up(readable.listed(used))}, not tuned: not a ranking." if used else ""
