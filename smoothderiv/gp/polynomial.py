"""Kernels whose paths are polynomials: constant, linear, and of any degree."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from smoothderiv._validate import said
from smoothderiv.gp.kernel import Array, Kernel, Number, Orders, Parameter, known


@dataclass(frozen=True)
class Polynomial(Kernel):
    """``k = sigma^2 (offset^2 + (x1 - center)' (x2 - center))^degree``: paths are polynomials.

    Attributes
    ----------
    degree : int
    offset : float, LogNormal or None
        In the unit of x: f at `center` has the standard deviation ``sigma * offset ** degree``.
    sigma : float, LogNormal or None
        In unit of y / unit of x ** degree.
    center : float or sequence of d floats
        Where the paths are pinned down most, in the unit of x. Unlike most kernels this one is
        about a place: move it along with x.

    Notes
    -----
    Seen from a center that is D away, paths are nearly constant along data of span s: the matrix
    of a covariance that bends as the data do has a condition number of ``(D / s)^(2 degree)`` times
    what it has near by. A center within a few hundred spans (degree 2) keeps it within reach.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> k = kernels.Polynomial(degree=2, offset=1.0, sigma=1.0)
    >>> k.cov([3.0], 2, [5.0], 1)  # d^3/dx^2 dy of (1 + x y)^2 = 4 y
    array([[20.]])
    """

    degree: int = 2
    offset: Number = None
    sigma: Number = None
    center: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        if int(self.degree) != self.degree or self.degree < 1:
            raise ValueError(f"degree: {said(self.degree)}, but a whole number from 1 on is needed")
        self._settle("offset", "sigma")
        _freeze_center(self)

    @property
    def smoothness(self) -> float:
        return math.inf

    @property
    def resolution(self) -> float:
        return math.inf

    def parameters(self, ndim: int) -> tuple[Parameter, ...]:
        del ndim
        return (
            Parameter("sigma", "amplitude", -1, self.sigma, self.degree, self.center),
            Parameter("offset", "offset", -1, self.offset, center=self.center),
        )

    def filled(self, values: Sequence[Number]) -> Kernel:
        return dataclasses.replace(self, sigma=values[0], offset=values[1])

    def check_ndim(self, ndim: int) -> None:
        _check_center(self.center, ndim)

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        variance, offset = known(self.sigma, "sigma") ** 2, known(self.offset, "offset")
        a, b = x1 - self.center, x2 - self.center
        return variance * power_blocks(a, p, b, q, self.degree, offset**2)

    def slopes(self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        variance, offset = known(self.sigma, "sigma") ** 2, known(self.offset, "offset")
        a, b = x1 - self.center, x2 - self.center
        sigma = 2.0 * (weights * self.blocks(x1, p, x2, q)).sum()
        lower = power_blocks(a, p, b, q, self.degree - 1, offset**2)
        bent = 2.0 * offset**2 * self.degree * variance * (weights * lower).sum()
        return np.array([sigma, bent])

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:
        variance, offset = known(self.sigma, "sigma") ** 2, known(self.offset, "offset")
        return variance * power_diagonal(x - self.center, p, q, self.degree, offset**2)


@dataclass(frozen=True)
class Linear(Kernel):
    """``k = sigma^2 (x1 - center)' (x2 - center)``: straight lines through 0 at `center`.

    Attributes
    ----------
    sigma : float, LogNormal or None
        The prior standard deviation of the slope, in unit of y / unit of x.
    center : float or sequence of d floats
        Where every line is zero, in the unit of x.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> k = kernels.Linear(sigma=2.0) + kernels.Constant(sigma=1.0)
    >>> k.cov([3.0], [0], [0.5], [1])
    array([[12.]])
    """

    sigma: Number = None
    center: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        self._settle("sigma")
        _freeze_center(self)

    @property
    def smoothness(self) -> float:
        return math.inf

    @property
    def resolution(self) -> float:
        return math.inf

    def parameters(self, ndim: int) -> tuple[Parameter, ...]:
        del ndim
        return (Parameter("sigma", "amplitude", -1, self.sigma, 1.0, self.center),)

    def filled(self, values: Sequence[Number]) -> Kernel:
        return dataclasses.replace(self, sigma=values[0])

    def check_ndim(self, ndim: int) -> None:
        _check_center(self.center, ndim)

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        variance = known(self.sigma, "sigma") ** 2
        return variance * power_blocks(x1 - self.center, p, x2 - self.center, q, 1, 0.0)

    def slopes(self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        return np.array([2.0 * (weights * self.blocks(x1, p, x2, q)).sum()])

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:
        variance = known(self.sigma, "sigma") ** 2
        return variance * power_diagonal(x - self.center, p, q, 1, 0.0)


@dataclass(frozen=True)
class Constant(Kernel):
    """``k = sigma^2``: an unknown constant, of which all derivatives are zero.

    Attributes
    ----------
    sigma : float, LogNormal or None
        The prior standard deviation of the constant, in the unit of y.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> kernels.Constant(sigma=2.0).cov([0.0, 1.0], [0, 1])
    array([[4., 0.],
           [0., 0.]])
    """

    sigma: Number = None

    def __post_init__(self) -> None:
        self._settle("sigma")

    @property
    def smoothness(self) -> float:
        return math.inf

    @property
    def is_stationary(self) -> bool:
        return True

    @property
    def resolution(self) -> float:
        return math.inf

    def parameters(self, ndim: int) -> tuple[Parameter, ...]:
        del ndim
        return (Parameter("sigma", "amplitude", -1, self.sigma),)

    def filled(self, values: Sequence[Number]) -> Kernel:
        return dataclasses.replace(self, sigma=values[0])

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        values = (p.sum(axis=1)[:, None] == 0) & (q.sum(axis=1)[None] == 0)
        variance = known(self.sigma, "sigma") ** 2
        out = np.empty((len(p), len(q), len(x1), len(x2)))
        out[...] = np.where(values, variance, 0.0)[:, :, None, None]
        return out

    def slopes(self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        return np.array([2.0 * (weights * self.blocks(x1, p, x2, q)).sum()])

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:
        at_one = self.blocks(x[:1], p, x[:1], q)[:, :, 0]
        return np.broadcast_to(at_one, (len(p), len(q), len(x)))


def power_blocks(a: Array, p: Orders, b: Array, q: Orders, degree: int, constant: float) -> Array:
    """Return ``D_a^p D_b^q (constant + a . b)^degree``: (P, Q, n1, n2)."""
    inner = constant + a @ b.T
    out = np.zeros((len(p), len(q), len(a), len(b)))
    for i, j, count, of_a, of_b, left in _power_terms(p, q, degree):
        monomials = np.outer((a**of_a).prod(axis=1), (b**of_b).prod(axis=1))
        out[i, j] += count * monomials * inner**left
    return out


def power_diagonal(a: Array, p: Orders, q: Orders, degree: int, constant: float) -> Array:
    """Return the same where ``b = a``: (P, Q, n)."""
    inner = constant + (a * a).sum(axis=1)
    out = np.zeros((len(p), len(q), len(a)))
    for i, j, count, of_a, of_b, left in _power_terms(p, q, degree):
        out[i, j] += count * (a ** (of_a + of_b)).prod(axis=1) * inner**left
    return out


def _power_terms(
    p: Orders, q: Orders, degree: int
) -> Iterator[tuple[int, int, float, Orders, Orders, int]]:
    """Yield the terms of each block: a count, the powers of a and b, and what is left of `degree`.

    ``D_b^q t^n = n (n-1) .. a^q t^(n-|q|)``, and D_a^p of that product by Leibniz' rule.
    """
    for i, j in np.ndindex(len(p), len(q)):
        order, other = p[i], q[j]
        for shared in itertools.product(
            *(range(min(v, w) + 1) for v, w in zip(order, other, strict=True))
        ):
            left = degree - int(order.sum() + other.sum()) + sum(shared)
            if left < 0:
                continue
            ways = math.prod(
                math.comb(v, s) * math.perm(w, s)
                for v, w, s in zip(order.tolist(), other.tolist(), shared, strict=True)
            )
            count = float(ways * math.perm(degree, degree - left))
            yield i, j, count, other - shared, order - shared, left


def _freeze_center(kernel: Polynomial | Linear) -> None:
    center = kernel.center
    settled = tuple(float(c) for c in center) if np.ndim(center) else float(center)  # type: ignore[union-attr,arg-type]
    if not np.isfinite(settled).all():
        raise ValueError(f"center: {said(center)}, but every coordinate must be finite")
    object.__setattr__(kernel, "center", settled)


def _check_center(center: float | tuple[float, ...], ndim: int) -> None:
    if isinstance(center, tuple) and len(center) != ndim:
        raise ValueError(f"center: {len(center)} coordinates, but x has {ndim} dimensions")
