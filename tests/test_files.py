"""Rows in files: the same rows from every format, each once an epoch, in bounded memory; a bad file is refused clearly."""

import itertools
import sys
import weakref
from collections import Counter

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mbbench.case import Case, UsageError
from mbbench.measuring import batches, streaming
from mbbench.measuring import files as files_module
from mbbench.measuring.files import Files, Stored, choose, window_rows
from mbbench.measuring.problems import Problem
from mbbench.measuring.training import mean_loss, prepare

N = 1037
KINDS = ("npy", "parquet", "safetensors")
ROW_BYTES = 3 * 4 + 4


def numbered(n: int = N, dtype=np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Return rows that say their number in every column, and a target that says it too."""
    return np.arange(n, dtype=dtype)[:, None] + np.array([0, 0.25, 0.5], dtype), np.arange(n, dtype=np.float32)[:, None]


def write(kind: str, folder, x: np.ndarray, y: np.ndarray, group_rows: int = 40) -> Files:
    """Write rows in a format and describe them."""
    if kind == "npy":
        np.save(folder / "x.npy", x)
        np.save(folder / "y.npy", y)
        return Files(x=folder / "x.npy", y=folder / "y.npy")
    if kind == "safetensors":
        save_file({"x": torch.from_numpy(x.copy()), "y": torch.from_numpy(y)}, folder / "rows.safetensors")
        return Files(folder / "rows.safetensors", x="x", y="y")
    columns = {f"x{i}": x[:, i].copy() for i in range(x.shape[1])} | {"y": y.reshape(-1)}
    pq.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=group_rows)
    return Files(folder / "rows.parquet", target="y")


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of 100 rows out of chunks of 10, groups of at most 20."""
    monkeypatch.setattr(files_module, "WINDOW_BYTES", 100 * (ROW_BYTES + 8))
    monkeypatch.setattr(files_module, "CHUNK_BYTES", 10 * ROW_BYTES)
    monkeypatch.setattr(streaming, "GROUP_BYTES", 20 * ROW_BYTES)


def problem(files, **fields) -> Problem:
    plain = {"model": lambda: nn.Linear(3, 1), "loss": functional.mse_loss, "data": files, "held_out": 0.0}
    return Problem(**(plain | fields))


def case(n: int = N, **fields) -> Case:
    return Case(**({"problem": "a:b", "n_samples": n, "loader": "stream", "batch_size": 32} | fields))


def epochs_of(files: Files, asked: Case, count: int = 1) -> list[list[list[int]]]:
    """Return the numbers of the rows of each (micro-)batch of each epoch; features and targets must agree."""
    stored, _ = choose(files, asked.n_samples, 0, asked.seed)
    start = batches.epochs(asked, stored)
    found = []
    for _ in range(count):
        kept = [(x, y) for update in start() for x, y, _ in update]  # all at once: none may change later
        assert all(torch.equal(x[:, 0].double(), y.flatten().double()) for x, y in kept)
        found.append([x[:, 0].int().tolist() for x, _ in kept])
    return found


# What a file says and what is read from it.


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_rows(tmp_path, kind):
    x, y = numbered()
    files = write(kind, tmp_path, x, y)
    assert len(files) == N
    assert (files.table.x.shape, files.table.y.shape) == ((3,), (1,))
    assert files.dtypes() == (torch.float32, torch.float32)
    assert files.row_bytes == ROW_BYTES
    for start, stop in [(0, N), (0, 1), (38, 43), (41, 130), (N - 1, N)]:
        read_x, read_y = files.read(start, stop)
        assert torch.equal(read_x, torch.from_numpy(x[start:stop]))
        assert torch.equal(read_y, torch.from_numpy(y[start:stop]))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_but_headers_until_rows_are_asked_for(tmp_path, kind, monkeypatch):
    write(kind, tmp_path, *numbered())
    for name in ("formats._file_rows", "parquet._parquet_rows"):
        monkeypatch.setattr(f"mbbench.measuring.{name}", lambda *_: pytest.fail("rows were read"))
    made = problem(write(kind, tmp_path, *numbered()), held_out=0.2)
    assert (made.most_samples, made.default_samples) == (N, N - 207)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", ["int8", "int32", "int64"])
def test_targets_that_are_integers_become_int64_and_stay_what_they_are(tmp_path, kind, stored):
    x, _ = numbered(90)
    labels = (np.arange(90) % 7).astype(stored)
    files = write(kind, tmp_path, x, labels)
    assert files.table.y.shape == ()
    read = files.read(0, 90)[1]
    assert read.dtype == torch.int64
    assert read.tolist() == labels.tolist()
    made = problem(files, model=lambda: nn.Linear(3, 7), loss=functional.cross_entropy)
    training = prepare(case(90, dtype="float64"), made)
    [(x_batch, y_batch, _)] = next(training.epoch())
    assert (x_batch.dtype, y_batch.dtype) == (torch.float64, torch.int64)
    training.train(training.epoch())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loader", ["stream", "slice"])
def test_a_float16_file_is_cast_to_the_dtype_of_the_case(tmp_path, kind, loader):
    x, _ = numbered(200, np.float16)
    files = write(kind, tmp_path, x, np.zeros((200, 1), np.float64))
    assert files.dtypes() == (torch.float16, torch.float64)
    training = prepare(case(200, shuffle=False, loader=loader), problem(files))
    parts = [x for update in training.epoch() for x, _, _ in update]
    assert {part.dtype for part in parts} == {torch.float32}
    assert torch.equal(torch.cat(parts), torch.from_numpy(x).float())


def test_bfloat16_tensors_can_be_read(tmp_path):
    save_file({"x": torch.ones(5, 2, dtype=torch.bfloat16), "y": torch.zeros(5, 1)}, tmp_path / "b.safetensors")
    assert Files(tmp_path / "b.safetensors", x="x", y="y").read(1, 3)[0].dtype == torch.bfloat16


def test_rows_may_have_any_shape(tmp_path):
    x = np.arange(4 * 2 * 3 * 5, dtype=np.float64).reshape(4, 2, 3, 5)
    files = write("npy", tmp_path, x, np.zeros(4, np.int64))
    assert files.table.x.shape == (2, 3, 5)
    assert torch.equal(files.read(1, 3)[0], torch.from_numpy(x[1:3]))


def test_parquet_columns_are_chosen_by_name_in_the_order_asked_for_and_integers_among_floats_become_floats(tmp_path):
    table = {"a": np.arange(50, dtype=np.int16), "b": np.arange(50, dtype=np.float32) / 2, "name": ["x"] * 50}
    pq.write_table(pa.table(table | {"label": np.arange(50)}), tmp_path / "t.parquet", row_group_size=7)
    files = Files(tmp_path / "t.parquet", target="label", features=["b", "a"])
    assert torch.equal(files.read(0, 50)[0], torch.stack([torch.arange(50) / 2, torch.arange(50.0)], dim=1))
    assert Files(tmp_path / "t.parquet", target="b", features=["a"]).dtypes() == (torch.int16, torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_paths_are_relative_to_the_working_directory_and_travel_without_it(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    files = write(kind, type(tmp_path)(), *numbered())
    sent = cloudpickle.dumps(problem(files))
    assert str(tmp_path).encode() not in sent
    assert torch.equal(cloudpickle.loads(sent).data.read(5, 8)[0], files.read(5, 8)[0])


# The loader.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(1, None), (32, None), (250, None), (None, None), (32, 8), (None, 48)])
def test_every_row_comes_once_an_epoch_in_full_batches_whatever_a_window_holds(tmp_path, small_windows, kind, sizes):
    batch_size, micro_batch = sizes
    files = write(kind, tmp_path, *numbered())
    asked = case(batch_size=batch_size, micro_batch=micro_batch)
    for epoch in epochs_of(files, asked, count=2):
        size = micro_batch or asked.samples_per_step
        assert [len(batch) for batch in epoch] == [size] * (N // size) + ([N % size] if N % size else [])
        assert sorted(itertools.chain(*epoch)) == list(range(N))


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_follows_from_the_seed_and_changes_from_epoch_to_epoch(tmp_path, small_windows, kind):
    files = write(kind, tmp_path, *numbered())
    first, again, other = (epochs_of(files, case(seed=seed), count=2) for seed in (1, 1, 2))
    assert first == again
    assert first[0] != first[1]
    assert first != other


@pytest.mark.parametrize("kind", KINDS)
def test_without_shuffling_and_as_one_batch_rows_come_in_their_stored_order(tmp_path, small_windows, kind):
    files = write(kind, tmp_path, *numbered())
    for fields in ({"shuffle": False}, {"batch_size": None}, {"batch_size": None, "micro_batch": 64}):
        [epoch] = epochs_of(files, case(**fields))
        assert list(itertools.chain(*epoch)) == list(range(N))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_sorted_by_label_is_mixed_though_a_window_is_a_tenth_of_it(tmp_path, small_windows, kind):
    n = 1000  # ten labels of a hundred rows each, windows of a hundred rows
    files = write(kind, tmp_path, *numbered(n), group_rows=10)
    for epoch in epochs_of(files, case(n, batch_size=20), count=3):
        rows = list(itertools.chain(*epoch))
        assert sorted(rows) == list(range(n))
        for start in range(0, n, 100):
            window = rows[start : start + 100]
            assert len({row // 10 for row in window}) == 10  # ten chunks, each whole
            assert len({row // 100 for row in window}) >= 4  # of ten labels, a hundred draws of ten expect 6.7
            assert window != sorted(window)
        assert sum(len({row // 100 for row in batch}) for batch in epoch) / len(epoch) > 4


def test_parquet_row_groups_larger_than_a_window_are_read_once_from_their_start(tmp_path, small_windows):
    files = write("parquet", tmp_path, *numbered(), group_rows=400)
    [epoch] = epochs_of(files, case())
    rows = list(itertools.chain(*epoch))
    assert sorted(rows) == list(range(N))
    assert [Counter(row // 400 for row in rows[start : start + 37]) for start in (0, 500)] != [{0: 37}, {1: 37}]


def test_stream_trains_what_slice_trains_where_the_order_is_the_same(tmp_path, small_windows):
    x = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
    files = write("npy", tmp_path, x.numpy(), x[:, :1].numpy())

    def weights(loader: str) -> torch.Tensor:
        training = prepare(case(loader=loader, shuffle=False, lr=0.1), problem(files))
        training.train(itertools.islice(training.stream(), 50))
        return training.model.weight

    assert torch.equal(weights("stream"), weights("slice"))


class Live(TorchDispatchMode):
    """Counts the bytes of all tensors that were made inside and are alive, and the most there were."""

    def __init__(self):
        super().__init__()
        self.sizes, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self.sizes:
                    self.sizes[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.sizes.pop, storage._cdata)
        self.peak = max(self.peak, sum(self.sizes.values()))
        return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "cast"), [("float32", 0), ("float64", 1)])
def test_an_epoch_holds_a_window_its_order_and_two_groups_however_long_the_file(tmp_path, small_windows, kind, dtype, cast):
    files = write(kind, tmp_path, *numbered(4000))
    stored, _ = choose(files, 4000, 0, seed=0)
    group = 16 * 4 * (8 if dtype == "float64" else 4)  # batches of 16 rows of 4 numbers
    with Live() as live:
        for _ in itertools.islice(batches.epochs(case(4000, batch_size=16, dtype=dtype), stored)(), 240):
            pass
    most = 100 * (ROW_BYTES + 8) + 2 * group + cast * 16 * 3 * 4
    assert most - 200 <= live.peak <= most


def test_an_epoch_can_be_reckoned_on_tensors_that_only_have_a_shape(tmp_path, small_windows):
    stored, _ = choose(write("npy", tmp_path, *numbered()).unread(), N, 0, seed=0)
    with FakeTensorMode(), Live() as live:
        sizes = [x.shape for update in batches.epochs(case(batch_size=16), stored)() for x, _, _ in update]
    assert sizes == [(16, 3)] * 64 + [(13, 3)]
    assert 100 * (ROW_BYTES + 8) <= live.peak <= 100 * (ROW_BYTES + 8) + 1000


def test_a_window_is_of_at_least_one_row():
    assert window_rows(132) == 119_837
    assert window_rows(10**9) == 1


def test_stream_is_refused_before_anything_is_made_where_the_rows_are_in_no_file():
    def made(n, seed):
        raise AssertionError

    for data, kind in ((made, "a function"), ((torch.zeros(9, 3), torch.zeros(9, 1)), "tensors")):
        message = rf"loader stream reads rows from files: give data=mbbench.Files\(...\), here data is {kind}"
        with pytest.raises(UsageError, match=message):
            prepare(case(9, batch_size=3), problem(data))


# Which rows are trained on, and the evaluation.


@pytest.mark.parametrize(("total", "n", "held"), [(10, 8, 2), (10, 9, 0), (150, 120, 30), (1037, 5, 207), (5000, 4000, 999)])
@pytest.mark.parametrize("seed", [0, 1])
def test_chosen_rows_are_as_many_as_asked_for_and_held_out_ones_are_others(tmp_path, total, n, held, seed):
    files = write("npy", tmp_path, *numbered(total))
    train, heldout = choose(files, n, held, seed)
    numbers = [row for start, stop in train.spans for row in range(start, stop)]
    others = [row for start, stop in heldout.spans for row in range(start, stop)] if heldout else []
    assert numbers == sorted(numbers)
    assert others == sorted(others)
    assert len({*numbers, *others}) == n + held
    assert (len(train), len(others)) == (len(numbers), held) == (n, held)
    assert train.load()[0][:, 0].tolist() == numbers
    assert train != choose(files, n, held, seed + 5)[0]


def test_held_out_rows_of_a_file_sorted_by_label_have_every_label_in_its_proportion(tmp_path):
    files = write("npy", tmp_path, *numbered(150))  # as iris is stored: three times fifty
    train, heldout = problem(files, held_out=0.2).stored(120, seed=3)
    for stored, share in ((train, 40), (heldout, 10)):
        labels = Counter(int(row) // 50 for row in stored.load()[0][:, 0])
        assert all(abs(labels[label] - share) <= 1 for label in range(3))


def test_rows_of_files_are_loaded_whole_by_every_other_loader(tmp_path):
    files = write("npy", tmp_path, *numbered())
    rows = problem(files, held_out=0.2).rows(N - 207, seed=1)
    numbers = torch.cat([rows.x[:, 0], rows.heldout[0][:, 0]])
    assert sorted(numbers.tolist()) == list(range(N))
    assert problem(files, held_out=0.2).rows(N, seed=1).heldout is None
    with pytest.raises(UsageError, match=f"n is {N + 1}, but the data set has {N} samples"):
        problem(files).rows(N + 1, seed=1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_of_stored_rows_equals_that_of_the_same_rows_in_memory(tmp_path, small_windows, kind):
    x = np.random.default_rng(0).standard_normal((N, 3), dtype=np.float32)
    files = write(kind, tmp_path, x, x[:, :1].copy())
    stored, memory = (
        prepare(case(800, loader=loader, dtype="float64"), problem(files, held_out=0.2)) for loader in ("stream", "slice")
    )
    assert isinstance(stored.rows, Stored)
    assert stored.evaluation_rows == memory.evaluation_rows == 800 + 207
    assert mean_loss(stored, stored.rows) == pytest.approx(mean_loss(memory, memory.rows), rel=1e-12)
    assert mean_loss(stored, stored.heldout) == pytest.approx(mean_loss(memory, memory.heldout), rel=1e-12)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA, which counts private maps of files")
def test_a_safetensors_file_larger_than_the_memory_budget_is_streamed(tmp_path, measure):
    n, limit = 15_000, 40 * 2**20
    save_file({"x": torch.zeros(n, 1000), "y": torch.zeros(n, 1)}, tmp_path / "rows.safetensors")
    assert (tmp_path / "rows.safetensors").stat().st_size > 60e6
    data = f'mbbench.Files({str(tmp_path / "rows.safetensors")!r}, x="x", y="y")'
    tmp_path.joinpath("large.py").write_text(
        f"import mbbench\nfrom torch import nn\n\nrows = mbbench.Problem(\n"
        f"    model=lambda: nn.Linear(1000, 1), loss=nn.functional.mse_loss, data={data}\n)\n"
    )
    asked = Case(problem="large.py:rows", n_samples=n, batch_size=64, loader="stream")
    # Not refused by the prediction: 18.8 MB, times 3 as long as the process's overhead is not known.
    found = measure(tmp_path / "large.py", "rows", asked, kind="memory", max_bytes=limit, refuse=False)
    assert found.status == "ok", found.message
    assert found.peak_rss_delta_bytes < limit
    assert 16e6 < found.peak_tensor_bytes < limit


# What cannot be.


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A folder of files of which most are not what they should be, as the working directory."""
    monkeypatch.chdir(tmp_path)
    x, y = numbered(20)
    write("npy", tmp_path, x, y)
    write("safetensors", tmp_path, x, y)
    np.save("short.npy", y[:19])
    np.save("words.npy", np.array(["a"] * 20))
    np.save("flags.npy", np.ones(20, bool))
    np.save("big_endian.npy", y.astype(">f4"))
    np.save("columns.npy", np.asfortranarray(x))
    np.save("one.npy", np.float32(3))
    np.save("none.npy", x[:0])
    tmp_path.joinpath("text.npy").write_text("1,2,3\n")
    tmp_path.joinpath("text.parquet").write_text("1,2,3\n")
    tmp_path.joinpath("text.safetensors").write_text("1,2,3\n")
    tmp_path.joinpath("rows.csv").write_text("1,2,3\n")
    tmp_path.joinpath("cut.npy").write_bytes(tmp_path.joinpath("x.npy").read_bytes()[:-1])
    odd = {"x": torch.zeros(4, 2), "y": torch.zeros(5), "flags": torch.ones(4, dtype=torch.bool)}
    save_file(odd, "odd.safetensors", metadata={"format": "pt"})
    tmp_path.joinpath("cut.safetensors").write_bytes(tmp_path.joinpath("rows.safetensors").read_bytes()[:-1])
    tmp_path.joinpath("empty.safetensors").write_bytes(b"")
    gap = b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}    '
    for name, header in (("list", b"[1]"), ("latin", b'{"\xff": 1}'), ("gap", gap)):
        tmp_path.joinpath(f"{name}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    pq.write_table(pa.table({"a": [1.0, 2.0], "word": ["p", "q"], "y": [0, 1]}), "words.parquet")
    pq.write_table(pa.table({"y": [0, 1]}), "alone.parquet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": "nowhere.npy", "y": "y.npy"}, "there is no file nowhere.npy: give a path that leads there from the working"),
        ({"x": "x.npy", "y": "short.npy"}, "x.npy has 20 rows of features and short.npy 19 targets"),
        ({"x": "words.npy", "y": "y.npy"}, "words.npy holds <U1: expected one of float16"),
        ({"x": "flags.npy", "y": "y.npy"}, "flags.npy holds bool: expected one of float16"),
        ({"x": "big_endian.npy", "y": "y.npy"}, "big_endian.npy holds >f4: expected one of float16"),
        ({"x": "columns.npy", "y": "y.npy"}, "columns.npy is stored column by column"),
        ({"x": "one.npy", "y": "y.npy"}, "one.npy holds one number"),
        ({"x": "none.npy", "y": "none.npy"}, "the files hold 0 rows"),
        ({"x": "text.npy", "y": "y.npy"}, "text.npy is no array of numbers: write it with numpy.save"),
        ({"x": "cut.npy", "y": "y.npy"}, "cut.npy ends before its 20 rows do"),
        ({"path": "rows.txt", "target": "y"}, "Files.path='rows.txt', target='y'. names no rows: expected Files"),
        ({"path": "words.parquet"}, "Files.path='words.parquet'. names no rows"),
        ({}, "Files.. names no rows"),
        ({"path": "text.parquet", "target": "y"}, "text.parquet is no Parquet file"),
        ({"path": "words.parquet", "target": "z"}, "words.parquet has no column 'z': it has a, word, y"),
        (
            {"path": "words.parquet", "target": "y"},
            r"column 'word' of words.parquet is .*leave the column out, by features=",
        ),
        ({"path": "words.parquet", "target": "word", "features": ["a"]}, "column 'word' of words.parquet is "),
        ({"path": "words.parquet", "target": "y", "features": "a"}, r"features is 'a': expected a list of columns"),
        ({"path": "alone.parquet", "target": "y"}, "alone.parquet has no column beside 'y'"),
        ({"path": "text.safetensors", "x": "x", "y": "y"}, "text.safetensors is no safetensors file"),
        ({"path": "empty.safetensors", "x": "x", "y": "y"}, "empty.safetensors is no safetensors file"),
        ({"path": "list.safetensors", "x": "x", "y": "y"}, "list.safetensors is no safetensors file"),
        ({"path": "latin.safetensors", "x": "x", "y": "y"}, "latin.safetensors is no safetensors file"),
        ({"path": "odd.safetensors", "x": "__metadata__", "y": "y"}, "odd.safetensors is no safetensors file"),
        ({"path": "gap.safetensors", "x": "x", "y": "x"}, "gap.safetensors is no safetensors file"),
        ({"path": "cut.safetensors", "x": "x", "y": "y"}, "cut.safetensors ends before the 20 rows of '[xy]' do"),
        ({"path": "rows.safetensors", "x": "x", "y": "z"}, "rows.safetensors has no tensor 'z': it has x, y"),
        ({"path": "odd.safetensors", "x": "x", "y": "z"}, "odd.safetensors has no tensor 'z': it has flags, x, y"),
        ({"path": "odd.safetensors", "x": "x", "y": "y"}, "odd.safetensors has 4 rows of 'x' and 5 of 'y'"),
        ({"path": "odd.safetensors", "x": "x", "y": "flags"}, "'flags' in odd.safetensors holds BOOL"),
    ],
)
def test_files_that_cannot_be_used_are_refused_with_what_was_expected(broken, arguments, message):
    with pytest.raises(UsageError, match=message):
        Files(**arguments)


def without(monkeypatch, package: str) -> None:
    """Make imports of a package fail."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)


def test_a_library_that_is_not_installed_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    write("parquet", tmp_path, *numbered(20))
    without(monkeypatch, "pyarrow")
    with pytest.raises(UsageError, match=r"rows.parquet needs pyarrow, .* pip install 'mbbench\[files\]'"):
        Files(tmp_path / "rows.parquet", target="y")


def test_a_safetensors_file_needs_no_library(tmp_path, monkeypatch):
    write("safetensors", tmp_path, *numbered(20))
    without(monkeypatch, "safetensors")
    assert Files(tmp_path / "rows.safetensors", x="x", y="y").read(3, 5)[1].tolist() == [[3], [4]]


def test_missing_values_are_refused_when_they_are_met(tmp_path):
    pq.write_table(pa.table({"a": [1.0, None, 2.0], "y": [0, 1, 2]}), tmp_path / "holes.parquet")
    with pytest.raises(UsageError, match=r"column 'a' of holes\.parquet has missing values: fill them"):
        Files(tmp_path / "holes.parquet", target="y").read(0, 3)


def test_a_file_that_is_cut_off_while_it_is_in_use_is_said_so(tmp_path):
    files = write("npy", tmp_path, *numbered(20))
    tmp_path.joinpath("x.npy").write_bytes(tmp_path.joinpath("x.npy").read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"x\.npy ended while it was read"):
        files.read(0, 20)


def test_rows_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UsageError, match="rows 5 to 21 were asked for: expected a part of 0 to 20"):
        write("npy", tmp_path, *numbered(20)).read(5, 21)
