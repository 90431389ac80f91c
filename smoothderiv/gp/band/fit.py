"""Rows on the grid, brought into a band by reflections: what posterior and tuning share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.band import _loops
from smoothderiv.gp.band.grid import Grid
from smoothderiv.gp.dense import LOG_2PI, log_gram
from smoothderiv.gp.kernel import Kernel, known
from smoothderiv.gp.trend import Trend
from smoothderiv.observations import Observations

Array: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]

_BLOCK = 16  # rows of one place of the grid that are reflected together


@dataclass(frozen=True, eq=False)
class Segments:
    """The functions that data touch, in runs: column ``edges[s] + k`` is ``places[s] + k``.

    Attributes
    ----------
    edges : (S + 1,) array of int
    places : (S,) array of int
    column : (n,) array of int
        The first column of each row.
    """

    edges: Places
    places: Places
    column: Places

    @classmethod
    def of(cls, first: Places, width: int) -> Segments:
        """Number the functions that rows touch, `first` sorted."""
        jump = np.diff(first)
        apart = jump >= width
        column = np.concatenate(([0], np.cumsum(np.minimum(jump, width))))
        begins = np.concatenate(([True], apart))
        edges = np.append(column[begins], column[-1] + width)
        return cls(edges, first[begins], column)


@dataclass(frozen=True, eq=False)
class BandFit:
    """Posterior of the coefficients of the grid and of the trend, as triangles.

    Rows are divided by their noise, ``(y - m) / sd = rows v + trend beta + e``, v and e of variance
    1. One QR decomposition of these rows below the unit matrix gives R (K, b), the right sides
    ``Z = [R_H, z]``, the triangle of beta and the sum of squares; nothing is squared, so that
    digits are lost by ``sqrt(n) sigma / noise`` alone.

    Attributes
    ----------
    grid : Grid
    segments : Segments
    rows, slopes : (n, b) arrays
    design, target : (n, p) and (n,) arrays
        The trend's rows and the data less the fixed mean, over the noise.
    band : (K, b) array
        R.
    free : (K, p) array
        ``R^-1 R_H``: how v answers to beta.
    triangle : (p, p) array
    beta : (p,) array
    coefficients : (K,) array
        The posterior mean of v.
    log_evidence : float
    """

    grid: Grid
    segments: Segments
    rows: Array
    slopes: Array
    design: Array
    target: Array
    band: Array
    free: Array
    triangle: Array
    beta: Array
    coefficients: Array
    log_evidence: float

    @classmethod
    def of(
        cls, kernel: Kernel, trend: Trend, data: Observations, sd: Array, slopes: bool = False
    ) -> BandFit:
        """Fit rows sorted by x, with standard deviations `sd`."""
        highest = int(data.nu.max(initial=0))
        sigma = known(getattr(kernel, "sigma", None), "sigma")
        grid = Grid.of(kernel.resolution, sigma, highest)
        first, rows, steep = grid.rows(data.x, data.nu, 1.0 / sd, slopes)
        segments = Segments.of(first, grid.width)
        x, nu = data.x[:, None], data.nu[:, None]
        design = trend.rows(x, nu) / sd[:, None]
        target = (data.y - trend.fixed(x, nu)) / sd
        p, count = design.shape[1], int(segments.edges[-1])
        band, right = np.zeros((count, grid.width)), np.zeros((count, p + 1))
        band[:, 0] = 1.0
        tail = np.zeros((p + 1, p + 1))
        sides = np.column_stack((design, target))
        _loops.factor(segments.column, rows, sides, band, right, tail, _BLOCK)
        total = 2.0 * float(np.log(sd).sum() + np.log(band[:, 0]).sum()) + float(tail[p, p]) ** 2
        total += (len(sd) - p) * LOG_2PI - log_gram(trend, x, nu)
        total += 2.0 * float(np.log(np.abs(np.diag(tail)[:p])).sum())
        _loops.back_solve(band, right)
        beta = np.linalg.solve(tail[:p, :p], tail[:p, p])
        free = np.ascontiguousarray(right[:, :p])
        v = right[:, p] - free @ beta
        triangle = tail[:p, :p].copy()
        return cls(
            grid, segments, rows, steep, design, target, band, free, triangle, beta, v, -0.5 * total
        )

    def applied(self, rows: Array, coefficients: Array) -> Array:
        """Return ``rows @ coefficients`` (K, q) for rows of the data: (n, q)."""
        out = np.empty((len(rows), coefficients.shape[1]))
        _loops.apply(self.segments.column, rows, coefficients, out)
        return out

    @cached_property
    def errors(self) -> Array:
        """``(y - D^nu f(x)) / sd`` for each row: (n,)."""
        fitted = self.applied(self.rows, self.coefficients[:, None])[:, 0]
        return np.asarray(self.target - fitted - self.design @ self.beta)

    @cached_property
    def shares(self) -> tuple[Array, Array]:
        """Return leverages, and the covariance of each row with its slope, over the noise: (n,)."""
        own, cross = np.empty((2, len(self.rows)))
        column, edges = self.segments.column, self.segments.edges
        _loops.spreads(self.band, edges, column, self.rows, self.slopes, own, cross)
        free = self.halved(self.design - self.applied(self.rows, self.free))
        own += (free**2).sum(axis=1)
        if len(self.slopes):
            cross += (free * self.halved(-self.applied(self.slopes, self.free))).sum(axis=1)
        return own, cross

    def halved(self, rows: Array) -> Array:
        """Return rows (m, p) times the inverse of the trend's triangle."""
        if not rows.shape[1]:
            return rows
        return np.asarray(np.linalg.solve(self.triangle.T, rows.T).T)
