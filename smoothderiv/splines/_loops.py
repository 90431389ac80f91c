"""Compiled loops of the spline engine: basis rows, banded least squares, variances.

A factor of p coefficients is kept without square roots (Gentleman 1973): ``unit`` (p, w) holds the
rows of a unit upper triangular band matrix U, ``pivot`` (p,) positive numbers d, ``rhs`` (p,) z,
so that the sum of squares is ``sum_j d_j ((U c)_j - z_j)^2 + rss``. Only +, -, * and / touch the
numbers, so that complex input differentiates the result exactly.

The loops over rows take the degree k twice: as a number, and as the length of the tuple `shape`
less one, which the compiler knows and unrolls (four times quicker); an empty tuple leaves it to
the number, so that high degrees need no compilation of their own.
"""

import numpy as np
from numba import njit


@njit(cache=True, inline="always")
def find_span(t, k, n_coef, x, span):
    """Return j with t[j] <= x < t[j+1] inside the base interval; the end spans outside of it."""
    if t[span] <= x < t[span + 1]:
        return span
    low, high = k, n_coef
    if x >= t[n_coef]:
        while t[high - 1] == t[n_coef] and high - 1 > k:
            high -= 1
        return high - 1
    if x < t[k]:
        while t[low + 1] == t[k] and low + 1 < n_coef:
            low += 1
        return low
    if x >= t[span]:  # gallop to the right: sorted places are near the last one
        low, step = span, 1
        while low + step < n_coef and t[low + step] <= x:
            low += step
            step *= 2
        high = min(low + step, n_coef)
    while high - low > 1:
        middle = (low + high) // 2
        if t[middle] <= x:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def inverse_gaps(t, k, span, gaps):
    """Fill gaps[d, r] = 1 / (t[span+r+1] - t[span+1+r-d]), the denominators of the recursions."""
    for d in range(1, k + 1):
        for r in range(d):
            gaps[d, r] = 1.0 / (t[span + r + 1] - t[span + 1 + r - d])


@njit(cache=True, inline="always")
def move_span(t, k, n_coef, x, span, gaps):
    """Return the span of x, with the gaps of its recursions if it is another one than before."""
    now = find_span(t, k, n_coef, x, span)
    if now != span:
        inverse_gaps(t, k, now, gaps)
    return now


@njit(cache=True, inline="always")
def raise_values(t, span, x, first, last, gaps, row):
    """Raise values of the B-splines at x from degree `first` to degree `last` (de Boor, Cox)."""
    for d in range(first + 1, last + 1):
        saved = 0.0
        for r in range(d):
            part = row[r] * gaps[d, r]
            row[r] = saved + (t[span + r + 1] - x) * part
            saved = (x - t[span + 1 + r - d]) * part
        row[d] = saved


@njit(cache=True, inline="always")
def raise_derivatives(first, last, gaps, row):
    """Raise derivatives from degree `first` to `last`, one order each: D B_{i,d} by differences."""
    for d in range(first + 1, last + 1):
        saved = 0.0
        for r in range(d):
            part = d * row[r] * gaps[d, r]
            row[r] = saved - part
            saved = part
        row[d] = saved


@njit(cache=True, inline="always")
def fill_row(t, k, span, x, nu, gaps, row):
    """Write the k + 1 values of D^nu B_i(x), i = span-k..span; zero above the degree."""
    if nu > k:
        for r in range(k + 1):  # not by a slice, which takes long to compile; here and below
            row[r] = 0.0
        return
    row[0] = 1.0
    if nu == 0:  # the usual orders by themselves, so that their loops unroll
        raise_values(t, span, x, 0, k, gaps, row)
    elif nu == 1:
        raise_values(t, span, x, 0, k - 1, gaps, row)
        raise_derivatives(k - 1, k, gaps, row)
    elif nu == 2:
        raise_values(t, span, x, 0, k - 2, gaps, row)
        raise_derivatives(k - 2, k, gaps, row)
    else:
        raise_values(t, span, x, 0, k - nu, gaps, row)
        raise_derivatives(k - nu, k, gaps, row)


@njit(cache=True, nogil=True)
def basis_rows(t, degree, shape, x, nu, first, values):
    """Fill values[i] with D^nu[i] B(x[i]) and first[i] with the column of its first entry."""
    k = len(shape) - 1 if len(shape) else degree
    n_coef = len(t) - k - 1
    gaps = np.empty((k + 1, k + 1))
    row = np.empty(k + 1)
    span = find_span(t, k, n_coef, t[k], k)
    inverse_gaps(t, k, span, gaps)
    for i in range(len(x)):
        span = move_span(t, k, n_coef, x[i], span, gaps)
        fill_row(t, k, span, x[i], nu[i], gaps, row)
        first[i] = span - k
        for r in range(k + 1):
            values[i, r] = row[r]


