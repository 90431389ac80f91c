"""Which polynomial rows of values and derivatives leave free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FEW = 1000  # rows that are asked first, since they nearly always suffice


def free_polynomial(x: Array, nu: NDArray[np.int64], order: int) -> str:
    """Name the polynomial of degree below `order` that sorted rows do not see; "" if none."""
    if any(_surely_determined(x[:n], nu[:n], order) for n in (_FEW, len(x))):
        return ""
    if (nu > 0).all():
        lowest = int(nu.min())
        return "a constant" if lowest == 1 else f"a polynomial of degree {lowest - 1}"
    centre, half = 0.5 * (x[0] + x[-1]), 0.5 * (x[-1] - x[0]) or 1.0
    design = np.zeros((len(x), order))
    for j in range(order):
        for k in np.unique(nu[nu <= j]):
            rows = nu == k
            factor = np.prod(np.arange(j, j - k, -1.0))
            design[rows, j] = factor * ((x[rows] - centre) / half) ** (j - k)
    size = np.abs(design).max(axis=1, keepdims=True)
    design = design[size[:, 0] > 0] / size[size[:, 0] > 0]
    _, value, basis = np.linalg.svd(design, full_matrices=True)
    value = np.append(value, np.zeros(order - len(value)))
    free = value <= 8 * order * np.finfo(float).eps * value[0]
    if not free.any():
        return ""
    if free.sum() > 1:
        return f"a family of {int(free.sum())} polynomials of degree up to {order - 1}"
    vector = basis[-1] / np.abs(basis[-1]).max()
    vector[np.abs(vector) < 1e-9] = 0.0
    powers = ["", " u", *(f" u^{j}" for j in range(2, order))]
    terms = [f"{c:+.3g}{power}" for c, power in zip(vector, powers, strict=False) if c]
    words = " ".join(terms).replace("+", "+ ").replace("-", "- ").removeprefix("+ ")
    if words == "1":
        return "a constant"
    return f"any multiple of the polynomial {words}, u = (x - {centre:.6g}) / {half:.6g},"


def _surely_determined(x: Array, nu: NDArray[np.int64], order: int) -> bool:
    """Say whether distinct places suffice: some order k sees D^k f, and the rest sees the rest."""
    if order == 0:
        return True
    for k in range(order):
        places = x[nu == k]
        distinct = 1 + np.count_nonzero(np.diff(places)) if len(places) else 0
        if distinct >= order - k:
            below = nu < k
            return _surely_determined(x[below], nu[below], k)
    return False
