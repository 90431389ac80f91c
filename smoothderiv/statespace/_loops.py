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
_SIZE = 2 * MAX_DIMENSION * (3 * MAX_DIMENSION + 1)
_loop = njit(cache=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy")

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def _scratch(dims):
        return np.zeros(_SIZE)

else:

    @intrinsic
    def _scratch(_, dims):
        """Return a pointer to 2 d (3 d + 1) doubles on the stack; registers in unrolled loops."""
        size = _SIZE
        if isinstance(dims, types.UniTuple):
            size = 2 * dims.count * (3 * dims.count + 1)

        def codegen(context, builder, signature, args):
            return cgutils.alloca_once(builder, context.get_value_type(types.float64), size=size)

        return types.CPointer(types.float64)(dims), codegen


@_inline
def _insert(U, D, E, mu, v, w, z, top, gains, kicks, k, d):
    """Add a coordinate of mean z and variance w along v to the factors; return what is left of it.

    v has rows 0..top and is used up. Column j and v turn into themselves by a rotation (Agee &
    Turner 1972); its two numbers are kept as entry (k, j) of gains and kicks, by which
    `_turn_back` turns back.
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
        if gains is not None:
            gains[k * d + j] = gain
            kicks[k * d + j] = p
    return w, z


@_inline
def _shift(a, h, d):
    """Move Taylor coefficients by h."""
    for k in range(d - 1):
        for i in range(d - 2, k - 1, -1):
            a[i] += h * a[i + 1]


@_inline
def _advance_wiener(U, D, E, mu, h, basis, weight, v, gains, kicks, left, d):
    """Predict over a step of the integrated Wiener process."""
    if d > 3:
        for j in range(1, d):
            _shift_column(U, h, j, d)
        power = h
        for c in range(d - 1, -1, -1):
            _kick(c, power, U, D, E, mu, h, basis, weight, v, gains, kicks, left, d)
            power *= h * h
    else:  # written out, for the compiler unrolls only so deep; here and below
        if d > 1:
            _shift_column(U, h, 1, d)
        power = h
        if d > 2:
            _shift_column(U, h, 2, d)
            _kick(2, power, U, D, E, mu, h, basis, weight, v, gains, kicks, left, d)
            power *= h * h
        if d > 1:
            _kick(1, power, U, D, E, mu, h, basis, weight, v, gains, kicks, left, d)
            power *= h * h
        _kick(0, power, U, D, E, mu, h, basis, weight, v, gains, kicks, left, d)


@_inline
def _shift_column(U, h, j, d):
    """Move Taylor coefficients in column j by h."""
    for k in range(j):
        for i in range(j - 1, k - 1, -1):
            U[i * d + j] += h * (U[(i + 1) * d + j] if i + 1 < j else 1.0)


@_inline
def _kick(c, power, U, D, E, mu, h, basis, weight, v, gains, kicks, left, d):
    """Add the noise of a Wiener step along its column c."""
    v[c] = 1.0
    scale = 1.0
    for i in range(c - 1, -1, -1):
        scale *= h
        v[i] = basis[i, c] * scale
    w, z = _insert(U, D, E, mu, v, weight[c] * power, 0.0, c, gains, kicks, c, d)
    if left is not None:
        left[c] = w
        left[2 * d + c] = z


@_inline
def _advance_dense(U, D, E, mu, A, root, v, gains, kicks, left, W, d):
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
    for s in range(2 * d):
        k = d - 1 - s if s < d else s  # the largest pivots first
        for i in range(d):
            v[i] = W[i * d + k] if k < d else root[i, k - d]
        w, z = W[d * d + k] if k < d else 1.0, W[d * d + d + k] if k < d else 0.0
        w, z = _insert(U, D, E, mu, v, w, z, d - 1, gains, kicks, k, d)
        if left is not None:
            left[k] = w
            left[2 * d + k] = z


@_inline
def _advance(U, D, E, mu, i, h, basis, weight, A, root, v, gains, kicks, left, W, d):
    """Predict over step i."""
    if A is None:
        _advance_wiener(U, D, E, mu, h[i], basis, weight, v, gains, kicks, left, d)
    else:
        _advance_dense(U, D, E, mu, A[i], root[i], v, gains, kicks, left, W, d)


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
        innovation -= f * mu[j]
        if total > 0.0:
            D[j] *= F / total
            mu[j] += g / total * innovation
        for i in range(j):
            old = U[i * d + j]
            U[i * d + j] = old - lever * b[i]
            b[i] += old * g
        b[j] = g
        U[nu * d + j] = lever * variance
        F = total
    return innovation, F


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
        before = innovation
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
                mu[j] += g / total * innovation
            infinite = total
        elif infinite == 0.0:
            g = D[j] * f
            total = F + f * g
            if total > 0.0:
                D[j] *= F / total
                mu[j] += g / total * innovation
            F = total
        for i in range(j):
            old = U[i * d + j]
            U[i * d + j] = old - lever * b[i]
            b[i] = old * g + (0.0 if first else b[i])
        b[j] = g
        if j > nu:
            U[nu * d + j] = 0.0 if infinite > 0.0 and not first else lever * variance
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
    b, v, W, table = np.zeros(d), np.zeros(d), np.zeros(d * (d + 1)), np.empty((room, kept))
    free = 0
    for j in range(d):
        D[j], E[j] = start[0][j, j], start[1][j]
        free += E[j] > 0.0
        for i in range(j):
            U[i * d + j] = start[0][i, j]
    chi, logs, count, clash = 0.0, 0.0, 0, 0
    while m < n and free > 0:
        if h[m] > 0.0:
            _advance(U, D, E, mu, m, h, basis, weight, A, root, v, None, None, None, W, d)
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
        elif e != 0.0 and clash == 0:
            clash = m + 1
        m += 1
    state = np.empty((d + 1, d))
    for j in range(d):
        state[d, j] = mu[j]
        for i in range(d):
            state[i, j] = D[i] if i == j else U[i * d + j]
    table = table[:m]
    out = (table[:, :d], table[:, d], table[:, d + 1], table[:, d + 2 : 2 * d + 2])
    more = (table[:, 3 * d + 2 :], table[:, 2 * d + 2 : 3 * d + 2])
    return out + more, state, np.array([chi, logs, count, free, clash])


@_inline
def _pack(U, D, out, d):
    """Write the factor, D on the diagonal, as a packed triangle."""
    for j in range(d):
        for i in range(j):
            out[j * (j + 1) // 2 + i] = U[i * d + j]
        out[j * (j + 1) // 2 + j] = D[j]


@_loop
def forward(rows, steps, settled, gain, innovation, inverse, mean, factor, dims):
    """Filter all rows; return the summary of `settle`, continued to the last row.

    Fills what is not None: gain (n, d), innovation (n,), inverse (n,); mean (n, d), factor
    (n, d (d + 1) / 2) of the state given the rows so far: its mean is U times the coordinates in
    `mean`, which stay accurate where the state does not.
    """
    d = len(dims)
    first, state, summary = settled
    y, variance, component = rows
    h, basis, weight, A, root = steps
    U, D, mu = _scratch(dims), _scratch(dims), _scratch(dims)
    b, v, W = _scratch(dims), _scratch(dims), _scratch(dims)
    m = len(first[1])
    if gain is not None:
        gain[:m], innovation[:m], inverse[:m] = first[0], first[1], first[2]
    if mean is not None:
        mean[:m], factor[:m] = first[3], first[4]
    for j in range(d):
        mu[j], D[j] = state[d, j], state[j, j]
        for i in range(d):
            U[i * d + j] = state[i, j]
    chi, logs, count, clash = summary[0], summary[1], summary[2], summary[4]
    product = 1.0
    for i in range(m, len(y)):
        if h[i] > 0.0:
            _advance(U, D, None, mu, i, h, basis, weight, A, root, v, None, None, None, W, d)
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
        elif e != 0.0 and clash == 0.0:
            clash = i + 1.0
        if gain is not None:
            for j in range(d):
                gain[i, j] = b[j] * g
            innovation[i], inverse[i] = e, g
        if mean is not None:
            for j in range(d):
                mean[i, j] = mu[j]
            _pack(U, D, factor[i], d)
    return np.array([chi, logs + math.log(product), count, summary[3], clash])


@_inline
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


@_inline
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


@_inline
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


@_loop
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


@_inline
def _turn_back(X, Y, V, gains, kicks, left, A, b, d):
    """Turn rows of coordinates back to before a step.

    X has a row for each of the d coordinates after the step, of width d + 2 d: along the d columns
    of what is known about them, along the noise left in each column added (set here), and a last
    column for the mean, which is also what is left of the columns' means. The result is in Y; its
    rows d + k are the noise of a Wiener step along column k.
    """
    if A is not None:
        for s in range(2 * d - 1, -1, -1):
            k = d - 1 - s if s < d else s
            _turn_column(k, X, Y, V, gains, kicks, left, A, b, d)
    elif V is not None:
        for k in range(d):
            _turn_column(k, X, Y, V, gains, kicks, left, A, b, d)
    else:  # written out, for the compiler unrolls no deeper
        _turn_column(0, X, Y, V, gains, kicks, left, A, b, d)
        if d > 1:
            _turn_column(1, X, Y, V, gains, kicks, left, A, b, d)
        if d > 2:
            _turn_column(2, X, Y, V, gains, kicks, left, A, b, d)


@_inline
def _turn_column(k, X, Y, V, gains, kicks, left, A, b, d):
    """Turn the rotations of column k back."""
    width, top = 3 * d + 1, k + 1 if A is None else d
    noises = top if A is None else 2 * d
    known = top if V is None else d  # from the identity, rows beyond have not been mixed in
    for m in range(width):
        b[m] = 0.0
    b[d + k] = 1.0
    b[3 * d] = left[2 * d + k]
    for j in range(top):
        gain, kick = gains[k * d + j], kicks[k * d + j]
        for m in range(known):
            b[m] += gain * X[j * width + m]
            X[j * width + m] -= kick * b[m]
        for m in range(noises):
            b[d + m] += gain * X[j * width + d + m]
            X[j * width + d + m] -= kick * b[d + m]
        b[3 * d] += gain * X[j * width + 3 * d]
        X[j * width + 3 * d] -= kick * b[3 * d]
    if A is None:
        for m in range(d):
            Y[(d + k) * width + m] = b[m]
        Y[(d + k) * width + 3 * d] = b[3 * d]
    elif k < d:
        for m in range(width):
            Y[k * width + m] = b[m]


@_inline
def _law(U, D, E, mu, m, V, i, steps, work, d):
    """Find the state before step i given the one after it and the data so far: into Y.

    From m and V None, ``z = G e + N c + offset`` for z_next = U2 e as rows [G | N | offset]; else
    with z_next = m + V e, V unit upper triangular, as rows [along e | along c | mean]. The c are
    independent of variances `left`, which is in `work` like Y (for a Wiener process: X) and U2.
    """
    h, basis, weight, A, root = steps
    U2, D2, mu2, v, gains, kicks, left, X, Y, b = work
    if A is None:
        Y = X  # turned in place
    width = 3 * d + 1
    columns = d if A is None else 2 * d
    for j in range(d):
        mu2[j], D2[j] = mu[j], D[j]
        for k in range(j):
            U2[k * d + j] = U[k * d + j]
    _advance(U2, D2, E, mu2, i, h, basis, weight, A, root, v, gains, kicks, left, X, d)
    for j in range(d - 1, -1, -1):
        for k in range(width):
            X[j * width + k] = 0.0
        X[j * width + j] = 1.0
        if V is not None:
            _seed(j, X, U2, m, V, width, d)
    _turn_back(X, Y, V, gains, kicks, left, A, b, d)
    if d > 3:
        for j in range(d):
            for k in range(j + 1, d):
                _raise(j, k, Y, U, width, columns, d)
    else:
        if d > 1:
            _raise(0, 1, Y, U, width, columns, d)
        if d > 2:
            _raise(0, 2, Y, U, width, columns, d)
            _raise(1, 2, Y, U, width, columns, d)


@_inline
def _seed(j, X, U2, m, V, width, d):
    """Set row j of coordinates after a step: those of m + V e."""
    X[j * width + 3 * d] = m[j]
    for k in range(j + 1, d):
        X[j * width + k] = V[j * d + k]
    for k in range(j + 1, d):
        for p in range(k, d):
            X[j * width + p] -= U2[j * d + k] * X[k * width + p]
        X[j * width + 3 * d] -= U2[j * d + k] * X[k * width + 3 * d]


@_inline
def _raise(j, k, Y, U, width, columns, d):
    """Add to row j of Y what a coordinate k is to a component j of the state."""
    for p in range(d + columns):
        Y[j * width + p] += U[j * d + k] * Y[k * width + p]
    Y[j * width + 3 * d] += U[j * d + k] * Y[k * width + 3 * d]


@_inline
def _look_back(U, D, E, mu, m, V, W, noise, G, S, i, steps, work, d):
    """Condition the filtered state (U, D, E, mu) on the smoothed one a step i later.

    The latter's mean m and factor (V, W) become those before the step; noise its smoothed noise
    (Wiener); G and S (if not None) the law ``z = .. + G z_next + N(0, S)`` given the data so far.
    """
    left, Y = work[6], work[7] if steps[3] is None else work[8]
    width = 3 * d + 1
    columns = d if steps[3] is None else 2 * d
    _law(U, D, E, mu, m, V, i, steps, work, d)
    for j in range(d):
        m[j] = Y[j * width + 3 * d]
        if noise is not None:
            noise[j] = Y[(d + j) * width + 3 * d]
    if G is not None:
        for j in range(d):
            for k in range(d):
                G[j * d + k] = Y[j * width + k]
                for p in range(k):
                    G[j * d + k] -= G[j * d + p] * V[p * d + k]
                S[j * d + k] = 0.0
                for p in range(columns):
                    S[j * d + k] += left[p] * Y[j * width + d + p] * Y[k * width + d + p]
    _orthogonalise(Y, W, left, V, columns, width, d)


@_inline
def _look_back_fast(U, D, mu, m, V, noise, i, steps, work, d):
    """Do the same for a Wiener step, d at most 3, and a full V; what needs no V runs ahead."""
    U2, left, Y, H, e = work[0], work[6], work[7], work[3], work[9]
    width = 3 * d + 1
    _law(U, D, None, mu, None, None, i, steps, work, d)
    for j in range(d - 1, -1, -1):
        e[j] = m[j]
        for k in range(j + 1, d):
            e[j] -= U2[j * d + k] * e[k]
    _move(0, m, noise, e, Y, width, d)
    if d > 1:
        _move(1, m, noise, e, Y, width, d)
    if d > 2:
        _move(2, m, noise, e, Y, width, d)
    for j in range(d):  # into the gain
        if d > 1:
            Y[j * width + 1] -= Y[j * width] * U2[1]
        if d > 2:
            Y[j * width + 2] -= Y[j * width] * U2[2] + Y[j * width + 1] * U2[d + 2]
    _weigh(0, H, Y, V, width, d)
    if d > 1:
        _weigh(1, H, Y, V, width, d)
    if d > 2:
        _weigh(2, H, Y, V, width, d)
    _condition(0, V, H, Y, left, width, d)
    if d > 1:
        _condition(1, V, H, Y, left, width, d)
    if d > 2:
        _condition(2, V, H, Y, left, width, d)


@_inline
def _move(j, m, noise, e, Y, width, d):
    """Set entry j of the mean and of the noise."""
    m[j] = Y[j * width + 3 * d]
    noise[j] = Y[(d + j) * width + 3 * d]
    for k in range(d):
        m[j] += Y[j * width + k] * e[k]
        noise[j] += Y[(d + j) * width + k] * e[k]


@_inline
def _weigh(j, H, Y, V, width, d):
    """Set row j of the gain times the covariance."""
    for k in range(d):
        total = 0.0
        for p in range(d):
            total += Y[j * width + p] * V[p * d + k]
        H[j * d + k] = total


@_inline
def _condition(j, V, H, Y, left, width, d):
    """Set row j of the covariance."""
    for k in range(j, d):
        total = 0.0
        for p in range(d):
            total += left[p] * Y[j * width + d + p] * Y[k * width + d + p]
        for p in range(d):
            total += H[j * d + p] * Y[k * width + p]
        V[j * d + k] = total
        V[k * d + j] = total


@_inline
def _factor(V, U, D, d):
    """Factor ``V = U diag(D) U'``, d at most 3."""
    for j in range(d):
        for i in range(j + 1):
            U[i * d + j] = V[i * d + j]
    if d > 2:
        _factor_column(2, U, D, d)
    if d > 1:
        _factor_column(1, U, D, d)
    _factor_column(0, U, D, d)


@_inline
def _factor_column(j, U, D, d):
    """Split column j off."""
    D[j] = max(U[j * d + j], 0.0)
    inverse = 1.0 / D[j] if D[j] > 0.0 else 0.0
    for i in range(j):
        u = U[i * d + j] * inverse
        for k in range(i + 1):
            U[k * d + i] -= u * U[k * d + j]
    for i in range(j):
        U[i * d + j] *= inverse


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
def _work(dims):
    """Return the scratch of `_look_back`."""
    return (
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
    )  # fmt: skip


@_inline
def _read_back(mean, factor, E, m, V, W, noise, G, S, i, steps, state, work, d):
    """Load one filtered row and condition it on (m, V, W), the smoothed state step i later."""
    U, D, mu = state
    _unpack(factor, U, D, d)
    for j in range(d):
        mu[j] = mean[j]
    _look_back(U, D, E, mu, m, V, W, noise, G, S, i, steps, work, d)


@_inline
def _mean(U, mu, m, d):
    """Set ``m = U mu``."""
    for j in range(d):
        m[j] = mu[j]
        for k in range(j + 1, d):
            m[j] += U[j * d + k] * mu[k]


@_loop
def smooth(mean, factor, first, steps, smoothed, spread, noise, dims):
    """Smooth the rows from `first` on, backwards; fill smoothed (n, d), spread (n, packed), noise.

    mean (coordinates) and factor are those of `forward`; smoothed are means, spread factors of the
    covariance. noise (n, d) is what `_look_back` finds for the step after each row.
    """
    d, n = len(dims), len(mean)
    m, V, work = _scratch(dims), _scratch(dims), _work(dims)
    U, D, mu = _scratch(dims), _scratch(dims), _scratch(dims)
    _unpack(factor[n - 1], U, D, d)
    _mean(U, mean[n - 1], m, d)
    for j in range(d):
        smoothed[n - 1, j] = m[j]
        for i in range(j + 1):
            V[i * d + j] = (U[i * d + j] if i < j else 1.0) * D[j]
            for k in range(j + 1, d):
                V[i * d + j] += U[i * d + k] * D[k] * U[j * d + k]
            V[j * d + i] = V[i * d + j]
    _pack(U, D, spread[n - 1], d)
    h = steps[0]
    for i in range(n - 2, first - 1, -1):
        if h[i + 1] > 0.0:
            _unpack(factor[i], U, D, d)
            for j in range(d):
                mu[j] = mean[i, j]
            _look_back_fast(U, D, mu, m, V, noise[i], i + 1, steps, work, d)
        _factor(V, U, D, d)
        for j in range(d):
            smoothed[i, j] = m[j]
        _pack(U, D, spread[i], d)


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
            _advance(U, D, E[i], mu, i, h, basis, weight, A, root, v, None, None, None, W, d)
            for j in range(d):
                mean[i, j] = mu[j]
            _pack(U, D, factor[i], d)


@_loop
def look_back(mean, factor, E, steps, smoothed, spread, noise, ahead, dims):
    """Condition filtered states on the smoothed ones a step later; from the last to the first.

    State i is conditioned on entry i + ahead of smoothed (.., d) and spread (.., packed) by step
    i + ahead, and written to entry i: with ahead = 1 a smoother, with 0 independent answers. Fills
    noise where it has rows.
    """
    d = len(dims)
    m, V, W, work, kept = _scratch(dims), _scratch(dims), _scratch(dims), _work(dims), np.zeros(d)
    state = (_scratch(dims), _scratch(dims), _scratch(dims))
    for i in range(len(mean) - 1, -1, -1):
        k = i + ahead
        for j in range(d):
            m[j] = smoothed[k, j]
        _unpack(spread[k], V, W, d)
        if steps[0][k] > 0.0:
            _read_back(
                mean[i], factor[i], E[i], m, V, W, kept, None, None, k, steps, state, work, d
            )
        for j in range(d):
            smoothed[i, j] = m[j]
            if len(noise) > 0:
                noise[i, j] = kept[j]
            kept[j] = 0.0
        _pack(V, W, spread[i], d)


@_loop
def chain(mean, factor, E, steps, last_mean, last_spread, marked, dims):
    """Smooth along stops; return mean, factor, G and S of the k marked ones.

    ``z_i - mean_i = G_i (z_next - mean_next) + N(0, S_i)`` given all data, next the next marked
    stop. Shapes (k, d), (k, packed), (k, d, d), (k, d, d).
    """
    d, n, k = len(dims), len(mean), 0
    for i in range(n):
        k += marked[i]
    m, V, W, work = _scratch(dims), _scratch(dims), _scratch(dims), _work(dims)
    G, S, T, step_G, step_S = (
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
    )  # fmt: skip
    state = (_scratch(dims), _scratch(dims), _scratch(dims))
    means, spreads = np.empty((k, d)), np.empty((k, d * (d + 1) // 2))
    all_G, all_S = np.empty((k, d, d)), np.empty((k, d, d))
    _unpack(last_spread, V, W, d)
    for j in range(d):
        m[j] = last_mean[j]
        for p in range(d):
            G[j * d + p] = 0.0
            S[j * d + p] = 0.0
    for i in range(n - 1, -1, -1):
        if i < n - 1 and steps[0][i + 1] > 0.0:
            _read_back(
                mean[i], factor[i], E[i], m, V, W, None, step_G, step_S, i + 1, steps, state, work,
                d,
            )  # fmt: skip
            _multiply(step_G, S, T, d)
            for j in range(d):
                for p in range(d):
                    S[j * d + p] = step_S[j * d + p]
                    for q in range(d):
                        S[j * d + p] += T[j * d + q] * step_G[p * d + q]
            _multiply(step_G, G, T, d)
            for j in range(d * d):
                G[j] = T[j]
        if marked[i]:
            k -= 1
            _pack(V, W, spreads[k], d)
            for j in range(d):
                means[k, j] = m[j]
                for p in range(d):
                    all_G[k, j, p] = G[j * d + p]
                    all_S[k, j, p] = S[j * d + p]
                    G[j * d + p] = 1.0 if j == p else 0.0
                    S[j * d + p] = 0.0
    return means, spreads, all_G, all_S


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
def joint_cov(covs, G, place, nu, place2, nu2):
    """Return the covariances between components nu at places of a chain and nu2 at place2."""
    k, d = len(covs), covs.shape[1]
    out, table = np.empty((len(place), len(place2))), np.empty((k, d))
    row, fresh = np.empty(d), np.empty(d)
    for q in range(len(place2)):
        j, c = place2[q], nu2[q]
        for i in range(d):
            table[j, i] = covs[j, i, c]
            row[i] = 1.0 if i == c else 0.0
        for i in range(j - 1, -1, -1):
            for a in range(d):
                table[i, a] = 0.0
                for b in range(d):
                    table[i, a] += G[i, a, b] * table[i + 1, b]
        for i in range(j + 1, k):
            for a in range(d):
                fresh[a] = 0.0
                for b in range(d):
                    fresh[a] += row[b] * G[i - 1, b, a]
            for a in range(d):
                row[a] = fresh[a]
            for a in range(d):
                table[i, a] = 0.0
                for b in range(d):
                    table[i, a] += row[b] * covs[i, b, a]
        for p in range(len(place)):
            out[p, q] = table[place[p], nu[p]]
    return out


@_loop
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


@_loop
def project(w, rows, steps, gain, inverse, dims):
    """Return ``P w``, P as in `errors`, for other data w: (n,)."""
    d, n = len(dims), len(w)
    variance, component = rows[1], rows[2]
    h, A = steps[0], steps[3]
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


@_inline
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


@_loop
def spread(c, rows, steps, gain, inverse, dims):
    """Return ``diag(P diag(c) P)``, P as in `errors`, for weights c of any sign: (n,).

    The covariance of P y if y had independent entries of variance c: a forward recursion for that
    of the filtered mean, a backward one for that of what later rows add (Lyapunov's equations).
    """
    d, n = len(dims), len(c)
    component, h, A = rows[2], steps[0], steps[3]
    out, before, v, z = np.empty(n), np.empty((n, d * d)), _scratch(dims), _scratch(dims)
    S, N, M, T, g, q = (
        _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims),
        _scratch(dims),
    )  # fmt: skip
    for j in range(d):
        z[j] = 0.0
        for k in range(d):
            S[j * d + k], N[j * d + k], M[j * d + k] = 0.0, 0.0, 0.0
    for i in range(n):
        if h[i] > 0.0:
            for _ in range(2):  # rows, then columns
                for j in range(d):
                    for k in range(d):
                        z[k] = S[j * d + k]
                    _shift_mean(z, i, h, A, v, d)
                    for k in range(d):
                        T[k * d + j] = z[k]
                for j in range(d * d):
                    S[j] = T[j]
        for j in range(d * d):
            before[i, j] = S[j]
        nu = component[i]
        for j in range(d):
            q[j] = S[j * d + nu]
        for j in range(d):
            for k in range(d):
                product = gain[i, j] * gain[i, k] * (q[nu] + c[i])
                S[j * d + k] += product - gain[i, j] * q[k] - q[j] * gain[i, k]
    for j in range(d):
        z[j] = 0.0
    for i in range(n - 1, -1, -1):
        # g = h / F - (I - K h)' N K is what earlier rows put into P y, D = 1 / F + K' N K
        nu, dot, total = component[i], 0.0, 0.0
        for j in range(d):
            q[j] = 0.0
            for k in range(d):
                q[j] += N[j * d + k] * gain[i, k]
            dot += gain[i, j] * q[j]
        D = inverse[i] + dot
        for j in range(d):
            g[j] = -q[j]
        g[nu] = D - q[nu]
        for j in range(d):
            for k in range(d):
                total += g[j] * before[i, j * d + k] * g[k]
                total += gain[i, j] * M[j * d + k] * gain[i, k]
        out[i] = D * D * c[i] + total
        _release_moment(N, gain[i], nu, T, d)
        N[nu * d + nu] += inverse[i]
        _release_moment(M, gain[i], nu, T, d)
        for j in range(d):
            for k in range(d):
                M[j * d + k] += c[i] * g[j] * g[k]
        if h[i] > 0.0:
            _pull_back(z, N, i, h, A, v, d)
            _pull_back(z, M, i, h, A, v, d)
    return out


@_loop
def spread_along(weight, place, component, covs, G):
    """Return ``diag(V diag(weight) V)``, V the covariance of what rows observe given all data.

    From the places as a chain, covs (k, d, d) and G (k, d, d) as of `chain`: for s < t the states'
    covariance is ``G_s .. G_(t-1) V_t``. Weights of any sign; place ascending.
    """
    n, k, d = len(weight), len(covs), covs.shape[1]
    out, M, T = np.zeros(n), np.zeros((d, d)), np.zeros((d, d))
    last = 0
    for r in range(n):  # what earlier places say
        i, a = place[r], component[r]
        if i != last:
            _congruence(G[last], M, T, True, d)
            last = i
        for j in range(d):
            for p in range(d):
                out[r] += covs[i, j, a] * M[j, p] * covs[i, p, a]
        if r + 1 < n and place[r + 1] != i:
            for s in range(r, -1, -1):
                if place[s] != i:
                    break
                M[component[s], component[s]] += weight[s]
    M[:] = 0.0
    last, r = k - 1, n - 1
    while r >= 0:  # and the others
        i, first = place[r], r
        if i != last:
            _congruence(G[i], M, T, False, d)
            last = i
        while first >= 0 and place[first] == i:
            a = component[first]
            for j in range(d):
                for p in range(d):
                    M[j, p] += weight[first] * covs[i, j, a] * covs[i, p, a]
            first -= 1
        for s in range(first + 1, r + 1):
            out[s] += M[component[s], component[s]]
        r = first
    return out


@_inline
def _congruence(G, M, T, transposed, d):
    """Replace M by ``G' M G`` or ``G M G'``."""
    for j in range(d):
        for p in range(d):
            T[j, p] = 0.0
            for q in range(d):
                T[j, p] += (G[q, j] if transposed else G[j, q]) * M[q, p]
    for j in range(d):
        for p in range(d):
            M[j, p] = 0.0
            for q in range(d):
                M[j, p] += T[j, q] * (G[q, p] if transposed else G[p, q])


@_inline
def _release_moment(N, gain, nu, v, d):
    """Replace N by ``(I - K h)' N (I - K h)``."""
    total = 0.0
    for j in range(d):
        v[j] = N[j * d + nu]
        for k in range(d):
            v[j] -= N[j * d + k] * gain[k]
    for j in range(d):
        total += v[j] * ((1.0 if j == nu else 0.0) - gain[j])
    for j in range(d):
        N[j * d + nu] = v[j]
        N[nu * d + j] = v[j]
    N[nu * d + nu] = total


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
        _advance_wiener(U, D, E, mu, h, basis, weight, v, None, None, None, d)
    fresh[0], fresh[1] = x, 1.0
    if not math.isnan(y):
        scaled, variance = y / unit, (sd / unit) * (sd / unit)
        if free:
            e, F, _ = _update_diffuse(U, D, E, mu, b, nu, scaled, variance, d)
        else:
            e, F = _update(U, D, mu, b, nu, scaled, variance, d)
        if F == 0.0 and e != 0.0:
            return 4
        row = int(state[2])
        if row < len(table):
            table[row, 0], table[row, 1], table[row, 2], table[row, 3] = x, y, sd, nu
        fresh[2] += 1.0
    for j in range(d):
        U[j * d + j] = D[j]
    state[:] = fresh
    return 0


@_loop
def matern_steps(t, powers, density, panels, nodes, weights, transition, root):
    """Fill ``exp(F t)`` and a square root of its noise for each t: (n, d, d) both.

    ``exp(F t) = exp(-t) sum_k t**k powers[k]``, and the noise is
    ``density int_0^t g g' ds``, g the last column of ``exp(F s)``: Gauss's rule on panels
    [panels[i], panels[i + 1]], its rows made orthogonal, which takes no differences.
    """
    n, d, m = len(t), len(powers), len(nodes)
    kicks = np.empty((m * (len(panels) - 1), d))
    for i in range(n):
        A, R, h = transition[i], root[i], t[i]
        if i > 0 and h == t[i - 1]:
            A[:], R[:] = transition[i - 1], root[i - 1]
            continue
        # beyond t = 50 less than a rounding error is left, and its powers would underflow
        decay = math.exp(-h) if h < 50.0 else 0.0
        for a in range(d):
            for b in range(d):
                total = 0.0
                for k in range(d - 1, -1, -1):
                    total = total * h + powers[k, a, b]
                A[a, b] = decay * total
        count = 0
        for p in range(len(panels) - 1):
            width = min(h, panels[p + 1]) - panels[p]
            if width <= 0.0:
                break
            for j in range(m):
                s = panels[p] + width * nodes[j]
                size = math.exp(-s) * math.sqrt(density * width * weights[j])
                for a in range(d):
                    total = 0.0
                    for k in range(d - 1, -1, -1):
                        total = total * s + powers[k, a, d - 1]
                    kicks[count, a] = size * total
                count += 1
        for a in range(d):
            total = 0.0
            for j in range(count):
                total += kicks[j, a] * kicks[j, a]
            R[a, a] = math.sqrt(total)
            inverse = 1.0 / R[a, a] if total > 0.0 else 0.0
            for b in range(a + 1, d):
                total = 0.0
                for j in range(count):
                    total += kicks[j, a] * kicks[j, b]
                total *= inverse
                R[a, b], R[b, a] = 0.0, total
                total *= inverse
                for j in range(count):
                    kicks[j, b] -= total * kicks[j, a]


@_loop
def errors_and_stretch(rows, steps, gain, innovation, inverse, mean, factor, drift, density, dims):
    """Do what `errors` does, and differentiate by the lengths of the steps too.

    For ``dz = F z dx + white noise of density on the last component`` with dense steps; mean and
    factor as `forward` filled them. A step longer by dh changes minus the log likelihood by
    ``(-r'F m + tr((N - r r') F P) + density (N_dd - r_d**2) / 2) dh``, m and P the filtered
    moments before it and r, N the backward recursions there, as F and exp(F h) commute. Return
    (P y, diag P, tr QN - r'Qr summed, that derivative times h summed, r, N before the first row).
    """
    d, n = len(dims), len(innovation)
    variance, component = rows[1], rows[2]
    h, basis, weight, A, root = steps
    r, N, v, g = np.zeros(d), np.zeros(d * d), np.empty(d), np.empty(d)
    U, D, m, P = np.empty(d * d), np.empty(d), np.empty(d), np.empty((d, d))
    pull, diagonal = np.empty(n), np.empty(n)
    size, stretch = 0.0, 0.0
    for i in range(n - 1, -1, -1):
        pull[i], diagonal[i] = _release(
            r, N, gain[i], innovation[i], inverse[i], variance[i], component[i], v, g, d
        )
        if i == 0 or not h[i] > 0.0:
            continue
        penalty, excess = _noise_moments(r, N, i, h, basis, weight, A, root, v, d)
        size += excess - penalty
        _pull_back(r, N, i, h, A, v, d)
        _unpack(factor[i - 1], U, D, d)
        _mean(U, mean[i - 1], m, d)
        _square(U, D, P, d)
        for a in range(d):
            moved = 0.0
            for b in range(d):
                v[b] = 0.0
                moved += drift[a, b] * m[b]
                for c in range(d):
                    v[b] += drift[a, c] * P[c, b]
            stretch -= h[i] * r[a] * moved
            for b in range(d):
                stretch += h[i] * (N[a * d + b] - r[a] * r[b]) * v[b]
        last = d * d - 1
        stretch += 0.5 * h[i] * density * (N[last] - r[d - 1] * r[d - 1])
    return pull, diagonal, size, stretch, r, N


@_inline
def _square(U, D, P, d):
    """Set ``P = U diag(D) U'``."""
    for a in range(d):
        for b in range(a, d):
            total = (U[a * d + b] if a < b else 1.0) * D[b]
            for k in range(b + 1, d):
                total += U[a * d + k] * D[k] * U[b * d + k]
            P[a, b] = total
            P[b, a] = total
