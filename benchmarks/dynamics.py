"""Regression between derivatives: x'' = a x' + b u + c from noisy x, by every method.

    python benchmarks/dynamics.py [--runs 30] [--coverage 500] [--methods kalman integral ..]

Truth a = -3, b = 2, c = -1, x sampled 1000 times at steps of 0.02, noise of three sizes. The rich
input switches among -1, 1 and 3 every 0.4 s at random; the poor one steps from 0 to 2 after 1 s and
stays. Medians over the runs, with the standard deviation in brackets; the runs that a method
refuses are counted. Then the share of 95 % intervals that hold the truth, method "kalman".
"""

import argparse
import time
import warnings

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import smoothderiv as sd
from smoothderiv.dynamics.regression import METHODS

STEP, COUNT = 0.02, 1000
TRUTH = {"rate": -3.0, "input": 2.0, "constant": -1.0}
NOISE = (1e-4, 1e-3, 1e-2)


def inputs():
    t = STEP * np.arange(COUNT)
    levels = np.random.default_rng(0).choice([-1.0, 1.0, 3.0], COUNT // 20)
    return t, {"rich": np.repeat(levels, 20), "poor": np.where(t >= 1.0, 2.0, 0.0)}


def motion(u):
    """Return x from rest, exactly, u held."""
    a, b, c = TRUTH.values()
    phi = np.exp(a * STEP)
    psi = (phi - 1) / a
    x, v = np.zeros((2, len(u)))
    for i, force in enumerate(b * u[:-1] + c):
        x[i + 1] = x[i] + psi * v[i] + (psi - STEP) / a * force
        v[i + 1] = phi * v[i] + psi * force
    return x


def estimates(t, u, x, noise, method, runs):
    """Return coefficients and intervals of the runs that worked, and the seconds a run took."""
    values, limits, start = [], [], time.process_time()
    for seed in range(runs):
        y = x + noise * np.random.default_rng(seed).standard_normal(len(x))
        try:
            fit = sd.dynamics.fit(t, y, u, method=method)
        except ValueError:
            continue
        values.append(fit.values)
        limits.append(list(fit.interval().values()))
    return np.array(values), np.array(limits), (time.process_time() - start) / runs


def recovery(methods, runs, console):
    t, cases = inputs()
    table = Table(title=f"medians of {runs} runs (standard deviation)")
    for name in ("input", "noise", "method", *TRUTH, "refused", "s a run"):
        table.add_column(name, justify="left" if name in ("input", "method") else "right")
    jobs = [(k, noise, method) for k in cases for noise in NOISE for method in methods]
    for name, noise, method in track(jobs, console=console, transient=True):
        x = motion(cases[name])
        values, _, seconds = estimates(t, cases[name], x, noise, method, runs)
        cells = ["-"] * 3
        if len(values):
            middle, spread = np.median(values, axis=0), values.std(axis=0)
            cells = [f"{m:.4f} ({s:.2g})" for m, s in zip(middle, spread, strict=True)]
        refused = str(runs - len(values))
        table.add_row(name, f"{noise:g}", method, *cells, refused, f"{seconds:.2f}")
    console.print(table)


def coverage(runs, console):
    t, cases = inputs()
    table = Table(title=f'share of 95 % intervals that hold the truth, {runs} runs, "kalman"')
    for name in ("input", "noise", *TRUTH):
        table.add_column(name, justify="left" if name == "input" else "right")
    truth = np.array(list(TRUTH.values()))
    for name, noise in track([(k, s) for k in cases for s in NOISE], console=console):
        x = motion(cases[name])
        _, limits, _ = estimates(t, cases[name], x, noise, "kalman", runs)
        held = ((limits[:, :, 0] < truth) & (truth < limits[:, :, 1])).mean(axis=0)
        table.add_row(name, f"{noise:g}", *(f"{share:.3f}" for share in held))
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--coverage", type=int, default=500, help="runs; 0 leaves it out")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    given = parser.parse_args()
    warnings.simplefilter("ignore", sd.dynamics.ExcitationWarning)
    screen = Console(width=110)
    if given.runs:
        recovery(given.methods, given.runs, screen)
    if given.coverage:
        coverage(given.coverage, screen)
