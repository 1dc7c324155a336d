"""Rows in a map-style data set: each is made when it is asked for, and a collate function puts several together.

Easy to get wrong: a data set may be too large to be held at once, so only what a batch, or an evaluation, needs is made;
whoever wants all rows as tensors (`load`) collates them at once. Each tensor of a batch has a row for each item, since
throughput, micro-batches and means are counted in rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Subset, default_collate

from mbbench.case import UsageError
from mbbench.measuring import nested
from mbbench.measuring.nested import Nested

Split = Callable[[Any], tuple[Nested, Nested]]
"""What a collate function returns -> features and targets."""


@dataclass(frozen=True)
class Items:
    """Some items of a map-style data set: chosen, not made. Made, they lie in host memory.

    Attributes:
        source: has `__len__` and `__getitem__`.
        collate: several items -> a batch; None: torch's default.
        split: a batch -> features and targets.
        chosen: which items; None: all.
    """

    source: Any
    collate: Callable[[list[Any]], Any] | None
    split: Split
    chosen: tuple[int, ...] | None = None
    device = torch.device("cpu")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.source) if self.chosen is None else len(self.chosen)

    def of(self, chosen: Sequence[int]) -> Self:
        """Return these of them."""
        own = chosen if self.chosen is None else [self.chosen[each] for each in chosen]
        return type(self)(self.source, self.collate, self.split, tuple(own))

    @property
    def subset(self) -> Any:
        """These of them, as a data set."""
        return self.source if self.chosen is None else Subset(self.source, list(self.chosen))

    def load(self) -> tuple[Nested, Nested]:
        """Make them all and put them together.

        Raises:
            UsageError: what comes out has another number of rows.
        """
        numbers = range(len(self)) if self.chosen is None else self.chosen
        pair = self.split((self.collate or default_collate)([self.source[number] for number in numbers]))
        shapes = [tuple(part.shape) for part in nested.tensors(pair)]
        odd = [shape for shape in shapes if not shape or shape[0] != len(self)]
        if odd or not shapes:
            made = f"a tensor of shape {odd[0]}" if odd else "no tensor"
            raise UsageError(f"collate made {made} of {len(self)} items: each tensor of a batch needs a row for each item")
        return pair

    def windows(self, rows: int) -> Iterator[tuple[Nested, Nested]]:
        """Make them in their order, so many at a time."""
        for start in range(0, len(self), rows):
            yield self.of(range(start, min(len(self), start + rows))).load()

    def batches(self, size: int, shuffle: bool, seed: int) -> Callable[[], Iterator[tuple[Nested, Nested]]]:
        """Return what starts an epoch of torch's DataLoader over them."""
        order = torch.Generator().manual_seed(seed)
        loader = DataLoader(self.subset, batch_size=size, shuffle=shuffle, generator=order, collate_fn=self.collate)
        return lambda: map(self.split, loader)
