"""Gradient and Hessian of a posterior at a set of places: what ``post.gradient(x)`` returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv._validate import floats, said

Array = NDArray[np.float64]

_SHOWN = 6  # places


@dataclass(frozen=True, eq=False)
class Gradient:
    """The gradient of f at each of n places of d dimensions, or at places of another shape.

    Attributes
    ----------
    mean : (n, d) array
        In unit of y / unit of x.
    cov : (n, d, d) array
        Posterior covariance of the components at each place. It says how well the slope is known;
        how the variance of f changes from place to place is ``post.gradient_of_variance(x)``.
    std : (n, d) array
        Standard deviation of each component, the root of the diagonal of `cov`.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> X = np.random.default_rng(0).uniform(size=(20, 2))
    >>> data = sd.observe(X, X @ [1.0, -2.0], yerr=0.01)
    >>> kernel = sd.kernels.Matern52(scale=1.0, sigma=0.1)
    >>> post = sd.GaussianProcess(kernel, mean="linear").condition(data)
    >>> gradient = post.gradient([[0.5, 0.5]])
    >>> gradient.mean.round(6), gradient.std.shape
    (array([[ 1., -2.]]), (1, 2))
    >>> mean, std = gradient.along([0.6, -0.8])
    >>> mean.round(6), bool(0 < std[0] < 0.1)
    (array([2.2]), True)
    """

    mean: Array
    cov: Array

    @property
    def std(self) -> Array:
        """The standard deviation of each component: (n, d)."""
        return np.sqrt(np.maximum(self.cov.diagonal(axis1=-2, axis2=-1), 0.0))

    def __repr__(self) -> str:
        return _shown("Gradient", self.mean, self.std, (1, self.mean.shape[-1]))

    def along(self, direction: ArrayLike) -> tuple[Array, Array]:
        """Return mean and standard deviation of ``v . grad f``, v (d,) or (n, d): (n,) each."""
        given = floats(direction, "direction")
        shape = self.mean.shape
        if given.shape not in (shape[-1:], shape) or not np.isfinite(given).all():
            raise ValueError(
                f"direction: {said(direction)}, but finite numbers of shape {shape[-1:]} are "
                f"needed, or {shape} for one direction at each place"
            )
        v = np.broadcast_to(given, shape)
        var = np.einsum("...a,...ab,...b->...", v, self.cov, v)
        return np.einsum("...a,...a->...", v, self.mean), np.sqrt(np.maximum(var, 0.0))


@dataclass(frozen=True, eq=False)
class Hessian:
    """The second derivatives of f at each of n places of d dimensions.

    Attributes
    ----------
    mean : (n, d, d) array
        In unit of y / unit of x ** 2.
    var : (n, d, d) array
        Posterior variance of each second derivative, mixed ones included.
    std : (n, d, d) array
        The roots of `var`.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> X = np.random.default_rng(0).uniform(size=(30, 2))
    >>> data = sd.observe(X, X[:, 0] * X[:, 1], yerr=0.001)
    >>> kernel = sd.kernels.SquaredExponential(scale=1.0, sigma=0.1)
    >>> hessian = sd.GaussianProcess(kernel, mean="quadratic").condition(data).hessian([[0.5, 0.5]])
    >>> hessian.mean.round(6)[0] + 0.0  # no -0.
    array([[0., 1.],
           [1., 0.]])
    """

    mean: Array
    var: Array

    @property
    def std(self) -> Array:
        """The standard deviation of each second derivative: (n, d, d)."""
        return np.sqrt(self.var)

    def __repr__(self) -> str:
        return _shown("Hessian", self.mean, self.std, self.mean.shape[-2:])


def _shown(name: str, mean: Array, std: Array, cells: tuple[int, ...]) -> str:
    """Return the first places as text, in rows of `cells`, each with its standard deviation."""
    lines = [f"{name}: mean and std of shape {mean.shape}"]
    means, stds = mean.reshape(-1, *cells), std.reshape(-1, *cells)
    for place, spread in zip(means[:_SHOWN], stds[:_SHOWN], strict=True):
        rows = zip(place, spread, strict=True)
        words = (", ".join(f"{m:.6g} ± {s:.2g}" for m, s in zip(*row, strict=True)) for row in rows)
        lines.append(f"  {'; '.join(words)}")
    return "\n".join(lines + ["  .."] * (len(means) > _SHOWN))
