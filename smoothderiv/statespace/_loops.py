"""Compiled loops of the state space engine: they see arrays, and know nothing of models.

The covariance of the state is kept as ``U diag(D + kappa E) U'``, U unit upper triangular, in the
limit of infinite kappa (Bierman 1977): E marks what the data have not yet determined, so the
diffuse start is exact and needs no large number, no tolerance and no second filter. Every weight
is a sum of positive terms, which keeps small variances beside large ones right.

Shapes: n rows in order of place, d state components. `rows` is (y, variance, component), with
component the one that the row observes; `steps` is a priors.Steps; `start` is (U with D on the
diagonal, E); `dims` is a tuple of d entries where the loops are to be unrolled, an array of d
where they are not. Triangles are packed by columns: entry (i, j), i <= j, at j (j + 1) / 2 + i.
"""

import math

import numpy as np
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

MAX_DIMENSION = 12
_SIZE = 3 * MAX_DIMENSION**2

if config.DISABLE_JIT:

    def _scratch(dims):
        return np.zeros(_SIZE)

else:

    @intrinsic
    def _scratch(_, dims):
        """Return a pointer to 3 d d doubles on the stack, which unrolled loops keep in registers."""
        size = 3 * dims.count**2 if isinstance(dims, types.UniTuple) else _SIZE

        def codegen(context, builder, signature, args):
            return cgutils.alloca_once(builder, context.get_value_type(types.float64), size=size)

        return types.CPointer(types.float64)(dims), codegen


@njit(forceinline=True)
def _insert(U, D, E, v, w, top, gains, kicks, k, d):
    """Add ``w v v'`` to the factors; v has rows 0..top and is used up. Return what is left of w.

    Column j and v turn into themselves by a rotation (Agee & Turner 1972); its two numbers are
    kept as entry (k, j) of gains and kicks, by which `_unwind` turns back.
    """
    for j in range(top, -1, -1):
        p = v[j]
        gain = 0.0
        finite = True
        if E is not None:
            finite = E[j] == 0.0
        if finite:
            total = D[j] + w * p * p
            if total > 0.0:
                inverse = 1.0 / total
                gain = w * p * inverse
                w = w * (D[j] * inverse)
                D[j] = total
        for i in range(j):
            t = v[i] - p * U[i * d + j]
            U[i * d + j] += gain * t
            v[i] = t
        if gains is not None:
            gains[k * d + j] = gain
            kicks[k * d + j] = p
    return w


@njit(forceinline=True)
def _shift(a, h, d):
    """Move Taylor coefficients by h."""
    for k in range(d - 1):
        for i in range(d - 2, k - 1, -1):
            a[i] += h * a[i + 1]


@njit(forceinline=True)
def _advance_wiener(U, D, E, a, h, basis, weight, v, gains, kicks, left, d):
    """Predict over a step of the integrated Wiener process."""
    _shift(a, h, d)
    for j in range(1, d):
        for k in range(j):
            for i in range(j - 1, k - 1, -1):
                U[i * d + j] += h * (U[(i + 1) * d + j] if i + 1 < j else 1.0)
    power = h
    for c in range(d - 1, -1, -1):
        v[c] = 1.0
        scale = 1.0
        for i in range(c - 1, -1, -1):
            scale *= h
            v[i] = basis[i, c] * scale
        rest = _insert(U, D, E, v, weight[c] * power, c, gains, kicks, c, d)
        power *= h * h
        if left is not None:
            left[c] = rest


@njit(forceinline=True)
def _advance_dense(U, D, E, a, A, root, v, gains, kicks, left, W, d):
    """Predict over a step with transition A and noise ``root root'``."""
    for i in range(d):
        v[i] = 0.0
        for k in range(d):
            v[i] += A[i, k] * a[k]
    for c in range(d):
        a[c] = v[c]
        for i in range(d):
            W[i * d + c] = A[i, c]
            for k in range(c):
                W[i * d + c] += A[i, k] * U[k * d + c]
    for c in range(d):
        W[d * d + c] = D[c]
        D[c] = 0.0
        for i in range(c):
            U[i * d + c] = 0.0
    for k in range(2 * d):
        for i in range(d):
            v[i] = W[i * d + k] if k < d else root[i, k - d]
        w = W[d * d + k] if k < d else 1.0
        rest = _insert(U, D, E, v, w, d - 1, gains, kicks, k, d)
        if left is not None:
            left[k] = rest


