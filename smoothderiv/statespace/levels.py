"""Rough noise levels, from which a search starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smoothderiv.observations import Observations

Array = NDArray[np.float64]

_ENOUGH = 10000  # rows that say what is typical


def rough_levels(data: Observations, orders: tuple[int, ...]) -> dict[int, float]:
    """Return a rough level for each order: the scatter of rows about the line of their neighbours.

    With fewer than three rows, or none that scatter, their size.
    """
    size = data.relative_sd
    return {order: _rough(data, size, data.is_of(order) & data.estimated) for order in orders}


def _rough(data: Observations, size: Array, rows: NDArray[np.bool_]) -> float:
    x, y = data.x, data.y
    if not rows.all():
        x, y, size = x[rows], y[rows], size[rows]
    if not (x[1:] >= x[:-1]).all():
        order = np.argsort(x, kind="stable")
        x, y, size = x[order], y[order], size[order]
    typical = float(np.sqrt(size @ size / len(size))) or 1.0
    if len(y) >= 3:
        level = float(np.median(np.abs(scatter(x, y, size, -(-len(y) // _ENOUGH))))) / 0.6745
        if level > 1e-8 * max(y.max(), -y.min()) / typical:
            return level
    spread = float(np.abs(y - np.mean(y)).max()) or float(np.abs(y).max()) or 1.0
    return 0.1 * spread / typical


def scatter(x: Array, y: Array, size: Array, every: int = 1) -> Array:
    """Return how far rows lie from the line of their neighbours, over the size of that: (n - 2,).

    Rows are sorted; `size` are their standard deviations up to a level. Of all but the first and
    the last, or of every so many.

    References
    ----------
    Gasser, Sroka and Jennen-Steinmetz (1986), doi:10.1093/biomet/73.3.625.
    """
    i = np.arange(1, len(y) - 1, every)
    gap = x[i + 1] - x[i - 1]
    share = np.divide(x[i] - x[i - 1], gap, out=np.full(len(gap), 0.5), where=gap > 0)
    off = y[i] - (1 - share) * y[i - 1] - share * y[i + 1]
    factor = np.sqrt(size[i] ** 2 + ((1 - share) * size[i - 1]) ** 2 + (share * size[i + 1]) ** 2)
    return np.asarray(off / factor)
