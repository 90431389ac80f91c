"""Coordinates of the coefficients that meet every exact row (and are a polynomial, if asked).

``c = shift + N g`` with g free: exact rows are reduced by orthogonal column rotations, each
locking one coordinate, so that no weight, however large, stands in for equality.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from smoothderiv.model import ContradictionError
from smoothderiv.observations import Observations
from smoothderiv.splines import _constraint_loops, _loops
from smoothderiv.splines.basis import BSplineBasis

Array = NDArray[np.float64]
_NO_RANGE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """``c = shift + N g``: `null` holds (shift, first columns, rows of N, width) for the loops."""

    null: tuple[Array, NDArray[np.int64], Array, int]
    n_coef: int
    n_free: int
    n_locked: int
    width: int
    log_det: float

    @classmethod
    def unconstrained(cls, basis: BSplineBasis) -> Coordinates:
        """Return g = c."""
        null = (np.empty(0), _NO_RANGE, np.empty((0, 0)), 0)
        return cls(null, basis.n_coef, basis.n_coef, 0, basis.k + 1, 0.0)

    @classmethod
    def of(cls, basis: BSplineBasis, data: Observations, degree: int | None) -> Coordinates:
        """Return the coordinates left free by the exact rows; polynomials below `degree` if given.

        Raises
        ------
        ContradictionError
            Exact rows that contradict each other.
        """
        index = np.flatnonzero(data.exact)
        if degree is None and not len(index):
            return cls.unconstrained(basis)
        index = index[np.argsort(data.x[index], kind="stable")]
        first = np.empty(len(index), dtype=np.int64)
        values = np.empty((len(index), basis.k + 1))
        _loops.basis_rows(*basis.loops, data.x[index], data.nu[index], first, values)
        if degree is None:
            return cls._locked(first, values, data, index, np.eye(0), basis.n_coef)
        polynomials = monomials(basis, degree)
        columns = first[:, None] + np.arange(basis.k + 1)
        dense = np.einsum("qr,qrm->qm", values, polynomials[columns])
        first = np.zeros(len(index), dtype=np.int64)
        return cls._locked(first, dense, data, index, polynomials, degree)

    @classmethod
    def _locked(
        cls,
        first: NDArray[np.int64],
        rows: Array,
        data: Observations,
        index: NDArray[np.int64],
        outer: Array,
        n_inner: int,
    ) -> Coordinates:
        """Lock the exact rows in n_inner coordinates; `outer` maps those to the coefficients."""
        norm = np.linalg.norm(rows, axis=1)
        _refuse_blind(norm, data, index)
        width = rows.shape[1]
        tolerance = 64 * np.finfo(float).eps * width
        *rotations, locked, known, log_det, contradiction = _constraint_loops.lock_constraints(
            first, rows / norm[:, None], data.y[index] / norm, n_inner, tolerance
        )
        if contradiction >= 0:
            row = index[contradiction]
            raise ContradictionError(
                f"yerr: the exact rows contradict each other; row {row} (x = {data.x[row]:g}, "
                f"y = {data.y[row]:g}, nu = {data.nu[row]}) cannot hold with the others on "
                f"{n_inner} coefficients; give it a yerr, or use more knots"
            )
        n_free = int(np.count_nonzero(~locked))
        log_det += float(np.log(norm).sum())
        shift, start, inner = _null_space(tuple(rotations), first, width, locked, known)
        if len(outer):
            shift, inner = outer @ shift, outer @ _dense(start, inner, n_free)
            start = np.zeros(len(outer), dtype=np.int64)
        span = 1 if len(outer) else width  # coefficients that one row touches share a window
        reach = _reach(start, inner, span, n_free)
        null = (shift, start, np.ascontiguousarray(inner), reach)
        return cls(null, len(shift), n_free, n_inner - n_free, reach, log_det)

    def coefficients(self, free: Array) -> Array:
        """Return c from g."""
        return free if not self.null[3] else self.null[0] + self.directions(free)

    def directions(self, free: Array) -> Array:
        """Return N g for g of shape (n_free,) or (n_free, s)."""
        _, start, rows, width = self.null
        if not width:
            return free
        padded = np.concatenate((free, np.zeros((rows.shape[1], *free.shape[1:]))))
        columns = start[:, None] + np.arange(rows.shape[1])
        return np.asarray(np.einsum("jm,jm...->j...", rows, padded[columns]))

    def reduce(self, rows: Array) -> Array:
        """Return rows N for dense rows (n, n_coef): (n, n_free)."""
        _, start, inner, width = self.null
        return rows if not width else rows @ _dense(start, inner, self.n_free)


def monomials(basis: BSplineBasis, count: int) -> Array:
    """Return the coefficients of ((x - middle) / span)^j, j < count: (n_coef, count).

    By Marsden's identity: elementary symmetric means of the knots t[i+1..i+k].
    """
    low, high = basis.interval
    u = (basis.t - 0.5 * (low + high)) / (high - low)
    sums = np.zeros((basis.n_coef, count))
    sums[:, 0] = 1.0
    for r in range(1, basis.k + 1):
        knot = u[r : r + basis.n_coef, None]
        sums[:, 1:] += knot * sums[:, :-1]
    return np.asarray(sums / np.array([comb(basis.k, j) for j in range(count)]))


def _null_space(
    rotations: tuple[object, ...],
    first: NDArray[np.int64],
    width: int,
    locked: NDArray[np.bool_],
    known: Array,
) -> tuple[Array, NDArray[np.int64], Array]:
    """Return shift, the first column of each row of N (ascending), and the rows of N."""
    n_inner, n_free = len(locked), int(np.count_nonzero(~locked))
    start = np.full(n_inner, n_free, dtype=np.int64)
    extent = np.full(n_inner, -1, dtype=np.int64)
    state = (rotations, first, width, locked, known)
    _constraint_loops.null_band(*state, start, extent, np.empty((n_inner, 0)))
    start = np.minimum.accumulate(start[::-1])[::-1].copy()
    rows = np.zeros((n_inner, max(int((extent - start).max(initial=0)) + 1, 1)))
    shift = _constraint_loops.null_band(*state, start, extent, rows)
    return shift, np.minimum(start, max(n_free - 1, 0)), rows


def _reach(start: NDArray[np.int64], rows: Array, span: int, n_free: int) -> int:
    """Return the width of any row of `span` successive coefficients in free coordinates."""
    last = np.minimum(start + rows.shape[1], n_free)
    ahead = np.minimum(np.arange(len(start)) + span - 1, len(start) - 1)
    return max(int((np.maximum.accumulate(last)[ahead] - start).max(initial=0)), 1)


def _dense(start: NDArray[np.int64], rows: Array, n_free: int) -> Array:
    """Return N as a dense (n_coef, n_free) array."""
    dense = np.zeros((len(start), n_free + rows.shape[1]))
    columns = start[:, None] + np.arange(rows.shape[1])
    np.put_along_axis(dense, columns, rows, axis=1)
    return dense[:, :n_free]


def _refuse_blind(norm: Array, data: Observations, index: NDArray[np.int64]) -> None:
    """Refuse an exact row of an order above the degree, which no coefficient can meet."""
    blind = np.flatnonzero(norm == 0.0)
    if len(blind):
        row = index[blind[0]]
        raise ValueError(f"nu: row {row} pins order {data.nu[row]}, which the curve lacks")
