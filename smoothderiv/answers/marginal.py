"""What is known of a curve at each place by itself: its limits, and on which side of a value it is.

With p_k the weights of the members of a mixture (one, of a Gaussian), ``D^nu f(x)`` has the
distribution ``sum_k p_k T((. - mean_k) / std_k; dof_k)``, T Student's, the normal one where all
noise is known. Limits are its quantiles: a Gaussian of the same mean and variance has too light
tails, and has no room for skewness, where members differ in how surely they know the curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy  # its parts load when they are used
from numpy.typing import ArrayLike, NDArray

from smoothderiv._threads import each
from smoothderiv._validate import within_floats

if TYPE_CHECKING:
    from smoothderiv.moments import Moments

Array = NDArray[np.float64]

_BLOCK = 20_000  # places whose quantiles are sought at a time
_STEPS = 200  # at most; bisection alone ends before
_SETTLED = 1e-6  # of a tail: a step of Newton's from there leaves about the square of it
_SERIES = 30.0  # degrees of freedom from which on Hill's series is good to 1e-12


@dataclass(frozen=True, eq=False)
class Marginal:
    """The distribution of ``D^nu f`` at each of some places, as a mixture of Student's.

    Attributes
    ----------
    weights : (K,) array, of sum 1
    means, stds : (K, ..) arrays
        Of each member, at places of any shape.
    dof : (K, 1..) or (K, ..) array
        Degrees of freedom of each member, one or one for each place; infinite where its noise is
        known.
    """

    weights: Array
    means: Array
    stds: Array
    dof: Array

    @property
    def mean(self) -> Array:
        """The mean of the mixture at each place."""
        return self._mixed(self.means)

    @property
    def std(self) -> Array:
        """The standard deviation at each place, the spread between the members in it."""
        if len(self.weights) == 1:
            return np.asarray(self.stds[0])
        return np.sqrt(self._mixed(self.stds**2) + self._mixed((self.means - self.mean) ** 2))

    def interval(self, level: float) -> tuple[Array, Array]:
        """Return the quantiles of probability ``(1 - level) / 2`` and ``(1 + level) / 2``."""
        p = 0.5 + 0.5 * level
        if len(self.weights) == 1:
            half = student_quantiles(p, self.dof[0]) * self.stds[0]
            return self.means[0] - half, self.means[0] + half
        mirrored = Marginal(self.weights, -self.means, self.stds, self.dof)
        return -mirrored._upper(p), self._upper(p)

    def above(self, value: float | Array) -> Array:
        """Return the probability that ``D^nu f`` is above a value, at each place."""
        return self._above(value)[0]

    def _mixed(self, parts: Array) -> Array:
        return np.asarray(np.tensordot(self.weights, parts, axes=1))

    def _above(self, value: float | Array) -> tuple[Array, Array]:
        """Return the probability to be above a value, and the density there."""
        away = self.means - value
        z = np.where(away > 0, np.inf, -np.inf)
        np.divide(away, self.stds, out=z, where=self.stds > 0)
        tails, densities = np.empty_like(z), np.empty_like(z)
        for k, dof in enumerate(self.dof):
            for one in np.unique(dof).tolist():
                here = ... if dof.size == 1 else dof == one
                tails[k][here], densities[k][here] = _student(z[k][here], one)
        np.divide(densities, self.stds, out=densities, where=self.stds > 0)
        return self._mixed(tails), self._mixed(densities)

    def _upper(self, p: float) -> Array:
        """Return the quantile of probability ``p >= 1/2`` at each place."""
        parts = (self.means, self.stds, self.dof)
        flat = Marginal(self.weights, *(part.reshape(len(self.weights), -1) for part in parts))
        out = np.empty(flat.means.shape[1])
        for first in range(0, len(out), _BLOCK):
            here = slice(first, first + _BLOCK)
            out[here] = flat._at(here)._sought(p)
        return out.reshape(self.means.shape[1:])

    def _at(self, places: slice | NDArray[np.intp]) -> Marginal:
        """Return the same at some of flat places."""
        dof = self.dof if self.dof.shape[1] == 1 else self.dof[:, places]
        return Marginal(self.weights, self.means[:, places], self.stds[:, places], dof)

    def _sought(self, p: float) -> Array:
        """Return the quantiles by Newton's method on the logarithm of the upper tail.

        They lie between the least and the largest of the members' own. A step that leaves what is
        known of one, or is not half of the step before, halves that instead.
        """
        own = student_quantiles(p, self.dof)
        ends = self.means + own * self.stds
        low, high = ends.min(axis=0), ends.max(axis=0)
        found = np.clip(self.mean + (self.weights @ own) * self.std, low, high)
        left, last = np.flatnonzero(low < high), high - low
        for _ in range(_STEPS):
            if not len(left):
                break
            tail, density = self._at(left)._above(found[left])
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                excess = np.log(tail / (1.0 - p))
                step = excess * tail / density
            low[left] = np.where(excess > 0, found[left], low[left])
            high[left] = np.where(excess > 0, high[left], found[left])
            fresh = found[left] + step
            inside = (fresh > low[left]) & (fresh < high[left])
            steady = inside & (np.abs(step) <= 0.5 * last[left])
            settled = inside & (np.abs(excess) <= _SETTLED)
            fresh = np.where(steady | settled, fresh, 0.5 * (low[left] + high[left]))
            settled |= (fresh == low[left]) | (fresh == high[left])
            last[left], found[left] = np.abs(fresh - found[left]), fresh
            left = left[~settled]
        return np.asarray(found)


def marginal(post: Moments, x: ArrayLike, nu: ArrayLike = 0, std: Array | None = None) -> Marginal:
    """Return the distribution of ``D^nu f`` at places x; `std` if it is known, of a Gaussian."""
    places, orders, shape = post._question(x, nu)
    if std is not None:
        means, stds = post._mean(places, orders)[None], std.reshape(1, -1)
        return _shaped(np.ones(1), means, stds, _dofs((post,), orders), shape)
    weights, members = zip(*post._parts(), strict=True)
    found = each(lambda one: one._mean_and_var(places, orders), members, len(post.data))
    for pair in found:
        within_floats(np.transpose(pair), places)
    dof = _dofs(members, orders)
    if len(found) == 1:
        mean, var = found[0]
        return _shaped(np.ones(1), mean[None], np.sqrt(var, out=var)[None], dof, shape)
    means, variances = (np.array(part) for part in zip(*found, strict=True))
    return _shaped(np.array(weights), means, np.sqrt(variances, out=variances), dof, shape)


def _shaped(
    weights: Array, means: Array, stds: Array, dof: Array, shape: tuple[int, ...]
) -> Marginal:
    whole = (len(weights), *shape)
    own = whole if dof.shape[1] > 1 else (len(weights), *[1] * len(shape))
    return Marginal(weights, means.reshape(whole), stds.reshape(whole), dof.reshape(own))


def _dofs(members: Sequence[Moments], orders: NDArray[np.int64]) -> Array:
    """Return the degrees of freedom of each member: (K, 1), or (K, n) for several orders."""
    several, which = np.unique(orders, axis=0, return_inverse=True)
    if not len(several):
        return np.full((len(members), 1), math.inf)
    dof = np.array([[one._dof(order) for order in several] for one in members])
    return dof if len(several) == 1 else dof[:, which.ravel()]


def student_quantile(p: float, dof: float) -> float:
    """Return the quantile of Student's distribution, the normal one for infinite `dof`."""
    return float(student_quantiles(p, np.array(dof)))


