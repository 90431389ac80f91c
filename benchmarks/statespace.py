"""Time the Kalman smoothing spline, alone and side by side. CPU time on one core.

Run: OPENBLAS_NUM_THREADS=1 python benchmarks/statespace.py [rows]
Packages that are not installed are left out.
"""

import importlib.util
import math
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
from numba import njit

import smoothderiv as sd
from smoothderiv.statespace import _smooth_loops
from smoothderiv.statespace.backward import errors_of
from smoothderiv.statespace.states import NO_GAINS, known


@njit(cache=True)
def bare_filter(h, y, variance, q, start):
    """A textbook order-2 Kalman filter with the likelihood's sums and nothing else."""
    a, b, A, B, C, chi, product, logs = 0.0, 0.0, start, 0.0, start, 0.0, 1.0, 0.0
    for i in range(len(y)):
        s = h[i]
        a += s * b
        A += s * (2 * B + s * C) + q * s * s * s / 3
        B += s * C + q * s * s / 2
        C += q * s
        F = A + variance[i]
        e = y[i] - a
        K, L = A / F, B / F
        a, b = a + K * e, b + L * e
        A, B, C = A - K * A, B - K * B, C - L * B
        chi += e * e / F
        product *= F
        if not 1e-100 < product < 1e100:
            logs += np.log(product)
            product = 1.0
    return chi, logs + np.log(product)


@njit(cache=True)
def bare_smoother_2(h, y, variance, q, start, means, covs, out_mean, out_cov):
    """A textbook order-2 filter and RTS smoother in closed form, symmetric halves, no bookkeeping.

    A covariance is (P00, P01, P11); a proper start, and no guard against rounding.
    """
    n = len(y)
    a, b, A, B, C = 0.0, 0.0, start, 0.0, start
    for i in range(n):
        s = h[i]
        a += s * b
        A += s * (2 * B + s * C) + q * s * s * s / 3
        B += s * C + q * s * s / 2
        C += q * s
        inverse = 1 / (A + variance[i])
        e, K, L = y[i] - a, A * inverse, B * inverse
        a, b = a + K * e, b + L * e
        A, B, C = A - K * A, B - K * B, C - L * B
        means[i, 0], means[i, 1] = a, b
        covs[i, 0], covs[i, 1], covs[i, 2] = A, B, C
    out_mean[n - 1], out_cov[n - 1] = means[n - 1], covs[n - 1]
    for i in range(n - 2, -1, -1):
        s = h[i + 1]
        A, B, C = covs[i, 0], covs[i, 1], covs[i, 2]
        r, t = A + s * B, B + s * C  # columns of P A'
        p, u, v = r + s * t + q * s * s * s / 3, t + q * s * s / 2, C + q * s
        inverse = 1 / (p * v - u * u)
        g, k = (r * v - B * u) * inverse, (B * p - r * u) * inverse
        m, w = (t * v - C * u) * inverse, (C * p - t * u) * inverse
        e = out_mean[i + 1, 0] - means[i, 0] - s * means[i, 1]
        f = out_mean[i + 1, 1] - means[i, 1]
        out_mean[i, 0] = means[i, 0] + g * e + k * f
        out_mean[i, 1] = means[i, 1] + m * e + w * f
        p, u, v = out_cov[i + 1, 0] - p, out_cov[i + 1, 1] - u, out_cov[i + 1, 2] - v
        out_cov[i, 0] = A + g * (g * p + 2 * k * u) + k * k * v
        out_cov[i, 1] = B + m * (g * p + k * u) + w * (g * u + k * v)
        out_cov[i, 2] = C + m * (m * p + 2 * w * u) + w * w * v


