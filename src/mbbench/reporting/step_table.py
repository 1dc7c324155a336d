"""Steps to the target as tables, one row for each thing that is drawn: sizes, seeds, fits, and what is marked beside them.

Easy to get wrong: steps do not depend on the loader, so loaders share their searches and are one series.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from mbbench.reporting.choosing import Choice, Tried
from mbbench.reporting.misfits import Misfit
from mbbench.reporting.stats import Estimate
from mbbench.reporting.target_table import fitted, positions, search_status, typical_steps, where


def searched(choices: Sequence[Choice]) -> list[tuple[str, list[Choice]]]:
    """Return the choices that share their searches, each group with the names of its loaders."""
    groups: dict[tuple[str, ...], list[Choice]] = {}
    for choice in choices:
        if seen := tuple(str(tried.search.case) for tried in choice.sizes if tried.search is not None):
            groups.setdefault(seen, []).append(choice)
    return [(", ".join(choice.loader for choice in group), group) for group in groups.values()]


def steps(choices: Sequence[Choice]) -> pd.DataFrame:
    """Return one row for each group of loaders that share their searches and each batch size.

    Columns: series (the loaders), loader (the first), shared, batch_size, full_batch, steps, steps_low, steps_high, samples
    (steps x batch size), status.
    """
    rows = []
    for series, group in searched(choices):
        for tried in _union(group):
            row = typical_steps(tried)
            found = {"series": series, "loader": group[0].loader, "shared": len(group) > 1} | where(tried)
            status = search_status(tried)
            rows.append(found | row | {"samples": row["steps"] * tried.cell.samples_per_step, "status": status})
    columns = (
        "series",
        "loader",
        "shared",
        "batch_size",
        "full_batch",
        "steps",
        "steps_low",
        "steps_high",
        "samples",
        "status",
    )
    return pd.DataFrame(rows, columns=list(columns))


def step_seeds(choices: Sequence[Choice]) -> pd.DataFrame:
    """Return one row for each series, batch size and seed that reached the target: series, batch_size, steps."""
    rows = [
        (series, tried.cell.samples_per_step, count)
        for series, group in searched(choices)
        for tried in _union(group)
        for count in tried.steps
        if count is not None
    ]
    return pd.DataFrame(rows, columns=["series", "batch_size", "steps"])


def step_curves(choices: Sequence[Choice]) -> pd.DataFrame:
    """Return the fitted steps to target of each series: series, batch_size, steps, holds.

    `holds` is whether the steps follow the curve; it is drawn as doubtful where they do not.
    """
    rows = []
    for series, choice in _fits(choices):
        assert choice.recommendation is not None
        assert choice.recommendation.curves is not None
        curve = choice.recommendation.curves
        holds = curve.holds or not curve.misfits & {Misfit.STEPS_RESIDUAL, Misfit.STEPS_RISE}
        rows += [(series, size, curve.steps.at(size), holds) for size in positions(fitted(choice))]
    return pd.DataFrame(rows, columns=["series", "batch_size", "steps", "holds"])


def critical(choices: Sequence[Choice]) -> dict[str, Estimate]:
    """Return the critical batch size Bc of each series with a fit that its steps follow and n does not exceed."""
    doubts = {Misfit.STEPS_RESIDUAL, Misfit.STEPS_RISE, Misfit.CRITICAL_ABOVE_N}
    found = {}
    for series, choice in _fits(choices):
        curves = choice.recommendation.curves if choice.recommendation else None
        if curves is not None and (curves.holds or not curves.misfits & doubts) and curves.critical_batch_size.value > 0:
            found[series] = curves.critical_batch_size
    return found


def noise_scale(choices: Sequence[Choice]) -> tuple[float, float] | None:
    """Return the least and the largest gradient noise scale (in rows) measured along a run, None where there is none.

    Of the rows' source, at those points from the start to the target where it is resolved.
    """
    found = []
    for choice in choices:
        for tried in choice.sizes:
            if tried.runs is not None:
                found += [point.b_super for point in tried.runs.noise if point.b_super is not None and point.b_super > 0]
    return (min(found), max(found)) if found else None


def _union(group: Iterable[Choice]) -> list[Tried]:
    """Return each searched batch size once, rising, full batch last: as the first of the loaders has it."""
    found: dict[int | None, Tried] = {}
    for choice in group:
        for tried in choice.sizes:
            if tried.search is not None:
                found.setdefault(tried.cell.batch_size, tried)
    return sorted(found.values(), key=lambda tried: (tried.cell.samples_per_step, tried.cell.batch_size is None))


def _fits(choices: Sequence[Choice]) -> list[tuple[str, Choice]]:
    """Return for each series the first choice that has curves."""
    found = []
    for series, group in searched(choices):
        fitted = [choice for choice in group if choice.recommendation and choice.recommendation.curves]
        found += [(series, choice) for choice in fitted[:1]]
    return found
