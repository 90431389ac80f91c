"""Compiled loops backwards through a filter: smoothing errors, and products with P.

Shapes and arguments are those of ``_loops``; see there.
"""

import numpy as np
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

MAX_DIMENSION = 13
APART = 16  # as in ``_loops``
_SIZE = 2 * MAX_DIMENSION * (3 * MAX_DIMENSION + 1)
_loop = njit(cache=True, nogil=True, error_model="numpy")
# no entries for Python, whose compilation would take as long as the functions themselves
_inline = njit(  # type: ignore[call-overload]
    forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def _scratch(dims):  # as large as compiled, and as little cleared
        return np.full(2 * len(dims) * (3 * len(dims) + 1), np.nan)

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
def _shift(a, h, d):
    """Move Taylor coefficients by h."""
    for k in range(d - 1):
        for i in range(d - 2, k - 1, -1):
            a[i] += h * a[i + 1]


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
        w = weight[min(i, len(weight) - 1), c] * power if A is None else 1.0
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
def errors(rows, steps, gain, innovation, inverse, out, state, dims):
    """Smooth backwards (de Jong 1989); return (r'Qr, tr QN), and fill what is not empty of `out`.

    state is r (d,), then N (d, d): what rows after these say, replaced by what these say too.
    Filled are P y (n,) and diag P (n,), which may be innovation and inverse themselves, and for
    marked rows what later rows say of the state after them, r (n // APART, d) and N (n // APART, d,
    d). P is the inverse of the covariance of y less its part along the diffuse start, so that
    residuals are ``variance * P y`` and one minus the leverages ``variance * diag P``.
    """
    d, n = len(dims), len(innovation)
    variance, component = rows[1], rows[2]
    h, basis, weight, A, root = steps
    r, N, v, g = _scratch(dims), _scratch(dims), _scratch(dims), _scratch(dims)
    for j in range(d):
        r[j] = state[j]
    for k in range(d * d):
        N[k] = state[d + k]
    pull, diagonal, score, information = out
    penalty, excess, keeps, marks = 0.0, 0.0, len(pull) > 0, len(score) > 0
    for i in range(n - 1, -1, -1):
        if marks and (i + 1) % APART == 0:
            for j in range(d):
                score[i // APART, j] = r[j]
                for k in range(d):
                    information[i // APART, j, k] = N[j * d + k]
        for nu in range(d):
            if component[i] == nu:
                own, square = _release(
                    r, N, gain[i], innovation[i], inverse[i], variance[i], nu, v, g, d
                )
                if keeps:
                    pull[i], diagonal[i] = own, square
        if h[i] > 0.0:
            one, two = _noise_moments(r, N, i, h, basis, weight, A, root, v, d)
            penalty += one
            excess += two
            _pull_back(r, N, i, h, A, v, d)
    for j in range(d):
        state[j] = r[j]
    for k in range(d * d):
        state[d + k] = N[k]
    return penalty, excess


@_loop
def errors_each(rows, h, basis, weight, ends, which, gains, dims):
    """Return ``r'Qr`` and ``tr QN`` of `errors` for some of many series: (len(which), 2).

    After ``_loops.forward_each``, whose arguments these are.
    """
    y, variance, component = rows
    gain, innovation, inverse = gains
    out = np.empty((len(which), 2))
    none = (np.empty(0), np.empty(0), np.empty((0, 0)), np.empty((0, 0, 0)))
    d = len(dims)
    for k in range(len(which)):
        a, b = ends[which[k]], ends[which[k] + 1]
        these = (y[a:b], variance[a:b], component[a:b])
        steps = (h[a:b], basis, weight[k : k + 1], None, None)
        out[k, 0], out[k, 1] = errors(
            these,
            steps,
            gain[a:b],
            innovation[a:b],
            inverse[a:b],
            none,
            np.zeros(d + d * d),
            dims,
        )
    return out


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
def errors_and_stretch(rows, steps, gain, innovation, inverse, mean, factor, drift, density, dims):
    """Do what `errors` does, and differentiate by the lengths of the steps too.

    For ``dz = F z dx + white noise of density on the last component`` with dense steps; mean and
    factor as `forward` filled them. A step longer by dh changes minus the log likelihood by
    ``(-r'F m + tr((N - r r') F P) + density (N_dd - r_d**2) / 2) dh``, m and P the filtered
    moments before it and r, N the backward recursions there, as F and exp(F h) commute. Return
    (P y, diag P; tr QN, r'Qr, and of that derivative times h the parts without and with r, summed;
    r, N before the first row).
    """
    d, n = len(dims), len(innovation)
    variance, component = rows[1], rows[2]
    h, basis, weight, A, root = steps
    r, N, v, g = np.zeros(d), np.zeros(d * d), np.empty(d), np.empty(d)
    U, D, m, P = np.empty(d * d), np.empty(d), np.empty(d), np.empty((d, d))
    pull, diagonal = np.empty(n), np.empty(n)
    total, spent, stretch, pulled = 0.0, 0.0, 0.0, 0.0
    for i in range(n - 1, -1, -1):
        pull[i], diagonal[i] = _release(
            r, N, gain[i], innovation[i], inverse[i], variance[i], component[i], v, g, d
        )
        if i == 0 or not h[i] > 0.0:
            continue
        penalty, excess = _noise_moments(r, N, i, h, basis, weight, A, root, v, d)
        total += excess
        spent += penalty
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
            pulled -= h[i] * r[a] * moved
            for b in range(d):
                stretch += h[i] * N[a * d + b] * v[b]
                pulled -= h[i] * r[a] * r[b] * v[b]
        stretch += 0.5 * h[i] * density * N[d * d - 1]
        pulled -= 0.5 * h[i] * density * r[d - 1] * r[d - 1]
    return pull, diagonal, total, spent, stretch, pulled, r, N


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


@_inline
def _unpack(triangle, U, D, d):
    """Read a packed factor."""
    for j in range(d):
        for i in range(j):
            U[i * d + j] = triangle[j * (j + 1) // 2 + i]
        D[j] = triangle[j * (j + 1) // 2 + j]


@_inline
def _mean(U, mu, m, d):
    """Set ``m = U mu``."""
    for j in range(d):
        m[j] = mu[j]
        for k in range(j + 1, d):
            m[j] += U[j * d + k] * mu[k]
