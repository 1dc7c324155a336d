"""One thing that a report says: a short label and a sentence, generated from records and shown everywhere alike."""

from typing import NamedTuple


class Finding(NamedTuple):
    """A sentence with the word under which a reader looks for it."""

    label: str
    text: str

    def __str__(self) -> str:
        """Return label and sentence as one line."""
        return f"{self.label}: {self.text}"
