import json
import subprocess
import sys
from pathlib import Path

import models
import pytest

from mbbench import api, fitting, store
from mbbench.case import UsageError
from mbbench.maxbatch import FullBatch, MaxBatch, Try
from mbbench.reporting import fitting as words

MIB = 2**20


@pytest.fixture
def in_their_folder(monkeypatch):
    monkeypatch.chdir(Path(models.__file__).parent)


@pytest.fixture
def searched(tmp_path, in_their_folder):
    """Return a function that searches, and tries powers of two by themselves; it returns both answers."""

    def both(name, optimizer, n, budget, powers):
        asked = {"n": n, "memory_budget": budget, "optimizer": optimizer, "threads": 1}
        found = api.max_batch(f"models.py:{name}", results=tmp_path / "found", **asked)
        plan = api.plan(
            f"models.py:{name}",
            results=tmp_path / "truth",
            batch_size=[2**k for k in powers],
            measure=["memory"],
            predict=False,
            **asked,
        )
        fit = [record.case.batch_size for record in api.execute(plan) if record.measurement.status == "ok"]
        assert len(store.load_records(tmp_path / "found")) == len(found.tried)
        return found, max(fit)

    return both


def check(found, largest, n, apart=2):
    assert largest / 2 <= found.largest < apart * largest
    assert (found.largest, "ok") in {(tried.batch_size, tried.status) for tried in found.tried}
    assert found.full_batch.status == "oom"
    accumulated = [tried for tried in found.tried if tried.micro_batch == found.full_batch.accumulation_micro_batch]
    assert [(tried.batch_size, tried.status) for tried in accumulated] == [(n, "ok")]


def test_the_largest_batch_fits_and_twice_as_large_does_not(searched):
    found, largest = searched("mlp", "sgd", 4096, 10 * MIB, powers=(6, 12))
    assert largest == 64
    check(found, largest, 4096, apart=64)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "optimizer", "n", "budget"),
    # What grows with the batch sets the limit; or the optimizer's state does: with SGD much larger ones fit.
    [("mlp", "sgd", 20_000, 40 * MIB), ("gru", "sgd", 20_000, 80 * MIB), ("wide", "adam", 4096, 60 * MIB)],
)
def test_the_largest_batch_is_that_of_trying_every_power_of_two(searched, name, optimizer, n, budget):
    found, largest = searched(name, optimizer, n, budget, powers=range(n.bit_length()))
    check(found, largest, n)


def test_where_all_rows_fit_full_batch_is_the_answer(tmp_path):
    found = api.max_batch("linear", n=1000, memory_budget="500MiB", results=tmp_path)
    assert (found.largest, found.full_batch) == (1000, FullBatch(status="ok", accumulation_micro_batch=None))
    assert [tried.batch_size for tried in found.tried] == [1000]


@pytest.mark.parametrize(("minimum", "maximum"), [(1, 64), (300, 300), (990, 1000), (1000, 1000)])
def test_a_search_between_bounds_tries_full_batch_and_the_largest_size_asked_for(tmp_path, minimum, maximum):
    found = api.max_batch("linear", n=1000, minimum=minimum, maximum=maximum, memory_budget="500MiB", results=tmp_path)
    assert (found.largest, found.full_batch.status) == (maximum, "ok")
    assert {tried.batch_size for tried in found.tried} == {1000, maximum}


def test_full_batch_may_fit_where_mini_batches_do_not_since_only_those_are_shuffled(in_their_folder, tmp_path):
    asked = {"n": 100_000, "memory_budget": 30 * MIB, "results": tmp_path}
    found = api.max_batch("models.py:linear", **asked)
    assert (found.largest, found.full_batch.status) == (100_000, "ok")
    bounded = api.max_batch("models.py:linear", maximum=1000, **asked)
    assert (bounded.largest, bounded.full_batch.status) == (None, "ok")


def test_a_cell_that_was_refused_is_not_kept_as_measured(tmp_path):
    asked = {"n": 20_000, "batch_size": "full", "memory_budget": "100MiB", "measure": "memory", "results": tmp_path}
    states = {record.measurement.oom_by for record in api.execute(api.plan("mlp", **asked))}
    assert "predicted" in states
    again = api.plan("mlp", predict=False, **asked)
    assert [job.case.micro_batch for job in again.jobs] == [None]


