"""An estimated mean beside a Markov process, by generalised least squares in O(n)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.dense import log_gram
from smoothderiv.gp.trend import Trend
from smoothderiv.observations import Observations
from smoothderiv.statespace.backward import Errors, project, spread
from smoothderiv.statespace.fisher import Score, matern_stretch
from smoothderiv.statespace.kept import states_about
from smoothderiv.statespace.markov import MarkovRows

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]

E = TypeVar("E", Errors, Score)

_KEPT = 65_536  # places of a question whose states are kept


class Asked:
    """States at places; the last are kept, since several orders are asked of them."""

    def __init__(self, rows: MarkovRows) -> None:
        self._rows = rows
        self._last: tuple[Array, tuple[Array, Array]] | None = None

    def at(self, x: Array) -> tuple[Array, Array]:
        """Return what :meth:`States.at` does."""
        last = self._last  # once, as other threads may ask elsewhere
        if last is not None and np.array_equal(last[0], x):
            return last[1]
        found = states_about(self._rows, x).at(x)
        if len(x) <= _KEPT:
            self._last = x.copy(), found
        return found


@dataclass(frozen=True, eq=False)
class MarkovTrend:
    """The polynomial that a Markov prior does not hold itself, with flat coefficients beta.

    With P the inverse covariance of the rows (what the prior leaves free taken out) and H the rows
    of the monomials, ``beta = V H'P y`` with ``V = (H'P H)^-1 = L L'``, and ``P - P H V H'P`` takes
    the place of P (Rasmussen & Williams 2006, 2.7). The answer at a place gains the variance of
    ``(h - m) L``, h the monomials and m what the process makes of the columns of H as data. H is
    made orthogonal first, so that far or crowded places square no condition number.

    Attributes
    ----------
    trend : Trend
        Its p monomials; p may be 0.
    rows : MarkovRows
        Of the data less ``H beta``.
    root : (p, p) array
        L.
    columns, pulled : (n, p) arrays
        ``H L`` and ``P H L``.
    beta : (p,) array
    log_det : float
        ``log|H'P H|``.
    """

    trend: Trend
    rows: MarkovRows = field(repr=False)
    root: Array
    columns: Array
    pulled: Array
    beta: Array
    log_det: float

    @classmethod
    def of(cls, trend: Trend, rows: MarkovRows, data: Observations, sd: Array) -> MarkovTrend:
        """Fit the trend to the rows of `data`, of standard deviations `sd`."""
        p = len(trend.exponents)
        if not p:
            none = np.zeros((len(data), 0))
            return cls(trend, rows, np.zeros((0, 0)), none, none, np.zeros(0), 0.0)
        weight = _weights(sd, trend.span[0] ** data.nu)
        design = trend.rows(data.x[:, None], data.nu[:, None])
        basis, triangle = np.linalg.qr(design * weight[:, None])
        basis /= weight[:, None]
        pulled = np.column_stack([project(rows, column) for column in basis.T])
        lower = np.linalg.cholesky(basis.T @ pulled)
        turn = np.linalg.solve(lower, np.eye(p)).T
        columns, pulled = basis @ turn, pulled @ turn
        root = np.linalg.solve(triangle, turn)
        beta = pulled.T @ data.y
        left = rows.observing(data.y - columns @ beta)
        logs = np.log(np.abs(np.diag(triangle))).sum() + np.log(np.diag(lower)).sum()
        return cls(trend, left, root, columns, pulled, root @ beta, 2.0 * float(logs))

    def cleared(self, errors: E) -> E:
        """Return the smoothing errors of `rows` with the trend estimated."""
        if not len(self.beta):
            return errors
        return errors._replace(
            pull=self.without(errors.pull),
            diagonal=errors.diagonal - (self.pulled**2).sum(axis=1),
        )

    def without(self, pull: Array) -> Array:
        """Return P y of data y, the trend estimated, from P y without."""
        return np.asarray(pull - self.pulled @ (self.columns.T @ pull))

    def spread(self, c: Array) -> Array:
        """Return ``diag(P diag(c) P)`` with the trend estimated, for weights c: (n,)."""
        g = self.pulled
        out = spread(self.rows, c) + np.einsum("ij,jk,ik->i", g, g.T @ (g * c[:, None]), g)
        for column in g.T:
            out -= 2.0 * project(self.rows, c * column) * column
        return np.asarray(out)

    def stretch(self, y: Array) -> tuple[Array, Array]:
        """Return the derivatives of P y and of diag P by log length, the trend estimated.

        Of data y less the trend; of a Matern process.
        """
        pull, diagonal = matern_stretch(self.rows, np.column_stack((y, self.columns)))
        g, moved = self.pulled, pull[:, 1:]
        diagonal = diagonal - 2.0 * (g * moved).sum(axis=1)
        diagonal += np.einsum("ij,jk,ik->i", g, self.columns.T @ moved, g)
        return self.without(pull[:, 0]), diagonal

    @property
    def observed(self) -> list[MarkovRows]:
        """Rows that observe the columns of ``H L``."""
        return [self.rows.observing(column) for column in self.columns.T]

    @cached_property
    def states(self) -> list[Asked]:
        """The states of those rows."""
        return [Asked(rows) for rows in self.observed]

    def values(self, x: Array, nu: Orders) -> Array:
        """Return the derivatives of the polynomial: (m,)."""
        return np.asarray(self.trend.rows(x[:, None], nu[:, None]) @ self.beta)

    def free(self, x: Array, nu: Orders) -> Array:
        """Return the root of what the estimated trend adds to the variance: (m, p)."""
        out = self.trend.rows(x[:, None], nu[:, None]) @ self.root
        says, place = self.rows.prior.answers[nu], np.arange(len(x))
        for j, states in enumerate(self.states):
            out[:, j] -= states.at(x)[0][place, says] * self.rows.prior.units[says]
        return np.asarray(out)


def _weights(sd: Array, unit: Array) -> Array:
    """Return one over the noise of each row; exact rows weigh as much as any: (n,)."""
    soft = sd > 0
    most = float((1.0 / (sd[soft] * unit[soft])).max()) if soft.any() else 1.0
    return np.where(soft, 1.0 / np.where(soft, sd, 1.0), most * unit)


def trend_information(trend: Trend, null_degree: int, data: Observations) -> float:
    """Return ``log|X'X|`` of a trend less that of its part up to a degree; refuse a free one."""
    x, nu = data.x[:, None], data.nu[:, None]
    if not len(trend.beyond(null_degree).exponents):
        return 0.0
    low = trend.exponents.sum(axis=1) <= null_degree
    known = Trend(0.0, trend.exponents[low], trend.center, trend.span)
    return log_gram(trend, x, nu) - log_gram(known, x, nu)
