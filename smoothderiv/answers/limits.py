"""Simultaneous limits, at some places or along a whole curve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv._validate import said
from smoothderiv.answers.bands import critical_value, ways_along, ways_through
from smoothderiv.answers.marginal import student_quantile

if TYPE_CHECKING:
    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]


def half_width(
    post: Posterior,
    x: ArrayLike,
    nu: ArrayLike,
    level: float,
    within: tuple[Any, Any] | None,
    rng: int | np.random.Generator | None,
) -> Array:
    """Return half the width of a simultaneous band at the places asked, or along a range."""
    places, orders, shape = post._question(x, nu)
    var = post._var(places, orders)
    std = np.sqrt(var)
    free = _has_width(var, orders)
    dof = least_dof(post, orders)
    if post.data.ndim > 1:
        if within is not None:
            raise ValueError("within: x has several dimensions; a band holds at the places asked")
        generator = np.random.default_rng(rng)
        c = _drawn_quantile(post, places[free], orders[free], level, dof, generator)
    elif within is None:
        c = critical_value(ways_through(post, places[free], orders[free]), level, dof)
    else:
        low, high = resolve_range(post, within)
        outside = (places < low) | (places > high)
        if outside.any():
            raise ValueError(
                f"within: x = {places[outside][0]:g} lies outside of {said(within)}, along which "
                "the band holds; widen the range, or leave out such places"
            )
        c = critical_along(post, orders, level, low, high)
    return (c * std).reshape(shape)


def _has_width(var: Array, nu: Any) -> NDArray[np.bool_]:
    """Mark the places whose variance is more than a rounding error of the largest of its order."""
    if nu.ndim > 1:
        return np.asarray(var > 0)
    largest = np.zeros(int(nu.max(initial=0)) + 1)
    np.maximum.at(largest, nu, var)
    return np.asarray(var > (64 * np.finfo(float).eps) ** 2 * largest[nu])


def critical_along(post: Posterior, nu: Any, level: float, low: float, high: float) -> float:
    """Return c such that ``mean -+ c std`` holds all along a range, for all orders in `nu`."""
    return critical_value(ways_along(post, nu, low, high), level, least_dof(post, nu))


def least_dof(post: Posterior, nu: Any) -> float:
    """Return the fewest degrees of freedom that limits of some orders rest on."""
    return min((post._dof(order) for order in np.unique(nu, axis=0)), default=math.inf)


def resolve_range(post: Posterior, within: tuple[Any, Any] | None) -> tuple[float, float]:
    """Return the range asked, by default that of the data."""
    if post.data.ndim > 1:
        raise ValueError("within: x has several dimensions; ranges are for curves of one")
    if within is None:
        return float(post.data.x.min()), float(post.data.x.max())
    ends = post.data.coordinates(np.atleast_1d(np.array(within)), "within")
    low, high = ends if ends.shape == (2,) else (0.0, 0.0)
    if not low < high:
        raise ValueError(f"within: {said(within)} is not a range (low, high) with low < high")
    return float(low), float(high)


def _drawn_quantile(
    post: Posterior, x: Array, nu: Any, level: float, dof: float, rng: np.random.Generator
) -> float:
    """Return the quantile of ``max |deviation| / std`` over joint draws, a block at a time.

    The standard error of its level is a twentieth of ``1 - level``.
    """
    size = max(1000, math.ceil(400.0 * level / (1.0 - level)))
    if not len(x):
        return 0.0
    mean, std = post._mean(x, nu), np.sqrt(post._var(x, nu))
    block = max(1, min(size, 4_000_000 // std.size))
    peaks = []
    for first in range(0, size, block):
        paths = post._sample(x, nu, min(block, size - first), rng)
        peaks.append((np.abs(paths - mean) / std).max(axis=1))
    peak = np.concatenate(peaks)
    if math.isfinite(dof):
        peak = peak / np.sqrt(rng.chisquare(dof, size) / dof)
    pointwise = student_quantile(0.5 + 0.5 * level, dof)
    return max(float(np.quantile(peak, level)), pointwise)


def check_level(level: float) -> float:
    """Refuse what is not one probability in (0, 1)."""
    one = np.asarray(level)
    if one.ndim or one.dtype.kind not in "iuf" or not 0 < one < 1:
        many = ", one at a time" if one.ndim else ""
        raise ValueError(
            f"level: {said(level)} is not a probability between 0 and 1{many}, such as 0.95"
        )
    return float(level)
