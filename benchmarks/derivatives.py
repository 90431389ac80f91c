"""First derivatives of PyNumDiff's simulated systems, with nothing set by hand.

    python benchmarks/derivatives.py [--seeds 1 7 31] [--method default ...]

Normal noise of 5, 10 and 25 % of the signal's standard deviation, 4 s at 0.01 s. Scored by the
root mean square error of dx/dt over its standard deviation, median over the seeds. `truth-tuned`
is the best of PyNumDiff's 16 methods each tuned on the true derivative, `best blind` the best of 25
methods and packages picked after seeing the scores; both as measured before, on seeds 1, 7, 31.
"""

import argparse
import time
import warnings

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import smoothderiv as sd

try:
    from pynumdiff.utils import simulate
except ImportError:
    raise SystemExit("skipped: PyNumDiff is not installed; pip install '.[bench]'") from None

LEVELS = (0.05, 0.1, 0.25)
TRUTH_TUNED = {
    "sine": (0.017, 0.030, 0.057),
    "triangle": (0.130, 0.161, 0.239),
    "pop_dyn": (0.041, 0.058, 0.116),
    "linear_autonomous": (0.020, 0.035, 0.068),
    "pi_cruise_control": (0.092, 0.141, 0.280),
    "lorenz_x": (0.056, 0.094, 0.199),
}
BEST_BLIND = {
    "sine": (0.019, 0.032, 0.074),
    "triangle": (0.181, 0.215, 0.328),
    "pop_dyn": (0.052, 0.083, 0.124),
    "linear_autonomous": (0.020, 0.035, 0.102),
    "pi_cruise_control": (0.103, 0.185, 0.365),
    "lorenz_x": (0.077, 0.124, 0.212),
}
METHODS = {
    "default": None,
    "cubic regression": sd.RegressionSpline,
    "smoothing spline 2": lambda: sd.SmoothingSpline(order=2),
    "smoothing spline 3": lambda: sd.SmoothingSpline(order=3),
    "Matern 3/2": lambda: sd.GaussianProcess(sd.kernels.Matern32()),
    "Matern 5/2": lambda: sd.GaussianProcess(sd.kernels.Matern52()),
    "squared exponential": lambda: sd.GaussianProcess(sd.kernels.SquaredExponential()),
}


def system(name, level, seed):
    """Return times, noisy signal and true derivative."""
    make = getattr(simulate, name)
    clean = make(duration=4, noise_type="normal", noise_parameters=(0, 0.0), dt=0.01)[0]
    noise = (0, level * float(np.std(clean)))
    x, _, slope = make(
        duration=4, noise_type="normal", noise_parameters=noise, random_seed=seed, dt=0.01
    )[:3]
    return 0.01 * np.arange(len(x)), np.asarray(x), np.asarray(slope)


def score(name, level, seed, model):
    """Return the normalised error, that of the 10 samples at each end, and the coverage."""
    t, x, slope = system(name, level, seed)
    post = sd.smooth(sd.observe(t, x), None if model is None else model(), nu=1)
    error = post(t, 1) - slope
    low, high = post.interval(t, 1)
    size = np.std(slope)
    ends = np.sqrt(np.mean(np.concatenate((error[:10], error[-10:])) ** 2))
    return np.sqrt(np.mean(error**2)) / size, ends / size, np.mean((low <= slope) & (slope <= high))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 7, 31])
    parser.add_argument("--method", nargs="*", default=["default"], choices=list(METHODS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    table = Table(title="RMSE of dx/dt over its std at 5, 10, 25 % noise")
    for name in ("method", *TRUTH_TUNED, "ratio", "worst", "ends", "cover", "ms"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for name, known in (("truth-tuned", TRUTH_TUNED), ("best blind", BEST_BLIND)):
        table.add_row(name, *(" ".join(f"{v:.3f}"[1:] for v in row) for row in known.values()))
    for method in options.method:
        start, cells, ratios, worst, rest = time.process_time(), [], [], 0.0, []
        for name in track(TRUTH_TUNED, console=Console(stderr=True), description=method):
            scores = [
                [score(name, level, seed, METHODS[method]) for seed in options.seeds]
                for level in LEVELS
            ]
            median = np.median(scores, axis=1)
            rest.append(np.mean(scores, axis=(0, 1)))
            cells.append(" ".join(f"{v:.3f}"[1:] for v in median[:, 0]))
            ratios.extend(median[:, 0] / TRUTH_TUNED[name])
            worst = max(worst, float((median[:, 0] / BEST_BLIND[name]).max()))
        ends, cover = np.mean(rest, axis=0)[1:]
        cost = (time.process_time() - start) / (18 * len(options.seeds))
        geometric = np.exp(np.mean(np.log(ratios)))
        row = (
            f"{geometric:.2f}",
            f"{worst:.2f}",
            f"{ends:.2f}",
            f"{cover:.3f}",
            f"{1e3 * cost:.0f}",
        )
        table.add_row(method, *cells, *row)
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
