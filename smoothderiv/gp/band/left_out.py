"""What the band solver predicts for each row without it, with its gradient, in O(n)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.band import _loops, _window_loops
from smoothderiv.gp.band.fit import BandFit, Segments
from smoothderiv.gp.band.reduction import Reduced

Array: TypeAlias = NDArray[np.float64]

_SHARP = 1e-6  # of the variance of what the others say of a row: noise that is lost beside it


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Leave-one-out log densities of rows and their derivatives.

    In units of the noise let row i be w_i, its error e_i, its leverage ``h_i = w_i C w_i'``, C the
    posterior covariance of the coefficients of the grid and of the mean. The density of row i
    given the others is that of ``e_i / sqrt(1 - h_i)``. With

        b_i = (1 + e_i^2 / (1 - h_i)) / (1 - h_i),    c_i = e_i / (1 - h_i),    M = w' diag(b) w,

    ``g = C w'c`` and ``d = c - w g``, minus the sum of log densities L has by the log noise of row
    i, and by log scale, of which the rows have the derivatives s_i, the derivatives

        b_i (1 - 2 h_i) - 2 d_i e_i + w_i C M C w_i',

        sum_i (b_i s_i C w_i' - s_i C M C w_i' - d_i s_i v - e_i s_i g),

    v the posterior mean. ``-C M C`` is how C changes with ``C^-1 + M``: within a window it follows
    from the change of the triangle R. If all noise and the amplitude grow together L changes by
    ``sum_i (1 - e_i^2 / (1 - h_i))``, which leaves the derivative by the amplitude.

    Exact rows are not left out. They take ``Q Q'`` from C (see :class:`Pinned`), and are rows of
    ever smaller noise in the sum above: with a_i how the coefficients answer to row i, mu_i its
    multiplier and t_i the derivatives of it by log scale, they add

        sum_i ((a_i w'c) t_i v - t_i C M a_i - mu_i t_i g).

    Attributes
    ----------
    fit : BandFit
        Of reduced rows, with their slopes.
    each : BandFit
        The same, about each row.
    """

    fit: BandFit
    each: BandFit

    @classmethod
    def of(cls, reduced: Reduced, rows: Reduced) -> LeftOut:
        """Fit reduced rows to tell of each of the rows."""
        fit = BandFit.of(reduced)
        exact = rows.first[:0] if reduced.pins is None else reduced.pins.first
        columns, _ = Segments.together(rows.first, exact, rows.rows.shape[1])
        return cls(fit, dataclasses.replace(fit, reduced=rows, segments=columns))

    @cached_property
    def _free(self) -> Array:
        """``1 - h``: what a row leaves to the others."""
        return np.asarray(1.0 - self.each.shares[0])

    @property
    def is_known(self) -> bool:
        """Whether no row is so sharp that what others say of it is lost in rounding."""
        mean = (self.each.halved(self._beyond(self.each)) ** 2).sum(axis=1)
        return bool((self._free + mean).min() > _SHARP and self._free.min() > _SHARP**2)

    def _beyond(self, fit: BandFit) -> Array:
        """Return the trend's rows less what the coefficients of the grid answer to: (n, p)."""
        reduced = fit.reduced
        return np.asarray(reduced.sides[:, :-1] - fit.applied(reduced.rows, fit.free))

    @cached_property
    def _squares(self) -> Array:
        return np.asarray(self.each.errors**2 / self._free)

    @property
    def loss(self) -> float:
        """Minus the sum of log densities, but for the constant of the noise."""
        return 0.5 * float((self._squares - np.log(self._free)).sum())

    @property
    def overall(self) -> float:
        """The derivative by what all standard deviations are multiplied by."""
        return float((1.0 - self._squares).sum())

    @cached_property
    def _weights(self) -> tuple[Array, Array]:
        """The derivatives b and c."""
        return (1.0 + self._squares) / self._free, self.each.errors / self._free

    @cached_property
    def _solved(self) -> tuple[Array, Array, Array, Array]:
        """``g`` (K,) with what it adds to the rows (n,), and for the mean dF (K, p) and U'bU."""
        b, c = self._weights
        fit, each = self.fit, self.each
        trend, beyond = each.reduced.sides[:, :-1], self._beyond(each)
        right = np.zeros((len(fit.band), 1 + len(fit.beta)))
        sides = np.column_stack((c, beyond * b[:, None]))
        _loops.gather(each.segments.column, each.reduced.rows, sides, right)
        _loops.forward_solve(fit.band, right)
        _loops.back_solve(fit.band, right)
        turned = right[:, 1:].copy()
        by_mean = self._by_gram((c @ beyond)[None])[0]
        g = right[:, 0] - fit.free @ by_mean
        if fit.pinned is not None:
            said = c @ self._taken(each)
            g, by_mean = g - fit.pinned.bound @ said, by_mean - fit.pinned.bound_mean @ said
        added = each.applied(each.reduced.rows, g[:, None])[:, 0] + trend @ by_mean
        return g, added, turned, (beyond * b[:, None]).T @ beyond

    def _by_gram(self, rows: Array) -> Array:
        """Return rows (m, p) times the covariance of the mean's coefficients."""
        half = self.fit.halved(rows)
        if not rows.shape[1]:
            return half
        return np.asarray(np.linalg.solve(self.fit.triangle, half.T).T)

    @cached_property
    def _bent(self) -> tuple[Array, Array]:
        """``w C M C w'`` and ``w C M C s'`` of the reduced rows."""
        fit, each = self.fit, self.each
        change = np.zeros_like(fit.band)
        _loops.gram(each.segments.column, each.reduced.rows, self._weights[0], change)
        _loops.factor_slope(fit.band, change)
        rows, slopes = fit.reduced.rows, fit.reduced.slopes
        own, cross = np.empty((2, len(rows)))
        segments = fit.segments
        where = segments.edges, segments.column
        _window_loops.spread_slopes(fit.band, change, *where, rows, slopes, own, cross)
        return self._with_exact(*self._with_mean(-own, -cross))

    def _with_mean(self, own: Array, cross: Array) -> tuple[Array, Array]:
        """Add what comes by way of the mean's coefficients."""
        fit = self.fit
        if not len(fit.beta):
            return own, cross
        _, _, turned, inner = self._solved
        rows, slopes = fit.reduced.rows, fit.reduced.slopes
        beyond = self._beyond(fit)
        moved, steep = fit.applied(rows, turned), fit.applied(slopes, fit.free)
        solved = self._by_gram(beyond)
        own = own + 2.0 * (moved * solved).sum(axis=1) + (solved @ inner * solved).sum(axis=1)
        cross = cross - ((self._by_gram(moved) + self._by_gram(solved @ inner)) * steep).sum(axis=1)
        return own, cross + (solved * fit.applied(slopes, turned)).sum(axis=1)

    def _taken(self, fit: BandFit) -> Array:
        """Return ``w Q``, what exact rows say of each row: (n, m)."""
        assert fit.pinned is not None
        own = fit.applied(fit.reduced.rows, fit.pinned.bound)
        return np.asarray(own + fit.reduced.sides[:, :-1] @ fit.pinned.bound_mean)

    @cached_property
    def _moved(self) -> tuple[Array, Array, Array]:
        """``C M Q``, of the grid (K, m) and of the mean (p, m), and ``Q'M Q`` (m, m)."""
        fit, each = self.fit, self.each
        taken = self._taken(each)
        weighed = taken * self._weights[0][:, None]
        grid = np.zeros((len(fit.band), taken.shape[1]))
        _loops.gather(each.segments.column, each.reduced.rows, weighed, grid)
        _loops.forward_solve(fit.band, grid)
        _loops.back_solve(fit.band, grid)
        mean = self._by_gram((self._beyond(each).T @ weighed).T).T
        return grid - fit.free @ mean, mean, taken.T @ weighed

    def _with_exact(self, own: Array, cross: Array) -> tuple[Array, Array]:
        """Add what exact rows change: ``(C - Q Q') M (C - Q Q')`` takes the place of C M C."""
        fit = self.fit
        if fit.pinned is None:
            return own, cross
        (grid, mean, inner), taken = self._moved, self._taken(fit)
        rows, slopes = fit.reduced.rows, fit.reduced.slopes
        moved = fit.applied(rows, grid) + fit.reduced.sides[:, :-1] @ mean
        steep = fit.applied(slopes, fit.pinned.bound)
        own = own - 2.0 * (moved * taken).sum(axis=1) + (taken @ inner * taken).sum(axis=1)
        cross = cross - (fit.applied(slopes, grid) * taken).sum(axis=1)
        return own, cross + (steep * (taken @ inner - moved)).sum(axis=1)

    def _by_scale_of_exact(self) -> float:
        """Return what exact rows add to the derivative by log scale."""
        pins, pinned, (grid, _, inner) = self.fit.reduced.pins, self.fit.pinned, self._moved
        assert pins is not None
        assert pinned is not None
        root = pinned.corner.T
        turned = np.linalg.solve(root, (grid - pinned.bound @ inner).T).T
        said = np.linalg.solve(root, self._taken(self.each).T @ self._weights[1])
        multipliers = np.linalg.solve(root, pinned.white)
        asked = np.column_stack((turned, self.fit.coefficients, self._solved[0]))
        steep = np.empty((len(pins.y), asked.shape[1]))
        _loops.apply(pinned.column, pins.slopes, asked, steep)
        total = said @ steep[:, -2] - np.diag(steep).sum() - multipliers @ steep[:, -1]
        return float(total)

    def by_noise(self, group: int | None = None) -> float:
        """Return the derivative by the log noise of the rows of a group, or of all."""
        b, c = self._weights
        d = c - self._solved[1]
        each = b * (2.0 * self._free - 1.0) - 2.0 * d * self.each.errors
        if group is None:
            return float(each.sum() + self._bent[0].sum())
        mine, few = (fit.reduced.group == group for fit in (self.each, self.fit))
        return float(each[mine].sum() + self._bent[0][few].sum())

    @property
    def by_scale(self) -> float:
        """The derivative by log scale."""
        b, c = self._weights
        g, added = self._solved[:2]
        pair = np.column_stack((self.fit.coefficients, g))
        steep = self.each.applied(self.each.reduced.slopes, pair)
        pulled = (c - added) @ steep[:, 0] + self.each.errors @ steep[:, 1]
        found = float(b @ self.each.shares[1] - self._bent[1].sum() - pulled)
        return found if self.fit.pinned is None else found + self._by_scale_of_exact()
