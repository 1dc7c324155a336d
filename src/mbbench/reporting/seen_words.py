"""What was seen of a training loop, in sentences: where its time goes, what its comparison measured, what to try.

Easy to get wrong: two loops that are watched are compared by their seconds, whatever the reader of them meant to compare; so
what else differs, the loader and the number of updates, is said before anything about batch sizes.
"""

from collections.abc import Iterator, Sequence

from mbbench.reporting import readable
from mbbench.seen import Seen, noise

MOSTLY = 0.5
"""Share of the time from which on the loop is called its loader's."""
UNEQUAL = 1.2
"""Factor of updates between two loops from which on it is said."""


def lines(seen: Seen, before: Sequence[Seen]) -> list[str]:
    """Return what was seen of a loop, and what comparing it with those before it measures."""
    if not seen.batches:
        return ["mbbench watched a loop that made no step."]
    return [
        _made(seen),
        *_shares(seen),
        *(line for other in before if other.batches for line in _beside(seen, other)),
        *_memory(seen),
        *_noise(seen),
        *_other_sizes(seen),
        *_proof(seen),
    ]


def _made(seen: Seen) -> str:
    rows = f" of about {seen.rows_a_batch:,.3g} rows" if seen.rows_a_batch else ""
    epochs = f", {readable.plural(seen.epochs, 'epoch')}" if seen.epochs else ""
    per = readable.seconds(seen.total_s / seen.batches)
    return (
        f"mbbench watched {seen.model} with {seen.optimizer}: {readable.plural(seen.batches, 'step')}{rows}{epochs} in "
        f"{readable.seconds(seen.total_s)}, {per} each."
    )


def _shares(seen: Seen) -> Iterator[str]:
    if not seen.looks:
        yield "It was too short to see where a step goes."
        return
    total = sum(look.total_s for look in seen.looks)
    parts = {
        "loader": sum(look.loader_s for look in seen.looks),
        "forward": sum(look.forward_s for look in seen.looks),
        "optimizer": sum(look.optimizer_s for look in seen.looks),
    }
    parts["loss, backward and the rest"] = total - sum(parts.values())
    said = ", ".join(f"{name} {readable.percent(part / total)}" for name, part in parts.items() if part > 0)
    looked = sum(look.batches for look in seen.looks)
    yield f"Where a step goes: {said} (of {looked} steps in {readable.plural(len(seen.looks), 'look')})."
    share = seen.loader_s / seen.total_s
    if share >= MOSTLY:
        yield (
            f"The loop spends its time in the loader: {readable.percent(share)} of all of it, in {seen.loader}. Another "
            "batch size changes how often the loader is asked; a faster loader changes the time itself (tensors that are "
            "sliced, more workers, a batch sampler)."
        )


def _beside(seen: Seen, other: Seen) -> Iterator[str]:
    """Say what comparing the seconds of two loops would measure."""
    whats = []
    if seen.loader != other.loader:
        names = [each.loader or "no loader" for each in (seen, other)]
        shares = [readable.percent(each.loader_s / each.total_s) if each.loader else "none" for each in (seen, other)]
        whats.append(f"the loader ({names[0]}, {shares[0]} of its time; before: {names[1]}, {shares[1]})")
    updates = [seen.updates, other.updates]
    factor = updates[0] / updates[1]
    if not 1 / UNEQUAL <= factor <= UNEQUAL:
        times = f"{readable.multiple(factor) if factor > 1 else f'{factor:.2g}'} times"
        whats.append(f"the number of updates ({updates[0]:,}, before {updates[1]:,}: {times} as many)")
    if not whats:
        return
    step = [readable.seconds((each.total_s - each.loader_s) / each.batches) for each in (seen, other)]
    yield (
        f"Comparing its time with that of the loop before ({other.model}, {readable.plural(other.batches, 'step')} in "
        f"{readable.seconds(other.total_s)}) measures {readable.listed(whats)}, and not the batch size. A step without the "
        f"loader takes {step[0]} here and took {step[1]} there."
    )


def _memory(seen: Seen) -> Iterator[str]:
    where = "The process" if seen.device == "cpu" else "The accelerator"
    if seen.peak_bytes is not None:
        yield f"{where} took {readable.size(seen.peak_bytes)} at most."
    several = [probe for probe in seen.probes if probe.rows > 1]
    if len(several) < 2 or seen.free_bytes is None:
        return
    small, large = several[0], several[-1]
    each = (large.kept_bytes - small.kept_bytes) / (large.rows - small.rows)
    if each > 0:
        most = int(small.rows + seen.free_bytes / each)
        yield (
            f"A batch of about {_rounded(most)} rows would fill the {readable.size(seen.free_bytes)} that are free, by what "
            f"a copy of the model keeps of a row for its backward ({readable.size(each)}): predicted, not tried."
        )


def _noise(seen: Seen) -> Iterator[str]:
    found = noise(seen.gradients)
    if found is not None:
        low, high = max(0.0, found.rows - 2 * found.error), found.rows + 2 * found.error
        yield (
            f"The gradient noise scale is about {found.rows:,.3g} rows ({low:,.3g} to {high:,.3g}, from {found.n} stretches "
            "of successive updates): well below it a larger batch saves updates, well above it hardly. A hint, not a "
            "measurement of steps to a target."
        )
    elif seen.gradients:
        yield "The gradient noise scale could not be resolved from what was seen."


def _other_sizes(seen: Seen) -> Iterator[str]:
    if not seen.probes:
        if seen.unprobed:
            yield f"Other batch sizes were not tried: {seen.unprobed}."
        return
    said = ", ".join(f"{probe.rows:,}: {readable.seconds(probe.seconds / probe.rows)}" for probe in seen.probes)
    yield (
        f"Forward and backward of a copy take, for each row, at batch {said} (a stand-in for the loss, the median of a "
        "few): what another batch size would do to the time of a row, its loader and optimizer apart."
    )


def _proof(seen: Seen) -> Iterator[str]:
    size = max(1, round(seen.rows_a_batch))
    sizes = ",".join(str(each) for each in sorted({max(1, size // 4), size, 4 * size, 16 * size}))
    loader = "dataloader" if seen.loader == "DataLoader" else "slice"
    optimizer = {"Adam": "adam"}.get(seen.optimizer, "sgd")
    device = "" if seen.device == "cpu" else f" --device {seen.device}"
    yield (
        f"To prove it: put `problem = mbbench.Problem(model={seen.model}, loss=..., data=(features, targets), "
        f"lr={seen.lr:g})` into my_problem.py, then `mbbench run my_problem.py:problem --batch-size {sizes},full "
        f"--loader {loader} --optimizer {optimizer}{device} --time 60s`."
    )


def _rounded(count: int) -> str:
    """Return a count with two digits, which is all that a prediction has."""
    digits = max(0, len(str(count)) - 2)
    return f"{count // 10**digits * 10**digits:,}"