@njit(cache=True)
def bare_smoother_3(h, y, variance, q, start, means, covs, out_mean, out_cov):
    """The same of order 3: covariances (P00, P01, P02, P11, P12, P22), inverses by cofactors."""
    n = len(y)
    a, b, c = 0.0, 0.0, 0.0
    A, B, C, D, E, F = start, 0.0, 0.0, start, 0.0, start
    for i in range(n):
        s = h[i]
        z = 0.5 * s * s
        a, b = a + s * b + z * c, b + s * c
        A, B, C, D, E, F = _ahead_3(A, B, C, D, E, F, s, q)
        inverse = 1 / (A + variance[i])
        e, K, L, M = y[i] - a, A * inverse, B * inverse, C * inverse
        a, b, c = a + K * e, b + L * e, c + M * e
        A, B, C, D, E, F = A - K * A, B - K * B, C - K * C, D - L * B, E - L * C, F - M * C
        means[i, 0], means[i, 1], means[i, 2] = a, b, c
        covs[i, 0], covs[i, 1], covs[i, 2] = A, B, C
        covs[i, 3], covs[i, 4], covs[i, 5] = D, E, F
    out_mean[n - 1], out_cov[n - 1] = means[n - 1], covs[n - 1]
    for i in range(n - 2, -1, -1):
        s = h[i + 1]
        z = 0.5 * s * s
        A, B, C = covs[i, 0], covs[i, 1], covs[i, 2]
        D, E, F = covs[i, 3], covs[i, 4], covs[i, 5]
        p, r, t, u, v, w = _ahead_3(A, B, C, D, E, F, s, q)
        # the inverse of the predicted covariance
        ip, ir, it = u * w - v * v, t * v - r * w, r * v - t * u
        inverse = 1 / (p * ip + r * ir + t * it)
        ip, ir, it = ip * inverse, ir * inverse, it * inverse
        iu, iv, iw = (
            (p * w - t * t) * inverse, (r * t - p * v) * inverse, (p * u - r * r) * inverse,
        )  # fmt: skip
        e = out_mean[i + 1, 0] - means[i, 0] - s * means[i, 1] - z * means[i, 2]
        f = out_mean[i + 1, 1] - means[i, 1] - s * means[i, 2]
        g = out_mean[i + 1, 2] - means[i, 2]
        p, r, t = out_cov[i + 1, 0] - p, out_cov[i + 1, 1] - r, out_cov[i + 1, 2] - t
        u, v, w = out_cov[i + 1, 3] - u, out_cov[i + 1, 4] - v, out_cov[i + 1, 5] - w
        G0, G1, G2 = _gain_row(A + s * B + z * C, B + s * C, C, ip, ir, it, iu, iv, iw)
        H0, H1, H2 = _gain_row(B + s * D + z * E, D + s * E, E, ip, ir, it, iu, iv, iw)
        J0, J1, J2 = _gain_row(C + s * E + z * F, E + s * F, F, ip, ir, it, iu, iv, iw)
        out_mean[i, 0] = means[i, 0] + G0 * e + G1 * f + G2 * g
        out_mean[i, 1] = means[i, 1] + H0 * e + H1 * f + H2 * g
        out_mean[i, 2] = means[i, 2] + J0 * e + J1 * f + J2 * g
        x0, x1, x2 = G0 * p + G1 * r + G2 * t, G0 * r + G1 * u + G2 * v, G0 * t + G1 * v + G2 * w
        out_cov[i, 0] = A + x0 * G0 + x1 * G1 + x2 * G2
        out_cov[i, 1] = B + x0 * H0 + x1 * H1 + x2 * H2
        out_cov[i, 2] = C + x0 * J0 + x1 * J1 + x2 * J2
        x0, x1, x2 = H0 * p + H1 * r + H2 * t, H0 * r + H1 * u + H2 * v, H0 * t + H1 * v + H2 * w
        out_cov[i, 3] = D + x0 * H0 + x1 * H1 + x2 * H2
        out_cov[i, 4] = E + x0 * J0 + x1 * J1 + x2 * J2
        x0, x1, x2 = J0 * p + J1 * r + J2 * t, J0 * r + J1 * u + J2 * v, J0 * t + J1 * v + J2 * w
        out_cov[i, 5] = F + x0 * J0 + x1 * J1 + x2 * J2


