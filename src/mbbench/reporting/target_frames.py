"""The frames on the way to the target: which batch size gets there first, and with how many updates and samples."""

from collections.abc import Sequence

import pandas as pd

from mbbench.reporting import step_charts, step_table, tables, target_charts, target_table, target_words
from mbbench.reporting.choosing import Choice
from mbbench.reporting.frames import Drawer, Frame


def frames(choices: Sequence[Choice], picture: Drawer) -> list[Frame]:
    """Return the frames of a setting's choices; none without a search that says something."""
    sizes = target_table.sizes(choices)
    found = []
    if (sizes["status"] != "not_searched").any():
        found.append(_times(choices, sizes, picture))
    steps = step_table.steps(choices)
    if steps["steps"].notna().any():
        found.append(_steps(choices, steps, sizes, picture))
    return found


def _times(choices: Sequence[Choice], sizes: pd.DataFrame, picture: Drawer) -> Frame:
    target, curves = target_words.target(choices), target_table.time_curves(choices)
    seeds, races = target_table.seeds(choices), target_table.races(choices)
    bands, picks = target_table.bands(choices), target_table.picks(choices)
    chart = picture(
        "target",
        "",
        target_words.first(choices, sizes),
        lambda: target_charts.time_to_target(sizes, seeds, races, curves, bands, picks, target),
    )
    method = target_words.time_method(choices, sizes, picks)
    return Frame("Which batch size reaches the target first?", False, (chart,), method, tables.target_table(sizes))


def _steps(choices: Sequence[Choice], steps: pd.DataFrame, sizes: pd.DataFrame, picture: Drawer) -> Frame:
    target, seeds, curves = target_words.target(choices), step_table.step_seeds(choices), step_table.step_curves(choices)
    critical, noise, picks = step_table.critical(choices), step_table.noise_scale(choices), target_table.picks(choices)
    pictures = (
        picture(
            "steps",
            "",
            target_words.fewer_steps(steps, critical, noise),
            lambda: step_charts.steps_to_target(steps, seeds, curves, critical, noise, target),
        ),
        picture("pareto", "", target_words.trade(steps), lambda: step_charts.pareto(steps, picks, target)),
    )
    method = target_words.step_method(choices, curves)
    return Frame("How many updates and samples does it take?", False, pictures, method, tables.step_table(steps))
