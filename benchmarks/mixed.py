"""Values, slopes and curvatures of one curve: errors and coverage of f, f' and f''.

    python benchmarks/mixed.py [--draws 200] [--noise known unknown] [--places drawn]

50 values (noise .1), 50 slopes (.5) and 20 curvatures (5) of sin 2 pi x + .5 sin 6 pi x, each at
places of their own on [0, 1], drawn at random or at equal steps. Root mean square errors at 201
places, medians over the draws with their standard errors (by the bootstrap: another set of draws
would give others), and in brackets the share of places at which 95 % intervals hold the truth,
means.
"""

import argparse
import warnings

import numpy as np
from calibration import two_sines
from rich.console import Console
from rich.progress import track
from rich.table import Table

import smoothderiv as sd

ASK = np.linspace(0, 1, 201)
PARTS = ((50, 0.1), (50, 0.5), (20, 5.0))
MODELS = {
    "sd.smooth": None,
    "sd.smooth, values alone": None,
    "squared exponential": sd.GaussianProcess(sd.kernels.SquaredExponential()),
    "smoothing spline 4": sd.SmoothingSpline(4),
    "quintic regression": sd.RegressionSpline(degree=5, lam=None, order=3),
}


def draw(seed, known, places):
    rng, data = np.random.default_rng(seed), []
    for nu, (count, size) in enumerate(PARTS):
        x = np.sort(rng.uniform(0, 1, count)) if places == "drawn" else np.linspace(0, 1, count)
        y = two_sines(x, nu) + size * rng.standard_normal(count)
        data.append(sd.observe(x, y, size if known else None, nu))
    return data[0] + data[1] + data[2]


def score(post):
    """Return the error and the coverage of each order."""
    found = []
    for nu in range(3):
        exact = two_sines(ASK, nu)
        lower, upper = post.interval(ASK, nu)
        error = np.sqrt(np.mean((post(ASK, nu) - exact) ** 2))
        found.append((error, np.mean((lower <= exact) & (exact <= upper))))
    return found


def spread_of_median(values):
    """Return the standard error of the median over the first axis, by the bootstrap."""
    rng = np.random.default_rng(0)
    again = rng.integers(len(values), size=(1000, len(values)))
    return np.std(np.median(values[again], axis=1), axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--noise", nargs="*", default=["known", "unknown"])
    parser.add_argument("--places", default="drawn", choices=["drawn", "even"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    table = Table(title=f"errors (coverage) over {options.draws} draws")
    for name in ("noise", "model", "f", "f'", "f''"):
        table.add_column(name)
    for noise in options.noise:
        for name, model in track(MODELS.items(), console=Console(stderr=True)):
            scores = []
            for seed in range(options.draws):
                data = draw(seed, noise == "known", options.places)
                scores.append(score(sd.smooth(data.of(0) if "alone" in name else data, model)))
            errors, held = np.moveaxis(scores, -1, 0)
            parts = (np.median(errors, axis=0), spread_of_median(errors), held.mean(axis=0))
            cells = (f"{e:.3g} ± {s:.1g} ({h:.3f})" for e, s, h in zip(*parts, strict=True))
            table.add_row(noise, name, *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
