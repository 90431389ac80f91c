"""Compiled smoothing errors of Wiener processes, in the coordinates of the filter.

What all later rows say of a state is a score r, the gradient of their log likelihood by it, and an
information N, the covariance of r (de Jong 1989). Here they are kept along the coordinates c that
the filter makes independent, the state being U c: there the filter's covariance is diagonal, and
with it as the unit N lies between 0 and 1 and each step back is a contraction, undone rotation
after rotation. Along the derivatives themselves N is nearly singular where many rows are close to a
diffuse start, and entries of P lose all their digits.

The rotations of a step need the filtered state before it and nothing else, so they are found for a
block of rows side by side; what must go row after row is a few products. Shapes and factors are
those of ``_loops``; see there. Tables hold entry k of row r of a block at ``k * BLOCK + r``.
"""

import numpy as np
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 32
APART = 16  # as in ``_loops``
MAX_DIMENSION = 13
_loop = njit(cache=True, nogil=True, error_model="numpy")
# no entries for Python, whose compilation would take as long as the functions themselves
_inline = njit(  # type: ignore[call-overload]
    forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)
# what returns scratch must be written out in place: scratch ends with the function that it is in
_in_place = njit(inline="always", error_model="numpy")

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def _side_by_side(dims):
        return BLOCK if isinstance(dims, tuple) else 1

    def _scratch(dims):  # as large as compiled, and as little cleared
        return np.full(len(dims) * (len(dims) + 1), np.nan)

    def _table(dims):
        return np.full(len(dims) * (len(dims) + 1) * BLOCK, np.nan)

else:

    def _on_the_stack(dims, rows):
        d = dims.count if isinstance(dims, types.UniTuple) else MAX_DIMENSION

        def codegen(context, builder, signature, args):
            double = context.get_value_type(types.float64)
            return cgutils.alloca_once(builder, double, size=d * (d + 1) * rows)

        return types.CPointer(types.float64)(dims), codegen

    @intrinsic
    def _side_by_side(_, dims):
        """Return how many rows make a block: one where loops are not unrolled."""
        rows = BLOCK if isinstance(dims, types.UniTuple) else 1

        def codegen(context, builder, signature, args):
            return context.get_constant(types.int64, rows)

        return types.int64(dims), codegen

    @intrinsic
    def _scratch(_, dims):
        """Return a pointer to d (d + 1) doubles; registers where loops are unrolled."""
        return _on_the_stack(dims, 1)

    @intrinsic
    def _table(_, dims):
        """Return a pointer to as many for each row of a block."""
        return _on_the_stack(dims, BLOCK)


@_in_place
def _tables(dims):
    """Return the tables of a block: factor, weights, free; then (h, variance, component, density).

    The density of a step is told beside that of the first.
    """
    head = (_table(dims), _table(dims), _table(dims), _table(dims))
    found = (_table(dims), _table(dims), _table(dims)), (_table(dims), _table(dims), _table(dims))
    work = (_scratch(dims), _scratch(dims), _scratch(dims))
    block = (_table(dims), _table(dims), _table(dims))
    for q in range(_side_by_side(dims)):  # so that rows that a block lacks are numbers
        head[0][q], head[1][q], head[2][q], head[3][q] = 0.0, 1.0, 0.0, 1.0
    for k in range(len(dims) ** 2 * _side_by_side(dims)):
        block[0][k], block[2][k] = 1.0, 0.0
    return block, head, found, work


@_inline
def _prepare(first, sign, count, rows, steps, before, packed, tables, dims):
    """Find what the steps to the rows first, first + sign, .. and these rows do, as a block."""
    d, size = len(dims), _side_by_side(dims)
    block, head, found, work = tables
    for q in range(count):
        i = first + sign * q
        _load(i, q, size, before[0], packed, before[1], block, d)
        head[0][q], head[1][q], head[2][q] = steps[0][i], rows[1][i], rows[2][i]
        if len(steps[2]) > 1:
            head[3][q] = steps[2][i, 0] / steps[2][0, 0]
    for q in range(size):
        _find(q, size, steps, before[1], block, head, found, work, dims)


