"""Kernel: the covariance between any two partial derivatives of f; sums and products of them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv.gp import assembly

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class LogNormal:
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


Number: TypeAlias = float | LogNormal | None
"""A positive number of a kernel: given, unknown with a prior, or unknown."""


@dataclass(frozen=True)
class Parameter:
    """One positive number of a kernel: where it is, what it is, and its value."""

    name: str
    kind: str  # "length", "amplitude", "period" or "number"
    axis: int  # the dimension of x that a length belongs to; -1 for all of them
    value: Number


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

    @property
    @abstractmethod
    def resolution(self) -> float:
        """The shortest distance in 1-D over which a covariance changes its shape."""

    @property
    def breaks(self) -> tuple[float, ...]:
        """Places in 1-D where a covariance is not analytic, other than x1 = x2."""
        return ()

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
        self, x1: ArrayLike, nu1: ArrayLike = 0, x2: ArrayLike | None = None, nu2: ArrayLike = 0
    ) -> Array:
        """Return the prior covariance between ``D^nu1 f(x1)`` and ``D^nu2 f(x2)``.

        Parameters
        ----------
        x1, x2 : (n,) or (n, d) arrays
            Places; without `x2`, `x1` and `nu1` are taken on both sides.
        nu1, nu2 : int, (n,) array, or for d > 1 a multi-index (d,) or (n, d)
            The derivative on each side, one for each row if given as rows.

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
        second = first if x2 is None else _rows(x2, nu2)
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

    def __add__(self, other: object) -> Kernel:
        return Sum(_parts(self, Sum) + _parts(other, Sum)) if isinstance(other, Kernel) else _no()

    def __mul__(self, other: object) -> Kernel:
        if isinstance(other, Kernel):
            return Product(_parts(self, Product) + _unit_amplitudes(_parts(other, Product)))
        return self.times(other) if isinstance(other, int | float) else _no()

    __rmul__ = __mul__

    def times(self, factor: float) -> Kernel:
        """Return the kernel of ``sqrt(factor) f``: every amplitude times ``sqrt(factor)``."""
        if not 0 < factor < math.inf:
            raise ValueError(f"factor: {factor!r}, but a covariance is scaled by a positive number")
        found = self.parameters(1)
        if any(p.kind == "amplitude" and not isinstance(p.value, float | int) for p in found):
            raise ValueError(f"factor: the amplitude of {self!r} is tuned; a factor has no meaning")
        root = math.sqrt(factor)
        return self.filled([_scaled(p, root) for p in found])


@dataclass(frozen=True)
class Composite(Kernel):
    """A kernel made of others: what sums and products share."""

    parts: tuple[Kernel, ...]

    @property
    def smoothness(self) -> float:  # noqa: D102
        return min(part.smoothness for part in self.parts)

    @property
    def resolution(self) -> float:  # noqa: D102
        return min(part.resolution for part in self.parts)

    @property
    def breaks(self) -> tuple[float, ...]:  # noqa: D102
        return tuple(place for part in self.parts for place in part.breaks)

    def check_ndim(self, ndim: int) -> None:  # noqa: D102
        for part in self.parts:
            part.check_ndim(ndim)

    def parameters(self, ndim: int) -> tuple[Parameter, ...]:  # noqa: D102
        return tuple(_named(self.parts, ndim))

    def filled(self, values: Sequence[Number]) -> Kernel:  # noqa: D102
        return type(self)(_filled(self.parts, values))


@dataclass(frozen=True)
class Sum(Composite):
    """The kernel of a sum of independent processes; made by ``k1 + k2``.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> k = kernels.Matern32(scale=1.0, sigma=1.0) + kernels.Matern72(scale=9.0, sigma=2.0)
    >>> k.smoothness, float(k.cov([0.0])[0, 0])
    (1, 5.0)
    """

    @property
    def null_degree(self) -> int:  # noqa: D102
        return max(part.null_degree for part in self.parts)

    def anchored(self, center: float, span: float) -> Kernel:  # noqa: D102
        return Sum(tuple(part.anchored(center, span) for part in self.parts))

    def times(self, factor: float) -> Kernel:  # noqa: D102
        return Sum(tuple(part.times(factor) for part in self.parts))

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:  # noqa: D102
        out = self.parts[0].blocks(x1, p, x2, q)
        for part in self.parts[1:]:
            out += part.blocks(x1, p, x2, q)
        return out

    def slopes(  # noqa: D102
        self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders
    ) -> Array:
        return np.concatenate([part.slopes(weights, x1, p, x2, q) for part in self.parts])

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:  # noqa: D102
        return cast(Array, sum(part.diagonal(x, p, q) for part in self.parts))


