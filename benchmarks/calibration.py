"""Do 95 % intervals and bands hold? Simulated data from three truths that no prior has made.

    python benchmarks/calibration.py [--sets 300] [--engine door] [--n 50 200]

Pointwise: the share of places, averaged over [0, 1] and over data sets, at which the interval
holds the truth. Simultaneous: the share of data sets in which the band holds all of the curve.
Places are irregular, the noise is unknown unless said, and everything is tuned.
"""

import argparse
import time
import warnings

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import smoothderiv as sd

ASK = np.linspace(0, 1, 101)


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


TRUTHS = {"two sines": (two_sines, 0.15), "bump": (bump, 0.1), "step": (step, 0.08)}
ENGINES = {
    "door": sd.smooth,
    "cubic regression": lambda data: sd.smooth(data, sd.RegressionSpline()),
    "smoothing spline 2": lambda data: sd.smooth(data, sd.SmoothingSpline(order=2)),
    "smoothing spline 3": lambda data: sd.smooth(data, sd.SmoothingSpline(order=3)),
    "Matern 5/2": lambda data: sd.smooth(data, sd.GaussianProcess(sd.kernels.Matern52())),
}


def observed(kind, truth, noise, n, seed):
    """Return one data set: values, values of stated noise, or values and slopes."""
    rng = np.random.default_rng([n, seed])
    x = np.sort(rng.uniform(0, 1, n))
    y = truth(x) + noise * rng.standard_normal(n)
    if kind == "slopes too":
        xs = rng.uniform(0, 1, n // 2)
        slopes = truth(xs, 1) + 10 * noise * rng.standard_normal(n // 2)
        return sd.observe(x, y, noise) + sd.observe(xs, slopes, nu=1)
    return sd.observe(x, y, noise if kind == "noise stated" else None)


def coverage(fit, kind, truth, noise, n, sets):
    inside, whole = {}, {}
    for seed in range(sets):
        post = fit(observed(kind, truth, noise, n, seed))
        ask = ASK[(post.data.x.min() <= ASK) & (post.data.x.max() >= ASK)]
        for nu in range(3):
            if nu > post.highest_order:
                continue
            exact = truth(ask, nu)
            for store, (low, high) in (
                (inside, post.interval(ask, nu)),
                (whole, post.band(ask, nu, rng=seed)),
            ):
                hit = (low <= exact) & (exact <= high)
                store.setdefault(nu, []).append(hit.mean() if store is inside else hit.all())
    return inside, whole


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--engine", nargs="*", default=["door"], choices=list(ENGINES))
    parser.add_argument("--n", type=int, nargs="*", default=[50, 200])
    parser.add_argument(
        "--kind",
        nargs="*",
        default=["noise unknown"],
        choices=["noise unknown", "noise stated", "slopes too"],
    )
    options = parser.parse_args()
    console = Console(width=110)
    table = Table(title=f"coverage of 95 % limits over {options.sets} data sets")
    for name in ("engine", "data", "truth", "n", "f", "f'", "f''", "band f", "f'", "f''", "ms"):
        table.add_column(name, justify="left" if name in {"engine", "data", "truth"} else "right")
    jobs = [
        (engine, kind, truth, n)
        for engine in options.engine
        for kind in options.kind
        for truth in TRUTHS
        for n in options.n
    ]
    warnings.simplefilter("ignore", sd.TuningWarning)
    for engine, kind, truth, n in track(jobs, console=Console(stderr=True)):
        start = time.process_time()
        rates = coverage(ENGINES[engine], kind, *TRUTHS[truth], n, options.sets)
        cost = 1e3 * (time.process_time() - start) / options.sets
        cells = [f"{np.mean(r[nu]):.3f}" if nu in r else "-" for r in rates for nu in range(3)]
        table.add_row(engine, kind, truth, str(n), *cells, f"{cost:.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