@njit(cache=True)
def _gain_row(a, b, c, ip, ir, it, iu, iv, iw):
    return a * ip + b * ir + c * it, a * ir + b * iu + c * iv, a * it + b * iv + c * iw


@njit(cache=True)
def _ahead_3(A, B, C, D, E, F, s, q):
    """Predict a covariance of order 3."""
    z = 0.5 * s * s
    t, u = B + s * D + z * E, C + s * E + z * F
    s2 = s * s
    return (
        A + s * B + z * C + s * t + z * u + q * s2 * s2 * s / 20,
        t + s * u + q * s2 * s2 / 8,
        u + q * s2 * s / 6,
        D + 2 * s * E + s2 * F + q * s2 * s / 3,
        E + s * F + q * s2 / 2,
        F + q * s,
    )


def cpu(work, repeat=3):
    """Best CPU seconds of some runs, after one that warms up."""
    work()
    best = np.inf
    for _ in range(repeat):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def together(works, repeat=15):
    """Best CPU seconds of each, in turn, so that a busy machine slows all of them."""
    best = [math.inf for _ in works]
    for work in works:
        work()
    for _ in range(repeat):
        for k, work in enumerate(works):
            start = time.process_time()
            work()
            best[k] = min(best[k], time.process_time() - start)
    return best


def report(name, seconds, n):
    print(f"{name:58s} {seconds:9.4f} s {seconds / n * 1e9:10.1f} ns a row")


def passes(n):
    """Per row: likelihood, gradient, filter, smoother, beside bare loops."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.random(n))
    y = np.sin(12 * x) + 0.1 * rng.normal(size=n)
    h, variance = np.diff(x, prepend=x[0]), np.full(n, 0.01)
    report("bare filter, order 2", cpu(lambda: bare_filter(h, y, variance, 1e3, 1e6)), n)
    for order in (1, 2, 3, 4, 5, 6):
        rows = sd.SmoothingSpline(order, 1e3).rows(sd.observe(x, y, yerr=0.1))
        rows.likelihood()

        def gradient(diagonal, rows=rows):
            for name in ("gains", "factors"):
                rows.__dict__.pop(name, None)
            errors_of(rows, diagonal)

        works = (rows.likelihood, lambda g=gradient: g(False), lambda g=gradient: g(True))
        bare, by_q, by_all = together(works)
        report(f"likelihood, order {order}", bare, n)
        report(f"likelihood and gradient in q, order {order}", by_q, n)
        report(f"   and in the noise of each row, order {order}", by_all, n)
        print(f"   that is {by_q / bare:.2f} and {by_all / bare:.2f} times the likelihood")
        mean, factor = np.empty((n, order)), np.empty((n, order * (order + 1) // 2))
        out = [np.empty_like(mean), np.empty_like(factor)]

        def both(rows=rows, mean=mean, factor=factor, out=out):
            rows.filter(NO_GAINS, (mean, factor))
            out[0][-1], out[1][-1] = mean[-1], known(factor[-1])
            _smooth_loops.smooth(mean, factor, order, rows.columns(), rows.steps, *out, rows.dims)

        if order < 5:
            report(f"filter and smoother with covariances, order {order}", cpu(both), n)
        if order in (2, 3):
            bare = bare_smoother_2 if order == 2 else bare_smoother_3
            args = (h, y, variance, 1e3, 1e4, mean, factor, out[0], out[1])
            seconds = cpu(lambda a=args, bare=bare: bare(*a))
            report(f"bare filter and RTS in closed form, order {order}", seconds, n)
            got, post = out[0][n // 2, 0], sd.SmoothingSpline(order, 1e3).condition(
                sd.observe(x, y, yerr=0.1)
            )  # fmt: skip
            print(f"   it differs by {abs(got - post(x[n // 2])):.1e} in the middle")


def whole(sizes):
    """Tuned fits with pointwise bands at 1000 places: is the time linear in n?"""
    np.ones(30 * max(sizes))  # a virtual machine lends memory slowly when it is first used
    for n in sizes:
        rng = np.random.default_rng(1)
        x = np.sort(rng.random(n))
        data = sd.observe(x, np.sin(12 * x) + 0.1 * rng.normal(size=n))
        for order in (2, 3) if n > 1e6 else (2, 3, 4, 5, 6):
            few = data[:: n // 5000]
            sd.tune(sd.SmoothingSpline(order), few).condition(few).interval(0.5)  # loads the loops
            start = time.process_time()
            model = sd.tune(sd.SmoothingSpline(order), data)
            middle = time.process_time()
            model.condition(data).interval(np.linspace(0, 1, 1000))
            report(f"tune, order {order}, n = {n:.0e}", middle - start, n)
            report("   condition and band at 1000 places", time.process_time() - middle, n)


def every_row(sizes, repeat=3):
    """Tuned fits of order 2 with limits at every row, by the clock and of CPU: is that linear?"""
    np.ones(30 * max(sizes))  # memory that was lent once is lent again more quickly
    for n in sizes:
        rng = np.random.default_rng(0)
        x = np.sort(rng.random(n))
        data = sd.observe(x, np.sin(8 * x) + 0.1 * rng.normal(size=n))
        best = np.full(2, np.inf)
        for _ in range(repeat):
            clock, cpu = time.perf_counter(), time.process_time()
            sd.tune(sd.SmoothingSpline(2), data).condition(data).interval(x)
            best = np.minimum(best, (time.perf_counter() - clock, time.process_time() - cpu))
        print(f"tune and limits at every row, n = {n:.0e}: {best[0]:.2f} s, {best[1]:.2f} s of CPU")


MEMORY = """
import resource, sys
import numpy as np, smoothderiv as sd
n, order, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(1)

