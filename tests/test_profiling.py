"""The profile pass: it is the real loop, and on a scripted clock every second is where it was spent."""

import dataclasses
import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import models
import pytest
import torch
from torch import nn

from mbbench.case import Case
from mbbench.measuring import machine, profiling
from mbbench.measuring.problems import Problem, resolve
from mbbench.measuring.profiling import Stopwatch, measure, single_row
from mbbench.measuring.training import Training, prepare


class Scripted:
    """A training whose every phase takes known seconds of a clock that stands still otherwise."""

    def __init__(self, steps: int = 4, micro_batches: int = 1, start_s: float = 20.0) -> None:
        self.now, self.steps, self.micro_batches, self.start_s = 0.0, steps, micro_batches, start_s
        case = Case(problem="a:b", n_samples=steps, batch_size=1)
        self.training = Training(case, self.model, self.loss, self, 0.1, self.epoch, (None, None), None)

    def clock(self) -> float:
        return self.now

    def epoch(self) -> Iterator[Iterator[tuple[str, str, None]]]:
        self.now += self.start_s
        for _ in range(self.steps):
            self.now += 1.0
            yield self.parts()

    def parts(self) -> Iterator[tuple[str, str, None]]:
        for _ in range(self.micro_batches):
            self.now += 2.0
            yield ("x", "y", None)

    def model(self, x: str) -> str:
        self.now += 4.0
        return x

    def loss(self, prediction: str, target: str) -> SimpleNamespace:
        self.now += 8.0
        return SimpleNamespace(backward=self.backward)

    def backward(self, weight: None) -> None:
        self.now += 16.0

    def zero_grad(self) -> None:
        self.now += 32.0

    def step(self) -> None:
        self.now += 64.0


def test_every_second_is_counted_towards_the_phase_that_spent_it():
    scripted = Scripted()
    watch = Stopwatch(scripted.training, scripted.clock)
    watch.round(0.0, fewest=6)
    found = watch.laps()
    assert (found.steps, found.starts) == ((6,), (2,))  # an epoch of four updates, and the first half of another
    assert found.start_s == (2 * (20.0 + 1.0 + 2.0),)
    assert found.batch_s == (4 * (1.0 + 2.0),)
    assert found.forward_s == (6 * (4.0 + 8.0),)
    assert found.backward_s == (6 * 16.0,)
    assert found.optimizer_s == (6 * (32.0 + 64.0),)


def test_the_phases_of_micro_batches_add_up_to_those_of_their_update():
    scripted = Scripted(micro_batches=3)
    watch = Stopwatch(scripted.training, scripted.clock)
    watch.round(0.0, fewest=4)
    found = watch.laps()
    assert found.steps == (4,)
    assert found.start_s == (20.0 + 1.0 + 3 * 2.0,)
    assert found.batch_s == (3 * (1.0 + 3 * 2.0),)
    assert (found.forward_s, found.backward_s, found.optimizer_s) == ((4 * 3 * 12.0,), (4 * 3 * 16.0,), (4 * 96.0,))


def test_a_round_ends_with_the_update_that_passes_its_seconds():
    scripted = Scripted(start_s=0.0)
    watch = Stopwatch(scripted.training, scripted.clock)
    step_s = 1 + 2 + 12 + 16 + 96
    for seconds in (1.0, step_s, step_s + 1.0):
        watch.round(seconds)
    assert watch.laps().steps == (1, 1, 2)


def test_an_epoch_goes_on_in_the_next_round():
    scripted = Scripted(steps=4)
    watch = Stopwatch(scripted.training, scripted.clock)
    for _ in range(3):
        watch.round(0.0, fewest=3)
    assert watch.laps().starts == (1, 1, 1)
    assert watch.laps().start_s == (23.0,) * 3


@pytest.mark.parametrize("name", ["digits-mlp", "dropped"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"loader": "dataloader"}, {"batch_size": None, "micro_batch": 16}, {"optimizer": "adam"}, {"batch_size": 1}],
    ids=str,
)
def test_profiled_steps_train_bit_for_bit_as_the_real_loop_does(name, changes):
    problem = resolve(name)[0] if name == "digits-mlp" else models.dropped()
    profiled, plain = (prepare(Case(problem="a:b", n_samples=60, batch_size=32).on(**changes), problem) for _ in range(2))
    torch.manual_seed(0)
    laps, one_row = profiling._alternate(profiled, single_row(profiled), 100.0, 2, itertools.count().__next__)
    assert len(laps.steps) == len(one_row.steps) > 2
    torch.manual_seed(0)
    plain.train(itertools.islice(plain.stream(), sum(laps.steps)))
    assert all(map(torch.equal, profiled.model.parameters(), plain.model.parameters()))


