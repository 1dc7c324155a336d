"""What tracing a few steps of a cell found, as plain data: what each operation took."""

import msgspec


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls of one operation took in all traced steps, without the operations they called.

    Attributes:
        name: as torch calls it.
        calls: how often.
        self_s: seconds on the processor.
        device_s: seconds of the kernels it started on an accelerator; None on the CPU.
        kept_bytes: of tensors that it made and left; below 0 where it freed more.
    """

    name: str
    calls: int
    self_s: float
    device_s: float | None
    kept_bytes: int


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A few steps under the profiler.

    Attributes:
        steps: how many.
        steps_s: seconds of all of them on the processor, the profiler's own included.
        between_s: those of them that no operation took: Python, and what it does beside torch.
        operations: all that were called, the costliest first: by the accelerator's time where it has one.
    """

    steps: int
    steps_s: float
    between_s: float
    operations: tuple[Operation, ...]
