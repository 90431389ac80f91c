"""The least-squares problem of one data set on one basis, kept as triangular factors.

Each group of rows (those of known noise, those of each order whose noise is estimated, and the
penalty) is reduced once to a factor of its own, O(n k^2). For any penalty and noise levels the
factors are then merged, O(n_coef k^2): the rows are never needed again.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv.model import UndeterminedError
from smoothderiv.observations import Observations, Order
from smoothderiv.splines import _loops
from smoothderiv.splines.basis import BSplineBasis
from smoothderiv.splines.constraints import Coordinates

Array = NDArray[np.float64]
EPS = float(np.finfo(float).eps)
_FEW_RUNS = 8  # ascending runs of rows that are reduced one by one rather than sorted
_PARTS = ("unit", "pivot", "rhs")
LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, eq=False)
class Factor:
    """``sum_j d_j ((U g)_j - z_j)^2 + rss``: a sum of squares in the free coordinates g."""

    unit: Array
    pivot: Array
    rhs: Array
    rss: float

    @property
    def log_det(self) -> float:
        """The logarithm of |U' D U|."""
        return float(np.log(self.pivot).sum())


@dataclass(frozen=True, eq=False)
class Solution:
    """The minimiser for given noise levels and penalty, and what follows from its factor.

    ``roots[j]`` is a root of the covariance of the free coordinates from j on, one window each;
    ``squares[g]`` is the sum of squares of group g at the minimum, in units of its level;
    ``traces[g]`` its share ``tr(V U_g' D_g U_g)`` of the coefficients, before its weight.
    """

    factor: Factor
    free: Array
    coef: Array
    roots: Array
    squares: Array
    traces: Array


