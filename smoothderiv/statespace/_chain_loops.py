"""Compiled loops along a Markov chain of k places of which all is known: see ``markov.Chain``."""

import numpy as np
from numba import njit

_loop = njit(cache=True, nogil=True, error_model="numpy")
_inline = njit(forceinline=True, error_model="numpy")


@_loop
def joint_cov(chain, place, nu, place2, nu2):
    """Return the covariances between derivatives nu at places of a chain and nu2 at place2.

    chain is (basis, cov, G), each (k, d, d): the state at a place is ``basis c``.
    """
    basis, cov, G = chain
    k, d = len(cov), cov.shape[1]
    out, table = np.empty((len(place), len(place2))), np.empty((k, d))
    row, fresh = np.empty(d), np.empty(d)
    for q in range(len(place2)):
        j, c = place2[q], nu2[q]
        for a in range(d):
            row[a] = basis[j, c, a]
        for a in range(d):
            table[j, a] = 0.0
            for b in range(d):
                table[j, a] += cov[j, a, b] * row[b]
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
                    table[i, a] += row[b] * cov[i, b, a]
        for p in range(len(place)):
            i, a = place[p], nu[p]
            out[p, q] = 0.0
            for b in range(d):
                out[p, q] += basis[i, a, b] * table[i, b]
    return out


@_loop
def draw(means, roots, basis, G, normal):
    """Turn normal (size, k, d) into paths of the state along a chain, from its end.

    means (k, d) are those of the state, roots (k, d, d) of the S of `chain`; the last is the root
    of its covariance.
    """
    size, k, d = normal.shape
    last, delta = np.zeros(d), np.empty(d)
    for s in range(size):
        last[:] = 0.0
        for i in range(k - 1, -1, -1):
            for j in range(d):
                delta[j] = 0.0
                for p in range(d):
                    delta[j] += roots[i, j, p] * normal[s, i, p]
                    if i < k - 1:
                        delta[j] += G[i, j, p] * last[p]
            for j in range(d):
                last[j] = delta[j]
                normal[s, i, j] = means[i, j]
                for p in range(j, d):
                    normal[s, i, j] += basis[i, j, p] * delta[p]


@_loop
def spread_along(weight, place, component, chain):
    """Return ``diag(V diag(weight) V)``, V the covariance of what rows observe given all data.

    From the places as a chain, as in `joint_cov`: for s < t the coordinates' covariance is ``G_s ..
    G_(t-1) V_t``. Weights of any sign; place ascending.
    """
    basis, cov, G = chain
    n, k, d = len(weight), len(cov), cov.shape[1]
    out, M, T, v = np.zeros(n), np.zeros((d, d)), np.zeros((d, d)), np.empty(d)
    last = 0
    for r in range(n):  # what earlier places say
        i = place[r]
        if i != last:
            _congruence(G[last], M, T, True, d)
            last = i
        _seen(cov[i], basis[i, component[r]], v, d)
        for j in range(d):
            for p in range(d):
                out[r] += v[j] * M[j, p] * v[p]
        if r + 1 < n and place[r + 1] != i:
            for s in range(r, -1, -1):
                if place[s] != i:
                    break
                _add_square(M, basis[i, component[s]], weight[s], d)
    M[:] = 0.0
    last, r = k - 1, n - 1
    while r >= 0:  # and the others
        i, first = place[r], r
        if i != last:
            _congruence(G[i], M, T, False, d)
            last = i
        while first >= 0 and place[first] == i:
            _seen(cov[i], basis[i, component[first]], v, d)
            _add_square(M, v, weight[first], d)
            first -= 1
        for s in range(first + 1, r + 1):
            look = basis[i, component[s]]
            for j in range(d):
                for p in range(d):
                    out[s] += look[j] * M[j, p] * look[p]
        r = first
    return out


@_inline
def _seen(cov, look, v, d):
    """Set ``v = cov look``."""
    for j in range(d):
        v[j] = 0.0
        for p in range(d):
            v[j] += cov[j, p] * look[p]


@_inline
def _add_square(M, v, weight, d):
    """Add ``weight v v'`` to M."""
    for j in range(d):
        for p in range(d):
            M[j, p] += weight * v[j] * v[p]


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
