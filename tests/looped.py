"""The notebook's rows, and a loop that was watched, planted: what its words are made of."""

import torch

from mbbench.seen import Look, Seen, Stretch

X = torch.tensor([[73.0, 80, 75], [93, 88, 93], [89, 91, 90], [96, 98, 100], [73, 66, 70]])
Y = torch.tensor([[152.0], [185], [180], [196], [142]])


def seen(**fields):
    told = {"loader": "DataLoader", "model": "Net", "optimizer": "SGD", "lr": 0.1, "device": "cpu", "batches": 100}
    told |= {"epochs": 2, "loader_s": 0.6, "total_s": 1.0, "looks": [Look(8, 8, 256, 0.04, 0.02, 0.01, 0.1)]}
    told |= fields
    timed = Stretch(told["batches"], told.pop("loader_s"), told["total_s"])
    return Seen(**({"timed": timed} | told))
