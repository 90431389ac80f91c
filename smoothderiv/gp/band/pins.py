"""Exact rows of the band solver: the posterior of the other rows, conditioned on a few values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.band import _loops
from smoothderiv.model import UnsuitableError

if TYPE_CHECKING:
    from smoothderiv.gp.band.fit import BandFit

Array: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]

_SPENT = 1e-10  # of its deviation: what other exact rows may leave of a row


class SpentPinsError(UnsuitableError):
    """Exact rows say each other's values to rounding."""


@dataclass(frozen=True, eq=False)
class Pins:
    """Exact rows on a grid, sorted by place: ``rows v + trend beta = y``.

    Attributes
    ----------
    x, nu : (m,) arrays
    first : (m,) array of int
    rows, slopes : (m, b) arrays
    trend : (m, p) array
    y : (m,) array
        Less the fixed mean.
    """

    x: Array
    nu: Places
    first: Places
    rows: Array
    slopes: Array
    trend: Array
    y: Array


@dataclass(frozen=True, eq=False)
class Pinned:
    """What m exact rows change in a fit of the others.

    In coordinates xi that are independent given the other rows, of variance 1, the coefficients
    are ``v = v_0 + R^-1 xi_1 - F T^-1 xi_2`` and ``beta = beta_0 + T^-1 xi_2``, T the triangle of
    beta and F how v answers to it. Exact rows are ``A xi = y - rows v_0 - trend beta_0``. With
    ``A' = Q L'`` xi has the mean ``Q L^-1 (y - ..)`` and the covariance ``1 - Q Q'``.

    Attributes
    ----------
    column : (m,) array of int
    bound : (K, m) array
        Q as coefficients of the grid: a question loses the squares of its products with them.
    bound_mean : (p, m) array
        Q as coefficients of the mean.
    corner : (m, m) array
        L, the root of the covariance of the exact rows given the others.
    white : (m,) array
        ``L^-1 (y - rows v_0 - trend beta_0)``.
    """

    column: Places
    bound: Array
    bound_mean: Array
    corner: Array
    white: Array

    @classmethod
    def of(cls, fit: BandFit, pins: Pins, column: Places) -> Pinned:
        """Condition a fit of the other rows."""
        count = len(fit.beta)
        half = np.zeros((len(fit.band), len(pins.y)))
        _loops.gather(column, pins.rows, np.eye(len(pins.y)), half)
        answer = half.T @ fit.free
        _loops.forward_solve(fit.band, half)
        whole = np.vstack((half, fit.halved(pins.trend - answer).T))
        basis, triangle = np.linalg.qr(whole)
        left, size = np.abs(np.diag(triangle)), np.sqrt((whole**2).sum(axis=0))
        if len(left) < len(size) or not (left > _SPENT * size).all():
            raise SpentPinsError(
                f"yerr: some of the {len(pins.y)} exact rows (yerr=0) follow from the others to "
                "rounding; leave some out, or use solver='dense', which takes a nugget"
            )
        bound = np.ascontiguousarray(basis[: len(half)])
        _loops.back_solve(fit.band, bound)
        mean = basis[len(half) :]
        mean = np.asarray(np.linalg.solve(fit.triangle, mean)) if count else mean
        bound -= fit.free @ mean
        said = np.empty((len(pins.y), 1))
        _loops.apply(column, pins.rows, fit.coefficients[:, None], said)
        rest = pins.y - said[:, 0] - pins.trend @ fit.beta
        return cls(column, bound, mean, triangle.T, np.linalg.solve(triangle.T, rest))

    @property
    def twice_the_loss(self) -> float:
        """Minus twice the log density of the exact rows given the others, without 2 pi."""
        logs = float(np.log(np.abs(np.diag(self.corner))).sum())
        return 2.0 * logs + float(self.white @ self.white)

    def by_scale(self, pins: Pins, coefficients: Array) -> float:
        """Return what exact rows add to the derivative of the loss by log scale.

        ``sum_i s_i (g_i - alpha_i v)``, s_i the derivatives of the rows, g_i how v answers to row
        i, and alpha the multipliers of the rows.
        """
        answer = np.linalg.solve(self.corner.T, self.bound.T).T
        alpha = np.linalg.solve(self.corner.T, self.white)
        steep = np.empty((len(pins.y), len(pins.y) + 1))
        _loops.apply(self.column, pins.slopes, np.column_stack((answer, coefficients)), steep)
        return float(np.diag(steep).sum() - alpha @ steep[:, -1])
