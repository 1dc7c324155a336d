import gc
import itertools
import sys
import weakref

import models
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mbbench.case import Case
from mbbench.measuring import memory
from mbbench.measuring.predict import predicted_peak
from mbbench.measuring.problems import resolve
from mbbench.measuring.training import prepare

N = 1100
SIZES = (1, 32, 1024, None)
OPTIMIZERS = ("sgd", "momentum", "adam")
KINDS = ("linear", "mlp", "gru", "transformer")


@pytest.fixture(autouse=True)
def alone():
    """Tensors that other tests have left are none of these tests': frozen, they are not looked at."""
    gc.collect()
    gc.freeze()  # for good: unfrozen, all that was ever imported would be looked through anew, 0.2 s each time


class Count(TorchDispatchMode):
    """An independent count: after every operator, the bytes of all storages that are still alive."""

    def __init__(self):
        super().__init__()
        self.storages = []
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.storages.append(weakref.ref(leaf.untyped_storage()))
        alive = {storage._cdata: storage for ref in self.storages if (storage := ref()) is not None}
        self.storages = [weakref.ref(storage) for storage in alive.values()]
        self.peak = max(self.peak, sum(storage.nbytes() for storage in alive.values()))
        return result


def counted(case, problem, updates=memory.short_epochs):
    """The peak while training, by the independent count."""
    with Count() as count:
        training = prepare(case, problem)
        count.peak = 0
        training.train(updates(training))
    return count.peak + held(problem)


def held(problem):
    """Bytes of the tensors that a problem was given, each storage once."""
    given = [*(problem.data if isinstance(problem.data, tuple) else ())]
    given += [*problem.model.parameters(), *problem.model.buffers()] if isinstance(problem.model, torch.nn.Module) else []
    return sum({part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in given}.values())


def a_case(batch_size, optimizer="sgd", n=N, **fields):
    return Case(problem="m.py:x", n_samples=n, batch_size=batch_size, optimizer=optimizer, **fields)


def few_of(kinds, optimizers, sizes):
    """Every kind with every optimizer at one size, and every kind with every size for one optimizer."""
    every = set(itertools.product(kinds, optimizers, sizes[1:2])) | set(itertools.product(kinds, optimizers[:1], sizes))
    return sorted(every, key=str)


def within(part, value, other):
    return abs(value - other) <= part * other


@pytest.mark.parametrize(("kind", "optimizer", "size"), few_of(KINDS, OPTIMIZERS, SIZES))
def test_the_peak_is_the_independent_count_and_the_prediction_near_it(kind, optimizer, size):
    check(kind, optimizer, size)


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "optimizer", "size"), sorted(itertools.product((*KINDS, "cnn"), OPTIMIZERS, SIZES), key=str)
)
def test_the_peak_is_the_independent_count_at_every_size(kind, optimizer, size):
    check(kind, optimizer, size)


def check(kind, optimizer, size):
    case, problem = a_case(size, optimizer), getattr(models, kind)()
    count, (_, peak), predicted = counted(case, problem), memory.tensor_peaks(case, problem), predicted_peak(case, problem)
    if kind == "cnn":
        assert peak >= count * 0.995
    else:
        assert within(0.005, peak, count)
    if peak > 10e6:
        assert within(0.03, predicted, count)


def test_what_a_convolution_takes_inside_is_counted_too_and_not_predicted():
    case, problem = a_case(256), models.cnn()
    count, (_, peak), predicted = counted(case, problem), memory.tensor_peaks(case, problem), predicted_peak(case, problem)
    assert peak >= count
    assert within(0.03, predicted, count)


@pytest.mark.parametrize(("d", "n", "size"), [(32, 1000, None), (64, 4096, 512)])
def test_a_linear_model_takes_what_is_reckoned_by_hand(d, n, size):
    """Rows and targets; shuffled copies and their order as an epoch begins; a step's prediction, errors and gradients."""
    problem = resolve(f"linear-d{d}")[0]
    rows = 4 * n * (d + 1)
    _, peak = memory.tensor_peaks(Case(problem=f"linear-d{d}", n_samples=n, batch_size=size), problem)
    if size is None:
        # prediction, its gradient, and the squared errors, whose memory the mean of them keeps; parameters; a one
        assert within(0.005, peak, rows + 3 * 4 * n + 4 * d + 4)
    else:
        # the last batch holds the old copies while the new epoch picks its own: order (8 n), two copies of the rows more
        assert within(0.005, peak, 3 * rows + 8 * n + 2 * 4 * d)


def test_a_peak_inside_one_step_is_seen_by_every_figure(measure):
    found = measure(models.__file__, "spike", a_case(8, n=16, loader="slice"))
    assert found.status == "ok", found.message
    for figure in (found.peak_tensor_bytes, found.predicted_peak_bytes, found.peak_rss_delta_bytes):
        assert within(0.02, figure, models.BLOCK_BYTES)


def test_making_the_rows_is_told_apart_from_training_on_them():
    problem = resolve("linear")[0]  # planted in float64: twice the rows and more
    setup, peak = memory.tensor_peaks(Case(problem="linear", n_samples=20_000, batch_size=32), problem)
    assert setup > peak
    assert setup > 2 * 4 * 33 * 20_000


