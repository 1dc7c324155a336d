"""What the tests share: one thread in the test process, and the empty environment of test_package, made meanwhile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Tests may run on several processes, but the pytest that a test starts is one of its own.
os.environ.pop("PYTEST_XDIST_WORKER", None)


def clean_environment() -> dict[str, str]:
    """Return the environment variables without those that lead back to the source tree or to this environment."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def pytest_collection_modifyitems(items):
    """Put what waits for the installation last."""
    items.sort(key=lambda item: "installed" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two threads of this process and two of a worker on two cores wait for each other: up to 74 ms a step of 0.3 ms."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def measure():
    """Return a function that measures one case of a problem in a Python file in a worker, and returns its Measurement."""
    from mbbench.measuring import jobs, session

    def in_a_worker(file, name, case, kind="memory", results=None, refuse=True, timeout_s=60.0, **budget):
        relative = Path(file).name
        place = jobs.Place(f"{file}:{name}")
        case = case.on(problem=f"{relative}:{name}")
        facts = session.describe(case.problem, place)
        assert facts.error is None, facts.error
        begun = session.begin({case.problem: facts}, results, timeout_s, refuse=refuse)
        begun.predicted.update(session.predict(case.problem, place, [case], timeout_s))
        made = jobs.make_jobs([case], place, kinds=[kind], repeats=1, seeds=1, seconds=0.05, **budget)
        return session.execute(begun, made)[0].measurement

    return in_a_worker


@pytest.fixture(scope="session", autouse=True)
def installing(request, tmp_path_factory):
    """Build the wheel and install it into an empty environment, in the background: a minute that other tests can use.

    Returns the folder, which holds the wheel and `env`, and the process that makes it; None where no test asks for it.
    """
    if not any("installed" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    folder = tmp_path_factory.mktemp("package")
    pip = f"'{sys.executable}' -m pip"
    # --no-compile: half a minute of byte-compiling torch, for one use.
    script = f"""set -e
    {pip} wheel --quiet --no-deps --wheel-dir . '{ROOT}'
    '{sys.executable}' -m venv --without-pip env
    {pip} --python env/bin/python install --quiet --no-compile --constraint '{ROOT}/constraints.txt' mbbench-*.whl
    """
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["sh", "-c", script], cwd=folder, env=clean_environment(), stdout=log, stderr=log)
    yield folder, process
    process.kill()
    process.wait()
