"""Slow, obvious references for the spline engine: dense matrices, textbook formulas."""

import numpy as np
from scipy import linalg


def basis_value(i, k, t, x, nu=0):
    """D^nu B_{i,k}(x) by the definition (order j = k + 1 in FIELD's formula), 0/0 := 0."""
    if nu > 0:
        if k == 0:
            return 0.0
        left = t[i + k] - t[i]
        right = t[i + k + 1] - t[i + 1]
        value = 0.0
        if left > 0:
            value += k * basis_value(i, k - 1, t, x, nu - 1) / left
        if right > 0:
            value -= k * basis_value(i + 1, k - 1, t, x, nu - 1) / right
        return value
    if k == 0:
        last = np.flatnonzero(t < t[-1])[-1]  # the last interval that is not empty is closed
        inside = t[i] <= x < t[i + 1] or (i == last and x == t[-1])
        return float(inside)
    value = 0.0
    if t[i + k] > t[i]:
        value += (x - t[i]) / (t[i + k] - t[i]) * basis_value(i, k - 1, t, x)
    if t[i + k + 1] > t[i + 1]:
        value += (t[i + k + 1] - x) / (t[i + k + 1] - t[i + 1]) * basis_value(i + 1, k - 1, t, x)
    return value


def basis_matrix(t, k, x, nu):
    """Dense (n, n_coef) matrix of D^nu[i] B(x[i])."""
    n_coef = len(t) - k - 1
    return np.array(
        [
            [basis_value(i, k, t, xi, ni) for i in range(n_coef)]
            for xi, ni in zip(x, nu, strict=True)
        ]
    )


class DenseSpline:
    """Equality-constrained penalised least squares by dense null spaces and inverses."""

    def __init__(self, basis, data, levels, lam=0.0, order=2):
        self.basis, self.data = basis, data
        rows = basis.rows(data.x, data.nu).toarray()
        sd = data.sd(levels)
        exact = sd == 0
        self.rows, self.sd, self.exact = rows, sd, exact
        null = linalg.null_space(rows[exact]) if exact.any() else np.eye(basis.n_coef)
        shift = np.zeros(basis.n_coef)
        if exact.any():
            shift = np.linalg.lstsq(rows[exact], data.y[exact], rcond=None)[0]
        weighted = rows[~exact] / sd[~exact, None]
        penalty = lam * basis.penalty(order).toarray() if lam else np.zeros((basis.n_coef,) * 2)
        precision = null.T @ (weighted.T @ weighted + penalty) @ null
        gradient = weighted.T @ ((data.y[~exact] - rows[~exact] @ shift) / sd[~exact])
        gradient = null.T @ (gradient - penalty @ shift)
        self.coef = shift + null @ np.linalg.solve(precision, gradient)
        self.cov = null @ np.linalg.inv(precision) @ null.T

    def mean(self, x, nu):
        return self.basis.rows(x, nu).toarray() @ self.coef

    def var(self, x, nu):
        rows = self.basis.rows(x, nu).toarray()
        return np.einsum("ni,ij,nj->n", rows, self.cov, rows)


def restricted_log_likelihood(design, y, cov):
    """Harville's log density of error contrasts, with + 1/2 log |X'X| (Biometrika 61, 1974)."""
    n, p = design.shape
    inverse = np.linalg.inv(cov)
    information = design.T @ inverse @ design
    beta = np.linalg.solve(information, design.T @ inverse @ y)
    residual = y - design @ beta
    return -0.5 * (
        (n - p) * np.log(2 * np.pi)
        + np.linalg.slogdet(cov)[1]
        + np.linalg.slogdet(information)[1]
        - np.linalg.slogdet(design.T @ design)[1]
        + residual @ inverse @ residual
    )
