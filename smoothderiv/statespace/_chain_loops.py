"""Compiled loops along a Markov chain of k places of which all is known: see ``states.Chain``."""

import numpy as np
from numba import njit

_loop = njit(cache=True, nogil=True, error_model="numpy")


@_loop
def joint_cov(chain, place, nu, place2, nu2):
    """Return the covariances between derivatives nu at places of a chain and nu2 at place2.

    chain is (basis U, root V, weight W, M = U V, G): the state at a place is ``U c``, and Var(c) is
    ``V diag(W) V'``. Where U and V cancel, as beyond a long gap, M alone has the digits.
    """
    basis, root, weight, whole, G = chain
    k, d = weight.shape
    out, table = np.empty((len(place), len(place2))), np.empty((k, d))
    row, fresh = np.empty(d), np.empty(d)
    for q in range(len(place2)):
        j, c = place2[q], nu2[q]
        for a in range(d):  # of the coordinates at place j and before, with what is asked
            table[j, a] = 0.0
            for b in range(a, d):
                table[j, a] += root[j, a, b] * weight[j, b] * whole[j, c, b]
        for i in range(j - 1, -1, -1):
            for a in range(d):
                table[i, a] = 0.0
                for b in range(d):
                    table[i, a] += G[i, a, b] * table[i + 1, b]
        for a in range(d):  # of independent ones at place j and beyond
            table[j, a] = weight[j, a] * whole[j, c, a]
            row[a] = basis[j, c, a]
        for i in range(j + 1, k):
            for a in range(d):
                fresh[a] = 0.0
                for b in range(d):
                    fresh[a] += row[b] * G[i - 1, b, a]
            for a in range(d):
                row[a] = fresh[a]
            for a in range(d):
                table[i, a] = 0.0
                for b in range(a + 1):
                    table[i, a] += row[b] * root[i, b, a]
                table[i, a] *= weight[i, a]
        for p in range(len(place)):
            i, a = place[p], nu[p]
            out[p, q] = 0.0
            for b in range(a, d):
                out[p, q] += (basis[i, a, b] if i < j else whole[i, a, b]) * table[i, b]
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
