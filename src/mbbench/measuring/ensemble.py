"""Train several runs of one case that differ in learning rate and seed: one after the other, or as one vectorised model.

`OneByOne` is the plain way, by THE training loop. `Ensemble` stacks the runs' parameters and updates all of them at once
(torch.func: functional_call, grad, vmap), which costs little more than one where a step is mostly overhead. Both take their
rows from the loader, seed by seed, so they see the same rows in the same order; `vectorising` tries whether they agree.

Easy to get wrong: each run has a learning rate of its own, which no torch.optim.Optimizer takes for one stacked parameter,
so the three updates are written out here and held against torch's by a test.
"""

import contextlib
import copy
import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from mbbench.measuring import optimizers
from mbbench.measuring.batches import Batch, MicroBatch, epochs
from mbbench.measuring.files import Stored
from mbbench.measuring.items import Items
from mbbench.measuring.training import Training, chunks, losses

Tensors = dict[str, Tensor]
Losses = tuple[float, float | None]
"""Mean loss of all training rows, and of the held-out rows, None where there are none."""


def with_rate(training: Training, lr: float) -> Training:
    """Return the same training at its start, with another learning rate and its own model and order of rows."""
    model = copy.deepcopy(training.model)
    optimizer = optimizers.make(training.case, model, lr)
    epoch = epochs(training.case, training.rows, training.weight)
    return dataclasses.replace(training, model=model, optimizer=optimizer, lr=lr, epoch=epoch)


class OneByOne:
    """Runs that are trained one after the other."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        """Take trainings at their starts."""
        self.trainings = list(trainings)
        self._streams = [training.stream() for training in trainings]

    def advance(self, steps: int) -> None:
        """Make this many updates of every run."""
        for training, stream in zip(self.trainings, self._streams, strict=True):
            training.train(itertools.islice(stream, steps))

    def losses(self, places: Sequence[int]) -> list[Losses]:
        """Return the losses of the runs at these places."""
        return [losses(self.trainings[place]) for place in places]

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the runs at these places only."""
        self.trainings = [self.trainings[place] for place in places]
        self._streams = [self._streams[place] for place in places]


