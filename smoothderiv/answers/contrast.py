"""The variance of a weighted sum of answers, however much of it cancels."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from smoothderiv.moments import Moments

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]

_CANCELS = 1e-6  # share of what its parts could make of a variance, below which rounding tells
_ZERO = 64 * np.finfo(float).eps  # share of their sizes to which weights sum to 0
_PANELS = 64  # in which an integral is split at most, at the places of the data
_MOST = 2000  # nodes of an integral
_NODE, _WEIGHT = np.polynomial.legendre.leggauss(8)


def variance_of_sum(post: Moments, x: Array, nu: Orders, weights: Array) -> float:
    """Return the variance of ``sum_i weights_i D^nu_i f(x_i)``.

    Where that is a small difference of large covariances, such as of the increment over a short
    interval, and the weights sum to 0, the sum is an integral of the next derivative,

        sum_i w_i g(x_i) = -integral (sum of w_i over x_i <= t) g'(t) dt,

    in which less cancels, and so on while derivatives exist. Else it is not known better than to
    the rounding of its parts, and never less than ``eps (sum_i |w_i| std_i)^2``.
    """
    cov = post._cov(x, nu, x, nu)
    variance = float(weights @ cov @ weights)
    size = float(np.abs(weights) @ np.sqrt(np.maximum(np.diag(cov), 0.0))) ** 2
    if variance >= _CANCELS * size:
        return max(variance, 0.0)
    nothing = abs(float(weights.sum())) <= _ZERO * float(np.abs(weights).sum())
    if nothing and x.ndim == 1 and (nu == nu[0]).all() and nu[0] < post.highest_order:
        node, share = _of_slopes(post, x, int(nu[0]), weights)
        if len(node) <= _MOST:
            return variance_of_sum(post, node, np.full(len(node), nu[0] + 1), share)
    return max(variance, float(np.finfo(float).eps) * size)


def _of_slopes(post: Moments, x: Array, nu: int, weights: Array) -> tuple[Array, Array]:
    """Return places and weights of slopes of ``D^nu f`` that make the same sum, by quadrature."""
    order = np.argsort(x, kind="stable")
    x, total = x[order], np.cumsum(weights[order])
    inside = np.concatenate((post.data.x, post._jumps(nu + 1)))
    inside = np.unique(inside[(inside > x[0]) & (inside < x[-1])])
    if len(inside) >= _PANELS:
        inside = np.linspace(x[0], x[-1], _PANELS + 1)[1:-1]
    edges = np.unique(np.concatenate((x, inside)))
    half = 0.5 * np.diff(edges)[:, None]
    share = -total[np.searchsorted(x, edges[:-1], side="right") - 1, None] * half * _WEIGHT
    return (edges[:-1, None] + half * (1.0 + _NODE)).ravel(), share.ravel()
