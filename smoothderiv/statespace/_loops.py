"""Compiled loops of the state space engine: they see arrays, and know nothing of models.

The covariance of the state is kept as ``U diag(D + kappa E) U'``, U unit upper triangular, in the
limit of infinite kappa (Bierman 1977): E marks what the data have not yet determined, so the
diffuse start is exact and needs no large number, no tolerance and no second filter. Every weight
is a sum of positive terms, which keeps small variances beside large ones right.

Shapes: n rows in order of place, d state components. `rows` is (y, variance, component), with
component the one that the row observes; `steps` is a priors.Steps; `start` is (U with D on the
diagonal, E); `dims` is a tuple of d entries where the loops are to be unrolled, an array of d
where they are not. Triangles are packed by columns: entry (i, j), i <= j, at j (j + 1) / 2 + i.

One file holds them all: the cache of a compiled function knows when the file that it is in has
changed, but not that another has, from which it took what it calls.
"""

import math

import numpy as np
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

MAX_DIMENSION = 13  # order 12 and its integral
APART = 16  # rows from one that is marked to the next: APART - 1, 2 APART - 1, ..
_ROUNDING = 2.0**-40  # of what an exact row is the sum of: exact rows that agree may differ by it
_FAR = 1e4  # standard deviations squared, beyond which a mean is inserted last
_SIZE = 8 * MAX_DIMENSION * (MAX_DIMENSION + 1)
_loop = njit(cache=True, nogil=True, error_model="numpy")
# no entries for Python, whose compilation would take as long as the functions themselves
_inline = njit(  # type: ignore[call-overload]
    forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)
# what returns scratch must be written out in place: scratch ends with the function that it is in
_in_place = njit(inline="always", error_model="numpy")

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def _scratch(dims):  # as large as compiled, and as little cleared
        return np.full(8 * len(dims) * (len(dims) + 1), np.nan)

else:

    @intrinsic
    def _scratch(_, dims):
        """Return a pointer to 8 d (d + 1) doubles on the stack; registers in unrolled loops."""
        size = _SIZE
        if isinstance(dims, types.UniTuple):
            size = 8 * dims.count * (dims.count + 1)

        def codegen(context, builder, signature, args):
            return cgutils.alloca_once(builder, context.get_value_type(types.float64), size=size)

        return types.CPointer(types.float64)(dims), codegen


@_inline
def _insert(U, D, E, mu, v, w, z, top, turns, k, d):
    """Add a coordinate of mean z and variance w along v to the factors; return what is left of it.

    v has rows 0..top and is used up. Column j and v turn into themselves by a rotation (Agee &
    Turner 1972); its gain, keep and kick are entries (k, j) of turns, by which `_turn_back` undoes
    it.
    """
    for j in range(top, -1, -1):
        p = v[j]
        gain, keep = 0.0, 1.0
        finite = True
        if E is not None:
            finite = E[j] == 0.0
        if finite:
            total = D[j] + w * p * p
            if total > 0.0:
                inverse = 1.0 / total
                gain = w * p * inverse
                keep = D[j] * inverse
                w = w * keep
                D[j] = total
        for i in range(j):  # keep * U, not U + gain * (v - p * U): that cancels where U is large
            t = v[i] - p * U[i * d + j]
            U[i * d + j] = keep * U[i * d + j] + gain * v[i]
            v[i] = t
        z, mu[j] = keep * z - gain * mu[j], mu[j] + p * z
        if turns is not None:
            turns[0][k * d + j], turns[1][k * d + j], turns[2][k * d + j] = gain, keep, p
    return w, z


@_inline
def _advance_wiener(U, D, E, mu, h, basis, weight, v, turns, left, d):
    """Predict over a step of the integrated Wiener process."""
    if d > 3:
        for j in range(1, d):
            _shift_column(U, h, j, d)
        power = h
        for c in range(d - 1, -1, -1):
            _kick(c, power, U, D, E, mu, h, basis, weight, v, turns, left, d)
            power *= h * h
    else:  # written out, for the compiler unrolls only so deep; here and below
        if d > 1:
            _shift_column(U, h, 1, d)
        power = h
        if d > 2:
            _shift_column(U, h, 2, d)
            _kick(2, power, U, D, E, mu, h, basis, weight, v, turns, left, d)
            power *= h * h
        if d > 1:
            _kick(1, power, U, D, E, mu, h, basis, weight, v, turns, left, d)
            power *= h * h
        _kick(0, power, U, D, E, mu, h, basis, weight, v, turns, left, d)


