"""Find what fits: the largest batch size that a memory budget allows, and the micro-batches that make full batch fit.

Knows no torch. Easy to get wrong: a prediction only says where to try (allocators and operators take more than tensors),
so a size is returned that has really trained in a process of its own under the budget, and no other; optimizers make
their state at the first update, so one update proves nothing.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mbbench.case import Case, Cell
from mbbench.maxbatch import FullBatch, MaxBatch, Try
from mbbench.measuring import inquiring, jobs, session
from mbbench.measuring.jobs import Job, Place
from mbbench.measuring.session import Session
from mbbench.record import Record

FIRST_GUESS = 1.3
"""What a process is taken to need for each predicted byte before anything was tried; a miss costs one try."""
CLOSE = 16
"""The search ends when the largest size that fits and the smallest that does not are within a sixteenth of each other."""
MOST_TRIES = 16

OnTry = Callable[[Record, str], None]


@dataclass
class Search:
    """Tries sizes of one case, one process each, and remembers what came of them.

    Attributes:
        case: all but its batch size.
        begun: the session that records the tries; it refuses none.
        place: where the problem is.
        max_bytes: the budget, None: what is free.
        on_try: told each record, and what a worker printed that came to a fault.
        tried: what was tried, in order.
        failed: a try came to a fault, which no other size would mend.
    """

    case: Case
    begun: Session
    place: Place
    max_bytes: int | None
    on_try: OnTry = lambda record, printed: None
    tried: list[Try] = field(default_factory=list)
    failed: bool = False

    @property
    def limit_bytes(self) -> int | None:
        """Memory that a try may take."""
        return self.begun.limit_bytes(self._job(self.case))

    @property
    def overhead(self) -> float:
        """What a process is taken to need for each predicted byte."""
        return self.begun.overhead(self.case, FIRST_GUESS)

    def sized(self, size: int) -> Case:
        """Return the case with this batch size; the number of rows is the full batch."""
        return self.case.on(batch_size=None if size == self.case.n_samples else size)

    def predict(self, cases: Iterable[Case]) -> list[int | None]:
        """Return the predicted peaks of these cases in bytes, None where not known."""
        several = list(cases)
        new = [case for case in several if inquiring.size_id(case) not in self.begun.predicted]
        if new:
            self.begun.predicted.update(inquiring.predict(self.case.problem, self.place, new))
        return [self.begun.predicted.get(inquiring.size_id(case)) for case in several]

    def fits(self, case: Case) -> bool:
        """Train a case for a few updates under the budget, and return whether it came through."""
        self.predict([case])
        (record,) = session.execute(self.begun, [self._job(case)], self.on_try)
        found = record.measurement
        peak = found.peak_tensor_bytes if case.device == "cpu" else found.peak_device_allocated_bytes
        self.tried.append(
            Try(
                batch_size=case.samples_per_step,
                micro_batch=case.micro_batch,
                status=found.status,
                predicted_bytes=found.predicted_peak_bytes,
                peak_bytes=peak,
            )
        )
        self.failed |= found.status not in ("ok", "oom")
        return found.status == "ok"

    def _job(self, case: Case) -> Job:
        return jobs.make_jobs([case], self.place, kinds=["memory"], max_bytes=self.max_bytes)[0]


def max_batch(search: Search, minimum: int, maximum: int) -> MaxBatch:
    """Search for the largest batch size from `minimum` to `maximum` that fits, and for what makes full batch fit.

    Full batch is tried first, unless its tensors alone are predicted above the limit: it may take less than a mini-batch,
    for which a loader copies rows.
    """
    n, limit = search.case.n_samples, search.limit_bytes or math.inf
    (peak,) = search.predict([search.sized(n)])
    full = (peak is None or peak <= limit) and search.fits(search.sized(n))
    if full and maximum == n:
        largest: int | None = n
    else:
        largest = _largest_mini_batch(search, minimum, min(maximum, n - 1))
    if search.failed:
        status, micro = search.tried[-1].status, None
    else:
        status, micro = ("ok", None) if full else ("oom", _accumulated(search))
    whole = FullBatch(status=status, accumulation_micro_batch=micro)
    return MaxBatch(largest=largest, tried=tuple(search.tried), full_batch=whole, limit_bytes=search.limit_bytes)


def _largest_mini_batch(search: Search, minimum: int, maximum: int) -> int | None:
    """Return the largest size from `minimum` to `maximum`, both below full batch, that was tried and fits; None if none.

    Powers of two between them are predicted at once. The next size to try is where the prediction, times what a process
    that fitted took for each predicted byte, meets the limit. After a first miss it is at most the geometric middle of what
    is left, since what a process takes for each byte may grow with the size.
    """
    if minimum > maximum:
        return None
    sizes = sorted({minimum, maximum, *(2**k for k in range(64) if minimum < 2**k < maximum)})
    peaks = dict(zip(sizes, search.predict(map(search.sized, sizes)), strict=True))
    low, high = minimum - 1, maximum + 1  # nothing is known of them yet
    tries = 0
    while high - low > 1 and tries < MOST_TRIES and not search.failed:
        if low >= minimum and high <= maximum and high - low <= low // CLOSE:
            break
        size = _largest_below(peaks, (search.limit_bytes or math.inf) / search.overhead)
        middle = max(low + 1, min(high - 1, math.isqrt(max(1, low) * high)))
        if size is None or not low < size < (high if high > maximum else middle):
            size = middle
        low, high = (size, high) if search.fits(search.sized(size)) else (low, size)
        tries += 1
    return low if low >= minimum else None


def beside_full_batch(cells: Iterable[Cell], begun: Session, place: Place, max_bytes: int | None) -> list[Cell]:
    """Return the cells, and behind each full batch that is predicted not to fit one that accumulates the same gradient.

    Its micro-batch is the largest power of two that is predicted to fit; where none is, or nothing is known, there is none.
    """
    found = []
    for cell in cells:
        found.append(cell)
        if not isinstance(cell, Case) or cell.batch_size is not None or cell.micro_batch is not None:
            continue
        search = Search(cell, begun, place, max_bytes)
        limit = search.limit_bytes
        if limit is None or (begun.expected_bytes(cell) or 0) <= limit:
            continue
        smaller = [cell.on(micro_batch=2**k) for k in range(cell.n_samples.bit_length()) if 2**k < cell.n_samples]
        search.predict(smaller)
        fit = [case for case in smaller if (begun.expected_bytes(case) or math.inf) <= limit]
        found += fit[-1:]
    return found


def _accumulated(search: Search) -> int | None:
    """Return the largest power of two with which full batch fits in micro-batches, tried; None where none does.

    Begun where the prediction, overhead included, meets the limit; where nothing is predicted at the largest.
    """
    full, limit = search.sized(search.case.n_samples), search.limit_bytes or math.inf
    cases = [full.on(micro_batch=2**k) for k in range(full.n_samples.bit_length()) if 2**k < full.n_samples]
    peaks = search.predict(cases)
    for case, peak in zip(reversed(cases), reversed(peaks), strict=True):
        if peak is not None and peak * search.overhead > limit and case.micro_batch != 1:
            continue
        if search.fits(case):
            return case.micro_batch
        if search.failed:
            break
    return None


def _largest_below(peaks: Mapping[int, int | None], limit: float) -> int | None:
    """Return the largest size whose predicted peak is within the limit, between two predicted sizes by a straight line."""
    known = [(size, peak) for size, peak in sorted(peaks.items()) if peak is not None]
    if not known or known[0][1] > limit:
        return known[0][0] if known else None
    for (size, peak), (next_size, next_peak) in itertools.pairwise(known):
        if next_peak > limit:
            return size + int((next_size - size) * (limit - peak) / (next_peak - peak))
    return known[-1][0]