@dataclass(frozen=True, eq=False)
class System:
    """The factors of every group of rows, and what the evidence needs to know of the rows.

    Attributes
    ----------
    basis, data, order, kind
        As :meth:`assemble` took them.
    coordinates : Coordinates
        What exact rows and a polynomial leave of the coefficients.
    keys : tuple
        The group of each data factor: None for rows of known noise, else the order whose level is
        estimated.
    counts : (J,) array
        Rows in each group.
    factors : tuple of Factor
        One for each group, and the penalty last unless lam is 0 or infinite.
    """

    basis: BSplineBasis
    data: Observations
    order: int
    kind: str
    coordinates: Coordinates
    keys: tuple[Order | None, ...]
    counts: NDArray[np.int64]
    factors: tuple[Factor, ...]

    @classmethod
    def assemble(cls, basis: BSplineBasis, data: Observations, order: int, kind: str) -> System:
        """Reduce all rows; `kind` is "plain" (lam = 0), "penalised" or "polynomial" (lam = inf)."""
        coordinates = Coordinates.of(basis, data, order if kind == "polynomial" else None)
        orders = data.estimated_orders
        keys: tuple[Order | None, ...] = (None, *orders)
        soft = ~data.exact
        masks = [soft & ~data.estimated] + [data.is_of(o) & data.estimated for o in orders]
        pairs = [(key, mask) for key, mask in zip(keys, masks, strict=True) if mask.any()]
        factors = [reduce_rows(basis, coordinates, data, mask) for _, mask in pairs]
        if kind == "penalised":
            factors.append(reduce_penalty(basis, coordinates, order))
        counts = np.array([np.count_nonzero(mask) for _, mask in pairs], dtype=np.int64)
        keys = tuple(key for key, _ in pairs)
        return cls(basis, data, order, kind, coordinates, keys, counts, tuple(factors))

    @cached_property
    def stacked(self) -> tuple[Array, Array, Array]:
        """The factors side by side, as the loops take them: (G, p, w), (G, p), (G, p)."""
        shape = (len(self.factors), self.coordinates.n_free)
        unit = np.array([f.unit for f in self.factors]).reshape(*shape, self.coordinates.width)
        pivot = np.array([f.pivot for f in self.factors]).reshape(shape)
        return unit, pivot, np.array([f.rhs for f in self.factors]).reshape(shape)

    def solve(self, lam: Any, levels: Array) -> Solution:
        """Minimise ``sum_g ss_g / levels_g^2 + lam ss_penalty``; complex input differentiates."""
        weights = np.asarray(1.0 / np.asarray(levels) ** 2)
        if self.kind == "penalised":
            weights = np.append(weights, lam)
        kind = weights.dtype
        units, pivots, rhss = self.stacked
        unit, pivot, rhs = (np.zeros(a.shape[1:], dtype=kind) for a in self.stacked)
        rss = _loops.merge(units, pivots, rhss, weights, unit, pivot, rhs) if len(weights) else 0.0
        self._check_rank(unit, pivot)
        own = np.array([f.rss for f in self.factors])
        free = _loops.solve_unit(unit, rhs)
        roots = _loops.window_roots(unit, pivot)
        squares, traces = np.empty(len(own), dtype=kind), np.empty(len(own), dtype=kind)
        _loops.group_terms(units, pivots, rhss, free, roots, squares, traces)
        factor = Factor(unit, pivot, rhs, rss + weights @ own)
        coef = self.coordinates.coefficients(free)
        return Solution(factor, free, coef, roots, squares + own, traces)

    def _check_rank(self, unit: Array, pivot: Array) -> None:
        """Refuse a factor whose pivot is rounding error of its column."""
        bad = free_columns(unit, pivot)
        if bad.any():
            raise UndeterminedError(self._undetermined(unit.real, int(np.argmax(bad))))

    def _undetermined(self, unit: Array, column: int) -> str:
        """Say which function the data leave free, from a null vector of the factor."""
        target = np.zeros(len(unit))
        target[column] = 1.0
        cleaned = np.where(np.isfinite(unit), unit, 0.0)
        cleaned[column:] = 0.0
        vector = self.coordinates.directions(_loops.solve_unit(cleaned, target))
        vector = vector / np.abs(vector).max()
        if not np.isfinite(vector).all():
            return (
                "data: their noise levels or weights are too far apart for floating point; make "
                "the smallest yerr larger, or 0"
            )
        if is_polynomial(self.basis, vector):
            factor = _polynomial_factor(self.basis, self.data, self.basis.k + 1)
            return _free_words(factor, self.data)
        support = np.flatnonzero(np.abs(vector) > 1e-6)
        a = self.basis.t[max(support[0], self.basis.k)]
        b = self.basis.t[min(support[-1] + self.basis.k + 1, self.basis.n_coef)]
        return (
            f"data: they leave the curve between x = {a:.6g} and x = {b:.6g} undetermined, too few "
            "rows for the knots there; add observations in it, use fewer knots, or give lam > 0"
        )

    # The evidence: restricted likelihood with Harville's constant.

    @property
    def rank(self) -> int:
        """The rank of the penalty: how many coefficients it informs."""
        return self.basis.n_coef - self.null_dimension if self.kind == "penalised" else 0

    @cached_property
    def null_dimension(self) -> int:
        """Splines without penalty: polynomials, and jumps at knots of high multiplicity."""
        t, k, m = self.basis.t, self.basis.k, self.order
        inner = t[(t > self.basis.interval[0]) & (t < self.basis.interval[1])]
        counts = np.unique(inner, return_counts=True)[1]
        return m + int(np.maximum(m - 1 - k + counts, 0).sum())

    @cached_property
    def log_constant(self) -> float:
        """The part of minus twice the log evidence that depends on neither lam nor levels."""
        data, soft = self.data, ~self.data.exact
        n, q = int(soft.sum()), self.coordinates.n_locked
        total = 2.0 * float(np.log(data.relative_sd[soft]).sum()) + 2 * self.coordinates.log_det
        if self.kind == "plain":
            scaled = reduce_rows(self.basis, self.coordinates, _unit_rows(self.basis, data), soft)
            return float(total + (n - self.coordinates.n_free) * LOG_2PI - scaled.log_det)
        total += (n + q - self.order) * LOG_2PI - _log_gram(self.basis, data, self.order)
        return float(total - self._log_prior if self.kind == "penalised" else total)

    @cached_property
    def _log_prior(self) -> float:
        """Return log |D; E|^2: the penalty's root over rows that observe Taylor coefficients."""
        plain = Coordinates.unconstrained(self.basis)
        penalty = reduce_penalty(self.basis, plain, self.order)
        if self.null_dimension > self.order:
            return float(np.log(np.sort(penalty.pivot)[self.null_dimension :]).sum())
        taylor = _taylor_rows(self.basis, self.order)
        ends = reduce_rows(self.basis, plain, taylor, np.ones(self.order, dtype=bool))
        low, high = self.basis.interval
        scale = (high - low) ** (2 * self.order - 1)  # both are dimensionless before they meet
        both = merge((penalty, ends), np.array([scale, 1.0]))
        return both.log_det - self.rank * float(np.log(scale))

    def log_evidence(self, lam: float, levels: Array, solution: Solution) -> float:
        """Return the restricted log likelihood of penalty and levels."""
        total = self.log_constant + 2.0 * float(self.counts @ np.log(levels))
        total += float(solution.factor.log_det) + float(solution.factor.rss)
        if self.kind == "penalised":
            total -= self.rank * float(np.log(lam))
        return -0.5 * total


