"""Rows of a CSV file: numbers by the names of their columns, and where it holds something else, the line that does."""

import pytest
import torch

from mbbench.case import UsageError
from mbbench.measuring.files import Files


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(text, **fields):
        (tmp_path / "rows.csv").write_text(text)
        return Files("rows.csv", **({"target": "y"} | fields))

    return written


@pytest.mark.parametrize("comma", [",", ";", "\t"])
def test_columns_are_found_by_name_and_whole_numbers_are_labels(file, comma):
    rows = file('a,"b",y\n1,2.5,0\n3,4e0,1\n'.replace(",", comma))
    x, y = rows.read(0, 2)
    assert x.tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert (y.tolist(), y.dtype) == ([0, 1], torch.int64)
    assert len(rows) == 2


def test_a_target_with_a_fraction_is_a_column_of_floats(file):
    assert file("y,a\n1,2\n1.5,3\n").read(1, 2)[1].tolist() == [[1.5]]
    assert file("y,a,b\n1,2,x\n1.5,3,y\n", features=["a"]).read(0, 2)[0].tolist() == [[2.0], [3.0]]


def test_whole_numbers_are_a_column_of_floats_where_the_target_is_named_in_a_list(file):
    rows = file("a,y\n1,200\n2,300\n", target=["y"])
    assert rows.read(0, 2)[1].tolist() == [[200.0], [300.0]]
    assert len(file('"a,b", y\n1,2\n')) == 1
    with pytest.raises(UsageError, match="the target 'y' is among the features"):
        file("a,y\n1,200\n", features=["a", "y"])
    with pytest.raises(UsageError, match=r"target is \['y', 'a'\]: expected one column"):
        file("a,y\n1,200\n", target=["y", "a"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,y\n1,2\n,3\n", "rows.csv: line 3 has '' in column 'a': expected a number; fill or encode it"),
        ("a,y\n1,2\nred,3\n", "line 3 has 'red' in column 'a'"),
        ("a,y\n1,2\n1,2,3\n", "rows.csv: line 3 has 3 values, the line of names has 2"),
        ("a,y\n1,2\n1\n", "line 3 has 1 values"),
        ("a,b\n1,2\n", "rows.csv has no column 'y': it has a, b"),
        ("a,b,a,y\n1,2,3,4\n", "rows.csv has 2 columns 'a': give each a name of its own"),
        ("a;y\n1,5;2\n", "line 2 has '1,5' in column 'a': write decimals with a point"),
        ("", "rows.csv is empty: expected a line of names"),
        ("y\n1\n", "rows.csv has no column beside 'y'"),
        ("a,y\n", "rows.csv holds no rows below its line of names a, y"),
    ],
)
def test_what_is_no_number_is_named_with_its_line(file, text, message):
    with pytest.raises(UsageError, match=message):
        file(text)
