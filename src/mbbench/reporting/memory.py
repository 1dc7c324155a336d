"""Say what training takes of memory, how that grows with the batch, which batch sizes fit, and what is behind the figures.

Easy to get wrong: peaks are counts, exact and without an interval, but of the batch sizes that were tried only: nothing is
extrapolated. What is not known is left out, never 0. A full batch need not take more than a mini-batch: to shuffle, `slice`
copies all rows, and a full batch is not shuffled.
"""

from collections.abc import Sequence

from mbbench.reporting import readable
from mbbench.reporting.accumulation import findings as accumulated
from mbbench.reporting.capacity import fitting
from mbbench.reporting.finding import Finding
from mbbench.reporting.peaks import Peak, asked_about, peaks
from mbbench.reporting.pooling import Setting

ENOUGH = 10_000_000
"""Bytes of tensors above which process over tensors says something: below, the allocator's own start is most of it."""
SEEN = 0.01
"""Part of a peak that a prediction may miss without a word."""


def findings(setting: Setting) -> list[Finding]:
    """Return what there is to say on the memory of a setting, the most important first."""
    if not asked_about(setting):
        return []
    said = [Finding("Fits", text)] if (text := fitting(setting)) else []
    found = peaks(setting.pools)
    whole = [each for each in found if each.pool.whole]
    said += [Finding("Memory", _growth(setting, whole))] if whole else []
    return said + accumulated(setting) + _held(setting, found) + _prediction(setting, found) + _setup(setting, found)


def _growth(setting: Setting, whole: Sequence[Peak]) -> str:
    """Return how the peak changes from the smallest to the largest batch in one piece, with the loader tried most."""
    by_loader = {loader: [each for each in whole if each.pool.cell.loader == loader] for loader in setting.loaders}
    own = max(by_loader.values(), key=len)
    small, large = own[0], own[-1]
    if small is large:
        return f"{_takes(setting, small)} at the peak.{_loaders(own, whole)}"
    start = f"at the peak, {_takes(setting, small)}, {_takes(setting, large)}"
    return f"{start}: {_grown(small, large)}{_fixed(own)}{_each_sample(own)}{_loaders(own, whole)}"


def _takes(setting: Setting, each: Peak) -> str:
    process = ""
    if each.process is not None:
        least = "at least " if each.measurement.rss_sampled and not each.on_device else ""
        holder = "torch's allocator" if each.on_device else "its process"
        process = f" ({holder}: {least}{readable.size(each.process)})"
    return f"{setting.name(each.pool)} takes {readable.size(each.tensors)} of tensors{process}"


def _grown(small: Peak, large: Peak) -> str:
    ratio = large.tensors / small.tensors if small.tensors else 1.0
    rows = readable.multiple(large.pool.cell.samples_per_step / small.pool.cell.samples_per_step)
    if ratio > 1.1:
        return f"{readable.multiple(ratio)} times as much for {rows} times the batch."
    if ratio > 0.9:
        return f"within 10 % of each other, for {rows} times the batch."
    copied = small.pool.cell.loader == "slice" and small.pool.cell.shuffle and large.pool.cell.batch_size is None
    why = ", since slice copies all rows to shuffle them and a full batch is not shuffled" if copied else ""
    return f"less, for {rows} times the batch{why}."


def _fixed(own: Sequence[Peak]) -> str:
    least = min(own, key=lambda each: each.tensors)
    return f" At most {readable.size(least.tensors)} of it (rows, model, optimizer) does not grow with the batch."


def _each_sample(own: Sequence[Peak]) -> str:
    """Return the difference quotient of the two largest mini-batches: both shuffle, a full batch does not."""
    minis = [each for each in own if each.pool.cell.batch_size is not None]
    if len(minis) < 2:
        return ""
    below, above = minis[-2:]
    rows = above.pool.cell.samples_per_step - below.pool.cell.samples_per_step
    if above.tensors <= below.tensors:
        return ""
    more = readable.size((above.tensors - below.tensors) / rows)
    return f" From {below.pool.batch} to {above.pool.batch} each further sample of the batch takes {more}."


