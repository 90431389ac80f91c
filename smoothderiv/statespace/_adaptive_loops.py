"""Compiled loops for a density that varies along x: the score, and what is known of it.

Each parameter scales noise: that of some steps (logarithms of the density at knots, by hat
functions) or that of the rows of one order. With P the inverse of the covariance of the rows off
the polynomials, and ``dSigma_a`` what a parameter changes in it,

    score_a = -1/2 tr(P dSigma_a) + 1/2 y' P dSigma_a P y,
    information_ab = 1/2 tr(P dSigma_a P dSigma_b)     (the covariance of the score)

are sums over steps and rows, and over pairs of them: the latter by carrying forward what the
noises of each parameter have done to the state so far. O(n d^3) for each parameter at work.

Shapes: as in ``_loops``; p parameters, the first ones the knots.
"""

import numpy as np
from numba import njit

_loop = njit(cache=True, nogil=True, error_model="numpy")
_FADED = 1e-6  # of what is known of a parameter, below which its noise is forgotten


@_loop
def _taylor(h, A):
    """Fill A with the transition of an integrated Wiener process over h."""
    d = len(A)
    for i in range(d):
        A[i, i] = 1.0
        for j in range(i + 1, d):
            A[i, j] = A[i, j - 1] * h * j / (j - i)


@_loop
def _wiener_noise(h, basis, weight, Q):
    """Fill Q with the noise of a step."""
    d = len(Q)
    Q[:] = 0.0
    v = np.empty(d)
    power = h
    for c in range(d - 1, -1, -1):
        scale = 1.0
        for k in range(c, -1, -1):
            v[k] = (basis[k, c] if k < c else 1.0) * scale
            scale *= h
        for i in range(c + 1):
            for j in range(c + 1):
                Q[i, j] += weight[c] * power * v[i] * v[j]
        power *= h * h


@_loop
def _congruence(A, M, work):
    """Replace M by ``A M A'``."""
    d = len(M)
    for i in range(d):
        for j in range(d):
            total = 0.0
            for k in range(d):
                total += A[i, k] * M[k, j]
            work[i, j] = total
    for i in range(d):
        for j in range(d):
            total = 0.0
            for k in range(d):
                total += work[i, k] * A[j, k]
            M[i, j] = total


@_loop
def _product(N, Q, NQ):
    """Fill NQ with ``N Q``; return ``tr(N Q N Q)``."""
    d, total = len(N), 0.0
    for j in range(d):
        for k in range(d):
            NQ[j, k] = 0.0
            for m in range(d):
                NQ[j, k] += N[j, m] * Q[m, k]
    for j in range(d):
        for k in range(d):
            total += NQ[j, k] * NQ[k, j]
    return total


@_loop
def backward(rows, steps, gain, innovation, inverse):
    """Smooth backwards; return what `information` goes on with.

    (n,) pull and diagonal, P y and diag P; (n,) penalty and excess, ``r'Qr`` and ``tr(Q N)`` of
    each step; (n, d, d) N, what the rows from each on say of the state before it; (n, d) what P
    makes at a row of an error in the state before it.
    """
    variance, component = rows[1], rows[2]
    h, basis, weight = steps[0], steps[1], steps[2]
    n, d = gain.shape
    pull, diagonal = np.empty(n), np.empty(n)
    penalty, excess = np.zeros(n), np.zeros(n)
    known, lever = np.empty((n, d, d)), np.empty((n, d))
    r, N = np.zeros(d), np.zeros((d, d))
    A, Q, keep, work = np.zeros((d, d)), np.empty((d, d)), np.empty((d, d)), np.empty((d, d))
    NK = np.empty(d)
    for i in range(n - 1, -1, -1):
        nu, g = component[i], inverse[i]
        K = gain[i]
        dot, quadratic = 0.0, 0.0
        for j in range(d):
            dot += K[j] * r[j]
            NK[j] = 0.0
            for k in range(d):
                NK[j] += N[j, k] * K[k]
            quadratic += NK[j] * K[j]
        pull[i], diagonal[i] = innovation[i] * g - dot, g + quadratic
        own = variance[i] * g if g > 0.0 else 1.0 - K[nu]  # 1 - K_nu, without cancellation
        for j in range(d):
            lever[i, j] = -NK[j]
        lever[i, nu] = g - own * NK[nu] + _others(NK, K, nu)
        for j in range(d):  # keep = I - K H
            for k in range(d):
                keep[k, j] = 1.0 if j == k else 0.0  # transposed: rows of keep'
        for j in range(d):
            keep[nu, j] = -K[j]
        keep[nu, nu] = own
        _congruence(keep, N, work)
        N[nu, nu] += g
        r[nu] = own * r[nu] + innovation[i] * g
        for j in range(d):
            if j != nu:
                r[nu] -= K[j] * r[j]
        known[i] = N
        if h[i] > 0.0:
            _wiener_noise(h[i], basis, weight[min(i, len(weight) - 1)], Q)
            for j in range(d):
                for k in range(d):
                    excess[i] += N[j, k] * Q[k, j]
                    penalty[i] += r[j] * Q[j, k] * r[k]
            _taylor(h[i], A)
            for j in range(d):
                NK[j] = 0.0
                for k in range(d):
                    NK[j] += A[k, j] * r[k]
                for k in range(d):
                    keep[j, k] = A[k, j]
            for j in range(d):
                r[j] = NK[j]
            _congruence(keep, N, work)
    return pull, diagonal, penalty, excess, known, lever


