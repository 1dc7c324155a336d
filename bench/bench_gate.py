"""Can the gate be believed? False alarms on identical code and power on real slowdowns, ours beside its peers.

Not a test, and not quick; one command each, in any order, each appending to files in docs/gate/:

    python bench/bench_gate.py record --minutes 60 [--load 1]   blocks of a known base and head, once and for all
    python bench/bench_gate.py live --runs 20                   whole runs of `mbbench compare`, as a user starts them
    python bench/bench_gate.py peers --runs 10                  pytest-benchmark, pyperf and asv on the same commits
    python bench/bench_gate.py judge                            the tables of docs/gate.md from all of these

The base and head differ by 0, 2, 5 and 10 % in three kinds of work (see `gate_subject`). `judge` puts recorded blocks
together to whole comparisons: of blocks that followed each other, since noise comes in stretches, and of blocks drawn at
random. Intervals are Clopper and Pearson's on what shares no block: comparisons of other blocks, live runs. Run nothing
beside it but what --label says. pyperf and asv are not dependencies: `pip install pyperf asv`.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gate_subject
from gate_subject import KINDS, LEVELS
from scipy.stats import binomtest

from mbbench.comparing import trees
from mbbench.comparing.blocks import CLOCKS, effects, turns
from mbbench.comparing.children import Side, Zygote
from mbbench.comparing.comparison import CONFIRMING
from mbbench.comparing.course import BLOCKS_A_ZYGOTE
from mbbench.reporting import gate

FOLDER = Path("docs/gate")
TESTS = {f"bench/test_work.py::test_work[{kind}-{level}]": (kind, level) for kind in KINDS for level in LEVELS}
BURN = """
import random, time
while True:
    until = time.time() + random.expovariate(1)
    while time.time() < until:
        pass
    time.sleep(random.expovariate(1))
"""
"""A neighbour: works and rests, a second of each on average."""
BLOCKS = gate.LOOKS[-1] + CONFIRMING
DRAWS = 60
"""Of each kind and run: 2 minutes in all."""
ALL = "all of these"
OLDER = "tests and tools beside, cores not shared"
"""The label of what was recorded before the sides of a block shared their cores: another comparison than today's."""
PEERS = ("pytest-benchmark", "asv", "pyperf")


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "live", "peers", "judge"])
    parser.add_argument("--minutes", type=float, default=60.0, help="of recording")
    parser.add_argument("--runs", type=int, default=20, help="of live, of peers")
    parser.add_argument("--load", type=int, default=0, help="neighbours that work and rest meanwhile")
    parser.add_argument("--label", help="what ran beside; default: quiet, or so many neighbours")
    parser.add_argument("--levels", type=int, nargs="*", default=LEVELS, help="these slowdowns alone, in percent")
    parser.add_argument("--time", default="140", help="of live: --time for each benchmark, in seconds")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="of peers: these alone")
    asked = parser.parse_args()
    label = asked.label or (f"{asked.load} neighbours" if asked.load else "quiet")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ExitStack() as ends:
        for _ in range(asked.load):
            ends.callback(subprocess.Popen([sys.executable, "-c", BURN]).kill)
        if asked.what == "judge":
            judge()
            return
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="gate-subject-")))
        subject = gate_subject.make(folder / "subject", _amounts())
        if asked.what == "record":
            record(subject, asked.minutes * 60, asked.levels, label)
        elif asked.what == "live":
            live(subject, asked.runs, asked.levels, float(asked.time), label)
        else:
            peers(subject, asked.runs, asked.peers)


def _amounts() -> dict[str, int]:
    """Return how much more head does, found once on this machine and kept beside the data."""
    path = FOLDER / "amounts.json"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            path.write_text(json.dumps(gate_subject.calibrate(gate_subject.make(Path(folder), {})), indent=2) + "\n")
    found: dict[str, int] = json.loads(path.read_text())
    return found


def _append(name: str, **words: Any) -> None:
    with (FOLDER / name).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **words}) + "\n")


def _lines(name: str) -> list[dict[str, Any]]:
    path = FOLDER / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# ---- what is recorded