@_inline
def _shift_column(U, h, j, d):
    """Move Taylor coefficients in column j by h."""
    for k in range(j):
        for i in range(j - 1, k - 1, -1):
            U[i * d + j] += h * (U[(i + 1) * d + j] if i + 1 < j else 1.0)


@_inline
def _kick(c, power, U, D, E, mu, h, basis, weight, v, turns, left, d):
    """Add the noise of a Wiener step along its column c."""
    v[c] = 1.0
    scale = 1.0
    for i in range(c - 1, -1, -1):
        scale *= h
        v[i] = basis[i, c] * scale
    w, z = _insert(U, D, E, mu, v, weight[c] * power, 0.0, c, turns, c, d)
    if left is not None:
        left[c] = w
        left[2 * d + c] = z


@_inline
def _is_far(w, z):
    """Tell whether a mean is so far from 0 for its variance that its column is inserted last.

    Where rounding alone makes a pivot, a column turns by the inverse of it: a mean that is there
    by then is lost, one that comes after the noise is not.
    """
    return z * z > _FAR * w


@_inline
def _advance_dense(U, D, E, mu, A, root, v, turns, left, W, d):
    """Predict over a step with transition A and noise ``root root'``."""
    for c in range(d):
        for i in range(d):
            W[i * d + c] = A[i, c]
            for k in range(c):
                W[i * d + c] += A[i, k] * U[k * d + c]
    for c in range(d):
        W[d * d + c], W[d * d + d + c] = D[c], mu[c]
        D[c], mu[c] = 0.0, 0.0
        for i in range(c):
            U[i * d + c] = 0.0
    for s in range(3 * d):
        k = (3 * d - 1 - s) % d if not d <= s < 2 * d else s  # the largest pivots first
        w, z = W[d * d + k] if k < d else 1.0, W[d * d + d + k] if k < d else 0.0
        if k < d and _is_far(w, z) != (s >= 2 * d):
            continue
        for i in range(d):
            v[i] = W[i * d + k] if k < d else root[i, k - d]
        w, z = _insert(U, D, E, mu, v, w, z, d - 1, turns, k, d)
        if left is not None:
            left[k] = w
            left[2 * d + k] = z


@_inline
def _advance(U, D, E, mu, i, h, basis, weight, A, root, v, turns, left, W, d):
    """Predict over step i."""
    if A is None:
        _advance_wiener(
            U, D, E, mu, h[i], basis, weight[min(i, len(weight) - 1)], v, turns, left, d
        )
    else:
        _advance_dense(U, D, E, mu, A[i], root[i], v, turns, left, W, d)


@_inline
def _update(U, D, mu, b, nu, y, variance, d):
    """Take in one row (Bierman 1977); b becomes gain times F. Return innovation and F."""
    f = D[nu]
    F = variance + f
    innovation = y - mu[nu]
    if F > 0.0:
        mu[nu] = y - innovation * (variance / F)
        D[nu] = f * (variance / F)
    for i in range(nu):
        b[i] = U[i * d + nu] * f
    b[nu] = f
    for j in range(nu + 1, d):
        f = U[nu * d + j]
        g = D[j] * f
        total = F + f * g
        lever = f * (1.0 / F if F > 0.0 else 0.0)
        before = innovation
        innovation -= f * mu[j]
        if total > 0.0:  # keep * mu, not mu + gain * innovation: that cancels where mu was rough
            inverse = 1.0 / total
            D[j] *= F * inverse
            mu[j] = F * inverse * mu[j] + g * inverse * before
        for i in range(j):
            old = U[i * d + j]
            U[i * d + j] = old - lever * b[i]
            b[i] += old * g
        b[j] = g
        U[nu * d + j] = lever * variance if F > 0.0 else f
        F = total
    return innovation, F


@_inline
def _contradicts(U, mu, nu, y, d):
    """Tell whether an exact row that is determined already is not met, beyond rounding."""
    left, size = y - mu[nu], abs(y) + abs(mu[nu])
    for j in range(nu + 1, d):
        left -= U[nu * d + j] * mu[j]
        size += abs(U[nu * d + j] * mu[j])
    return abs(left) > _ROUNDING * size