@njit(forceinline=True)
def _advance(U, D, E, a, i, h, basis, weight, A, root, v, gains, kicks, left, W, d):
    """Predict over step i."""
    if A is None:
        _advance_wiener(U, D, E, a, h[i], basis, weight, v, gains, kicks, left, d)
    else:
        _advance_dense(U, D, E, a, A[i], root[i], v, gains, kicks, left, W, d)


@njit(forceinline=True)
def _update(U, D, a, b, nu, y, variance, d):
    """Take in one row (Bierman 1977); b becomes gain times F. Return innovation and F."""
    f = D[nu]
    F = variance + f
    D[nu] = f * (variance / F) if F > 0.0 else 0.0
    for i in range(nu):
        b[i] = U[i * d + nu] * f
    b[nu] = f
    for j in range(nu + 1, d):
        f = U[nu * d + j]
        g = D[j] * f
        total = F + f * g
        inverse = 1.0 / F if F > 0.0 else 0.0
        lever = f * inverse
        if total > 0.0:
            D[j] *= F / total
        for i in range(j):
            old = U[i * d + j]
            U[i * d + j] = old - lever * b[i]
            b[i] += old * g
        b[j] = g
        U[nu * d + j] = lever * variance
        F = total
    innovation = y - a[nu]
    if F > 0.0:
        pull = innovation / F
        for i in range(d):
            a[i] += b[i] * pull
        a[nu] = y - variance * pull
    return innovation, F


@njit(forceinline=True)
def _update_diffuse(U, D, E, a, b, nu, y, variance, d):
    """Take in one row while E is not zero. Return innovation, F, and whether F is infinite."""
    F, infinite = variance, 0.0
    for i in range(d):
        b[i] = 0.0
    for j in range(nu, d):
        f = U[nu * d + j] if j > nu else 1.0
        g = 0.0
        lever = f / infinite if infinite > 0.0 else (f / F if F > 0.0 else 0.0)
        first = E[j] > 0.0 and f != 0.0 and infinite == 0.0
        if E[j] > 0.0:
            g = E[j] * f
            total = infinite + f * g
            if first:
                D[j] = F / (f * f)
                E[j] = 0.0
            elif total > 0.0:
                E[j] *= infinite / total
            infinite = total
        elif infinite == 0.0:
            g = D[j] * f
            total = F + f * g
            if total > 0.0:
                D[j] *= F / total
            F = total
        for i in range(j):
            old = U[i * d + j]
            U[i * d + j] = old - lever * b[i]
            b[i] = old * g + (0.0 if first else b[i])
        b[j] = g
        if j > nu:
            U[nu * d + j] = 0.0 if infinite > 0.0 and not first else lever * variance
    innovation = y - a[nu]
    if infinite > 0.0:
        for i in range(d):
            b[i] = b[i] / infinite
            a[i] += b[i] * innovation
        b[nu] = 1.0
        a[nu] = y
        return innovation, infinite, True
    if F > 0.0:
        pull = innovation / F
        for i in range(d):
            a[i] += b[i] * pull
        a[nu] = y - variance * pull
    return innovation, F, False


