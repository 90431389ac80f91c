"""Compiled loops over tiles of radial kernels. They see arrays only.

A tile is a set of places by a set of places. Rows are places of the first argument; x2 comes
transposed, (d, n2), so that the innermost loop runs over contiguous numbers.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def distances(x1, x2, inverse, out):
    """Fill ``out[i, j] = |(x1_i - x2_j) / scale|``."""
    n1, ndim = x1.shape
    n2 = x2.shape[1]
    for i in range(n1):
        row = out[i]
        for j in range(n2):
            row[j] = 0.0
        for a in range(ndim):
            here, per = x1[i, a], inverse[a]
            for j in range(n2):
                u = (here - x2[a, j]) * per
                row[j] += u * u
        for j in range(n2):
            row[j] = np.sqrt(row[j])


@njit(cache=True, nogil=True)
def reciprocals(r, out):
    """Fill ``out = 1 / r``, and 0 where r is 0: no displacement has no direction."""
    n1, n2 = r.shape
    for i in range(n1):
        for j in range(n2):
            out[i, j] = 1.0 / r[i, j] if r[i, j] > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _monomial(row, i, x1, x2, inverse, reciprocal, factors, divisions):
    """Multiply a row by the components of u named in `factors`, the first of them by 1/r too."""
    n2 = row.shape[0]
    for f in range(factors.shape[0]):
        a = factors[f]
        here, per = x1[i, a], inverse[a]
        for j in range(n2):
            row[j] *= (here - x2[a, j]) * per
        if f < divisions:
            for j in range(n2):
                row[j] *= reciprocal[i, j]


@njit(cache=True, nogil=True)
def radial_blocks(
    out, profile, reciprocal, x1, x2, inverse, slot, coef, level, first, factors, divisions
):
    """Add ``coef * F_level(r) * monomial(u)`` of each term to its block ``out[slot]``."""
    n1, n2 = out.shape[1:]
    row = np.empty(n2)
    for i in range(n1):
        for t in range(slot.shape[0]):
            c, radial = coef[t], profile[level[t], i]
            for j in range(n2):
                row[j] = c * radial[j]
            names = factors[first[t] : first[t + 1]]
            _monomial(row, i, x1, x2, inverse, reciprocal, names, divisions[t])
            target = out[slot[t], i]
            for j in range(n2):
                target[j] += row[j]


@njit(cache=True, nogil=True)
def radial_sums(
    weights, profile, reciprocal, x1, x2, inverse, slot, coef, level, first, factors, divisions
):
    """Return the sum over the tile of ``weights[slot] * coef * F_level(r) * monomial(u)``: (T,)."""
    n1, n2 = weights.shape[1:]
    row = np.empty(n2)
    sums = np.zeros(slot.shape[0])
    for i in range(n1):
        for t in range(slot.shape[0]):
            c, radial, weight = coef[t], profile[level[t], i], weights[slot[t], i]
            for j in range(n2):
                row[j] = c * radial[j] * weight[j]
            names = factors[first[t] : first[t + 1]]
            _monomial(row, i, x1, x2, inverse, reciprocal, names, divisions[t])
            total = 0.0
            for j in range(n2):
                total += row[j]
            sums[t] += total
    return sums


@njit(cache=True, nogil=True)
def radial_gather(
    out, weights, profile, reciprocal, x1, x2, inverse, slot, coef, level, first, factors, divisions
):
    """Add ``weights[slot] * coef * F_level(r) * monomial(u)`` of all terms: (n1, n2)."""
    n1, n2 = weights.shape[1:]
    row = np.empty(n2)
    for i in range(n1):
        target = out[i]
        for t in range(slot.shape[0]):
            c, radial, weight = coef[t], profile[level[t], i], weights[slot[t], i]
            for j in range(n2):
                row[j] = c * radial[j] * weight[j]
            names = factors[first[t] : first[t + 1]]
            _monomial(row, i, x1, x2, inverse, reciprocal, names, divisions[t])
            for j in range(n2):
                target[j] += row[j]


@njit(cache=True, nogil=True)
def first_order_products(both, left, right, f0, f1, f2, u1, u2, mine, theirs):
    """Add the covariance of values and first derivatives of a tile times vectors, O(d) a pair.

    With ``u = u1_i - u2_j`` (places over scale; u2 comes transposed) and f_j the profile, for
    value and slopes: ``[[f0, f1 u'], [-f1 u, f1 I - f2 u u']]``. The vectors `theirs`
    (s, 1 + d, n2) give `left`, and if `both`, `mine` (s, 1 + d, n1) give `right`.
    """
    n1, n2, ndim = f0.shape[0], f0.shape[1], u1.shape[1]
    u, dot, push = np.empty((ndim, n2)), np.empty(n2), np.empty(n2)
    for i in range(n1):
        for a in range(ndim):
            for j in range(n2):
                u[a, j] = u1[i, a] - u2[a, j]
        for c in range(mine.shape[0]):
            dot[:] = 0.0
            for a in range(ndim):
                for j in range(n2):
                    dot[j] += u[a, j] * theirs[c, 1 + a, j]
            total = 0.0
            for j in range(n2):
                total += f0[i, j] * theirs[c, 0, j] + f1[i, j] * dot[j]
                push[j] = f1[i, j] * theirs[c, 0, j] + f2[i, j] * dot[j]
            left[c, 0, i] += total
            for a in range(ndim):
                total = 0.0
                for j in range(n2):
                    total += f1[i, j] * theirs[c, 1 + a, j] - u[a, j] * push[j]
                left[c, 1 + a, i] += total
            if not both:
                continue
            dot[:] = 0.0
            for a in range(ndim):
                for j in range(n2):
                    dot[j] += u[a, j] * mine[c, 1 + a, i]
            for j in range(n2):
                right[c, 0, j] += f0[i, j] * mine[c, 0, i] - f1[i, j] * dot[j]
                push[j] = f1[i, j] * mine[c, 0, i] - f2[i, j] * dot[j]
            for a in range(ndim):
                for j in range(n2):
                    right[c, 1 + a, j] += f1[i, j] * mine[c, 1 + a, i] + u[a, j] * push[j]


@njit(cache=True, nogil=True)
def axis_sums(total, reciprocal, x1, x2, inverse):
    """Return ``sum_ij total_ij (u_a / r)^2`` for each dimension a: (d,)."""
    n1, ndim = x1.shape
    n2 = x2.shape[1]
    sums = np.zeros(ndim)
    for i in range(n1):
        for a in range(ndim):
            here, per = x1[i, a], inverse[a]
            part = 0.0
            for j in range(n2):
                cosine = (here - x2[a, j]) * per * reciprocal[i, j]
                part += total[i, j] * cosine * cosine
            sums[a] += part
    return sums


@njit(cache=True, nogil=True)
def symmetric_norm(matrix):
    """Return the 1-norm of the symmetric matrix whose lower triangle is given."""
    n = matrix.shape[0]
    sums = np.zeros(n)
    for i in range(n):
        total = 0.0
        for j in range(i):
            size = abs(matrix[i, j])
            total += size
            sums[j] += size
        sums[i] += total + abs(matrix[i, i])
    return sums.max()


@njit(cache=True, nogil=True)
def mirror(matrix):
    """Copy the lower triangle to the upper one, in tiles."""
    n, step = matrix.shape[0], 64
    for first in range(0, n, step):
        for second in range(0, first + 1, step):
            for i in range(first, min(first + step, n)):
                for j in range(second, min(second + step, i)):
                    matrix[j, i] = matrix[i, j]


@njit(cache=True, nogil=True)
def chain_variance(looks, last, transition, noise):
    """Return the variance of ``sum_k looks_k z_k`` along a chain that runs backwards.

    ``z_k = transition_k z_(k+1) + noise_k``, the last with covariance `last`.
    """
    n, d = looks.shape
    row, total = np.zeros(d), 0.0
    for k in range(n):
        row += looks[k]
        if k == n - 1:
            total += row @ last @ row
        else:
            total += row @ noise[k] @ row
            row = row @ transition[k]
    return total