def test_where_not_even_one_row_fits_nothing_is_returned(tmp_path):
    found = api.max_batch("mlp-w2048", n=100, memory_budget="10MiB", results=tmp_path)
    assert found.largest is None
    assert {tried.status for tried in found.tried} == {"oom"}
    assert found.full_batch == FullBatch(status="oom", accumulation_micro_batch=None)


def test_a_model_that_cannot_be_trained_ends_the_search_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (
        "import torch, mbbench\ndef loss(p, y): return p.mean() if len(y) == 9 else 1 / 0\n"  # the first step is tried on 9
    )
    text += "problem = mbbench.Problem(model=lambda: torch.nn.Linear(3, 1), loss=loss,"
    (tmp_path / "broken.py").write_text(text + " data=(torch.ones(9, 3), torch.ones(9, 1)))\n")
    found = api.max_batch("broken.py:problem", memory_budget="100MiB", results=tmp_path)
    assert found.largest is None
    assert [tried.status for tried in found.tried] == ["error"]


@pytest.mark.parametrize(
    ("minimum", "maximum", "said"),
    [(0, None, "min is 0"), (9, 8, "min is 9 and max is 8"), (2000, None, "min is 2000"), (1, 5000, "5000")],
)
def test_bounds_that_leave_no_size_are_refused(tmp_path, minimum, maximum, said):
    with pytest.raises(UsageError, match=said):
        api.max_batch("linear", n=1000, minimum=minimum, maximum=maximum, results=tmp_path)


@pytest.mark.parametrize(
    ("limit", "size"),
    [(5, 1), (10, 1), (15, 1), (20, 2), (30, 3), (39, 3), (40, 4), (1000, 8)],
)
def test_the_size_to_try_is_where_the_predictions_meet_the_limit(limit, size):
    assert fitting._largest_below({1: 10, 2: 20, 4: 40, 8: None}, limit) == min(size, 4)


def a_find(**fields):
    tries = (
        Try(batch_size=64, micro_batch=None, status="ok", predicted_bytes=90, peak_bytes=100 * MIB),
        Try(batch_size=128, micro_batch=None, status="oom", predicted_bytes=None, peak_bytes=None),
        Try(batch_size=1000, micro_batch=32, status="ok", predicted_bytes=80, peak_bytes=80 * MIB),
    )
    full = FullBatch(status="oom", accumulation_micro_batch=32)
    return MaxBatch(**({"largest": 64, "tried": tries, "full_batch": full, "limit_bytes": 1024 * MIB} | fields))


def test_the_words_say_what_fits_and_how_full_batch_does():
    assert words.lines(a_find()) == [
        "The largest batch size that fits in 1 GiB is 64: it was trained and takes 100 MiB of tensors.",
        "Full batch does not fit; the same gradient in micro-batches of 32 does, in 80 MiB of tensors: "
        "--batch-size full --micro-batch 32.",
    ]
    fits = a_find(full_batch=FullBatch(status="ok", accumulation_micro_batch=None))
    assert words.lines(fits)[1] == "Full batch fits."
    nothing = a_find(largest=None, tried=(), full_batch=FullBatch(status="oom", accumulation_micro_batch=None))
    assert words.lines(nothing) == [
        "No mini-batch fits in 1 GiB: 0 tries.",
        "Full batch does not fit, in no micro-batches either.",
    ]


def test_the_command_answers_in_json_and_says_each_try(tmp_path):
    command = [sys.executable, "-m", "mbbench", "maxbatch", "linear", "--n", "1000", "--memory-budget", "1GiB", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    answer = json.loads(done.stdout)
    assert answer["largest"] == 1000
    assert answer["full_batch"] == {"status": "ok", "accumulation_micro_batch": None}
    assert answer["tried"][0]["batch_size"] == 1000
    assert answer["tried"][0]["peak_bytes"] > 1000 * 33 * 4
    assert "full batch: predicted" in done.stderr