def reduce_rows(
    basis: BSplineBasis, coordinates: Coordinates, data: Observations, mask: NDArray[np.bool_]
) -> Factor:
    """Reduce the rows in `mask`, each over its relative size, to one factor."""
    rows = (data.x, data.y, data.relative_sd, data.nu)
    if not mask.all():
        index = np.flatnonzero(mask)
        by_place = np.argsort(data.x[index], kind="stable")
        return _reduce(basis, coordinates, rows, index[by_place])
    turns = np.flatnonzero(data.x[1:] < data.x[:-1]) + 1
    if len(turns) > _FEW_RUNS:
        return _reduce(basis, coordinates, rows, np.argsort(data.x, kind="stable"))
    ends = [0, *turns.tolist(), len(data)]
    runs = [tuple(a[i:j] for a in rows) for i, j in itertools.pairwise(ends)]
    factors = [_reduce(basis, coordinates, run, None) for run in runs]
    return factors[0] if len(factors) == 1 else merge(factors, np.ones(len(factors)))


def _reduce(
    basis: BSplineBasis, coordinates: Coordinates, rows: Any, index: NDArray[np.int64] | None
) -> Factor:
    """Reduce rows (x, y, yerr, nu), ascending in x as they are or by `index`, to one factor."""
    n_free, width = coordinates.n_free, coordinates.width
    unit, pivot, rhs = np.zeros((n_free, width)), np.zeros(n_free), np.zeros(n_free)
    rss = 0.0
    if index is None or len(index):  # for the loop an empty index means all rows
        order = np.empty(0, dtype=np.int64) if index is None else index
        given = (*basis.loops, *rows, order, coordinates.null, unit, pivot, rhs)
        rss = _loops.accumulate(*given)
    return Factor(unit, pivot, rhs, rss)


def merge(factors: Sequence[Factor], weights: Array) -> Factor:
    """Return the factor of the weighted sum of factors; complex weights differentiate it."""
    units, pivots, rhss = (np.array([getattr(f, n) for f in factors]) for n in _PARTS)
    unit, pivot, rhs = (np.zeros(a.shape[1:], dtype=weights.dtype) for a in (units, pivots, rhss))
    rss: Any = _loops.merge(units, pivots, rhss, weights, unit, pivot, rhs)
    return Factor(unit, pivot, rhs, rss + weights @ np.array([f.rss for f in factors]))


def reduce_penalty(basis: BSplineBasis, coordinates: Coordinates, order: int) -> Factor:
    """Reduce ``integral (D^order f)^2`` to a factor: observations of zero at Gauss nodes."""
    x, weight = basis.quadrature(order)
    rows = _rows(x, np.zeros(len(x)), weight**-0.5, np.full(len(x), order))
    return reduce_rows(basis, coordinates, rows, np.ones(len(x), dtype=bool))