@_inline
def _update_diffuse(U, D, E, mu, b, nu, y, variance, d):
    """Take in one row while E is not zero. Return innovation, F, and whether F is infinite."""
    F, infinite, innovation = variance, 0.0, y
    for i in range(d):
        b[i] = 0.0
    for j in range(nu, d):
        f = U[nu * d + j] if j > nu else 1.0
        g = 0.0
        lever = f / infinite if infinite > 0.0 else (f / F if F > 0.0 else 0.0)
        first = E[j] > 0.0 and f != 0.0 and infinite == 0.0
        known, before = F == 0.0 and infinite == 0.0, innovation
        innovation -= f * mu[j]
        if first:
            g = E[j] * f
            infinite = f * g
            D[j] = F / (f * f)
            E[j] = 0.0
            mu[j] = before / f
        elif E[j] > 0.0:
            g = E[j] * f
            total = infinite + f * g
            if total > 0.0:
                E[j] *= infinite / total
                mu[j] = infinite / total * mu[j] + g / total * before
            infinite = total
        elif infinite == 0.0:
            g = D[j] * f
            total = F + f * g
            if total > 0.0:
                D[j] *= F / total
                mu[j] = F / total * mu[j] + g / total * before
            F = total
        for i in range(j):
            old = U[i * d + j]
            U[i * d + j] = old - lever * b[i]
            b[i] = old * g + (0.0 if first else b[i])
        b[j] = g
        if j > nu:
            left = 0.0 if infinite > 0.0 and not first else lever * variance
            U[nu * d + j] = f if known else left
    if infinite > 0.0:
        for i in range(d):
            b[i] = b[i] / infinite
        b[nu] = 1.0
        return innovation, infinite, True
    return innovation, F, False