@dataclass(frozen=True)
class Product(Composite):
    """The product of kernels, by Leibniz' rule; made by ``k1 * k2``.

    Only the product of the amplitudes shows, so those of the later factors count as 1 when they
    are unknown.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> k = kernels.Periodic(period=1.0) * kernels.SquaredExponential(scale=20.0)
    >>> [p.name for p in k.parameters(1) if p.value is None]
    ['parts[0].sigma', 'parts[0].scale']
    """

    def __post_init__(self) -> None:
        for part in self.parts:
            if part.null_degree >= 0:
                raise ValueError(
                    f"{part!r} leaves polynomials free, so it cannot be a factor of a product; "
                    "add it instead, or use a Matern kernel"
                )

    def times(self, factor: float) -> Kernel:  # noqa: D102
        return Product((self.parts[0].times(factor), *self.parts[1:]))

    @property
    def _halves(self) -> tuple[Kernel, Kernel]:
        first, *rest = self.parts
        return first, rest[0] if len(rest) == 1 else Product(tuple(rest))

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:  # noqa: D102
        if len(self.parts) == 1:
            return self.parts[0].blocks(x1, p, x2, q)
        first, rest = self._halves
        lower = _lower(p), _lower(q)
        left, right = (half.blocks(x1, lower[0], x2, lower[1]) for half in (first, rest))
        out = np.zeros((len(p), len(q), len(x1), len(x2)))
        for i, j, a, b, count in _leibniz(p, q):
            out[i, j] += count * left[a[0], b[0]] * right[a[1], b[1]]
        return out

    def slopes(  # noqa: D102
        self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders
    ) -> Array:
        if len(self.parts) == 1:
            return self.parts[0].slopes(weights, x1, p, x2, q)
        first, rest = self._halves
        lower = _lower(p), _lower(q)
        left, right = (half.blocks(x1, lower[0], x2, lower[1]) for half in (first, rest))
        of_left, of_right = np.zeros_like(left), np.zeros_like(right)
        for i, j, a, b, count in _leibniz(p, q):
            of_left[a[0], b[0]] += count * weights[i, j] * right[a[1], b[1]]
            of_right[a[1], b[1]] += count * weights[i, j] * left[a[0], b[0]]
        halves = ((first, of_left), (rest, of_right))
        return np.concatenate([half.slopes(w, x1, lower[0], x2, lower[1]) for half, w in halves])

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:  # noqa: D102
        if len(self.parts) == 1:
            return self.parts[0].diagonal(x, p, q)
        first, rest = self._halves
        lower = _lower(p), _lower(q)
        left, right = (half.diagonal(x, *lower) for half in (first, rest))
        out = np.zeros((len(p), len(q), len(x)))
        for i, j, a, b, count in _leibniz(p, q):
            out[i, j] += count * left[a[0], b[0]] * right[a[1], b[1]]
        return out


def known(value: Number, name: str) -> float:
    """Return a number that must be given by now."""
    if value is None or isinstance(value, LogNormal):
        raise ValueError(f"{name}: unknown; give it, or estimate it with sd.tune(model, data)")
    return float(value)


def check_number(value: Any, name: str) -> None:
    """Refuse what is neither None, a prior, nor a positive number."""
    if value is None or isinstance(value, LogNormal):
        return
    if not isinstance(value, int | float | np.integer | np.floating) or not 0 < value < math.inf:
        raise ValueError(f"{name}: {value!r}, but a positive number is needed, or None to tune it")


def smoother_kernel(order: int) -> str:
    """Name a kernel whose process has `order` derivatives."""
    named = ("Matern12()", "Matern32()", "Matern52()", "Matern72()")
    return named[order] if order < len(named) else "SquaredExponential()"