@njit(cache=True)
def settle(rows, steps, start):
    """Filter the first rows, until the data have determined what starts diffuse.

    Return ((gain, innovation, 1 / F, mean, factor, E) of those m rows; the state after them,
    (d + 1, d): factor with D on the diagonal, then mean; summary [sum e**2 / F, sum log F, rows
    with finite F, still free, contradiction]). ``1 / F`` is 0 for the d rows that determine the
    diffuse start, which add ``log(F / kappa)``, and for redundant exact rows. Contradiction is 1 +
    the first row that is exact, already determined and not met, or 0.
    """
    y, variance, component = rows
    h, basis, weight, A, root = steps
    d, n, m = start[0].shape[0], len(y), 0
    kept, room = d * (d + 1) // 2 + 3 * d + 2, 16
    U, D, E, a = start[0].copy().ravel(), np.diag(start[0]).copy(), start[1].copy(), np.zeros(d)
    b, v, W, table = np.zeros(d), np.zeros(d), np.zeros(d * (d + 1)), np.empty((room, kept))
    free = np.count_nonzero(E)
    chi, logs, count, clash = 0.0, 0.0, 0, 0
    while m < n and free > 0:
        if h[m] > 0.0:
            _advance(U, D, E, a, m, h, basis, weight, A, root, v, None, None, None, W, d)
        e, F, infinite = _update_diffuse(U, D, E, a, b, component[m], y[m], variance[m], d)
        if m == room:
            room *= 2
            grown = np.empty((room, kept))
            grown[:m] = table
            table = grown
        inverse = 0.0 if infinite or F == 0.0 else 1.0 / F
        for j in range(d):
            table[m, j] = b[j] * (1.0 if infinite else inverse)
            table[m, d + 2 + j] = a[j]
            table[m, 2 * d + 2 + j] = E[j]
        table[m, d], table[m, d + 1] = e, inverse
        _pack(U, D, table[m, 3 * d + 2 :], d)
        free -= infinite
        chi += e * e * inverse
        count += inverse > 0.0
        if F > 0.0:
            logs += math.log(F)
        elif e != 0.0 and clash == 0:
            clash = m + 1
        m += 1
    state = np.empty((d + 1, d))
    for j in range(d):
        state[d, j] = a[j]
        for i in range(d):
            state[i, j] = D[i] if i == j else U[i * d + j]
    table = table[:m]
    out = (table[:, :d], table[:, d], table[:, d + 1], table[:, d + 2 : 2 * d + 2])
    more = (table[:, 3 * d + 2 :], table[:, 2 * d + 2 : 3 * d + 2])
    return out + more, state, np.array([chi, logs, count, free, clash])


