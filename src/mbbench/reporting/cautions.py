"""Say what to be careful about in a choice of batch size, each with what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass

from mbbench.reporting.joining import Group
from mbbench.reporting.recommendation import Recommendation


@dataclass(frozen=True)
class Warning:
    """What to be careful about.

    Attributes:
        code: of the closed set.
        sentence: what is the matter.
        next_step: a command to type, or what to change.
    """

    code: str
    sentence: str
    next_step: str


def cautions(
    group: Group, chosen: Mapping[float | None, Recommendation | None], policies: Mapping[str, Recommendation | None]
) -> tuple[Warning, ...]:
    """Return the warnings on a group, from its recommendation for each target and those of other policies."""
    return ()
