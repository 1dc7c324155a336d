"""Where one step goes: the seconds of its phases by cell, and as shares of the step. Numbers, no words.

Easy to get wrong: a profiled step is not a timed one, since a clock was read inside it, so both are kept; and a
cell without a profile is a row too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mbbench.profile import PHASES, Profile
from mbbench.reporting import palette, readable
from mbbench.reporting.pooling import Pool, Setting


@dataclass(frozen=True)
class Share:
    """Where a step of one cell goes.

    Attributes:
        pool: the cell.
        profile: what was read.
        phases_s: seconds of each phase of a step; without "dispatch" where that is not known.
        timed_s: seconds of a step in the cell's time passes, its share of starting the epoch included; None without one.
    """

    pool: Pool
    profile: Profile
    phases_s: Mapping[str, float]
    timed_s: float | None

    @property
    def step_s(self) -> float:
        """Seconds of a profiled step."""
        return sum(self.phases_s.values())

    @property
    def top(self) -> str:
        """The phase that takes most of a step."""
        return max(self.phases_s, key=lambda phase: self.phases_s[phase])

    def part(self, phase: str) -> float:
        """Return what a phase takes of a step, 0 to 1."""
        return self.phases_s.get(phase, 0.0) / self.step_s


def share(pool: Pool) -> Share | None:
    """Return where a step of a pool goes, None where that was not measured."""
    for record in pool.profiles:
        found = record.measurement.profile
        if record.measurement.status == "ok" and found is not None:
            timed_s = pool.epoch_s.value / pool.cell.steps_per_epoch if pool.epoch_s else None
            return Share(pool, found, found.phases_s(pool.cell), timed_s)
    return None


def shares(setting: Setting) -> list[Share]:
    """Return where a step of those of the pools goes that were profiled, small batches first, loaders side by side."""
    return [found for pool in _profiled(setting) if (found := share(pool))]


def bars(setting: Setting) -> pd.DataFrame:
    """Return one row per cell that was to be profiled, as `share_chart.shares` draws it.

    Columns: label; samples_per_step; step_s, and a share of it (0 to 1) for each of `PHASES`, all NaN where not known;
    trouble, how a cell without a profile ended.
    """
    rows = []
    several = len({pool.cell.loader for pool in _profiled(setting)}) > 1
    for pool in _profiled(setting):
        found = share(pool)
        status = pool.status("profile")
        rows.append(
            {
                "label": _label(pool, several),
                "samples_per_step": pool.cell.samples_per_step,
                "step_s": found.step_s if found else None,
                **{phase: found.part(phase) if found and phase in found.phases_s else None for phase in PHASES},
                "trouble": "" if found else readable.TROUBLES.get(status, status),
            }
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(("step_s", *PHASES), float)) if rows else pd.DataFrame()


def _profiled(setting: Setting) -> list[Pool]:
    loaders = list(dict.fromkeys(pool.cell.loader for pool in setting.pools))

    def place(pool: Pool) -> tuple[int, bool, int, int]:
        cell = pool.cell
        place = (
            palette.LOADER_ORDER.index(cell.loader) if cell.loader in palette.LOADER_ORDER else loaders.index(cell.loader)
        )
        return cell.samples_per_step, cell.batch_size is None, cell.micro_batch or 0, place

    return sorted((pool for pool in setting.pools if pool.profiles), key=place)


def _label(pool: Pool, several: bool) -> str:
    cell = pool.cell
    parts = ["full" if cell.batch_size is None else f"{cell.batch_size:,}"]
    parts += [] if cell.micro_batch is None else [f"by {cell.micro_batch:,}"]
    return " · ".join([*parts, cell.loader] if several else parts)


def fastest(found: Sequence[Share]) -> tuple[float | None, float | None, float | None]:
    """Return the best bandwidth and matrix rate of these profiles, and their operations a row; None: not known."""
    bandwidths = [each.profile.bandwidth for each in found if each.profile.bandwidth is not None]
    rates = [each.profile.matrix_rate for each in found if each.profile.matrix_rate is not None]
    flops = [each.profile.flop_per_row for each in found if each.profile.flop_per_row is not None]
    return max(bandwidths, default=None), max(rates, default=None), flops[0] if flops else None
