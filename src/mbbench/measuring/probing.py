"""Try other batch sizes on a copy of a model: what forward and backward take, and what they keep. Training is not touched.

The loss is not known here, so the mean square of all that the model returns stands for it. Easy to get wrong: dropout draws
random numbers, which training would miss; so the random state is put back.
"""

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mbbench.seen import Probe

TIMES = (1, 2, 4)
"""Of the batch that was seen: the sizes tried, a single row before them."""
REPEATS = 3
MOST_S = 0.3
"""After which no larger batch is tried."""


def rows(batch: Any) -> int:
    """Return the rows of inputs: the first dimension of the first tensor that has one; 0 without one."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.dim() else 0
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, list | tuple) else ()
    return next((count for part in parts if (count := rows(part))), 0)


def probe(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], wait: Callable[[], None]
) -> tuple[tuple[Probe, ...], str]:
    """Return what a copy of the model takes at some batch sizes, and why nothing where that could not be tried.

    Args:
        model: as it is trained.
        args: what it was called with: of tensors with as many rows as the first there are more or fewer.
        kwargs: the same by name.
        wait: for the accelerator.
    """
    count = rows(args) or rows(kwargs)
    if not count:
        return (), "the model is called with no tensor that has rows"
    device = next((part.device for part in model.parameters()), torch.device("cpu"))
    found, why = list[Probe](), ""
    with torch.random.fork_rng([] if device.type == "cpu" else [device]), torch.enable_grad():
        for size in sorted({1, *(count * each for each in TIMES)}):
            try:
                tried = copy.deepcopy(model)
                found.append(_one(tried, _resized(args, count, size), _resized(kwargs, count, size), size, wait))
            except Exception as error:  # whatever a stranger's model does on a copy, its training goes on
                why = f"a copy of the model could not be tried ({type(error).__name__}: {error})"
            if found and REPEATS * found[-1].seconds > MOST_S:
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
