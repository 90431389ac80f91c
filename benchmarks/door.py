"""How long `sd.smooth(data)` takes with nothing set, and what robust weights add to it.

    python benchmarks/door.py [--rows 400 10000 100000 1000000]

Values of two sines, of a step (whose smoothness changes: adaptive splines are searched), of two
sines with 1 % outliers, and of two sines with autocorrelated noise over a hundredth of the
range beside the white one (``correlated=True``), at irregular places, noise unknown. Seconds by the
clock and of CPU, the best of a few runs after one that compiles. Times count tuning, weighing and
conditioning, and the slope with its limits at 1000 places.
"""

import argparse
import time
import warnings

import numpy as np
from calibration import step, two_sines
from rich.console import Console
from rich.table import Table

import smoothderiv as sd

ASK = np.linspace(0.01, 0.99, 1000)


def observed(name, n):
    rng = np.random.default_rng(n)
    x = np.sort(rng.uniform(0, 1, n))
    y = (step if name == "step" else two_sines)(x) + 0.15 * rng.standard_normal(n)
    if name == "outliers":
        y[::100] += 3.0
    if name == "correlated":
        y += 0.15 * together(np.diff(x, prepend=x[:1]) / 0.01, rng)
    return sd.observe(x, y)


def together(steps, rng):
    """Return an Ornstein-Uhlenbeck process of variance 1 at places so many lengths apart."""
    keep = np.exp(-steps)
    fresh = np.sqrt(-np.expm1(-2 * steps)) * rng.standard_normal(len(steps))
    fresh[0] = rng.standard_normal()
    out = np.empty(len(steps))
    last = 0.0
    for i, (share, new) in enumerate(zip(keep, fresh, strict=True)):
        out[i] = last = share * last + new
    return out


def seconds(data, **options):
    """Return the seconds that a fit and its answers take, by the clock and of CPU."""
    clock, cpu = time.perf_counter(), time.process_time()
    post = sd.smooth(data, nu=1, **options)
    post.interval(ASK, 1)
    return time.perf_counter() - clock, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=float, nargs="*", default=[400, 1e4, 1e5, 1e6])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    table = Table(title="sd.smooth(data, nu=1): seconds by the clock (of CPU)")
    for name in ("rows", "two sines", "step", "outliers", "outliers, robust=False", "correlated"):
        table.add_column(name, justify="right")
    for n in map(int, options.rows):
        cells = []
        for name, given in (
            ("two sines", {}),
            ("step", {}),
            ("outliers", {}),
            ("outliers", {"robust": False}),
            ("correlated", {"correlated": True}),
        ):
            data = observed(name, n)
            seconds(observed(name, 300), **given)
            runs = [seconds(data, **given) for _ in range(5 if n < 2e4 else 1)]
            clock, cpu = np.min(runs, axis=0)
            cells.append(f"{clock:.3g} ({cpu:.3g})")
        table.add_row(f"{n:,}".replace(",", " "), *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
