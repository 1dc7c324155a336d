"""The arithmetic of rounds on a scripted clock; nothing here depends on how fast the machine is."""

import statistics
from collections.abc import Iterator

import pytest

from mbbench.case import Case
from mbbench.measuring import timing
from mbbench.measuring.timing import Clocks, Round, plan_round
from mbbench.record import Measurement


class Scripted:
    """A training whose every cost is known: time passes by `start_s` per epoch and by `row_s`, `step_s` per update.

    Fetching a batch takes `fetch_s`, the very first update `cold_s` more.
    It stands for `Training` in the timing code, which only asks it to train and to start epochs.
    """

    def __init__(
        self, n: int, batch: int, step_s: float, row_s: float, start_s: float, fetch_s: float = 0.0, cold_s: float = 0.0
    ) -> None:
        self.case = Case(problem="a:b", n_samples=n, batch_size=batch)
        self.step_s, self.row_s, self.start_s, self.fetch_s, self.cold_s = step_s, row_s, start_s, fetch_s, cold_s
        self.now = 0.0
        self.trained: list[int] = []
        self.updates_together, self.read_s = 1, 0.0

    def clock(self) -> float:
        return self.now

    @property
    def clocks(self) -> Clocks:
        return Clocks(wall=self.clock, cpu=lambda: 2 * self.now)

    def epoch(self) -> Iterator[tuple[int, ...]]:
        self.now += self.start_s
        for begin in range(0, self.case.n_samples, self.case.samples_per_step):
            first = begin // self.case.samples_per_step % self.updates_together == 0
            self.now += self.fetch_s + (self.read_s if first else 0.0)
            yield (min(self.case.samples_per_step, self.case.n_samples - begin),)

    def stream(self) -> Iterator[tuple[int, ...]]:
        while True:
            yield from self.epoch()

    def train(self, updates: Iterator[tuple[int, ...]]) -> None:
        for (rows,) in updates:
            self.trained.append(rows)
            self.now += self.step_s + rows * self.row_s + (self.cold_s if len(self.trained) == 1 else 0.0)

    @property
    def true_epoch_s(self) -> float:
        case = self.case
        return self.start_s + case.steps_per_epoch * (self.step_s + self.fetch_s) + case.n_samples * self.row_s


def measured(training: Scripted, seconds: float = 1.0) -> Measurement:
    fields = timing.time_rounds(training, seconds, lambda phase: None, training.clocks)
    return Measurement(status="ok", **fields)


@pytest.mark.parametrize(
    ("n", "batch", "step_s", "row_s", "start_s"),
    [
        (1000, 1000, 1e-4, 1e-6, 0.0),  # full batch
        (1000, 64, 1e-4, 1e-6, 5e-4),  # short epoch, ragged last batch
        (1797, 256, 1e-4, 1e-6, 2e-3),  # last batch of 5 rows
        (100_000, 1, 1e-4, 1e-6, 5e-3),  # an epoch of 10 s: rounds are a part of it
        (300_000, 4096, 1e-3, 1e-5, 0.5),  # few long updates: whole epochs, longer than the measuring
    ],
)
def test_epoch_time_is_what_an_epoch_takes(n, batch, step_s, row_s, start_s):
    training = Scripted(n, batch, step_s, row_s, start_s)
    for epoch_s in measured(training).epochs_s(n):
        assert epoch_s == pytest.approx(training.true_epoch_s, rel=1e-9)


@pytest.mark.parametrize("seconds", [0.01, 0.3, 3.0])
@pytest.mark.parametrize(("n", "batch"), [(600_000, 6000), (5000, 10), (64, 64), (90, 60)])
def test_fetching_a_batch_is_counted_once_an_update_however_few_the_rounds(n, batch, seconds):
    training = Scripted(n, batch, step_s=1e-3, row_s=0.0, start_s=0.02, fetch_s=0.04)
    for epoch_s in measured(training, seconds).epochs_s(n):
        assert epoch_s == pytest.approx(training.true_epoch_s, rel=1e-9)


@pytest.mark.parametrize("seconds", [0.02, 0.5, 1.0])
def test_a_cold_first_update_decides_nothing(seconds):
    cold, warm = (measured(Scripted(100_000, 10, 1e-4, 0.0, 0.0, cold_s=cold_s), seconds) for cold_s in (0.6, 0.0))
    assert cold.steps_per_round == warm.steps_per_round
    assert cold.warmup_steps == warm.warmup_steps
    assert min(cold.round_s) >= timing.ROUND_S * 0.999


def test_a_ragged_last_batch_outside_a_partial_round_costs_less_than_one_update_in_a_hundred():
    training = Scripted(20_001, 100, 5e-3, 0.0, 0.0)  # 200 full updates of 5 ms and one of a single row
    epoch_s = statistics.median(measured(training).epochs_s(20_001))
    assert epoch_s == pytest.approx(training.true_epoch_s, rel=1 / 200)