def _loaders(own: Sequence[Peak], whole: Sequence[Peak]) -> str:
    """Return what other loaders take at equal batch sizes."""
    by_size, plain = {each.pool.cell.batch_size: each for each in own}, own[0].pool.cell.loader
    alike, said = [], []
    for loader in dict.fromkeys(each.pool.cell.loader for each in whole):
        pairs = [(each, by_size.get(each.pool.cell.batch_size)) for each in whole if each.pool.cell.loader == loader]
        ratios = [each.tensors / other.tensors for each, other in pairs if other and other is not each and other.tensors]
        if ratios and max(map(abs, (ratio - 1 for ratio in ratios))) < SEEN:
            alike.append(loader)
        elif ratios:
            said.append(f"{loader} takes {_span(ratios)} times what {plain} takes")
    if alike:
        said.append(f"{readable.listed(alike)} {'takes' if len(alike) == 1 else 'take'} as much as {plain}")
    return f" At equal batch sizes {readable.listed(said)}." if said else ""


def _span(ratios: Sequence[float]) -> str:
    low, high = readable.multiple(min(ratios)), readable.multiple(max(ratios))
    return low if low == high else f"{low} to {high}"


def _held(setting: Setting, found: Sequence[Peak]) -> list[Finding]:
    """Return how much more than its tensors take is taken to hold them."""
    ratios = [(each.process / each.tensors, each) for each in found if each.tensors > ENOUGH and each.process is not None]
    said = []
    if ratios:
        (low, least), (high, most) = (pick(ratios, key=lambda pair: pair[0]) for pick in (min, max))
        holder = "torch's allocator holds" if most.on_device else "the process takes"
        sampled = any(each.measurement.rss_sampled and not each.on_device for _, each in ratios)
        span = f"{low:.2f} times ({setting.name(least.pool)}) to {high:.2f} times ({setting.name(most.pool)})"
        if f"{low:.2f}" == f"{high:.2f}":
            span = f"{high:.2f} times"
        lower = " Sampled, so a lower bound." if sampled else ""
        said.append(Finding("Overhead", f"{holder} {span} what the tensors take.{lower}"))
    used = [(each.measurement.peak_device_used_bytes, each) for each in found if each.on_device]
    known = [(size, each) for size, each in used if size is not None]
    if known:
        size, each = max(known, key=lambda pair: pair[0])
        device = each.pool.cell.device.upper()
        text = f"with {setting.name(each.pool)}, {device} memory in use grew by {readable.size(size)}, whoever used it."
        said.append(Finding("Device", text))
    return said


def _prediction(setting: Setting, found: Sequence[Peak]) -> list[Finding]:
    """Return what of the peaks the prediction did not see, or that it saw all."""
    parts = [(each.unseen / each.tensors, each) for each in found if each.unseen is not None and each.tensors]
    if not parts:
        return []
    part, most = max(parts, key=lambda pair: pair[0])
    over, under = [p for p, _ in parts if p > SEEN], [(p, each) for p, each in parts if p < -SEEN]
    said = []
    if over:
        text = (
            f"{readable.size(most.unseen or 0)} of the peak of {setting.name(most.pool)} ({readable.percent(part)}) stand "
            "above the prediction: operators' own scratch, which cannot be reckoned without running them"
        )
        several = f"; above 1 % in {len(over)} of {readable.plural(len(parts), 'cell')}" if len(parts) > 1 else ""
        said.append(Finding("Scratch", f"{text}{several}."))
    if under:
        part, most = min(under, key=lambda pair: pair[0])
        text = f"up to {readable.percent(-part)} above the peak that was counted ({setting.name(most.pool)})."
        said.append(Finding("Prediction", text))
    if not over and not under:
        text = f"within 1 % of the peak that was counted, in {readable.plural(len(parts), 'cell')}."
        said.append(Finding("Prediction", text))
    return said


def _setup(setting: Setting, found: Sequence[Peak]) -> list[Finding]:
    """Return where making rows and model takes more than training."""
    setups = [(each.measurement.setup_peak_tensor_bytes, each) for each in found]
    above = [(setup, each) for setup, each in setups if setup is not None and setup > each.tensors]
    if not above:
        return []
    setup, each = max(above, key=lambda pair: pair[0] / pair[1].tensors if pair[1].tensors else 0.0)
    several = f" So it is in {len(above)} of {readable.plural(len(found), 'cell')}." if len(found) > 1 else ""
    text = (
        f"making rows and model takes {readable.size(setup)} of tensors, training with {setting.name(each.pool)} after it "
        f"{readable.size(each.tensors)}.{several}"
    )
    return [Finding("Setup", text)]
