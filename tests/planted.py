"""Sweeps over batch sizes with known curves, with and without noise, for the tests of fits and recommendations."""

import numpy as np
import synthetic as s

from mbbench.case import Case
from mbbench.reporting.tried import TriedSize

SIZES = tuple(2**k for k in range(13))
N = 4096
LEAST_STEPS, CRITICAL, OVERHEAD_S, SAMPLE_S = 50.0, 64.0, 200e-6, 2e-6
BEST = 80.0  # sqrt(200 * 64 / 2)


def steps(batch_size):
    return LEAST_STEPS * (1 + CRITICAL / batch_size)


def step_s(batch_size):
    return OVERHEAD_S + SAMPLE_S * batch_size


def sweep(generator=None, sizes=SIZES, steps=steps, step_s=step_s, noise=0.1, seeds=5, repeats=5, reached=lambda size: True):
    """Return what was tried: lognormal noise on each seed's steps and each repeat's times; none without a generator."""

    def noisy(value, count):
        return (value * (np.ones(count) if generator is None else np.exp(generator.normal(0, noise, count)))).tolist()

    def tried(size):
        times, found = noisy(step_s(size), repeats), noisy(steps(size), seeds)
        return TriedSize(size, times, found if reached(size) else [None] * seeds)

    return [tried(size) for size in sizes]


def knee(batch_size):
    """Return seconds a step that are three times as many from 512 on."""
    return step_s(batch_size) * (3 if batch_size >= 512 else 1)


def bump(batch_size):
    """Return steps that are 30 % more at 256."""
    return steps(batch_size) * (1.3 if batch_size == 256 else 1)


def noisy_throughout(batch_size):
    """Return steps whose critical batch size is ten times the data set."""
    return LEAST_STEPS * (1 + 10 * N / batch_size)


def case(size, loader="slice", **fields):
    """Return a cell of N rows; the size None is the full batch."""
    about = {"problem": "digits-mlp", "n_samples": N, "batch_size": size, "loader": loader}
    return Case(**(about | fields))


def records(generator=None, full=None, loader="slice", searched=None, timed=None, search=None, cell=None, **fields):
    """Return the records of a sweep: a time record for each repeat, a search for each size.

    Args:
        generator: of the noise, none without.
        full: steps and seconds a step of the full batch, as a batch of its own.
        loader: of the time records.
        searched, timed: sizes with a search, with times; None is all.
        search: a function of the size that returns further arguments of `synthetic.target_record`.
        cell: fields of every cell.
        fields: of `sweep`.
    """
    made = []
    tried = [(each.batch_size, each) for each in sweep(generator, **fields)]
    if full is not None:
        repeats, seeds = fields.get("repeats", 5), fields.get("seeds", 5)
        tried.append((None, TriedSize(N, [full[1]] * repeats, [full[0]] * seeds)))
    for size, each in tried:
        at = case(size, **(cell or {}))
        if searched is None or size in searched:
            steps = [None if np.isinf(steps) else steps for steps in each.steps]
            made.append(s.target_record(at, steps, **(search(size) if search else {})))
        if timed is None or size in timed:
            timings = at.on(loader=loader, threads=2)
            for repeat, step_s in enumerate(each.step_s):
                made.append(s.time_record(timings, step_s * at.steps_per_epoch, repeat=repeat))
    return made
