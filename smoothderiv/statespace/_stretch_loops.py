"""Compiled loops that differentiate smoothing errors by the lengths of the steps."""

import numpy as np
from numba import njit

_loop = njit(cache=True, nogil=True, error_model="numpy")


@_loop
def stretch(rows, steps, start, drift, density):
    """Differentiate P y and diag P by the lengths of all steps together, forwards in mode.

    For data y (n, q) and their slopes under a longer scale, rows = (y, dy, variance, dvariance,
    component); `steps` (h, transition, root) and the rest as in ``_error_loops``: a step h goes
    to ``h (1 - s)``, so that ``dA = -h F A`` and ``dQ = -h density a a'``, a the last column of A.
    Return (P y, d(P y), diag P, d(diag P)), by filter and backward recursions of covariances.
    """
    y, dy, variance, dvariance, component = rows
    h, transition, root = steps
    n, q = y.shape
    d = len(start)
    gain, dgain = np.empty((n, d)), np.empty((n, d))
    F, dF = np.empty(n), np.empty(n)
    e, de = np.empty((n, q)), np.empty((n, q))
    P, dP = start.copy(), np.zeros((d, d))
    m, dm = np.zeros((d, q)), np.zeros((d, q))
    for i in range(n):
        nu = component[i]
        if i > 0 and h[i] > 0.0:
            A = transition[i]
            dA = -h[i] * (drift @ A)
            last = np.ascontiguousarray(A[:, d - 1])
            dm = A @ dm + dA @ m
            m = A @ m
            cross = dA @ P @ A.T
            dP = A @ dP @ A.T + cross + cross.T - h[i] * density * np.outer(last, last)
            P = A @ P @ A.T + root[i] @ root[i].T
        F[i], dF[i] = P[nu, nu] + variance[i], dP[nu, nu] + dvariance[i]
        e[i], de[i] = y[i] - m[nu], dy[i] - dm[nu]
        if not F[i] > 0.0:
            gain[i], dgain[i] = 0.0, 0.0
            continue
        gain[i] = P[:, nu] / F[i]
        dgain[i] = (dP[:, nu] - gain[i] * dF[i]) / F[i]
        m = m + np.outer(gain[i], e[i])
        dm = dm + np.outer(dgain[i], e[i]) + np.outer(gain[i], de[i])
        cross = np.outer(dgain[i], gain[i]) * F[i]
        dP = dP - cross - cross.T - np.outer(gain[i], gain[i]) * dF[i]
        P = P - np.outer(gain[i], gain[i]) * F[i]
    pull, dpull, diagonal, ddiagonal = np.empty((n, q)), np.empty((n, q)), np.empty(n), np.empty(n)
    r, dr, N, dN = np.zeros((d, q)), np.zeros((d, q)), np.zeros((d, d)), np.zeros((d, d))
    for i in range(n - 1, -1, -1):
        nu, K, dK = component[i], gain[i], dgain[i]
        inverse = 1.0 / F[i] if F[i] > 0.0 else 0.0
        dinverse = -dF[i] * inverse * inverse
        w, dw = N @ K, dN @ K + N @ dK
        pull[i] = e[i] * inverse - K @ r
        dpull[i] = de[i] * inverse + e[i] * dinverse - dK @ r - K @ dr
        diagonal[i], ddiagonal[i] = inverse + K @ w, dinverse + dK @ w + K @ dw
        r[nu] += pull[i]
        dr[nu] += dpull[i]
        for j in range(d):
            N[j, nu] -= w[j]
            N[nu, j] -= w[j]
            dN[j, nu] -= dw[j]
            dN[nu, j] -= dw[j]
        N[nu, nu] += diagonal[i]
        dN[nu, nu] += ddiagonal[i]
        if i > 0 and h[i] > 0.0:
            A = transition[i]
            dA = -h[i] * (drift @ A)
            dr = A.T @ dr + dA.T @ r
            r = A.T @ r
            cross = dA.T @ N @ A
            dN = A.T @ dN @ A + cross + cross.T
            N = A.T @ N @ A
    return pull, dpull, diagonal, ddiagonal
