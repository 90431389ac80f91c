"""Compiled loops over packed factors of states: from coordinates to the state itself.

Triangles are packed as in ``_loops``; see there.
"""

import numpy as np
from numba import njit

_loop = njit(cache=True, nogil=True, error_model="numpy")


@_loop
def express(mean, factor, spread):
    """Turn means and factors of coordinates into those of the state, ``U c``; in place."""
    d = mean.shape[1]
    for i in range(len(mean)):
        for j in range(d):
            for k in range(j + 1, d):
                at = k * (k + 1) // 2
                u = factor[i, at + j]
                mean[i, j] += u * mean[i, k]
                for p in range(k + 1, d):  # row j of U V, from the left, since V's rows are needed
                    spread[i, p * (p + 1) // 2 + j] += u * spread[i, p * (p + 1) // 2 + k]
                spread[i, at + j] += u


@_loop
def lost(mean, factor, spread):
    """Return how many times larger than a state ``U c`` are the terms that it is a sum of.

    The most of standard deviations, and of means beside both; and which state's it is.
    """
    m, d, worst, where = len(factor), 1, 1.0, 0
    while d * (d + 1) // 2 < factor.shape[1]:
        d += 1
    for i in range(m):
        for j in range(d - 1):
            apart, total, size, middle = 0.0, 0.0, 0.0, 0.0
            for k in range(j, d):
                at = k * (k + 1) // 2
                u, own = (1.0 if k == j else factor[i, at + j]), spread[i, at + k]
                for p in range(k + 1, d):
                    v = spread[i, p * (p + 1) // 2 + k]
                    own += v * v * spread[i, p * (p + 1) // 2 + p]
                apart += u * u * own
                size += abs(u * mean[i, k])
                middle += u * mean[i, k]
                u += spread[i, at + j] if k > j else 0.0
                for p in range(j + 1, k):
                    u += factor[i, p * (p + 1) // 2 + j] * spread[i, at + p]
                total += u * u * spread[i, at + k]
            if total > 0.0:
                std = np.sqrt(total)
                times = max(np.sqrt(apart) / std, size / (std + abs(middle)))
                if times > worst:
                    worst, where = times, i
    return worst, where


@_loop
def variances(factor, spread, component):
    """Return the variance of one component of each state ``U c``, spread the factor of c: (m,)."""
    m, d = len(component), 1
    while d * (d + 1) // 2 < factor.shape[1]:
        d += 1
    out = np.empty(m)
    for i in range(m):
        nu = component[i]
        total = spread[i, nu * (nu + 1) // 2 + nu]
        for k in range(nu + 1, d):
            at = k * (k + 1) // 2
            u = spread[i, at + nu] + factor[i, at + nu]
            for p in range(nu + 1, k):
                u += factor[i, p * (p + 1) // 2 + nu] * spread[i, at + p]
            total += u * u * spread[i, at + k]
        out[i] = total
    return out
