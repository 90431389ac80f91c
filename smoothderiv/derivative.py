"""Derivative: the posterior of a derivative, from that of the curve."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from smoothderiv.answers.contrast import variance_of_sum
from smoothderiv.model import Model
from smoothderiv.moments import Moments
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior

if TYPE_CHECKING:
    from smoothderiv.answers.leave_one_out import LeaveOneOut

Array = NDArray[np.float64]
Orders = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Derivative(Posterior):
    """The posterior of the derivative of order `shift` of another posterior."""

    data: Observations
    model: Model
    noise: Mapping[Any, float]
    base: Posterior
    shift: int

    @classmethod
    def of(cls, base: Posterior, shift: int) -> Derivative:
        """Return the posterior of ``D^shift f`` from that of f."""
        return cls(base.data, base.model, base.noise, base, shift)

    # Asked of the base when they are asked for: some engines work them out only then.

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.base.notes

    @functools.cached_property
    def log_evidence(self) -> float:  # type: ignore[override]
        return self.base.log_evidence

    @functools.cached_property
    def edf(self) -> float:  # type: ignore[override]
        return self.base.edf

    @functools.cached_property
    def dof(self) -> float:  # type: ignore[override]
        return self.base.dof

    def _dof(self, nu: Orders) -> float:
        return self.base._dof(nu + self.shift)

    @property
    def highest_order(self) -> float:
        return self.base.highest_order - self.shift

    def derivative(self, nu: int = 1) -> Posterior:
        return self.base.derivative(self.shift + self._order(nu, "derivative"))

    def residuals(self) -> Array:
        return self.base.residuals()

    def loo(self) -> LeaveOneOut:
        return self.base.loo()

    def log_predictive(self) -> Array:
        return self.base.log_predictive()

    def _mean(self, x: Array, nu: Orders) -> Array:
        return self.base._mean(x, nu + self.shift)

    def _var(self, x: Array, nu: Orders) -> Array:
        return self.base._var(x, nu + self.shift)

    def _mean_and_var(self, x: Array, nu: Orders) -> tuple[Array, Array]:
        return self.base._mean_and_var(x, nu + self.shift)

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        return self.base._cov(x, nu + self.shift, x2, nu2 + self.shift)

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        return self.base._sample(x, nu + self.shift, size, rng)

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        ends, nu = np.array([a, b]), np.full(2, self.shift - 1)
        low, high = self.base._mean(ends, nu)
        return float(high - low), variance_of_sum(self.base, ends, nu, np.array([-1.0, 1.0]))

    def _leverage(self) -> Array:
        return self.base._leverage()

    def _joint(self, x: Array, orders: Orders) -> Array:
        return self.base._joint(x, orders + self.shift)

    def _diffusion(self, nu: int, x: Array) -> Array:
        return self.base._diffusion(nu + self.shift, x)

    def _jumps(self, nu: int) -> Array:
        return self.base._jumps(nu + self.shift)

    def _parts(self) -> Sequence[tuple[float, Moments]]:
        parts = self.base._parts()
        if len(parts) == 1:
            return ((1.0, self),)
        return [(w, Derivative.of(cast(Posterior, part), self.shift)) for w, part in parts]
