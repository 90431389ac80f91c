"""PyNumDiff's star of simulated systems, and what lies beyond it: estimates with nothing set.

    python benchmarks/star.py [--method door ..] [--seeds 0 1 ..] [--spoke centre ..]
                              [--system sine ..] [--rows rows.jsonl]
    python benchmarks/star.py --render rows.jsonl

With --rows each record is added to a file as one line, and those that it holds are not run again.

The centre of the star: 4 s sampled every 0.01 s, normal noise of a tenth of the signal's standard
deviation. Each spoke changes one thing: the step, the law of the noise, 1 % outliers (as PyNumDiff
makes them), irregular times, a fifth of the samples missing, a gap of a quarter of a second, noise
that grows fourfold along the record, slopes measured too (every fifth place, a tenth of their
standard deviation), and the second derivative in place of the first.

A cell is a system on a spoke; its figures are medians over the seeds, 0 to 10 by default (of two
methods compared in a cell, over the seeds of both). Errors are root mean squares
over the standard deviation of the truth. `others` are used as their manuals say: PyNumDiff's
methods tuned without truth at a band limit of 3 Hz, scipy's spline by generalised
cross-validation, csaps with its automatic smoothing, scikit-learn's process with a squared
exponential and white noise by likelihood. Those that cannot take a cell (irregular times, missing
samples, slopes) leave it out. The candidates are the members of our default average, each tuned by
itself; the best candidate of a cell is found with the truth, and so is that of each record.
"""

import argparse
import collections
import functools
import itertools
import json
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import smoothderiv as sd
from smoothderiv.default import default_model

try:
    from pynumdiff.utils import simulate
except ImportError:
    raise SystemExit("skipped: PyNumDiff is not installed; pip install '.[bench]'") from None

SYSTEMS = ("sine", "triangle", "pop_dyn", "linear_autonomous", "pi_cruise_control", "lorenz_x")
FINE, DURATION, LEVEL = 0.0025, 4.0, 0.1
STEPS = {"dt .005": 0.005, "dt .02": 0.02, "dt .04": 0.04}
SPOKES = (
    "centre", *STEPS, "laplace", "uniform", "outliers",
    "irregular", "missing", "gap", "growing noise", "slopes too", "second derivative",
)  # fmt: skip
CANDIDATES = ("order=2", "order=3", "Matern52", "SquaredExponential")
CLOSED = ("sine", "pop_dyn")  # those with a second derivative in closed form


class Samples(NamedTuple):
    """What a method sees (t, y with NaN for missing, slopes or None) and the truth at all t."""

    t: np.ndarray
    y: np.ndarray
    slopes: sd.Observations | None
    nu: int
    truth: np.ndarray


@functools.cache
def signal(system):
    """Return fine times, values, first derivative, and the second where it is known."""
    make = getattr(simulate, system)
    step = 0.01 if system == "pi_cruise_control" else FINE
    clean, _, slope = make(
        duration=DURATION, noise_type="normal", noise_parameters=(0, 0.0), dt=step
    )[:3]
    t = step * np.arange(len(clean))
    second = None
    if system == "sine":
        rates = 2 * np.pi * np.array([[1.0], [1.7]])
        second = -0.5 * np.sum(rates**2 * np.sin(rates * t), axis=0)
    elif system == "pop_dyn":
        second = 4.0 * slope * (1.0 - 2.0 * clean / 2.0)
    return t, np.asarray(clean), np.asarray(slope), second


