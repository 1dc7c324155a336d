"""Problems: real rows as scikit-learn gives them, planted ones as planted, users' own found by name or refused clearly."""

import numpy as np
import pytest
import torch
from sklearn import datasets
from torch import nn
from torch.nn import functional

from mbbench import case as names
from mbbench.case import UsageError
from mbbench.measuring import builtin
from mbbench.measuring.problems import Problem, resolve

X, Y = torch.arange(20.0).reshape(10, 2), torch.arange(10.0).reshape(10, 1)


def problem(**fields) -> Problem:
    return Problem(**{"model": lambda: nn.Linear(2, 1), "loss": functional.mse_loss, "data": (X, Y)} | fields)


def standardised(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


def test_digits_are_scikit_learns_digits_over_sixteen():
    x, y = resolve("digits-softmax")[0].data
    real = datasets.load_digits()
    assert np.array_equal(x.numpy(), (real.data / 16).astype("float32"))
    assert np.array_equal(y.numpy(), real.target)


def test_diabetes_is_scikit_learns_diabetes_standardised():
    x, y = resolve("diabetes")[0].data
    real = datasets.load_diabetes(scaled=False)
    assert x.numpy() == pytest.approx(standardised(real.data), abs=1e-5)
    assert y.numpy()[:, 0] == pytest.approx(standardised(real.target), abs=1e-5)


def test_breast_cancer_is_scikit_learns_breast_cancer_standardised():
    x, y = resolve("breast-cancer")[0].data
    real = datasets.load_breast_cancer()
    assert x.numpy() == pytest.approx(standardised(real.data), abs=1e-5)
    assert np.array_equal(y.numpy()[:, 0], real.target)


@pytest.mark.parametrize(("d", "n"), [(32, 100), (5, 1000), (1, 10), (8, 8)])
def test_linear_has_the_planted_hessian_and_optimum(d, n):
    planted = builtin.linear(d)
    rows = planted.rows(n, seed=3)
    x, y = rows.x.double(), rows.y.double()
    eigenvalues = torch.linalg.eigvalsh(2 * x.T @ x / n)
    assert (float(eigenvalues[0]), float(eigenvalues[-1])) == pytest.approx(planted.curvature, rel=1e-5)
    best = torch.linalg.lstsq(x, y).solution
    least = float((x @ best - y).square().mean())
    assert least == pytest.approx(planted.optimum_loss if n > d else 0.0, rel=1e-5, abs=1e-9)


def test_sizes_are_chosen_by_name():
    assert resolve("linear-d7")[0].rows(10, 0).x.shape == (10, 7)
    assert resolve("mlp-w16")[0].start(0)[0].weight.shape == (16, 64)


def test_linear_needs_as_many_rows_as_features():
    with pytest.raises(UsageError, match="n is 5, but linear has 32 features"):
        resolve("linear")[0].rows(5, 0)


@pytest.mark.parametrize("name", names.PROBLEMS)
def test_every_built_in_problem_makes_the_same_rows_and_start_from_the_same_seed_and_can_be_trained(name):
    found = resolve(name)[0]
    n = min(found.default_samples, 200)
    one, two = found.rows(n, 5), found.rows(n, 5)
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.y, two.y)
    assert len(one.x) == len(one.y) == n
    for a, b in zip(found.start(5).parameters(), found.start(5).parameters(), strict=True):
        assert torch.equal(a, b)
    loss = found.loss(found.start(5)(one.x), one.y)
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(loss)


def test_making_a_model_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    problem().start(7)
    assert torch.rand(1) == expected


def test_held_out_rows_are_never_trained_on():
    rows = problem().rows(8, seed=1)
    trained = {tuple(row) for row in rows.x.tolist()}
    held = {tuple(row) for row in rows.heldout[0].tolist()}
    assert len(trained) == 8
    assert len(held) == 2
    assert not trained & held


def test_all_rows_train_in_their_stored_order_where_all_are_asked_for():
    rows = problem().rows(10, seed=1)
    assert torch.equal(rows.x, X)
    assert rows.heldout is None


