"""Reckon the peak of tensor memory without allocating any: the same training code, run on tensors that have only a shape.

Easy to get wrong: what happens inside an operator (a convolution's scratch) is not seen, so the prediction is a lower
bound there; a loss or a model that looks at values (`.item()`, a mask) cannot be run this way, and then nothing is known.
"""

import functools
import itertools
import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mbbench.case import Cell
from mbbench.measuring import nested
from mbbench.measuring.batches import LAZY, Batch, updates
from mbbench.measuring.files import Files
from mbbench.measuring.given import Given
from mbbench.measuring.items import Items
from mbbench.measuring.memory import short_epochs
from mbbench.measuring.nested import Nested
from mbbench.measuring.problems import Problem
from mbbench.measuring.training import Training, prepare

FIRST = 2
"""Updates of an epoch that are reckoned: the second meets the optimizer's state."""
DEVICE_BLOCK = 512
"""Bytes to which an accelerator's allocator rounds."""


class StorageTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of every storage that is made inside, for as long as it lives.

    Attributes:
        live: bytes now.
        peak: most bytes so far.
        block: sizes are rounded up to multiples of this.
    """

    def __init__(self, block: int = 1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: int = 0
        self.peak: int = 0
        self.block = block
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator, then count the storages of what it returns that were not there before."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._sizes:
            return
        size = math.ceil(storage.nbytes() / self.block) * self.block
        self._sizes[key] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


def predicted_peak(case: Cell, problem: Problem) -> int | None:
    """Return the peak of tensor memory while training, in bytes, as `memory.tensor_peaks` would count it without scratch.

    None where the model or the loss needs values. Rows that a function makes are reckoned as what it returns, not what
    making them takes.
    """
    if case.device != "cpu" and case.option("rows") == "host":
        return None  # rows and model are in two memories
    if ":" in case.loader or (isinstance(problem.data, Items) and case.loader in LAZY):
        return None  # what somebody else's loader or collate takes is not known
    block = 1 if case.device == "cpu" else DEVICE_BLOCK
    given = _bytes(problem.model) if isinstance(problem.model, nn.Module) else 0  # it stays beside the copy that is trained
    try:
        like = None if isinstance(problem.data, Files | Given) else problem.sample(1, case.seed)
        with FakeTensorMode(allow_non_fake_inputs=True), StorageTracker(block) as tracker:
            # Kept until the end, as the problem keeps its own rows.
            stand_in = replace(
                problem,
                model=functools.partial(_model, problem, case.seed, getattr(torch, case.dtype)),
                data=_rows(problem.data) if like is None else functools.partial(_rows_like, like),
                collate=None,
                features=None,
                target=None,
            )
            training = _training(case, stand_in)
            tracker.peak = tracker.live  # what making the rows took is not the training's
            training.train(short_epochs(training, FIRST, walk=0))
            return int(tracker.peak) + given
    except Exception:  # of the user's model or of an operator without a shape rule: a real run tells which
        return None


def _training(case: Cell, problem: Problem) -> Training:
    """Return the case prepared, with a stand-in for a loader that draws its order from values."""
    kind = "gather" if case.loader in _STAND_INS else case.loader
    like = msgspec.structs.replace(case, device="cpu", loader=kind)
    training = prepare(like, problem)
    if case.loader not in _STAND_INS:
        return training
    assert isinstance(training.rows, tuple)  # the loader is "gather"
    batches = _STAND_INS[case.loader](training.rows, case.micro_batch or case.samples_per_step)
    return replace(training, epoch=updates(batches, like, torch.device("cpu"), problem.weigh))


def _model(problem: Problem, seed: int, dtype: torch.dtype) -> nn.Module:
    """Return the model in the dtype of the case: `Module.to` swaps tensors, and those that only have a shape refuse it."""
    model = problem.start(seed)
    made: dict[Tensor, nn.Parameter] = {}  # parameters that two modules share stay shared
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if parameter not in made:
                kind = dtype if parameter.is_floating_point() else parameter.dtype
                made[parameter] = nn.Parameter(parameter.detach().to(kind), parameter.requires_grad)
            setattr(module, name, made[parameter])
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(dtype) if buffer.is_floating_point() else buffer)
    model.to = lambda **_: model  # type: ignore[method-assign, assignment]
    return model


def _rows(data: Files | Given) -> Given | Files:
    """Return tensors as large as the given ones, or files that are not read."""
    if isinstance(data, Files):
        return data.unread()
    made: dict[int, Tensor] = {}  # parts of one storage stay parts of one, which may be larger than both

    def like(part: Tensor) -> Tensor:
        storage = part.untyped_storage()
        whole = made.setdefault(storage.data_ptr(), torch.empty(storage.nbytes(), dtype=torch.uint8))
        return whole.view(part.dtype).as_strided(part.size(), part.stride(), part.storage_offset())

    return Given(*nested.mapped(data, like))


def _bytes(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in itertools.chain(model.parameters(), model.buffers()))


def _rows_like(like: Given, n: int, seed: int) -> Given:
    """Return n rows of the shapes of these."""
    return Given(*nested.mapped(like, lambda each: torch.empty((n, *each.shape[1:]), dtype=each.dtype)))


def _per_row(rows: Batch, size: int) -> Callable[[], Iterator[Batch]]:
    """Stand in for the DataLoader: it draws its order as a tensor, keeps it as a list, and stacks rows."""
    n = nested.count(rows)

    def few(part: Nested, count: int) -> Nested:
        return nested.mapped(part, lambda each: each.new_empty((count, *each.shape[1:])))

    def epoch() -> Iterator[Batch]:
        torch.empty(n, dtype=torch.int64)
        for start in range(0, n, size):
            count = min(size, n - start)
            yield few(rows[0], count), few(rows[1], count)

    return epoch


def _per_batch(rows: Batch, size: int) -> Callable[[], Iterator[Batch]]:
    """Stand in for the DataLoader that is asked for whole batches: the same with the chosen rows' numbers as a tensor."""
    n = nested.count(rows)

    def epoch() -> Iterator[Batch]:
        torch.empty(n, dtype=torch.int64)
        for start in range(0, n, size):
            chosen = torch.empty(min(size, n - start), dtype=torch.int64)
            yield nested.pick(rows[0], chosen), nested.pick(rows[1], chosen)

    return epoch


_STAND_INS = {"dataloader": _per_row, "dataloader-batched": _per_batch}