def _rows(x: ArrayLike, nu: ArrayLike) -> tuple[Array, Orders]:
    """Return places (n, d) and orders (n, d)."""
    places = np.asarray(x, dtype=np.float64)
    if places.ndim not in (1, 2):
        raise ValueError(f"x: shape {places.shape}, but (n,) or (n, d) is needed")
    orders = np.asarray(nu)
    if orders.dtype.kind not in "iu" or (orders < 0).any():
        raise ValueError(f"nu: {nu!r} is not an order of derivatives; give whole numbers from 0 on")
    if places.ndim == 1:
        places, orders = places[:, None], orders[..., None]
    elif orders.ndim == 0 and orders != 0:
        raise ValueError(f"nu: {nu!r} in {places.shape[1]} dimensions; give a multi-index (d,)")
    return places, np.broadcast_to(orders, places.shape).astype(np.int64)


def _no() -> Any:
    return NotImplemented


def _parts(kernel: object, kind: type[Sum] | type[Product]) -> tuple[Kernel, ...]:
    return kernel.parts if isinstance(kernel, kind) else (cast(Kernel, kernel),)


def _unit_amplitudes(parts: tuple[Kernel, ...]) -> tuple[Kernel, ...]:
    """Give later factors of a product the amplitude 1 where it is unknown."""
    settled = []
    for part in parts:
        free = getattr(part, "sigma", 1.0) is None
        settled.append(dataclasses.replace(part, sigma=1.0) if free else part)  # type: ignore[type-var]
    return tuple(settled)


def _scaled(parameter: Parameter, root: float) -> Number:
    if parameter.kind != "amplitude":
        return parameter.value
    return root * known(parameter.value, parameter.name)


def _named(parts: tuple[Kernel, ...], ndim: int) -> Iterator[Parameter]:
    for i, part in enumerate(parts):
        for p in part.parameters(ndim):
            yield dataclasses.replace(p, name=f"parts[{i}].{p.name}")


def _filled(parts: tuple[Kernel, ...], values: Sequence[Number]) -> tuple[Kernel, ...]:
    """Deal the values out to the parts: the count of each shows from the number of dimensions."""
    for ndim in range(1, len(values) + 1):
        counts = [len(part.parameters(ndim)) for part in parts]
        if sum(counts) == len(values):
            ends = list(itertools.accumulate(counts, initial=0))
            pairs = itertools.pairwise(ends)
            return tuple(
                part.filled(values[a:b]) for part, (a, b) in zip(parts, pairs, strict=True)
            )
    raise ValueError(f"values: {len(values)} do not fit the parameters of {parts!r}")


def _lower(orders: Orders) -> Orders:
    """Return every multi-index that is nowhere above one of `orders`, sorted."""
    return np.array(_lower_of(tuple(map(tuple, orders.tolist()))), dtype=np.int64)


@functools.lru_cache(maxsize=256)
def _lower_of(orders: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    below = (itertools.product(*(range(v + 1) for v in order)) for order in orders)
    return tuple(sorted(set(itertools.chain.from_iterable(below))))


def _leibniz(p: Orders, q: Orders) -> Iterator[tuple[int, int, Any, Any, float]]:
    """Yield the terms of Leibniz' rule: block (i, j), the splits of p_i and of q_j, the count."""
    left, right = _splits(tuple(map(tuple, p.tolist()))), _splits(tuple(map(tuple, q.tolist())))
    for (i, a, here), (j, b, there) in itertools.product(left, right):
        yield i, j, a, b, here * there


@functools.lru_cache(maxsize=256)
def _splits(orders: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, tuple[int, int], float], ...]:
    """For each order: the pairs of lower orders that add up to it, and how often they occur."""
    place = {order: k for k, order in enumerate(_lower_of(orders))}
    found = []
    for i, order in enumerate(orders):
        for a in itertools.product(*(range(v + 1) for v in order)):
            rest = tuple(v - w for v, w in zip(order, a, strict=True))
            count = math.prod(math.comb(v, w) for v, w in zip(order, a, strict=True))
            found.append((i, (place[a], place[rest]), float(count)))
    return tuple(found)
