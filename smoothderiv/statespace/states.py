"""States: filtered and smoothed states of rows, and from them the state anywhere in O(1).

A state is ``U c``, U a unit upper triangle and c coordinates that are independent given the rows
so far; triangles are packed by columns, as in ``_loops``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from smoothderiv.statespace import _factor_loops, _loops
from smoothderiv.statespace.chain import Chain
from smoothderiv.statespace.priors import MarkovPrior

if TYPE_CHECKING:
    from smoothderiv.statespace.markov import MarkovRows

Array = NDArray[np.float64]
Orders = NDArray[np.int64]

NO_GAINS = (np.empty((0, 0)), np.empty(0), np.empty(0))  # what a filter need not fill
NO_STATES = (np.empty((0, 0)), np.empty((0, 0)))


def room(n: int, dimension: int) -> tuple[Array, Array]:
    """Return arrays for the means and factors of n states."""
    return np.empty((n, dimension)), np.empty((n, dimension * (dimension + 1) // 2))


def rolled(dimension: int) -> NDArray[np.int64]:
    """Return what tells loops a dimension that they are not compiled for."""
    return np.zeros(dimension, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class States:
    """Filtered and smoothed states of sorted rows, and from them the state anywhere.

    A state is ``U c``, U the unit upper triangle of `factor` (packed, see ``_loops``) and c its
    coordinates, which given the rows so far are independent, of means `mean` and variances on the
    diagonal of `factor`. Given all rows their means are `smoothed` and their factor is `spread`.
    Unless the prior is a Wiener process, `beside` (n, d) is ``smoothed - mean`` with more digits
    than the difference.
    """

    rows: MarkovRows
    mean: Array
    factor: Array
    diffuse: Array
    smoothed: Array
    spread: Array
    beside: Array

    def means(self, rows: NDArray[np.intp]) -> Array:
        """Return the smoothed states of some rows: (m, d)."""
        return multiplied(self.factor[rows], self.smoothed[rows])

    def noises(self, k: NDArray[np.intp]) -> Array:
        """Return the smoothed noise of the steps after rows k, along the Wiener factor: (m, d)."""
        rows, after = self.rows, k + 1
        mean, factor, E = self.mean[k], self.factor[k], np.zeros((len(k), self.mean.shape[1]))
        early = k < len(self.diffuse)
        E[early] = self.diffuse[k[early]]
        smoothed, spread, out = self.smoothed[after], self.spread[after], np.empty_like(mean)
        weight = rows.steps.weight if rows.prior.is_uniform else rows.steps.weight[after]
        steps = rows.steps._replace(h=rows.steps.h[after], weight=weight)
        later = (rows.y[after], rows.variance[after], rows.nu[after])
        beyond, d = smoothed - self.mean[after], rolled(self.mean.shape[1])
        _loops.look_back(mean, factor, E, steps, later, beyond, smoothed, spread, out, 0, d)
        return out

    def _filtered(self, x: Array) -> tuple[NDArray[np.intp], Array, Array, Array]:
        """Return the row before each place, and the state given the rows up to there."""
        prior, rows = self.rows.prior, self.rows
        k = np.searchsorted(rows.x, x, side="right") - 1
        mean, factor = self.mean[k], self.factor[k]
        E = np.zeros_like(mean)
        known = (k >= 0) & (k < len(self.diffuse))
        E[known] = self.diffuse[k[known]]
        before = k < 0
        if before.any():
            mean[before], E[before] = 0.0, prior.start()[1]
            factor[before] = pack(prior.earlier(rows.x[0] - x[before]))
        h = np.where(before, 0.0, x - rows.x[k])
        _loops.predict(mean, factor, E, prior.steps(h, x), rolled(prior.dimension))
        return k, mean, factor, E

    def miss(self, x: Array) -> bool:
        """Tell whether there is no row at some of the places x."""
        nodes = self.rows.x
        return bool((nodes[np.searchsorted(nodes, x, side="right") - 1] != x).any())

    def at(self, x: Array) -> tuple[Array, Array]:
        """Return smoothed means (m, d) and packed factors of the state at places x, O(1) each.

        Between rows: the filtered state before, conditioned on the smoothed one after.
        """
        return self.at_or_off(x)[:2]

    def at_or_off(self, x: Array) -> tuple[Array, Array, bool]:
        """Do what `at` does, and tell whether there is no row at some place."""
        k = np.searchsorted(self.rows.x, x, side="right") - 1
        mean, factor, spread = (a.take(k, 0) for a in (self.smoothed, self.factor, self.spread))
        off = (k < 0) | (x != self.rows.x[k])
        some = bool(off.any())
        if some:
            mean[off], factor[off], spread[off] = self._between(x[off])
        _factor_loops.express(mean, factor, spread)
        return mean, spread, some

    def _between(self, x: Array) -> tuple[Array, Array, Array]:
        """Return coordinates given all rows, the basis, and the factor of the coordinates."""
        rows = self.rows
        k, mean, factor, E = self._filtered(x)
        last = k == len(rows.x) - 1
        after = np.where(last, k, k + 1)
        smoothed, spread = self.smoothed[after], self.spread[after]
        steps = rows.prior.steps(np.where(last, 0.0, rows.x[after] - x), rows.x[after])
        later = (rows.y[after], rows.variance[after], np.where(last, -1, rows.nu[after]))
        d, none = rolled(rows.prior.dimension), np.empty((0, 0))
        beyond = smoothed - self.mean[after] if steps.transition is None else self.beside[after]
        _loops.look_back(mean, factor, E, steps, later, beyond, smoothed, spread, none, 0, d)
        smoothed[last], spread[last] = mean[last], known(factor[last])
        return smoothed, factor, spread

    def chain(self, x: Array) -> Chain:
        """Return the places x, ascending and distinct, as a Markov chain given all data.

        O(rows between the first and the last place).
        """
        rows, n, m = self.rows, len(self.rows.x), len(x)
        k, mean, factor, E = self._filtered(x)
        end = min(k[-1] + 2, n)
        used = np.arange(k[0] + 1, end)
        places = np.concatenate((rows.x[used], x))
        order = np.argsort(places, kind="stable")
        row_E = np.zeros((len(used), mean.shape[1]))
        early = used < len(self.diffuse)
        row_E[early] = self.diffuse[used[early]]
        means = np.concatenate((self.mean[used], mean))[order]
        factors = np.concatenate((self.factor[used], factor))[order]
        y = np.concatenate((rows.y[used], np.zeros(m)))[order]
        nu = np.concatenate((rows.nu[used], np.full(m, -1)))[order]
        variance = np.concatenate((rows.variance[used], np.zeros(m)))[order]
        last = self.spread[end - 1] if k[-1] < n - 1 else known(factor[-1])
        steps = rows.prior.steps(np.diff(places[order], prepend=places[order[0]]), places[order])
        infinite = np.concatenate((row_E, E))[order]
        found = _loops.chain(
            means, factors, infinite, steps, (y, variance, nu), last, order >= len(used),
            rolled(rows.prior.dimension),
        )  # fmt: skip
        root, weight = unpacked(found[1])
        _factor_loops.express(np.zeros_like(weight), pack(found[0]), found[1])
        return Chain(found[0], root, weight, unpacked(found[1])[0], found[2], *unpacked(found[3]))


def known(factor: Array) -> Array:
    """Return the factor of coordinates of which nothing more is known than the filter says."""
    d = _dimension(np.atleast_2d(factor))
    out, diagonal = np.zeros_like(factor), np.arange(d) * (np.arange(d) + 3) // 2
    out[..., diagonal] = factor[..., diagonal]
    return out


def pack(square: Array) -> Array:
    """Pack the upper triangle of (.., d, d) by columns."""
    rows, columns = _upper(square.shape[-1])
    return np.asarray(square[..., rows, columns])


def diagonal(factor: Array, component: Orders) -> Array:
    """Return the variance of one component each from packed factors ``U diag(D) U'``: (m,)."""
    d = _dimension(factor)
    out = np.zeros(len(factor))
    alike = component[:1]
    if len(alike) and (component == alike).all():
        c = int(alike[0])
        out += factor[:, c * (c + 3) // 2]
        for j in range(c + 1, d):
            out += factor[:, j * (j + 1) // 2 + c] ** 2 * factor[:, j * (j + 3) // 2]
        return out
    for j in range(d):
        D = factor[:, j * (j + 3) // 2]
        rows = component < j
        U = factor[np.flatnonzero(rows), j * (j + 1) // 2 + component[rows]]
        out[rows] += U * U * D[rows]
        out[component == j] += D[component == j]
    return out


def covariances(factor: Array) -> Array:
    """Return ``U diag(D) U'`` from packed factors: (m, d, d)."""
    U, D = unpacked(factor)
    return np.asarray((U * D[:, None, :]) @ np.swapaxes(U, 1, 2))


def slices(n: int, size: int) -> list[slice]:
    """Return parts of n things of a size, so that what is done to each stays in the cache."""
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


class Askable(Protocol):
    """What says states at places."""

    def at(self, x: Array) -> tuple[Array, Array]:
        """Return what :meth:`States.at` does."""


def joint(states: Askable, prior: MarkovPrior, x: Array, orders: Orders) -> Array:
    """Return the covariance of several derivatives at each place: (n, P, P).

    Orders that do not exist get 0.
    """
    below = orders < len(prior.answers)
    here = prior.answers[np.where(below, orders, 0)]
    unit = np.where(below, prior.units[here], 0.0)
    _, factor = states.at(x)
    return np.asarray(covariances(factor)[:, here[:, None], here] * unit[:, None] * unit)


def multiplied(factor: Array, mean: Array) -> Array:
    """Return the means ``U mean`` of states from their coordinates: (m, d)."""
    U, _ = unpacked(factor)
    return np.asarray((U @ mean[:, :, None])[:, :, 0])


def unpacked(factor: Array) -> tuple[Array, Array]:
    """Return U (m, d, d) and D (m, d) from packed factors."""
    d = _dimension(factor)
    U = np.zeros((len(factor), d, d))
    rows, columns = _upper(d)
    U[:, rows, columns] = factor
    D = U[:, np.arange(d), np.arange(d)].copy()
    U[:, np.arange(d), np.arange(d)] = 1.0
    return U, D


def _dimension(factor: Array) -> int:
    return (math.isqrt(8 * factor.shape[1] + 1) - 1) // 2


@functools.cache
def _upper(d: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the upper triangle, by columns."""
    columns, rows = np.tril_indices(d)
    return rows, columns
