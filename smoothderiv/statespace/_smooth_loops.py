"""Compiled smoother of Wiener processes of dimension 1 to 4: blocks of rows side by side.

The law of a state given the next one, and the rows up to itself, asks nothing of the other rows.
So the loop over the rows of a block that finds those laws has no order, and compilers make it do
several rows at once; what must go row after row is two products of small matrices.

Covariances are full here: as accurate as the factors of ``_loops.look_back`` where the noise is
even, see ``MarkovRows``. Shapes and factors are those of ``_loops``; see there. Tables hold entry k
of row r of a block at ``k * BLOCK + r``.
"""

import numpy as np
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 32
_loop = njit(cache=True, nogil=True, error_model="numpy")
# no entries for Python, whose compilation would take as long as the functions themselves
_inline = njit(  # type: ignore[call-overload]
    forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)
# what returns scratch must be written out in place: scratch ends with the function that it is in
_in_place = njit(inline="always", error_model="numpy")

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def _scratch(dims):  # as large as compiled, and as little cleared
        return np.full(len(dims) ** 2, np.nan)

    def _table(dims):
        return np.full(len(dims) ** 2 * BLOCK, np.nan)

else:

    def _on_the_stack(size):
        def codegen(context, builder, signature, args):
            return cgutils.alloca_once(builder, context.get_value_type(types.float64), size=size)

        return codegen

    @intrinsic
    def _scratch(_, dims):
        """Return a pointer to d d doubles; registers, since loops are unrolled."""
        return types.CPointer(types.float64)(dims), _on_the_stack(dims.count**2)

    @intrinsic
    def _table(_, dims):
        """Return a pointer to d d doubles for each row of a block."""
        return types.CPointer(types.float64)(dims), _on_the_stack(dims.count**2 * BLOCK)


@_loop
def smooth(mean, factor, first, rows, steps, smoothed, spread, dims):
    """Smooth the rows from `first` on, backwards; fill smoothed (n, d) and spread (n, packed).

    mean and factor are those of ``_loops.forward``; smoothed and spread are mean and factor of the
    same coordinates given all data: the state is U c, U from `factor`. Those of the last row are
    given.

    Return by how much a variance of the state is less than those of the coordinates that it is the
    sum of, at worst: so many times its rounding is that of these covariances.
    """
    d, n, worst = len(dims), len(mean), 1.0
    h, basis, weight = steps[0], steps[1], steps[2][0]
    filtered = (factor.ravel(), mean.ravel(), h, rows[1], rows[2])
    block = (_table(dims), _table(dims), _table(dims), _table(dims), _table(dims))
    G, S, z = _table(dims), _table(dims), _table(dims)
    law = _law(dims)
    m, V, GV, U, D = _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims)
    _begin(smoothed[n - 1], spread[n - 1], m, V, d)
    for r in range(d * d * BLOCK):  # so that rows that a block lacks are numbers
        block[0][r], block[1][r], block[2][r], block[3][r], block[4][r] = 1.0, 1.0, 1.0, 1.0, 0.0
    after = n - 1
    for r in range(min(BLOCK, after - first)):
        _load(after - 1 - r, r, filtered, block, d)
    while after > first:
        for r in range(BLOCK):
            _find_law(r, block, G, S, z, basis, weight, law, dims)
        count = min(BLOCK, after - first)
        for r in range(count):
            i = after - 1 - r
            _move(r, m, smoothed[i], G, z, U, d)
            _condition(r, V, GV, G, S, d)
            worst = _lost(r, V, block[0], worst, d)
            _factor(V, U, D, dims)
            _pack(U, D, spread[i], d)
            if i >= BLOCK:
                _load(i - BLOCK, r, filtered, block, d)
        after -= count
    return worst


@_in_place
def _law(dims):
    """Return the scratch of `_find_law`."""
    turns = (_scratch(dims), _scratch(dims), _scratch(dims))
    state = (_scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims))
    left = (_scratch(dims), _scratch(dims))
    return state, turns, left, (_scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims))


@_inline
def _begin(smoothed, spread, m, V, d):
    """Start from what is known of the last row."""
    for j in range(d):
        m[j] = smoothed[j]
        for k in range(j + 1):
            total = 0.0
            for p in range(j, d):
                at = p * (p + 1) // 2
                one, two = (spread[at + j] if j < p else 1.0), (spread[at + k] if k < p else 1.0)
                total += one * spread[at + p] * two
            V[j * d + k] = total
            V[k * d + j] = total


