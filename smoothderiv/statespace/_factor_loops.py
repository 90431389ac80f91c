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
