"""Compiled loops over many series at once, which share their places and their noise."""

import numpy as np
from numba import njit

_loop = njit(cache=True, nogil=True, error_model="numpy")
# no entries for Python, whose compilation would take as long as the functions themselves
_inline = njit(  # type: ignore[call-overload]
    forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)


@_loop
def follow(y, variance, h, gain, inverse):
    """Send the values of k series, y (n, k), through the gains of one: what differs between them.

    For places, noise and a Wiener prior that they share. Return ``y' P y`` and ``sum_i variance_i
    (P y)_i^2``, P as in ``_error_loops.errors``: (2, k).
    """
    (n, k), d = y.shape, gain.shape[1]
    e, a, out = np.empty((n, k)), np.zeros((d, k)), np.zeros((2, k))
    for i in range(n):
        _shift_each(a, h[i])
        keep = variance[i] * inverse[i]
        for m in range(k):
            e[i, m] = y[i, m] - a[0, m]
            out[0, m] += e[i, m] * e[i, m] * inverse[i]
        for j in range(d):
            for m in range(k):
                a[j, m] += gain[i, j] * e[i, m]
        if inverse[i] > 0.0:
            for m in range(k):
                a[0, m] = y[i, m] - keep * e[i, m]
    for j in range(d):
        for m in range(k):
            a[j, m] = 0.0
    dot = np.empty(k)
    for i in range(n - 1, -1, -1):
        for m in range(k):
            dot[m] = gain[i, 0] * a[0, m]
        for j in range(1, d):
            for m in range(k):
                dot[m] += gain[i, j] * a[j, m]
        keep = variance[i] * inverse[i] if inverse[i] > 0.0 else 1.0 - gain[i, 0]
        for m in range(k):
            pull = e[i, m] * inverse[i] - dot[m]
            out[1, m] += variance[i] * pull * pull
            beside = dot[m] - gain[i, 0] * a[0, m]
            a[0, m] = e[i, m] * inverse[i] + keep * a[0, m] - beside
        if h[i] > 0.0:
            for p in range(d - 2, -1, -1):
                for j in range(p, d - 1):
                    for m in range(k):
                        a[j + 1, m] += h[i] * a[j, m]
    return out


@_inline
def _shift_each(a, h):
    """Move Taylor coefficients (d, k) by h."""
    d, k = a.shape
    for p in range(d - 1):
        for i in range(d - 2, p - 1, -1):
            for m in range(k):
                a[i, m] += h * a[i + 1, m]