def test_a_pass_trains_by_the_real_loop_and_interleaves_a_single_row_that_changes_nothing(monkeypatch):
    training = prepare(Case(problem="digits-mlp", n_samples=100, batch_size=10), resolve("digits-mlp")[0])
    order: list[int] = []
    real = Training.train

    def train(self, updates):
        order.append(1 if self.model is not training.model else 0)
        real(self, updates)

    monkeypatch.setattr(Training, "train", train)
    monkeypatch.setattr(machine, "limits", lambda case, clock: {})
    phases: list[str] = []
    released: list[bool] = []
    found = measure(training, 0.05, phases.append, lambda: released.append(True))
    profile = found["profile"]
    assert phases == ["warm-up", "train"]
    assert released == [True]
    assert order[0] == 1  # whether a single row can be trained at all
    assert order[1:] == [0, 1] * ((len(order) - 1) // 2)
    assert len(profile.laps.steps) == len(profile.one_row.steps) >= 1
    assert all(seconds > 0 for seconds in (*profile.laps.forward_s, *profile.laps.backward_s, *profile.laps.optimizer_s))
    assert found["measuring_s"] >= 0.05
    assert profile.flop_per_row > 0


def test_a_round_of_several_updates_an_epoch_has_a_fetch_that_begins_none(monkeypatch):
    case = Case(problem="digits-mlp", n_samples=100, batch_size=50)
    problem = resolve("digits-mlp")[0]
    assert profiling._fewest(prepare(case, problem)) == 2
    assert profiling._fewest(prepare(case.on(batch_size=None), problem)) == 1
    monkeypatch.setattr(Training, "updates_together", 7)
    assert profiling._fewest(prepare(case, problem)) == 14  # of a streamed file, whole windows


def test_rounds_have_the_fewest_updates_however_long_each_takes():
    training = prepare(Case(problem="digits-mlp", n_samples=100, batch_size=10), resolve("digits-mlp")[0])
    laps, one_row = profiling._alternate(training, single_row(training), 0.0, 14, itertools.count().__next__)
    assert laps.steps == (14,)
    assert laps.starts == (2,)
    assert one_row.steps == (1,)


def test_a_model_with_batch_norm_has_no_single_row_and_is_profiled_all_the_same(monkeypatch):
    monkeypatch.setattr(machine, "limits", lambda case, clock: {})
    model = lambda: nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))  # noqa: E731
    problem = Problem(model=model, loss=nn.functional.mse_loss, data=(torch.ones(20, 8), torch.ones(20, 1)))
    training = prepare(Case(problem="a:b", n_samples=16, batch_size=8), problem)
    assert single_row(training) is None
    found = measure(training, 0.02, lambda phase: None)["profile"]
    assert found.one_row is None
    assert sum(found.laps.steps) >= 2
    assert set(found.phases_s(training.case)) == {"batch", "forward", "backward", "optimizer"}


def test_the_rows_of_a_single_row_leave_the_order_of_the_training_alone():
    training = prepare(Case(problem="digits-mlp", n_samples=100, batch_size=10), resolve("digits-mlp")[0])
    again = dataclasses.replace(prepare(training.case, resolve("digits-mlp")[0]))
    single_row(training)
    [(x, _, _)], [(other, _, _)] = next(training.epoch()), next(again.epoch())
    assert torch.equal(x, other)


def test_a_worker_profiles_a_cell_and_lifts_its_limit_before_it_measures_the_machine(measure):
    case = Case(problem="a:b", n_samples=200, batch_size=20)
    found = measure(models.__file__, "linear", case, kind="profile", max_bytes=60 * 2**20)
    assert (found.status, found.message) == ("ok", None)
    profile = found.profile
    assert profile.copy_bytes == 2 * machine.COPY_BYTES  # four times the limit
    assert len(profile.copy_s) >= machine.FEWEST
    assert profile.matrix_rate > 1e8
    assert found.measuring_s > 0
    assert profile.one_row is not None