@_loop
def settle(rows, steps, start):
    """Filter the first rows, until the data have determined what starts diffuse.

    Return ((gain, innovation, 1 / F, mean, factor, E) of those m rows; the state after them,
    (d + 1, d): factor with D on the diagonal, then coordinates; summary [sum e**2 / F, sum log F,
    rows with finite F, still free, contradiction]). ``1 / F`` is 0 for the d rows that determine
    the diffuse start, which add ``log(F / kappa)``, and for redundant exact rows. Contradiction is
    1 + the first row that is exact, already determined and not met, or 0.
    """
    y, variance, component = rows
    h, basis, weight, A, root = steps
    d, n, m = start[0].shape[0], len(y), 0
    kept, room = d * (d + 1) // 2 + 3 * d + 2, 16
    U, D, E, mu = np.zeros(d * d), np.zeros(d), np.zeros(d), np.zeros(d)
    b, v, W, table = np.zeros(d), np.zeros(d), np.zeros(d * (d + 2)), np.empty((room, kept))
    free = 0
    for j in range(d):
        D[j], E[j] = start[0][j, j], start[1][j]
        free += E[j] > 0.0
        for i in range(j):
            U[i * d + j] = start[0][i, j]
    chi, logs, count, clash = 0.0, 0.0, 0, 0
    while m < n and free > 0:
        if h[m] > 0.0:
            _advance(U, D, E, mu, m, h, basis, weight, A, root, v, None, None, W, d)
        e, F, infinite = _update_diffuse(U, D, E, mu, b, component[m], y[m], variance[m], d)
        if m == room:
            room *= 2
            grown = np.empty((room, kept))
            for i in range(m):
                for j in range(kept):
                    grown[i, j] = table[i, j]
            table = grown
        inverse = 0.0 if infinite or F == 0.0 else 1.0 / F
        for j in range(d):
            table[m, j] = b[j] * (1.0 if infinite else inverse)
            table[m, d + 2 + j] = mu[j]
            table[m, 2 * d + 2 + j] = E[j]
        table[m, d], table[m, d + 1] = e, inverse
        _pack(U, D, table[m, 3 * d + 2 :], d)
        free -= infinite
        chi += e * e * inverse
        count += inverse > 0.0
        if F > 0.0:
            logs += math.log(F)
        elif clash == 0 and _contradicts(U, mu, component[m], y[m], d):
            clash = m + 1
        m += 1
    state = np.empty((d + 1, d))
    for j in range(d):
        state[d, j] = mu[j]
        for i in range(d):
            state[i, j] = D[i] if i == j else U[i * d + j]
    gain, mean, E_before = np.empty((m, d)), np.empty((m, d)), np.empty((m, d))
    innovation, inverses, factor = np.empty(m), np.empty(m), np.empty((m, d * (d + 1) // 2))
    for i in range(m):  # whole arrays, for which alone the loops after this are compiled
        innovation[i], inverses[i] = table[i, d], table[i, d + 1]
        for j in range(d):
            gain[i, j], mean[i, j] = table[i, j], table[i, d + 2 + j]
            E_before[i, j] = table[i, 2 * d + 2 + j]
        for j in range(d * (d + 1) // 2):
            factor[i, j] = table[i, 3 * d + 2 + j]
    summary = np.array([chi, logs, count, free, clash])
    return (gain, innovation, inverses, mean, factor, E_before), state, summary


@_inline
def _pack(U, D, out, d):
    """Write the factor, D on the diagonal, as a packed triangle."""
    for j in range(d):
        for i in range(j):
            out[j * (j + 1) // 2 + i] = U[i * d + j]
        out[j * (j + 1) // 2 + j] = D[j]


@_inline
def _entry(table, i, n):
    """Return where row i of n stands in a table of all rows, of the marked ones or of none."""
    if len(table) == n:
        return i
    if len(table) > 0 and (i + 1) % APART == 0:
        return i // APART
    return -1


@_loop
def forward(rows, steps, settled, gains, states, dims):
    """Filter all rows; return the summary of `settle`, continued to the last row.

    Fills what is not empty of gains: gain (n, d), innovation (n,), inverse (n,); and of states:
    mean (n, d), factor (n, d (d + 1) / 2) of the state given the rows so far: its mean is U times
    the coordinates in `mean`, which stay accurate where the state does not. Of states, tables of
    n // APART entries are filled for marked rows.
    """
    d = len(dims)
    first, state, summary = settled
    y, variance, component = rows
    h, basis, weight, A, root = steps
    gain, innovation, inverse = gains
    mean, factor = states
    keeps_gain, keeps_errors, n = len(gain) > 0, len(innovation) > 0, len(y)
    U, D, mu = _scratch(dims), _scratch(dims), _scratch(dims)
    b, v, W = _scratch(dims), _scratch(dims), _scratch(dims)
    m = len(first[1])
    for i in range(m):  # not by slices, which take longer to compile than all of this
        if keeps_errors:
            innovation[i], inverse[i] = first[1][i], first[2][i]
        if keeps_gain:
            for j in range(d):
                gain[i, j] = first[0][i, j]
        at = _entry(mean, i, n)
        if at >= 0:
            for j in range(d):
                mean[at, j] = first[3][i, j]
        at = _entry(factor, i, n)
        if at >= 0:
            for j in range(d * (d + 1) // 2):
                factor[at, j] = first[4][i, j]
    for j in range(d):
        mu[j], D[j] = state[d, j], state[j, j]
        for i in range(d):
            U[i * d + j] = state[i, j]
    chi, logs, count, clash = summary[0], summary[1], summary[2], summary[4]
    product = 1.0
    for i in range(m, n):
        if h[i] > 0.0:
            _advance(U, D, None, mu, i, h, basis, weight, A, root, v, None, None, W, d)
        nu = component[i]
        if d > 3:
            e, F = _update(U, D, mu, b, nu, y[i], variance[i], d)
        elif d > 2 and nu == 2:
            e, F = _update(U, D, mu, b, 2, y[i], variance[i], d)
        elif d > 1 and nu == 1:
            e, F = _update(U, D, mu, b, 1, y[i], variance[i], d)
        else:
            e, F = _update(U, D, mu, b, 0, y[i], variance[i], d)
        g = 0.0
        if F > 0.0:
            g = 1.0 / F
            chi += e * e * g
            count += 1.0
            product *= F
            if not 1e-100 < product < 1e100:
                logs += math.log(product)
                product = 1.0
        elif clash == 0.0 and _contradicts(U, mu, nu, y[i], d):
            clash = i + 1.0
        if keeps_errors:
            innovation[i], inverse[i] = e, g
        if keeps_gain:
            for j in range(d):
                gain[i, j] = b[j] * g
        at = _entry(mean, i, n)
        if at >= 0:
            for j in range(d):
                mean[at, j] = mu[j]
        at = _entry(factor, i, n)
        if at >= 0:
            _pack(U, D, factor[at], d)
    return np.array([chi, logs + math.log(product), count, summary[3], clash])


@_loop
def forward_each(rows, h, basis, weight, ends, which, start, gains, dims):
    """Filter some of many series: series j has the rows from ends[j] to ends[j + 1].

    Series which[k] has the Wiener weights weight[k]. Fills its gains as `forward` does; return the
    summaries of that: (len(which), 5).
    """
    y, variance, component = rows
    gain, innovation, inverse = gains
    out, none = np.empty((len(which), 5)), np.empty((0, 0))
    for k in range(len(which)):
        a, b = ends[which[k]], ends[which[k] + 1]
        these = (y[a:b], variance[a:b], component[a:b])
        steps = (h[a:b], basis, weight[k : k + 1], None, None)
        kept = (gain[a:b], innovation[a:b], inverse[a:b])
        found = forward(these, steps, settle(these, steps, start), kept, (none, none), dims)
        for j in range(5):
            out[k, j] = found[j]
    return out


@_in_place
def _work(dims):
    """Return the scratch of a step back: U2, D2, mu2, v, levers, shares, left, X, Y, b; turns."""
    return (
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
    ), (_scratch(dims), _scratch(dims), _scratch(dims))  # fmt: skip


@_inline
def _levers(U, D, E, nu, variance, levers, shares, d):
    """Find what a row does to the basis: ``U_after = U T``, ``T_kj = -levers_j shares_k``, k < j.

    T_kk = 1; the shares times the innovation over F are the change of the mean. Return F, infinite
    if not 0, and `top`, -1 or a free coordinate that the row determines: then only the shares from
    there on count for later columns, and for the mean.
    """
    F, infinite, top = variance, 0.0, -1
    for j in range(d):
        f = U[nu * d + j] if j > nu else (1.0 if j == nu else 0.0)
        levers[j], shares[j] = 0.0, 0.0
        free = False
        if E is not None:
            free = E[j] > 0.0
        if infinite > 0.0:
            levers[j] = f / infinite
            if free:
                shares[j] = E[j] * f
                infinite += f * shares[j]
        elif free and f != 0.0:
            levers[j] = f / F if F > 0.0 else 0.0
            shares[j] = E[j] * f
            infinite = f * shares[j]
            top = j
        else:
            levers[j] = f / F if F > 0.0 else 0.0
            shares[j] = 0.0 if free else D[j] * f
            F += f * shares[j]
    return (infinite if infinite > 0.0 else F), top


@_inline
def _before_row(X, levers, shares, top, width, column, d):
    """Turn a column of coordinates in the basis after a row into those before it."""
    total = 0.0
    for k in range(d - 1, -1, -1):
        after = X[k * width + column]
        X[k * width + column] = after - shares[k] * total
        if k == top:
            total = 0.0
        total += levers[k] * after


@_inline
def _mean_before_row(X, U, mu, row, F, top, levers, shares, d):
    """Do it for a mean, and for what it is beyond the filtered one, which becomes mu."""
    width, push = 4 * d + 4, 0.0
    if F > 0.0:
        push = _innovation(U, mu, row[2], row[0], d) / F
    one, two, size_one, size_two = 0.0, -push, 0.0, abs(push)
    for k in range(d - 1, -1, -1):
        at = k * width + 3 * d
        mean, beyond, size = X[at], X[at + 1], abs(shares[k])
        X[at], X[at + 2] = mean - shares[k] * one, abs(mean) + size * size_one
        X[at + 1], X[at + 3] = beyond - shares[k] * two, abs(beyond) + size * size_two
        if k == top:  # those before it are not moved
            one, two, size_one, size_two = 0.0, 0.0, 0.0, 0.0
        one, two = one + levers[k] * mean, two + levers[k] * beyond
        size_one, size_two = size_one + abs(levers[k] * mean), size_two + abs(levers[k] * beyond)
        _agree(X, at, mu[k])


@_inline
def _innovation(U, mu, nu, y, d):
    """Return what a row says beyond its prediction."""
    out = y - mu[nu]
    for j in range(nu + 1, d):
        out -= U[nu * d + j] * mu[j]
    return out


@_inline
def _turn_back(X, Y, last, turns, left, D, mu, A, b, d):
    """Turn coordinates after a step into those before it, undoing one rotation after the other.

    X has d rows of 4 d + 4 entries: along d columns of what is known about them; along the noise
    left over in each of up to 2 d columns that were added (set here); the four of `_agree`; and d
    columns more, of which those before `last` are turned. The result is in Y; for a Wiener step its
    rows d + k are the noise along column k.
    """
    for s in range(d if A is None else 3 * d):
        k = 3 * d - 1 - s if d <= s < 2 * d else s % d
        if A is None or k >= d or _is_far(D[k], mu[k]) == (s < d):
            _turn_column(k, X, Y, last, turns, left, A, b, d)


@_inline
def _turn_column(k, X, Y, last, turns, left, A, b, d):
    """Undo the rotations of column k."""
    gains, keeps, kicks = turns
    width, top = 4 * d + 4, k + 1 if A is None else d
    noises = top if A is None else 2 * d
    for m in range(width):
        b[m] = 0.0
    b[d + k] = 1.0
    b[3 * d], b[3 * d + 2] = left[2 * d + k], abs(left[2 * d + k])
    for j in range(top):
        gain, keep, kick = gains[k * d + j], keeps[k * d + j], kicks[k * d + j]
        for m in range(d + noises):
            _turn(X, b, j * width, m, gain, keep, kick)
        for m in range(3 * d, 3 * d + 2):
            _turn(X, b, j * width, m, gain, keep, kick)
            _turn(X, b, j * width, m + 2, abs(gain), keep, -abs(kick))
        for m in range(3 * d + 4, last):
            _turn(X, b, j * width, m, gain, keep, kick)
    if A is None:
        for m in range(width):
            Y[(d + k) * width + m] = b[m]
    elif k < d:
        for m in range(width):
            Y[k * width + m] = b[m]


@_inline
def _turn(X, b, row, m, gain, keep, kick):
    """Undo one rotation of one entry; not X - kick * b, which cancels where little is kept."""
    t = X[row + m]
    X[row + m] = keep * t - kick * b[m]
    b[m] += gain * t


@_inline
def _agree(X, row, mu):
    """Make two accounts of one mean agree: as it is, and what it is beyond the filtered one, mu.

    They are followed by what their terms add up to in size: that of smaller terms has lost fewer
    digits. Which one it is changes from an exact row to a state that the filter hardly knew.
    """
    mean, beyond, first = X[row], X[row + 1], X[row + 2] <= X[row + 3]
    X[row] = mean if first else mu + beyond
    X[row + 1] = mean - mu if first else beyond


@_inline
def _look_back(U, D, E, mu, m, V, W, noise, G, S, i, steps, row, work, d):
    """Condition a filtered state on what is known a step i later, both as coordinates.

    (U, D, E, mu) is the filtered state; m holds the means and what they are beyond the filtered
    ones, (V, W) is the factor of coordinates after the step, in the basis predicted, or after a row
    (y, variance, nu) if nu is not negative. They become those before the step, in the basis U;
    noise its smoothed noise (Wiener); G and S (if not None) the law ``c = .. + G c_next + N(0, S)``
    given the data so far, S as columns of the table of `_orthogonalise`, whose weights are in left.
    """
    h, basis, weight, A, root = steps
    U2, D2, mu2, v, levers, shares, left, X, Y, b = work[0]
    width, last = 4 * d + 4, 3 * d + 4 if G is None else 4 * d + 4
    columns = d if A is None else 2 * d
    if A is None:
        Y = X  # turned in place
    for j in range(d):
        mu2[j], D2[j] = mu[j], D[j]
        for k in range(j):
            U2[k * d + j] = U[k * d + j]
    moves = h[i] > 0.0
    if moves:
        _advance(U2, D2, E, mu2, i, h, basis, weight, A, root, v, work[1], left, X, d)
    for j in range(d):
        for k in range(width):
            X[j * width + k] = 0.0
        X[j * width + j] = 1.0
        X[j * width + 3 * d], X[j * width + 3 * d + 1] = m[2 * j], m[2 * j + 1]
        X[j * width + 3 * d + 4 + j] = 1.0
        for k in range(j + 1, d):
            X[j * width + k] = V[j * d + k]
    if row[2] >= 0:
        F, top = _levers(U2, D2, E, row[2], row[1], levers, shares, d)
        for k in range(d):
            _before_row(X, levers, shares, top, width, k, d)
            _before_row(X, levers, shares, top, width, 3 * d + 4 + k, d)
        _mean_before_row(X, U2, mu2, row, F, top, levers, shares, d)
    for j in range(d):
        at = j * width + 3 * d
        X[at + 2], X[at + 3] = abs(X[at]), abs(X[at + 1])
    if moves:
        _turn_back(X, Y, last, work[1], left, D, mu, A, b, d)
    else:
        columns, Y = 0, X
    for j in range(d):
        if moves:
            _agree(Y, j * width + 3 * d, mu[j])
        m[2 * j], m[2 * j + 1] = Y[j * width + 3 * d], Y[j * width + 3 * d + 1]
        if noise is not None:
            if A is not None:
                noise[j] = m[2 * j + 1]
            else:
                noise[j] = 0.0
                if moves:
                    _agree(Y, (d + j) * width + 3 * d, 0.0)
                    noise[j] = Y[(d + j) * width + 3 * d]
    if G is not None:
        for j in range(d):
            for k in range(d):
                G[j * d + k] = Y[j * width + 3 * d + 4 + k]
            for k in range(2 * d):
                S[j * width + d + k] = Y[j * width + d + k] if k < columns else 0.0
        for k in range(columns, 2 * d):
            left[k] = 0.0
    if moves:
        _orthogonalise(Y, W, left, V, columns, width, d)
    else:
        for j in range(d):
            for k in range(j + 1, d):
                V[j * d + k] = Y[j * width + k]


@_inline
def _orthogonalise(Y, W, left, V, columns, width, d):
    """Factor the rows of Y, of weights (W, left), into V with weights W (Gram & Schmidt)."""
    for k in range(d):
        left[2 * d + k] = W[k]
    for j in range(d - 1, -1, -1):
        total = 0.0
        for k in range(d):
            total += left[2 * d + k] * Y[j * width + k] * Y[j * width + k]
        for k in range(columns):
            total += left[k] * Y[j * width + d + k] * Y[j * width + d + k]
        W[j] = total
        inverse = 1.0 / total if total > 0.0 else 0.0
        for i in range(j):
            dot = 0.0
            for k in range(d):
                dot += left[2 * d + k] * Y[i * width + k] * Y[j * width + k]
            for k in range(columns):
                dot += left[k] * Y[i * width + d + k] * Y[j * width + d + k]
            dot *= inverse
            V[i * d + j] = dot
            for k in range(d + columns):
                Y[i * width + k] -= dot * Y[j * width + k]


@_inline
def _unpack(triangle, U, D, d):
    """Read a packed factor."""
    for j in range(d):
        for i in range(j):
            U[i * d + j] = triangle[j * (j + 1) // 2 + i]
        D[j] = triangle[j * (j + 1) // 2 + j]


@_inline
def _read_back(mean, factor, E, m, V, W, noise, G, S, i, steps, row, state, work, d):
    """Load one filtered row and condition it on (m, V, W), what is known a step i later."""
    U, D, mu = state
    _unpack(factor, U, D, d)
    for j in range(d):
        mu[j] = mean[j]
    _look_back(U, D, E, mu, m, V, W, noise, G, S, i, steps, row, work, d)


@_loop
def predict(mean, factor, E, steps, dims):
    """Move each of m filtered states, independently, over its own step; in place."""
    d = len(dims)
    U, D, mu, v, W = (
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
    )  # fmt: skip
    h, basis, weight, A, root = steps
    for i in range(len(mean)):
        if h[i] > 0.0:
            _unpack(factor[i], U, D, d)
            for j in range(d):
                mu[j] = mean[i, j]
            _advance(U, D, E[i], mu, i, h, basis, weight, A, root, v, None, None, W, d)
            for j in range(d):
                mean[i, j] = mu[j]
            _pack(U, D, factor[i], d)


@_loop
def look_back(mean, factor, infinite, steps, rows, beyond, smoothed, spread, aside, ahead, dims):
    """Condition filtered states on what is known a step later; from the last to the first.

    State i, whose E is infinite[i] if there is such a row, is conditioned on entry i + ahead of
    smoothed (.., d) and spread (.., packed), which hold coordinates after row i + ahead of `rows`,
    by step i + ahead, and written to entry i: with ahead = 1 a smoother, with 0 independent
    answers. `beyond` says what the smoothed means are beyond the filtered ones: of the last entry,
    or of all. `aside`, if it has rows, is filled with the noise of the step for a Wiener process,
    and else with what the means found are beyond the filtered ones.
    """
    d = len(dims)
    m, V, W, work, kept = _scratch(dims), _scratch(dims), _scratch(dims), _work(dims), np.zeros(d)
    state = (_scratch(dims), _scratch(dims), _scratch(dims))
    y, variance, component = rows
    finite = np.zeros(d)
    for i in range(len(mean) - 1, -1, -1):
        k = i + ahead
        if ahead == 0 or i == len(mean) - 1:
            for j in range(d):
                m[2 * j], m[2 * j + 1] = smoothed[k, j], beyond[(1 - ahead) * i, j]
        _unpack(spread[k], V, W, d)
        E = infinite[i] if i < len(infinite) else finite
        _read_back(
            mean[i], factor[i], E, m, V, W, kept, None, None, k, steps,
            (y[k], variance[k], component[k]), state, work, d,
        )  # fmt: skip
        for j in range(d):
            smoothed[i, j] = m[2 * j]
            if len(aside) > 0:
                aside[i, j] = kept[j]
        _pack(V, W, spread[i], d)


@_loop
def chain(mean, factor, infinite, steps, rows, last_spread, marked, dims):
    """Smooth along stops; return basis, factor, G and S of the k marked ones.

    Stop i is row i of `rows`, or none where its component is negative. Of the coordinates c, the
    state being ``U c``, ``c_i - mean_i = G_i (c_next - mean_next) + N(0, S_i)`` given all data,
    next the next marked stop; last_spread is the factor at the last stop. Factors are packed: those
    of S lose no digits where the coordinates all but make up for each other.
    """
    d, n, k = len(dims), len(mean), 0
    for i in range(n):
        k += marked[i]
    m, V, W, work = _scratch(dims), _scratch(dims), _scratch(dims), _work(dims)
    G, S, T, step_G, step_S, weight = (
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
        _scratch(dims),
    )  # fmt: skip
    state, finite = (_scratch(dims), _scratch(dims), _scratch(dims)), np.zeros(d)
    spreads, (y, variance, component) = np.empty((k, d * (d + 1) // 2)), rows
    bases, all_G, noises = np.zeros((k, d, d)), np.empty((k, d, d)), np.empty_like(spreads)
    _unpack(last_spread, V, W, d)
    for j in range(d):
        m[2 * j], m[2 * j + 1] = 0.0, 0.0
        for p in range(d):
            G[j * d + p] = 0.0
            S[j * d + p] = 0.0
        weight[j] = 0.0
    for i in range(n - 1, -1, -1):
        if i < n - 1:
            E = infinite[i] if i < len(infinite) else finite
            _read_back(
                mean[i], factor[i], E, m, V, W, None, step_G, step_S, i + 1, steps,
                (y[i + 1], variance[i + 1], component[i + 1]), state, work, d,
            )  # fmt: skip
            for j in range(d):
                for p in range(d):
                    total = step_G[j * d + p]
                    for q in range(p):
                        total += step_G[j * d + q] * S[q * d + p]
                    step_S[j * (4 * d + 4) + p] = total
            _orthogonalise(step_S, weight, work[0][6], S, 2 * d, 4 * d + 4, d)
            _multiply(step_G, G, T, d)
            for j in range(d * d):
                G[j] = T[j]
        if marked[i]:
            k -= 1
            _pack(V, W, spreads[k], d)
            for j in range(d):
                for p in range(d):
                    bases[k, j, p] = 1.0 if j == p else 0.0
                    if p > j:
                        bases[k, j, p] = factor[i, p * (p + 1) // 2 + j]
                    all_G[k, j, p] = G[j * d + p]
                    G[j * d + p] = 1.0 if j == p else 0.0
            _pack(S, weight, noises[k], d)
            for j in range(d):
                weight[j] = 0.0
                for p in range(d):
                    S[j * d + p] = 0.0
    return bases, spreads, all_G, noises


@_inline
def _multiply(A, B, out, d):
    """Set ``out = A B``."""
    for i in range(d):
        for j in range(d):
            total = 0.0
            for k in range(d):
                total += A[i * d + k] * B[k * d + j]
            out[i * d + j] = total


@_loop
def take(state, table, x, y, sd, nu, basis, weight):
    """Move a stream on to x and take in a row unless y is NaN; append it to table; in place.

    state is x, whether there was a row, how many, then coordinates (d,), factor (d, d) with D on
    its diagonal, and E (d,), in Taylor's units (span 1). Return 0, or a code: 1 late, 2 not
    finite, 3 no such component, 4 a contradiction; the state is then as before.
    """
    d = len(weight)
    if state[1] > 0.0 and x < state[0]:
        return 1
    if not (math.isfinite(x) and sd >= 0.0 and sd < math.inf) or math.isinf(y):
        return 2
    if nu < 0 or nu >= d:
        return 3
    fresh = state.copy()
    mu, U, E = fresh[3 : 3 + d], fresh[3 + d : 3 + d + d * d], fresh[3 + d + d * d :]
    D, b, v = np.empty(d), np.empty(d), np.empty(d)
    free = False
    unit = 1.0
    for j in range(d):
        D[j] = U[j * d + j]
        free = free or E[j] > 0.0
        unit *= max(j, 1) if j <= nu else 1
    h = x - state[0]
    if state[1] > 0.0 and h > 0.0:
        _advance_wiener(U, D, E, mu, h, basis, weight, v, None, None, d)
    fresh[0], fresh[1] = x, 1.0
    if not math.isnan(y):
        scaled, variance = y / unit, (sd / unit) * (sd / unit)
        if free:
            _, F, _ = _update_diffuse(U, D, E, mu, b, nu, scaled, variance, d)
        else:
            _, F = _update(U, D, mu, b, nu, scaled, variance, d)
        if F == 0.0 and _contradicts(U, mu, nu, scaled, d):
            return 4
        row = int(state[2])
        if row < len(table):
            table[row, 0], table[row, 1], table[row, 2], table[row, 3] = x, y, sd, nu
        fresh[2] += 1.0
    for j in range(d):
        U[j * d + j] = D[j]
    for j in range(len(state)):
        state[j] = fresh[j]
    return 0
