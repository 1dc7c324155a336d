"""Which cells a run is narrowed to: values as they are typed, against cells as they were collected."""

import pytest

from mbbench.axes import grid
from mbbench.case import UsageError
from mbbench.narrowing import kept

CELLS = grid("linear", n_samples=[100, 1000], batch_size=[8, 64, "full"], loader=["slice", "dataloader"], threads=[1, 2])


def ids(**asked: str) -> list[str]:
    chosen = kept(CELLS, {option.replace("_", "-"): text for option, text in asked.items()})
    return [str(cell) for cell in CELLS if cell in chosen]


def test_a_cell_is_kept_where_every_axis_has_one_of_its_values():
    assert ids() == [str(cell) for cell in CELLS]
    assert ids(batch_size="8, full", n="100", loader="slice", threads="2") == [
        "linear-n100-b8-slice-t2",
        "linear-n100-bfull-slice-t2",
    ]


def test_a_full_batch_is_named_by_its_rows_too():
    assert ids(batch_size="1000", loader="slice", threads="1") == ["linear-n1000-bfull-slice"]


def test_values_that_there_are_may_leave_no_cell():
    assert ids(batch_size="100", n="1000") == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"batch_size": "8,17"}, "--mb-batch-size is '17', but no collected cell has that: use of 8, 64, full"),
        ({"n": "ten"}, "--mb-n is 'ten', but no collected cell has that: use of 100, 1000"),
        ({"loader": ""}, "--mb-loader is '', but no collected cell has that: use of dataloader, slice"),
        ({"device": "cuda"}, "--mb-device is 'cuda', but no collected cell has that: use of cpu"),
    ],
)
def test_a_value_that_no_cell_has_is_a_slip_and_answered_with_what_there_is(asked, said):
    with pytest.raises(UsageError) as error:
        ids(**asked)
    assert str(error.value) == said
