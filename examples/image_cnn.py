"""Images: 1797 handwritten digits of 8 x 8 pixels, a small convolutional network.

mbbench run examples/image_cnn.py:problem --batch-size 16,64,256,full --quick
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import mbbench

digits = load_digits()


def cnn() -> nn.Module:
    """Two convolutions and a linear layer."""
    convolutions = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()
    )
    return nn.Sequential(convolutions, nn.Flatten(), nn.Linear(32 * 4 * 4, 10))


problem = mbbench.Problem(
    model=cnn,
    loss=nn.functional.cross_entropy,
    data=(torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)),
    lr=0.1,
    target_loss=0.1,
)
