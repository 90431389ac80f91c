"""Do 95 % limits hold? Simulated data from three truths that no prior has made.

    python benchmarks/calibration.py [--sets 300] [--engine door ..] [--kind ..] [--n 50 200]
                                     [--jobs 1] [--rows rows.jsonl]
    python benchmarks/calibration.py --render rows.jsonl

Pointwise: the share of places at which the interval holds the truth, averaged over the range of
the data and over data sets. Whole: the share of data sets in which the simultaneous band over that
range holds all of the curve. Peak and root: the share in which the interval of the place holds the
true one, in every third data set; of the step, which has no peak, the place of the steepest slope.
Places are irregular, and everything is tuned. With --rows the results are added to a file, one line
each; --render makes the table of it, of the last line of each case.
"""

import argparse
import json
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import smoothderiv as sd

ASK = np.linspace(0, 1, 201)


def two_sines(x, nu=0):
    low, high, phase = 2 * np.pi, 6 * np.pi, nu * np.pi / 2
    return low**nu * np.sin(low * x + phase) + 0.5 * high**nu * np.sin(high * x + phase)


def bump(x, nu=0, width=0.08):
    u = (x - 0.5) / width
    e = np.exp(-0.5 * u * u)
    return (x + e, 1 - u / width * e, (u * u - 1) / width**2 * e)[nu]


def step(x, nu=0, width=0.03):
    s, k = 1 / (1 + np.exp(-(x - 0.5) / width)), 1 / width
    return (s, k * s * (1 - s), k * k * s * (1 - s) * (1 - 2 * s))[nu]


def refined(function, low, high, sign):
    """Return the place in a range at which sign * function is largest."""
    x = np.linspace(low, high, 200_001)
    return float(x[np.argmax(sign * function(x))])


# each truth with its noise, its highest peak (or steepest place), and a level that it crosses once
# in a range: (function, noise, (order, place), (value, low, high))
TRUTHS = {
    "two sines": (two_sines, 0.15, (1, refined(two_sines, 0, 0.5, 1)), (0.0, 0.3, 0.7)),
    "bump": (bump, 0.1, (1, refined(bump, 0.4, 0.6, 1)), (1.0, 0.3, 0.48)),
    "step": (step, 0.08, (2, 0.5), (0.5, 0.3, 0.7)),
}
ENGINES = {
    "door": sd.smooth,
    "cubic regression": lambda data: sd.smooth(data, sd.RegressionSpline()),
    "quintic regression": lambda data: sd.smooth(
        data, sd.RegressionSpline(degree=5, lam=None, order=3)
    ),
    "smoothing spline 2": lambda data: sd.smooth(data, sd.SmoothingSpline(order=2)),
    "smoothing spline 3": lambda data: sd.smooth(data, sd.SmoothingSpline(order=3)),
    "Matern 5/2": lambda data: sd.smooth(data, sd.GaussianProcess(sd.kernels.Matern52())),
    "squared exponential": lambda data: sd.smooth(
        data, sd.GaussianProcess(sd.kernels.SquaredExponential())
    ),
}
KINDS = ("noise unknown", "noise stated", "slopes too", "one noise estimated")
COLUMNS = ("f", "f'", "f''", "whole f", "whole f'", "whole f''", "peak", "root", "ms")


