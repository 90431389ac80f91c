"""Rows over their noise, those of one panel of the grid brought to as few as it has dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.assembly import columns
from smoothderiv.gp.band import _loops
from smoothderiv.gp.band.grid import ROUNDING, Grid, rank, wide_panel
from smoothderiv.gp.band.pins import Pins
from smoothderiv.gp.dense import LOG_2PI, log_gram
from smoothderiv.gp.kernel import Kernel, known
from smoothderiv.gp.trend import Trend
from smoothderiv.observations import Observations

Array: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]

_KEPT = 2  # summaries that are remembered: the search moves to and fro between two


@dataclass(frozen=True, eq=False)
class Reduced:
    """Rows ``(rows, design, target)`` over their noise, sorted by `first`.

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
    constant : float
        What minus twice the log evidence has beside them.
    pins : Pins or None
        Exact rows, which are not among the others.
    """

    grid: Grid
    first: Places
    rows: Array
    slopes: Array
    sides: Array
    group: Places
    constant: float
    pins: Pins | None


@dataclass(frozen=True, eq=False)
class Summary:
    """Rows over their relative noise, summed up in panels for all lengths that the panels suit.

    Rows of one group in one panel are polynomials in it. If they are many, they are replaced by the
    triangle of their QR decomposition: sums of squares and of products over a group stay the same.
    Neither lengths nor amplitudes nor levels of noise are in it, so that rows are read once for
    many of them.

    Attributes
    ----------
    panel : float
    x, nu, inverse : (f,) arrays
        Places, orders and one over the relative noise of the few.
    triangles : mapping from order to (k r', r) array
        Of the many, run by run.
    at : (n,) array of int
        The panels of all, in the order of `sorting`.
    sides : (n, p + 1) array
    group : (n,) array of int
    sorting : (n,) array of int
        Which of the few, then the many, comes first.
    """

    panel: float
    x: Array
    nu: Places
    inverse: Array
    triangles: Mapping[int, Array]
    at: Array
    sides: Array
    group: Places
    sorting: NDArray[np.intp]

    @classmethod
    def of(cls, data: Observations, sd: Array, sides: Array, panel: float, rank: int) -> Summary:
        """Sum up the rows of `data` over `sd`, with right sides."""
        group = 2 * data.nu + data.estimated
        at = np.floor(data.x / panel)
        order = np.lexsort((at, group))
        at, group = at[order], group[order]
        change = (np.diff(at) != 0) | (np.diff(group) != 0)
        starts = np.concatenate(([0], np.flatnonzero(change) + 1, [len(at)]))
        counts = np.diff(starts)
        size = rank + sides.shape[1]
        many = counts > size
        within = np.repeat(many, counts)
        few, rest = order[~within], order[within]
        x, begins = data.x[rest], starts[:-1][many]
        triangles = np.empty((len(begins), size, rank))
        out = np.empty((len(begins), size, sides.shape[1]))
        runs = np.concatenate(([0], np.cumsum(counts[many])))
        tau = (x - at[within] * panel) * (2.0 / panel) - 1.0
        _loops.compress(runs, tau, 1.0 / sd[rest], sides[rest], triangles, out)
        kinds = group[begins]
        found = {
            int(nu): triangles[kinds // 2 == nu].reshape(-1, rank) for nu in np.unique(kinds // 2)
        }
        places = np.concatenate((at[~within], np.repeat(at[begins], size)))
        sorting = np.argsort(places, kind="stable")
        return cls(
            panel,
            data.x[few],
            data.nu[few],
            1.0 / sd[few],
            found,
            places[sorting],
            np.concatenate((sides[few], out.reshape(-1, sides.shape[1])))[sorting],
            np.concatenate((group[~within], np.repeat(kinds, size)))[sorting],
            sorting,
        )

    def rows(self, grid: Grid, slopes: bool) -> tuple[Array, Array]:
        """Return the rows on a grid, and their slopes."""
        _, rows, steep = grid.rows(self.x, self.nu, self.inverse, slopes)
        parts, steeps = [rows], [steep]
        for order, triangles in self.triangles.items():
            basis, slope = grid.polynomials(order, triangles.shape[1], slopes)
            parts.append(triangles @ basis)
            steeps.append(triangles @ slope if slopes else steep[:0])
        rows, steep = np.concatenate(parts)[self.sorting], np.concatenate(steeps)
        return rows, steep[self.sorting] if slopes else steep


class Reduction:
    """What numbers of the kernel and levels of noise leave as it is: the data, summed up.

    Exact to rounding for derivatives up to those observed and `order`, or to a given part of their
    variance.
    """

    def __init__(
        self, trend: Trend, data: Observations, order: int = 0, accuracy: float = ROUNDING
    ) -> None:
        self._trend, self._accuracy = trend, accuracy
        self._data = data[~data.exact] if data.exact.any() else data
        self._exact = data[_different(data)]
        every = self._data + self._exact
        self._gram = log_gram(trend, *columns(every.x, every.nu))
        self._highest = int(data.nu.max(initial=order))
        self._summaries: dict[float, Summary] = {}

    @cached_property
    def _sides(self) -> tuple[Array, Array, float, dict[int, int]]:
        """Relative noise, right sides over it, the constant, and rows by group."""
        data, trend = self._data, self._trend
        (x, nu), sd = columns(data.x, data.nu), data.relative_sd
        sides = np.column_stack((trend.rows(x, nu), data.y - trend.fixed(x, nu))) / sd[:, None]
        constant = 2.0 * float(np.log(sd).sum()) - self._gram
        constant += (len(data) + len(self._exact) - len(trend.exponents)) * LOG_2PI
        counts = {group_of(o): int((data.is_of(o) & data.estimated).sum()) for o in data.orders}
        return sd, sides, constant, counts

    def _summary(self, panel: float, wide: bool) -> Summary:
        if panel not in self._summaries:
            sd, sides, _, _ = self._sides
            while len(self._summaries) >= _KEPT:
                self._summaries.pop(next(iter(self._summaries)))
            most = rank(self._highest, wide, self._accuracy)
            self._summaries[panel] = Summary.of(self._data, sd, sides, panel, most)
        return self._summaries[panel]

    def reduced(
        self, kernel: Kernel, noise: Mapping[Any, float] | None, *, wide: bool, slopes: bool
    ) -> Reduced:
        """Return the rows for the numbers of a kernel and levels of noise.

        Wide panels have fewer rows and more functions.
        """
        grid = self._grid(kernel, wide)
        summary = self._summary(grid.panel, wide)
        rows, steep = summary.rows(grid, slopes)
        first = summary.at.astype(np.int64) * grid.steps - grid.half
        return self._weighted(grid, first, rows, steep, summary.sides, summary.group, noise)

    def every(
        self,
        kernel: Kernel,
        noise: Mapping[Any, float] | None,
        *,
        slopes: bool,
        wide: bool = True,
    ) -> Reduced:
        """Return each row of the data, sorted by place, on the grid of such panels."""
        grid, (x, nu, inverse, sides, group) = self._grid(kernel, wide), self._along
        first, rows, steep = grid.rows(x, nu, inverse, slopes)
        return self._weighted(grid, first, rows, steep, sides, group, noise)

    @cached_property
    def along(self) -> NDArray[np.intp]:
        """The order of the rows by place."""
        return np.argsort(self._data.x, kind="stable")

    @cached_property
    def _along(self) -> tuple[Array, Places, Array, Array, Places]:
        """Places, orders, one over the relative noise, right sides and groups, sorted by place."""
        data, along, (sd, sides, _, _) = self._data, self.along, self._sides
        group = 2 * data.nu[along] + data.estimated[along]
        return data.x[along], data.nu[along], 1.0 / sd[along], sides[along], group

    def _grid(self, kernel: Kernel, wide: bool) -> Grid:
        scale, sigma = kernel.resolution, known(getattr(kernel, "sigma", None), "sigma")
        panel = wide_panel(scale, self._highest, self._accuracy) if wide else 0.0
        return Grid.of(scale, sigma, self._highest, panel, self._accuracy)

    def _weighted(
        self,
        grid: Grid,
        first: Places,
        rows: Array,
        steep: Array,
        sides: Array,
        group: Places,
        noise: Mapping[Any, float] | None,
    ) -> Reduced:
        """Divide rows over their relative noise by the levels of noise."""
        _, _, constant, counts = self._sides
        if self._data.estimated.any():
            levels = np.ones(2 * self._highest + 2)
            for order in self._data.estimated_orders:
                level = (noise or {})[order]
                levels[group_of(order)] = 1.0 / level
                constant += 2.0 * counts[group_of(order)] * float(np.log(level))
            weight = levels[group, None]
            rows *= weight
            sides = sides * weight
            if len(steep):
                steep *= weight
        pins = self._pins(grid, len(steep) > 0) if len(self._exact) else None
        return Reduced(grid, first, rows, steep, sides, group, constant, pins)

    def _pins(self, grid: Grid, slopes: bool) -> Pins:
        """Return the exact rows."""
        data, (x, nu) = self._exact, columns(self._exact.x, self._exact.nu)
        first, rows, steep = grid.rows(data.x, data.nu, 1.0, slopes)
        trend, y = self._trend.rows(x, nu), data.y - self._trend.fixed(x, nu)
        return Pins(data.x, data.nu, first, rows, steep, trend, y)


def _different(data: Observations) -> NDArray[np.intp]:
    """Return the exact rows, one of each place and order."""
    exact = np.flatnonzero(data.exact)
    _, kept = np.unique(np.column_stack((data.x, data.nu))[exact], axis=0, return_index=True)
    return exact[kept]


def group_of(order: Any) -> int:
    """Return the group of the rows of an order whose noise is estimated."""
    return 2 * int(order) + 1
