"""Gradient and Hessian of a posterior at a set of places: what ``post.gradient(x)`` returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gradient:
    """The gradient of f at each of n places of d dimensions.

    Attributes
    ----------
    mean : (n, d) array
        In unit of y / unit of x.
    cov : (n, d, d) array
        Posterior covariance of the components at each place. It says how well the slope is known;
        how the variance of f changes from place to place is ``post.gradient_of_variance(x)``.
    """

    mean: Array
    cov: Array

    @property
    def std(self) -> Array:
        """The standard deviation of each component: (n, d)."""
        return np.sqrt(np.maximum(self.cov.diagonal(axis1=1, axis2=2), 0.0))

    def along(self, direction: ArrayLike) -> tuple[Array, Array]:
        """Return mean and standard deviation of ``v . grad f``, v (d,) or (n, d): (n,) each."""
        v = np.broadcast_to(np.asarray(direction, dtype=np.float64), self.mean.shape)
        var = np.einsum("na,nab,nb->n", v, self.cov, v)
        return np.einsum("na,na->n", v, self.mean), np.sqrt(np.maximum(var, 0.0))


@dataclass(frozen=True, eq=False)
class Hessian:
    """The second derivatives of f at each of n places of d dimensions.

    Attributes
    ----------
    mean : (n, d, d) array
        In unit of y / unit of x ** 2.
    var : (n, d, d) array
        Posterior variance of each second derivative, mixed ones included.
    """

    mean: Array
    var: Array

    @property
    def std(self) -> Array:
        """The standard deviation of each second derivative: (n, d, d)."""
        return np.sqrt(self.var)
