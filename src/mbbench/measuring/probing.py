"""Try other batch sizes on a copy of a model: what forward and backward take, and what they keep. Training is not touched.

The loss is not known here, so the mean square of all that the model returns stands for it. Easy to get wrong: dropout draws
random numbers, which training would miss, so the random state is put back; and it may be amid training that this is done,
so it must neither last nor take the memory that training needs.
"""

import copy
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mbbench.measuring import nested
from mbbench.seen import Probe

TIMES = (1, 2, 4)
"""Of the batch that was seen: the sizes tried, a single row before them."""
REPEATS = 3
MOST_S = 0.5
"""Of all tries: less than 1 % of the minute after which a watched loop is spoken of."""


def probe(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wait: Callable[[], None],
    *,
    step_s: float = 0.0,
    room_bytes: int | None = None,
) -> tuple[tuple[Probe, ...], str]:
    """Return what a copy of the model takes at some batch sizes, and why nothing where that could not be tried.

    Args:
        model: as it is trained.
        args: what it was called with: of tensors with as many rows as the first there are more or fewer.
        kwargs: the same by name.
        wait: for the accelerator.
        step_s: that forward and backward of such a batch take; a size that would take too long is not tried.
        room_bytes: that a copy may take; None: as many as it needs.
    """
    count = nested.count((args, kwargs))
    if not count:
        return (), "the model is called with no tensor that has rows"
    began = time.perf_counter()
    room = math.inf if room_bytes is None else room_bytes - 2 * sum(part.nbytes for part in model.parameters())
    if room < 0:
        return (), "there is no room for a copy of the model"
    device = next((part.device for part in model.parameters()), torch.device("cpu"))
    found, why = list[Probe](), f"a step takes too long to be tried some times in {MOST_S:g} s"
    with torch.random.fork_rng([] if device.type == "cpu" else [device]), torch.enable_grad():
        for size in sorted({1, *(count * each for each in TIMES)}):
            # A single row may take as long as all of them do, where its work is not what takes the time.
            if time.perf_counter() - began + (1 + REPEATS) * step_s * max(1.0, size / count) > MOST_S:
                break
            if found and found[-1].kept_bytes * size / found[-1].rows > room:
                break
            try:
                tried = copy.deepcopy(model)
                found.append(_one(tried, _resized(args, count, size), _resized(kwargs, count, size), size, wait))
            except Exception as error:  # whatever a stranger's model does on a copy, its training goes on
                why = f"a copy of the model could not be tried ({type(error).__name__}: {error})"
                if size >= count:  # a single row is refused by BatchNorm, and says nothing of several
                    break
    return tuple(found), "" if found else why


def _one(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], size: int, wait: Callable[[], None]) -> Probe:
    kept: dict[int, int] = {}
    own = {part.untyped_storage().data_ptr() for part in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def once() -> float:
        model.zero_grad(set_to_none=True)
        wait()
        began = time.perf_counter()
        torch.autograd.backward(_loss(model(*args, **kwargs)))
        wait()
        return time.perf_counter() - began

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        once()  # warms up too
    return Probe(size, statistics.median(once() for _ in range(REPEATS)), sum(kept.values()))


def _resized(part: Any, count: int, size: int) -> Any:
    """Return inputs with so many rows, theirs again and again; what has no such rows as it is."""
    if isinstance(part, Mapping):
        return {name: _resized(each, count, size) for name, each in part.items()}
    if isinstance(part, tuple):
        return tuple(_resized(each, count, size) for each in part)
    if not isinstance(part, Tensor) or not part.dim() or len(part) != count:
        return part
    return part.detach()[torch.arange(size, device=part.device) % count]


def _loss(output: Any) -> Tensor:
    if isinstance(loss := getattr(output, "loss", None), Tensor):
        return loss
    if isinstance(output, Tensor):
        return output.float().square().mean()
    parts = output.values() if isinstance(output, Mapping) else output
    return sum((_loss(part) for part in parts if not isinstance(part, Tensor) or part.requires_grad), torch.zeros(()))