def is_polynomial(basis: BSplineBasis, vector: Array) -> bool:
    """Tell whether the spline with these coefficients is one polynomial all along."""
    low, high = basis.interval
    x = np.linspace(low, high, 4 * basis.n_coef)
    values = basis.rows(x) @ vector
    fit = np.polynomial.Legendre.fit(x, values, basis.k)
    return bool(np.abs(fit(x) - values).max() < 1e-6 * np.abs(values).max())


def _rows(x: Array, y: Array, yerr: Array, nu: NDArray[np.int64]) -> Observations:
    return Observations(x, y, yerr, nu, np.zeros(len(x), dtype=bool))


def _unit_rows(basis: BSplineBasis, data: Observations) -> Observations:
    """Return the rows with the sizes of nondimensional x: span ** -nu."""
    low, high = basis.interval
    return _rows(data.x, data.y, (high - low) ** -data.nu.astype(float), data.nu)


def _taylor_rows(basis: BSplineBasis, order: int) -> Observations:
    """Return rows that observe the coefficients of ((x - middle) / span)^j, j < order."""
    low, high = basis.interval
    j = np.arange(order)
    factorial = np.cumprod(np.maximum(j, 1)).astype(float)
    sizes = factorial * (high - low) ** -j.astype(float)
    return _rows(np.full(order, 0.5 * (low + high)), np.zeros(order), sizes, j)


def _log_gram(basis: BSplineBasis, data: Observations, order: int) -> float:
    """Return log |X'X| of the polynomials below `order`, nondimensional, at the rows."""
    factor = _polynomial_factor(basis, data, order)
    if _free_polynomials(factor).any():
        raise UndeterminedError(_free_words(factor, data))
    return factor.log_det


def _polynomial_factor(basis: BSplineBasis, data: Observations, count: int) -> Factor:
    """Reduce the polynomials ((x - middle) / span)^j, j < count, at the rows, times span^nu."""
    low, high = basis.interval
    plain = BSplineBasis.clamped([], low, high, basis.k)
    rows = _unit_rows(basis, data)
    return reduce_rows(plain, Coordinates.of(plain, rows, count), rows, np.ones(len(data), bool))


def free_columns(unit: Array, pivot: Array) -> NDArray[np.bool_]:
    """Mark the pivots that are rounding error of their columns: what the rows do not see."""
    tolerance = 4 * EPS * max(unit.shape[1], 4)
    return np.asarray(~(pivot.real > tolerance**2 * _column_norms(unit, pivot.real)))


def _free_polynomials(factor: Factor) -> NDArray[np.bool_]:
    """Mark the polynomials, of columns alike in size, that the rows do not see."""
    largest = float(_column_norms(factor.unit, factor.pivot).max())
    return np.asarray(~(factor.pivot > (1e3 * EPS) ** 2 * largest))


def _column_norms(unit: Array, pivot: Array) -> Array:
    """Return the squared norms of the columns of a factor."""
    norm = pivot.copy()
    for m in range(1, unit.shape[1]):
        norm[m:] += (pivot[:-m] * np.abs(unit[:-m, m]) ** 2)[: len(norm) - m]
    return norm


def _free_words(factor: Factor, data: Observations) -> str:
    """Say which polynomial the data leave free, and what determines it."""
    free = _free_polynomials(factor)
    degree = int(np.argmin(free)) - 1 if free[0] and not free.all() else int(np.argmax(free))
    words = {0: "constant", 1: "straight line"}.get(degree, f"polynomial of degree {degree}")
    orders = ", ".join(map(str, data.orders))
    lacking = "a value (nu=0)" if degree == 0 else f"rows that see degree {degree}, such as values"
    return f"data: they leave a {words} free ({len(data)} rows of order {orders}); add {lacking}"