@_loop
def score(rows, steps, before, filtered, out, state, span, dims):
    """Go back over the rows span[0] to span[1]; fill their entries of P y and of diag P.

    before is (packed factor of the start; E of the state before each of the first rows, or None if
    the span has none of those); filtered is (packed factor, innovation, inverse), as `forward`
    fills them, out (P y, diag P; r, N after marked rows) as in ``_error_loops.errors``, along the
    coordinates. state is r (d,), N (d, d), then ``w' Q^-1 w`` summed over the smoothed noises w of
    the steps, and ``tr QN``: what they are after the span; in place.
    """
    d, size = len(dims), _side_by_side(dims)
    first, last = span
    packed, innovation, inverse = filtered
    tables, seen = _tables(dims), (_scratch(dims), _scratch(dims), _scratch(dims))
    weights, turns, observed = tables[0][1], tables[2][0], tables[2][1]
    r, N, W, z = _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims)
    for j in range(d):
        r[j] = state[j]
    for k in range(d * d):
        N[k] = state[d + k]
    penalty, excess = state[d + d * d], state[d + d * d + 1]
    pull, diagonal, scores, information = out
    marks = len(scores) > 0
    while last > first:
        count = min(size, last - first)
        _prepare(last - 1, -1, count, rows, steps, before, packed, tables, dims)
        for q in range(count):
            i = last - 1 - q
            if marks and (i + 1) % APART == 0:
                for j in range(d):
                    scores[i // APART, j] = r[j]
                    for k in range(j + 1):
                        information[i // APART, j, k] = N[j * d + k]
                        information[i // APART, k, j] = N[j * d + k]
            _look(q, size, observed, seen, d)
            pull[i], diagonal[i] = _row(r, N, W, seen, innovation[i], inverse[i], d)
            for c in range(d):
                one, two = _undo(c, q, size, r, N, z, turns, d)
                penalty += weights[c * size + q] * one * one
                excess += weights[c * size + q] * two
        last -= count
    for j in range(d):
        state[j] = r[j]
    for k in range(d * d):
        state[d + k] = N[k]
    state[d + d * d], state[d + d * d + 1] = penalty, excess


@_inline
def _load(i, q, size, start, packed, infinite, block, d):
    """Enter the state before row i and its step as row q of a block."""
    for j in range(d * (d + 1) // 2):
        block[0][j * size + q] = packed[i - 1, j] if i > 0 else start[j]
    if infinite is not None:
        for j in range(d):
            block[2][j * size + q] = infinite[i, j] if i < len(infinite) else 0.0


@_inline
def _find(q, size, steps, infinite, block, head, found, work, dims):
    """Find what row q of a block and the step before it do to the coordinates."""
    d, factor = len(dims), block[0]
    turns, observed = found
    U, D, v = work
    for j in range(d):
        at = j * (j + 1) // 2
        for k in range(j):
            U[k * d + j] = factor[(at + k) * size + q]
        D[j] = factor[(at + j) * size + q]
    h = head[0][q]
    power = h * head[3][q]
    if d > 6:
        for j in range(1, d):
            _shift_column(U, h, j, d)
        for c in range(d - 1, -1, -1):
            power = _kick(c, q, size, power, h, steps, infinite, block, U, D, v, turns, d)
    else:  # written out, for the compiler unrolls only so deep
        if d > 1:
            _shift_column(U, h, 1, d)
        if d > 2:
            _shift_column(U, h, 2, d)
        if d > 3:
            _shift_column(U, h, 3, d)
        if d > 4:
            _shift_column(U, h, 4, d)
        if d > 5:
            _shift_column(U, h, 5, d)
        if d > 5:
            power = _kick(5, q, size, power, h, steps, infinite, block, U, D, v, turns, d)
        if d > 4:
            power = _kick(4, q, size, power, h, steps, infinite, block, U, D, v, turns, d)
        if d > 3:
            power = _kick(3, q, size, power, h, steps, infinite, block, U, D, v, turns, d)
        if d > 2:
            power = _kick(2, q, size, power, h, steps, infinite, block, U, D, v, turns, d)
        if d > 1:
            power = _kick(1, q, size, power, h, steps, infinite, block, U, D, v, turns, d)
        _kick(0, q, size, power, h, steps, infinite, block, U, D, v, turns, d)
    _observe(q, size, head, infinite, block[2], observed, U, D, d)


@_inline
def _shift_column(U, h, j, d):
    """Move Taylor coefficients in column j by h."""
    for k in range(j):
        for i in range(j - 1, k - 1, -1):
            U[i * d + j] += h * (U[(i + 1) * d + j] if i + 1 < j else 1.0)


@_inline
def _kick(c, q, size, power, h, steps, infinite, block, U, D, v, turns, d):
    """Add the noise of a step along its column c; keep its rotations. Return the next power."""
    basis, free, w = steps[1], block[2], steps[2][0, c] * power
    block[1][c * size + q] = w
    v[c] = 1.0
    scale = 1.0
    for i in range(c - 1, -1, -1):
        scale *= h
        v[i] = basis[i, c] * scale
    for j in range(c, -1, -1):
        p = v[j]
        push = w * p
        total, gain, keep = D[j] + push * p, 0.0, 1.0
        finite = push * p > 0.0
        if infinite is not None:
            finite = finite and free[j * size + q] == 0.0
        if finite:
            inverse = 1.0 / total
            gain, keep = push * inverse, D[j] * inverse
            D[j] = total
        for i in range(j):
            t = v[i] - p * U[i * d + j]
            U[i * d + j] = keep * U[i * d + j] + gain * v[i]
            v[i] = t
        at = (c * d + j) * size + q
        turns[0][at], turns[1][at], turns[2][at] = gain, keep, p
        w *= keep
    return power * h * h


@_inline
def _observe(q, size, head, infinite, free, observed, U, D, d):
    """Find what a row does: ``c_j = ratio_j c_j + lever_j (y - sum_k<j f_k c_k)``, k and j before.

    f is the row along the coordinates. A ratio is that of what is known of the row without and with
    coordinate j, its variance F; the first free coordinate makes that infinite.
    """
    nu, F, most = head[2][q], head[1][q], 0.0
    for j in range(d):
        f = 1.0 if nu == j else 0.0
        for k in range(j):
            f = U[k * d + j] if nu == k else f
        share = D[j] * f
        total = F + share * f
        inverse = 1.0 / total if total > 0.0 else 0.0
        ratio, lever = F * inverse if total > 0.0 else 1.0, share * inverse
        if infinite is not None:
            share = free[j * size + q] * f
            if share * f > 0.0:
                ratio, lever = most / (most + share * f), share / (most + share * f)
                most, total = most + share * f, F
            elif most > 0.0 or free[j * size + q] > 0.0:
                ratio, lever, total = 1.0, 0.0, F
        F = total
        at = j * size + q
        observed[0][at], observed[1][at], observed[2][at] = f, ratio, lever


@_inline
def _look(q, size, observed, seen, d):
    """Take what a row does out of the tables."""
    for j in range(d):
        at = j * size + q
        seen[0][j], seen[1][j], seen[2][j] = observed[0][at], observed[1][at], observed[2][at]


@_inline
def _row(r, N, W, seen, e, inverse, d):
    """Take a row into r and N; return its P y and diag P."""
    f, ratio, lever = seen
    rest, diagonal = e * inverse, inverse
    for k in range(d - 1, -1, -1):
        t = r[k]
        r[k] = ratio[k] * t + f[k] * rest
        rest -= lever[k] * t
    _before_row(N, W, seen, inverse, d)
    for j in range(d):
        diagonal += lever[j] * W[d * d + j]
    return rest, diagonal


@_inline
def _before_row(N, W, seen, inverse, d):
    """Replace N, of which the lower half is kept, by ``L'N L + inverse f f'``.

    L is what the row does to the coordinates. N times the levers goes to the last row of W.
    """
    f, ratio, lever = seen
    for j in range(d):
        total = 0.0
        for k in range(d - 1, -1, -1):
            t = N[j * d + k] if k <= j else N[k * d + j]
            W[j * d + k] = ratio[k] * t - f[k] * total
            total += lever[k] * t
        W[d * d + j] = total
    for k in range(d):
        total = f[k] * inverse
        for j in range(d - 1, k - 1, -1):
            t = W[j * d + k]
            N[j * d + k] = ratio[j] * t + f[j] * total
            total -= lever[j] * t


@_inline
def _undo(c, q, size, r, N, z, turns, d):
    """Undo the rotations of column c; return its score and information.

    Nothing is known of what is left of the noise after them. z is its information with each
    coordinate.
    """
    gains, keeps, kicks = turns
    p = kicks[c * d * size + q] if c > 0 else 1.0
    rest, own = p * r[0], p * p * N[0]
    for k in range(d):
        z[k] = p * N[k * d]
    for j in range(1, c + 1):
        at = (c * d + j) * size + q
        gain, keep, p = gains[at], keeps[at], (kicks[at] if j < c else 1.0)
        t = r[j]
        r[j], rest = t - gain * rest, p * t + keep * rest
        for k in range(j):
            t = N[j * d + k]
            N[j * d + k], z[k] = t - gain * z[k], p * t + keep * z[k]
        for k in range(j + 1, d):
            t = N[k * d + j]
            N[k * d + j], z[k] = t - gain * z[k], p * t + keep * z[k]
        t, a = N[j * d + j], z[j]
        b = a - gain * own
        N[j * d + j] = t - gain * (a + b)
        z[j] = p * (t - gain * a) + keep * b
        own = p * (p * t + keep * a) + keep * (p * a + keep * own)
    return rest, own


@_loop
def spread_ahead(c, rows, steps, before, packed, moment, state, span, dims):
    """Fill the covariance of the mean that row by row is predicted, of data of variances c.

    For data y of independent entries with these "variances", of any sign: of the coordinates after
    the step to a row and before the row, lower halves (n, packed) in `moment`. state (d, d) is the
    one after the row before the span; in place. The rest is as in `score`.
    """
    d, size = len(dims), _side_by_side(dims)
    first, last = span
    tables, seen = _tables(dims), (_scratch(dims), _scratch(dims), _scratch(dims))
    S, W, z = _scratch(dims), _scratch(dims), _scratch(dims)
    turns, observed = tables[2]
    for k in range(d * d):
        S[k] = state[k]
    while first < last:
        count = min(size, last - first)
        _prepare(first, 1, count, rows, steps, before, packed, tables, dims)
        for q in range(count):
            for k in range(d - 1, 0, -1):
                _turn_mean(k, q, size, S, z, turns, d)
            for j in range(d):
                for k in range(j + 1):
                    moment[first + q, j * (j + 1) // 2 + k] = S[j * d + k]
            _look(q, size, observed, seen, d)
            _after_row(S, W, seen, c[first + q], d)
        first += count
    for k in range(d * d):
        state[k] = S[k]


@_inline
def _turn_mean(c, q, size, S, z, turns, d):
    """Rotate a mean, of covariance S, by column c; the noise is 0 before, and left out after."""
    gains, keeps, kicks = turns
    own = 0.0
    for k in range(d):
        z[k] = 0.0
    for j in range(c, -1, -1):
        at = (c * d + j) * size + q
        gain, keep, p = gains[at], keeps[at], (kicks[at] if j < c else 1.0)
        for k in range(j):
            t = S[j * d + k]
            S[j * d + k], z[k] = t + p * z[k], keep * z[k] - gain * t
        for k in range(j + 1, d):
            t = S[k * d + j]
            S[k * d + j], z[k] = t + p * z[k], keep * z[k] - gain * t
        t, a = S[j * d + j], z[j]
        S[j * d + j] = t + p * (a + (a + p * own))
        z[j] = keep * (a + p * own) - gain * (t + p * a)
        own = keep * (keep * own - gain * a) - gain * (keep * a - gain * t)


@_inline
def _after_row(S, W, seen, c, d):
    """Replace S, of which the lower half is kept, by ``L S L' + c k k'``, k the levers."""
    f, ratio, lever = seen
    for m in range(d):
        total = 0.0
        for j in range(d):
            t = S[j * d + m] if m <= j else S[m * d + j]
            W[j * d + m] = ratio[j] * t - lever[j] * total
            total += f[j] * t
    for j in range(d):
        total = -c * lever[j]
        for m in range(j + 1):
            t = W[j * d + m]
            S[j * d + m] = ratio[m] * t - lever[m] * total
            total += f[m] * t


@_loop
def spread_back(c, rows, steps, before, filtered, moment, out, state, span, dims):
    """Fill ``diag(P diag(c) P)``, the variances of P y of such data, into out (n,).

    filtered is (packed factor, inverse); state is N (d, d) and M (d, d), the covariance of the
    score that later rows give; moment is what `spread_ahead` fills, the rest as in `score`.
    """
    d, size = len(dims), _side_by_side(dims)
    first, last = span
    packed, inverse = filtered
    tables, seen = _tables(dims), (_scratch(dims), _scratch(dims), _scratch(dims))
    N, M, W, z = _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims)
    g, none = _scratch(dims), _scratch(dims)
    turns, observed = tables[2]
    for k in range(d):
        none[k] = 0.0
    for k in range(d * d):
        N[k], M[k] = state[k], state[d * d + k]
    while last > first:
        count = min(size, last - first)
        _prepare(last - 1, -1, count, rows, steps, before, packed, tables, dims)
        for q in range(count):
            i = last - 1 - q
            _look(q, size, observed, seen, d)
            out[i] = _row_spread(N, M, W, g, seen, moment[i], c[i], inverse[i], d)
            for k in range(1, d):
                _undo(k, q, size, none, N, z, turns, d)
                _undo(k, q, size, none, M, z, turns, d)
        last -= count
    for k in range(d * d):
        state[k], state[d * d + k] = N[k], M[k]


@_inline
def _row_spread(N, M, W, g, seen, moment, c, inverse, d):
    """Take a row into N and M; return the variance of its entry of P y.

    It is ``D y - g'm + ..``, m the mean before the row: D is its entry of diag P, and the rest is
    what later rows add.
    """
    f, ratio, lever = seen
    _before_row(N, W, seen, inverse, d)
    D, total = inverse, inverse
    for k in range(d - 1, -1, -1):
        t = W[d * d + k]
        g[k] = f[k] * total - ratio[k] * t
        total += lever[k] * t
        D += lever[k] * t
    _before_row(M, W, seen, 0.0, d)
    spread = c * D * D
    for j in range(d):
        spread += lever[j] * W[d * d + j]
        for k in range(j + 1):
            M[j * d + k] += c * g[j] * g[k]
            part = g[j] * moment[j * (j + 1) // 2 + k] * g[k]
            spread += part if k == j else 2.0 * part
    return spread
