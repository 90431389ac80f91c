"""Compiled loops of the band solver: rows on the grid, banded triangles and solves by them.

A band R (K, b) is upper triangular: row j holds its entries j .. j + b - 1.
"""

import numpy as np
from numba import njit

_TINY = 1e-290


@njit(cache=True, nogil=True)
def fill(x, nu, weight, panel, step, scale, half, first, rows, slopes):
    """Fill rows (n, b) with ``weight phi^(nu)(t) / scale^nu``, ``phi(t) = exp(-t^2)``.

    ``t = (x - g) / scale`` for the grid places g from ``first`` on, the same for all rows of a
    panel, which is a whole number of steps; a row is 0 but for its nearest ``2 half + 1`` places.
    If `slopes` has rows, they become the derivatives by log scale of ``rows / sqrt(scale)``, the
    grid held.
    """
    apart, width, steps = step / scale, 2 * half + 1, np.int64(np.round(panel / step))
    table = np.empty(half + 1)
    for k in range(half + 1):
        table[k] = np.exp(-((apart * k) ** 2))
    with_slopes = len(slopes) > 0
    for i in range(len(x)):
        begin = np.floor(x[i] / panel)
        inside = x[i] - begin * panel
        offset = np.int64(np.round(inside / step))
        first[i] = np.int64(begin) * steps - half
        order = nu[i]
        t0 = (inside - offset * step) / scale
        size = weight[i] * scale ** (-order) * np.exp(-t0 * t0)
        up, down = np.exp(2.0 * t0 * apart), np.exp(-2.0 * t0 * apart)
        right, left = size, size
        rows[i] = 0.0
        row = rows[i, offset : offset + width]
        for k in range(half + 1):
            row[half + k] = right * table[k]
            row[half - k] = left * table[k]
            right *= up
            left *= down
        if with_slopes:
            slopes[i] = 0.0
        for k in range(width):
            t = t0 - apart * (k - half)
            before, here = 0.0, 1.0
            for j in range(order):
                before, here = here, -2.0 * (t * here + j * before)
            if with_slopes:
                after = -2.0 * (t * here + order * before)
                slopes[i, offset + k] = -((order + 0.5) * here + t * after) * row[k]
            row[k] *= here


@njit(cache=True, nogil=True)
def _reflect(top, shared, block, m, k, start, offset, length):
    """Apply ``I - u u' / tau`` to row `top` and rows of the block; u in `shared`, `block[:, k]`.

    `shared` holds 1 / tau, the first entry of u, and room for the products.
    """
    inverse, first = shared[0], shared[1]
    product = shared[2:]
    for c in range(length):
        product[c] = first * top[start + c]
    for i in range(m):
        here = block[i, k]
        row = block[i, offset : offset + length]
        for c in range(length):
            product[c] += here * row[c]
    for c in range(length):
        product[c] *= inverse
        top[start + c] -= first * product[c]
    for i in range(m):
        here = block[i, k]
        row = block[i, offset : offset + length]
        for c in range(length):
            row[c] -= here * product[c]


@njit(cache=True, nogil=True)
def _eliminate(top, rhs, shared, block, m, k, length, q, at):
    """Make column k of the block zero against the diagonal ``top[0] > 0`` by one reflection."""
    total = 0.0
    for i in range(m):
        total += block[i, k] * block[i, k]
    if total <= _TINY:
        return
    before = top[0]
    after = np.sqrt(before * before + total)
    shared[1] = -total / (before + after)
    shared[0] = 2.0 / (shared[1] * shared[1] + total)
    top[0] = after
    _reflect(top, shared, block, m, k, 1, k + 1, length - 1)
    _reflect(rhs, shared, block, m, k, 0, at, q)


@njit(cache=True, nogil=True)
def factor(column, rows, rhs, band, right, tail, most):
    """Bring rows (n, b), sorted by column, with right sides (n, q), into the triangle of the band.

    The band starts as the prior, the unit matrix, `right` (K, q) as zeros. What is left of the
    right sides goes into the triangle `tail` (q, q), zeros at first.
    """
    n, b = rows.shape
    q = rhs.shape[1]
    block = np.empty((most, b + q))
    shared = np.empty(b + q + 2)
    i = 0
    while i < n:
        m, col = 0, column[i]
        while i < n and m < most and column[i] == col:
            block[m, :b] = rows[i]
            block[m, b:] = rhs[i]
            m += 1
            i += 1
        for k in range(b):
            _eliminate(band[col + k], right[col + k], shared, block, m, k, b - k, q, b)
        for k in range(q):
            _eliminate(tail[k, k:], tail[k, q:], shared, block, m, b + k, q - k, 0, 0)