def record(subject: Path, seconds: float, levels: Sequence[int], label: str) -> None:
    """Run blocks of benchmarks, as a comparison does, and keep each block's effect on both clocks."""
    tests = [test for test, (_, level) in TESTS.items() if level in levels]
    until, number, run = time.monotonic() + seconds, 0, f"{time.time():.0f}"
    with trees.trees("base", "main", "bench", subject) as both:
        sides = [Side("base", both.base, both.head), Side("head", both.head, both.base)]
        while time.monotonic() < until:
            with Zygote(["bench"]) as zygote:
                for _ in range(BLOCKS_A_ZYGOTE):
                    keep = {"base": tests, "head": tests}
                    block = zygote.run(sides, keep, "time", turns(random.Random(number)), number)
                    seen = {test: effects([block], test) for test in tests}
                    told = {
                        "-".join(map(str, TESTS[test])): [round(values[clock][0], 6) for clock in values]
                        for test, values in seen.items()
                    }
                    _append("blocks.jsonl", run=run, label=label, cores=os.cpu_count(), effects=told)
                    number += 1
                    print(f"block {number}", end="\r", flush=True)


def live(subject: Path, runs: int, levels: Sequence[int], seconds: float, label: str) -> None:
    """Start `mbbench compare` on both commits, one level in a run, and keep what it said of each kind."""
    for _, level in itertools.product(range(runs), levels):
        words = ["base", "main", "-k", f"-{level}]", "--metric", "time", "--time", str(seconds * len(KINDS)), "--json"]
        began = time.monotonic()
        run = [sys.executable, "-m", "mbbench", "compare", *words]
        done = subprocess.run(run, cwd=subject, capture_output=True, text=True, check=False)
        if not done.stdout.startswith("{"):
            raise SystemExit(f"compare said {done.returncode}: {done.stderr[-500:]}")
        said = json.loads(done.stdout)
        found = {row["name"].partition("[")[2][:-1]: [row["verdict"], row["ratio"], row["n"]] for row in said["benchmarks"]}
        told = {"verdict": said["verdict"], "code": done.returncode, "blocks": said["blocks"], "found": found}
        _append("live.jsonl", level=level, label=label, seconds=round(time.monotonic() - began, 1), **told)
        print(level, told, flush=True)


# ---- peers


def peers(subject: Path, runs: int, some: Sequence[str]) -> None:
    """Let each peer measure base and then head, as its handbook says, and keep whether it called a benchmark slower."""
    sides = {name: subject.parent / name for name in ("base", "head")}
    for name, branch in (("base", "base"), ("head", "main")):
        gate_subject.git(subject, "worktree", "add", "--quiet", "--detach", str(sides[name]), branch)
    measure = dict(zip(PEERS, (_pytest_benchmark, _asv, _pyperf), strict=True))
    for _, peer in itertools.product(range(runs), some):
        began = time.monotonic()
        for rule, slower in measure[peer](sides).items():
            _append("peers.jsonl", rule=rule, seconds=round(time.monotonic() - began, 1), slower=slower)
            print(rule, slower, flush=True)


def _pytest_benchmark(sides: dict[str, Path]) -> dict[str, dict[str, bool]]:
    """--benchmark-compare-fail=min:5% and median:5%, by the figures that it compares."""
    stats = {}
    for name, tree in sides.items():
        out = tree / "out.json"
        words = ["-m", "pytest", "bench", "-q", "--benchmark-only", "-p", "no:cacheprovider", f"--benchmark-json={out}"]
        _run([sys.executable, *words], tree, PYTHONPATH=str(tree / "src"))
        benchmarks = json.loads(out.read_text())["benchmarks"]
        stats[name] = {each["params"]["kind"] + f"-{each['params']['level']}": each["stats"] for each in benchmarks}
    return {
        f"pytest-benchmark {field}:5%": {
            test: stats["head"][test][field] > 1.05 * stats["base"][test][field] for test in stats["base"]
        }
        for field in ("min", "median")
    }


