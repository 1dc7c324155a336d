"""A timer for pytest-benchmark that stands still but for what a worker measured."""

from collections.abc import Iterator


class ReplayClock:
    """Tells the seconds of the rounds that were replayed so far.

    It has a `__name__`, since pytest-benchmark writes a timer's name into its JSON.
    """

    __name__ = "worker_clock"

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: Iterator[float] = iter(())

    def __call__(self) -> float:
        """Return the seconds replayed so far."""
        return self.now

    def load(self, seconds: list[float]) -> None:
        """Take the rounds to replay."""
        self.waiting = iter(seconds)

    def tick(self) -> None:
        """Let one round pass."""
        self.now += next(self.waiting, 0.0)
