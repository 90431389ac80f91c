"""Moments: what an engine declares of a curve, and the questions that are moments themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv._validate import one_order, said, whole_orders, within_floats
from smoothderiv.model import Model
from smoothderiv.observations import Observations

Array = NDArray[np.float64]
Orders = NDArray[np.int64]


class Moments(ABC):
    """The first two moments of the curve given the data, for f and all its derivatives.

    An engine's posterior declares the hooks below; all else that a posterior answers follows from
    them, here and in :class:`.Posterior`.
    """

    data: Observations
    model: Model
    noise: Mapping[Any, float]
    log_evidence: float
    edf: float
    dof: float
    notes: tuple[str, ...] = ()

    # What an engine declares: moments at validated, flat places; 1-D x is (n,) and nu is (n,),
    # for d > 1 both are (n, d).

    @property
    @abstractmethod
    def highest_order(self) -> float:
        """The highest order of derivative that exists; infinite when all do."""

    @abstractmethod
    def _mean(self, x: Array, nu: Orders) -> Array: ...

    @abstractmethod
    def _var(self, x: Array, nu: Orders) -> Array: ...

    def _mean_and_var(self, x: Array, nu: Orders) -> tuple[Array, Array]:
        """Return both, as arrays that are the caller's; for engines that find them together."""
        return self._mean(x, nu), self._var(x, nu)

    @abstractmethod
    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array: ...

    @abstractmethod
    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array: ...

    @abstractmethod
    def _integral(self, a: float, b: float) -> tuple[float, float]:
        """Return mean and variance of the integral of f from a to b."""

    @abstractmethod
    def _leverage(self) -> Array:
        """Return Var(f_i | y) / sd_i^2 for each row, the diagonal of the map from y to fit."""

    def _dof(self, nu: Orders) -> float:
        """Return the degrees of freedom that limits of one order, (d,) or (), rest on."""
        del nu
        return self.dof

    def _joint(self, x: Array, orders: Orders) -> Array:
        """Return the covariance of several orders at each place: (n, P, P)."""
        count = len(orders)
        blocks = (np.repeat(place[None], count, axis=0) for place in x)
        return np.array([self._cov(block, orders, block, orders) for block in blocks])

    def _parts(self) -> Sequence[tuple[float, Moments]]:
        """Return the weights and members of a mixture; of a Gaussian that it is its own."""
        return ((1.0, self),)

    def _diffusion(self, nu: int, x: Array) -> Array:
        """Return the quadratic variation of ``D^nu f`` per unit of x; 0 where paths are smooth."""
        del nu
        return np.zeros(len(x))

    def _jumps(self, nu: int) -> Array:
        """Return the places where ``D^nu f`` may jump, ascending."""
        del nu
        return np.empty(0)

    # What follows at once.

    def __call__(self, x: ArrayLike, nu: ArrayLike = 0) -> Array:
        """Return the posterior mean of ``D^nu f`` at `x`; the same as :meth:`mean`."""
        return self.mean(x, nu)

    def mean(self, x: ArrayLike, nu: ArrayLike = 0) -> Array:
        """Return the posterior mean of ``D^nu f`` at `x`. Shape of x broadcast with nu."""
        x_, nu_, shape = self._question(x, nu)
        return within_floats(self._mean(x_, nu_), x_).reshape(shape)

    def var(self, x: ArrayLike, nu: ArrayLike = 0) -> Array:
        """Return the pointwise posterior variance of ``D^nu f`` at `x`."""
        x_, nu_, shape = self._question(x, nu)
        return within_floats(self._var(x_, nu_), x_).reshape(shape)

    def std(self, x: ArrayLike, nu: ArrayLike = 0) -> Array:
        """Return the pointwise posterior standard deviation of ``D^nu f`` at `x`."""
        return np.sqrt(self.var(x, nu))

    def cov(
        self,
        x: ArrayLike,
        nu: ArrayLike = 0,
        x2: ArrayLike | None = None,
        nu2: ArrayLike | None = None,
    ) -> Array:
        """Return the posterior covariance between ``D^nu f(x)`` and ``D^nu2 f(x2)``: (n, n2).

        Without `x2` and `nu2`, that of the questions with themselves.
        """
        x_, nu_, _ = self._question(x, nu)
        if x2 is None and nu2 is None:
            return within_floats(self._cov(x_, nu_, x_, nu_), x_)
        other_x, other_nu, _ = self._question(x if x2 is None else x2, nu if nu2 is None else nu2)
        found = self._cov(x_, nu_, other_x, other_nu)
        if np.abs(other_x).max(initial=0.0) > np.abs(x_).max(initial=0.0):
            return within_floats(found.T, other_x, "x2").T
        return within_floats(found, x_)

    def sample(
        self,
        x: ArrayLike,
        nu: ArrayLike = 0,
        size: int = 1,
        rng: int | np.random.Generator | None = None,
    ) -> Array:
        """Draw joint paths of ``D^nu f`` at `x`: (size, n); one path of f for all orders asked."""
        if not isinstance(size, int | np.integer) or size < 0:
            raise ValueError(
                f"size: {said(size)} is no number of paths; give a whole number, such as 100"
            )
        x_, nu_, shape = self._question(x, nu)
        draws = self._sample(x_, nu_, size, np.random.default_rng(rng))
        within_floats(draws.T, x_)
        return draws.reshape((size, *shape))

    def _question(self, x: ArrayLike, nu: ArrayLike) -> tuple[Array, Orders, tuple[int, ...]]:
        """Validate places and orders; return them flat, with the shape of the answer."""
        places = self.data.coordinates(x)
        ndim = self.data.ndim
        if ndim > 1 and (places.ndim < 1 or places.shape[-1] != ndim):
            raise ValueError(f"x: shape {places.shape}, but (n, {ndim}) is needed")
        orders = whole_orders(nu)
        if ndim > 1 and orders.ndim == 0 and orders == 0:
            orders = np.zeros(ndim, dtype=np.int64)
        if ndim > 1 and (orders.ndim == 0 or orders.shape[-1] != ndim):
            raise ValueError(
                f"nu: {said(nu)}, but x has {ndim} dimensions; give a multi-index such as "
                f"{(1,) + (0,) * (ndim - 1)}, the order along each axis, or use gradient(x)"
            )
        if orders.size and self._total(orders).max() > self.highest_order:
            raise self._lacks(nu)
        try:
            places, orders = np.broadcast_arrays(places, orders)
        except ValueError:
            raise ValueError(
                f"nu: shape {np.shape(nu)} does not broadcast with x of shape {np.shape(x)}"
            ) from None
        if ndim == 1:
            return places.ravel(), orders.ravel(), places.shape
        return places.reshape(-1, ndim), orders.reshape(-1, ndim), places.shape[:-1]

    def _order(self, nu: Any, question: str) -> int:
        """Return the one order of derivative that a question about a whole curve is of."""
        if self.data.ndim > 1:
            raise ValueError(
                f"{question}: x has {self.data.ndim} dimensions; this is asked of curves of one"
            )
        order = one_order(nu)
        if order > self.highest_order:
            raise self._lacks(order)
        return order

    def _lacks(self, nu: Any) -> ValueError:
        """Return the error for an order that the model does not have."""
        return ValueError(
            f"nu: {said(nu)} was asked, but {type(self.model).__name__} has derivatives of order "
            f"0 to {self.highest_order:g}; ask for those, or use a smoother model"
        )

    def _total(self, orders: Orders) -> Orders:
        return orders if self.data.ndim == 1 else orders.sum(axis=-1)
