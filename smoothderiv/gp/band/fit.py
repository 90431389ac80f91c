"""Rows on the grid, brought into a band by reflections: what posterior and tuning share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.band import _loops, _window_loops
from smoothderiv.gp.band.pins import Pinned
from smoothderiv.gp.band.reduction import Reduced
from smoothderiv.model import UnsuitableError

Array: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]

_MOST = 2**29  # numbers in a band: 4 GiB
_BLOCK = 32  # rows of one panel that are reflected together


class BandSizeError(UnsuitableError):
    """A length is so short against the distances of the data that a band does not fit in memory."""


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

    @classmethod
    def together(cls, first: Places, others: Places, width: int) -> tuple[Segments, Places]:
        """Number the functions of two sets of rows; return those of the first, and the others'."""
        every = np.concatenate((first, others))
        order = np.argsort(every, kind="stable")
        both = cls.of(every[order], width)
        column = np.empty(len(every), dtype=np.int64)
        column[order] = both.column
        return cls(both.edges, both.places, column[: len(first)]), column[len(first) :]


@dataclass(frozen=True, eq=False)
class BandFit:
    """Posterior of the coefficients of the grid and of the trend, as triangles.

    Rows are divided by their noise, ``(y - m) / sd = rows v + trend beta + e``, v and e of variance
    1. One QR decomposition of these rows below the unit matrix gives R (K, b), the right sides
    ``Z = [R_H, z]``, the triangle of beta and the sum of squares; nothing is squared, so that
    digits are lost by ``sqrt(n) sigma / noise`` alone.

    Attributes
    ----------
    reduced : Reduced
        The rows, as few as do.
    segments : Segments
    band : (K, b) array
        R.
    free : (K, p) array
        ``R^-1 R_H``: how v answers to beta.
    triangle : (p, p) array
    beta : (p,) array
    coefficients : (K,) array
        The posterior mean of v.
    log_evidence : float
    pinned : Pinned or None
        What exact rows change.
    """

    reduced: Reduced
    segments: Segments
    band: Array
    free: Array
    triangle: Array
    beta: Array
    coefficients: Array
    log_evidence: float
    pinned: Pinned | None = None

    @classmethod
    def of(cls, reduced: Reduced, squared: bool = False) -> BandFit:
        """Fit rows; by sums of squares, if the digits that they lose can be spared."""
        segments, column, band, right, tail = _triangles(reduced, squared)
        total, p = _twice_the_loss(reduced, band, tail), len(tail) - 1
        _loops.back_solve(band, right)
        triangle = tail[:p, :p].copy()
        beta = np.asarray(np.linalg.solve(triangle, tail[:p, p]), dtype=np.float64)
        free = np.ascontiguousarray(right[:, :p])
        v = np.asarray(right[:, p] - free @ beta, dtype=np.float64)
        found = cls(reduced, segments, band, free, triangle, beta, v, -0.5 * total)
        return (
            found if reduced.pins is None else found._held(Pinned.of(found, reduced.pins, column))
        )

    def _held(self, pinned: Pinned) -> BandFit:
        """Return the fit conditioned on exact rows."""
        return dataclasses.replace(
            self,
            coefficients=self.coefficients + pinned.bound @ pinned.white,
            beta=self.beta + pinned.bound_mean @ pinned.white,
            log_evidence=self.log_evidence - 0.5 * pinned.twice_the_loss,
            pinned=pinned,
        )

    def applied(self, rows: Array, coefficients: Array) -> Array:
        """Return ``rows @ coefficients`` (K, q) for rows of the data: (n, q)."""
        out = np.empty((len(rows), coefficients.shape[1]))
        _loops.apply(self.segments.column, rows, coefficients, out)
        return out

    @cached_property
    def errors(self) -> Array:
        """``(y - D^nu f(x)) / sd`` for each reduced row: (n,)."""
        fitted = self.applied(self.reduced.rows, self.coefficients[:, None])[:, 0]
        sides = self.reduced.sides
        return np.asarray(sides[:, -1] - fitted - sides[:, :-1] @ self.beta)

    @cached_property
    def shares(self) -> tuple[Array, Array]:
        """Leverages, and the covariance of each row with its slope, over the noise: (n,).

        Without slopes the latter are not meaningful.
        """
        rows, slopes = self.reduced.rows, self.reduced.slopes
        own, cross = np.empty((2, len(rows)))
        column, edges = self.segments.column, self.segments.edges
        _window_loops.spreads(self.band, edges, column, rows, slopes, own, cross)
        if len(self.beta):
            free = self.halved(self.reduced.sides[:, :-1] - self.applied(rows, self.free))
            own += (free**2).sum(axis=1)
            if len(slopes):
                cross += (free * self.halved(-self.applied(slopes, self.free))).sum(axis=1)
        if self.pinned is not None:
            bound = self.pinned.bound
            taken = self.applied(rows, bound)
            taken += self.reduced.sides[:, :-1] @ self.pinned.bound_mean
            own -= (taken**2).sum(axis=1)
            if len(slopes):
                cross -= (taken * self.applied(slopes, bound)).sum(axis=1)
        return own, cross

    def halved(self, rows: Array) -> Array:
        """Return rows (m, p) times the inverse of the trend's triangle."""
        if not rows.shape[1]:
            return rows
        return np.asarray(np.linalg.solve(self.triangle.T, rows.T).T)


