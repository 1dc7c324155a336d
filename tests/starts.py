"""Models and rows, in float64, at which the gradient noise scale is known or can be worked out."""

import torch
from torch import nn

from mbbench.measuring import notebook
from mbbench.measuring.problems import resolve


def notebook_start():
    """Return K1's start in float64, and the notebook's rows."""
    with torch.random.fork_rng(devices=[]):
        model = notebook._start(notebook.FULL_BATCH_WORDS).double()
    x, y = (part.double() for part in resolve("notebook")[0].data)
    return model, x, y


def linear_rows(n=60, d=5, noise_sd=0.1, seed=0):
    """Return a linear model and rows it does not fit yet, whose noise scale is a few rows."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = x @ torch.ones(d, 1, dtype=torch.float64) + noise_sd * torch.randn(n, 1, generator=generator, dtype=torch.float64)
    model = nn.Linear(d, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    return model, x, y
