"""An estimated mean beside a Markov process, by generalised least squares in O(n)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.dense import log_gram
from smoothderiv.gp.trend import Trend
from smoothderiv.observations import Observations
from smoothderiv.statespace.markov import Errors, MarkovRows, States

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]

_KEPT = 10_000  # places of a question whose states are kept


class Asked:
    """States at places; the last are kept, since several orders are asked of them."""

    def __init__(self, states: States) -> None:
        self._states = states
        self._last: tuple[Array, tuple[Array, Array]] | None = None

    def at(self, x: Array) -> tuple[Array, Array]:
        """Return what :meth:`States.at` does."""
        if self._last is not None and np.array_equal(self._last[0], x):
            return self._last[1]
        found = self._states.at(x)
        if len(x) <= _KEPT:
            self._last = x.copy(), found
        return found


@dataclass(frozen=True, eq=False)
class MarkovTrend:
    """The polynomial that a Markov prior does not hold itself, with flat coefficients beta.

    With P the inverse covariance of the rows (what the prior leaves free taken out) and H the rows
    of the monomials, ``beta = V H'P y`` with ``V = (H'P H)^-1 = L L'``, and ``P - P H V H'P`` takes
    the place of P (Rasmussen & Williams 2006, 2.7). The answer at a place gains the variance of
    ``(h - m) L``, h the monomials and m what the process makes of the columns of H as data.

    Attributes
    ----------
    trend : Trend
        Its p monomials; p may be 0.
    rows : MarkovRows
        Of the data less ``H beta``.
    design : (n, p) array
        H.
    root : (p, p) array
        L.
    pulled : (n, p) array
        ``P H L``.
    beta : (p,) array
    log_det : float
        ``log|H'P H|``.
    """

    trend: Trend
    rows: MarkovRows = field(repr=False)
    design: Array
    root: Array
    pulled: Array
    beta: Array
    log_det: float

    @classmethod
    def of(cls, trend: Trend, rows: MarkovRows, design: Array, y: Array) -> MarkovTrend:
        """Fit the trend to data y (n,), which `rows` observe."""
        p = design.shape[1]
        if not p:
            return cls(trend, rows, design, np.zeros((0, 0)), design, np.zeros(0), 0.0)
        pulled = np.column_stack([rows.project(column) for column in design.T])
        gram = design.T @ pulled
        size = np.sqrt(np.diag(gram))
        triangle = np.linalg.cholesky(gram / size / size[:, None])
        root = np.linalg.solve(triangle, np.diag(1.0 / size)).T
        beta = root @ (root.T @ (pulled.T @ y))
        left = rows.observing(y - design @ beta)
        log_det = 2.0 * float(np.log(np.diag(triangle) * size).sum())
        return cls(trend, left, design, root, pulled @ root, beta, log_det)

    def cleared(self, errors: Errors) -> Errors:
        """Return the smoothing errors of `rows` with the trend estimated."""
        return errors._replace(
            pull=self.without(errors.pull),
            diagonal=errors.diagonal - (self.pulled**2).sum(axis=1),
        )

    def without(self, pull: Array) -> Array:
        """Return P y of data y, the trend estimated, from P y without."""
        return np.asarray(pull - self.pulled @ (self.root.T @ (self.design.T @ pull)))

    @property
    def columns(self) -> list[MarkovRows]:
        """Rows that observe the columns of ``H L``."""
        return [self.rows.observing(column) for column in (self.design @ self.root).T]

    @cached_property
    def _states(self) -> list[Asked]:
        return [Asked(rows.states()) for rows in self.columns]

    def values(self, x: Array, nu: Orders) -> Array:
        """Return the derivatives of the polynomial: (m,)."""
        return np.asarray(self.trend.rows(x[:, None], nu[:, None]) @ self.beta)

    def free(self, x: Array, nu: Orders) -> Array:
        """Return the root of what the estimated trend adds to the variance: (m, p)."""
        out = self.trend.rows(x[:, None], nu[:, None]) @ self.root
        unit, place = self.rows.prior.units[nu], np.arange(len(x))
        for j, states in enumerate(self._states):
            out[:, j] -= states.at(x)[0][place, nu] * unit
        return np.asarray(out)


def trend_information(trend: Trend, null_degree: int, data: Observations) -> float:
    """Return ``log|X'X|`` of a trend less that of its part up to a degree; refuse a free one."""
    x, nu = data.x[:, None], data.nu[:, None]
    if not len(trend.beyond(null_degree).exponents):
        return 0.0
    low = trend.exponents.sum(axis=1) <= null_degree
    known = Trend(0.0, trend.exponents[low], trend.center, trend.span)
    return log_gram(trend, x, nu) - log_gram(known, x, nu)
