"""Autocorrelated errors: a process that the rows of values carry, and the curve does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.kernel import Array, Kernel, Number, Orders, Parameter


@dataclass(frozen=True)
class Nuisance(Kernel):
    """Correlated noise of the values: ``y_i = f(x_i) + g(x_i) + e_i``, g of the kernel given.

    Added to the kernel of f, it is a part of the rows of values (order 0) and of no answer: the
    posterior is that of f, and g joins the noise e. With ``Matern12`` g is the first-order
    autoregressive process in continuous time, AR(1) at even steps, whose correlation over a
    distance r is ``exp(-r / scale)``. Both are told apart by how they change: g must be rougher, or
    of another length, than f. Beside Matern kernels a Matern nuisance is solved in O(n) on a line.

    Attributes
    ----------
    kernel : Kernel
        The covariance of g; its unknown numbers are tuned with the others.

    References
    ----------
    Wang (1998), Smoothing spline models with correlated random errors, J. Am. Stat. Assoc. 93,
    341-348, doi:10.2307/2669630. Opsomer, Wang and Yang (2001), Nonparametric regression with
    correlated errors, doi:10.1214/ss/1009213287.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> rng, x = np.random.default_rng(1), np.linspace(0, 10, 120)
    >>> drift = np.zeros(120)
    >>> for i in range(1, 120):
    ...     drift[i] = 0.8 * drift[i - 1] + 0.1 * rng.standard_normal()
    >>> data = sd.observe(x, np.sin(x) + drift + 0.05 * rng.standard_normal(120))
    >>> kernel = sd.kernels.Matern72() + sd.kernels.Nuisance(sd.kernels.Matern12())
    >>> post = sd.smooth(data, sd.GaussianProcess(kernel))
    >>> bool(np.abs(post(x, nu=1) - np.cos(x)).mean() < 0.1)
    True
    """

    kernel: Kernel

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, Kernel) or self.kernel.null_degree >= 0:
            raise ValueError(
                f"kernel: {self.kernel!r}, but a kernel of finite variance is needed for noise, "
                "such as Nuisance(Matern12())"
            )

    @property
    def signal(self) -> None:
        """None: it is no part of f."""
        return None

    @property
    def smoothness(self) -> float:
        """Infinite: it limits no derivative of f."""
        return np.inf

    @property
    def resolution(self) -> float:
        return self.kernel.resolution

    @property
    def breaks(self) -> tuple[float, ...]:
        return self.kernel.breaks

    def check_ndim(self, ndim: int) -> None:
        self.kernel.check_ndim(ndim)

    def parameters(self, ndim: int) -> tuple[Parameter, ...]:
        return tuple(
            dataclasses.replace(
                p, name=f"kernel.{p.name}", kind="reach" if p.kind == "length" else p.kind
            )
            for p in self.kernel.parameters(ndim)
        )

    def filled(self, values: Sequence[Number]) -> Kernel:
        return Nuisance(self.kernel.filled(values))

    def times(self, factor: float) -> Kernel:
        return Nuisance(self.kernel.times(factor))

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        out = np.zeros((len(p), len(q), len(x1), len(x2)))
        both = np.ix_(_of_values(p), _of_values(q))
        if out[both].size:
            value = np.zeros((1, x1.shape[1]), dtype=np.int64)
            out[both] = self.kernel.blocks(x1, value, x2, value)
        return out

    def slopes(self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        value = np.zeros((1, x1.shape[1]), dtype=np.int64)
        felt = weights[np.ix_(_of_values(p), _of_values(q))].sum(axis=(0, 1), keepdims=True)
        return self.kernel.slopes(felt, x1, value, x2, value)

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:
        out = np.zeros((len(p), len(q), len(x)))
        both = np.ix_(_of_values(p), _of_values(q))
        value = np.zeros((1, x.shape[1]), dtype=np.int64)
        out[both] = self.kernel.diagonal(x, value, value)
        return out


def _of_values(orders: Orders) -> NDArray[np.intp]:
    """Return which orders are those of values."""
    return np.flatnonzero(~orders.any(axis=1))
