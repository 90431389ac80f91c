"""Kernel: the covariance between any two partial derivatives of f."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv._validate import said, whole_orders
from smoothderiv.gp import assembly

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]


class Prior(ABC):
    """What is known of an unknown positive number before the data; in place of None."""

    @abstractmethod
    def loss(self, log: float) -> tuple[float, float]:
        """Return minus the log density at a value of that logarithm, and its derivative in it."""

    @property
    def typical(self) -> float | None:
        """A value to start from; None for where one without a prior starts."""
        return None


@dataclass(frozen=True)
class LogNormal(Prior):
    """An unknown positive number with a prior: its logarithm is normal.

    In place of None it says what is known before the data, so that few of them do not send the
    number to an end of its range: ``Matern52(scale=LogNormal(0.3, 2))`` is *about 0.3, give or
    take a factor of 2*. Tuning adds ``(log(value / median) / log(factor))^2 / 2`` to its loss.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> kernels.SquaredExponential(scale=kernels.LogNormal(0.3, 2)).scale
    LogNormal(median=0.3, factor=2)
    """

    median: float
    factor: float

    def __post_init__(self) -> None:
        if not (0 < self.median < math.inf and 1 < self.factor < math.inf):
            raise ValueError(
                f"{self}: the median must be positive and the factor above 1, such as "
                "LogNormal(0.3, 2) for 0.3 give or take a factor of 2"
            )

    @property
    def typical(self) -> float:
        return self.median

    def loss(self, log: float) -> tuple[float, float]:
        width = math.log(self.factor)
        away = (log - math.log(self.median)) / width
        return 0.5 * away**2, away / width


@dataclass(frozen=True)
class AtLeast(Prior):
    """An unknown positive number that is hardly smaller than some value.

    Tuning adds ``(value / number)^4 / 2`` to its loss: half a nat at the value, 8 at half of it,
    nothing to speak of at twice. A scale that is at least the distance of neighbours keeps a
    process from passing for white noise, which samples cannot tell from one that is quicker than
    they are.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> kernels.Matern52(scale=kernels.AtLeast(0.01)).scale
    AtLeast(value=0.01)
    """

    value: float

    def __post_init__(self) -> None:
        if not 0 < self.value < math.inf:
            raise ValueError(f"{self}: the value must be positive, in the unit of the number")

    def loss(self, log: float) -> tuple[float, float]:
        steep = math.exp(4.0 * (math.log(self.value) - log))
        return 0.5 * steep, -2.0 * steep


Number: TypeAlias = float | Prior | None
"""A positive number of a kernel: given, unknown with a prior, or unknown."""


@dataclass(frozen=True)
class Parameter:
    """One positive number of a kernel: where it is, what it is, and its value."""

    name: str
    kind: str  # "length", "offset", "amplitude", "period" or "number"
    axis: int  # the dimension of x that a length belongs to; -1 for all of them
    value: Number
    power: float = 0.0  # an amplitude is in unit of y / unit of x ** power
    center: float | tuple[float, ...] | None = None  # of polynomials: where they are pinned down

    @property
    def is_free(self) -> bool:
        """Whether the number is unknown, and is tuned."""
        return is_free(self.value)


class Kernel(ABC):
    """The covariance of a Gaussian process and of all its derivatives that exist.

    ``cov(D^p f(x1), D^q f(x2)) = D_x1^p D_x2^q k(x1, x2)``, in closed form. Kernels are frozen
    dataclasses of positive numbers; a number that is None is unknown and is tuned. They add and
    multiply: ``k1 + k2``, ``k1 * k2``, ``2.5 * k``.

    A new kernel is one class: a function of distance derives from
    :class:`smoothderiv.gp.radial.Radial`, any other from this one.
    """

    # What a kernel declares. Places come as (n, d) arrays, orders as (P, d) and (Q, d).

    @property
    @abstractmethod
    def smoothness(self) -> float:
        """How many derivatives the process has, in total order; infinite when all."""

    @abstractmethod
    def parameters(self, ndim: int) -> tuple[Parameter, ...]:
        """Return every number of the kernel for x of `ndim` dimensions."""

    @abstractmethod
    def filled(self, values: Sequence[Number]) -> Kernel:
        """Return the kernel with these values, in the order of :meth:`parameters`."""

    @abstractmethod
    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        """Return ``cov(D^p f(x1), D^q f(x2))`` for all orders and places: (P, Q, n1, n2)."""

    @abstractmethod
    def slopes(self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        """Return d/d log parameter of ``sum(weights * blocks)`` for each parameter."""

    @abstractmethod
    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:
        """Return ``cov(D^p f(x), D^q f(x))`` at each place: (P, Q, n)."""

    def products(
        self, left: assembly.Tile, right: assembly.Tile, mine: Array, theirs: Array, both: bool
    ) -> tuple[Array, Array | None]:
        """Return ``K theirs`` and, if `both`, ``K' mine`` for the covariance K of two tiles.

        Vectors (s, P, t1) and (s, Q, t2). Here from the blocks; a kernel may do without them.
        """
        block = self.blocks(left.x, left.nu, right.x, right.nu).transpose(0, 2, 1, 3)
        matrix = np.ascontiguousarray(block).reshape(mine[0].size, theirs[0].size)
        count = len(mine)
        first = (theirs.reshape(count, -1) @ matrix.T).reshape(mine.shape)
        second = (mine.reshape(count, -1) @ matrix).reshape(theirs.shape) if both else None
        return first, second

    @property
    @abstractmethod
    def resolution(self) -> float:
        """The shortest distance in 1-D over which a covariance changes its shape."""

    @property
    def is_stationary(self) -> bool:
        """Whether a covariance depends on the difference of the places alone."""
        return False

    def diffusion(self, x: Array) -> Array:
        """Return the quadratic variation per unit of x of the highest derivative, in 1-D: (n,).

        ``lim E (D^k f(x + h) - D^k f(x))^2 / h``: 0 where all derivatives exist.
        """
        if math.isfinite(self.smoothness):
            raise NotImplementedError(
                f"{type(self).__name__}.diffusion, of a process that is rough"
            )
        return np.zeros(len(x))

    @property
    def breaks(self) -> tuple[float, ...]:
        """Places in 1-D where a covariance is not analytic, other than x1 = x2."""
        return ()

    @property
    def signal(self) -> Kernel | None:
        """The covariance of f itself, without what only the rows carry (nuisance)."""
        return self

    @property
    def null_degree(self) -> int:
        """The degree of the polynomials that are left free (diffuse); -1 when there are none."""
        return -1

    def anchored(self, center: float, span: float) -> Kernel:
        """Return the kernel told where the data lie; it changes no posterior."""
        del center, span
        return self

    def check_ndim(self, ndim: int) -> None:
        """Refuse x of `ndim` dimensions where the kernel is for another number of them."""
        del ndim

    # What follows.

    def cov(
        self,
        x1: ArrayLike,
        nu1: ArrayLike = 0,
        x2: ArrayLike | None = None,
        nu2: ArrayLike | None = None,
    ) -> Array:
        """Return the prior covariance between ``D^nu1 f(x1)`` and ``D^nu2 f(x2)``.

        Parameters
        ----------
        x1, x2 : (n,) or (n, d) arrays
            Places; without `x2` those of `x1`.
        nu1, nu2 : int, (n,) array, or for d > 1 a multi-index (d,) or (n, d)
            The derivative on each side, one for each row if given as rows; without `nu2` that of
            `nu1`, as :meth:`.Posterior.cov`.

        Returns
        -------
        (n1, n2) array
            In unit of sigma ** 2 / unit of x ** (nu1 + nu2).

        Raises
        ------
        ValueError
            An order that the process does not have; a parameter that is unknown.

        Examples
        --------
        >>> from smoothderiv import kernels
        >>> k = kernels.SquaredExponential(scale=2.0, sigma=3.0)
        >>> k.cov([0.0], 1, [0.0], 1)  # the variance of the slope, (sigma / scale)^2
        array([[2.25]])
        """
        first = _rows(x1, nu1)
        second = _rows(x1 if x2 is None else x2, nu1 if nu2 is None else nu2)
        for x, nu in (first, second):
            self.check_ndim(x.shape[1])
            self.require_order(int(nu.sum(axis=1).max(initial=0)))
        rows, columns = assembly.Layout.of(*first), assembly.Layout.of(*second)
        return assembly.ordered(assembly.cross(self, rows, columns), rows, columns)

    def require_order(self, order: int) -> None:
        """Refuse an order of derivative that the process does not have."""
        if order > self.smoothness:
            raise ValueError(
                f"nu: order {order} was asked, but the process of {self!r} has "
                f"{self.smoothness:g} derivative{'s' if self.smoothness != 1 else ''}; "
                f"kernels.{smoother_kernel(order)} has as many as that"
            )

    def _settle(self, *names: str) -> None:
        """Hold numbers of this frozen dataclass as floats, None or priors; refuse anything else."""
        for name in names:
            object.__setattr__(self, name, settled(getattr(self, name), name))

    def __add__(self, other: object) -> Kernel:
        from smoothderiv.gp.composite import added

        return added(self, other) if isinstance(other, Kernel) else NotImplemented

    def __mul__(self, other: object) -> Kernel:
        from smoothderiv.gp.composite import multiplied

        if isinstance(other, Kernel):
            return multiplied(self, other)
        whole = isinstance(other, int | float | np.integer | np.floating)
        return self.times(float(other)) if whole else NotImplemented  # type: ignore[arg-type]

    __rmul__ = __mul__

    def times(self, factor: float) -> Kernel:
        """Return the kernel of ``sqrt(factor) f``: every amplitude times ``sqrt(factor)``."""
        if not 0 < factor < math.inf:
            raise ValueError(
                f"factor: {said(factor)}, but a covariance is scaled by a positive number"
            )
        found = self.parameters(1)
        if any(p.kind == "amplitude" and p.is_free for p in found):
            raise ValueError(f"factor: the amplitude of {self!r} is tuned; a factor has no meaning")
        root = math.sqrt(factor)
        return self.filled([_scaled(p, root) for p in found])


def known(value: Number, name: str) -> float:
    """Return a number that must be given by now."""
    if value is None or isinstance(value, Prior):
        raise ValueError(f"{name}: unknown; give it, or estimate it with sd.tune(model, data)")
    return float(value)


def is_free(value: Any) -> bool:
    """Tell whether a number is unknown."""
    return value is None or isinstance(value, Prior)


def settled(value: Any, name: str) -> Number:
    """Return None, a prior, or a positive number as a float; refuse anything else."""
    if value is None or isinstance(value, Prior):
        return value
    if not isinstance(value, int | float | np.integer | np.floating) or not 0 < value < math.inf:
        raise ValueError(
            f"{name}: {said(value)}, but a positive number is needed, or None to tune it"
        )
    return float(value)


def smoother_kernel(order: int) -> str:
    """Name a kernel whose process has `order` derivatives."""
    named = ("Matern12()", "Matern32()", "Matern52()", "Matern72()")
    return named[order] if order < len(named) else "SquaredExponential()"


def _rows(x: ArrayLike, nu: ArrayLike) -> tuple[Array, Orders]:
    """Return places (n, d) and orders (n, d)."""
    places = np.asarray(x, dtype=np.float64)
    if places.ndim not in (1, 2):
        raise ValueError(f"x: shape {places.shape}, but (n,) or (n, d) is needed")
    finite = np.isfinite(places.reshape(len(places), -1)).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(f"x: row {row} is {places[row]}; give finite places")
    orders = whole_orders(nu)
    if places.ndim == 1:
        places, orders = places[:, None], orders[..., None]
    elif orders.ndim == 0 and orders != 0:
        raise ValueError(f"nu: {said(nu)} in {places.shape[1]} dimensions; give a multi-index (d,)")
    try:
        return places, np.broadcast_to(orders, places.shape).astype(np.int64)
    except ValueError:
        shape = np.shape(nu)
        words = f"nu: shape {shape} does not fit x of shape {np.shape(x)}; give one order for each"
        raise ValueError(f"{words} row, or one for all") from None


def _scaled(parameter: Parameter, root: float) -> Number:
    if parameter.kind != "amplitude":
        return parameter.value
    return root * known(parameter.value, parameter.name)
