"""What this machine can do at most, as a cell sees it with its device, dtype and threads: bytes and products a second.

Easy to get wrong: a buffer that fits the caches measures the caches, and memory that was never written is not there yet.
"""

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mbbench.case import Cell
from mbbench.measuring import devices, nested
from mbbench.measuring.nested import Nested

COPY_BYTES = 128 * 2**20
"""Of the buffer that is copied, and of its copy."""
LEAST_SIDE, MOST_SIDE = 256, 8192
"""Of the square matrices: doubled until one product takes `PRODUCT_S`."""
PRODUCT_S = 0.010
SECONDS = 0.15
"""For copies, and again for products."""
FEWEST = 3
Clock = Callable[[], float]


def limits(case: Cell, clock: Clock = time.perf_counter) -> dict[str, Any]:
    """Return the fields of a Profile on this machine: copies and products of matrices, each for `SECONDS`."""
    dtype: torch.dtype = getattr(torch, case.dtype)
    return copies(case.device, clock) | products(case.device, dtype, clock)


def copies(device: str, clock: Clock = time.perf_counter, size: int = COPY_BYTES) -> dict[str, Any]:
    """Return the seconds of each copy of a buffer of `size` bytes, and the bytes it reads and writes."""
    try:
        source = torch.ones(size, dtype=torch.uint8, device=device)
        target = torch.zeros_like(source).fill_(2)
    except RuntimeError:  # no room on the device beside the training: then nothing is known
        return {}
    return {"copy_bytes": 2 * size, "copy_s": _seconds(lambda: target.copy_(source), device, clock, SECONDS)}


def products(device: str, dtype: torch.dtype, clock: Clock = time.perf_counter, side: int = LEAST_SIDE) -> dict[str, Any]:
    """Return the seconds of each product of two square matrices, and its floating-point operations."""
    while True:
        try:
            left, right, out = (torch.full((side, side), 0.5, dtype=dtype, device=device) for _ in range(3))
        except RuntimeError:
            return {}

        def multiply(left: Tensor = left, right: Tensor = right, out: Tensor = out) -> None:
            torch.mm(left, right, out=out)

        taken = _seconds(multiply, device, clock, 0.0)
        if min(taken) >= PRODUCT_S or side >= MOST_SIDE:
            return {"matmul_flop": 2 * side**3, "matmul_s": taken + _seconds(multiply, device, clock, SECONDS)}
        side *= 2


def flop_per_row(model: nn.Module, loss: Callable[[Any, Any], Tensor], x: Nested, y: Nested) -> float | None:
    """Return the floating-point operations of one forward and backward pass for each of these rows, by torch's counter.

    It knows matrix products, convolutions and attention; None where it sees none of these, or fails. The model is not
    touched.
    """
    # It imports torch's decompositions, which no other pass needs.
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with FlopCounterMode(display=False) as counter:
            loss(copy.deepcopy(model)(x), y).backward()  # type: ignore[no-untyped-call]
    except Exception:  # of an operator that it cannot take apart: the profile stands without
        return None
    return counter.get_total_flops() / nested.count((x, y)) or None


def _seconds(work: Callable[[], object], device: str, clock: Clock, seconds: float) -> tuple[float, ...]:
    """Do some work for so many seconds, `FEWEST` times at least; return what each time took."""
    synchronise = devices.synchroniser(device)
    found: list[float] = []
    synchronise()
    began = clock()
    while len(found) < FEWEST or clock() - began < seconds:
        work_0 = clock()
        work()
        synchronise()
        found.append(clock() - work_0)
    return tuple(found)