def _asv(sides: dict[str, Path]) -> dict[str, dict[str, bool]]:
    """Its own benchmarks of the same work, `asv run` in either tree, `asv compare --factor 1.05`.

    With the samples kept, as `asv continuous` has it, which cannot run in the environment that is there.
    """
    folder = sides["base"].parent / "asv"
    (folder / "benchmarks").mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks/__init__.py").touch()
    (folder / "benchmarks/work.py").write_text(
        "from toy import Work\nclass TimeWork:\n"
        f"    params = ({KINDS!r}, {LEVELS!r})\n    param_names = ('kind', 'level')\n"
        "    def setup(self, kind, level):\n        self.work = Work(kind, level)\n"
        "    def time_work(self, kind, level):\n        self.work()\n"
    )
    settings = {"version": 1, "project": "toy", "repo": str(sides["base"].parent / "subject"), "branches": ["main"]}
    settings |= {"environment_type": "existing", "results_dir": str(folder / "results")}
    (folder / "asv.conf.json").write_text(json.dumps(settings))
    shutil.rmtree(folder / "results", ignore_errors=True)
    _run(["asv", "machine", "--yes"], folder)
    commits = {name: gate_subject.git(tree, "rev-parse", "HEAD").strip() for name, tree in sides.items()}
    for name, tree in sides.items():
        words = ["run", "-E", f"existing:{sys.executable}", "--record-samples", "--set-commit-hash", commits[name]]
        _run(["asv", *words], folder, ASV_PYTHONPATH=str(tree / "src"))
    said = _run(["asv", "compare", "--factor", "1.05", commits["base"], commits["head"]], folder)
    # A line that begins with "+" is one that it calls significantly slower.
    slower = [line for line in said.splitlines() if line.startswith("| +")]
    return {
        "asv compare": {
            f"{kind}-{level}": any(f"('{kind}', {level})" in line or f"({kind!r}, {level})" in line for line in slower)
            for kind in KINDS
            for level in LEVELS
        }
    }


def _pyperf(sides: dict[str, Path]) -> dict[str, dict[str, bool]]:
    """10 processes a benchmark and side, half of its default for the sake of time; its own test of significance."""
    script = sides["base"].parent / "run_pyperf.py"
    script.write_text(
        "import pyperf\nfrom toy import Work\n"
        "runner = pyperf.Runner(processes=10)\nrunner.metadata['toy'] = 'toy'\n"
        f"for kind in {KINDS!r}:\n    for level in (0, 5, 10):\n"
        "        runner.bench_func(f'{kind}-{level}', Work(kind, level))\n"
    )
    for tree in sides.values():
        out = tree / "pyperf.json"
        out.unlink(missing_ok=True)
        words = ["-o", str(out), "--inherit-environ", "PYTHONPATH,OMP_NUM_THREADS", "--quiet"]
        _run([sys.executable, str(script), *words], tree, PYTHONPATH=str(tree / "src"))
    paths = [str(tree / "pyperf.json") for tree in sides.values()]
    said = _run([sys.executable, "-m", "pyperf", "compare_to", *paths, "-v"], sides["base"])
    found, test = {}, ""
    for line in said.splitlines():
        if line.strip("= ") in {f"{kind}-{level}" for kind in KINDS for level in (0, 5, 10)}:
            test = line.strip("= ")
        if "Mean +- std dev" in line and test:
            found[test] = "slower" in line
        elif "Not significant" in line and test:
            found[test] = False
    return {"pyperf compare_to": found}


def _run(words: list[str], folder: Path, **environment: str) -> str:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}  # as `mbbench compare`: torch would take all cores
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-500:]}\n{done.stderr[-500:]}")
    return done.stdout


# ---- what follows