@njit(cache=True, inline="always")
def insert_row(unit, pivot, rhs, row, start, width, target, weight):
    """Rotate one weighted row into a factor; return its share of the residual sum of squares.

    Square-root-free Givens rotations. Rows must come by ascending start: then row j of the factor
    ends no later than the row that comes, and `width` rotations finish it.
    """
    for i in range(width):
        b = row[i]
        if b == 0.0:
            continue
        j = start + i
        old = pivot[j]
        scaled = weight * b
        new = old + scaled * b
        if new == 0.0:
            continue
        keep = old / new
        take = scaled / new
        pivot[j] = new
        weight = weight * keep
        for m in range(1, width - i):
            above = unit[j, m]
            entry = row[i + m]
            unit[j, m] = keep * above + take * entry
            row[i + m] = entry - b * above
        above_target = rhs[j]
        rhs[j] = keep * above_target + take * target
        target = target - b * above_target
        if old == 0.0:
            return 0.0 * weight
    return weight * target * target


@njit(cache=True, nogil=True)
def reduce_row(row, first, k, shift, null_first, null_rows, reduced):
    """Write the row in the coordinates left free by the constraints; return start and target.

    c = shift + N g; ``null_rows[j]`` holds row j of N from column ``null_first[j]`` on.
    """
    width = null_rows.shape[1]
    start = null_first[first]
    for m in range(len(reduced)):
        reduced[m] = 0.0
    known = 0.0
    for r in range(k + 1):
        j = first + r
        known += row[r] * shift[j]
        offset = null_first[j] - start
        for m in range(width):
            if null_rows[j, m] != 0.0:
                reduced[offset + m] += row[r] * null_rows[j, m]
    return start, known


@njit(cache=True, nogil=True)
def accumulate(t, degree, shape, x, y, yerr, nu, order, null, unit, pivot, rhs):
    """Rotate the rows ``D^nu f(x) = y`` of size yerr (NaN: 1) into a factor; return the rss.

    Rows are taken by ascending x, in the given order (all in turn if it is empty). `null` is the
    tuple (shift, null_first, null_rows, width) of the constraints; width 0 means that there are
    none. The basis is made on the fly: memory is that of the factor.
    """
    shift, null_first, null_rows, reduced_width = null
    k = len(shape) - 1 if len(shape) else degree
    n_coef = len(t) - k - 1
    gaps = np.empty((k + 1, k + 1))
    row = np.empty(k + 1)
    reduced = np.empty(max(reduced_width, 1))
    span = find_span(t, k, n_coef, t[k], k)
    inverse_gaps(t, k, span, gaps)
    rss = 0.0
    for position in range(len(order) if len(order) else len(x)):
        i = order[position] if len(order) else position
        span = move_span(t, k, n_coef, x[i], span, gaps)
        fill_row(t, k, span, x[i], nu[i], gaps, row)
        weight = 1.0 if np.isnan(yerr[i]) else 1.0 / (yerr[i] * yerr[i])
        if reduced_width == 0:
            rss += insert_row(unit, pivot, rhs, row, span - k, k + 1, y[i], weight)
        else:
            start, known = reduce_row(row, span - k, k, shift, null_first, null_rows, reduced)
            width = min(reduced_width, len(pivot) - start)
            rss += insert_row(unit, pivot, rhs, reduced, start, width, y[i] - known, weight)
    return rss


@njit(cache=True, nogil=True)
def merge(units, pivots, rhss, weights, unit, pivot, rhs):
    """Rotate weighted factors (J, p, w) into one; return what that adds to the rss."""
    groups, n_coef, width = units.shape
    row = np.empty(width, dtype=unit.dtype)
    rss = 0.0 * weights[0]
    for j in range(n_coef):
        reach = min(width, n_coef - j)
        for g in range(groups):
            if pivots[g, j] == 0.0 or weights[g] == 0.0:
                continue
            row[0] = 1.0
            for m in range(1, reach):
                row[m] = units[g, j, m]
            share = weights[g] * pivots[g, j]
            rss += insert_row(unit, pivot, rhs, row, j, reach, rhss[g, j], share)
    return rss


@njit(cache=True, nogil=True)
def solve_unit(unit, rhs):
    """Return the solution of U c = z by back substitution."""
    n_coef, width = unit.shape
    c = rhs.copy()
    for j in range(n_coef - 1, -1, -1):
        for m in range(1, min(width, n_coef - j)):
            c[j] -= unit[j, m] * c[j + m]
    return c


