"""The kernels that a user names: covariances of f and, in closed form, of its derivatives.

========================================  ==========================  =====================
kernel                                    derivatives that exist      x
========================================  ==========================  =====================
``Matern12, Matern32, Matern52, Matern72``  0, 1, 2, 3                any dimension
``SquaredExponential``                    all                         any dimension
``RationalQuadratic``                     all                         any dimension
``Periodic``                              all                         any dimension
``Constant, Linear, Polynomial``          all                         any dimension
``Wiener(order)``                         ``order - 1``               1-D
``Nuisance(kernel)``                      no limit                    of its kernel
========================================  ==========================  =====================

They add, multiply and scale: ``Matern52() + Periodic() * SquaredExponential()``. Numbers left out
are tuned; :class:`LogNormal` gives a number a prior. Lengths have the unit of x, amplitudes that
of y.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smoothderiv.gp.composite import Product, Sum
from smoothderiv.gp.kernel import (
    Array,
    AtLeast,
    Kernel,
    LogNormal,
    Number,
    Parameter,
    known,
)
from smoothderiv.gp.nuisance import Nuisance
from smoothderiv.gp.periodic import Periodic
from smoothderiv.gp.polynomial import Constant, Linear, Polynomial
from smoothderiv.gp.radial import Radial
from smoothderiv.gp.wiener import Wiener

__all__ = [
    "AtLeast",
    "Constant",
    "Kernel",
    "Linear",
    "LogNormal",
    "Matern12",
    "Matern32",
    "Matern52",
    "Matern72",
    "Nuisance",
    "Parameter",
    "Periodic",
    "Polynomial",
    "Product",
    "Radial",
    "RationalQuadratic",
    "SquaredExponential",
    "Sum",
    "Wiener",
]


_UNCORRELATED = 1e3  # exp(-z) is 0 from there on, and powers of z would overflow


@dataclass(frozen=True)
class SquaredExponential(Radial):
    """``k = sigma^2 exp(-r^2 / 2)``, ``r = |(x1 - x2) / scale|``: all derivatives exist.

    ``f_j = exp(-r^2 / 2)`` for all j. Its matrices are nearly singular for places closer than
    about half a scale; prefer a Matern kernel unless f is known to be that smooth.

    Attributes
    ----------
    scale, sigma, isotropic
        As in :class:`Radial`.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. 4.9 and 9.4.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> k = kernels.SquaredExponential(scale=(1.0, 2.0), sigma=1.0)
    >>> k.cov([[0.0, 0.0]], [[1, 1]], [[0.0, 0.0]], [[1, 1]])  # 1 / (1 * 2)^2
    array([[0.25]])
    """

    @property
    def smoothness(self) -> float:
        return math.inf

    def _profile(self, r: Array, levels: Sequence[int]) -> list[Array]:
        return [np.exp(-0.5 * r * r)] * len(levels)


@dataclass(frozen=True)
class _Matern(Radial):
    """Matern of smoothness nu = k + 1/2.

    With ``z = sqrt(2 nu) r`` and the reverse Bessel polynomials theta_p,
    ``f_0 = theta_k(z) exp(-z) / theta_k(0)``, and D lowers nu by one:
    ``f_j = (2 nu)^j theta_(k-j)(z) exp(-z) / theta_k(0)`` (Abramowitz & Stegun 9.6.28, 10.2.15).
    """

    @property
    @abstractmethod
    def smoothness(self) -> float: ...

    def _profile(self, r: Array, levels: Sequence[int]) -> list[Array]:
        k = int(self.smoothness)
        twice = 2.0 * k + 1.0
        z = np.minimum(math.sqrt(twice) * r, _UNCORRELATED)
        decay = np.exp(-z)
        at_zero = _bessel_polynomial(k)[0]
        found = []
        for j in levels:
            coefficients = _bessel_polynomial(k - j if j <= k else j - k - 1)
            power = j - max(0.0, j - k - 0.5)  # r^(2(j-k)-1) f_j is free of z^-(2(j-k)-1)
            found.append(twice**power / at_zero * _horner(coefficients, z) * decay)
        return found


@dataclass(frozen=True)
class Matern12(_Matern):
    """``k = sigma^2 exp(-r)``: continuous, no derivative; the Ornstein-Uhlenbeck process.

    Attributes
    ----------
    scale, sigma, isotropic
        As in :class:`Radial`.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> kernels.Matern12(scale=1.0, sigma=1.0).smoothness
    0
    """

    @property
    def smoothness(self) -> float:
        return 0


@dataclass(frozen=True)
class Matern32(_Matern):
    """``k = sigma^2 (1 + z) exp(-z)``, ``z = sqrt(3) r``: one derivative.

    ``Var f' = 3 sigma^2 / scale^2``.

    Attributes
    ----------
    scale, sigma, isotropic
        As in :class:`Radial`.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> kernels.Matern32(scale=1.0, sigma=1.0).cov([0.0], 1).round(12)
    array([[3.]])
    """

    @property
    def smoothness(self) -> float:
        return 1


@dataclass(frozen=True)
class Matern52(_Matern):
    """``k = sigma^2 (1 + z + z^2 / 3) exp(-z)``, ``z = sqrt(5) r``: two derivatives.

    ``Var f' = (5/3) sigma^2 / scale^2``, ``Var f'' = 25 sigma^2 / scale^4``.

    Attributes
    ----------
    scale, sigma, isotropic
        As in :class:`Radial`.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> kernels.Matern52(scale=1.0, sigma=1.0).cov([0.0, 1.0], [0, 1]).round(6)
    array([[ 1.      , -0.57644 ],
           [-0.57644 ,  1.666667]])
    """

    @property
    def smoothness(self) -> float:
        return 2


@dataclass(frozen=True)
class Matern72(_Matern):
    """``k = sigma^2 (1 + z + 2 z^2 / 5 + z^3 / 15) exp(-z)``, ``z = sqrt(7) r``: three derivatives.

    Attributes
    ----------
    scale, sigma, isotropic
        As in :class:`Radial`.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> kernels.Matern72(scale=1.0, sigma=1.0).cov([0.0], 3).round(9)
    array([[343.]])
    """

    @property
    def smoothness(self) -> float:
        return 3


@dataclass(frozen=True)
class RationalQuadratic(Radial):
    """``k = sigma^2 (1 + r^2 / (2 alpha))^-alpha``: a mixture of scales, all derivatives exist.

    ``f_j = (alpha)_j alpha^-j (1 + r^2 / (2 alpha))^(-alpha - j)``: D shifts the power by one.

    Attributes
    ----------
    scale, sigma, isotropic
        As in :class:`Radial`.
    alpha : float, LogNormal or None
        Exponent; the squared exponential as it grows.

    Notes
    -----
    It is the squared exponential averaged over lengths l, ``(scale / l)^2`` gamma-distributed with
    mean 1 and variance ``1 / alpha``: for surfaces whose hills have different widths.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. 4.19.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> kernels.RationalQuadratic(scale=1.0, sigma=1.0, alpha=2.0).cov([0.0], 0, [2.0])
    array([[0.25]])
    """

    alpha: Number = None

    extra: ClassVar[tuple[str, ...]] = ("alpha",)

    @property
    def smoothness(self) -> float:
        return math.inf

    def _profile(self, r: Array, levels: Sequence[int]) -> list[Array]:
        alpha = known(self.alpha, "alpha")
        log_base = np.log1p(r * r / (2.0 * alpha))
        rising = [math.prod(1.0 + i / alpha for i in range(j)) for j in levels]
        return [c * np.exp(-(alpha + j) * log_base) for c, j in zip(rising, levels, strict=True)]

    def _profile_slopes(self, r: Array, levels: Sequence[int]) -> list[list[Array]]:
        alpha = known(self.alpha, "alpha")
        ratio = r * r / (2.0 * alpha)
        log_base, bent = np.log1p(ratio), ratio / (1.0 + ratio)
        constant = [sum(alpha / (alpha + i) for i in range(j)) - j for j in levels]
        slopes = [
            f * (c - alpha * log_base + (alpha + j) * bent)
            for f, c, j in zip(self._profile(r, levels), constant, levels, strict=True)
        ]
        return [slopes]


def _bessel_polynomial(p: int) -> list[float]:
    """Return the coefficients of the reverse Bessel polynomial theta_p, constant first."""
    return [
        math.factorial(2 * p - i) / (math.factorial(i) * math.factorial(p - i) * 2.0 ** (p - i))
        for i in range(p + 1)
    ]


def _horner(coefficients: Sequence[float], z: Array) -> Array:
    """Evaluate a polynomial, constant first."""
    total = np.full_like(z, coefficients[-1])
    for c in coefficients[-2::-1]:
        total *= z
        total += c
    return total