@_inline
def _load(i, r, filtered, block, d):
    """Enter filtered row i, and the step and the row that follow it, as row r of a block."""
    factor, mean, h, variance, component = filtered
    size = d * (d + 1) // 2
    for j in range(size):
        block[0][j * BLOCK + r] = factor[i * size + j]
    for j in range(d):
        block[1][j * BLOCK + r] = mean[i * d + j]
    block[2][r], block[3][r], block[4][r] = h[i + 1], variance[i + 1], component[i + 1]


@_inline
def _find_law(r, block, G, S, z, basis, weight, law, dims):
    """Find ``c = G c_next + z + N(0, S)`` for row r of a block, given the rows up to it.

    c_next are the coordinates after the next row. What the step does to the factor is undone
    rotation after rotation; then the basis after the row is turned into that before it.
    """
    d = len(dims)
    (U, D, mu, v), turns, left, (X, N, b, e) = law
    for j in range(d):
        at = j * (j + 1) // 2
        for k in range(j):
            U[k * d + j] = block[0][(at + k) * BLOCK + r]
        D[j], mu[j] = block[0][(at + j) * BLOCK + r], block[1][j * BLOCK + r]
    _advance(U, D, mu, block[2][r], basis, weight, v, turns, left, dims)
    _turn_back(0, X, N, b, e, turns, d)
    if d > 1:  # written out, for the compiler unrolls only so deep; here and below
        _turn_back(1, X, N, b, e, turns, d)
    if d > 2:
        _turn_back(2, X, N, b, e, turns, d)
    if d > 3:
        _turn_back(3, X, N, b, e, turns, d)
    _find_levers(U, D, block[4][r], block[3][r], b, e, d)
    for j in range(d):
        total, shift = 0.0, 0.0
        for k in range(d):
            known = X[j * d + k] if k <= j else 0.0
            G[(j * d + k) * BLOCK + r] = known - b[k] * total
            total += e[k] * known
            shift += N[j * d + k] * left[1][k]
        z[j * BLOCK + r] = shift
        for k in range(j + 1):
            total = 0.0
            for p in range(d):
                total += left[0][p] * N[j * d + p] * N[k * d + p]
            S[(j * d + k) * BLOCK + r] = total


@_inline
def _find_levers(U, D, nu, variance, levers, shares, d):
    """Find what a row does to the basis: ``U_after = U T``.

    ``T_kj = -levers_j shares_k``, k < j, and T_kk = 1.
    """
    F = variance
    for j in range(d):
        f = 1.0 if nu == j else 0.0
        for k in range(j):
            f = U[k * d + j] if nu == k else f
        levers[j], shares[j] = f / F if F > 0.0 else 0.0, D[j] * f
        F += f * shares[j]


@_inline
def _advance(U, D, mu, h, basis, weight, v, turns, left, dims):
    """Predict over a step; its rotations go to turns, what is not used of its noise to left."""
    d = len(dims)
    if d > 1:
        U[1] += h
    if d > 2:
        U[d + 2] += h
        U[2] += h * U[d + 2]
        U[d + 2] += h
    if d > 3:
        _shift_last(U, h)
    power = h
    if d > 3:
        _kick(3, power, U, D, mu, h, basis, weight, v, turns, left, d)
        power *= h * h
    if d > 2:
        _kick(2, power, U, D, mu, h, basis, weight, v, turns, left, d)
        power *= h * h
    if d > 1:
        _kick(1, power, U, D, mu, h, basis, weight, v, turns, left, d)
        power *= h * h
    _kick(0, power, U, D, mu, h, basis, weight, v, turns, left, d)


@_inline
def _shift_last(U, h):
    """Move Taylor coefficients in the last of four columns by h."""
    U[11] += h
    U[7] += h * U[11]
    U[3] += h * U[7]
    U[11] += h
    U[7] += h * U[11]
    U[11] += h


@_inline
def _kick(c, power, U, D, mu, h, basis, weight, v, turns, left, d):
    """Add the noise of a step along its column c; weight and mean of the rest go to left."""
    v[c] = 1.0
    scale = 1.0
    for i in range(c - 1, -1, -1):
        scale *= h
        v[i] = basis[i, c] * scale
    w, rest = weight[c] * power, 0.0
    if c > 2:
        w, rest = _rotate(c, 3, w, rest, U, D, mu, v, turns, d)
    if c > 1:
        w, rest = _rotate(c, 2, w, rest, U, D, mu, v, turns, d)
    if c > 0:
        w, rest = _rotate(c, 1, w, rest, U, D, mu, v, turns, d)
    left[0][c], left[1][c] = _rotate(c, 0, w, rest, U, D, mu, v, turns, d)


