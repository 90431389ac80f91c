"""What the posteriors of a Gaussian process have in common, whatever solver found them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.answers.freedom import student_dof
from smoothderiv.posterior import Posterior

if TYPE_CHECKING:
    from smoothderiv.gp.process import GaussianProcess

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]


class HasTrend(Protocol):
    """A fit with an estimated mean."""

    @property
    def beta(self) -> Array:
        """Its coefficients: (p,)."""


class ProcessPosterior(Posterior):
    """The posterior of a :class:`GaussianProcess`: declares the fit, says what follows from it."""

    model: GaussianProcess
    _fit: HasTrend

    @property
    def beta(self) -> Array:
        """The estimated coefficients of the mean in the monomials of ``(x - centre) / span``.

        Those of a polynomial that the process itself leaves free are not among them where the
        solver holds it in its state: (p,).
        """
        return self._fit.beta

    @property
    def highest_order(self) -> float:
        return self.model.kernel.smoothness

    @property
    def _has_noise(self) -> bool:
        """Whether the kernel holds correlated noise, which rows of values carry beside f."""
        return self.model.has_noise

    @cached_property
    def edf(self) -> float:  # type: ignore[override]
        """Effective degrees of freedom, the sum of the leverages; when first asked."""
        return float(self._leverage().sum())

    @cached_property
    def dof(self) -> float:  # type: ignore[override]
        """Degrees of freedom of the noise that was estimated, else infinite."""
        return student_dof(self.data, self._leverage()) if self.data.estimated_orders else np.inf

    def _dof(self, nu: Orders) -> float:
        """Rows that carry correlated noise are not the curve alone: theirs are those of all."""
        return self.dof if self._has_noise else Posterior._dof(self, nu)
