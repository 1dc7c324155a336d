"""What a search for the largest batch size found: plain data, on the ground floor."""

import msgspec

from mbbench.record import Status


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """One size that was really trained under the budget.

    Attributes:
        batch_size: samples per update.
        micro_batch: samples per forward pass, None where that is all of them.
        status: as in a Measurement.
        predicted_bytes: peak of tensor memory, reckoned.
        peak_bytes: peak of tensor memory, counted; None where it did not fit.
    """

    batch_size: int
    micro_batch: int | None
    status: Status
    predicted_bytes: int | None
    peak_bytes: int | None


class FullBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Whether all rows fit as one batch, and the micro-batch with which they do.

    Attributes:
        status: "ok" or how it ended.
        accumulation_micro_batch: samples per forward pass with which the same gradient fits, tried; None where it is not
            needed, or where none fits.
    """

    status: Status
    accumulation_micro_batch: int | None


class MaxBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What a search for the largest batch size found.

    Attributes:
        largest: largest batch size that was tried and fits; None: none fits.
        tried: every try, in order.
        full_batch: see FullBatch.
        limit_bytes: the memory that was allowed.
    """

    largest: int | None
    tried: tuple[Try, ...]
    full_batch: FullBatch
    limit_bytes: int | None
