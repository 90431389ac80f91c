"""Compiled loops of the band solver: roots of windows of a band, and what is asked by them.

A band R (K, b) is upper triangular: row j holds its entries j .. j + b - 1. Segments are runs of
columns between which no row reaches; `edges` (S + 1,) are where they begin and end. The root of a
window of b columns is T with ``T'T = C[window]^-1``, C the inverse of ``R'R``.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _halve(window, lower, here, length):
    """Overwrite `here` with ``T'^-1 here``, T the triangle in rows `lower` .. of the window."""
    for i in range(length):
        row = window[lower + i]
        here[i] /= row[0]
        value = here[i]
        for k in range(1, length - i):
            here[i + k] -= value * row[k]


@njit(cache=True, nogil=True)
def _step_left(buffer, top, b):
    """Drop the last column of the window at `top`, which integrates its variable out."""
    spare = np.zeros(b)
    spare[b - 1] = buffer[top + b - 1, 0]
    for i in range(b - 2, -1, -1):
        row = buffer[top + i]
        last = row[b - 1 - i]
        size = np.sqrt(last * last + spare[b - 1] * spare[b - 1])
        cosine, sine = spare[b - 1] / size, last / size
        spare[b - 1] = size
        for c in range(b - 1 - i):
            a, d = row[c], spare[i + c]
            row[c] = cosine * a - sine * d
            spare[i + c] = sine * a + cosine * d


@njit(cache=True, nogil=True)
def _last_window(band, end, buffer):
    """Put the last b rows of a segment at the bottom of the buffer; return where they begin."""
    b = band.shape[1]
    top = buffer.shape[0] - b
    for i in range(b):
        buffer[top + i] = band[end - b + i]
    return top


@njit(cache=True, nogil=True)
def _window_left(band, j, buffer, top):
    """Turn the root of window j + 1 into that of window j; return where it begins."""
    b = band.shape[1]
    _step_left(buffer, top, b)
    if top == 0:
        top = buffer.shape[0] - b + 1
        for i in range(b - 2, -1, -1):
            buffer[top + i] = buffer[i]
    buffer[top - 1] = band[j]
    return top - 1


@njit(cache=True, nogil=True)
def _halve_columns(window, lower, block, count):
    """Overwrite the first columns of `block` (b, m) with ``T'^-1 block``, as `_halve` does one."""
    for i in range(len(block)):
        row, here = window[lower + i], block[i]
        inverse = 1.0 / row[0]
        for c in range(count):
            here[c] *= inverse
        for k in range(1, len(block) - i):
            value, there = row[k], block[i + k]
            for c in range(count):
                there[c] -= value * here[c]


@njit(cache=True, nogil=True)
def _sum_products(left, right, out):
    """Fill ``out[c] = sum_k left[k, c] right[k, c]``."""
    out[:] = 0.0
    for k in range(len(left)):
        for c in range(len(out)):
            out[c] += left[k, c] * right[k, c]


@njit(cache=True, nogil=True)
def spreads(band, edges, column, rows, slopes, own, cross):
    """Fill ``own = r C r'`` and ``cross = r C s'`` for each row r and its slope s, C = (R'R)^-1.

    The root of a window of b columns, T with ``T'T = C[window]^-1``, goes from right to left: row
    j of R joins above, the last column is rotated into one row, and that row is dropped.
    """
    n, b = rows.shape
    most, with_slopes = 32, len(slopes) > 0
    buffer, block = np.empty((5 * b, b)), np.empty((b, 2 * most))
    i = n - 1
    for segment in range(len(edges) - 2, -1, -1):
        start, end = edges[segment], edges[segment + 1]
        top = _last_window(band, end, buffer)
        for j in range(end - b, start - 1, -1):
            if j < end - b:
                top = _window_left(band, j, buffer, top)
            while i >= 0 and column[i] == j:
                m = 1
                while m < most and i >= m and column[i - m] == j:
                    m += 1
                first = i - m + 1
                for c in range(m):
                    for k in range(b):
                        block[k, c] = rows[first + c, k]
                        if with_slopes:
                            block[k, m + c] = slopes[first + c, k]
                _halve_columns(buffer, top, block, 2 * m if with_slopes else m)
                _sum_products(block, block, own[first : i + 1])
                if with_slopes:
                    _sum_products(block, block[:, m:], cross[first : i + 1])
                i -= m


