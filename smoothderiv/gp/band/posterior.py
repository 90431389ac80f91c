"""The posterior of a squared exponential process on a line by the band solver."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smoothderiv.gp.band import _window_loops
from smoothderiv.gp.band.fit import BandFit
from smoothderiv.gp.band.grid import Grid
from smoothderiv.gp.band.pins import SpentPinsError
from smoothderiv.gp.band.reduction import Reduction
from smoothderiv.gp.dense import require_consistent, require_determined
from smoothderiv.gp.kernel import Kernel
from smoothderiv.gp.kernels import SquaredExponential
from smoothderiv.gp.process_posterior import ProcessPosterior
from smoothderiv.gp.quadrature import count_panels, panels
from smoothderiv.gp.trend import Trend
from smoothderiv.model import Levels, Noise, UndeterminedError, UnsuitableError
from smoothderiv.observations import Observations

if TYPE_CHECKING:
    from smoothderiv.gp.process import GaussianProcess

__all__ = ["MOST_BY_MATRIX", "BandPosterior", "SpentPinsError", "condition", "is_band", "solves"]

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]
Places: TypeAlias = NDArray[np.int64]

_MANY = 100  # rows from which it is quicker than the dense matrix
_MANY_WITH_EXACT = 1000  # the same if some are exact, which the matrix can take a nugget for
_MOST_EXACT = 200  # rows that are exact: each is a column beside the band
MOST_BY_MATRIX = 8000  # rows of which the matrix is taken for the sake of many exact ones
_ASKED = 2  # the order of derivatives that are exact to rounding, if rows have no higher
_MOST_PANELS = 1_000_000  # of two lengths of the kernel, of an integral: seconds, some GiB
_CHUNK = 20_000
_STRIDE = 16  # windows from one whose root is kept to the next


def is_band(kernel: Kernel) -> bool:
    """Tell whether a kernel is what the band solver knows."""
    return isinstance(kernel, SquaredExponential)


def solves(model: GaussianProcess, data: Observations) -> bool:
    """Tell whether the band solver is asked for, or can and pays."""
    if model.solver not in ("auto", "band"):
        return False
    if model.solver == "band":
        _require(model, data)
        return True
    if data.ndim > 1 or not is_band(model.kernel):
        return False
    exact = int(data.exact.sum())
    if not exact:
        return len(data) >= _MANY
    return len(data) >= _MANY_WITH_EXACT and exact <= _MOST_EXACT and _are_enough(model, data)


def _are_enough(model: GaussianProcess, data: Observations) -> bool:
    """Tell whether the rows that are not exact determine the mean."""
    soft = data[~data.exact]
    try:
        require_determined(Trend.of(model.mean, -1, data), soft.x[:, None], soft.nu[:, None])
    except UndeterminedError:
        return False
    return True


def _require(model: GaussianProcess, data: Observations) -> None:
    """Refuse what the band solver cannot do."""
    if data.ndim > 1:
        raise UnsuitableError(f"solver: 'band' is for 1-D x, not {data.ndim} dimensions")
    exact = int(data.exact.sum())
    if exact > _MOST_EXACT or exact == len(data):
        raise UnsuitableError(
            f"solver: {exact} of {len(data)} rows are exact (yerr=0), the first of them row "
            f"{int(np.argmax(data.exact))}; 'band' takes at most {_MOST_EXACT} beside others; use "
            "solver='dense', 'auto', or a Matern kernel, which is O(n) and holds to any number"
        )
    if exact and not _are_enough(model, data):
        raise UndeterminedError(
            f"mean: {model.mean!r} is determined by exact rows (yerr=0) alone, such as row "
            f"{int(np.argmax(data.exact))}, which 'band' cannot do; use solver='dense' or 'auto'"
        )


def require_affordable(model: GaussianProcess, data: Observations) -> None:
    """Refuse exact rows that would send very many rows to the matrix, unless that is asked for."""
    if model.solver != "auto" or data.ndim > 1 or not is_band(model.kernel):
        return
    exact = int(data.exact.sum())
    if exact and len(data) > MOST_BY_MATRIX:
        raise UnsuitableError(
            f"data: {exact} rows are exact (yerr=0), the first of them row "
            f"{int(np.argmax(data.exact))}, which takes the matrix of all {len(data)} rows, "
            "O(n^3); give them a small yerr, use a Matern kernel, which is O(n), or insist by "
            "solver='dense'"
        )


def condition(model: GaussianProcess, data: Observations) -> BandPosterior:
    """Return the posterior by the band solver; the model's numbers must be known."""
    require_consistent(data)
    trend = Trend.of(model.mean, -1, data)
    reduction = Reduction(trend, data, _ASKED)
    fit = BandFit.of(reduction.reduced(model.kernel, model.noise, wide=False, slopes=False))
    used = {order: (model.noise or {})[order] for order in data.estimated_orders}
    return BandPosterior(data, model, Levels(used), fit.log_evidence, trend, fit)


