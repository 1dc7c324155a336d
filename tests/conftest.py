"""What the tests share: one thread in the test process, workers, a report in a browser."""

import gc
import os
import shutil
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Tests may run on several processes, but the pytest that a test starts is one of its own.
os.environ.pop("PYTEST_XDIST_WORKER", None)


def clean_environment() -> dict[str, str]:
    """Return the environment variables without those that lead back to the source tree or to this environment."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


# What is imported stays: looked through once in a while as it comes, it takes 2 s of the 7 of collecting the tests.
gc.disable()


def pytest_collection_finish():
    """Pass over what was imported in every later garbage collection: 0.2 s each otherwise."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two threads of this process and two of a worker on two cores wait for each other: up to 74 ms a step of 0.3 ms."""
    import torch

    torch.set_num_threads(1)
    # A shell that runs the tests in the background has Ctrl-C ignored, and what a test starts would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def measure():
    """Return a function that measures one case of a problem in a Python file in a worker, and returns its Measurement."""
    from mbbench.measuring import inquiring, jobs, session

    def in_a_worker(file, name, case, kind="memory", results=None, refuse=True, timeout_s=60.0, **budget):
        relative = Path(file).name
        place = jobs.Place(f"{file}:{name}")
        case = case.on(problem=f"{relative}:{name}")
        facts = inquiring.describe(case.problem, place)
        assert facts.error is None, facts.error
        begun = session.begin({case.problem: facts}, results, timeout_s, refuse=refuse)
        begun.predicted.update(inquiring.predict(case.problem, place, [case], timeout_s))
        made = jobs.make_jobs([case], place, kinds=[kind], repeats=1, seeds=1, seconds=0.05, **budget)
        return session.execute(begun, made)[0].measurement

    return in_a_worker


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """Build a report with every kind of frame, two settings and failures; return its file."""
    import synthetic as s
    import targeted as t

    from mbbench.reporting import page

    cells = [s.case(32), s.case(512), s.case(None)]
    records = [*t.everything(), *s.suite(), *(s.memory_record(cell, limit_bytes=2**26) for cell in cells)]
    records.append(s.failure(s.case(4096), "oom", "needs 3.1 GiB, 2.0 GiB allowed"))
    path = tmp_path_factory.mktemp("page") / "index.html"
    page.build(records, path, figures=False)
    return path


@pytest.fixture(scope="session")
def browser():
    """Start Chromium, where there is one."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make venv")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: make chromium")
    with api.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def tab(browser):
    """Open the one tab that most tests use; it keeps what it complained about and asked for."""
    opened = browser.new_page()
    opened.set_default_timeout(5000)
    opened.complaints, opened.requests = [], []
    opened.on("console", lambda message: opened.complaints.append(message.text) if message.type != "log" else None)
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("request", lambda request: opened.requests.append(request.url))
    return opened


@pytest.fixture
def visit(tab, report):
    """Return a function that opens a page anew; what it opens may neither complain nor ask for anything but itself."""
    tab.complaints.clear()

    def go(address="", width=1100, path=report, scheme="light", media="screen"):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(media=media, color_scheme=scheme)
        tab.goto("about:blank")
        tab.requests.clear()
        tab.goto(path.as_uri() + address)
        return tab

    yield go
    assert tab.complaints == []
    assert [url.partition("#")[0] for url in tab.requests if not url.startswith("blob:")] == [tab.url.partition("#")[0]]