@_inline
def _rotate(c, j, w, rest, U, D, mu, v, turns, d):
    """Rotate column j and v into each other (Agee & Turner 1972), as ``_loops._insert`` does."""
    p = v[j]
    push = w * p
    total, gain, keep = D[j] + push * p, 0.0, 1.0
    if push * p > 0.0:
        inverse = 1.0 / total
        gain, keep = push * inverse, D[j] * inverse
    D[j] = total
    for i in range(j):
        t = v[i] - p * U[i * d + j]
        U[i * d + j] = keep * U[i * d + j] + gain * v[i]
        v[i] = t
    turns[0][c * d + j], turns[1][c * d + j], turns[2][c * d + j] = gain, keep, p
    rest, mu[j] = keep * rest - gain * mu[j], mu[j] + p * rest
    return w * keep, rest


@_inline
def _turn_back(k, X, N, b, e, turns, d):
    """Undo the rotations of column k: coordinates before it are ``X c + N`` noise left over.

    X is lower triangular. Of column k itself b and e gather what is known and what is noise; its
    own noise is a whole one.
    """
    gains, keeps, kicks = turns
    for m in range(k):
        b[m], e[m] = 0.0, 0.0
    for j in range(k):
        gain, keep, kick = gains[k * d + j], keeps[k * d + j], kicks[k * d + j]
        for m in range(j + 1):
            t = X[j * d + m]
            X[j * d + m] = keep * t - kick * b[m]
            b[m] += gain * t
        for m in range(k):
            t = N[j * d + m]
            N[j * d + m] = keep * t - kick * e[m]
            e[m] += gain * t
        N[j * d + k] = -kick
    kick = kicks[k * d + k]
    for m in range(k):
        X[k * d + m], N[k * d + m] = -kick * b[m], -kick * e[m]
    X[k * d + k], N[k * d + k] = keeps[k * d + k], -kick


@_inline
def _move(r, m, smoothed, G, z, fresh, d):
    """Take the mean from the next row to row r."""
    for j in range(d):
        total = z[j * BLOCK + r]
        for k in range(d):
            total += G[(j * d + k) * BLOCK + r] * m[k]
        fresh[j] = total
    for j in range(d):
        m[j], smoothed[j] = fresh[j], fresh[j]


@_inline
def _condition(r, V, GV, G, S, d):
    """Take the covariance there: ``G V G' + S``."""
    for j in range(d):
        for k in range(d):
            total = G[j * d * BLOCK + r] * V[k]
            for p in range(1, d):
                total += G[(j * d + p) * BLOCK + r] * V[p * d + k]
            GV[j * d + k] = total
    for j in range(d):
        for k in range(j + 1):
            total = S[(j * d + k) * BLOCK + r]
            for p in range(d):
                total += GV[j * d + p] * G[(k * d + p) * BLOCK + r]
            V[j * d + k] = total
            V[k * d + j] = total


@_inline
def _lost(r, V, factor, worst, d):
    """Return how much larger than a component's variance those of its coordinates are, at worst."""
    for i in range(d - 1):
        apart, total = V[i * d + i], V[i * d + i]
        for k in range(i + 1, d):
            u, share = factor[(k * (k + 1) // 2 + i) * BLOCK + r], V[i * d + k]
            for j in range(i + 1, k):
                share += factor[(j * (j + 1) // 2 + i) * BLOCK + r] * V[j * d + k]
            apart += u * u * V[k * d + k]
            total += u * (u * V[k * d + k] + 2.0 * share)
        if not apart <= worst * total:
            worst = apart / total if total > 0.0 else np.inf
    return worst


@_inline
def _factor(V, U, D, dims):
    """Factor ``V = U diag(D) U'``."""
    d = len(dims)
    for j in range(d):
        for i in range(j + 1):
            U[i * d + j] = V[i * d + j]
    if d > 3:
        _factor_column(3, U, D, d)
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
def _pack(U, D, out, d):
    """Write the factor, D on the diagonal, as a packed triangle."""
    for j in range(d):
        for i in range(j):
            out[j * (j + 1) // 2 + i] = U[i * d + j]
        out[j * (j + 1) // 2 + j] = D[j]
