"""What bounds throughput: a step's fixed part and its samples, fitted, and the matrix rate of this machine. No figure here.

Easy to get wrong: throughput as it is drawn holds the starts of epochs, so the fitted step does too; a fit through all sizes
says nothing where it is far off, so by how much stands beside it; and the matrix rate is what one product reaches, not what
this model could, so it bounds from far above.
"""

from dataclasses import dataclass

from mbbench.reporting import readable
from mbbench.reporting.fits import FEWEST_SIZES, StepTime, fit_step_time
from mbbench.reporting.pooling import Pool, Setting
from mbbench.reporting.step_share import fastest, shares

NEAR = 30.0
"""Times the highest throughput, or a part of it, up to which the matrix rate is drawn."""


@dataclass(frozen=True)
class Bounds:
    """What bounds the samples a second of one setting.

    Attributes:
        highest: of its timed throughputs.
        sizes: the smallest and the largest batch size that the fit is drawn over.
        loader: whose times were fitted.
        step: t(B) = a + b B, None with fewer than three mini-batch sizes.
        matrix_rate: floating-point operations a second of a product of matrices, None where not known.
        flop_per_row: of one forward and backward pass, None where not known.
    """

    highest: float
    sizes: tuple[int, int]
    loader: str
    step: StepTime | None = None
    matrix_rate: float | None = None
    flop_per_row: float | None = None

    @property
    def knee(self) -> float | None:
        """The batch size a / b, where both parts of a step are equal; None where one of them is 0."""
        step = self.step
        return step.overhead_s / step.sample_s if step and step.overhead_s and step.sample_s else None

    @property
    def knee_inside(self) -> bool:
        """Whether the knee lies between the batch sizes that the fit is drawn over."""
        return self.knee is not None and self.sizes[0] < self.knee < self.sizes[1]

    @property
    def matrix_bound(self) -> float | None:
        """Samples a second if every operation of a row ran at the matrix rate."""
        return self.matrix_rate / self.flop_per_row if self.matrix_rate and self.flop_per_row else None

    @property
    def near(self) -> bool:
        """Whether the matrix rate is near enough to the throughputs to be drawn with them."""
        bound = self.matrix_bound
        return bound is not None and 1 / NEAR <= bound / self.highest <= NEAR

    def at(self, batch_size: float) -> float:
        """Return the samples a second that neither part of a fitted step alone would let through: min(B / a, 1 / b)."""
        assert self.step is not None
        parts = (self.step.overhead_s / batch_size, self.step.sample_s)
        return 1 / max(parts)


def bounds(setting: Setting) -> Bounds | None:
    """Return what bounds the throughput of a setting, None where nothing was timed."""
    whole = [pool for pool in setting.timed if pool.whole] or list(setting.timed)
    if not whole:
        return None
    loader = whole[0].cell.loader
    own = [pool for pool in whole if pool.cell.loader == loader]
    minis = {pool.cell.samples_per_step: _step_s(pool) for pool in own if pool.cell.batch_size is not None}
    fitted = fit_step_time(list(minis), list(minis.values())) if len(minis) >= FEWEST_SIZES else None
    _, matrix_rate, flop = fastest(shares(setting))
    sizes = [pool.cell.samples_per_step for pool in own]
    highest = max(pool.cell.samples_per_step / _step_s(pool) for pool in setting.timed)
    return Bounds(highest, (min(sizes), max(sizes)), loader, fitted, matrix_rate, flop)


def method(setting: Setting, found: Bounds | None) -> str:
    """Return how the bounds that are drawn were found, "" where there are none."""
    if found is None:
        return ""
    several = len({pool.cell.loader for pool in setting.timed}) > 1
    return " ".join(filter(None, (_fit(found, several), _matrix(found))))


def _fit(found: Bounds, several: bool) -> str:
    step = found.step
    if step is None:
        return ""
    off = max(map(abs, step.residuals))
    most = f"off by {readable.percent(off)} at most" if off >= 0.01 else "off by less than 1 %"
    return (
        f"Dashed: the limits of a step{f' with {found.loader}' if several else ''}, B / a and 1 / b, of t = a + b B fitted "
        f"to {len(step.residuals)} mini-batch sizes: a = {readable.seconds(step.overhead_s)}, b = "
        f"{readable.seconds(step.sample_s)}, {most}; {_knee(found)}."
    )


def _knee(found: Bounds) -> str:
    if found.knee is None:
        return "with one of them at 0 there is no knee"
    return f"the knee a / b is at batch {_size(found.knee)}{'' if found.knee_inside else ', outside what was timed'}"


def _matrix(found: Bounds) -> str:
    bound = found.matrix_bound
    if bound is None or found.flop_per_row is None or found.matrix_rate is None:
        return ""
    rate, flop = readable.si(found.matrix_rate, "flop"), readable.si(found.flop_per_row, "flop")
    times = f"{readable.multiple(bound / found.highest)} times the highest throughput"
    far = "" if found.near else ", too far to be drawn"
    return f"Matrix rate: at {rate}/s a row of {flop} lets {readable.rate(bound)} through, {times}{far}."


def knee_label(knee: float) -> str:
    """Return what stands at the knee."""
    return f"knee {_size(knee)}"


def _size(batch_size: float) -> str:
    return f"{batch_size:.2g}" if batch_size < 10 else readable.count(float(f"{batch_size:.2g}"))


def _step_s(pool: Pool) -> float:
    """Return the seconds of a whole batch, its share of starting the epoch included."""
    assert pool.epoch_s is not None  # a timed pool
    return pool.epoch_s.value * pool.cell.samples_per_step / pool.cell.n_samples