def test_rows_keep_their_targets():
    rows = problem().rows(6, seed=2)
    assert torch.equal(rows.x[:, 0] / 2, rows.y[:, 0])


def test_a_data_function_makes_the_held_out_rows_too():
    made = problem(data=lambda n, seed: (torch.full((n, 2), float(seed)), torch.zeros(n, 1)))
    rows = made.rows(100, seed=4)
    assert len(rows.x) == 100
    assert len(rows.heldout[0]) == 21
    assert float(rows.x[0, 0]) == 4.0


def test_a_module_starts_every_run_from_its_own_parameters():
    module = nn.Linear(2, 1)
    one = problem(model=module).start(0)
    assert torch.equal(one.weight, module.weight)
    assert one is not module


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": 3}, "model is a int: give a torch module"),
        ({"loss": "mse"}, "loss is a str: give a function"),
        ({"data": (X, Y[:5])}, "data has 10 rows of features and 5 targets"),
        ({"data": X.numpy()}, "data is a ndarray: expected tensors or arrays"),
        ({"held_out": 1.0}, "held_out is 1.0: expected a share"),
        ({"weight": 2.0}, "weight is a float: give a function"),
    ],
)
def test_a_problem_that_cannot_be_is_refused_with_what_was_expected(fields, message):
    with pytest.raises(UsageError, match=message):
        problem(**fields)


def test_a_sample_is_the_first_rows_of_what_is_given_or_would_be_made():
    x, y = problem().sample(3, seed=1)
    assert torch.equal(x, X[:3])
    assert torch.equal(y, Y[:3])
    assert len(problem().sample(30, seed=1)[0]) == 10
    asked = []

    def made(n, seed):
        asked.append((n, seed))
        return torch.full((n, 2), float(seed)), torch.zeros(n, 1)

    assert problem(data=made).sample(3, seed=4)[0].tolist() == [[4.0, 4.0]] * 3
    assert len(problem(data=made, n_samples=10**9).sample(2000, seed=4)[0]) == 2000
    assert asked == [(1000, 4), (2000, 4)]


def test_a_sample_of_a_function_that_refuses_few_rows_is_cut_from_its_own_number():
    assert resolve("linear-d1001")[0].sample(2, 0)[0].shape == (2, 1001)


def test_more_rows_than_there_are_is_refused():
    with pytest.raises(UsageError, match="n is 11, but the data set has 10 samples"):
        problem().rows(11, 0)


def test_a_data_function_that_returns_other_rows_than_asked_for_is_refused():
    with pytest.raises(UsageError, match="returned 3 rows"):
        problem(data=lambda n, seed: (X[:3], Y[:3])).rows(5, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits-mpl", "unknown problem 'digits-mpl': did you mean 'digits-mlp'"),
        ("nowhere.py:problem", "there is no file nowhere.py"),
        ("no_such_module:problem", "there is no module 'no_such_module'"),
        ("torch.nn:nothing_here", "has no attribute 'nothing_here'"),
        ("math:pi", "is a float: expected a mbbench.Problem"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_with_what_to_do(name, message):
    with pytest.raises(UsageError, match=message):
        resolve(name)


def test_a_file_of_ones_own_is_found_with_its_neighbours_and_its_hash_follows_its_text(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "neighbour_of_mine.py").write_text("WIDTH = 4\n")
    text = (
        "import torch, mbbench\nfrom neighbour_of_mine import WIDTH\n"
        "problem = mbbench.Problem(model=lambda: torch.nn.Linear(WIDTH, 1), loss=torch.nn.functional.mse_loss,\n"
        "    data=(torch.zeros(9, WIDTH), torch.zeros(9, 1)))\n"
        "def made(): return problem\n"
    )
    file = tmp_path / "mine_to_test.py"
    file.write_text(text)
    found, source = resolve("mine_to_test.py:problem", f"{file}:problem")
    assert found.most_samples == 9
    assert resolve("mine_to_test.py:made", f"{file}:made")[0].most_samples == 9
    file.write_text(text + "\n")
    assert resolve("mine_to_test.py:problem", f"{file}:problem")[1] != source
