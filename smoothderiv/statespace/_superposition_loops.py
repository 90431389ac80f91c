"""Compiled smoothing errors of a sum of processes, in the coordinates of its parts.

A row sees the state s of all parts by a vector, one of the rows of `turn`; the parts move by
themselves. r is what all later rows say of s, the gradient of their log likelihood by it, and N
the covariance of r (de Jong 1989).
"""

import numpy as np
from numba import njit

_loop = njit(cache=True, nogil=True, error_model="numpy")


@_loop
def score(rows, h, transition, root, gains, states, turn, back, parts, drift, start, span, out):
    """Go back over the rows span[0] to span[1]; add what they say to the gradient.

    h (m,) are the steps to these rows in units of x; transition, root (m, d, d), drift F and start
    (d, d) hold blocks of the K parts, whose states begin at parts[0] (K + 1,), with rates and
    densities of noise (K,) beside it; the rest is as in ``_loops``, of all rows. With
    ``A = exp(F t)`` and Q of a part, t = h rate, and I = diag(0, 1, ..), the logarithm of the
    amplitude of the part moves Q by 2 Q, and that of its length moves the unit of each of its
    states, and t:

        dA = A I - I A - t F A,    dQ = -(I Q + Q I) - t (F Q + Q F' + density at the last).

    The log likelihood moves by ``tr dA (s r' - P A' N) + tr dQ (r r' - N) / 2``, s the smoothed
    mean and P the filtered covariance before the step (Koopman & Shephard 1992). out is (P y, diag
    P (n,); minus the parts of that with N, then those with r, (K, 2) each; r (d,), N (d, d), of
    later rows and then of these too).
    """
    component = rows[2]
    offsets, rates, densities = parts
    gain, innovation, inverse = gains
    mean, factor = states
    pull, diagonal, excess, spent, r, N = out
    d, count = len(turn), len(rates)
    K, w, m, s, ahead = np.empty(d), np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    P, Q, lag, crossed, work = _squares(d)
    for i in range(span[1] - 1, span[0] - 1, -1):
        j = i - span[0]
        _apply(back, gain[i], K)
        pull[i], diagonal[i] = _release(r, N, turn[component[i]], K, innovation[i], inverse[i], w)
        if i == 0 or not h[j] > 0.0:
            continue
        A = transition[j]
        _before(A, r, N, ahead, lag)
        _moments(factor[i - 1], mean[i - 1], back, m, P, work)
        _apply(P, ahead, s)
        for a in range(d):
            s[a] += m[a]
        _product(P, lag, crossed)
        for k in range(count):
            first, last = offsets[k], offsets[k + 1]
            _square(root[j], Q, first, last)
            _feel(first, last, A, Q, h[j] * rates[k], drift, densities[k],
                  s, crossed, r, N, excess[k], spent[k])  # fmt: skip
        r[:] = ahead
        _product(lag, A, N)
    if span[0] == 0:
        for k in range(count):
            _feel(offsets[k], offsets[k + 1], P, start, 0.0, drift, 0.0,
                  s, crossed, r, N, excess[k], spent[k])  # fmt: skip


@_loop
def _squares(d):
    """Return room for matrices."""
    return (np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, d)),
            np.zeros((d, d)))  # fmt: skip


@_loop
def _apply(A, v, out):
    """Set ``out = A v``."""
    for a in range(len(out)):
        total = 0.0
        for b in range(len(out)):
            total += A[a, b] * v[b]
        out[a] = total


@_loop
def _product(A, B, out):
    """Set ``out = A B``."""
    d = len(out)
    for a in range(d):
        for b in range(d):
            out[a, b] = A[a, 0] * B[0, b]
        for c in range(1, d):
            for b in range(d):
                out[a, b] += A[a, c] * B[c, b]


@_loop
def _square(S, out, first, last):
    """Set ``out = S S'`` in the block of a part."""
    for a in range(first, last):
        for b in range(first, a + 1):
            total = 0.0
            for c in range(first, last):
                total += S[a, c] * S[b, c]
            out[a, b] = total
            out[b, a] = total