def fit(x):
    data = sd.observe(x, np.sin(12 * x) + 0.1 * rng.normal(size=len(x)))
    model = sd.SmoothingSpline(order, 1e3, {0: 0.1})
    if what == "tune":
        model = sd.tune(sd.SmoothingSpline(order), data)
    model.condition(data).interval(np.linspace(0, 1, 1000))

fit(np.sort(rng.random(5000)))
x = np.sort(rng.random(n))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fit(x)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 8 / n / order)
"""


def memory(n):
    """Peak memory of a fit with bands beyond that of a small one, x and y included."""
    for order in (2, 3):
        for what in ("condition", "tune"):
            command = [sys.executable, "-c", MEMORY, str(n), str(order), what]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            print(f"{what} and band, order {order}: {float(out):.1f} doubles a row and component")


FIRST = """
import sys, time
import numpy as np, smoothderiv as sd
rng = np.random.default_rng(0)
x = np.sort(rng.random(1000))
y = np.sin(12 * x) + 0.1 * rng.normal(size=1000)
if sys.argv[1] == "differentiate":
    sd.differentiate(x, y)
else:
    data = sd.observe(x, y)
    sd.tune(sd.SmoothingSpline(int(sys.argv[1])), data).condition(data).std(x, nu=1)
print(time.time())
"""

ALONE = """
import time
import numpy as np
from numba import njit

@njit(cache=True)
def total(x):
    out = 0.0
    for i in range(len(x)):
        out += x[i]
    return out

