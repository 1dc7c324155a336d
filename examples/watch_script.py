"""An existing training script, watched: one line of it is new.

python examples/watch_script.py
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mbbench

torch.manual_seed(0)
x = torch.randn(2000, 16)
loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True).sin()), batch_size=32, shuffle=True)
model = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for _ in range(10):
    for features, targets in mbbench.watch(loader, model, optimizer):  # was: in loader
        optimizer.zero_grad()
        nn.functional.mse_loss(model(features), targets).backward()
        optimizer.step()
