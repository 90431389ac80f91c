"""Fewer rows that say about the same: weighted means of neighbours."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from smoothderiv.observations import Observations

_MANY = 50_000  # rows beyond which means of neighbours are tuned on
_TELLING = 20_000  # of these
_WITHIN = 0.05  # in a log: how much wider rows may scatter within a bin than beside each other


def telling(data: Observations) -> Observations:
    """Return rows enough to tune on: means of neighbours, if there are many rows on a line."""
    return summarised(data, _TELLING) if data.ndim == 1 and len(data) > _MANY else data


def summarised(data: Observations, few: int) -> Observations:
    """Return `binned` data, or the data themselves where bins would hide some of the curve.

    They would if rows of an order scatter more about the line through their bin than beside each
    other, or bins more than rows beside each other; and more than stated noise has them scatter.
    Where most rows beside each other are on a line, as rounded values are, any scatter about a
    bin's is more.
    """
    out, size = binned(data, few), -(-len(data) // few)
    for order in data.orders:
        rows, bins = data[data.is_of(order) & ~data.exact], out[out.is_of(order) & ~out.exact]
        beside = max(_scatter(rows, 3), 0.0 if rows.estimated.any() else 1.0)
        # three standard errors of the least count
        chance = 4.0 / math.sqrt(max(len(bins), 1) / 3.0)
        for found in (_scatter(rows, size), _scatter(bins, 3)):
            if not found < beside * math.exp(_WITHIN + chance) and found > 0:
                return data
    return out


def _scatter(part: Observations, size: int) -> float:
    """Return the typical residual, over its noise, of rows from the line through `size` of them."""
    count = len(part) // size
    if not count or size < 3:
        return 0.0
    along = np.argsort(part.x, kind="stable")[: count * size].reshape(count, size)
    sd, x, y = part.relative_sd[along], part.x[along], part.y[along]
    precision = sd**-2.0
    total = precision.sum(axis=1, keepdims=True)
    x = x - (precision * x).sum(axis=1, keepdims=True) / total
    y = y - (precision * y).sum(axis=1, keepdims=True) / total
    spread = (precision * x * x).sum(axis=1, keepdims=True)
    slope = np.divide(
        (precision * x * y).sum(axis=1, keepdims=True),
        spread,
        where=spread > 0,
        out=np.zeros_like(spread),
    )
    square = ((y - slope * x) / sd) ** 2
    return math.sqrt(float(np.median(square.sum(axis=1))) / _median(size - 2))


def _median(dof: int) -> float:
    """Return the median of the chi squared distribution."""
    return float(2.0 * special.gammaincinv(0.5 * dof, 0.5))


def binned(data: Observations, few: int) -> Observations:
    """Return about `few` rows: means of neighbours of one order and kind of noise.

    With p_i the precisions of k neighbours (``1 / yerr_i^2`` up to an unknown level), their mean
    place and value ``sum p_i x_i / sum p_i``, ``sum p_i y_i / sum p_i`` is a row of precision
    ``sum p_i``. What is lost is the curvature of f within a bin. Exact rows stay as they are. Only
    for x of one dimension.
    """
    size = -(-len(data) // few)
    if size <= 1:
        return data
    kinds = [(data.nu == k) & (data.estimated == e) for k in data.orders for e in (False, True)]
    parts = [_means(data[rows & ~data.exact], size) for rows in kinds]
    out = data[data.exact]
    for part in parts:
        out = out + part
    return out


def _means(part: Observations, size: int) -> Observations:
    """Return the means of `size` neighbours each, of rows of one kind."""
    if not len(part):
        return part
    along = np.argsort(part.x, kind="stable")
    first = np.arange(0, len(part), size)
    precision = part.relative_sd[along] ** -2.0
    total = np.add.reduceat(precision, first)
    x = np.add.reduceat(precision * part.x[along], first) / total
    y = np.add.reduceat(precision * part.y[along], first) / total
    nu, relative = part.nu[along[first]], part.relative[along[first]]
    yerr = np.where(np.isnan(part.yerr[along[first]]), np.nan, 1.0)
    return Observations(x, y, yerr, nu, relative, origin=part.origin, weight=total, zone=part.zone)