def loss_of(reduced: Reduced, squared: bool) -> float:
    """Return minus the log evidence of rows, and nothing else."""
    if reduced.pins is not None:
        return -BandFit.of(reduced).log_evidence
    reduced = _joined(reduced)
    _, _, band, _, tail = _triangles(reduced, squared)
    return 0.5 * _twice_the_loss(reduced, band, tail)


def _joined(reduced: Reduced) -> Reduced:
    """Return rows of the same evidence in which those that share no function touch none.

    One reflection would bring such a row into the band: r leaves ``sqrt(1 + r r')`` on the diagonal
    and divides the right sides by that. Short lengths need no columns for it.
    """
    apart = np.diff(reduced.first) >= reduced.rows.shape[1]
    lone = np.append(True, apart) & np.append(apart, True)
    if not lone.any():
        return reduced
    rows, sides = reduced.rows.copy(), reduced.sides.copy()
    square = 1.0 + (rows[lone] ** 2).sum(axis=1)
    rows[lone] = 0.0
    sides[lone] /= np.sqrt(square)[:, None]
    order = np.argsort(~lone, kind="stable")
    first = reduced.first[order]
    first[: lone.sum()] = first[lone.sum() :].min(initial=first[-1])
    return dataclasses.replace(
        reduced,
        first=first,
        rows=rows[order],
        sides=sides[order],
        constant=reduced.constant + float(np.log(square).sum()),
    )


def _triangles(reduced: Reduced, squared: bool) -> tuple[Segments, Places, Array, Array, Array]:
    """Return the columns, and those of exact rows, R, and the right sides of QR.

    The latter are those above the trend's triangle, and that triangle.
    """
    width, q = reduced.rows.shape[1], reduced.sides.shape[1]
    exact = reduced.first[:0] if reduced.pins is None else reduced.pins.first
    segments, column = Segments.together(reduced.first, exact, width)
    count = int(segments.edges[-1])
    check_columns(reduced.grid.scale, count, width)
    band, right, tail = np.zeros((count, width)), np.zeros((count, q)), np.zeros((q, q))
    band[:, 0] = 1.0
    if squared:
        tail = _by_squares(reduced, segments.column, band, right)
    else:
        _loops.factor(segments.column, reduced.rows, reduced.sides, band, right, tail, _BLOCK)
    return segments, column, band, right, tail


def _by_squares(reduced: Reduced, column: Places, band: Array, right: Array) -> Array:
    """Fill R and the right sides as QR does, and return the triangle below, from sums of squares.

    Of what is added to the unit matrix, digits are lost as to its condition.
    """
    rows, sides = reduced.rows, reduced.sides
    _loops.gram(column, rows, np.ones(len(rows)), band)
    _loops.gather(column, rows, sides, right)
    if not _loops.cholesky(band):
        raise np.linalg.LinAlgError("the matrix of the rows is positive but for rounding")
    _loops.forward_solve(band, right)
    return np.asarray(np.linalg.cholesky(sides.T @ sides - right.T @ right).T)


def _twice_the_loss(reduced: Reduced, band: Array, tail: Array) -> float:
    diagonal = np.abs(np.diag(tail)[:-1])
    logs = 2.0 * float(np.log(band[:, 0]).sum() + np.log(diagonal).sum())
    return reduced.constant + logs + float(tail[-1, -1]) ** 2


def check_columns(scale: float, count: int, width: int) -> None:
    """Refuse a band that is too large."""
    if count * width > _MOST:
        raise BandSizeError(
            f"scale: {scale:g} is so short against the distances of the data that "
            f"'band' needs {count} functions; use a longer one, or a Matern kernel, solver='markov'"
        )
