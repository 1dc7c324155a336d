"""Options of a cell: what changes how it is trained or measured and has a default that nobody names."""

import math

from mbbench.usage import UsageError, check_name, check_relative

OPTIONS = {
    # Where the rows lie while the clock runs: on the device, or in host memory and moved batch by batch.
    "rows": ("device", "host"),
    # A diagnostic of the memory pass: with glibc's mmap threshold at 64 KiB freed tensors go back to the system at once,
    # and the resident set follows the tensors.
    "malloc": ("default", "mmap64k"),
    # Of the target pass: a learning rate searched at each batch size, or that of the reference run at all of them, as it is
    # or scaled by the batch size or by its square root.
    "lr_policy": ("tuned", "fixed", "linear", "sqrt"),
    # Model and loss under torch.autocast, parameters and rows in the case's dtype; fp16 without a scaler of the loss.
    "autocast": ("none", "bf16", "fp16"),
    # Images in the memory format that convolutions are faster in on some machines; each batch is brought into it.
    "channels_last": ("no", "yes"),
    # Gradients are scaled to this norm at most before each update.
    "clip": ("none",),
    # A function (optimizer) -> torch's learning-rate schedule, stepped after each update: "module:attribute".
    "schedule": ("none",),
    # A function (prediction, target) -> a number, the mean over rows: beside the held-out loss of each evaluation.
    "metric": ("none",),
    # A function () -> a number that only grows (joules, say), read before and after each timed round, outside its clock.
    "meter": ("none",),
}
OWN_OPTIONS = ("schedule", "metric", "meter")
"""Options whose value is the user's own, "file.py:name" or "package.module:name"."""


def check_option(name: str, value: str) -> None:
    """Check the value of an option that there is; raise UsageError."""
    if value == OPTIONS[name][0]:
        return
    if name == "clip":
        try:
            fits = 0 < float(value) < math.inf
        except ValueError:
            fits = False
        if not fits:
            raise UsageError(f"clip is {value!r}: expected the largest norm of a gradient, a number above 0")
    elif name in OWN_OPTIONS:
        if ":" not in value:
            raise UsageError(f"{name} is {value!r}: expected your own, as my_model.py:{name} or package.module:{name}")
        check_relative(name, value)
    else:
        check_name(f"value of option {name}", value, OPTIONS[name])
