"""The posterior of a ModelAverage: a mixture of its members' posteriors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from smoothderiv._threads import each
from smoothderiv.answers.leave_one_out import LeaveOneOut
from smoothderiv.model import Noise
from smoothderiv.observations import Observations
from smoothderiv.posterior import Array, Orders, Posterior

if TYPE_CHECKING:
    from smoothderiv.average import ModelAverage

T = TypeVar("T")


def _log_mixed(logs: Sequence[Array], weights: Array) -> Array:
    """Return ``log sum_k weight_k exp(log_k)``, row by row: (n,)."""
    top = functools.reduce(np.maximum, logs)
    size = np.where(np.isfinite(top), top, 0.0)
    total = np.zeros(len(top))
    for weight, one in zip(weights, logs, strict=True):
        total += weight * np.exp(one - size)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(total) + size)


@dataclass(frozen=True, eq=False, repr=False)
class AveragedPosterior(Posterior):
    """A mixture of posteriors of the same data: ``sum_k weight_k N(mean_k, cov_k)``.

    The covariance of two answers a, b is

        sum_k weight_k (cov_k(a, b) + (mean_k(a) - mean(a)) (mean_k(b) - mean(b))).

    Pointwise intervals are quantiles of the mixture; simultaneous bands count how often each member
    leaves them. `noise`, `edf`, `log_evidence` and leverages are weighted means of the members' (of
    squares, for `noise`).

    Attributes
    ----------
    members : tuple of Posterior
    weights : (K,) array, positive, of sum 1
    notes : tuple of str
        What :func:`smoothderiv.smooth` found doubtful of the noise;
        :meth:`.Posterior.diagnose` repeats it.
    """

    data: Observations
    model: ModelAverage
    members: tuple[Posterior, ...]
    weights: Array
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def noise(self) -> Noise:  # type: ignore[override]
        """The root mean square of the members' noise levels."""
        squares = {o: [m.noise[o] ** 2 for m in self.members] for o in self.members[0].noise}
        return {order: math.sqrt(float(self.weights @ s)) for order, s in squares.items()}

    @functools.cached_property
    def log_evidence(self) -> float:  # type: ignore[override]
        """The weighted mean of the members' log evidence, in nats."""
        return float(self.weights @ [m.log_evidence for m in self.members])

    @functools.cached_property
    def edf(self) -> float:  # type: ignore[override]
        """The weighted mean of the members' effective degrees of freedom."""
        return float(self.weights @ self._each(lambda m: m.edf))

    @functools.cached_property
    def dof(self) -> float:  # type: ignore[override]
        """The weighted harmonic mean of the members' degrees of freedom."""
        return self._harmonic([m.dof for m in self.members])

    def _dof(self, nu: Orders) -> float:
        return self._harmonic(self._each(lambda m: m._dof(nu)))

    def _harmonic(self, values: Sequence[float]) -> float:
        rate = float(self.weights @ [1.0 / one for one in values])
        return 1.0 / rate if rate > 0 else math.inf

    @property
    def highest_order(self) -> float:
        """The highest order that every member has."""
        return min(m.highest_order for m in self.members)

    def loo(self) -> LeaveOneOut:
        """Return what the mixture predicts for each row without it, at the present weights."""
        return self._left

    def log_predictive(self) -> Array:
        """Return what the mixture predicts for the rows of each place and order without them."""
        return _log_mixed(self._each(lambda m: m.log_predictive()), self.weights)

    @functools.cached_property
    def _left(self) -> LeaveOneOut:
        left = self._each(lambda m: m.loo())
        residual = self._weighted([one.residual for one in left])  # exactly 0 of exact rows
        spread = [one.std**2 + (one.residual - residual) ** 2 for one in left]
        density = _log_mixed([one.log_density for one in left], self.weights)
        mean = self.data.y - residual
        return LeaveOneOut(mean, np.sqrt(self._weighted(spread)), residual, density)

    def _each(self, ask: Callable[[Posterior], T]) -> list[T]:
        return each(ask, self.members, len(self.data))

    def _weighted(self, parts: Sequence[Array] | Array) -> Array:
        total: Array = np.tensordot(self.weights, np.asarray(parts), axes=1)
        return total

    def _means(self, x: Array, nu: Orders) -> tuple[Array, Array]:
        """Return the mean, and how far each member's is from it: (n,) and (K, n)."""
        parts = np.array(self._each(lambda m: m._mean(x, nu)))
        mean = self._weighted(parts)
        return mean, parts - mean

    def _mean(self, x: Array, nu: Orders) -> Array:
        return self._means(x, nu)[0]

    def _var(self, x: Array, nu: Orders) -> Array:
        return self._mean_and_var(x, nu)[1]

    def _mean_and_var(self, x: Array, nu: Orders) -> tuple[Array, Array]:
        found = self._each(lambda m: m._mean_and_var(x, nu))
        means, variances = (np.array(part) for part in zip(*found, strict=True))
        mean = self._weighted(means)
        return mean, self._weighted(variances) + self._weighted((means - mean) ** 2)

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        inside = self._weighted(self._each(lambda m: m._cov(x, nu, x2, nu2)))
        apart, apart2 = self._means(x, nu)[1], self._means(x2, nu2)[1]
        between: Array = (self.weights[:, None] * apart).T @ apart2
        return inside + between

    def _joint(self, x: Array, orders: Orders) -> Array:
        inside = self._weighted(self._each(lambda m: m._joint(x, orders)))
        apart = np.zeros((len(orders), len(self.members), len(x)))
        for part, order in zip(apart, orders, strict=True):
            if np.sum(order) <= self.highest_order:  # beyond, some members have no mean
                part[:] = self._means(x, np.broadcast_to(order, x.shape))[1]
        between: Array = np.einsum("k,pkn,qkn->npq", self.weights, apart, apart)
        return inside + between

    def _parts(self) -> Sequence[tuple[float, Posterior]]:
        return tuple(zip(self.weights.tolist(), self.members, strict=True))

    def _diffusion(self, nu: int, x: Array) -> Array:
        able = [(w, m) for w, m in self._parts() if nu <= m.highest_order]
        return np.asarray(np.sum([w * m._diffusion(nu, x) for w, m in able], axis=0))

    def _jumps(self, nu: int) -> Array:
        return np.unique(np.concatenate([m._jumps(nu) for m in self.members]))

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        counts = rng.multinomial(size, self.weights)
        drawn = zip(self.members, counts, strict=True)
        paths = [m._sample(x, nu, c, rng) for m, c in drawn if c]
        return rng.permutation(np.concatenate([np.empty((0, len(x))), *paths]))

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        means, variances = np.array([m._integral(a, b) for m in self.members]).T
        mean = float(self.weights @ means)
        return mean, float(self.weights @ (variances + (means - mean) ** 2))

    def _leverage(self) -> Array:
        return self._weighted(self._each(lambda m: m._leverage()))
