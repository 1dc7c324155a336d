"""A stranger's repository to try a gate on: three kinds of work, and a head commit that makes each a known part slower.

Base and head differ by `toy/extra.py` alone: how often a kind of work does something more. The three kinds are what slips
into training code: a loop in Python, a copy through memory, a small tensor operation in a step.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

KINDS = ("loop", "traffic", "operation")
LEVELS = (0, 2, 5, 10)
"""Percent that head is slower by."""
WORK = '''
import torch
from torch import nn
from toy.extra import EXTRA

STEPS = 20
torch.manual_seed(0)
ROWS, TARGETS = torch.randn(64, 32), torch.randn(64, 1)
BUFFER = torch.zeros(2**21)


class Work:
    """Some training, and so many more of one thing."""

    def __init__(self, kind, level, extra=None):
        self.kind, self.extra = kind, EXTRA.get(f"{kind}-{level}", 0) if extra is None else extra
        width = {"loop": 64, "traffic": 512, "operation": 8}[kind]
        self.model = nn.Sequential(nn.Linear(32, width), nn.ReLU(), nn.Linear(width, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        self.small = torch.zeros(4)

    def __call__(self):
        for step in range(STEPS):
            self.optimizer.zero_grad()
            nn.functional.mse_loss(self.model(ROWS), TARGETS).backward()
            self.optimizer.step()
            more = (step + 1) * self.extra // STEPS - step * self.extra // STEPS
            if self.kind == "loop":
                for _ in range(more):
                    pass
            elif self.kind == "traffic" and more:
                BUFFER[:more].clone()
            else:
                for _ in range(more):
                    self.small.add_(1.0)
'''
BENCH = f"""
import pytest
from toy import Work

@pytest.mark.parametrize("level", {LEVELS})
@pytest.mark.parametrize("kind", {KINDS})
def test_work(benchmark, kind, level):
    benchmark(Work(kind, level))
"""


def make(folder: Path, extra: dict[str, int]) -> Path:
    """Make the repository with branches "base" and "main", head; extra: what head does more, by "kind-level"."""
    files = {
        "src/toy/__init__.py": WORK,
        "src/toy/extra.py": "EXTRA = {}\n",
        "bench/test_work.py": BENCH,
        "pyproject.toml": "[project]\nname = 'toy'\nversion = '0'\n",
        ".gitignore": "__pycache__\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "base")
    git(folder, "branch", "base")
    (folder / "src/toy/extra.py").write_text(f"EXTRA = {extra!r}\n")
    git(folder, "commit", "-qam", "head", "--allow-empty")
    return folder


def git(folder: Path, *arguments: str) -> str:
    """Run git as nobody in particular, and return what it says."""
    who = {
        f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (("NAME", "a"), ("EMAIL", "a@b"))
    }
    environment = os.environ | who | {"GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


def calibrate(folder: Path) -> dict[str, int]:
    """Return how much more of each kind makes it slower by each level, found in this process by turns. Run it quietly."""
    import torch

    torch.set_num_threads(1)
    sys.path.insert(0, str(folder / "src"))
    from toy import Work  # type: ignore[import-not-found]

    found = {}
    for kind, much in {"loop": 40_000, "traffic": 20 * 100_000, "operation": 200}.items():
        plain, more = Work(kind, 0, 0), Work(kind, 0, much)
        ratios = []
        for number in range(600):
            spent = {}
            for name, work in (("plain", plain), ("more", more)) if number % 2 else (("more", more), ("plain", plain)):
                began = time.perf_counter()
                work()
                spent[name] = time.perf_counter() - began
            ratios.append(spent["more"] / spent["plain"])
        longer = 100 * (statistics.median(ratios[100:]) - 1)
        print(f"{kind}: {spent['plain'] * 1e3:.2f} ms a call, {much:,} more take {longer:.1f} % longer", file=sys.stderr)
        found |= {f"{kind}-{level}": round(much / longer * level) for level in LEVELS if level}
    return found
