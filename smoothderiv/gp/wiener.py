"""The integrated Wiener process as a kernel, with its polynomials left free."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smoothderiv._validate import said
from smoothderiv.gp.kernel import Array, Kernel, Number, Orders, Parameter, known


@dataclass(frozen=True)
class Wiener(Kernel):
    """The (order - 1)-fold integrated Wiener process of 1-D x: the prior of smoothing splines.

    ``D^order f`` is white noise of density ``sigma^2``, and the polynomial of degree order - 1 is
    free: :class:`~smoothderiv.GaussianProcess` estimates it as a diffuse mean. Its posterior mean
    is the spline of degree 2 order - 1 that minimises ``sum((y - f)^2 / sd^2) +
    integral((D^order f)^2) / sigma^2``. The covariance of the rest, on one side of the anchor c, is
    ``sigma^2 int_0^min(s,t) (s - v)^(order-1) (t - v)^(order-1) dv / (order - 1)!^2`` with s and t
    counted from c.

    Attributes
    ----------
    order : int
        1 for Brownian motion, 2 for cubic splines, 3 for quintic ones.
    sigma : float, LogNormal or None
        Square root of the density of the noise: unit of y / unit of x ** (order - 1/2).
    anchor : (float, float)
        The place c and a length. With a length L > 0, coefficient k of the polynomial about c gets
        the variance ``sigma^2 L^(2 order - 1 - 2 k)``, so that matrices are well conditioned. A
        posterior does not depend on it, the polynomial being free; conditioning sets it.

    References
    ----------
    Wahba (1978), J. R. Statist. Soc. B 40, 364-372.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> kernels.Wiener(order=2, sigma=1.0).cov([1.0, 2.0])  # s^2 (3 t - s) / 6
    array([[0.33333333, 0.83333333],
           [0.83333333, 2.66666667]])
    """

    order: int = 2
    sigma: Number = None
    anchor: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if int(self.order) != self.order or self.order < 1:
            raise ValueError(f"order: {said(self.order)}, but a whole number from 1 on is needed")
        self._settle("sigma")

    @property
    def smoothness(self) -> float:
        return self.order - 1

    @property
    def resolution(self) -> float:
        return math.inf

    @property
    def breaks(self) -> tuple[float, ...]:
        return (self.anchor[0],)

    @property
    def null_degree(self) -> int:
        return self.order - 1

    def diffusion(self, x: Array) -> Array:
        return np.full(len(x), known(self.sigma, "sigma") ** 2)

    def anchored(self, center: float, span: float) -> Kernel:
        # a quarter: the polynomials then vary about as much over the data as the rest does
        return dataclasses.replace(self, anchor=(center, 0.25 * span))

    def parameters(self, ndim: int) -> tuple[Parameter, ...]:
        del ndim
        return (Parameter("sigma", "amplitude", -1, self.sigma, self.order - 0.5),)

    def filled(self, values: Sequence[Number]) -> Kernel:
        return dataclasses.replace(self, sigma=values[0])

    def check_ndim(self, ndim: int) -> None:
        if ndim > 1:
            raise ValueError(
                f"kernel: {self!r} is for x of one dimension, but x has {ndim}; "
                "use a Matern kernel, which is as smooth"
            )

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        return self._covariances(x1 - self.anchor[0], p, (x2 - self.anchor[0]).T, q)

    def slopes(self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        return np.array([2.0 * (weights * self.blocks(x1, p, x2, q)).sum()])

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:
        places = x[:, 0] - self.anchor[0]
        return self._covariances(places, p, places, q)

    def _covariances(self, s: Array, p: Orders, t: Array, q: Orders) -> Array:
        """Return the covariance for places that broadcast: (P, Q, ...)."""
        variance = known(self.sigma, "sigma") ** 2
        low, gap = np.minimum(abs(s), abs(t)), abs(abs(s) - abs(t))
        first, together = abs(s) <= abs(t), (s < 0) == (t < 0)
        out = np.empty((len(p), len(q), *np.broadcast_shapes(s.shape, t.shape)))
        for i, j in np.ndindex(len(p), len(q)):
            a, b = self.order - 1 - int(p[i, 0]), self.order - 1 - int(q[j, 0])
            path = np.where(first, _overlap(low, gap, a, b), _overlap(low, gap, b, a))
            sign = np.where(s < 0, (-1.0) ** (a + b), 1.0)
            out[i, j] = np.where(together, sign * path, 0.0) + self._polynomials(s, t, a, b)
        return variance * out

    def _polynomials(self, s: Array, t: Array, a: int, b: int) -> Array | float:
        """Return the covariance of the polynomials of the anchor, of remaining degrees a and b."""
        length = self.anchor[1]
        total: Array | float = 0.0
        if length > 0:
            for k in range(max(self.order - 1 - a, self.order - 1 - b), self.order):
                i, j = k - (self.order - 1 - a), k - (self.order - 1 - b)
                unit = length ** (2 * self.order - 1 - 2 * k)
                total = total + unit * s**i * t**j / (math.factorial(i) * math.factorial(j))
        return total


def _overlap(low: Array, gap: Array, a: int, b: int) -> Array:
    """Return ``int_0^low w^a (gap + w)^b dw / (a! b!)``, a sum of positive terms."""
    terms = (
        math.comb(b, k) * gap ** (b - k) * low ** (a + k + 1) / (a + k + 1) for k in range(b + 1)
    )
    return np.asarray(sum(terms) / (math.factorial(a) * math.factorial(b)))
