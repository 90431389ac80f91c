"""Time the Kalman smoothing spline, alone and side by side. CPU time on one core.

Run: OPENBLAS_NUM_THREADS=1 python benchmarks/statespace.py [rows]
Packages that are not installed are left out.
"""

import importlib.util
import resource
import sys
import time
import warnings

import numpy as np
from numba import njit

import smoothderiv as sd
from smoothderiv.statespace import _loops
from smoothderiv.statespace.interop import to_filterpy


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
def bare_smoother(h, y, variance, q, start, d, out_mean, out_cov):
    """A textbook filter and RTS smoother of any order: full covariances, a solve a step."""
    n = len(y)
    means, covs = np.zeros((n, d)), np.zeros((n, d, d))
    m, P = np.zeros(d), start * np.eye(d)
    A, Q, T, H = np.eye(d), np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, d))
    fact = np.ones(d)
    for j in range(1, d):
        fact[j] = fact[j - 1] * j
    for i in range(n):
        if i > 0:
            _model(A, Q, h[i], q, d, fact)
            _predict(A, Q, m, P, T, H, d)
        F = P[0, 0] + variance[i]
        e = y[i] - m[0]
        for j in range(d):
            T[0, j] = P[0, j]
        for j in range(d):
            m[j] += T[0, j] / F * e
            for k in range(d):
                P[j, k] -= T[0, j] * T[0, k] / F
        means[i], covs[i] = m, P
    out_mean[n - 1], out_cov[n - 1] = m, P
    for i in range(n - 2, -1, -1):
        _model(A, Q, h[i + 1], q, d, fact)
        ahead, predicted = means[i].copy(), covs[i].copy()
        for j in range(d):
            for k in range(d):
                H[j, k] = 0.0
        _predict(A, Q, ahead, predicted, T, H, d)
        G = np.linalg.solve(predicted, A @ covs[i]).T
        out_mean[i] = means[i] + G @ (out_mean[i + 1] - ahead)
        out_cov[i] = covs[i] + G @ (out_cov[i + 1] - predicted) @ G.T


@njit(cache=True)
def _model(A, Q, h, q, d, fact):
    for i in range(d):
        for j in range(d):
            if j > i:
                A[i, j] = h ** (j - i) / fact[j - i]
            power = 2 * d - 1 - i - j
            Q[i, j] = q * h**power / (power * fact[d - 1 - i] * fact[d - 1 - j])


@njit(cache=True)
def _predict(A, Q, m, P, T, H, d):
    for i in range(d):
        total = 0.0
        for k in range(i, d):
            total += A[i, k] * m[k]
        m[i] = total
        for j in range(d):
            total = 0.0
            for k in range(i, d):
                total += A[i, k] * P[k, j]
            T[i, j] = total
    for i in range(d):
        for j in range(d):
            total = Q[i, j]
            for k in range(j, d):
                total += T[i, k] * A[j, k]
            P[i, j] = total


def cpu(work, repeat=3):
    """Best CPU seconds of some runs, after one that warms up."""
    work()
    best = np.inf
    for _ in range(repeat):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
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
    for order in (1, 2, 3, 4):
        rows = sd.SmoothingSpline(order, 1e3).rows(sd.observe(x, y, yerr=0.1))
        rows.likelihood()
        report(f"likelihood, order {order}", cpu(rows.likelihood), n)

        def gradient(rows=rows):
            rows.__dict__.pop("_gains", None)
            rows.errors()

        report(f"likelihood and gradient, order {order}", cpu(gradient), n)
        mean, factor = np.empty((n, order)), np.empty((n, order * (order + 1) // 2))
        out = [np.empty_like(mean), np.empty_like(factor), np.empty_like(mean)]
        none = (None, None, None)

        def both(rows=rows, mean=mean, factor=factor, out=out):
            _loops.forward(rows._rows, rows.steps, rows._settled, *none, mean, factor, rows._dims)
            _loops.smooth(mean, factor, order, rows.steps, *out, rows._dims)

        if order < 4:
            report(f"filter and smoother with covariances, order {order}", cpu(both), n)
        if order in (2, 3):
            means, covs, few = np.empty((n, order)), np.empty((n, order, order)), slice(0, n // 5)
            args = (h[few], y[few], variance[few], 1e3, 1e4, order)
            seconds = cpu(lambda a=args, m=means, c=covs: bare_smoother(*a, m[few], c[few]))
            report(f"textbook RTS with a solve a step, order {order}", seconds, n // 5)


def whole(sizes):
    """Tuned fits with pointwise bands at the rows, and what memory they took."""
    for n in sizes:
        rng = np.random.default_rng(1)
        x = np.sort(rng.random(n))
        data = sd.observe(x, np.sin(12 * x) + 0.1 * rng.normal(size=n))
        for order in (2, 3):
            start = time.process_time()
            model = sd.tune(sd.SmoothingSpline(order), data)
            middle = time.process_time()
            model.condition(data).interval(x)
            report(f"tune, order {order}, n = {n:.0e}", middle - start, n)
            report("   condition and band at the rows", time.process_time() - middle, n)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"   peak memory of the process so far: {peak:.0f} MB")


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
    passes(rows)
    whole((rows // 10, rows))
    stream()
    others(min(rows, 100_000))