@_loop
def _before(A, r, N, ahead, lag):
    """Set ``ahead = A' r`` and ``lag = A' N``."""
    d = len(r)
    for a in range(d):
        ahead[a] = A[0, a] * r[0]
        for b in range(d):
            lag[a, b] = A[0, a] * N[0, b]
    for c in range(1, d):
        for a in range(d):
            ahead[a] += A[c, a] * r[c]
            for b in range(d):
                lag[a, b] += A[c, a] * N[c, b]


@_loop
def _moments(packed, mean, back, m, P, root):
    """Set m and P, the mean and the covariance of s, from coordinates and packed factor."""
    d = len(mean)
    for a in range(d):
        m[a] = 0.0
        for j in range(d):
            total = back[a, j]
            for c in range(j):
                total += back[a, c] * packed[j * (j + 1) // 2 + c]
            root[a, j] = total
            m[a] += total * mean[j]
    for a in range(d):
        for b in range(a + 1):
            total = 0.0
            for j in range(d):
                total += root[a, j] * root[b, j] * packed[j * (j + 3) // 2]
            P[a, b] = total
            P[b, a] = total


@_loop
def _release(r, N, H, K, e, inverse, w):
    """Take a row that sees ``H s`` into r and N, backwards; return its P y, diag P; w = N K."""
    d = len(r)
    _apply(N, K, w)
    pull, diagonal = e * inverse, inverse
    for a in range(d):
        pull -= K[a] * r[a]
        diagonal += K[a] * w[a]
    for a in range(d):
        r[a] += H[a] * pull
        for b in range(d):
            N[a, b] += H[a] * H[b] * diagonal - H[a] * w[b] - w[a] * H[b]
    return pull, diagonal


@_loop
def _feel(first, last, A, Q, t, drift, density, s, crossed, r, N, excess, spent):
    """Add what a step of the part at first:last says of its amplitude and of its length.

    At the start, where t is 0, Q is the covariance there and nothing came before.
    """
    for a in range(first, last):
        for b in range(first, last):
            excess[0] += Q[a, b] * N[a, b]
            spent[0] += Q[a, b] * r[a] * r[b]
            dA, dQ = 0.0, (2 * first - a - b) * Q[a, b]
            if t > 0.0:
                dA = (b - a) * A[a, b]
                for c in range(first, last):
                    dA -= t * drift[a, c] * A[c, b]
                    dQ -= t * (drift[a, c] * Q[c, b] + Q[a, c] * drift[b, c])
                if a == last - 1 and b == last - 1:
                    dQ -= t * density
            excess[1] += dA * crossed[b, a] + 0.5 * dQ * N[a, b]
            spent[1] += dA * s[b] * r[a] + 0.5 * dQ * r[a] * r[b]


@_loop
def noise_shares(rows, h, transition, gains, states, turn, back, noise, span, out):
    """Fill the diagonal of ``K_g P``: what each row says of its own noise g, of the span of rows.

    g is seen by the vector `noise` (d,), and rows of values, component 0, alone have it. With K
    the gain, P+ the covariance after the row and N what later rows say, the share is
    ``noise' (K - P+ N K)``. out is (the shares (n,); N as in `score`), the rest as there.
    """
    component = rows[2]
    gain, _, inverse = gains
    mean, factor = states
    share, N = out
    d = len(turn)
    r, K, w, m, v = np.zeros(d), np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    P, lag, work, _, _ = _squares(d)
    for i in range(span[1] - 1, span[0] - 1, -1):
        j = i - span[0]
        _apply(back, gain[i], K)
        _release(r, N, turn[component[i]], K, 0.0, inverse[i], w)
        share[i] = 0.0
        if component[i] == 0:
            _moments(factor[i], mean[i], back, m, P, work)
            _apply(P, w, v)
            for a in range(d):
                share[i] += noise[a] * (K[a] - v[a])
        if i > 0 and h[j] > 0.0:
            _before(transition[j], r, N, v, lag)
            _product(lag, transition[j], N)