@njit(forceinline=True)
def _pack(U, D, out, d):
    """Write the factor, D on the diagonal, as a packed triangle."""
    for j in range(d):
        for i in range(j):
            out[j * (j + 1) // 2 + i] = U[i * d + j]
        out[j * (j + 1) // 2 + j] = D[j]


@njit(cache=True)
def forward(rows, steps, settled, gain, innovation, inverse, mean, factor, dims):
    """Filter all rows; return the summary of `settle`, continued to the last row.

    Fills what is not None: gain (n, d), innovation (n,), inverse (n,); mean (n, d), factor
    (n, d (d + 1) / 2) of the state given the rows so far.
    """
    d = len(dims)
    first, state, summary = settled
    y, variance, component = rows
    h, basis, weight, A, root = steps
    U, D, a = _scratch(dims), _scratch(dims), _scratch(dims)
    b, v, W = _scratch(dims), _scratch(dims), _scratch(dims)
    m = len(first[1])
    if gain is not None:
        gain[:m], innovation[:m], inverse[:m] = first[0], first[1], first[2]
    if mean is not None:
        mean[:m], factor[:m] = first[3], first[4]
    for j in range(d):
        a[j], D[j] = state[d, j], state[j, j]
        for i in range(d):
            U[i * d + j] = state[i, j]
    chi, logs, count, clash = summary[0], summary[1], summary[2], summary[4]
    product = 1.0
    for i in range(m, len(y)):
        if h[i] > 0.0:
            _advance(U, D, None, a, i, h, basis, weight, A, root, v, None, None, None, W, d)
        e, F = 0.0, 0.0
        for nu in range(d):
            if component[i] == nu:
                e, F = _update(U, D, a, b, nu, y[i], variance[i], d)
        g = 0.0
        if F > 0.0:
            g = 1.0 / F
            chi += e * e * g
            count += 1.0
            product *= F
            if not 1e-100 < product < 1e100:
                logs += math.log(product)
                product = 1.0
        elif e != 0.0 and clash == 0.0:
            clash = i + 1.0
        if gain is not None:
            for j in range(d):
                gain[i, j] = b[j] * g
            innovation[i], inverse[i] = e, g
        if mean is not None:
            for j in range(d):
                mean[i, j] = a[j]
            _pack(U, D, factor[i], d)
    return np.array([chi, logs + math.log(product), count, summary[3], clash])


@njit(forceinline=True)
def _pull_back(r, N, i, h, A, v, d):
    """Replace r by ``A' r`` and N by ``A' N A``."""
    if A is None:
        s = h[i]
        for k in range(d - 2, -1, -1):
            for j in range(k, d - 1):
                r[j + 1] += s * r[j]
                for m in range(d):
                    N[(j + 1) * d + m] += s * N[j * d + m]
        for k in range(d - 2, -1, -1):
            for j in range(k, d - 1):
                for m in range(d):
                    N[m * d + j + 1] += s * N[m * d + j]
    else:
        T = A[i]
        for j in range(d):
            v[j] = 0.0
            for k in range(d):
                v[j] += T[k, j] * r[k]
        for j in range(d):
            r[j] = v[j]
        for m in range(d):
            for j in range(d):
                v[j] = 0.0
                for k in range(d):
                    v[j] += T[k, j] * N[k * d + m]
            for j in range(d):
                N[j * d + m] = v[j]
        for m in range(d):
            for j in range(d):
                v[j] = 0.0
                for k in range(d):
                    v[j] += T[k, j] * N[m * d + k]
            for j in range(d):
                N[m * d + j] = v[j]


@njit(forceinline=True)
def _noise_moments(r, N, i, h, basis, weight, A, root, v, d):
    """Return ``r' Q r`` and ``tr(Q N)`` of step i."""
    penalty, excess = 0.0, 0.0
    power = h[i] if A is None else 1.0
    for c in range(d - 1, -1, -1):
        top = c + 1 if A is None else d
        scale = 1.0
        for k in range(top - 1, -1, -1):
            if A is None:
                v[k] = basis[k, c] * scale if k < c else 1.0
                scale *= h[i]
                if k == c:
                    scale = h[i]
            else:
                v[k] = root[i, k, c]
        dot, square = 0.0, 0.0
        for k in range(top):
            dot += v[k] * r[k]
            row = 0.0
            for m in range(top):
                row += N[k * d + m] * v[m]
            square += v[k] * row
        w = weight[c] * power if A is None else 1.0
        penalty += w * dot * dot
        excess += w * square
        if A is None:
            power *= h[i] * h[i]
    return penalty, excess


@njit(forceinline=True)
def _release(r, N, gain, innovation, inverse, variance, nu, v, g, d):
    """Take a row into r and N, backwards; return its entries of P y and of diag P."""
    dot, quadratic = 0.0, 0.0
    for j in range(d):
        dot += gain[j] * r[j]
        v[j] = 0.0
        for k in range(d):
            v[j] += N[j * d + k] * gain[k]
        quadratic += v[j] * gain[j]
        g[j] = -gain[j]
    pull, diagonal = innovation * inverse - dot, inverse + quadratic
    g[nu] = variance * inverse if inverse > 0.0 else 1.0 - gain[nu]
    dot, quadratic = innovation * inverse, inverse
    for j in range(d):
        dot += g[j] * r[j]
        v[j] = 0.0
        for k in range(d):
            v[j] += N[j * d + k] * g[k]
        quadratic += v[j] * g[j]
    for j in range(d):
        N[j * d + nu] = v[j]
        N[nu * d + j] = v[j]
    N[nu * d + nu] = quadratic
    r[nu] = dot
    return pull, diagonal


@njit(cache=True)
def errors(rows, steps, gain, innovation, inverse, dims):
    """Smooth backwards (de Jong 1989); return (P y (n,), diag P (n,), r'Qr, tr QN).

    P is the inverse of the covariance of y less its part along the diffuse start, so that
    residuals are ``variance * P y`` and one minus the leverages ``variance * diag P``.
    """
    d, n = len(dims), len(innovation)
    variance, component = rows[1], rows[2]
    h, basis, weight, A, root = steps
    r, N, v, g = _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims)
    for j in range(d):
        r[j] = 0.0
        for k in range(d):
            N[j * d + k] = 0.0
    pull, diagonal = np.empty(n), np.empty(n)
    penalty, excess = 0.0, 0.0
    for i in range(n - 1, -1, -1):
        for nu in range(d):
            if component[i] == nu:
                pull[i], diagonal[i] = _release(
                    r, N, gain[i], innovation[i], inverse[i], variance[i], nu, v, g, d
                )
        if h[i] > 0.0:
            one, two = _noise_moments(r, N, i, h, basis, weight, A, root, v, d)
            penalty += one
            excess += two
            _pull_back(r, N, i, h, A, v, d)
    return pull, diagonal, penalty, excess


@njit(forceinline=True)
def _turn_back(e, out, gains, kicks, A, d):
    """Turn coordinates e of the predicted state back to those before the step: into out.

    With no noise left over; e is used up. For a Wiener process, gains becomes the noise that was
    in each column; elsewhere only out is filled.
    """
    if A is None:
        for c in range(d):
            b = 0.0
            for j in range(c + 1):
                b += gains[c * d + j] * e[j]
                e[j] -= kicks[c * d + j] * b
            out[d + c] = b
        for j in range(d):
            out[j] = e[j]
    else:
        for k in range(2 * d - 1, -1, -1):
            b = 0.0
            for j in range(d):
                b += gains[k * d + j] * e[j]
                e[j] -= kicks[k * d + j] * b
            out[(k + d) % (2 * d)] = b
        for j in range(d):
            e[j] = out[d + j]
            out[d + j] = out[j]
            out[j] = e[j]


@njit(forceinline=True)
def _turn_rows_back(X, Y, gains, kicks, A, b, d):
    """Do the same to d rows over [d coordinates | noise left in each column], from the identity.

    Rows have 2 d entries (Wiener: result in X) or 3 d (dense: result in Y).
    """
    width = 2 * d if A is None else 3 * d
    for j in range(d):
        for m in range(width):
            X[j * width + m] = 0.0
        X[j * width + j] = 1.0
    if A is None:
        for c in range(d):
            for m in range(c + 1):
                b[m] = 0.0
                b[d + m] = 0.0
            b[d + c] = 1.0
            for j in range(c + 1):
                gain, kick = gains[c * d + j], kicks[c * d + j]
                for m in range(c + 1):
                    b[m] += gain * X[j * width + m]
                    X[j * width + m] -= kick * b[m]
                    b[d + m] += gain * X[j * width + d + m]
                    X[j * width + d + m] -= kick * b[d + m]
    else:
        for k in range(2 * d - 1, -1, -1):
            for m in range(width):
                b[m] = 0.0
            b[d + k] = 1.0
            for j in range(d):
                gain, kick = gains[k * d + j], kicks[k * d + j]
                for m in range(width):
                    b[m] += gain * X[j * width + m]
                    X[j * width + m] -= kick * b[m]
            if k < d:
                for m in range(width):
                    Y[k * width + m] = b[m]


@njit(forceinline=True)
def _look_back(U, D, E, a, m, V, noise, G, S, i, steps, work, d):
    """Condition the filtered state (U, D, E, a) on the smoothed one (m, V) a step i later.

    m and V become the smoothed mean and covariance before the step; noise its smoothed noise
    (Wiener); G and S (if not None) the law ``z = .. + G z_next + N(0, S)`` given the data so far.
    """
    h, basis, weight, A, root = steps
    U2, D2, a2, v, gains, kicks, left, W, X, Y, b, H = work
    for j in range(d):
        a2[j], D2[j] = a[j], D[j]
        for k in range(j):
            U2[k * d + j] = U[k * d + j]
    _advance(U2, D2, E, a2, i, h, basis, weight, A, root, v, gains, kicks, left, W, d)
    for j in range(d - 1, -1, -1):
        v[j] = m[j] - a2[j]
        for k in range(j + 1, d):
            v[j] -= U2[j * d + k] * v[k]
    _turn_back(v, b, gains, kicks, A, d)
    for j in range(d):
        m[j] = a[j] + b[j]
        for k in range(j + 1, d):
            m[j] += U[j * d + k] * b[k]
        if noise is not None:
            noise[j] = b[d + j]
    _turn_rows_back(X, Y, gains, kicks, A, b, d)
    width = 2 * d if A is None else 3 * d
    for j in range(d):
        for k in range(width):
            total = X[j * width + k] if A is None else Y[j * width + k]
            for p in range(j + 1, d):
                total += U[j * d + p] * (X[p * width + k] if A is None else Y[p * width + k])
            W[j * width + k] = total
    for j in range(d):
        for k in range(1, d):
            for p in range(k):
                W[j * width + k] -= W[j * width + p] * U2[p * d + k]
    for j in range(d):
        for k in range(d):
            total = 0.0
            for p in range(d):
                total += W[j * width + p] * V[p * d + k]
            H[j * d + k] = total
    for j in range(d):
        for k in range(j, d):
            fresh = 0.0
            for p in range(width - d):
                fresh += left[p] * W[j * width + d + p] * W[k * width + d + p]
            total = fresh
            for p in range(d):
                total += H[j * d + p] * W[k * width + p]
            V[j * d + k] = total
            V[k * d + j] = total
            if S is not None:
                S[j * d + k] = fresh
                S[k * d + j] = fresh
        if G is not None:
            for k in range(d):
                G[j * d + k] = W[j * width + k]


@njit(forceinline=True)
def _unpack(triangle, U, D, d):
    """Read a packed factor."""
    for j in range(d):
        for i in range(j):
            U[i * d + j] = triangle[j * (j + 1) // 2 + i]
        D[j] = triangle[j * (j + 1) // 2 + j]


@njit(forceinline=True)
def _pack_symmetric(V, out, d):
    """Write a symmetric matrix as a packed triangle."""
    for j in range(d):
        for i in range(j + 1):
            out[j * (j + 1) // 2 + i] = V[i * d + j]


@njit(forceinline=True)
def _multiply_factor(U, D, V, d):
    """Set ``V = U diag(D) U'``."""
    for i in range(d):
        for j in range(i, d):
            total = D[j] * (U[i * d + j] if i < j else 1.0)
            for k in range(j + 1, d):
                total += U[i * d + k] * D[k] * U[j * d + k]
            V[i * d + j] = total
            V[j * d + i] = total


@njit(forceinline=True)
def _work(dims):
    """Return the scratch of `_look_back`."""
    return (
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
    )  # fmt: skip


@njit(cache=True)
def smooth(mean, factor, first, steps, smoothed, cov, noise, dims):
    """Smooth the rows from `first` on, backwards; fill smoothed (n, d), cov (n, packed), noise.

    mean, factor are those of `forward`. noise (n, d) is what `_look_back` finds for the step after
    each row, or None.
    """
    d, n = len(dims), len(mean)
    U, D, a, m, V = (
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
    )  # fmt: skip
    work = _work(dims)
    _unpack(factor[n - 1], U, D, d)
    _multiply_factor(U, D, V, d)
    for j in range(d):
        m[j] = mean[n - 1, j]
        smoothed[n - 1, j] = m[j]
    _pack_symmetric(V, cov[n - 1], d)
    h = steps[0]
    for i in range(n - 2, first - 1, -1):
        if h[i + 1] > 0.0:
            _unpack(factor[i], U, D, d)
            for j in range(d):
                a[j] = mean[i, j]
            step_noise = None if noise is None else noise[i]
            _look_back(U, D, None, a, m, V, step_noise, None, None, i + 1, steps, work, d)
        for j in range(d):
            smoothed[i, j] = m[j]
        _pack_symmetric(V, cov[i], d)


@njit(forceinline=True)
def _read_back(mean, factor, E, m, V, noise, G, S, i, steps, state, work, d):
    """Load one filtered row and condition it on (m, V), the smoothed state step i later."""
    U, D, a = state
    _unpack(factor, U, D, d)
    for j in range(d):
        a[j] = mean[j]
    _look_back(U, D, E, a, m, V, noise, G, S, i, steps, work, d)


@njit(forceinline=True)
def _load(mean, cov, m, V, d):
    """Read a mean and a packed covariance."""
    for j in range(d):
        m[j] = mean[j]
        for i in range(j + 1):
            V[i * d + j] = cov[j * (j + 1) // 2 + i]
            V[j * d + i] = cov[j * (j + 1) // 2 + i]


@njit(cache=True)
def smooth_first(mean, factor, E, steps, smoothed, cov, noise, dims):
    """Smooth the rows that settle the diffuse start, E (m, d), from the one after them."""
    d = len(dims)
    m, V, work = _scratch(dims), _scratch(dims), _work(dims)
    state = (_scratch(dims), _scratch(dims), _scratch(dims))
    for i in range(min(len(E), len(mean) - 1) - 1, -1, -1):
        _load(smoothed[i + 1], cov[i + 1], m, V, d)
        if steps[0][i + 1] > 0.0:
            _read_back(
                mean[i], factor[i], E[i], m, V, noise[i], None, None, i + 1, steps, state, work, d
            )
        for j in range(d):
            smoothed[i, j] = m[j]
        _pack_symmetric(V, cov[i], d)


@njit(cache=True)
def predict(mean, factor, E, steps, dims):
    """Move each of m filtered states, independently, over its own step; in place."""
    d = len(dims)
    U, D, a, v, W = _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims)
    h, basis, weight, A, root = steps
    for i in range(len(mean)):
        if h[i] > 0.0:
            _unpack(factor[i], U, D, d)
            for j in range(d):
                a[j] = mean[i, j]
            _advance(U, D, E[i], a, i, h, basis, weight, A, root, v, None, None, None, W, d)
            for j in range(d):
                mean[i, j] = a[j]
            _pack(U, D, factor[i], d)


@njit(cache=True)
def look_back(mean, factor, E, steps, smoothed, cov, dims):
    """Condition each of m filtered states on the smoothed one its own step later; in place.

    smoothed (m, d) and cov (m, packed) hold the later states and become the earlier ones.
    """
    d = len(dims)
    m, V, work = _scratch(dims), _scratch(dims), _work(dims)
    state = (_scratch(dims), _scratch(dims), _scratch(dims))
    for i in range(len(mean)):
        if steps[0][i] > 0.0:
            _load(smoothed[i], cov[i], m, V, d)
            _read_back(mean[i], factor[i], E[i], m, V, None, None, None, i, steps, state, work, d)
            for j in range(d):
                smoothed[i, j] = m[j]
            _pack_symmetric(V, cov[i], d)


@njit(cache=True)
def chain(mean, factor, E, steps, last_mean, last_cov, marked, dims):
    """Smooth along stops; return mean, cov, G and S of the k marked ones, the last among them.

    ``z_i - mean_i = G_i (z_next - mean_next) + N(0, S_i)`` given all data, next the next marked
    stop. Shapes (k, d), (k, d, d), (k, d, d), (k, d, d); G and S of the last are 0.
    """
    d, n, k = len(dims), len(mean), np.count_nonzero(marked)
    m, V, work = _scratch(dims), _scratch(dims), _work(dims)
    state = (_scratch(dims), _scratch(dims), _scratch(dims))
    means, covs = np.empty((k, d)), np.empty((k, d, d))
    G, S, all_G, all_S = np.eye(d), np.zeros((d, d)), np.zeros((k, d, d)), np.zeros((k, d, d))
    step_G, step_S = np.empty(d * d), np.empty(d * d)
    _load(last_mean, last_cov, m, V, d)
    for i in range(n - 1, -1, -1):
        if i < n - 1 and steps[0][i + 1] > 0.0:
            _read_back(
                mean[i], factor[i], E[i], m, V, None, step_G, step_S, i + 1, steps, state, work, d
            )
            A, B = step_G.reshape((d, d)), step_S.reshape((d, d))
            S = B + A @ S @ A.T
            G = A @ G
        if marked[i]:
            k -= 1
            for j in range(d):
                means[k, j] = m[j]
                for p in range(d):
                    covs[k, j, p] = V[j * d + p]
            if i < n - 1:
                all_G[k], all_S[k] = G, S
            G, S = np.eye(d), np.zeros((d, d))
    return means, covs, all_G, all_S


@njit(cache=True)
def joint_cov(covs, G, place, nu, place2, nu2):
    """Return the covariances between components nu at places of a chain and nu2 at place2."""
    k, d = len(covs), covs.shape[1]
    out, table, row = np.empty((len(place), len(place2))), np.empty((k, d)), np.empty(d)
    for q in range(len(place2)):
        j, c = place2[q], nu2[q]
        table[j] = covs[j, :, c]
        for i in range(j - 1, -1, -1):
            table[i] = G[i] @ table[i + 1]
        row[:] = 0.0
        row[c] = 1.0
        for i in range(j + 1, k):
            row = row @ G[i - 1]
            table[i] = row @ covs[i]
        for p in range(len(place)):
            out[p, q] = table[place[p], nu[p]]
    return out


@njit(cache=True)
def draw(means, roots, G, normal):
    """Turn normal (size, k, d) into paths along a chain, from its end; roots (k, d, d) of S.

    The last root is that of its covariance.
    """
    size, k, d = normal.shape
    delta = np.empty(d)
    for s in range(size):
        for i in range(k - 1, -1, -1):
            for j in range(d):
                total = 0.0
                for p in range(d):
                    total += roots[i, j, p] * normal[s, i, p]
                    if i < k - 1:
                        total += G[i, j, p] * (normal[s, i + 1, p] - means[i + 1, p])
                delta[j] = total
            for j in range(d):
                normal[s, i, j] = means[i, j] + delta[j]


@njit(cache=True)
def project(w, rows, steps, gain, inverse, dims):
    """Return ``P w``, P as in `errors`, for other data w: (n,)."""
    d, n = len(dims), len(w)
    variance, component = rows[1], rows[2]
    h, basis, weight, A, root = steps
    a, N, v, e, pull = _scratch(dims), _scratch(dims), _scratch(dims), np.empty(n), np.empty(n)
    for j in range(d):
        a[j] = 0.0
    for i in range(n):
        if h[i] > 0.0:
            _shift_mean(a, i, h, A, v, d)
        nu = component[i]
        e[i] = w[i] - a[nu]
        for j in range(d):
            a[j] += gain[i, j] * e[i]
        if inverse[i] > 0.0:
            a[nu] = w[i] - variance[i] * inverse[i] * e[i]
    for j in range(d):
        a[j] = 0.0
        for k in range(d):
            N[j * d + k] = 0.0
    for i in range(n - 1, -1, -1):
        nu, dot = component[i], 0.0
        for j in range(d):
            dot += gain[i, j] * a[j]
        pull[i] = e[i] * inverse[i] - dot
        keep = variance[i] * inverse[i] * a[nu] if inverse[i] > 0.0 else a[nu] - gain[i, nu] * a[nu]
        a[nu] = e[i] * inverse[i] + keep - (dot - gain[i, nu] * a[nu])
        if h[i] > 0.0:
            _pull_back(a, N, i, h, A, v, d)
    return pull


@njit(forceinline=True)
def _shift_mean(a, i, h, A, v, d):
    """Predict a mean over step i."""
    if A is None:
        _shift(a, h[i], d)
    else:
        for j in range(d):
            v[j] = 0.0
            for k in range(d):
                v[j] += A[i, j, k] * a[k]
        for j in range(d):
            a[j] = v[j]


@njit(cache=True)
def spread(c, rows, steps, gain, inverse, dims):
    """Return ``diag(P diag(c) P)``, P as in `errors`, for weights c of any sign: (n,).

    The covariance of P y if y had independent entries of variance c: a forward recursion for that
    of the filtered mean, a backward one for that of what later rows add (Lyapunov's equations).
    """
    d, n = len(dims), len(c)
    variance, component = rows[1], rows[2]
    h, basis, weight, A, root = steps
    out, before, v, z = np.empty(n), np.zeros((n, d, d)), _scratch(dims), _scratch(dims)
    S, N, M = np.zeros(d * d), np.zeros(d * d), np.zeros(d * d)
    g, q = np.zeros(d), np.zeros(d)
    for j in range(d):
        z[j] = 0.0
    for i in range(n):
        if h[i] > 0.0:
            for j in range(d):
                _shift_mean(S[j * d : (j + 1) * d], i, h, A, v, d)
            S = S.reshape((d, d)).T.copy().ravel()
            for j in range(d):
                _shift_mean(S[j * d : (j + 1) * d], i, h, A, v, d)
        before[i] = S.reshape((d, d))
        nu = component[i]
        K = gain[i]
        column = before[i, :, nu]
        for j in range(d):
            for k in range(d):
                S[j * d + k] += K[j] * K[k] * (column[nu] + c[i]) - K[j] * column[k]
                S[j * d + k] -= column[j] * K[k]
    for i in range(n - 1, -1, -1):
        nu, K, f = component[i], gain[i], inverse[i]
        q[:] = N.reshape((d, d)) @ K
        # g = h / F - (I - K h)' N K, what earlier rows put into P y; D = 1 / F + K' N K
        D = f + K @ q
        g[:] = -q
        g[nu] = f + K @ q - q[nu]
        out[i] = D * D * c[i] + g @ before[i] @ g + K @ (M.reshape((d, d)) @ K)
        rest = np.eye(d)
        rest[:, nu] -= K
        N = (rest.T @ N.reshape((d, d)) @ rest).ravel()
        N[nu * d + nu] += f
        M = (rest.T @ M.reshape((d, d)) @ rest + c[i] * np.outer(g, g)).ravel()
        if h[i] > 0.0:
            _pull_back(z, N, i, h, A, v, d)
            _pull_back(z, M, i, h, A, v, d)
    return out