def student_quantiles(p: float, dof: Array) -> Array:
    """Return the same for degrees of freedom of any shape."""
    known = np.isinf(dof)
    student = scipy.special.stdtrit(np.where(known, 1.0, dof), p)
    return np.asarray(np.where(known, scipy.special.ndtri(p), student))


def _student(z: Array, dof: float) -> tuple[Array, Array]:
    """Return Student's distribution function and density.

    From 30 degrees of freedom on by Hill's normal deviate of the same probability, which is off by
    1e-12 at most and several times quicker than the incomplete beta function.

    References
    ----------
    Hill, "Student's t-distribution", Communications of the ACM 13, 1970, algorithm 395.
    """
    if math.isinf(dof):
        return scipy.special.ndtr(z), np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    lag = np.log1p(z * z / dof)
    size = scipy.special.poch(0.5 * dof, 0.5) / math.sqrt(math.pi * dof)
    density = size * np.exp(-0.5 * (dof + 1.0) * lag)
    if dof < _SERIES:
        return scipy.special.stdtr(dof, z), density
    a = dof - 0.5
    b, y = 48.0 * a * a, a * lag
    with np.errstate(invalid="ignore"):
        series = (((-0.4 * y - 3.3) * y - 24.0) * y - 85.5) / (0.8 * y * y + 100.0 + b) + y + 3.0
        deviate = (series / b + 1.0) * np.sqrt(y)
    deviate = np.where(np.isinf(y), np.inf, deviate)
    return scipy.special.ndtr(np.copysign(deviate, z)), density