@njit(cache=True, nogil=True)
def window_roots(unit, pivot):
    """Return lower triangular roots of the covariance of each w successive coordinates.

    ``roots[j] @ roots[j].T`` is the block of (U' D U)^-1 at j..j+w-1: the selected inverse of
    Takahashi, carried as a square root by rotations, which under strong smoothing keeps the digits
    that the recursion for the entries themselves cancels.
    """
    n_coef, width = unit.shape
    roots = np.zeros((n_coef, width, width), dtype=unit.dtype)
    for j in range(n_coef - 1, -1, -1):
        root = roots[j]
        if j + 1 < n_coef:
            later = roots[j + 1]
            for m in range(1, width):
                for c in range(m):
                    root[m, c] = later[m - 1, c]
                    root[0, c] -= unit[j, m] * later[m - 1, c]
        root[0, width - 1] = 1.0 / np.sqrt(pivot[j])
        for c in range(width - 1, 0, -1):  # rotate row 0 into its first column
            if root[0, c] == 0.0:
                continue
            norm = np.sqrt(root[0, c - 1] * root[0, c - 1] + root[0, c] * root[0, c])
            cosine, sine = root[0, c - 1] / norm, root[0, c] / norm
            root[0, c - 1] = norm
            root[0, c] = 0.0
            for m in range(c, width):
                before, after = root[m, c - 1], root[m, c]
                root[m, c - 1] = cosine * before + sine * after
                root[m, c] = cosine * after - sine * before
    return roots


@njit(cache=True, nogil=True)
def quadratic(root, row, width):
    """Return row' V row for the first `width` coordinates of a window with V = root root'."""
    total = 0.0 * root[0, 0]
    for c in range(width):
        part = 0.0 * root[0, 0]
        for m in range(c, width):
            part += row[m] * root[m, c]
        total += part * part
    return total


@njit(cache=True, nogil=True)
def group_terms(units, pivots, rhss, c, roots, squares, traces):
    """Fill, for each factor g, squares[g] = sum d (U c - z)^2 and traces[g] = tr(V U' D U)."""
    groups, n_coef, width = units.shape
    row = np.empty(width)
    for g in range(groups):
        squares[g] = 0.0
        traces[g] = 0.0
        for j in range(n_coef):
            if pivots[g, j] == 0.0:
                continue
            reach = min(width, n_coef - j)
            row[0] = 1.0
            fitted = c[j]
            for m in range(1, reach):
                row[m] = units[g, j, m]
                fitted += row[m] * c[j + m]
            residual = fitted - rhss[g, j]
            squares[g] += pivots[g, j] * residual * residual
            traces[g] += pivots[g, j] * quadratic(roots[j], row, reach)


@njit(cache=True, nogil=True)
def moments(t, degree, shape, x, nu, c, roots, null, mean, var):
    """Fill mean and variance of D^nu f(x), O(k^2) a query."""
    shift, null_first, null_rows, reduced_width = null
    k = len(shape) - 1 if len(shape) else degree
    n_coef = len(t) - k - 1
    gaps = np.empty((k + 1, k + 1))
    row = np.empty(k + 1)
    reduced = np.empty(max(reduced_width, 1))
    span = find_span(t, k, n_coef, t[k], k)
    inverse_gaps(t, k, span, gaps)
    for i in range(len(x)):
        span = move_span(t, k, n_coef, x[i], span, gaps)
        fill_row(t, k, span, x[i], nu[i], gaps, row)
        total = 0.0 * c[0]
        for r in range(k + 1):
            total += row[r] * c[span - k + r]
        mean[i] = total
        if len(roots) == 0:
            continue
        if reduced_width == 0:
            var[i] = quadratic(roots[span - k], row, k + 1)
        else:
            start, _ = reduce_row(row, span - k, k, shift, null_first, null_rows, reduced)
            var[i] = quadratic(roots[start], reduced, min(reduced_width, len(roots) - start))


@njit(cache=True, nogil=True)
def joint_cov(t, k, x, orders, roots, null, out):
    """Fill the covariance of several orders at each place, (n, P, P), O(k^2) each."""
    shift, null_first, null_rows, reduced_width = null
    n_coef = len(t) - k - 1
    gaps = np.empty((k + 1, k + 1))
    row = np.empty(k + 1)
    reduced = np.empty(max(reduced_width, 1))
    halves = np.zeros((len(orders), max(reduced_width, k + 1)))
    span = find_span(t, k, n_coef, t[k], k)
    inverse_gaps(t, k, span, gaps)
    for i in range(len(x)):
        span = move_span(t, k, n_coef, x[i], span, gaps)
        for p in range(len(orders)):
            fill_row(t, k, span, x[i], orders[p], gaps, row)
            if reduced_width == 0:
                halve(roots[span - k], row, k + 1, halves[p])
            else:
                start, _ = reduce_row(row, span - k, k, shift, null_first, null_rows, reduced)
                halve(roots[start], reduced, min(reduced_width, len(roots) - start), halves[p])
        for p in range(len(orders)):
            for q in range(p + 1):
                total = 0.0
                for c in range(halves.shape[1]):
                    total += halves[p, c] * halves[q, c]
                out[i, p, q] = total
                out[i, q, p] = total


@njit(cache=True, nogil=True)
def halve(root, row, width, half):
    """Write row' root for the first `width` coordinates of a window with V = root root'."""
    for c in range(len(half)):
        half[c] = 0.0
    for c in range(width):
        for m in range(c, width):
            half[c] += row[m] * root[m, c]