def judge() -> None:
    """Print the tables: recorded blocks put together, live runs, peers."""
    blocks = _lines("blocks.jsonl")
    print(f"{len(blocks)} recorded blocks; head does more: {json.dumps(_amounts())}\n")
    print("| recorded | level | in a row: slower | of which share no block | 95 % | drawn at random | median effect |")
    print("|---|---|---|---|---|---|---|")
    for label in [*dict.fromkeys(block["label"] for block in blocks), ALL]:
        for level in LEVELS:
            _say_recorded([block for block in blocks if _under(block, label)], label, level)
    print("\n| live | level | benchmarks slower | 95 % | runs red | 95 % | s a benchmark |")
    print("|---|---|---|---|---|---|---|")
    runs = _lines("live.jsonl")
    for label, level in itertools.product([*dict.fromkeys(run["label"] for run in runs), ALL], LEVELS):
        some = [run for run in runs if _under(run, label) and run["level"] == level]
        if not some:
            continue
        verdicts = [verdict for run in some for verdict, _, _ in run["found"].values()]
        red = sum(run["code"] == 1 for run in some)
        each_s = statistics.median(run["seconds"] / max(1, len(run["found"])) for run in some)
        cells = [label, f"{level} %", _share(verdicts.count("slower"), len(verdicts)), _share(red, len(some))]
        print(f"| {' | '.join(cells)} | {each_s:.0f} |")
    print("\n| peer | level | called slower | 95 % | s a run |")
    print("|---|---|---|---|---|")
    told = _lines("peers.jsonl")
    for rule in dict.fromkeys(each["rule"] for each in told):
        for level in LEVELS:
            calls = [call for each in told if each["rule"] == rule for call in _of_level(each["slower"], level)]
            seconds = statistics.median(each["seconds"] for each in told if each["rule"] == rule)
            if calls:
                print(f"| {rule} | {level} % | {_share(sum(calls), len(calls))} | {seconds:.0f} |")


def _under(line: dict[str, Any], label: str) -> bool:
    return line["label"] == label or (label == ALL and line["label"] != OLDER)


def _say_recorded(blocks: Sequence[dict[str, Any]], label: str, level: int) -> None:
    tried, apart, drawn, walls = [], [], [], []
    generator = random.Random(level)
    for kind, run in itertools.product(KINDS, dict.fromkeys(block["run"] for block in blocks)):
        name = f"{kind}-{level}"
        several = [block["effects"][name] for block in blocks if block["run"] == run and name in block["effects"]]
        walls += [wall for wall, _ in several]
        free = 0
        for start in range(len(several)):
            verdict, used = _compared(several[start:])
            if start + used > len(several):
                continue  # it would have gone on
            tried.append(verdict)
            if start >= free:
                apart.append(verdict)
                free = start + used
        if several:
            drawn += [_compared(generator.choices(several, k=BLOCKS))[0] for _ in range(DRAWS)]
    if tried:
        row = f"{tried.count('slower')} of {len(tried)}"
        random_share = f"{100 * drawn.count('slower') / len(drawn):.2f} %"
        cells = [label, f"{level} %", row, _share(apart.count("slower"), len(apart)), random_share]
        print(f"| {' | '.join(cells)} | {100 * statistics.median(walls):+.2f} % |")


def _compared(several: Sequence[Sequence[float]]) -> tuple[str, int]:
    """Return the verdict of a whole comparison of one benchmark with these blocks in this order, and how many it took."""
    clocks = {clock: [each[place] for each in several] for place, clock in enumerate(CLOCKS)}
    used = 0

    def blocks(tests: Sequence[str], count: int) -> dict[str, gate.Effects]:
        nonlocal used
        used = count
        return {"it": {clock: values[:count] for clock, values in clocks.items()}}

    flag = next((flags["it"] for flags in gate.screening(["it"], blocks) if flags), None)
    needed = used + (CONFIRMING if flag else 0)
    if needed > len(several):
        return "", needed
    screened = {clock: values[:used] for clock, values in clocks.items()}
    again = {clock: values[used : used + CONFIRMING] for clock, values in clocks.items()}
    return gate.change(screened, flag, again if flag else None).verdict, needed


def _of_level(slower: dict[str, bool], level: int) -> Iterator[bool]:
    return (call for test, call in slower.items() if test.rpartition("-")[2] == str(level))


def _share(count: int, of: int) -> str:
    low, high = binomtest(count, of).proportion_ci(method="exact")  # Clopper and Pearson 1934, Biometrika 26
    return f"{count} of {of} | {100 * low:.1f} to {100 * high:.1f} %"


if __name__ == "__main__":
    main()
