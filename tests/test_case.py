import math
import re

import numpy as np
import pytest

from mbbench import Budget, Case, grid
from mbbench.axes import read_batch_size
from mbbench.case import Cell, UsageError, check_name

COMMON = {"problem": "linear", "n_samples": 100}


@pytest.mark.parametrize(
    ("fields", "came", "expected"),
    [
        ({"batch_size": 128}, "batch_size is 128, but the data set has 100 samples", 'use 100 or fewer, or "full"'),
        ({"batch_size": 0}, "batch_size is 0", 'use 1 or more, or "full"'),
        ({"batch_size": -1}, "batch_size is -1", 'use 1 or more, or "full"'),
        ({"batch_size": 2.5}, "batch_size is 2.5, a float", "expected a whole number"),
        ({"batch_size": True}, "batch_size is True, a bool", "expected a whole number"),
        ({"n_samples": 0}, "n_samples is 0", "expected a whole number from 1 up"),
        ({"n_samples": "100"}, "n_samples is '100', a str", "expected a whole number"),
        ({"n_samples": None}, "n_samples is None", "expected a whole number"),
        ({"threads": 0}, "threads is 0", "expected a whole number from 1 up"),
        ({"seed": -1}, "seed is -1", "expected a whole number from 0 up"),
        ({"batch_size": 8, "micro_batch": 16}, "micro_batch is 16", "expected 1 to the batch size, here 8"),
        ({"micro_batch": 101}, "micro_batch is 101", "expected 1 to the batch size, here 100"),
        ({"micro_batch": 0}, "micro_batch is 0", "expected 1 to the batch size"),
        ({"batch_size": 10, "micro_batch": 4}, "batch_size 10 is not a multiple of micro_batch 4", "use 8 or a divisor"),
        ({"lr": 0.0}, "lr is 0.0", "expected a finite learning rate above 0"),
        ({"lr": -0.1}, "lr is -0.1", "expected a finite learning rate above 0"),
        ({"lr": math.nan}, "lr is nan", "expected a finite learning rate above 0"),
        ({"lr": math.inf}, "lr is inf", "expected a finite learning rate above 0"),
        ({"lr": "0.1"}, "lr is '0.1'", "expected a finite learning rate above 0"),
        ({"problem": "lineer"}, "unknown problem 'lineer'", "did you mean 'linear'? expected one of notebook, linear,"),
        ({"problem": "nothing-like-it"}, "unknown problem 'nothing-like-it'", 'or your own as "my_model.py:problem"'),
        ({"problem": "linear-d0"}, "unknown problem 'linear-d0'", "expected one of"),
        ({"problem": "/home/me/model.py:problem"}, "problem is '/home/me/model.py:problem'", "give it relative"),
        ({"problem": r"C:\me\model.py:problem"}, "a record holds no absolute path", "give it relative"),
        ({"loader": "slize"}, "unknown loader 'slize'", "did you mean 'slice'? expected one of slice, gather"),
        ({"optimizer": "adamw"}, "unknown optimizer 'adamw'", "did you mean 'adam'? expected one of sgd, momentum, adam"),
        ({"dtype": "float8"}, "unknown dtype 'float8'", "expected one of float32, float64, bfloat16, float16"),
        ({"device": "CPU!"}, "unknown device 'CPU!'", 'expected "cpu", "cuda", "cuda:1", "mps" or "xpu"'),
        ({"options": (("row", "host"),)}, "unknown option 'row'", "did you mean 'rows'? expected one of rows"),
        ({"options": (("rows", "hots"),)}, "unknown value of option rows 'hots'", "expected one of device, host"),
        ({"options": (("rows", "device"),)}, "option rows is 'device', its default", "leave it out"),
        ({"options": (("rows", "host"), ("rows", "host"))}, "options are (('rows', 'host'),", "each name once"),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_bad_field_is_answered_with_what_came_and_what_was_expected(fields, came, expected):
    with pytest.raises(UsageError) as caught:
        Case(**(COMMON | fields))
    assert came in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_usage_error_is_a_value_error():
    assert issubclass(UsageError, ValueError)


def test_a_name_far_from_all_known_gets_no_guess():
    with pytest.raises(UsageError, match=r"^unknown loader 'xyz': expected one of slice, gather$"):
        check_name("loader", "xyz", ("slice", "gather"))


def test_a_case_can_be_changed_and_is_checked_again():
    case = Case(**COMMON, batch_size=10)
    assert case.on(seed=3) == Case(**COMMON, batch_size=10, seed=3)
    with pytest.raises(UsageError, match="batch_size is 101"):
        case.on(batch_size=101)


def test_a_case_is_frozen_and_a_key_of_a_dict():
    case = Case(**COMMON)
    with pytest.raises(AttributeError):
        case.seed = 1
    assert {case: 1}[Case(**COMMON)] == 1


@pytest.mark.parametrize(
    ("n", "size", "steps"),
    [(2000, 200, 10), (5, 2, 3), (5, 5, 1), (5, None, 1), (5, 1, 5), (1, 1, 1), (1797, 256, 8), (10**9, 3, 333_333_334)],
)
def test_an_epoch_has_n_over_batch_steps_rounded_up(n, size, steps):
    case = Case(problem="linear", n_samples=n, batch_size=size)
    assert case.steps_per_epoch == steps
    assert (steps - 1) * case.samples_per_step < n <= steps * case.samples_per_step


def test_the_full_batch_takes_all_samples_in_one_step():
    assert Case(**COMMON).samples_per_step == 100
    assert Case(**COMMON).steps_per_epoch == 1


def test_an_id_names_what_differs_from_the_default_and_nothing_else():
    assert str(Case(**COMMON)) == "linear-n100-bfull-slice"
    everything = Case(
        problem="mlp-w64",
        n_samples=100,
        batch_size=8,
        micro_batch=4,
        loader="gather",
        optimizer="adam",
        lr=0.001,
        device="cuda:1",
        dtype="bfloat16",
        threads=2,
        seed=7,
        shuffle=False,
        options=(("rows", "host"),),
    )
    assert str(everything) == "mlp-w64-n100-b8-gather-micro4-adam-lr0.001-cuda:1-bfloat16-t2-seed7-ordered-rows=host"


def test_every_field_shows_in_the_id():
    other = {
        "problem": "mlp",
        "n_samples": 64,
        "batch_size": 32,
        "micro_batch": 8,
        "loader": "gather",
        "optimizer": "adam",
        "lr": 0.5,
        "device": "cuda",
        "dtype": "float64",
        "threads": 2,
        "seed": 1,
        "shuffle": False,
        "options": (("rows", "host"),),
    }
    assert set(other) == set(Cell.__struct_fields__)
    ids = [str(Case(**COMMON)), *(str(Case(**(COMMON | {name: value}))) for name, value in other.items())]
    assert len(set(ids)) == len(ids)


def test_ids_of_a_large_grid_are_unique():
    cells = grid(
        ["linear", "mlp", "linear-d12", "models/net.py:problem", "models.net:problem"],
        n_samples=[12, 120],
        batch_size=[1, 12, 120, "full"],
        loader=["slice", "dataloader"],
        lr=[None, 1, 0.1, 1e-5],
        seed=[0, 1, 12],
        dtype=["float32", "float64"],
    )
    assert len({str(cell) for cell in cells}) == len(cells)


@pytest.mark.parametrize("name", ["models/net.py:problem", "a/b/c.py:make", r"models\net.py:problem"])
def test_an_id_is_never_a_path(name):
    assert not re.search(r"[\\/]", str(Case(problem=name, n_samples=8)))


def test_a_whole_learning_rate_is_named_as_json_gives_it_back():
    assert str(Case(**COMMON, lr=1)) == str(Case(**COMMON, lr=1.0)) == "linear-n100-bfull-slice-lr1.0"


def test_options_have_defaults_and_are_read_by_name():
    assert Case(**COMMON).option("rows") == "device"
    assert Case(**COMMON, options=(("rows", "host"),)).option("rows") == "host"


@pytest.mark.parametrize(("text", "size"), [("full", None), (None, None), ("32", 32), (32, 32), (" 8 ", 8)])
def test_a_batch_size_is_a_number_or_full(text, size):
    assert read_batch_size(text) == size


@pytest.mark.parametrize("text", ["half", "", "2.5", 2.5, "1e3", [1]])
def test_a_batch_size_that_is_neither_number_nor_full_is_refused(text):
    with pytest.raises(UsageError, match=r'^batch_size is .*: expected a whole number from 1 up, or "full"$'):
        read_batch_size(text)


def test_a_grid_is_every_combination_in_the_order_of_its_axes():
    cells = grid("linear", n_samples=[50, 100], batch_size=[10, "full"], loader=["slice", "gather"])
    assert [(c.n_samples, c.batch_size, c.loader) for c in cells] == [
        (n, size, loader) for n in (50, 100) for size in (10, None) for loader in ("slice", "gather")
    ]
    assert all(isinstance(cell, Case) for cell in cells)


def test_a_batch_of_all_samples_becomes_the_full_batch_and_is_measured_once():
    assert grid("linear", n_samples=100, batch_size=[100, "full", None]) == [Case(**COMMON)]


def test_the_same_value_twice_is_measured_once():
    assert len(grid(["linear", "linear"], n_samples=[100, 100], batch_size=[10, "10", 10])) == 1


def test_a_batch_larger_than_the_data_set_stays_in_the_grid_as_a_plain_cell():
    cells = grid("linear", n_samples=[50, 200], batch_size=[100])
    assert [type(cell) for cell in cells] == [Cell, Case]
    assert [cell.applicable for cell in cells] == [False, True]


def test_a_grid_of_which_no_cell_can_be_run_is_refused():
    with pytest.raises(UsageError, match="batch_size is 200, but the data set has 100 samples: use 100 or fewer"):
        grid("linear", n_samples=[50, 100], batch_size=[200, 400])


@pytest.mark.parametrize("axis", ["problem", "n_samples", "batch_size", "loader", "lr"])
def test_an_empty_axis_is_refused_by_its_name(axis):
    with pytest.raises(UsageError, match=f"axis {axis} is empty: give at least one value"):
        grid(**({"problem": "linear", "n_samples": 100} | {axis: []}))


def test_an_unknown_axis_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"unknown axis 'batchsize': did you mean 'batch_size'\?"):
        grid("linear", n_samples=100, batchsize=[1])


def test_a_bad_value_in_a_cell_that_cannot_be_run_is_refused_all_the_same():
    with pytest.raises(UsageError, match="unknown loader"):
        grid("linear", n_samples=[50, 200], batch_size=100, loader="slize")


def test_options_of_a_grid_are_sorted_and_defaults_left_out():
    assert grid("linear", n_samples=100, options={"rows": "device"}) == grid("linear", n_samples=100)
    assert grid("linear", n_samples=100, options={"rows": "host"})[0].options == (("rows", "host"),)
    with pytest.raises(UsageError, match="unknown option 'colour'"):
        grid("linear", n_samples=100, options={"colour": "red"})


def test_numbers_of_numpy_become_plain_numbers():
    sizes = np.logspace(1, 2, 2).astype(int)
    cells = grid("linear", n_samples=np.int64(1000), batch_size=sizes, lr=np.array([0.5]))
    assert [str(cell) for cell in cells] == ["linear-n1000-b10-slice-lr0.5", "linear-n1000-b100-slice-lr0.5"]
    assert all(type(cell.batch_size) is int and type(cell.lr) is float for cell in cells)


def test_a_budget_without_a_limit_is_refused():
    with pytest.raises(UsageError, match="a budget without a limit never ends: give one of target_loss, max_epochs"):
        Budget()


@pytest.mark.parametrize("name", ["max_epochs", "max_steps", "max_seconds"])
@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_above_zero(name, limit):
    with pytest.raises(UsageError, match=f"{name} is {limit}: a limit is above 0"):
        Budget(**{name: limit})


@pytest.mark.parametrize("name", ["max_epochs", "max_steps"])
def test_a_limit_in_whole_things_is_a_whole_number(name):
    with pytest.raises(UsageError, match=rf"{name} is 2\.5, a float: expected a whole number"):
        Budget(**{name: 2.5})


@pytest.mark.parametrize("limit", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["max_seconds", "target_loss"])
def test_a_limit_is_finite_since_json_has_no_other_numbers(name, limit):
    with pytest.raises(UsageError, match=f"{name} is {limit}: a limit is a finite number"):
        Budget(**{name: limit})


def test_a_target_loss_may_be_zero_or_below():
    assert Budget(target_loss=-2.5).target_loss == -2.5
    assert Budget(target_loss=0).target_loss == 0


def test_a_cell_from_a_file_equals_the_case_that_was_measured():
    measured = Case(problem="linear", n_samples=100, batch_size=10)
    read = Cell(**{name: getattr(measured, name) for name in Cell.__struct_fields__})
    assert (read == measured, measured == read, hash(read) == hash(measured)) == (True, True, True)
    assert {read: 1}[measured] == 1
    assert read != measured.on(seed=1)
    assert read != "linear"
