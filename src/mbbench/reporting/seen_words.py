"""What was seen of a training loop, in sentences: where its time goes, what its comparison measured, what to try.

Easy to get wrong: what could not be timed apart (a compiled model's forward, an optimizer that is given a closure) is in the
rest, and the rest has to be called by all that is in it.
"""

from collections.abc import Iterator

from mbbench.reporting import readable, seen_beside
from mbbench.seen import Seen, noise

MOSTLY = 0.5
"""Share of the time from which on the loop is called its loader's."""


def lines(seen: Seen, before: Seen | None) -> list[str]:
    """Return what was seen of a loop, and what comparing it with the one before it measures."""
    if not seen.batches:
        said = "mbbench watched a loop that made no step."
        return [f"{said} Iterate over what `watch` returned, or give it no loader." if seen.loader else said]
    return [
        _made(seen),
        *_shares(seen),
        *(() if before is None else seen_beside.lines(seen, before)),
        *_memory(seen),
        *_noise(seen),
        *_other_sizes(seen),
        *_proof(seen),
    ]


def _made(seen: Seen) -> str:
    rows = f" of about {seen.rows_a_batch:,.3g} rows" if seen.rows_a_batch else ""
    steps = readable.plural(seen.batches, "step")
    if seen.updates != seen.batches:
        steps, rows = f"{seen.batches:,} batches", f"{rows} with about {readable.plural(seen.updates, 'update')}"
    epochs = f", {readable.plural(seen.epochs, 'epoch')}" if seen.epochs else ""
    per = readable.seconds(seen.total_s / seen.batches)
    return (
        f"mbbench watched {seen.model} with {seen.optimizer}: {steps}{rows}{epochs} in {readable.seconds(seen.total_s)}, "
        f"{per} each."
    )


def _shares(seen: Seen) -> Iterator[str]:
    if not seen.looks:
        yield "It was too short to see where a step goes."
        return
    total = sum(look.total_s for look in seen.looks)
    loader = f"loader and {seen.trainer}" if seen.trainer else "loader"
    parts = {
        loader: sum(look.loader_s for look in seen.looks),
        "forward": sum(look.forward_s for look in seen.looks),
        "optimizer": sum(look.optimizer_s for look in seen.looks),
    }
    within = ("loss",) if seen.answers_loss and parts["forward"] else ()  # such a model's forward has the loss in it
    untimed = [name for name in ("forward", "loss", "backward", "optimizer") if not parts.get(name) and name not in within]
    parts[f"{', '.join(untimed)} and the rest"] = total - sum(parts.values())
    said = ", ".join(f"{name} {readable.percent(part / total)}" for name, part in parts.items() if part > 0)
    looked = sum(look.batches for look in seen.looks)
    yield f"Where a step goes: {said} (of {looked} steps in {readable.plural(len(seen.looks), 'look')})."
    yield from _loader(seen, loader, all(parts[loader] > part for name, part in parts.items() if name != loader))


def _loader(seen: Seen, name: str, largest: bool) -> Iterator[str]:
    batches, loader_s, total_s = seen.plain
    share = loader_s / total_s if batches else 0.0
    what = f"{readable.percent(share)} of {'all of it' if share >= MOSTLY else 'it'}, in {seen.loader}"
    if share >= MOSTLY:
        said = f"The loop spends its time in the {name}: {what}."
    elif largest and share:
        said = f"Of these the {name} takes the most time: {what}."
    else:
        return
    yield (
        f"{said} Another batch size changes how often the loader is asked; a faster loader changes the time itself (tensors "
        "that are sliced, more workers, a batch sampler)."
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
            "of successive updates, of gradients as the optimizer got them): well below it a larger batch saves updates, "
            "well above it hardly. A hint, not a measurement of steps to a target."
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
    if seen.answers_loss:
        loss = ""
    elif seen.trainer.startswith("Lightning"):
        loss = "step=lambda model, batch: model.training_step(batch, 0), "
    else:
        loss = "loss=loss_function, "
    size = max(1, round(seen.rows_a_batch))
    sizes = {max(1, size // 4), size, 4 * size, 16 * size}
    listed = [str(each) for each in sorted(sizes) if seen.rows is None or each < seen.rows]
    device = "" if seen.device == "cpu" else f" --device {seen.device}"
    names = "model and loader" if "loader" in seen.data else "model, features and targets"
    yield (
        f"To prove it: make {names} ({seen.model}) in my_problem.py as you do here, without the training, and "
        f"`problem = mbbench.Problem(model=model, {loss}{seen.data}, lr={seen.lr:g})`."
    )
    yield (
        f"Then `mbbench run my_problem.py:problem --batch-size {','.join([*listed, 'full'])} --loader {_loaders(seen)} "
        f"--optimizer {seen.optimizer_name}{device} --time 60s`."
    )


def _loaders(seen: Seen) -> str:
    if "loader" not in seen.data:
        return "slice"
    return "slice,dataloader" if "tensors" in seen.data else "dataloader"


def _rounded(count: int) -> str:
    """Return a count with two digits, which is all that a prediction has."""
    digits = max(0, len(str(count)) - 2)
    return f"{count // 10**digits * 10**digits:,}"
