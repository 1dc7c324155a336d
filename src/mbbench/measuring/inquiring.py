"""What a worker is asked before a run: what a problem is, whether one step of it works, how much memory its cells take.

Never imports torch. Easy to get wrong: a problem may take the worker down with it or hang; that is an answer too.
"""

from collections.abc import Iterable, Sequence

import msgspec

from mbbench.case import Case, Cell, UsageError
from mbbench.measuring import process
from mbbench.measuring.jobs import Facts, Place

TIMEOUT_S = 300.0
"""For one job: far above any cell of the suite (20 s), so that only a cell that hangs meets it."""

SERVER_START_S = 60.0
"""Most that starting the worker server may take (4 s here), which the first call waits for."""

PREDICTION_S = 60.0
"""Most for the predictions of a problem (0.05 s a cell, 1 s with a long recurrence); not known where they take longer."""

TRIAL_S = 30.0
"""Most for the first step of a problem; what takes longer is tried in its cells."""


def describe(
    name: str,
    place: Place,
    devices: Sequence[str] = ("cpu",),
    timeout_s: float = TIMEOUT_S,
    own: Iterable[str] = (),
) -> Facts:
    """Return what is to be known of a problem and of this machine, from a worker; `Facts.error` where it cannot be used.

    Args:
        name: of the problem.
        place: where it is.
        devices: that are asked about.
        timeout_s: seconds after which it is given up.
        own: whatever else is the user's own (`Cell.own_names`).
    """
    message = msgspec.msgpack.encode((name, place, list(devices), sorted(set(own))))
    # Forked whatever the devices: the child only asks whether they are there, and the server never touched one.
    answer = process.call("describe", message, device="cpu", timeout_s=max(timeout_s, SERVER_START_S)).answer
    if isinstance(answer, process.Failure):
        return Facts(error=f"problem {name} could not be looked at: {answer.message}")
    return msgspec.msgpack.decode(answer, type=Facts)


def try_step(name: str, place: Place, cells: Iterable[Cell], timeout_s: float = TIMEOUT_S) -> int:
    """Make a step of a problem on a few rows, of each kind of step that is among the cells, in a process of its own.

    Returns:
        How many rows a batch has at least: 2 where the model takes no single row.

    Raises:
        UsageError: it cannot be made. Where the process dies or hangs, its cells will tell how.
    """
    loaders = {cell.loader for cell in cells if ":" in cell.loader or cell.loader == "stream"}
    kinds = {(cell.optimizer, cell.loader in loaders and cell.loader, cell.dtype, cell.options): cell for cell in cells}
    message = msgspec.msgpack.encode((name, place, list(kinds.values())))
    answer = process.call("tried", message, device="cpu", timeout_s=min(timeout_s, TRIAL_S)).answer
    if isinstance(answer, process.Failure):
        return 1
    said, details, least_rows = msgspec.msgpack.decode(answer, type=tuple[str, str, int])
    if said:
        raise UsageError(said, details)
    return least_rows


def predict(name: str, place: Place, cells: Iterable[Cell], timeout_s: float = TIMEOUT_S) -> dict[str, int | None]:
    """Return the predicted peak of tensor memory of each cell of a problem that can be run, None where it is not known.

    Keys are the cells' `size_id`.
    """
    cases = {size_id(cell): cell for cell in cells if isinstance(cell, Case)}
    message = msgspec.msgpack.encode((name, place, list(cases.values())))
    answer = process.call("predictions", message, device="cpu", timeout_s=min(timeout_s, PREDICTION_S)).answer
    if isinstance(answer, process.Failure):
        return dict.fromkeys(cases)
    found = msgspec.msgpack.decode(answer, type=list[int | None])
    return dict(zip(cases, found, strict=True))


def size_id(cell: Cell) -> str:
    """Return a cell's id with seed 0: what decides how much memory it takes."""
    return str(msgspec.structs.replace(cell, seed=0))
