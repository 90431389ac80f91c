"""The mean between the data: a polynomial of degree 2 order - 1 on each step.

It starts at the smoothed state and is moved by the smoothed noise of the step, which is as small
as the step, so that no differences are divided by it. It is the Hermite interpolant of the
smoothed states.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from smoothderiv.statespace.priors import legendre_moment
from smoothderiv.statespace.states import States

Array = NDArray[np.float64]


def pieces(states: States, rows: NDArray[np.intp]) -> Array:
    """Return Taylor coefficients of the mean after each of some rows, in nondimensional x.

    (m, 2 d); the last row's are those beyond the data, a polynomial of degree d - 1.
    """
    d = states.smoothed.shape[1]
    out = np.zeros((len(rows), 2 * d))
    out[:, :d] = states.means(rows)
    steps = states.rows.steps.h
    h = steps[(rows + 1) % len(steps)]  # none after the last row, as none before the first
    inside = np.flatnonzero(h > 0)
    step, noise = h[inside], states.noises(rows[inside])
    for c in range(d):
        for _ in range(d - c):
            noise[:, c] /= step  # a power of it may be too small for a number, this is not
    ahead = noise @ _noise_polynomials(d)
    with np.errstate(over="ignore"):
        for k in range(d):
            for _ in range(k):
                ahead[:, k] /= step
    ahead[~np.isfinite(ahead)] = 0.0  # what it adds on so short a step is below all rounding
    out[inside, d:] = ahead
    return out


@functools.cache
def _noise_polynomials(d: int) -> Array:
    """Return coefficients of ``s**(d + k)`` for unit noise along each column, at h = 1: (d, d)."""
    table = np.empty((d, d))
    for c in range(d):
        k = d - 1 - c
        density = (-1) ** k * math.factorial(c) / legendre_moment(k, k)
        for i in range(d):
            shifted = (-1) ** (k + i) * math.comb(k, i) * math.comb(k + i, i)
            table[c, i] = density * shifted * math.factorial(i) / math.factorial(i + d)
    return table


def taylor(
    coefficients: Array, nodes: Array, span: float, x: Array, nu: NDArray[np.int64]
) -> Array:
    """Evaluate derivatives of pieces (n, 2 d), each from its node on, at x: (m,)."""
    width = coefficients.shape[1]
    k = np.searchsorted(nodes, x, side="right") - 1
    s = (x - nodes[np.maximum(k, 0)]) / span
    piece = coefficients[np.maximum(k, 0)]
    piece[k < 0, width // 2 :] = 0.0
    out = np.zeros(len(x))
    for order in np.unique(nu):
        rows = nu == order
        total = np.zeros(int(rows.sum()))
        for j in range(width - 1, order - 1, -1):
            total = total * s[rows] + math.comb(j, order) * piece[rows, j]
        out[rows] = total * (math.factorial(order) / span**order)
    return out
