"""Compiled loops that make the steps of a prior."""

import math

import numpy as np
from numba import njit

_loop = njit(cache=True, nogil=True, error_model="numpy")


@_loop
def matern_steps(t, powers, density, panels, nodes, weights, near, transition, root):
    """Fill ``exp(F t)`` and a square root of its noise for each t: (n, d, d) both.

    ``exp(F t) = exp(-t) sum_k t**k powers[k]``, and the noise is
    ``density int_0^t g g' ds``, g the last column of ``exp(F s)``: Gauss's rule on panels
    [panels[i], panels[i + 1]], its rows made orthogonal, which takes no differences. near is
    (width, coefficients (pieces, d (d + 1) / 2, k)): in each piece of that width from 0 on row a of
    the root is ``t**(d - a - 1/2)`` times polynomials in the place within it, from -1 to 1, highest
    powers first.
    """
    apart, coefficients = near
    n, d, m = len(t), len(powers), len(nodes)
    reach, terms = len(coefficients) * apart, coefficients.shape[2]
    kicks = np.empty((m * (len(panels) - 1), d))
    same, far = -1, -1  # the step before, and one beyond all panels, which are all the same
    for i in range(n):
        A, R, h = transition[i], root[i], t[i]
        same = i - 1 if i > 0 and h == t[i - 1] else far if h >= panels[-1] else -1
        if same >= 0:
            A[:], R[:] = transition[same], root[same]
            continue
        far = i if h >= panels[-1] else far
        # beyond t = 50 less than a rounding error is left, and its powers would underflow
        decay = math.exp(-h) if h < 50.0 else 0.0
        for a in range(d):
            for b in range(d):
                total = 0.0
                for k in range(d - 1, -1, -1):
                    total = total * h + powers[k, a, b]
                A[a, b] = decay * total
        if h < reach:
            piece = int(h / apart)
            unit, place = math.sqrt(h), 2.0 * (h - piece * apart) / apart - 1.0
            for a in range(d - 1, -1, -1):
                for b in range(a + 1):
                    total = 0.0
                    for k in range(terms):
                        total = total * place + coefficients[piece, a * (a + 1) // 2 + b, k]
                    R[a, b] = unit * total
                for b in range(a + 1, d):
                    R[a, b] = 0.0
                unit *= h
            continue
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
