"""Many series at once, tuned one by one, with limits for f and f': seconds beside others.

    python benchmarks/panels.py [--series 10000] [--rows 1000] [--models "order 2"] [--alike]
        [--others 20]

Each series is a wave at irregular places (those of all, with ``--alike``) with noise of unknown
size; f and f' with 95 % limits are asked at its own places. For each model: the mean of some series
done one by one in this process, all of them by `sd.smooth_panel` on all cores, from table to table,
and the ratio of that to (series x one series) / cores, by the clock and by CPU seconds of all
processes (the ratio that a machine busy with other things does not spoil). ``--others N``: a joblib
loop over N series by statsmodels (smooth trend by likelihood, f and slope with standard errors; it
takes the places for even, knowing no other), and over N / 5 by PyNumDiff (`rtsdiff` of order 2,
smoothed as its own blind tuning says, told the band limit; no limits), and what that would be for
all.
"""

import argparse
import os
import resource
import time
import warnings

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

import smoothderiv as sd

MODELS = {
    "order 2": sd.SmoothingSpline(order=2),
    "order 3": sd.SmoothingSpline(order=3),
    "door": None,
}


def wave(number, rows, alike=False):
    """Return one series, at places of its own or at those of all."""
    rng = np.random.default_rng([7, number])
    x = np.sort((np.random.default_rng(7) if alike else rng).uniform(0, 10, rows))
    y = np.sin(rng.uniform(0.5, 3.0) * x + rng.uniform(0, 6)) + 0.1 * rng.standard_normal(rows)
    return x, y


def clocks():
    """Return seconds by the clock, and of CPU of this process and of those that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return np.array([time.perf_counter(), sum(use.ru_utime + use.ru_stime for use in both)])


def one_series(model, rows, repeats):
    """Return the mean seconds of a series done by itself, by the clock and of CPU."""
    taken = []
    for number in range(repeats + 1):
        x, y = wave(number, rows)
        begun = clocks()
        sd.smooth(sd.observe(x, y), model, nu=1).frame(x, nu=(0, 1))
        taken.append(clocks() - begun)
    return np.mean(taken[1:], axis=0)


def all_series(model, series, rows, alike):
    """Return the seconds of the panel, from table to table, by the clock and of CPU."""
    parts = [wave(number, rows, alike) for number in range(series)]
    frame = pd.DataFrame(
        {
            "id": np.repeat(np.arange(series), rows),
            "x": np.concatenate([x for x, _ in parts]),
            "y": np.concatenate([y for _, y in parts]),
        }
    )
    sd.smooth_panel(frame[: 2 * rows], by="id", nu=(0, 1), model=model)  # loops are loaded
    begun = clocks()
    out = sd.smooth_panel(frame, by="id", nu=(0, 1), model=model)
    taken = clocks() - begun
    assert len(out) == len(frame)
    assert out.error.isna().all()
    return taken


def by_statsmodels(number, rows):
    """Fit a local linear trend, the smoothing spline of even steps, by its likelihood."""
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    _, y = wave(number, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = UnobservedComponents(y, "smooth trend").fit(disp=False)
        state, cov = found.smoothed_state, found.smoothed_state_cov
        return state[:2], np.sqrt(np.diagonal(cov).T[:2])


def by_pynumdiff(number, rows):
    """Choose the smoothing of one method by PyNumDiff's own blind loss, then differentiate."""
    import pynumdiff
    from pynumdiff.optimize import optimize

    x, y = wave(number, rows)
    method, step = pynumdiff.kalman_smooth.rtsdiff, (x[-1] - x[0]) / (len(x) - 1)
    fixed = {"forwardbackward": False, "order": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given, _ = optimize(
            method, y, step, bandlimit=1.0, search_space_updates=fixed, parallel=False
        )
        return method(y, x, **given)


def by_joblib(function, series, rows, cores):
    """Return the seconds of a joblib loop, its processes warm."""
    from joblib import Parallel, delayed

    with Parallel(n_jobs=cores) as parallel:
        parallel(delayed(function)(number, rows) for number in range(cores))
        begun = time.perf_counter()
        parallel(delayed(function)(number, rows) for number in range(series))
        return time.perf_counter() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=int, default=10000)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--alike", action="store_true", help="the same places for all series")
    parser.add_argument("--others", type=int, default=0, help="series for each other package")
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    warnings.simplefilter("ignore")  # of statsmodels and PyNumDiff
    table = Table(box=None)
    for name in ("", "one series, ms", "series", "all, s", "ratio, clock", "ratio, CPU"):
        table.add_column(name, justify="right")
    for name in given.models:
        model, series = MODELS[name], given.series if name != "door" else given.series // 20
        before = one_series(model, given.rows, given.repeats)
        taken = all_series(model, series, given.rows, given.alike)
        alone = 0.5 * (before + one_series(model, given.rows, given.repeats))
        clock, cpu = taken / (series * alone)
        words = f"{alone[0] * 1e3:.1f}", str(series), f"{taken[0]:.1f}"
        table.add_row(f"smoothderiv, {name}", *words, f"{clock * cores:.2f}", f"{cpu:.2f}")
    if given.others:
        few = max(given.others // 5, cores)
        for name, function, count in (
            ("statsmodels", by_statsmodels, given.others),
            ("PyNumDiff", by_pynumdiff, few),
        ):
            taken = by_joblib(function, count, given.rows, cores)
            scaled = taken * given.series / count
            words = f"{taken / count * cores * 1e3:.0f}", f"{count}"
            table.add_row(f"joblib, {name}", *words, f"{taken:.1f}, all {scaled:.0f}", "", "")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
