"""Which columns of a table or a file are features: the same answer, and the same complaints, for all of them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mbbench.case import UsageError


def features_of(where: str, names: Sequence[Any], targets: Sequence[Any], features: Sequence[Any] | None) -> list[Any]:
    """Return the columns that are features: those that are named, or all but the targets.

    Args:
        where: the file or "data", for the message.
        names: of all columns.
        targets: of those to be predicted.
        features: None: all others.

    Raises:
        UsageError: a column is not there, or there twice, or both feature and target; or no feature is left.
    """
    chosen = [name for name in names if name not in targets] if features is None else list(features)
    times = Counter(names)
    for name in (*targets, *chosen):
        if not times[name]:
            raise UsageError(f"{where} has no column {name!r}: it has {', '.join(map(str, names))}")
        if times[name] > 1:
            raise UsageError(f"{where} has {times[name]} columns {name!r}: give each a name of its own")
        if name in targets and name in chosen:
            raise UsageError(f"the target {name!r} is among the features: leave it out there")
    if not chosen:
        raise UsageError(f"{where} has no column beside {', '.join(map(repr, targets))}: expected one or more features")
    return chosen