@_loop
def _others(NK, K, nu):
    """Return the sum of NK K over all components but nu."""
    total = 0.0
    for j in range(len(K)):
        if j != nu:
            total += NK[j] * K[j]
    return total


@_loop
def information(rows, steps, gain, inverse, back, knot, share, level, p):
    """Return the information about the parameters, (p, p).

    back is (diagonal, N, lever) of `backward`; step i scales with the parameters
    knot[i] and knot[i] + 1 in the shares 1 - share[i] and share[i], the standard deviation of row
    i with the parameter level[i], or with none if that is negative.
    """
    diagonal, known, lever = back
    variance, component = rows[1], rows[2]
    h, basis, weight = steps[0], steps[1], steps[2]
    n, d = gain.shape
    pairs, out = np.zeros((p, p)), np.zeros((p, p))
    M, at_work = np.zeros((p, d, d)), np.zeros(p)
    A, Q, keep, work = np.zeros((d, d)), np.empty((d, d)), np.empty((d, d)), np.empty((d, d))
    NQ = np.empty((d, d))
    for i in range(n):
        if h[i] > 0.0:
            a, s = knot[i], share[i]
            _taylor(h[i], A)
            _wiener_noise(h[i], basis, weight[min(i, len(weight) - 1)], Q)
            N, square = known[i], _product(known[i], Q, NQ)
            for q in range(p):
                if at_work[q] == 0.0:
                    continue
                _congruence(A, M[q], work)
                total, left = 0.0, 0.0
                for j in range(d):
                    for k in range(d):
                        left += M[q, j, k] * N[j, k]
                        for m in range(d):
                            total += NQ[j, k] * N[k, m] * M[q, m, j]
                pairs[q, a] += (1.0 - s) * total
                pairs[q, a + 1] += s * total
                if left < _FADED * out[q, q]:
                    at_work[q] = 0.0
                    M[q] = 0.0
            out[a, a] += (1.0 - s) ** 2 * square
            out[a + 1, a + 1] += s * s * square
            out[a, a + 1] += s * (1.0 - s) * square
            out[a + 1, a] += s * (1.0 - s) * square
            for q, part in ((a, 1.0 - s), (a + 1, s)):
                if part > 0.0:
                    at_work[q] = 1.0
                    for j in range(d):
                        for k in range(d):
                            M[q, j, k] += part * Q[j, k]
        nu, b = component[i], level[i]
        K = gain[i]
        own = variance[i] * inverse[i] if inverse[i] > 0.0 else 1.0 - K[nu]
        for j in range(d):
            for k in range(d):
                keep[j, k] = 1.0 if j == k else 0.0
        for j in range(d):
            keep[j, nu] = -K[j]
        keep[nu, nu] = own
        for q in range(p):
            if at_work[q] == 0.0:
                continue
            if b >= 0:
                total = 0.0
                for j in range(d):
                    for k in range(d):
                        total += lever[i, j] * M[q, j, k] * lever[i, k]
                pairs[q, b] += 2.0 * variance[i] * total
            _congruence(keep, M[q], work)
        if b >= 0:
            out[b, b] += (2.0 * variance[i] * diagonal[i]) ** 2
            at_work[b] = 1.0
            for j in range(d):
                for k in range(d):
                    M[b, j, k] += 2.0 * variance[i] * K[j] * K[k]
    for a in range(p):
        for b in range(p):
            out[a, b] = 0.5 * (out[a, b] + pairs[a, b] + pairs[b, a])
    return out
