"""Problems of several kinds for the tests of memory: each a function without arguments that returns a Problem."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mbbench import Problem

BLOCK_BYTES = 300 * 2**20


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(16, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block, self.out = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.block(x)[:, -1])


class Spike(nn.Module):
    """Takes 300 MiB inside one forward pass and gives them back."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        block = torch.ones(BLOCK_BYTES // 4)
        return self.out(x) + 0 * block[0]


def _rows(*shape: int):
    def rows(n: int, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(n, *shape, generator=generator), torch.randn(n, 1, generator=generator)

    return rows


def _problem(model, *shape: int, **fields) -> Problem:
    plain = {
        "model": model,
        "loss": functional.mse_loss,
        "data": _rows(*shape),
        "held_out": 0.0,
        "lr": 1e-3,
        "n_samples": 64,
    }
    return Problem(**(plain | fields))


def linear() -> Problem:
    return _problem(lambda: nn.Linear(32, 1, bias=False), 32)


def mlp() -> Problem:
    return _problem(
        lambda: nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)), 64
    )


def wide() -> Problem:
    """Its optimizer's state, not its activations, is what takes memory."""
    return _problem(lambda: nn.Sequential(nn.Linear(16, 4096), nn.Linear(4096, 256), nn.Linear(256, 1)), 16)


def gru() -> Problem:
    return _problem(Recurrent, 8, 16)


def transformer() -> Problem:
    return _problem(Attention, 8, 32)


def cnn() -> Problem:
    return _problem(
        lambda: nn.Sequential(
            nn.Conv2d(1, 16, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2592, 1),
        ),
        1,
        24,
        24,
    )


def spike() -> Problem:
    return _problem(Spike, 4)


def normalised() -> Problem:
    return _problem(lambda: nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 1)), 8)


def dropped() -> Problem:
    return _problem(lambda: nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 1)), 8)


def looks_at_values() -> Problem:
    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(prediction, target) * (1.0 if float(target.detach().max()) > -1 else 2.0)

    return _problem(lambda: nn.Linear(8, 1), 8, loss=loss)
