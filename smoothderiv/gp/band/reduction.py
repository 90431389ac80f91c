"""Rows over their noise, those of one panel of the grid brought to as few as it has dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.band import _loops
from smoothderiv.gp.band.grid import Grid
from smoothderiv.gp.kernel import Kernel, known
from smoothderiv.gp.trend import Trend
from smoothderiv.observations import Observations

Array: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reduced:
    """Rows ``(rows, design, target)`` over their noise, sorted by `first`.

    Rows of one group in one panel, if they are many, are replaced by the triangle of their QR
    decomposition: sums of squares and of products over a group stay the same.

    Attributes
    ----------
    grid : Grid
    first : (n,) array of int
        The first function that a row touches.
    rows, slopes : (n, b) arrays
        Slopes may be empty.
    sides : (n, p + 1) array
        The trend's rows, and the data less the fixed mean.
    group : (n,) array of int
        Twice the order, and 1 where the noise is estimated.
    """

    grid: Grid
    first: Places
    rows: Array
    slopes: Array
    sides: Array
    group: Places

    @classmethod
    def of(
        cls, kernel: Kernel, trend: Trend, data: Observations, sd: Array, slopes: bool
    ) -> Reduced:
        """Reduce the rows of `data`."""
        sigma = known(getattr(kernel, "sigma", None), "sigma")
        grid = Grid.of(kernel.resolution, sigma, int(data.nu.max(initial=0)))
        x, nu = data.x[:, None], data.nu[:, None]
        target = (data.y - trend.fixed(x, nu)) / sd
        sides = np.column_stack((trend.rows(x, nu) / sd[:, None], target))
        group = 2 * data.nu + data.estimated
        first, tau = grid.places(data.x)
        order = np.lexsort((group, first))
        first, group = first[order], group[order]
        change = (np.diff(first) != 0) | (np.diff(group) != 0)
        starts = np.concatenate(([0], np.flatnonzero(change) + 1, [len(first)]))
        orders = np.unique(data.nu)
        size = grid.rank(int(orders[-1])) + sides.shape[1]
        many = np.diff(starts) > size
        in_many = np.repeat(many, np.diff(starts))
        few, rest = order[~in_many], order[in_many]
        _, rows, slope = grid.rows(data.x[few], data.nu[few], 1.0 / sd[few], slopes)
        found = cls(grid, first[~in_many], rows, slope, sides[few], group[~in_many])
        if not len(rest):
            return found
        begins = starts[:-1][many]
        runs = np.concatenate(([0], np.cumsum(np.diff(starts)[many])))
        count = size * len(begins)
        rows, out = np.empty((count, grid.width)), np.empty((count, sides.shape[1]))
        slope = np.empty((count if slopes else 0, grid.width))
        basis, steep = grid.polynomials(orders, slopes)
        slot = np.searchsorted(orders, group[begins] // 2)
        numbers = (tau[rest], 1.0 / sd[rest], sides[rest], basis, steep)
        _loops.compress(runs, slot, *numbers, rows, slope, out)
        at, kind = np.repeat(first[begins], size), np.repeat(group[begins], size)
        return found.joined(cls(grid, at, rows, slope, out, kind))

    def joined(self, other: Reduced) -> Reduced:
        """Return the rows of both, sorted."""
        if not len(self.first):
            return other
        order = np.argsort(np.concatenate((self.first, other.first)), kind="stable")

        def both(mine: Array, theirs: Array) -> Array:
            return np.concatenate((mine, theirs))[order]

        slopes = both(self.slopes, other.slopes) if len(self.slopes) else self.slopes
        return Reduced(
            self.grid,
            np.concatenate((self.first, other.first))[order],
            both(self.rows, other.rows),
            slopes,
            both(self.sides, other.sides),
            np.concatenate((self.group, other.group))[order],
        )


def group_of(order: Any) -> int:
    """Return the group of the rows of an order whose noise is estimated."""
    return 2 * int(order) + 1
