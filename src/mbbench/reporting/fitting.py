"""The words of `mbbench maxbatch`: each try as it ends, and what the search found."""

import msgspec

from mbbench.maxbatch import MaxBatch
from mbbench.record import FAULTS, Record
from mbbench.reporting import readable


def tried(record: Record) -> str:
    """Return the line on one try."""
    measured = record.measurement
    name = readable.batch(record.case.batch_size, record.case.micro_batch)
    predicted = measured.predicted_peak_bytes
    said = f"{name}: predicted {'nothing' if predicted is None else readable.size(predicted)}"
    peak = measured.peak_tensor_bytes if record.case.device == "cpu" else measured.peak_device_allocated_bytes
    if measured.status == "ok" and peak is not None:
        return f"{said}, fits: {readable.size(peak)} of tensors"
    if measured.status == "oom":
        how = {
            "raised": f"an allocation failed in phase {measured.phase}",
            "watchdog": measured.message,
            "predicted": "not run",
        }
        return f"{said}, does not fit: {how.get(measured.oom_by or '', measured.message)}"
    return f"{said}, {measured.status}: {measured.message}"


def lines(found: MaxBatch) -> list[str]:
    """Return what a search found, as lines of text."""
    limit = "" if found.limit_bytes is None else f" in {readable.size(found.limit_bytes)}"
    last = found.tried[-1] if found.tried else None
    if last is not None and last.status in FAULTS:
        name = f"batch {last.batch_size:,}" + (
            "" if last.micro_batch is None else f" in micro-batches of {last.micro_batch:,}"
        )
        return [
            f"The search ended, and says nothing of what fits: {name} {readable.TROUBLES.get(last.status, last.status)}."
        ]
    if found.largest is None:
        said = [f"No mini-batch fits{limit}: {readable.plural(len(found.tried), 'try').replace('trys', 'tries')}."]
    else:
        best = next(t for t in found.tried if (t.batch_size, t.micro_batch, t.status) == (found.largest, None, "ok"))
        takes = "" if best.peak_bytes is None else f" and takes {readable.size(best.peak_bytes)} of tensors"
        said = [f"The largest batch size that fits{limit} is {found.largest:,}: it was trained{takes}."]
    full = found.full_batch
    if full.status == "ok":
        said.append("Full batch fits.")
    elif full.accumulation_micro_batch is None:
        said.append("Full batch does not fit, in no micro-batches either.")
    else:
        micro = full.accumulation_micro_batch
        peak = next((t.peak_bytes for t in found.tried if t.micro_batch == micro and t.status == "ok"), None)
        room = "" if peak is None else f", in {readable.size(peak)} of tensors"
        said.append(
            f"Full batch does not fit; the same gradient in micro-batches of {micro:,} does{room}: "
            f"--batch-size full --micro-batch {micro}."
        )
    return said


def to_json(found: MaxBatch) -> str:
    """Return what a search found as one line of JSON."""
    return msgspec.json.encode(found).decode()
