"""Whatever somebody calls data becomes the same rows; what is none is refused with what was expected."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from mbbench.case import UsageError
from mbbench.measuring import nested
from mbbench.measuring.problems import Problem

X = np.arange(12.0).reshape(6, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2], dtype=np.int32)
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": LABELS})


def rows(data, **fields):
    loss = {} if "step" in fields else {"loss": nn.functional.mse_loss}
    return Problem(model=nn.Linear(2, 1), data=data, **loss, **fields).data


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ((X, LABELS), {}),
        ((torch.from_numpy(X), torch.from_numpy(LABELS).long()), {}),
        ([X.tolist(), LABELS.tolist()], {}),
        ((FRAME[["a", "b"]], FRAME["y"]), {}),
        ((X.astype(">f8"), LABELS), {}),
        (FRAME, {"target": "y"}),
        (FRAME, {"target": "y", "features": ["a", "b"]}),
        (pa.Table.from_pandas(FRAME), {"target": "y"}),
        ({"x": X, "y": LABELS}, {"features": "x", "target": "y"}),
    ],
)
def test_arrays_tables_and_mappings_become_the_same_features_and_class_labels(data, fields):
    x, y = rows(data, **fields)
    assert torch.equal(x, torch.from_numpy(X))
    assert torch.equal(y, torch.tensor([0, 1, 2, 0, 1, 2]))


def test_a_target_of_floats_or_of_several_columns_is_a_matrix():
    assert rows(FRAME, target="b").y.shape == (6, 1)
    assert rows(FRAME, target=["y"]).y.dtype == torch.float64
    assert rows(FRAME, target=["b", "y"]).y.shape == (6, 2)
    assert rows(FRAME, target="b").x.tolist() == FRAME[["a", "y"]].to_numpy().tolist()


def test_several_features_keep_their_names_and_a_step_gets_the_whole_batch():
    x, y = rows(({"a": X, "b": LABELS}, X))
    assert {name: part.dtype for name, part in x.items()} == {"a": torch.float64, "b": torch.int32}
    assert y.shape == (6, 2)
    whole = rows({"a": X, "b": LABELS}, step=lambda model, batch: model(batch["a"]).mean())
    assert whole.y == ()
    assert set(whole.x) == {"a", "b"}
    assert nested.count(whole) == 6
    assert nested.described(whole.x) == "{a: float64 (2,), b: int32 ()}"


def test_a_function_may_make_any_of_them():
    made = Problem(
        model=nn.Linear(2, 1),
        loss=nn.functional.mse_loss,
        data=lambda n, seed: pd.DataFrame({"a": np.full(n, seed), "b": 1.0, "y": 2.0}),
        target="y",
    ).rows(5, 3)
    assert made.x.tolist() == [[3.0, 1.0]] * 5
    assert made.y.tolist() == [[2.0]] * 5
    assert nested.count(made.heldout) == 2


class Endless(IterableDataset):
    def __iter__(self):
        yield X[0], X[0]


@pytest.mark.parametrize(
    ("data", "fields", "message"),
    [
        ((row for row in X), {}, "data is a generator, which does not say how many rows it has"),
        (DataLoader([1, 2]), {}, "data is a DataLoader: give what it loads, as data=loader.dataset"),
        (Endless(), {}, "data is a Endless, which does not say how many rows it has"),
        (FRAME, {}, r"data is a table of a, b, y: name the column to be predicted \(target=...\)"),
        (FRAME, {"target": "z"}, "data has no column 'z': it has a, b, y"),
        (FRAME.assign(city="x"), {"target": "y"}, "column 'city' holds .*: expected numbers; encode it"),
        (FRAME, {"target": "y", "features": ["a", "y"]}, "the target 'y' is among the features"),
        (FRAME[["y"]], {"target": "y"}, "data has no column beside 'y': expected one or more features"),
        ({"x": X, "y": LABELS}, {}, "data is a mapping of x, y: name the target"),
        ({"x": X, "y": LABELS}, {"target": "z"}, "data has no part 'z': it has x, y"),
        ((X, LABELS[:4]), {}, "data has 6 rows of features and 4 targets: give as many of each"),
        (((X, X[:2]), LABELS), {}, "data has parts of 2, 6 rows"),
        ((X, X, X), {}, "data is a tuple: expected tensors or arrays"),
        ("rows.csv", {}, "data is 'rows.csv': give what it holds, or mbbench.Files"),
        ((X, LABELS), {"target": "y"}, "features= and target= name columns, but data is a tuple"),
        ((X, LABELS), {"collate": list}, "collate puts items of a data set together, but data is a tuple"),
        ([], {}, "data is a list of no items"),
    ],
)
def test_what_is_no_data_is_refused_with_what_was_expected(data, fields, message):
    with pytest.raises(UsageError, match=message):
        rows(data, **fields)
