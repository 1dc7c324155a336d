"""What comparing the seconds of two watched loops measures, in sentences: loaders, number of updates, what an update takes.

Easy to get wrong: whoever compares them may have meant to compare batch sizes, so what else differs is said first. The first
batch warms up and a look takes time, so an update's time is that of the other batches; and of two totals a share may be
above 1 (the loader takes more than the whole difference, and the step less) or below 0.
"""

from collections.abc import Iterator

from mbbench.reporting import readable
from mbbench.seen import Pace, Seen

UNEQUAL = 1.2
"""Factor of updates between two loops from which on it is said."""
ALIKE = 0.05
"""Part of an update's time below which a difference is not taken apart."""


def lines(seen: Seen, other: Seen) -> Iterator[str]:
    """Say what comparing a loop with the one before it measures; nothing where loader and number of updates are the same."""
    if not other.batches:
        return
    names = [each.loader or "none" for each in (seen, other)]
    whats = [f"the loader ({names[0]}, before {names[1]})"] if names[0] != names[1] else []
    updates = _updates(seen.updates, other.updates)
    whats += ["the number of updates"] if updates else []
    if not whats:
        return
    said = [
        f"Comparing its time with that of the loop before ({other.model}, {readable.plural(other.batches, 'step')} in "
        f"{readable.seconds(other.total_s)}) measures {readable.listed(whats)}, and not the batch size alone.",
        updates,
    ]
    if seen.pace is not None and other.pace is not None:
        said.append(_an_update(seen, seen.pace, other.pace))
    yield " ".join(sentence for sentence in said if sentence)


def _updates(now: int, before: int) -> str:
    """Say how many updates it makes where that is another number."""
    if not now or not before or 1 / UNEQUAL <= now / before <= UNEQUAL:
        return ""
    times = readable.multiple(now / before) if now > before else f"{now / before:.2g}"
    return f"It makes {times} times the updates ({now:,}, before {before:,})."


def _an_update(seen: Seen, now: Pace, before: Pace) -> str:
    """Say what an update takes more or less than before, and how much of that passes in the loader."""
    more, of_loader = now.total_s - before.total_s, now.loader_s - before.loader_s
    both = f"({readable.seconds(now.total_s)}, before {readable.seconds(before.total_s)})"
    loaders = f"the loader{f' and {seen.trainer}' if seen.trainer else ''}"
    where = f"{loaders} ({_part(now)} of an update, before {_part(before)})"
    if abs(more) <= ALIKE * max(now.total_s, before.total_s):
        return f"An update takes as long in both, within {readable.percent(ALIKE)} {both}; {where}."
    share = of_loader / more
    part = "all" if share >= 0.995 else "none" if share < 0.005 else readable.percent(share)
    if more > 0:
        return f"An update takes {readable.seconds(more)} longer {both}, and it spends {part} of that time in {where}."
    return f"An update takes {readable.seconds(-more)} less {both}, and it saves {part} of that time in {where}."


def _part(pace: Pace) -> str:
    return readable.seconds(pace.loader_s) if pace.loader_s else "nothing"