@pytest.mark.parametrize("loader", ["slice", "gather", "dataloader", "dataloader-batched"])
@pytest.mark.parametrize("size", [1, 64, None])
def test_the_prediction_follows_every_loader(loader, size):
    case, problem = a_case(size, loader=loader, n=3000), models.linear()
    assert within(0.03, predicted_peak(case, problem), memory.tensor_peaks(case, problem)[1])


def test_rows_of_given_tensors_are_counted_though_they_were_there_before():
    problem = resolve("digits-mlp")[0]
    for n in (1797, 1000):
        case = Case(problem="digits-mlp", n_samples=n, batch_size=32)
        count, (_, peak) = counted(case, problem), memory.tensor_peaks(case, problem)
        assert within(0.005, peak, count)
        assert within(0.03, predicted_peak(case, problem), count)


def test_rows_and_models_that_live_longer_than_a_run_are_counted(measure, tmp_path):
    """In a file of the user's: rows made once, rows cut from larger ones, and a model given as it is."""
    path = tmp_path / "kept.py"
    path.write_text(
        """import functools, torch
from mbbench import Problem
plain = {"loss": torch.nn.functional.mse_loss, "held_out": 0.0, "model": lambda: torch.nn.Linear(64, 1), "n_samples": 99}
wide = torch.ones(40_000, 66)

@functools.cache
def rows(n, seed):
    return torch.ones(n, 64), torch.ones(n, 1)

def cached(): return Problem(data=rows, **plain)
def views(): return Problem(data=lambda n, seed: (wide[:n, :64], wide[:n, 64:65]), **plain)
def strided(): return Problem(data=(wide[:, :64], wide[:, 64:65]), **plain)
def module(): return Problem(data=rows, **(plain | {"model": torch.nn.Linear(64, 50_000)}))
"""
    )
    made = 4 * 65 * 40_000
    whole = 4 * 66 * 40_000
    for name, least in (("cached", made), ("views", whole), ("strided", whole)):
        found = measure(str(path), name, a_case(None, n=40_000, micro_batch=100))
        assert found.status == "ok", found.message
        assert least < found.peak_tensor_bytes < least + 12e6, name
        assert least < found.peak_rss_delta_bytes < least + 30e6, name
    assert within(0.03, found.predicted_peak_bytes, found.peak_tensor_bytes)  # of strided rows


def test_a_model_that_looks_at_values_is_not_predicted():
    assert predicted_peak(a_case(8), models.looks_at_values()) is None


def test_a_prediction_allocates_nothing():
    problem = models.mlp()
    assert predicted_peak(a_case(None, n=2**34), problem) > 2**34 * 64 * 4


def test_accumulation_takes_less_than_full_batch():
    problem = models.mlp()
    full, parts = a_case(None), a_case(None, micro_batch=32)
    assert memory.tensor_peaks(parts, problem)[1] < memory.tensor_peaks(full, problem)[1] / 2
    assert predicted_peak(parts, problem) < predicted_peak(full, problem) / 2


def test_short_epochs_have_the_first_updates_the_last_and_the_first_of_the_next():
    training = prepare(a_case(100, n=1050, shuffle=False), models.linear())
    x, starts = training.rows[0], [*range(0, 1100, 100), 0]
    sizes = [100, 100, 100, *[2] * 7, 50, 100]  # those between on two rows
    for update, start, size in zip(memory.short_epochs(training), starts, sizes, strict=True):
        [(batch, _, _)] = update
        assert torch.equal(batch, x[start : start + size])


def test_short_epochs_of_an_accumulated_update_have_its_first_micro_batches_and_its_last():
    training = prepare(a_case(None, n=105, micro_batch=10, shuffle=False), models.linear())
    sizes = [[len(x) for x, _, _ in update] for update in memory.short_epochs(training)]
    assert sizes == [[10, 10, 10, *[2] * 7, 5]] * 2


def test_an_epoch_too_long_to_be_walked_through_is_left_early():
    training = prepare(a_case(1, n=1100), models.linear())
    assert sum(1 for _ in memory.short_epochs(training)) == 4


@pytest.mark.parametrize("loader", ["gather", "dataloader"])
def test_no_more_batches_are_held_at_once_than_in_training(loader):
    """Ten whole epochs, trained and counted, have the peak of the short ones."""
    case, problem = a_case(None, n=1000, micro_batch=100, loader=loader), models.linear()
    assert within(
        0.005, memory.tensor_peaks(case, problem)[1], counted(case, problem, lambda t: itertools.islice(t.stream(), 10))
    )


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's mmap threshold")
@pytest.mark.parametrize(("kind", "size"), [("mlp", None), ("gru", 1024), ("transformer", None)])
def test_with_memory_given_back_at_once_the_process_takes_what_the_tensors_take(measure, kind, size):
    case = a_case(size, n=16_384 if kind == "mlp" else 4096, options=(("malloc", "mmap64k"),))
    found = measure(models.__file__, kind, case)
    assert found.status == "ok", found.message
    assert found.peak_tensor_bytes > 10e6
    assert found.rss_sampled is False
    assert within(0.10, found.peak_rss_delta_bytes, found.peak_tensor_bytes)