def observed(kind, truth, noise, n, seed):
    """Return one data set: values, or values and half as many slopes of ten times the noise."""
    rng = np.random.default_rng([n, seed])
    x = np.sort(rng.uniform(0, 1, n))
    y = truth(x) + noise * rng.standard_normal(n)
    if kind in ("noise unknown", "noise stated"):
        return sd.observe(x, y, noise if kind == "noise stated" else None)
    xs = rng.uniform(0, 1, n // 2)
    slopes = truth(xs, 1) + 10 * noise * rng.standard_normal(n // 2)
    known = 10 * noise if kind == "slopes too" else None
    return sd.observe(x, y, noise) + sd.observe(xs, slopes, known, nu=1)


def one_set(case, seed):
    """Return hits of one data set, by column."""
    warnings.simplefilter("ignore")
    engine, kind, name, n = case
    truth, noise, (order, peak), (value, low, high) = TRUTHS[name]
    start = time.process_time()
    post = ENGINES[engine](observed(kind, truth, noise, n, seed))
    cost = 1e3 * (time.process_time() - start)
    ends = float(post.data.x.min()), float(post.data.x.max())
    ask = ASK[(ends[0] <= ASK) & (ends[1] >= ASK)]
    hits = {"ms": cost}
    for nu in range(int(min(post.highest_order, 2)) + 1):
        exact, mark = truth(ask, nu), "f" + nu * "'"
        for column, (lower, upper) in (
            (mark, post.interval(ask, nu)),
            (f"whole {mark}", post.band(ask, nu, rng=seed, within=ends)),
        ):
            hit = (lower <= exact) & (exact <= upper)
            hits[column] = float(hit.mean() if column == mark else hit.all())
    if seed % 3:
        return hits
    if order <= post.highest_order:
        found = post.maxima(rng=seed) if order == 1 else post.argmax(1, rng=seed)
        hits["peak"] = holds(found, peak)
    hits["root"] = holds(post.roots(0, value, within=(low, high), rng=seed), crossing(name))
    return hits


def crossing(name):
    """Return where a truth crosses its level."""
    truth, _, _, (value, low, high) = TRUTHS[name]
    return refined(lambda x: -np.abs(truth(x) - value), low, high, 1)


def holds(found, place):
    """Tell whether the interval of the event nearest to a true place holds it."""
    if not len(found):
        return 0.0
    nearest = int(np.argmin(np.abs(found.x - place)))
    return float(found.lower[nearest] <= place <= found.upper[nearest])


def rates(case, sets, pool):
    run = map if pool is None else partial(pool.map, chunksize=10)
    all_hits = list(run(partial(one_set, case), range(sets)))
    names = [c for c in COLUMNS if any(c in hits for hits in all_hits)]
    return {c: float(np.mean([hits[c] for hits in all_hits if c in hits])) for c in names}


def render(rows):
    """Print a table for the eye, or in Markdown, of the last result of each case."""
    last = {tuple(row["case"]): row for row in rows}
    head = ("engine", "data", "truth", "n", *COLUMNS, "sets")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 4 + "--:|" * (len(head) - 4)]
    for (engine, kind, name, n), row in sorted(last.items()):
        found = row["rates"]
        cells = [
            "" if c not in found else f"{found[c]:.0f}" if c == "ms" else f"{found[c]:.3f}"
            for c in COLUMNS
        ]
        lines.append(f"| {' | '.join([engine, kind, name, str(n), *cells, str(row['sets'])])} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--engine", nargs="*", default=["door"], choices=list(ENGINES))
    parser.add_argument("--kind", nargs="*", default=["noise unknown"], choices=KINDS)
    parser.add_argument("--truth", nargs="*", default=list(TRUTHS), choices=list(TRUTHS))
    parser.add_argument("--n", type=int, nargs="*", default=[50, 200])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--render", type=Path)
    options = parser.parse_args()
    if options.render:
        rows = [json.loads(line) for line in options.render.read_text("utf-8").splitlines()]
        print(render(rows))
        return
    cases = [
        (engine, kind, truth, n)
        for engine in options.engine
        for kind in options.kind
        for truth in options.truth
        for n in options.n
    ]
    rows = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for case in cases:
            found = rates(case, options.sets, pool if options.jobs > 1 else None)
            rows.append({"case": case, "sets": options.sets, "rates": found})
            if options.rows:
                with options.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    table = Table(title=f"coverage of 95 % limits over {options.sets} data sets")
    for name in ("engine", "data", "truth", "n", *COLUMNS):
        table.add_column(name, justify="left" if name in {"engine", "data", "truth"} else "right")
    for row in rows:
        shown = [f"{row['rates'][c]:.3f}" if c in row["rates"] else "" for c in COLUMNS[:-1]]
        table.add_row(*map(str, row["case"]), *shown, f"{row['rates']['ms']:.0f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