@njit(cache=True, nogil=True)
def windows(band, edges, stride, first, roots):
    """Keep the root of every `stride`-th window, from the end of each segment on.

    ``first[s]`` is where those of segment s begin in `roots` (count, b, b).
    """
    b = band.shape[1]
    buffer = np.empty((5 * b, b))
    for segment in range(len(edges) - 1):
        start, end = edges[segment], edges[segment + 1]
        top = _last_window(band, end, buffer)
        for j in range(end - b, start - 1, -1):
            if j < end - b:
                top = _window_left(band, j, buffer, top)
            k = end - b - j
            if k % stride == 0:
                roots[first[segment] + k // stride] = buffer[top : top + b]


@njit(cache=True, nogil=True)
def _segment_of(places, place, b):
    """Return the last segment that begins before ``place + b``, -1 if there is none."""
    return np.searchsorted(places, place + b - 1, side="right") - 1


@njit(cache=True, nogil=True)
def _overlap(places, edges, segment, place, b):
    """Return the first and last column that a row shares with a segment, and where in the row."""
    start, end = edges[segment], edges[segment + 1]
    low = max(place, places[segment])
    high = min(place + b, places[segment] + end - start)
    return start + low - places[segment], start + high - places[segment], low - place


@njit(cache=True, nogil=True)
def joint(band, edges, places, stride, kept, roots, first, rows, out):
    """Fill out (m, P, P) with the covariances of the rows (m, P, b) at each place.

    Functions that no data touch are as before the data: independent, of variance 1.
    """
    m, count, b = rows.shape
    width = b + stride
    half = np.empty((count, width))
    for i in range(m):
        fresh = np.ones(b)
        for segment in range(_segment_of(places, first[i], b), -1, -1):
            low, high, shift = _overlap(places, edges, segment, first[i], b)
            if low >= high:
                break
            end = edges[segment + 1]
            fresh[shift : shift + high - low] = 0.0
            last = end - b
            k = max(last - low, 0) // stride
            window, before = roots[kept[segment] + k], last - k * stride - low
            length = b + before
            for p in range(count):
                here = half[p]
                here[:length] = 0.0
                here[: high - low] = rows[i, p, shift : shift + high - low]
                for j in range(before):
                    row = band[low + j]
                    here[j] /= row[0]
                    for c in range(1, b):
                        here[j + c] -= here[j] * row[c]
                skip = max(before, 0)
                _halve(window, max(-before, 0), here[skip:], length - skip)
            for p in range(count):
                for r in range(p + 1):
                    total = 0.0
                    for c in range(length):
                        total += half[p, c] * half[r, c]
                    out[i, p, r] += total
        for p in range(count):
            for r in range(p + 1):
                total = out[i, p, r]
                for c in range(b):
                    total += fresh[c] * rows[i, p, c] * rows[i, r, c]
                out[i, p, r] = total
                out[i, r, p] = total


@njit(cache=True, nogil=True)
def halves(band, edges, places, first, rows, fresh, stored, beyond):
    """Fill the columns of ``V = R'^-1 rows'``: stored (m, K), beyond (m, F).

    `beyond` are the functions `fresh`, sorted places of the grid, that no data touch.
    """
    m, b = rows.shape
    for i in range(m):
        for k in range(b):
            at = np.searchsorted(fresh, first[i] + k)
            if at < len(fresh) and fresh[at] == first[i] + k:
                beyond[i, at] = rows[i, k]
        for segment in range(_segment_of(places, first[i], b), -1, -1):
            low, high, shift = _overlap(places, edges, segment, first[i], b)
            if low >= high:
                break
            here, end = stored[i], edges[segment + 1]
            here[low:high] = rows[i, shift : shift + high - low]
            for j in range(low, end):
                row = band[j]
                here[j] /= row[0]
                value = here[j]
                if value != 0.0:
                    for c in range(1, min(b, end - j)):
                        here[j + c] -= value * row[c]


@njit(cache=True, nogil=True)
def ask(edges, places, first, rows, coefficients, out):
    """Fill ``out (m, q) = rows @ coefficients`` (K, q), those beyond the data being 0."""
    m, b = rows.shape
    q = coefficients.shape[1]
    for i in range(m):
        out[i] = 0.0
        for segment in range(_segment_of(places, first[i], b), -1, -1):
            low, high, shift = _overlap(places, edges, segment, first[i], b)
            if low >= high:
                break
            for c in range(q):
                total = 0.0
                for k in range(high - low):
                    total += rows[i, shift + k] * coefficients[low + k, c]
                out[i, c] += total


@njit(cache=True, nogil=True)
def whole(band, edges, here):
    """Return the variance of one row (K,) over all columns; the row is lost."""
    b, total = band.shape[1], 0.0
    for segment in range(len(edges) - 1):
        end = edges[segment + 1]
        for j in range(edges[segment], end):
            here[j] /= band[j, 0]
            total += here[j] * here[j]
            for c in range(1, min(b, end - j)):
                here[j + c] -= here[j] * band[j, c]
    return total


@njit(cache=True, nogil=True)
def _joined(row, slope, cov, change, path, turn, most):
    """Put a variable before those of a window: its covariances with them, and their changes.

    Given the others it is ``path . others + noise / row[0]``; the last of them is dropped.
    """
    b = len(row)
    for i in range(b - 1, 0, -1):
        for k in range(b - 1, 0, -1):
            cov[i, k] = cov[i - 1, k - 1]
            change[i, k] = change[i - 1, k - 1]
    for k in range(b):
        path[k] = -row[k] / row[0] if 0 < k < most else 0.0
        turn[k] = -(slope[k] + path[k] * slope[0]) / row[0] if 0 < k < most else 0.0
    cov[0] = 0.0
    change[0] = 0.0
    for i in range(1, most):
        for k in range(1, b):
            cov[0, k] += path[i] * cov[i, k]
            change[0, k] += turn[i] * cov[i, k] + path[i] * change[i, k]
    cov[0, 0] = 1.0 / row[0] ** 2
    change[0, 0] = -2.0 * slope[0] / row[0] ** 3
    for k in range(1, most):
        cov[0, 0] += path[k] * cov[0, k]
        change[0, 0] += turn[k] * cov[0, k] + path[k] * change[0, k]
    for k in range(1, b):
        cov[k, 0] = cov[0, k]
        change[k, 0] = change[0, k]


@njit(cache=True, nogil=True)
def spread_slopes(band, slope, edges, column, rows, steep, own, cross):
    """Fill the changes of ``r C r'`` and ``r C s'`` when R changes by `slope`, as `spreads` does.

    The covariance of a window of b columns and its change go from right to left.
    """
    n, b = rows.shape
    cov, change = np.zeros((b, b)), np.zeros((b, b))
    path, turn, here = np.empty(b), np.empty(b), np.empty(b)
    i = n - 1
    for segment in range(len(edges) - 2, -1, -1):
        end = edges[segment + 1]
        cov[:] = 0.0
        change[:] = 0.0
        for j in range(end - 1, edges[segment] - 1, -1):
            _joined(band[j], slope[j], cov, change, path, turn, min(b, end - j))
            while i >= 0 and column[i] == j:
                here[:] = 0.0
                for k in range(b):
                    for c in range(b):
                        here[c] += rows[i, k] * change[k, c]
                own[i], cross[i] = 0.0, 0.0
                for c in range(b):
                    own[i] += here[c] * rows[i, c]
                    cross[i] += here[c] * steep[i, c]
                i -= 1
