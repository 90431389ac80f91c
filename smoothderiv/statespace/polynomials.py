"""What rows of values and derivatives say of polynomials, and which they leave free."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FEW = 1000  # rows that are asked first, since they nearly always suffice
_PART = 8000  # rows that are reduced at a time, within the processor's cache


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
    vector *= np.sign(vector[np.flatnonzero(vector)[-1]])  # the SVD leaves the sign open
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


class LogGram:
    """``log|X'X|`` of rows that come in blocks: X are the monomials of u from 0 to 1, and more.

    A row of order nu is ``d^nu/du^nu``. Rows are reduced (X = Q R) in Legendre polynomials of
    ``2 u - 1``, which are nearly orthogonal, so that no digits are lost at high degrees; that of
    degree j has the leading coefficient ``binomial(2 j, j)``.
    """

    def __init__(self, first: float, last: float, order: int) -> None:
        self._first, self._span = first, last - first or 1.0
        self._factor = np.zeros((0, order))

    def take(self, x: Array, nu: NDArray[np.int64]) -> None:
        """Add rows at some x, (n,), of orders nu, (n,)."""
        place = 2.0 * (x - self._first) / self._span - 1.0
        for k in np.unique(nu):
            polynomials = legendre.legder(np.eye(self._factor.shape[1]), int(k), scl=2.0)
            mine = place[nu == k]
            for begin in range(0, len(mine), _PART):
                rows = legendre.legval(mine[begin : begin + _PART], polynomials).T
                joined = np.concatenate((self._factor, rows))
                self._factor = np.asarray(np.linalg.qr(joined, mode="r"))

    @property
    def value(self) -> float:
        """The logarithm of the determinant; minus infinity where a polynomial is free."""
        order = self._factor.shape[1]
        if len(self._factor) < order:
            return -math.inf
        leading = [math.comb(2 * j, j) for j in range(order)]
        with np.errstate(divide="ignore"):
            return 2.0 * float(np.log(np.abs(np.diag(self._factor))).sum() - np.log(leading).sum())