total(np.random.default_rng(0).random(1000))
print(time.time())
"""


def first_call(repeat=10):
    """From the start of python to the answer of a tuned fit, all compiled before.

    Beside one cached line of numba: what numpy, numba and, for numba, scipy take to start.
    """
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "alone.py")
        path.write_text(ALONE)
        works = {"numba alone": [str(path)]}
        for what in ("2", "3", "differentiate"):
            works[what if what.isalpha() else f"order {what}"] = ["-c", FIRST, what]
        best = dict.fromkeys(works, (math.inf, math.inf, math.inf))
        for turn in range(1 + repeat):
            for name, work in works.items():
                start, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
                out = subprocess.run(
                    [sys.executable, *work], check=True, env=env, capture_output=True, text=True
                ).stdout
                end, after = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
                used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                if turn:
                    found = (float(out) - start, end - start, used)
                    best[name] = tuple(map(min, best[name], found))
    for name, (result, whole_, used) in best.items():
        print(f"first call, {name}: result {result:.2f} s, end {whole_:.2f} s, CPU {used:.2f} s")


def stream(n=20000):
    for order in (2, 3):
        model = sd.SmoothingSpline(order, 1.0)

        def run(model=model):
            rows = model.stream()
            for i in range(n):
                rows.update(0.1 * i, 0.3, 0.1)

        report(f"streaming update, order {order}", cpu(run), n)


def others(n):
    """The same order-2 smoothing by other programs, q and noise given."""
    rng = np.random.default_rng(2)
    x = np.sort(rng.random(n))
    y, q, sd_ = np.sin(12 * x) + 0.1 * rng.normal(size=n), 1e3, 0.1
    data, model = sd.observe(x, y, yerr=sd_), sd.SmoothingSpline(2, 1e3)
    report("smoothderiv, f and f' with std", cpu(lambda: model.condition(data).std(x, nu=1)), n)
    from scipy.interpolate import make_smoothing_spline

    report("scipy make_smoothing_spline, f alone, no std",
           cpu(lambda: make_smoothing_spline(x, y, lam=sd_**2 / q)), n)  # fmt: skip
    if importlib.util.find_spec("csaps"):
        from csaps import csaps

        p = 1 / (1 + sd_**2 / q)
        report("csaps, f alone, no std", cpu(lambda: csaps(x, y, smooth=p)), n)
    if importlib.util.find_spec("filterpy"):
        from smoothderiv.integrations.filterpy import to_filterpy

        few = min(n, 2000)
        problem = to_filterpy(model, data[:few])
        kf, zs, Fs, Qs, Hs, Rs = problem[:6]

        def run():
            means, covs, _, _ = kf.batch_filter(zs, Fs=Fs, Qs=Qs, Hs=Hs, Rs=Rs)
            kf.rts_smoother(means, covs, Fs=Fs, Qs=Qs)

        report("filterpy", cpu(run, 1), few)
        if importlib.util.find_spec("pykalman"):
            from pykalman import KalmanFilter

            theirs = KalmanFilter(
                np.array(Fs[1:]), Hs[0], np.array(Qs[1:]), Rs[0],
                initial_state_mean=kf.x[:, 0], initial_state_covariance=kf.P,
            )  # fmt: skip
            report("pykalman", cpu(lambda: theirs.smooth(np.array(zs)), 1), few)
        else:
            print("pykalman: not installed")
        if importlib.util.find_spec("statsmodels"):
            from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

            smoother = KalmanSmoother(1, 2, 2)
            smoother.bind(np.asarray(y[: len(zs)]))
            smoother["design"], smoother["obs_cov"] = [[1.0, 0.0]], [[sd_**2]]
            smoother["selection"] = np.eye(2)
            smoother["transition"] = np.ascontiguousarray(np.moveaxis(np.array(Fs), 0, -1))
            smoother["state_cov"] = np.ascontiguousarray(np.moveaxis(np.array(Qs), 0, -1))
            smoother.initialize_known(kf.x[:, 0], kf.P)
            report("statsmodels", cpu(smoother.smooth, 1), len(zs))
    if importlib.util.find_spec("pynumdiff"):
        from pynumdiff import rtsdiff

        few = min(n, 2000)
        report("pynumdiff rtsdiff", cpu(lambda: rtsdiff(y[:few], x[:few], 2, 5.0, True), 1), few)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    rows = int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000
    first_call()
    memory(rows)  # early, since a process inherits the peak of the one that starts it
    passes(rows)
    whole((rows // 10, rows, 10 * rows))
    every_row((rows // 10, rows, 10 * rows))
    stream()
    others(min(rows, 100_000))
