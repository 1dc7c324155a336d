"""A model that is called in another way than with one tensor of features: with several, by name, or by somebody's step.

It becomes a module with one argument that holds it, so that the one training loop, every pass and the prediction of memory
call it as any other. Easy to get wrong: parameters keep their order and their state, but their names begin with "model.".
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mbbench.case import Cell, UsageError
from mbbench.measuring import nested
from mbbench.measuring.nested import Nested

Call = Callable[[nn.Module, Nested], Any]
"""(model, batch) -> its prediction or, of a step, the loss."""


class Stepped(nn.Module):
    """A model, and how it is called."""

    def __init__(self, model: nn.Module, call: Call) -> None:
        """Take both."""
        super().__init__()
        self.model, self.call = model, call

    def forward(self, batch: Nested) -> Any:
        """Call the model."""
        return self.call(self.model, batch)


AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
Loss = Callable[[Any, Any], Tensor]


def with_options(case: Cell, model: nn.Module, call: Call | None, loss: Loss) -> tuple[nn.Module, Loss]:
    """Return the model and the loss as a case's options have them: autocast around both, images channels last.

    Args:
        case: options `autocast` and `channels_last`.
        model: on its device.
        call: how it is called, None: with one tensor.
        loss: (prediction, target) -> scalar.
    """
    if case.option("channels_last") == "yes":
        model, call = model.to(memory_format=torch.channels_last), _channels_last(call or spread)  # type: ignore[call-overload]
    if (kind := case.option("autocast")) != "none":
        # Without a scaler of the loss: gradients below 6e-8 become 0 in fp16; bf16 has float32's range.
        cast = torch.autocast(torch.device(case.device).type, dtype=AUTOCAST[kind])
        call, loss = cast(call or spread), cast(loss)
    return model if call is None else Stepped(model, call), loss


def _channels_last(call: Call) -> Call:
    def last(each: Tensor) -> Tensor:
        return each.contiguous(memory_format=torch.channels_last) if each.dim() == 4 else each

    return lambda model, batch: call(model, nested.mapped(batch, last))


def spread(model: nn.Module, batch: Nested) -> Any:
    """Call a model with a tensor, with the parts of a tuple, or with those of a mapping by name."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def own_loss(model: nn.Module, batch: Nested) -> Tensor:
    """Return the loss that a model answers with, as Hugging Face's do."""
    found = spread(model, batch)
    loss = found.get("loss") if isinstance(found, Mapping) else getattr(found, "loss", None)
    if not isinstance(loss, Tensor):
        raise UsageError(f"the model answers with a {type(found).__name__} without a loss: give loss= or step=")
    return loss


def answer(prediction: Any, target: Nested) -> Tensor:
    """Return the loss that a step computed: stands where other problems have a loss of prediction and target."""
    return prediction  # type: ignore[no-any-return]