def places(spoke, t, rng):
    """Return the indices of the fine grid that are sampled."""
    step = t[1] - t[0]
    if spoke == "irregular":
        return np.sort(rng.choice(len(t), min(400, len(t) * 3 // 4), replace=False))
    return np.arange(0, len(t), max(1, round(STEPS.get(spoke, 0.01) / step)))


def samples(system, spoke, seed):
    """Return one simulated record, or None where a spoke does not exist."""
    t, clean, slope, second = signal(system)
    if system == "pi_cruise_control" and spoke == "dt .005":
        return None
    if spoke == "second derivative" and system not in CLOSED:
        return None
    rng = np.random.default_rng([seed, SYSTEMS.index(system), SPOKES.index(spoke)])
    at = places(spoke, t, rng)
    t, clean, slope = t[at], clean[at], slope[at]
    sd_noise = LEVEL * float(np.std(clean))
    noise = noise_of(spoke, rng, len(t)) * sd_noise
    if spoke == "outliers":
        spoilt = rng.choice(len(t), len(t) // 100, replace=False)
        sign = rng.choice([-1.0, 1.0], len(spoilt))
        noise[spoilt] = (sign + rng.uniform(-0.5, 0.5, len(spoilt))) * np.ptp(clean)
    y = clean + noise
    if spoke == "missing":
        y[rng.choice(len(t), len(t) // 5, replace=False)] = np.nan
    elif spoke == "gap":
        start = rng.uniform(0.5, DURATION - 0.75)
        y[(t > start) & (t < start + 0.25)] = np.nan
    slopes = None
    if spoke == "slopes too":
        size = LEVEL * float(np.std(slope))
        slopes = sd.observe(t[::5], slope[::5] + size * rng.standard_normal(len(t[::5])), nu=1)
    wanted = second[at] if spoke == "second derivative" else slope
    return Samples(t, y, slopes, 2 if spoke == "second derivative" else 1, wanted)


def noise_of(spoke, rng, n):
    """Return noise of standard deviation 1 (on average 1 where it grows)."""
    if spoke == "laplace":
        return rng.laplace(size=n) / np.sqrt(2.0)
    if spoke == "uniform":
        return rng.uniform(-1.0, 1.0, n) * np.sqrt(3.0)
    unit = rng.standard_normal(n)
    return unit * np.geomspace(0.5, 2.0, n) if spoke == "growing noise" else unit


class UnableError(Exception):
    """A method has no answer to such samples."""


def observed(s):
    data = sd.observe(s.t, s.y)
    return data if s.slopes is None else data + s.slopes


def ours(model, s):
    post = sd.smooth(observed(s), model, nu=s.nu)
    return post.mean(s.t, s.nu), *post.interval(s.t, s.nu)


def candidate(kind, s):
    """Fit one member of the default average, known by a part of its `repr`."""
    for model in default_model(observed(s), s.nu).models:
        if kind in repr(model):
            return ours(model, s)
    raise UnableError


def plain(s, even=False):
    """Return times and values of the rows that are there; refuse what a method does not take."""
    if s.slopes is not None or (even and (s.nu > 1 or np.isnan(s.y).any() or is_uneven(s.t))):
        raise UnableError
    kept = np.isfinite(s.y)
    return s.t[kept], s.y[kept]


def is_uneven(t):
    return np.ptp(np.diff(t)) > 1e-6 * (t[1] - t[0])


def pynumdiff_method(name):
    def estimate(s):
        import pynumdiff
        from pynumdiff.optimize import optimize

        t, y = plain(s, even=True)
        if not hasattr(pynumdiff, name):
            raise ImportError(f"PyNumDiff needs cvxpy for {name}")
        method = getattr(pynumdiff, name)
        chosen, _ = optimize(method, y, t[1] - t[0], bandlimit=3.0, parallel=False)
        return (np.asarray(method(y, t[1] - t[0], **chosen)[1]),)

    return estimate


def scipy_gcv(s):
    from scipy.interpolate import make_smoothing_spline

    return (make_smoothing_spline(*plain(s)).derivative(s.nu)(s.t),)


def csaps_auto(s):
    from csaps import csaps

    t, y = plain(s)
    found = csaps(t, y)
    return (np.asarray(found.spline(s.t, nu=s.nu)),)


def scikit_learn(s):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    t, y = plain(s)
    kernel = ConstantKernel(1.0) * RBF(0.3, (1e-3, 1e2)) + WhiteKernel(0.1, (1e-8, 1e2))
    fit = GaussianProcessRegressor(kernel, normalize_y=True).fit(t[:, None], y)
    scale = fit.kernel_.k1.k2.length_scale
    r = (s.t[:, None] - t) / scale
    shape = -r / scale if s.nu == 1 else (r * r - 1.0) / scale**2
    amplitude = fit.kernel_.k1.k1.constant_value * np.std(y)
    return (amplitude * (shape * np.exp(-0.5 * r * r)) @ fit.alpha_,)


def kalmangrad(s):
    from kalmangrad import grad

    t, y = plain(s)
    found, times = grad(y, t, n=2, delta_t=float(np.median(np.diff(t))))
    mean = np.array([state.mean()[s.nu] for state in found])
    std = np.sqrt([state.covariance()[s.nu, s.nu] for state in found])
    mean, std = np.interp(s.t, times, mean), np.interp(s.t, times, std)
    return mean, mean - 1.96 * std, mean + 1.96 * std


OWN = tuple(f"candidate {kind}" for kind in CANDIDATES)
METHODS = {
    "door": functools.partial(ours, None),
    **{name: functools.partial(candidate, name.split()[1]) for name in OWN},
    "scipy GCV": scipy_gcv,
    "scikit-learn": scikit_learn,
    "csaps": csaps_auto,
    "kalmangrad": kalmangrad,
    **{f"PyNumDiff {m}": pynumdiff_method(m) for m in ("rtsdiff", "rbfdiff", "spectraldiff")},
    "PyNumDiff robustdiff": pynumdiff_method("robustdiff"),
}
HINDSIGHT = ("best of the cell", "best of each record")
FIGURES = ("rmse", "ends", "correlation", "coverage", "ms")


def score(method, s):
    """Return error, error of the 10 samples at each end, its correlation, coverage, CPU time."""
    start = time.process_time()
    mean, *limits = METHODS[method](s)
    cost = 1e3 * (time.process_time() - start)
    error, size = mean - s.truth, np.std(s.truth)
    ends = np.concatenate((error[:10], error[-10:]))
    held = np.mean((limits[0] <= s.truth) & (s.truth <= limits[1])) if limits else np.nan
    figures = (
        np.sqrt(np.mean(error**2)) / size,
        np.sqrt(np.mean(ends**2)) / size,
        np.corrcoef(error, s.truth)[0, 1] ** 2,
        held,
        cost,
    )
    return dict(zip(FIGURES, map(float, figures), strict=True))


def run(options):
    rows = read(options.rows)
    known = {(*row["cell"], row["seed"]) for row in rows}
    jobs = itertools.product(options.seeds, options.method, options.spoke, options.system)
    missing = set()
    for seed, method, spoke, system in track(list(jobs), console=Console(stderr=True)):
        if method in missing or (method, spoke, system, seed) in known:
            continue
        record = samples(system, spoke, seed)
        if record is None:
            continue
        try:
            found = score(method, record)
        except UnableError:
            continue
        except ImportError as error:
            print(f"skipped: {method} ({error})")
            missing.add(method)
            continue
        rows.append({"cell": [method, spoke, system], "seed": seed, "found": found})
        if options.rows:
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    return rows


def read(path):
    """Return the records of a file, none where there is no file."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def typical(records, seeds=None):
    """Return the figures of one cell: medians over the seeds, but the mean of coverage."""
    kept = [found for seed, found in records.items() if seeds is None or seed in seeds]
    figures = {name: float(np.median([found[name] for found in kept])) for name in FIGURES}
    return {**figures, "coverage": float(np.mean([found["coverage"] for found in kept]))}


def geometric(values):
    return float(np.exp(np.mean(np.log(values)))) if len(values) else np.nan


def shown(value, digits=3):
    return "" if np.isnan(value) else f"{value:.{digits}f}"


def gathered(rows):
    """Return the records of each cell by seed, and those of the best candidates, hindsight's."""
    records = collections.defaultdict(dict)
    for row in rows:
        records[tuple(row["cell"])][row["seed"]] = row["found"]
    for cell in {cell[1:] for cell in records}:
        members = [records[m, *cell] for m in OWN if (m, *cell) in records]
        seeds = set.intersection(*map(set, members)) if members else ()
        if seeds:
            best = min(members, key=lambda r: typical(r, seeds)["rmse"])
            records["best of the cell", *cell] = best
            records["best of each record", *cell] = {
                seed: min((r[seed] for r in members), key=lambda f: f["rmse"]) for seed in seeds
            }
    return records


def render(rows, console):
    """Print geometric means by spoke, what else was measured, and the cells that others win."""
    records = gathered(rows)
    found = {cell: typical(of_cell) for cell, of_cell in records.items()}
    methods = [m for m in (*METHODS, *HINDSIGHT) if any(cell[0] == m for cell in found)]
    spokes = [s for s in SPOKES if any(cell[1] == s for cell in found)]
    table = Table(title="RMSE over the std of the truth, geometric mean over the systems")
    for name in ("method", "seeds", *spokes):
        table.add_column(name, justify="left" if name == "method" else "right")
    rest = Table(title="over all cells: ends and error correlation, coverage by kind, CPU ms")
    for name in ("method", "ends", "correlation", "coverage: smooth", "triangle", "lowest", "ms"):
        rest.add_column(name, justify="left" if name == "method" else "right")
    for method in methods:
        own = {cell[1:]: f for cell, f in found.items() if cell[0] == method}
        by_spoke = [[f["rmse"] for c, f in own.items() if c[0] == spoke] for spoke in spokes]
        counts = {len(of_cell) for cell, of_cell in records.items() if cell[0] == method}
        seeds = "-".join(str(n) for n in sorted({min(counts), max(counts)}))
        table.add_row(method, seeds, *(shown(geometric(v)) for v in by_spoke))
        held = {c: f["coverage"] for c, f in own.items() if not np.isnan(f["coverage"])}
        smooth = [v for c, v in held.items() if c[1] != "triangle"]
        kinked = [v for c, v in held.items() if c[1] == "triangle"]
        rest.add_row(
            method,
            shown(geometric([f["ends"] for f in own.values()])),
            shown(float(np.mean([f["correlation"] for f in own.values()]))),
            *(shown(float(np.mean(v)) if v else np.nan) for v in (smooth, kinked)),
            shown(min(held.values(), default=np.nan)),
            f"{np.mean([f['ms'] for f in own.values()]):.0f}",
        )
    console.print(table)
    console.print(rest)
    losses = Table(title="cells in which another is better, or a candidate of ours by over 1.15")
    for name in ("spoke", "system", "door", "other", "its error", "ratio"):
        losses.add_column(name)
    for spoke, system in sorted({cell[1:] for cell in found if cell[0] == "door"}):
        for method in methods:
            others = records.get((method, spoke, system))
            if method == "door" or method in OWN or others is None:
                continue
            common = others.keys() & records["door", spoke, system].keys()
            if not common:
                continue
            door = typical(records["door", spoke, system], common)["rmse"]
            other = typical(others, common)["rmse"]
            if door > (1.15 if method in HINDSIGHT else 1.0) * other:
                cells = (shown(door), method, shown(other), f"{door / other:.2f}")
                losses.add_row(spoke, system, *cells)
    console.print(losses)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--spoke", nargs="*", default=list(SPOKES), choices=SPOKES)
    parser.add_argument("--system", nargs="*", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(11)))
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--render", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = read(options.render) if options.render else run(options)
    render(rows, Console(width=200))


if __name__ == "__main__":
    main()
