"""Comparisons of two commits as they may come out, with every kind of row, and their mirror images."""

import dataclasses

import msgspec

from mbbench.reporting import gate
from mbbench.reporting.compared import TOGETHER, Comparison, Row
from mbbench.reporting.gate import Change
from mbbench.reporting.stats import Estimate

BASE, HEAD = "a" * 40, "b" * 40
HOSTILE = (
    "bench/x.py::test[</td><script>window.hit=1</script>|`*\x00\n$x^2$ \u202e문제 \U0001f9ea]",
    "\"><svg onload='window.hit=1'>",
    "</script><img src=x onerror=window.hit=1>",
    "bench/x.py::" + "n" * 10_000,
)


def change(verdict, ratio, half=0.01, n=12, **fields):
    low, high = (None, None) if half is None else (ratio - half, ratio + half)
    value = Estimate(value=ratio, low=low, high=high, n=n, unit="ratio")
    return Change(**({"verdict": verdict, "clock": "wall", "ratio": value, "smallest_detectable": 0.02} | fields))


def time(name, verdict, ratio, half=0.01, **fields):
    return Row(name, "time", change(verdict, ratio, half, **fields), 0.001)


def memory(name, base, head, again=None):
    return Row(name, "memory", gate.memory_change(base, head, base if again is None else again), base)


def seeds(name, verdict, ratio, clock="updates", base=0.25):
    return Row(name, "convergence", change(verdict, ratio, 0.03, clock=clock), base)


def compared(*rows, control=1.001, **fields):
    """Return a comparison with a control that reads so, None for none."""
    read = None if control is None else "slower" if control > 1.03 else "same"
    own = None if read is None else time(rows[0].name if rows else "t", read, control, n=22)
    return Comparison(BASE, HEAD, rows=list(rows), control=own, blocks=22, seconds=60.0, **fields)


def everything(**fields):
    """Return a comparison with every kind of row, of every quantity."""
    epoch = "bench/test_epoch.py::test_epoch_time[{}]".format
    slower, both = time(epoch("mlp-b32"), "slower", 1.134), seeds(epoch("mlp-b32"), "same", 1.0)
    rows = (
        time(epoch("linear-b8"), "same", 1.004),
        slower,
        time(epoch("mlp-b64"), "slower", 1.08),
        time(epoch("linear-b512"), "faster", 0.91),
        time(epoch("cnn-full"), "undecided", 1.3, 0.5),
        time("bench/test_x.py::test_few", "undecided", 1.5, None, n=6, smallest_detectable=None),
        memory(epoch("linear-b8"), 10**8, 10**8),
        memory(epoch("cnn-full"), 10**9, 2 * 10**9),
        memory(epoch("mlp-b64"), 10**8, 9 * 10**7, 11 * 10**7),
        both,
        seeds(epoch("mlp-b32"), "faster", 0.8, "held-out loss", 200),
        Row(epoch("mlp-b32"), TOGETHER, gate.together(slower.change, both.change), 0.25),
    )
    about = {
        "lost": {"bench/test_x.py::test_crash": "head crashed"},
        "new": ("bench/test_new.py::test_new",),
        "missing": ("bench/test_old.py::test_old",),
        "notes": ("head is the working tree with its uncommitted changes",),
    }
    return compared(*rows, **about | fields)


def mirrored(found):
    """Return a comparison in which everything went the other way."""
    control = found.control and _mirrored(found.control)
    return dataclasses.replace(found, rows=[_mirrored(row) for row in found.rows], control=control)


def _mirrored(row):
    ratio, swap = row.change.ratio, {"slower": "faster", "faster": "slower"}
    ends = {"low": None if ratio.high is None else 1 / ratio.high, "high": None if ratio.low is None else 1 / ratio.low}
    verdict = swap.get(row.change.verdict, row.change.verdict)
    turned = dataclasses.replace(
        row.change, ratio=msgspec.structs.replace(ratio, value=1 / ratio.value, **ends), verdict=verdict
    )
    return row._replace(change=turned)
