"""B-spline bases: rows of any derivative, penalties, integrals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from smoothderiv import _validate
from smoothderiv.splines import _loops

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_UNROLLED = (3, 5)  # the degrees for which loops of their own are compiled


def held(*arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return whole, read-only views, since loops compile anew for each kind of array."""
    out = tuple(np.ascontiguousarray(a).view() for a in arrays)
    for a in out:
        a.flags.writeable = False
    return out


@dataclass(frozen=True, eq=False)
class BSplineBasis:
    """The B-splines of degree k on knots t: ``f(x) = sum_i c_i B_{i,k}(x)``.

    Inside the base interval ``[t[k], t[n_coef]]`` the right-hand derivative is taken at knots and
    the left-hand one at the last; outside, the end polynomials are continued.

    Parameters
    ----------
    t : (n_coef + k + 1,) array
        Knots, ascending; up to k + 1 may be equal.
    k : int
        Degree, from 0 on.

    Raises
    ------
    ValueError
        Knots that are not finite or not ascending, too few, or more than k + 1 at one place.

    References
    ----------
    de Boor, A Practical Guide to Splines, 2001, chapters IX and X.

    Examples
    --------
    >>> from smoothderiv.splines import BSplineBasis
    >>> basis = BSplineBasis.clamped([1.0, 2.0], 0.0, 3.0, k=3)
    >>> basis.n_coef
    6
    >>> basis.rows([0.0, 1.5], nu=1).toarray().round(3)
    array([[-3.   ,  3.   ,  0.   ,  0.   ,  0.   ,  0.   ],
           [ 0.   , -0.188, -0.562,  0.562,  0.188,  0.   ]])
    """

    t: Array
    k: int

    def __post_init__(self) -> None:
        t, k = _validate.vector(self.t, "t"), self.k
        _validate.finite(t, "t")
        if int(k) != k or k < 0:
            raise ValueError(
                f"k: {_validate.said(k)} is not a degree; give a whole number from 0 on"
            )
        if len(t) < 2 * k + 2:
            raise ValueError(f"t: {len(t)} knots; degree {k} needs at least {2 * k + 2}")
        down = np.flatnonzero(np.diff(t) < 0)
        if len(down):
            row = int(down[0]) + 1
            raise ValueError(f"t: knot {row} is {t[row]:g}, below the one before; sort the knots")
        stacked = np.flatnonzero(t[k + 1 :] <= t[: len(t) - k - 1])
        if len(stacked):
            raise ValueError(
                f"t: more than {k + 1} knots at {t[stacked[0]]:g}; degree {k} allows {k + 1} there"
            )
        if not t[k] < t[len(t) - k - 1]:
            raise ValueError(f"t: the base interval [{t[k]:g}, {t[len(t) - k - 1]:g}] is empty")
        t.flags.writeable = False
        object.__setattr__(self, "t", t)
        object.__setattr__(self, "k", int(k))

    @classmethod
    def clamped(cls, interior: ArrayLike, a: float, b: float, k: int) -> BSplineBasis:
        """Return the basis on [a, b] with k + 1 knots at each end and the `interior` ones."""
        inner = _validate.vector(interior, "interior") if np.size(interior) else np.empty(0)
        outside = np.flatnonzero((inner <= a) | (inner >= b))
        if len(outside):
            row = int(outside[0])
            raise ValueError(
                f"interior: knot {row} is {inner[row]:g}, not between {a:g} and {b:g}; "
                "leave it out, or give a BSplineBasis with wider ends"
            )
        return cls(np.concatenate((np.full(k + 1, a), np.sort(inner), np.full(k + 1, b))), k)

    @property
    def n_coef(self) -> int:
        """The number of B-splines."""
        return len(self.t) - self.k - 1

    @property
    def loops(self) -> tuple[Array, int, tuple[float, ...]]:
        """The basis as the compiled loops take it: knots, degree, and a tuple of its length."""
        return self.t, self.k, (0.0,) * (self.k + 1) if self.k in _UNROLLED else ()

    @property
    def interval(self) -> tuple[float, float]:
        """The base interval, on which the B-splines sum to one."""
        return float(self.t[self.k]), float(self.t[self.n_coef])

    def rows(self, x: ArrayLike, nu: ArrayLike = 0) -> sparse.csr_array:
        """Return ``D^nu B_i(x)`` as a sparse matrix (n, n_coef) of k + 1 entries a row.

        Parameters
        ----------
        x : (n,) array
            Sorted or not; sorted is quicker.
        nu : int or (n,) array of int
            The order of the derivative of each row; rows above the degree are zero.

        Notes
        -----
        ``D B_{i,d} = d (B_{i,d-1} / (t_{i+d} - t_i) - B_{i+1,d-1} / (t_{i+d+1} - t_{i+1}))``,
        de Boor (2001), equation X.(8).
        """
        places = _validate.vector(x, "x")
        _validate.finite(places, "x")
        nu_ = _validate.orders(nu, len(places), 1, np.ones(len(places), dtype=bool))
        first = np.empty(len(places), dtype=np.int64)
        values = np.empty((len(places), self.k + 1))
        _loops.basis_rows(*self.loops, places, nu_, first, values)
        return self._sparse(first, values)

    def penalty(self, m: int) -> sparse.csr_array:
        """Return ``integral B_i^(m) B_j^(m)`` over the base interval: (n_coef, n_coef), banded.

        Exact: Gauss-Legendre quadrature of enough nodes in each span.
        """
        x, weight = self.quadrature(m)
        rows = self.rows(x, m)
        return sparse.csr_array(rows.T @ (rows * weight[:, None]))

    def quadrature(self, m: int) -> tuple[Array, Array]:
        """Return Gauss-Legendre nodes and weights, exact for products of m-th derivatives."""
        ends = np.unique(self.t[self.k : self.n_coef + 1])
        node, weight = np.polynomial.legendre.leggauss(max(self.k - m + 1, 1))
        half = 0.5 * np.diff(ends)[:, None]
        middle = 0.5 * (ends[1:] + ends[:-1])[:, None]
        return (middle + half * node).ravel(), (half * weight).ravel()

    def integral_rows(self, a: ArrayLike, b: ArrayLike) -> sparse.csr_array:
        """Return ``integral_a^b B_i(x) dx`` for each pair of ends: (n, n_coef)."""
        low, high = np.broadcast_arrays(np.atleast_1d(a), np.atleast_1d(b))
        t = np.concatenate((self.t[:1], self.t, self.t[-1:]))
        ends = [self._tails(t, end) for end in (low, high)]
        widths = (self.t[self.k + 1 :] - self.t[: self.n_coef]) / (self.k + 1)
        return sparse.csr_array((ends[1] - ends[0]) * widths)

    def _tails(self, t: Array, x: ArrayLike) -> Array:
        """Return the sums of B_{j,k+1}(x) over j > i, for each i: what a spline integrates to."""
        places = _validate.vector(x, "a, b")
        _validate.finite(places, "a, b")
        first = np.empty(len(places), dtype=np.int64)
        values = np.empty((len(places), self.k + 2))
        zeros = np.zeros(len(places), dtype=np.int64)
        (t,) = held(t)
        _loops.basis_rows(t, self.k + 1, (), places, zeros, first, values)
        tails = np.zeros((len(places), self.n_coef))
        sums = np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
        for row, start in enumerate(first):
            tails[row, :start] = 1.0
            tails[row, start : start + self.k + 1] = sums[row, 1:]
        return tails

    def _sparse(self, first: Index, values: Array) -> sparse.csr_array:
        columns = (first[:, None] + np.arange(self.k + 1)).ravel()
        starts = np.arange(0, values.size + 1, self.k + 1)
        return sparse.csr_array((values.ravel(), columns, starts), (len(first), self.n_coef))