@pytest.mark.parametrize(("n", "batch"), [(1000, 64), (100_000, 1)])
def test_the_rows_of_a_round_are_exactly_those_that_were_trained(n, batch):
    training = Scripted(n, batch, 1e-4, 1e-6, 5e-4)
    for plan in (Round(5, 5 * batch, 0), Round(2 * training.case.steps_per_epoch, 2 * n, 2)):
        rounds = timing.round_updates(training, plan)
        for _ in range(7):
            updates = next(rounds)
            training.trained.clear()
            training.train(updates)
            assert (len(training.trained), sum(training.trained)) == (plan.steps, plan.samples)


def test_throughput_times_time_is_samples():
    for training in (Scripted(1000, 64, 1e-4, 1e-6, 5e-4), Scripted(100_000, 1, 1e-4, 1e-6, 5e-3)):
        result = measured(training)
        n = training.case.n_samples
        for epoch_s in result.epochs_s(n):
            assert (n / epoch_s) * epoch_s == pytest.approx(n, rel=1e-12)


def test_step_time_leaves_the_start_of_an_epoch_out():
    training = Scripted(1000, 10, 1e-4, 0.0, 5e-3)
    assert statistics.median(measured(training).steps_s()) == pytest.approx(1e-4, rel=1e-6)


def test_the_start_of_an_epoch_is_what_it_adds_to_an_ordinary_batch():
    training = Scripted(1000, 10, 1e-4, 0.0, 5e-3)
    assert measured(training).epoch_start_s == pytest.approx([5e-3] * 10)


def test_cpu_seconds_come_from_the_cpu_clock_over_the_same_rounds():
    result = measured(Scripted(1000, 64, 1e-4, 1e-6, 5e-4))
    assert result.round_cpu_s == pytest.approx([2 * seconds for seconds in result.round_s])


def test_rounds_fill_the_measuring_time_and_end_with_the_round_that_passes_it():
    result = measured(Scripted(1000, 64, 1e-4, 1e-6, 5e-4), seconds=0.5)
    assert sum(result.round_s) >= 0.5 > sum(result.round_s[:-1])
    assert all(seconds >= timing.ROUND_S for seconds in result.round_s)


def test_at_least_one_round_is_timed_however_long_it_takes():
    assert len(measured(Scripted(10, 10, 5.0, 0.0, 0.0), seconds=0.1).round_s) == 1


def test_the_warm_up_is_five_rounds_and_three_tenths_of_a_second():
    result = measured(Scripted(1000, 64, 1e-4, 1e-6, 5e-4))
    assert result.warmup_s >= timing.WARMUP_S
    assert result.warmup_steps >= timing.WARMUP_ROUNDS * result.steps_per_round


def test_the_warm_up_is_never_longer_than_the_measuring_but_for_its_last_chunk():
    assert 0.05 <= measured(Scripted(1000, 64, 1e-4, 1e-6, 5e-4), seconds=0.05).warmup_s < 0.1


@pytest.mark.parametrize(
    ("n", "batch", "step_s", "expected"),
    [
        (5, 5, 1e-4, Round(100, 500, 100)),  # tiny: a hundred epochs make 10 ms
        (1000, 100, 1e-3, Round(10, 1000, 1)),  # an epoch of 10 ms is one round
        (1000, 300, 1e-3, Round(12, 3000, 3)),  # four updates, the last of 100 rows
        (100_000, 1, 1e-4, Round(100, 100, 0)),  # an epoch of 10 s: a hundred updates of it
        (100_000, 2000, 1.0, Round(50, 100_000, 1)),  # fewer than 100 updates are never divided
        (1_000_000, 10_000, 0.1, Round(1, 10_000, 0)),  # a hundred long updates are
    ],
)
def test_a_round_is_whole_epochs_or_a_part_of_a_long_one(n, batch, step_s, expected):
    assert plan_round(n, batch, step_s, seconds=1.0) == expected


def test_a_smoke_run_trains_one_update():
    training = Scripted(1000, 64, 1e-4, 1e-6, 5e-4)
    fields = timing.time_rounds(training, 1.0, lambda phase: None, training.clocks, smoke=True)
    assert training.trained == [64]
    assert len(fields["round_s"]) == 1


def test_rounds_of_a_streamed_file_hold_whole_windows_and_an_epochs_time_all_its_reads():
    training = Scripted(n=100_000, batch=10, step_s=1e-4, row_s=0.0, start_s=0.003)
    training.updates_together, training.read_s = 500, 0.02  # 20 windows, each read in as long as 200 steps take
    found = measured(training)
    assert (found.epochs_per_round, found.steps_per_round) == (0, 1000)
    assert found.epoch_start_s == pytest.approx((0.003,) * len(found.epoch_start_s))
    true_s = 0.003 + 10_000 * 1e-4 + 20 * 0.02
    assert found.epochs_s(100_000) == pytest.approx([true_s] * len(found.round_s))


def test_a_streamed_file_of_few_windows_is_timed_by_whole_epochs():
    assert plan_round(n_samples=100_000, samples_per_step=10, step_s=1e-3, seconds=1.0, window=2000).epochs == 1
    assert plan_round(n_samples=100_000, samples_per_step=10, step_s=1e-3, seconds=1.0, window=1000) == Round(
        2000, 20_000, 0
    )
