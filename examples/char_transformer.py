"""Text: a small transformer that predicts the next character; batches are dicts of unequal lengths, padded.

mbbench run examples/char_transformer.py:problem --batch-size 4,full --loader dataloader --optimizer adam --lr 0.003 --quick
"""

import codecs
import contextlib
import io

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import mbbench

with contextlib.redirect_stdout(io.StringIO()):
    import this  # the Zen of Python: 21 lines of 18 to 69 characters
LINES = codecs.decode(this.s, "rot13").split("\n")
LETTERS = sorted(set("".join(LINES)))
PADDING = -100  # what cross_entropy ignores


class Transformer(nn.Module):
    """Two layers of width 32."""

    def __init__(self) -> None:
        super().__init__()
        self.letter, self.place = nn.Embedding(len(LETTERS), 32), nn.Embedding(128, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.layers, self.out = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, len(LETTERS))

    def forward(self, letters: Tensor) -> Tensor:
        """Predict the letter behind each: (rows, length) -> (rows, length, letters)."""
        length = letters.shape[1]
        ahead = torch.triu(torch.ones(length, length, dtype=torch.bool, device=letters.device), 1)
        found = self.letter(letters) + self.place(torch.arange(length, device=letters.device))
        return self.out(self.layers(found, mask=ahead))


def collate(lines: list[str]) -> dict[str, Tensor]:
    """Put lines of unequal lengths together."""
    rows = [torch.tensor([LETTERS.index(letter) for letter in line]) for line in lines]
    return {
        "letters": pad_sequence([row[:-1] for row in rows], batch_first=True),
        "next": pad_sequence([row[1:] for row in rows], batch_first=True, padding_value=PADDING),
    }


def step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return the mean loss over all letters of a batch."""
    return nn.functional.cross_entropy(model(batch["letters"]).transpose(1, 2), batch["next"], ignore_index=PADDING)


problem = mbbench.Problem(
    model=Transformer,
    step=step,
    data=[line for line in LINES if line],
    collate=collate,
    weight=lambda batch: (batch["next"] != PADDING).sum(),  # a mean over letters, not over lines
)
