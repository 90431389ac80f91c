"""The posterior of a regression spline: Gaussian coefficients on a basis, as answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.interpolate import BSpline, PPoly

from smoothderiv.answers.freedom import shared
from smoothderiv.model import Noise
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior
from smoothderiv.splines import _loops
from smoothderiv.splines.basis import BSplineBasis, held
from smoothderiv.splines.system import Solution, System

if TYPE_CHECKING:
    from smoothderiv.splines.regression import RegressionSpline

Array = NDArray[np.float64]
Orders = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class RegressionSplinePosterior(Posterior):
    """The posterior of a :class:`.RegressionSpline`: Gaussian coefficients on a B-spline basis.

    Attributes
    ----------
    basis : BSplineBasis
    coef : (n_coef,) array
        Posterior mean of the coefficients, in unit of y.
    """

    data: Observations
    model: RegressionSpline
    noise: Noise
    edf: float
    dof: float
    basis: BSplineBasis
    coef: Array
    _system: System = field(repr=False)
    _solution: Solution = field(repr=False)

    @cached_property
    def log_evidence(self) -> float:  # type: ignore[override]
        """The restricted log likelihood, with Harville's constant in nondimensional x."""
        keys, lam = self._system.keys, float(self.model.lam or 0.0)
        levels = np.array([1.0 if key is None else self.noise[key] for key in keys])
        return self._system.log_evidence(lam, levels, self._solution)

    @property
    def highest_order(self) -> float:
        """The degree: above it the basis knows nothing, and zero would be no answer."""
        return self.basis.k

    def to_ppoly(self) -> PPoly:
        """Return the posterior mean as an exact piecewise polynomial of scipy."""
        return PPoly.from_spline(BSpline(self.basis.t, self.coef, self.basis.k))

    def coef_cov(self) -> Array:
        """Return the covariance of the coefficients given the basis: (n_coef, n_coef)."""
        root = self._half(np.eye(self.basis.n_coef))
        return root.T @ root

    def _mean(self, x: Array, nu: Orders) -> Array:
        return self._moments(x, nu, np.empty((0, 0, 0)))[0]

    def _var(self, x: Array, nu: Orders) -> Array:
        return self._moments(x, nu, self._solution.roots)[1]

    def _joint(self, x: Array, orders: Orders) -> Array:
        out = np.empty((len(x), len(orders), len(orders)))
        null = self._system.coordinates.null
        _loops.joint_cov(self.basis.t, self.basis.k, x, orders, self._solution.roots, null, out)
        return out

    def _jumps(self, nu: int) -> Array:
        t, k = self.basis.t, self.basis.k
        low, high = self.basis.interval
        places, counts = np.unique(t[(t > low) & (t < high)], return_counts=True)
        return np.asarray(places[counts > k - nu])

    def _moments(self, x: Array, nu: Orders, roots: Array) -> tuple[Array, Array]:
        mean, var = np.zeros(len(x)), np.zeros(len(x))
        null = self._system.coordinates.null
        x, nu = held(x, nu)
        _loops.moments(*self.basis.loops, x, nu, self.coef, roots, null, mean, var)
        return mean, np.maximum(var, 0.0)

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        left = self._half(self.basis.rows(x, nu).toarray())
        if x2 is x and nu2 is nu:
            return left.T @ left
        return left.T @ self._half(self.basis.rows(x2, nu2).toarray())

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        free = rng.standard_normal((self._system.coordinates.n_free, size))
        if len(free):
            free = linalg.solve_banded((0, len(self._band) - 1), self._band, free)
        coef = self.coef[:, None] + self._system.coordinates.directions(free)
        return np.asarray((self.basis.rows(x, nu) @ coef).T)

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        row = self.basis.integral_rows(a, b).toarray()
        half = self._half(row)
        return float(row[0] @ self.coef), float((half**2).sum())

    def _leverage(self) -> Array:
        sd = self.data.sd(self.noise)
        var = self._var(self.data.x, self.data.nu)
        return shared(np.where(sd > 0, var / np.where(sd > 0, sd, 1.0) ** 2, 1.0), self.data, sd)

    @cached_property
    def _band(self) -> Array:
        """The upper triangular root R of the precision, R'R, as LAPACK takes it: (w, n_free)."""
        unit, root = self._solution.factor.unit, np.sqrt(self._solution.factor.pivot)
        n_free = len(unit)
        width = min(unit.shape[1], max(n_free, 1))
        band = np.zeros((width, n_free))
        band[-1] = root
        for m in range(1, width):
            band[-1 - m, m:] = (root * unit[:, m])[: n_free - m]
        return band

    def _half(self, rows: Array) -> Array:
        """Return R'^-1 rows': (n_free, n), so that covariances are products of columns."""
        reduced = self._system.coordinates.reduce(rows)
        if not reduced.shape[1]:
            return np.asarray(reduced.T)
        width, n_free = self._band.shape
        lower = np.zeros((width, n_free))
        for m in range(width):
            lower[m, : n_free - m] = self._band[-1 - m, m:]
        whole = (width - 1, 0), lower, reduced.T
        return np.asarray(linalg.solve_banded(*whole, check_finite=False))