@dataclass(frozen=True, eq=False, repr=False)
class BandPosterior(ProcessPosterior):
    """The posterior of a squared exponential :class:`GaussianProcess` on a line, in O(n).

    With the functions of the grid, ``f = sum_j v_j psi_j + trend``: a variance is a sum of squares,
    over the functions that data touch by the triangle R of the coefficients, over the others, which
    are as before the data, by themselves. Nothing cancels, so that small variances keep their
    digits; but what exact rows take is subtracted. A question about one place costs O(1), by roots
    of windows of R.

    Attributes
    ----------
    beta : (p,) array
        Estimated coefficients of the mean in the monomials of ``(x - centre) / span``.
    """

    data: Observations
    model: GaussianProcess
    noise: Noise
    log_evidence: float
    _trend: Trend = field(repr=False)
    _fit: BandFit = field(repr=False)

    @property
    def _grid(self) -> Grid:
        return self._fit.reduced.grid

    def _leverage(self) -> Array:
        return self._weight

    @cached_property
    def _weight(self) -> Array:
        """The leverages, for which dof, left-out rows and diagnosis all ask."""
        sd, out = self.data.sd(self.noise), np.ones(len(self.data))
        soft = sd > 0
        var = self._var(self.data.x[soft], self.data.nu[soft])
        out[soft] = np.minimum(var / sd[soft] ** 2, 1.0)
        return out

    def _mean(self, x: Array, nu: Orders) -> Array:
        out = self._trend.fixed(x[:, None], nu[:, None])
        out += self._trend.rows(x[:, None], nu[:, None]) @ self._fit.beta
        for part in _chunks(len(x)):
            first, rows, _ = self._grid.rows(x[part], nu[part], 1.0)
            out[part] += self._applied(first, rows, self._fit.coefficients[:, None])[:, 0]
        return out

    def _applied(self, first: Places, rows: Array, coefficients: Array) -> Array:
        """Return rows (m, b) times coefficients (K, q) of the functions that data touch: (m, q)."""
        out = np.empty((len(rows), coefficients.shape[1]))
        segments = self._fit.segments
        _window_loops.ask(segments.edges, segments.places, first, rows, coefficients, out)
        return out

    def _free(self, x: Array, nu: Orders, first: Places, rows: Array) -> Array:
        """Return the root of what the estimated trend adds to the variance: (m, p)."""
        trend = self._trend.rows(x[:, None], nu[:, None])
        if not trend.shape[1]:
            return trend
        return self._fit.halved(trend - self._applied(first, rows, self._fit.free))

    def _taken(self, x: Array, nu: Orders, first: Places, rows: Array) -> Array:
        """Return the root of what exact rows take from the variance: (m, exact rows)."""
        pinned = self._fit.pinned
        if pinned is None:
            return np.zeros((len(x), 0))
        trend = self._trend.rows(x[:, None], nu[:, None])
        return self._applied(first, rows, pinned.bound) + trend @ pinned.bound_mean

    @cached_property
    def _windows(self) -> tuple[Places, Array]:
        """Where the kept roots of windows of each segment begin, and the roots."""
        edges, width = self._fit.segments.edges, self._grid.width
        count = 1 + (np.diff(edges) - width) // _STRIDE
        begin = np.concatenate(([0], np.cumsum(count)))
        roots = np.empty((begin[-1], width, width))
        _window_loops.windows(self._fit.band, edges, _STRIDE, begin, roots)
        return begin, roots

    def _var(self, x: Array, nu: Orders) -> Array:
        out = np.empty(len(x))
        for part in _chunks(len(x)):
            out[part] = self._together(x[part], nu[part, None])[:, 0, 0]
        return out

    def _joint(self, x: Array, orders: Orders) -> Array:
        return self._together(x, np.broadcast_to(orders, (len(x), len(orders))))

    def _together(self, x: Array, nu: Orders) -> Array:
        """Return the covariance of the orders nu (m, P) at each place: (m, P, P)."""
        m, count = nu.shape
        places, orders = np.repeat(x, count), nu.ravel()
        first, rows, _ = self._grid.rows(places, orders, 1.0)
        free = self._free(places, orders, first, rows).reshape(m, count, len(self.beta))
        out = free @ free.transpose(0, 2, 1)
        segments, (begin, roots) = self._fit.segments, self._windows
        _window_loops.joint(
            self._fit.band,
            segments.edges,
            segments.places,
            _STRIDE,
            begin,
            roots,
            first[::count],
            rows.reshape(m, count, self._grid.width),
            out,
        )
        taken = self._taken(places, orders, first, rows).reshape(m, count, -1)
        if taken.size:
            out -= taken @ taken.transpose(0, 2, 1)
            every = np.arange(count)
            out[:, every, every] = np.maximum(out[:, every, every], 0.0)
        return out

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        same = x is x2 and nu is nu2
        if same:
            root, taken = self._roots(x, nu)
            return np.asarray(root @ root.T - taken @ taken.T)
        root, taken = self._roots(np.concatenate((x, x2)), np.concatenate((nu, nu2)))
        n = len(x)
        return np.asarray(root[:n] @ root[n:].T - taken[:n] @ taken[n:].T)

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        pins, pinned = self._fit.reduced.pins, self._fit.pinned
        if pins is None or pinned is None:
            root, _ = self._roots(x, nu)
            return np.asarray(
                self._mean(x, nu) + rng.standard_normal((size, root.shape[1])) @ root.T
            )
        # paths without the exact rows, and what those change in each of them
        root, taken = self._roots(np.concatenate((x, pins.x)), np.concatenate((nu, pins.nu)))
        drawn = rng.standard_normal((size, root.shape[1])) @ root.T
        white = np.linalg.solve(pinned.corner, drawn[:, len(x) :].T).T
        return np.asarray(self._mean(x, nu) + drawn[:, : len(x)] - white @ taken[: len(x)].T)

    def _roots(self, x: Array, nu: Orders) -> tuple[Array, Array]:
        """Return V and W with ``V V' - W W' = cov`` of the questions, W for exact rows."""
        first, rows, _ = self._grid.rows(x, nu, 1.0)
        root = np.column_stack((self._halves(first, rows), self._free(x, nu, first, rows)))
        return root, self._taken(x, nu, first, rows)

    def _halves(self, first: Places, rows: Array) -> Array:
        """Return ``rows R^-1`` for the functions in reach, those beyond the data last."""
        if not len(first):
            return np.zeros((0, 0))
        width = rows.shape[1]
        asked = np.unique(first)
        touched = np.unique((asked[:, None] + np.arange(width)).ravel())
        column = self._columns(touched)
        fresh, used = touched[column < 0], column[column >= 0]
        beyond = np.zeros((len(rows), len(fresh)))
        begin, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
        band, edges, places = self._part(begin, end)
        stored = np.zeros((len(rows), len(band)))
        _window_loops.halves(band, edges, places, first, rows, fresh, stored, beyond)
        return np.hstack((stored, beyond))

    def _columns(self, places: Places) -> Places:
        """Return the columns of places of the grid, -1 where no data touch: (m,)."""
        segments = self._fit.segments
        run = np.maximum(np.searchsorted(segments.places, places, side="right") - 1, 0)
        column = segments.edges[run] + places - segments.places[run]
        inside = (places >= segments.places[run]) & (column < segments.edges[run + 1])
        return np.where(inside, column, -1)

    def _part(self, begin: int, end: int) -> tuple[Array, Places, Places]:
        """Return a triangle of the functions `begin` .. `end` and few more, and its segments."""
        segments, band, width = self._fit.segments, self._fit.band, self._grid.width
        edges = segments.edges
        if begin == end:
            return band[:0], np.zeros_like(edges), segments.places
        run = int(np.searchsorted(edges, end - 1, side="right") - 1)
        last, (kept, roots) = int(edges[run + 1]) - width, self._windows
        k = min(last - end + width, last - int(edges[run])) // _STRIDE
        at = last - k * _STRIDE
        window = roots[kept[run] + k][max(begin - at, 0) :]
        part = np.concatenate((band[begin : max(at, begin)], window))
        places = segments.places + np.clip(begin - edges[:-1], 0, np.diff(edges))
        return part, np.clip(edges - begin, 0, len(part)), places

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        """Integrate each function: ``int phi = sqrt(pi)/2 (erf(b) - erf(a))``."""
        if a == b:
            return 0.0, 0.0
        count_panels(self.model.kernel, min(a, b), max(a, b), _MOST_PANELS)
        grid, trend = self._grid, self._trend
        low, high = (int(np.round(end / grid.step)) for end in (min(a, b), max(a, b)))
        places = np.arange(low - grid.width, high + grid.width + 1)
        size = 0.5 * np.sqrt(np.pi) * grid.scale * grid.size
        left, right = ((end - places * grid.step) / grid.scale for end in (a, b))
        row = size * np.where(
            left + right > 0,
            special.erfc(left) - special.erfc(right),
            special.erfc(-right) - special.erfc(-left),
        )
        column = self._columns(places)
        stored, inside = column[column >= 0], row[column >= 0]
        node, weight = self._nodes(a, b)
        value = np.zeros((len(node), 1), dtype=np.int64)
        mean = inside @ self._fit.coefficients[stored] + weight @ trend.fixed(node, value)
        flat = weight @ trend.rows(node, value)
        mean += flat @ self._fit.beta
        free = self._fit.halved((flat - inside @ self._fit.free[stored])[None])
        var = (row[column < 0] ** 2).sum() + (free**2).sum()
        if len(stored):
            begin, end = int(stored[0]), int(stored[-1]) + 1
            band, edges, _ = self._part(begin, end)
            here = np.zeros(len(band))
            here[stored - begin] = inside
            var += _window_loops.whole(band, edges, here)
        if self._fit.pinned is not None:
            taken = inside @ self._fit.pinned.bound[stored] + flat @ self._fit.pinned.bound_mean
            var = max(var - (taken**2).sum(), 0.0)
        return float(mean), float(var)

    def _nodes(self, a: float, b: float) -> tuple[Array, Array]:
        """Return Gauss nodes (m, 1) and weights for the mean, which is a polynomial or smooth."""
        if callable(self._trend.mean):
            _, node, weight = panels(self.model.kernel, min(a, b), max(a, b))
            return node[:, None], math.copysign(1.0, b - a) * weight
        node, weight = np.polynomial.legendre.leggauss(3)
        return 0.5 * (a + b) + 0.5 * (b - a) * node[:, None], 0.5 * (b - a) * weight


def _chunks(count: int) -> Iterator[slice]:
    """Yield parts of a long question, so that its rows fit a cache."""
    return (slice(first, first + _CHUNK) for first in range(0, count, _CHUNK))
