"""Say which batch size reaches the target first, and how sure that is: words for people, JSON for programs.

Easy to get wrong: a sentence must stay true whatever the numbers. A time has its interval or says that it has none; a tie
is called a tie; and where nothing can be recommended the reason is said, with what was seen.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, Literal

from mbbench.case import FULL
from mbbench.reporting import readable
from mbbench.reporting.choosing import Choice
from mbbench.reporting.outcomes import happened, lowest
from mbbench.reporting.reasons import findings, seconds_in_words
from mbbench.reporting.stats import Estimate
from mbbench.reporting.tried import typical_s
from mbbench.search import REACHED


def to_json(choices: Sequence[Choice]) -> str:
    """Return the choices as a JSON list; what is not known is null."""
    return json.dumps([_object(choice) for choice in choices], indent=2, allow_nan=False)


def lines(choices: Sequence[Choice]) -> list[str]:
    """Return the choices as lines of plain text."""
    said: list[str] = []
    for choice in choices:
        said += ["", choice.title, f"  {headline(choice)}", *(f"  - {finding}" for finding in findings(choice))]
        for warning in choice.warnings:
            said += [f"  ! {warning.sentence}", f"    {warning.next_step}"]
    return said[1:]


def headline(choice: Choice) -> str:
    """Return which batch size reaches the target first, with its time; or why that cannot be said."""
    found, target = choice.recommendation, choice.target
    if found is None or target is None or found.batch_size is None or found.seconds is None:
        return _nothing(choice)
    took, name = f"{seconds_in_words(found.seconds)} of training", choice.named(found.batch_size)
    sure = found.seconds.low is not None and winner(choice) != "undecided"
    doubt = "" if sure else ", but not beyond doubt"
    where = f"With {choice.loader}, " if choice.policy == "tuned" else f"Not tuned, not a ranking: with {choice.loader}, "
    if len(choice.reached) == 1:
        return f"{where}only {name} reaches loss {target:g} of what was compared: {took}."
    if tied(choice):
        names = readable.listed(choice.named(size) for size in found.as_good)
        all_of = "all that was compared: " if _all_as_good(choice) else ""
        curves = found.chosen_by == "curves"
        apart = "within 10 % by the curves" if curves else "within 10 % or not told apart"
        least = f"The least time {'of the curves' if curves else 'measured'} is that of"
        both = "By reckoned and raced times together the least is that of"
        best = f"{least if found.instead_of is None else both} {name}, {took}."
        return f"{where}it is a tie to loss {target:g} between {all_of}{names}, {apart}. {best}"
    first = f"full batch is best{doubt}: it reaches loss {target:g} first, in" if found.full_batch else ""
    return f"{where}{first or f'{name} reaches loss {target:g} first{doubt}:'} {took}.{_beside(choice)}"


def _beside(choice: Choice) -> str:
    """Return which sizes are as good and what the full batch costs, as the rest of a headline."""
    found = choice.recommendation
    if found is None or found.batch_size is None:
        return ""
    others = [choice.named(size) for size in found.as_good if size != found.batch_size]
    said = f" As good: {readable.listed(others)}." if others else ""
    if found.full_batch_multiple is not None and found.batch_size != choice.cell.n_samples:
        best = f"with {choice.named(found.batch_size)}"
        said += f" Full batch takes {readable.more_time(found.full_batch_multiple, best)}"
        said += ", no interval." if found.full_batch_multiple.low is None else "."
    return said


def tied(choice: Choice) -> bool:
    """Return whether every size is as good, or full batch and a mini-batch are, one of them the best."""
    found, n = choice.recommendation, choice.cell.n_samples
    if found is None or found.batch_size is None or len(choice.reached) < 2:
        return False
    return _all_as_good(choice) or (n in found.as_good and any(size < n for size in found.as_good))


def winner(choice: Choice) -> Literal["mini", "full", "tie", "undecided", "unopposed", "only", "none"]:
    """Return what reaches the target first: "undecided" where full batch is not shown to take longer than a mini-batch.

    "unopposed" is a mini-batch where the full batch was neither searched nor tried in any other way, "only" where one batch
    size alone was compared, "none" where none reached it.
    """
    found = choice.recommendation
    if found is None or found.batch_size is None:
        return "none"
    if len(choice.reached) == 1:
        return "only"
    if tied(choice):
        return "tie"
    if found.batch_size == choice.cell.n_samples:
        return "full"
    if choice.find(choice.cell.n_samples) is None:
        return "unopposed"
    multiple = found.full_batch_multiple
    return "undecided" if multiple is not None and (multiple.low is None or multiple.low <= 1) else "mini"


def _nothing(choice: Choice) -> str:
    """Return why nothing is recommended."""
    searched = [size for size in choice.sizes if size.steps]
    if not searched:
        if not any(size.cell.applicable for size in choice.sizes):
            rows = f"{choice.cell.n_samples:,} rows"
            return f"Nothing was compared: every batch size asked for is larger than the data, which has {rows}."
        return "Nothing was compared: no search for steps to a target came to its end."
    if not any(size.lr is not None for size in searched):
        aim = "No target could be chosen" if choice.target is None else f"No batch size reaches loss {choice.target:g}"
        seen = [(best, size) for size in searched if (best := lowest(size)) is not None]
        if all(happened(size) == "every run diverged" for size in searched):
            return f"{aim}: every run diverged, at every batch size and learning rate tried."
        if not seen:
            return f"{aim}: no loss was finite, from the start."
        (loss, lr), size = min(seen, key=lambda pair: pair[0])
        seeds = len(size.steps)
        name = readable.batch(size.cell.batch_size)
        enough = f"{math.ceil(REACHED * seeds)} of {readable.plural(seeds, 'seed')}"
        lowest_seen = f"{readable.loss(loss)}, with {name} at learning rate {lr:.3g}"
        return f"{aim} with {enough}: the lowest loss seen is {lowest_seen}."
    if any(steps == 0 for size in searched for steps in size.steps) and choice.target is not None:
        return f"Nothing was compared: the loss is at {choice.target:g} or below before the first update."
    return "Nothing is recommended: no batch size was both searched and timed."


def _all_as_good(choice: Choice) -> bool:
    found = choice.recommendation
    reached = {size.cell.samples_per_step for size in choice.reached}
    return found is not None and len(reached) > 1 and reached <= set(found.as_good)


def _object(choice: Choice) -> dict[str, Any]:
    found, curves = choice.recommendation, choice.recommendation.curves if choice.recommendation else None
    tried = choice.recommended
    cell = choice.sizes[0].cell
    return {
        "problem": cell.problem,
        "n_samples": cell.n_samples,
        "device": cell.device,
        "loader": choice.loader,
        "recommended": None if found is None or found.batch_size is None else _size(choice, found.batch_size),
        "as_good": [] if found is None else [_size(choice, size) for size in found.as_good],
        "time_to_target_s": found.seconds.value if found and found.seconds else None,
        "interval_s": _interval(found.seconds if found else None),
        "full_batch_ratio": _value(found.full_batch_multiple if found else None),
        "batch_1_ratio": _value(found.batch_1_multiple if found else None),
        "b_star": _value(curves.best_batch_size if curves else None),
        "bc": _value(curves.critical_batch_size if curves else None),
        "bc_interval": _interval(curves.critical_batch_size if curves else None),
        "limited_by": found.limit if found else None,
        "target": choice.target,
        "lr": tried.lr if tried else None,
        "lr_policy": choice.policy,
        "chosen_by": found.chosen_by if found else None,
        "instead_of": None if found is None or found.instead_of is None else _size(choice, found.instead_of),
        "raced_s": typical_s(tried.race_s) if tried else None,
        "warnings": [
            {"code": each.code, "sentence": each.sentence, "next_step": each.next_step} for each in choice.warnings
        ],
    }


def _size(choice: Choice, batch_size: int) -> int | str:
    size = choice.find(batch_size)
    return FULL if size is not None and size.cell.batch_size is None else batch_size


def _value(known: Estimate | None) -> float | None:
    return None if known is None else known.value


def _interval(known: Estimate | None) -> list[float] | None:
    return None if known is None or known.low is None or known.high is None else [known.low, known.high]