class Ensemble:
    """Runs that are trained together, as one model whose parameters have the runs as their first dimension."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        """Take trainings at their starts; those of one seed share the rows of the first of them."""
        first = trainings[0]
        self.case, self.loss, self.weight = first.case, first.loss, first.weight
        self._model = copy.deepcopy(first.model)
        self._by_seed = {training.case.seed: training for training in reversed(trainings)}
        self._streams = {seed: training.stream() for seed, training in self._by_seed.items()}
        self._seeds = [training.case.seed for training in trainings]
        # In the parameters' dtype: a rate that was rounded to float32 moves a float64 loss by 1e-8.
        dtype = getattr(torch, first.case.dtype)
        self._rates = torch.tensor([training.lr for training in trainings], dtype=dtype, device=first.case.device)

        def stacked(parts: Callable[[Training], dict[str, Tensor]]) -> Tensors:
            found = [parts(training) for training in trainings]
            return {name: torch.stack([each[name].detach() for each in found]) for name in found[0]}

        self._parameters = stacked(lambda training: dict(training.model.named_parameters()))
        self._buffers = stacked(lambda training: dict(training.model.named_buffers()))
        self._trained = [name for name, part in first.model.named_parameters() if part.requires_grad]
        self._state: dict[str, tuple[Tensor, ...]] = {}
        self._done = 0
        self.gradients: Tensors = {}  # of the last update, the runs first
        self._gradients = vmap(grad(self._loss_of), in_dims=(0, 0, 0, 0), randomness="different")
        self._evaluate = vmap(self._loss_of, in_dims=(0, 0, None, None), randomness="different")
        self._graphs: dict[tuple[int, int], Callable[..., Tensors]] = {}
        self._whole: tuple[Tensor, Tensor] | None = None

    def _loss_of(self, parameters: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensor:
        return self.loss(functional_call(self._model, (parameters, buffers), (x,)), y)

    def advance(self, steps: int) -> None:
        """Make this many updates of every run."""
        update = _UPDATES[self.case.optimizer]
        for _ in range(steps):
            x, y = self._rows()
            with torch.no_grad():
                self.gradients = self._graph(x, y)(self._parameters, self._buffers, x, y)
            self._done += 1
            for name in self._trained:
                parameter = self._parameters[name]
                lr = self._rates.to(parameter.dtype).view(-1, *[1] * (parameter.dim() - 1))
                self._state[name] = update(parameter, self.gradients[name], lr, self._state.get(name, ()), self._done)

    def _graph(self, x: Tensor, y: Tensor) -> Callable[..., Tensors]:
        """Return the gradients' function, traced for each number of runs and rows: torch.func itself takes 0.5 ms a step."""
        shape = (x.shape[0], x.shape[1])
        if shape not in self._graphs:
            with _batched_kernels():
                # Of a plain function: make_fx would count the self of a method among its arguments.
                traced = make_fx(lambda *arguments: self._gradients(*arguments))
                self._graphs[shape] = traced(self._parameters, self._buffers, x, y)
        return self._graphs[shape]

    def _rows(self) -> tuple[Tensor, Tensor]:
        """Return the next batch of every run, stacked; once for all where it is all rows in place, as a full batch's."""
        if self._whole is not None:
            return self._whole
        batches = {seed: next(iter(next(stream))) for seed, stream in self._streams.items()}
        x = torch.stack([batches[seed][0] for seed in self._seeds])
        y = torch.stack([batches[seed][1] for seed in self._seeds])
        if all(_in_place(self._by_seed[seed], batch) for seed, batch in batches.items()):
            self._whole = x, y
        return x, y

    def losses(self, places: Sequence[int]) -> list[Losses]:
        """Return the losses of the runs at these places."""
        self._model.eval()
        found: dict[int, Losses] = {}
        for seed in {self._seeds[place] for place in places}:
            training, own = self._by_seed[seed], [place for place in places if self._seeds[place] == seed]
            train = self._means(own, training.rows)
            held = [None] * len(own) if training.heldout is None else self._means(own, training.heldout)
            found |= dict(zip(own, zip(train, held, strict=True), strict=True))
        self._model.train()
        return [found[place] for place in places]

    def _means(self, places: Sequence[int], rows: Batch | Stored | Items) -> Sequence[float]:
        """Return the mean loss of some runs of one seed over all `rows`, as `training.mean_loss` does."""
        parameters, buffers = (
            {name: part[places] for name, part in parts.items()} for parts in (self._parameters, self._buffers)
        )
        total, weights = torch.zeros(len(places), dtype=torch.float64, device=self.case.device), 0.0
        with torch.no_grad(), _batched_kernels():
            for x, y in chunks(self.case, rows):
                weight = len(x) if self.weight is None else float(self.weight(x, y))
                total += self._evaluate(parameters, buffers, x, y).double() * weight
                weights += weight
        return list((total / weights).tolist())

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the runs at these places only."""
        chosen = torch.tensor(list(places), device=self._rates.device)
        self._seeds = [self._seeds[place] for place in places]
        self._by_seed = {seed: self._by_seed[seed] for seed in self._seeds}
        self._streams = {seed: self._streams[seed] for seed in self._seeds}
        self._rates, self._whole = self._rates[chosen], None
        self._parameters = {name: part[chosen] for name, part in self._parameters.items()}
        self._buffers = {name: part[chosen] for name, part in self._buffers.items()}
        self._state = {name: tuple(part[chosen] for part in parts) for name, parts in self._state.items()}


@contextlib.contextmanager
def _batched_kernels() -> Iterator[None]:
    """Choose the only attention that torch.func batches on a CPU (torch 2.13).

    Without its warning where it loops over the runs instead, which costs what training them one by one does.
    """
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def _in_place(training: Training, batch: MicroBatch) -> bool:
    x, rows = batch[0], training.rows
    return isinstance(rows, tuple) and len(x) == len(rows[0]) and x.data_ptr() == rows[0].data_ptr()


Runs = OneByOne | Ensemble


def _sgd(parameter: Tensor, gradient: Tensor, lr: Tensor, state: tuple[Tensor, ...], step: int) -> tuple[Tensor, ...]:
    parameter.addcmul_(gradient, lr, value=-1)
    return ()


def _momentum(parameter: Tensor, gradient: Tensor, lr: Tensor, state: tuple[Tensor, ...], step: int) -> tuple[Tensor, ...]:
    velocity = state[0].mul_(0.9).add_(gradient) if state else gradient.clone()
    parameter.addcmul_(velocity, lr, value=-1)
    return (velocity,)


def _adam(parameter: Tensor, gradient: Tensor, lr: Tensor, state: tuple[Tensor, ...], step: int) -> tuple[Tensor, ...]:
    """Kingma and Ba 2015, algorithm 1, with torch's defaults and its order of operations."""
    mean, square = state or (torch.zeros_like(parameter), torch.zeros_like(parameter))
    mean.lerp_(gradient, 1 - 0.9)
    square.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
    spread = (square.sqrt() / math.sqrt(1 - 0.999**step)).add_(1e-8)
    parameter.addcmul_(lr / (1 - 0.9**step), mean / spread, value=-1)
    return mean, square


_UPDATES: dict[str, Callable[[Tensor, Tensor, Tensor, tuple[Tensor, ...], int], tuple[Tensor, ...]]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adam": _adam,
}
