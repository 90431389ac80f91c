"""The smoothing spline by its definition: dense matrices in arithmetic of many digits.

Slow and obvious: f is a polynomial with a flat prior plus the integrated Wiener process started at
the first place, whose covariances are sums of powers; everything follows by generalised least
squares.
"""

import mpmath as mp
import numpy as np


def wiener_cov(order, s, a, t, b):
    """Covariance of derivatives a at s and b at t (from 0 on) for unit density."""
    if s > t:
        s, t, a, b = t, s, b, a
    if s <= 0:
        return mp.mpf(0)
    # int_0^s v^(i) (v + t - s)^(j) dv / (i! j!), v = s - time, expanded in powers of t - s
    i, j, gap = order - 1 - a, order - 1 - b, t - s
    total = mp.mpf(0)
    for k in range(j + 1):
        total += mp.binomial(j, k) * gap ** (j - k) * s ** (i + k + 1) / (i + k + 1)
    return total / (mp.factorial(i) * mp.factorial(j))


def polynomial_row(order, x, nu):
    return [mp.ff(j, nu) * x ** (j - nu) if j >= nu else mp.mpf(0) for j in range(order)]


class DenseSpline:
    """Posterior of a smoothing spline, by dense algebra with `digits` digits."""

    def __init__(self, order, q, x, y, sd, nu, digits=120):
        self.digits = digits
        with mp.workdps(digits):
            self.order, self.q = order, mp.mpf(float(q))
            self.x = [mp.mpf(float(v)) for v in x]
            self.x0 = min(self.x)
            self.nu = [int(v) for v in nu]
            n = len(self.x)
            y = mp.matrix([mp.mpf(float(v)) for v in y])
            K = mp.matrix(n, n)
            for i in range(n):
                for j in range(n):
                    K[i, j] = self._cov(self.x[i], self.nu[i], self.x[j], self.nu[j])
                K[i, i] += mp.mpf(float(sd[i])) ** 2
            X = mp.matrix(
                [polynomial_row(order, self.x[i] - self.x0, self.nu[i]) for i in range(n)]
            )
            # [K X; X' 0] in one solve: exact rows make K singular, never the whole
            full = mp.matrix(n + order, n + order)
            full[:n, :n], full[:n, n:], full[n:, :n] = K, X, X.T
            self.inverse = full**-1
            self.solved = self.inverse * mp.matrix(list(y) + [0] * order)
            self.K, self.X, self.y, self.n = K, X, y, n

    def _cov(self, s, a, t, b):
        return self.q * wiener_cov(self.order, s - self.x0, a, t - self.x0, b)

    def _row(self, x, nu):
        x = mp.mpf(float(x))
        row = [self._cov(x, int(nu), self.x[i], self.nu[i]) for i in range(self.n)]
        return mp.matrix(row + polynomial_row(self.order, x - self.x0, int(nu)))

    def mean(self, x, nu):
        """Means at places from the first row on."""
        with mp.workdps(self.digits):
            return np.array(
                [float((self._row(v, k).T * self.solved)[0]) for v, k in zip(x, nu, strict=True)]
            )

    def cov(self, x, nu):
        """Covariance matrix at places from the first row on."""
        with mp.workdps(self.digits):
            rows = [self._row(v, k) for v, k in zip(x, nu, strict=True)]
            halves = [self.inverse * row for row in rows]
            out = np.empty((len(rows), len(rows)))
            for i in range(len(rows)):
                for j in range(len(rows)):
                    prior = self._cov(
                        mp.mpf(float(x[i])), int(nu[i]), mp.mpf(float(x[j])), int(nu[j])
                    )
                    out[i, j] = float(prior - (rows[i].T * halves[j])[0])
            return out

    def std(self, x, nu):
        with mp.workdps(self.digits):
            out = []
            for v, k in zip(x, nu, strict=True):
                row, place = self._row(v, k), mp.mpf(float(v))
                var = self._cov(place, int(k), place, int(k)) - (row.T * (self.inverse * row))[0]
                out.append(float(mp.sqrt(abs(var))))
            return np.array(out)

    def errors(self):
        """P y and diag P, P the inverse covariance of the rows off the polynomials."""
        n = range(self.n)
        pull, precision = [self.solved[i] for i in n], [self.inverse[i, i] for i in n]
        return np.array(pull, dtype=float), np.array(precision, dtype=float)

    def log_evidence(self):
        """Harville's restricted likelihood with u = (x - x0) / L, rows of order nu times L^nu."""
        with mp.workdps(self.digits):
            span = max(self.x) - self.x0
            K, X = self.K, self.X
            U, W = mp.matrix(self.n, self.order), mp.matrix(self.n, self.order)
            for i in range(self.n):
                for j in range(self.order):
                    W[i, j] = X[i, j] * span**-j
                    U[i, j] = W[i, j] * span ** self.nu[i]
            inverse = K**-1
            chi = (self.y.T * self.solved[: self.n, :])[0]
            logs = mp.log(mp.det(K)) + mp.log(mp.det(W.T * inverse * W))
            logs -= mp.log(mp.det(U.T * U))
            return float(-(logs + chi + (self.n - self.order) * mp.log(2 * mp.pi)) / 2)
