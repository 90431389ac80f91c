"""Posterior: what every engine returns. An engine answers for moments; the rest is done here."""

from __future__ import annotations

import functools
import itertools
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from smoothderiv.gradient import Gradient, Hessian
from smoothderiv.leave_one_out import LeaveOneOut, leave_one_out
from smoothderiv.limits import check_level, peak_deviations, student_quantile
from smoothderiv.locations import Locations, find_argmax, find_roots
from smoothderiv.model import Model
from smoothderiv.observations import Observations
from smoothderiv.storage import save

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]
Orders = NDArray[np.int64]


class Posterior(ABC):
    """The curve given the data: a Gaussian over f and its derivatives.

    `x` is any array of places, `nu` an order or an array that broadcasts with it, so that one call
    can ask for several orders jointly; for x of d > 1 dimensions `nu` is a multi-index. Answers
    of order nu have unit of y / unit of x ** nu. Extrapolation continues the model.

    Attributes
    ----------
    data : Observations
    model : Model
        With every field filled: what the answer is conditional on.
    noise : mapping from order to the noise level (yerr=None) or scale (relative=True) used
    log_evidence : float
        Restricted (diffuse) log marginal likelihood, in nats.
    edf : float
        Effective degrees of freedom, the trace of the map from y to the fitted values.
    dof : float
        Degrees of freedom of the Student distribution of intervals and bands: residual ones where
        a noise level was estimated, infinite where all noise is known.
    """

    data: Observations
    model: Model
    noise: Mapping[Any, float]
    log_evidence: float
    edf: float
    dof: float

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

    def _joint(self, x: Array, orders: Orders) -> Array:
        """Return the covariance of several orders at each place: (n, P, P)."""
        count = len(orders)
        blocks = (np.repeat(place[None], count, axis=0) for place in x)
        return np.array([self._cov(block, orders, block, orders) for block in blocks])

    # What follows from it, once for all engines.

    def __call__(self, x: ArrayLike, nu: ArrayLike = 0) -> Array:
        """Return the posterior mean of ``D^nu f`` at `x`; the same as :meth:`mean`."""
        return self.mean(x, nu)

    def mean(self, x: ArrayLike, nu: ArrayLike = 0) -> Array:
        """Return the posterior mean of ``D^nu f`` at `x`. Shape of x broadcast with nu."""
        x_, nu_, shape = self._question(x, nu)
        return self._mean(x_, nu_).reshape(shape)

    def var(self, x: ArrayLike, nu: ArrayLike = 0) -> Array:
        """Return the pointwise posterior variance of ``D^nu f`` at `x`."""
        x_, nu_, shape = self._question(x, nu)
        return self._var(x_, nu_).reshape(shape)

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
            return self._cov(x_, nu_, x_, nu_)
        other_x, other_nu, _ = self._question(x if x2 is None else x2, nu if nu2 is None else nu2)
        return self._cov(x_, nu_, other_x, other_nu)

    def sample(
        self,
        x: ArrayLike,
        nu: ArrayLike = 0,
        size: int = 1,
        rng: int | np.random.Generator | None = None,
    ) -> Array:
        """Draw joint paths of ``D^nu f`` at `x`: (size, n); one path of f for all orders asked."""
        x_, nu_, shape = self._question(x, nu)
        draws = self._sample(x_, nu_, size, np.random.default_rng(rng))
        return draws.reshape((size, *shape))

    def interval(self, x: ArrayLike, nu: ArrayLike = 0, level: float = 0.95) -> tuple[Array, Array]:
        """Return pointwise limits ``mean -+ t * std`` of probability `level` at each place.

        t is the quantile of Student's distribution with `dof` degrees of freedom (the normal one
        when all noise is known).
        """
        half = student_quantile(0.5 + 0.5 * check_level(level), self.dof) * self.std(x, nu)
        mean = self.mean(x, nu)
        return mean - half, mean + half

    def band(
        self,
        x: ArrayLike,
        nu: ArrayLike = 0,
        level: float = 0.95,
        rng: int | np.random.Generator | None = None,
    ) -> tuple[Array, Array]:
        """Return simultaneous limits: they hold at all of `x` together with probability `level`.

        ``mean -+ c * std`` with c the quantile of ``max |deviation| / std`` over `x` in 4000 joint
        draws (Student draws when a noise level was estimated). It is about the places asked: give
        a fine grid for the band of a curve.
        """
        peaks = peak_deviations(self, x, nu, np.random.default_rng(rng))
        pointwise = student_quantile(0.5 + 0.5 * check_level(level), self.dof)
        half = max(float(np.quantile(peaks, level)), pointwise) * self.std(x, nu)
        mean = self.mean(x, nu)
        return mean - half, mean + half

    def derivative(self, nu: int = 1) -> Posterior:
        """Return the posterior of the derivative of order `nu`."""
        if int(nu) != nu or nu < 0:
            raise ValueError(f"nu: {nu!r} is not the order of a derivative; give 0, 1, 2, ..")
        if self.data.ndim > 1:
            raise ValueError("derivative: x has several dimensions; ask for nu=(..) or gradient(x)")
        return self if nu == 0 else Derivative.of(self, int(nu))

    def integral(self, a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
        """Return mean and standard deviation of the integral of f from `a` to `b`."""
        if self.data.ndim > 1:
            raise ValueError("integral: only for x of one dimension")
        ends = self.data.coordinates(np.array([a, b]), "a, b")
        mean, var = self._integral(float(ends[0]), float(ends[1]))
        return mean, math.sqrt(var)

    def gradient(self, x: ArrayLike) -> Gradient:
        """Return the gradient of f at each place: mean (n, d) and covariance (n, d, d)."""
        orders = self._multi_indices(1)
        places = self._question(x, orders[0])[0]
        mean = [self._mean(places, np.broadcast_to(nu, places.shape)) for nu in orders]
        return Gradient(np.stack(mean, axis=1), self._joint(places, orders))

    def hessian(self, x: ArrayLike) -> Hessian:
        """Return the second derivatives of f at each place: mean and variance (n, d, d)."""
        orders, d = self._multi_indices(2), self.data.ndim
        places = self._question(x, orders[0])[0]
        mean, var = np.empty((2, len(places), d, d))
        for nu, (a, b) in zip(
            orders, itertools.combinations_with_replacement(range(d), 2), strict=True
        ):
            here = np.broadcast_to(nu, places.shape)
            mean[:, a, b] = mean[:, b, a] = self._mean(places, here)
            var[:, a, b] = var[:, b, a] = self._var(places, here)
        return Hessian(mean, var)

    def gradient_of_variance(self, x: ArrayLike) -> Array:
        """Return how the variance of f changes with the place, ``d Var f(x) / d x_a``: (n, d).

        It is ``2 Cov(df/dx_a, f)`` at x, and says where f is known better; how well the slope is
        known is the covariance of :meth:`gradient`.
        """
        first = self._multi_indices(1)
        places = self._question(x, first[0])[0]
        joint = self._joint(places, np.concatenate((0 * first[:1], first)))
        return 2.0 * joint[:, 1:, 0]

    def _multi_indices(self, total: int) -> Orders:
        """Return the orders of a total, one for each set of axes: (P,), or (P, d) for d > 1."""
        d = self.data.ndim
        sets = itertools.combinations_with_replacement(np.eye(d, dtype=np.int64), total)
        orders = np.array([np.sum(axes, axis=0) for axes in sets])
        return orders[:, 0] if d == 1 else orders

    def contrast(self, x: ArrayLike, weights: ArrayLike, nu: ArrayLike = 0) -> tuple[float, float]:
        """Return mean and standard deviation of ``sum_i weights_i D^nu_i f(x_i)``."""
        x_, nu_, shape = self._question(x, nu)
        weights_ = np.broadcast_to(np.asarray(weights, dtype=float), shape).ravel()
        variance = float(weights_ @ self._cov(x_, nu_, x_, nu_) @ weights_)
        return float(weights_ @ self._mean(x_, nu_)), math.sqrt(max(variance, 0.0))

    def prob_positive(self, x: ArrayLike, nu: ArrayLike = 0) -> Array:
        """Return the probability that ``D^nu f`` is positive, at each place by itself."""
        mean, std = self.mean(x, nu), self.std(x, nu)
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.where(std > 0, mean / std, np.where(mean > 0, np.inf, -np.inf))
        if math.isfinite(self.dof):
            return np.asarray(special.stdtr(self.dof, score))
        return np.asarray(special.ndtr(score))

    def roots(
        self,
        nu: int = 0,
        value: float = 0.0,
        within: tuple[Any, Any] | None = None,
        level: float = 0.95,
        rng: int | np.random.Generator | None = None,
    ) -> Locations:
        """Return where ``D^nu f = value``, with standard deviations, intervals, probabilities.

        Parameters
        ----------
        nu : int
            Order of the derivative; ``D^(nu+1) f`` need not exist.
        value : float
            In unit of y / unit of x ** nu.
        within : (low, high), optional
            Range searched; by default that of the data.
        level : float
            Of the intervals.
        rng : int or Generator, optional
            Of the 2000 joint paths that tell how surely each root is there, and where.
        """
        return find_roots(self, nu, value, within, check_level(level), rng)

    def maxima(
        self,
        within: tuple[Any, Any] | None = None,
        level: float = 0.95,
        rng: int | np.random.Generator | None = None,
    ) -> Locations:
        """Return the peaks inside a range: falling roots of f', their heights, as :meth:`roots`."""
        return find_roots(self, 1, 0.0, within, check_level(level), rng, direction=-1)

    def minima(
        self,
        within: tuple[Any, Any] | None = None,
        level: float = 0.95,
        rng: int | np.random.Generator | None = None,
    ) -> Locations:
        """Return the troughs inside a range: rising roots of f', their depths, as :meth:`roots`."""
        return find_roots(self, 1, 0.0, within, check_level(level), rng, direction=1)

    def inflections(
        self,
        within: tuple[Any, Any] | None = None,
        level: float = 0.95,
        rng: int | np.random.Generator | None = None,
    ) -> Locations:
        """Return the roots of f'', where the curve changes its turn, as :meth:`roots`."""
        return find_roots(self, 2, 0.0, within, check_level(level), rng)

    def argmax(
        self,
        nu: int = 0,
        within: tuple[Any, Any] | None = None,
        level: float = 0.95,
        rng: int | np.random.Generator | None = None,
    ) -> Locations:
        """Return where ``D^nu f`` is largest in a range, its height there, and their intervals.

        For nu = 1 the steepest place and its rate. ``at_edge`` is the share of paths whose largest
        value lies at an end of the range.
        """
        return find_argmax(self, nu, within, check_level(level), rng)

    def frame(
        self, x: ArrayLike, nu: int | Sequence[int] = (0, 1), level: float = 0.95
    ) -> pa.Table:
        """Return the answers at places x as a pyarrow table, a row for each place.

        Columns ``x`` (datetimes where the data have them) and, for each order of `nu`, ``mean_0,
        std_0, lower_0, upper_0, mean_1, ..`` with the limits of :meth:`interval`. It turns into
        another library's table by ``.to_pandas()`` or ``polars.from_arrow``.
        """
        import pyarrow as pa

        places = np.atleast_1d(np.asarray(x))
        columns: dict[str, Any] = {"x": places if places.ndim == 1 else list(places)}
        for order in np.atleast_1d(np.asarray(nu)):
            lower, upper = self.interval(places, order, level)
            values = (self.mean(places, order), self.std(places, order), lower, upper)
            for word, value in zip(("mean", "std", "lower", "upper"), values, strict=True):
                columns[f"{word}_{order}"] = value
        return pa.table(columns)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the posterior into one safe file, from which :func:`smoothderiv.load` reads it."""
        save(self, path)

    def residuals(self) -> Array:
        """Return ``y_i - D^nu_i f(x_i)`` for each row, in its unit: (n,)."""
        return self.data.y - self._mean(self.data.x, self.data.nu)

    def leverage(self) -> Array:
        """Return ``Var(f_i | y) / sd_i^2`` for each row: the weight of y_i in its own fit. (n,)."""
        return self._leverage()

    def noise_dof(self) -> dict[Any, float]:
        """Return for each estimated noise level the degrees of freedom that it rests on.

        Rows less their leverages: what the curve took from them is what the level cost.
        """
        data, free = self.data, 1.0 - self._leverage()
        return {o: float(free[data.is_of(o) & data.estimated].sum()) for o in self.noise}

    def loo(self) -> LeaveOneOut:
        """Return what the model, at its present parameters, predicts for each row without it.

        Exact by leverage h: residual ``e_i / (1 - h_i)``, variance ``sd_i^2 / (1 - h_i)``.
        """
        return leave_one_out(self.residuals(), self._leverage(), self.data, self.noise)

    def _question(self, x: ArrayLike, nu: ArrayLike) -> tuple[Array, Orders, tuple[int, ...]]:
        """Validate places and orders; return them flat, with the shape of the answer."""
        places = self.data.coordinates(x)
        ndim = self.data.ndim
        if ndim > 1 and (places.ndim < 1 or places.shape[-1] != ndim):
            raise ValueError(f"x: shape {places.shape}, but (n, {ndim}) is needed")
        orders = np.asarray(nu)
        if orders.dtype.kind not in "iu" and not np.array_equal(orders, np.floor(orders)):
            raise ValueError(f"nu: {nu!r} is not the order of a derivative; give 0, 1, 2, ..")
        orders = orders.astype(np.int64)
        if ndim > 1 and orders.ndim == 0 and orders == 0:
            orders = np.zeros(ndim, dtype=np.int64)
        if orders.size and (orders.min() < 0 or self._total(orders).max() > self.highest_order):
            raise ValueError(
                f"nu: {nu!r} was asked, but {type(self.model).__name__} has derivatives of order "
                f"0 to {self.highest_order:g}; ask for those, or use a smoother model"
            )
        try:
            places, orders = np.broadcast_arrays(places, orders)
        except ValueError:
            raise ValueError(
                f"nu: shape {np.shape(nu)} does not broadcast with x of shape {np.shape(x)}"
            ) from None
        if ndim == 1:
            return places.ravel(), orders.ravel(), places.shape
        return places.reshape(-1, ndim), orders.reshape(-1, ndim), places.shape[:-1]

    def _total(self, orders: Orders) -> Orders:
        return orders if self.data.ndim == 1 else orders.sum(axis=-1)


@dataclass(frozen=True)
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

    @functools.cached_property
    def log_evidence(self) -> float:  # type: ignore[override]  # noqa: D102
        return self.base.log_evidence

    @functools.cached_property
    def edf(self) -> float:  # type: ignore[override]  # noqa: D102
        return self.base.edf

    @functools.cached_property
    def dof(self) -> float:  # type: ignore[override]  # noqa: D102
        return self.base.dof

    @property
    def highest_order(self) -> float:  # noqa: D102
        return self.base.highest_order - self.shift

    def derivative(self, nu: int = 1) -> Posterior:  # noqa: D102
        return self.base.derivative(self.shift + nu)

    def residuals(self) -> Array:  # noqa: D102
        return self.base.residuals()

    def _mean(self, x: Array, nu: Orders) -> Array:
        return self.base._mean(x, nu + self.shift)

    def _var(self, x: Array, nu: Orders) -> Array:
        return self.base._var(x, nu + self.shift)

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        return self.base._cov(x, nu + self.shift, x2, nu2 + self.shift)

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        return self.base._sample(x, nu + self.shift, size, rng)

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        ends, nu = np.array([a, b]), np.full(2, self.shift - 1)
        low, high = self.base._mean(ends, nu)
        cov = self.base._cov(ends, nu, ends, nu)
        return float(high - low), max(float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]), 0.0)

    def _leverage(self) -> Array:
        return self.base._leverage()

    def _joint(self, x: Array, orders: Orders) -> Array:
        return self.base._joint(x, orders + self.shift)