@njit(cache=True, nogil=True)
def compress(starts, tau, weight, sides, triangles, out):
    """Turn each run of rows into as few as their panel has dimensions, with the same sums.

    Rows of a run, ``starts[k]`` to ``starts[k + 1]``, are ``weight T(tau)``, with r Chebyshev
    polynomials T. Rows and right sides (n, q) become the triangle of their QR decomposition,
    r + q rows: `triangles` (runs, r + q, r) and `out` (runs, r + q, q).
    """
    rank, q = triangles.shape[2], sides.shape[1]
    size, most = rank + q, 32
    block = np.empty((most, size))
    shared = np.empty(size + 2)
    triangle = np.empty((size, size))
    for run in range(len(starts) - 1):
        triangle[:] = 0.0
        i = starts[run]
        while i < starts[run + 1]:
            m = 0
            while m < most and i < starts[run + 1]:
                before, here = tau[i] * weight[i], weight[i]
                for k in range(rank):
                    block[m, k] = here
                    before, here = here, 2.0 * tau[i] * here - before
                block[m, rank:] = sides[i]
                m += 1
                i += 1
            for k in range(size):
                top = triangle[k, k:]
                _eliminate(top, top[:0], shared, block, m, k, size - k, 0, 0)
        triangles[run] = triangle[:, :rank]
        out[run] = triangle[:, rank:]


@njit(cache=True, nogil=True)
def back_solve(band, right):
    """Overwrite `right` (K, q) with ``R^-1 right``."""
    count, b = band.shape
    q = right.shape[1]
    for j in range(count - 1, -1, -1):
        row, here = band[j], right[j]
        for k in range(1, min(b, count - j)):
            for c in range(q):
                here[c] -= row[k] * right[j + k, c]
        for c in range(q):
            here[c] /= row[0]


@njit(cache=True, nogil=True)
def apply(column, rows, coefficients, out):
    """Fill ``out (n, q) = rows @ coefficients`` (K, q)."""
    n, b = rows.shape
    q = coefficients.shape[1]
    for i in range(n):
        col = column[i]
        for c in range(q):
            total = 0.0
            for k in range(b):
                total += rows[i, k] * coefficients[col + k, c]
            out[i, c] = total


@njit(cache=True, nogil=True)
def gather(column, rows, weights, out):
    """Add ``rows' @ weights`` (n, q) to `out` (K, q)."""
    n, b = rows.shape
    for i in range(n):
        col = column[i]
        for k in range(b):
            for c in range(weights.shape[1]):
                out[col + k, c] += rows[i, k] * weights[i, c]


@njit(cache=True, nogil=True)
def gram(column, rows, weight, out):
    """Add the upper band of ``rows' diag(weight) rows`` to `out` (K, b)."""
    n, b = rows.shape
    for i in range(n):
        row = rows[i]
        for k in range(b):
            target = out[column[i] + k]
            here = weight[i] * row[k]
            for c in range(b - k):
                target[c] += here * row[k + c]


@njit(cache=True, nogil=True)
def forward_solve(band, right):
    """Overwrite `right` (K, q) with ``R'^-1 right``."""
    count, b = band.shape
    q = right.shape[1]
    for j in range(count):
        row, here = band[j], right[j]
        for c in range(q):
            here[c] /= row[0]
        for k in range(1, min(b, count - j)):
            for c in range(q):
                right[j + k, c] -= row[k] * here[c]


@njit(cache=True, nogil=True)
def cholesky(band):
    """Overwrite A, the upper band (K, b) of ``R'R``, with R; tell whether A was positive."""
    count, b = band.shape
    for j in range(count):
        row = band[j]
        if not row[0] > 0.0:
            return False
        inverse = 1.0 / np.sqrt(row[0])
        for c in range(b):
            row[c] *= inverse
        for k in range(1, min(b, count - j)):
            here, below = row[k], band[j + k]
            if here != 0.0:
                for c in range(b - k):
                    below[c] -= here * row[k + c]
    return True


@njit(cache=True, nogil=True)
def factor_slope(band, change):
    """Turn dA, the upper band (K, b) of a change of ``R'R``, into dR."""
    count, b = band.shape
    for j in range(count):
        row, slope = band[j], change[j]
        slope[0] /= 2.0 * row[0]
        most = min(b, count - j)
        for k in range(1, most):
            slope[k] = (slope[k] - slope[0] * row[k]) / row[0]
        for k in range(1, most):
            below = change[j + k]
            here, there = slope[k], row[k]
            for c in range(most - k):
                below[c] -= here * row[k + c] + there * slope[k + c]
