"""The unknown numbers of a Gaussian process: from logarithms to a model, and where to start."""

from __future__ import annotations

import dataclasses
import itertools
import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import scipy  # its parts load when they are used
from numpy.typing import NDArray

from smoothderiv.gp import assembly
from smoothderiv.gp.assembly import Layout
from smoothderiv.gp.kernel import AtLeast, Kernel, Number, Parameter, Prior
from smoothderiv.gp.trend import Trend
from smoothderiv.gp.wiener import Wiener
from smoothderiv.model import levels_sharing, missing_noise
from smoothderiv.observations import Observations
from smoothderiv.statespace.levels import rough_levels

if TYPE_CHECKING:
    from smoothderiv.gp.process import GaussianProcess

Array: TypeAlias = NDArray[np.float64]

_LENGTHS = (2.0, 1.0, 0.5, 0.25, 0.12, 0.06)  # times the span of the data
_COARSE = 0.5  # spacing of log lengths on a line
_NEIGHBOURS = 4.0  # that correlated noise ties together, to start with
_NOISES = (0.3, 0.02)  # times the size of the rows
_CYCLES = 24  # the most periods over the data among the starts
_MUCH = 0.3  # noise to find a period with, times the size of the rows
_TYPICAL = 2000  # rows that tell how large a process is
_NOTHING = 1e-100  # an amplitude beside which others are all there is
_RANGE = 1e4  # how far beyond the span and the size of the data is searched
_BEYOND = 100.0  # spans: a smooth process of that length is a line, and rounding if longer still
_ENDS = {
    "length": ("shorter than any distance", "no change along it"),
    "offset": ("zero at the center", "without limit"),
    "reach": ("shorter than any distance", "no change along it"),
    "amplitude": ("no signal", "without limit"),
    "number": ("", "without limit"),  # at zero there is no kernel
    "period": ("shorter than any distance", "longer than the data"),
}


class _Run(NamedTuple):
    """Rows of one order: where they are in a layout, their sum of squares, how many they are."""

    rows: slice
    squares: float
    number: int


class Unknowns:
    """The free numbers of a kernel and of the noise, for one model and one data set.

    A point holds their logarithms: kernel first, then one level for each order of unknown noise.
    """

    def __init__(self, model: GaussianProcess, data: Observations) -> None:
        self.model, self.data = model, data
        self.trend = Trend.of(model.mean, model.kernel.null_degree, data)
        self._x = data.x.reshape(len(data), -1)
        self._nu = data.nu.reshape(len(data), -1)
        self._parameters = model.kernel.parameters(data.ndim)
        self.indices = [i for i, p in enumerate(self._parameters) if p.is_free]
        self.free = [self._parameters[i] for i in self.indices]
        self.orders = missing_noise(model.noise, data)
        self._residual = self._plain_residual()
        self._layout, self._runs = self._typical()
        self._shares: dict[tuple[float, float], list[float]] = {}
        self._sizes = {order: self._size(order) for order in self.orders}

    @property
    def names(self) -> tuple[str, ...]:
        """What each entry of a point is the logarithm of."""
        return tuple([f"kernel.{p.name}" for p in self.free] + [f"noise[{o}]" for o in self.orders])

    @property
    def ends(self) -> tuple[tuple[str, str], ...]:
        """What the ends of each range mean."""
        return tuple(
            [_ENDS[p.kind] for p in self.free] + [("no noise", "only noise")] * len(self.orders)
        )

    def prior(self, point: Array) -> tuple[float, Array]:
        """Return minus the log of the priors of numbers that have one, and its gradient.

        Noise levels have that of :func:`smoothderiv.model.levels_sharing`.
        """
        loss, gradient = 0.0, np.zeros(len(point))
        for i, parameter in enumerate(self.free):
            if isinstance(parameter.value, Prior):
                own, gradient[i] = parameter.value.loss(point[i])
                loss += own
        if self._levels_sharing:
            levels = slice(len(self.free), None)
            loss -= float(point[levels].sum())
            gradient[levels] = -1.0
        return loss, gradient

    @cached_property
    def _levels_sharing(self) -> int:
        return levels_sharing(self.model.noise, self.data, len(self.trend.exponents))

    # From a point to a model; values are the exponentials of a point.

    def kernel(self, values: Array) -> Kernel:
        """Return the kernel, told where the data lie."""
        kernel = self.filled(values)
        return kernel.anchored(float(self.trend.center[0]), float(self.trend.span[0]))

    def filled(self, values: Array) -> Kernel:
        """Return the kernel with its free numbers filled."""
        settled: list[Number] = [p.value for p in self._parameters]
        for i, value in zip(self.indices, values, strict=False):
            settled[i] = float(value)
        return self.model.kernel.filled(settled)

    def noise(self, values: Array) -> dict[Any, float]:
        """Return every noise level that is given or tuned."""
        tuned = zip(self.orders, values[len(self.indices) :], strict=True)
        return {**(self.model.noise or {}), **{order: float(v) for order, v in tuned}}

    def fill(self, point: Array) -> GaussianProcess:
        """Return the model at a point; an end of a range is taken at its bound."""
        values = np.exp(np.clip(point, *self.bounds))
        noise = self.noise(values) if self.orders else self.model.noise
        return dataclasses.replace(self.model, kernel=self.filled(values), noise=noise)

    # Where to start: lengths by the span of the data, amplitudes by the size of the rows.

    def _plain_residual(self) -> Array:
        """Return the rows less the fixed mean and a least-squares trend, in pure units: (n,)."""
        unit = (self.trend.span**self._nu).prod(axis=1)
        y = (self.data.y - self.trend.fixed(self._x, self._nu)) * unit
        if not len(self.trend.exponents):
            return np.asarray(y / unit)
        design = self.trend.unit_rows(self._x, self._nu)
        return np.asarray((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) / unit)

    def _typical(self) -> tuple[Layout, list[_Run]]:
        """Return rows that tell how large a process is, and what they were, order by order."""
        rows = thinned(self.data, _TYPICAL)
        squares, orders = self._residual[rows] ** 2, self._nu[rows]
        if self.model.kernel.is_stationary:  # the same everywhere: one row of each order will do
            kinds = [self.data.is_of(order)[rows] for order in self.data.orders]
            first = [int(np.argmax(kind)) for kind in kinds]
            layout = Layout.of(self._x[rows[first]], orders[first], places=1)
            return layout, [
                _Run(slice(j, j + 1), squares[kinds[k]].sum(), int(kinds[k].sum()))
                for j, k in enumerate(layout.rows)
            ]
        layout = Layout.of(self._x[rows], orders)
        squares, orders = squares[layout.rows], orders[layout.rows]
        edges = np.flatnonzero((np.diff(orders, axis=0) != 0).any(axis=1)) + 1
        ends = [slice(*ends) for ends in itertools.pairwise([0, *edges.tolist(), len(orders)])]
        return layout, [_Run(run, squares[run].sum(), run.stop - run.start) for run in ends]

    def _size(self, order: Any) -> float:
        """Return the size of the residuals of an order, in units of its level."""
        rows = self.data.is_of(order) & self.data.estimated
        relative = self.data.relative_sd[rows]
        size = math.sqrt(np.mean((self._residual[rows] / relative) ** 2))
        if size > 1e-12 * float(np.abs(self.data.y[rows] / relative).max()):
            return size
        unit = (self.trend.span**self._nu).prod(axis=1)
        overall = float(np.abs(self.data.y * unit).max()) or 1.0
        return 1e-6 * overall / float(unit[rows][0] * relative[0])

    def _length(self, parameter: Parameter) -> float:
        """Return the span that a length is measured by."""
        span = self.trend.span
        own = span.max() if parameter.axis < 0 else span[parameter.axis]
        return float(own * math.sqrt(len(span)))

    def _start(self, multiple: float, period: float) -> Array:
        """Return values of the free kernel numbers for one choice of lengths."""
        values = np.array([self._unit(parameter) for parameter in self.free])
        for i, parameter in enumerate(self.free):
            prior = parameter.value
            if isinstance(prior, Prior) and prior.typical is not None:
                values[i] = prior.typical
            elif parameter.kind == "length":
                values[i] = multiple * self._length(parameter)
            elif parameter.kind == "offset":
                values[i] = self._away(parameter)[0] + multiple * self._length(parameter)
            elif parameter.kind == "reach":  # of correlated noise: a few neighbours
                values[i] = self._apart * self._length(parameter)
            elif parameter.kind == "period":
                values[i] = period * float(self.trend.span.max())
        amplitudes = [
            i for i, p in enumerate(self.free) if p.kind == "amplitude" and p.value is None
        ]
        if amplitudes:
            lengths = (0.0, 0.0) if self._is_level else (multiple, period)
            if lengths not in self._shares:
                self._shares[lengths] = self._amplitudes(values, amplitudes)
            values[amplitudes] = self._shares[lengths]
            if isinstance(self.model.kernel, Wiener):  # as much, but over a stretch of the span
                values[amplitudes] *= multiple ** (0.5 - self.model.kernel.order)
        return values

    @cached_property
    def _is_level(self) -> bool:
        """Whether the rows vary as much whatever the lengths: values of a stationary process."""
        return self.model.kernel.is_stationary and not self._nu.any()

    def _unit(self, parameter: Parameter) -> float:
        """Return the unit of an amplitude: the size of the rows over ``span ** power``."""
        if parameter.kind != "amplitude":
            return 1.0
        return float(self._overall / self.trend.span.max() ** parameter.power)

    @cached_property
    def _overall(self) -> float:
        """The size of the residuals of all orders, in the unit of y."""
        unit = (self.trend.span**self._nu).prod(axis=1)
        return math.sqrt(np.mean((self._residual * unit) ** 2)) or 1.0

    def _away(self, parameter: Parameter) -> tuple[float, float]:
        """Return how far the nearest and the farthest row are from the center of polynomials."""
        if parameter.center is None:
            return 0.0, 0.0
        distances = np.sqrt(((self._x - np.asarray(parameter.center)) ** 2).sum(axis=1))
        return float(distances.min()), float(distances.max())

    def _steepness(self, parameter: Parameter) -> float:
        """Return how much larger polynomials are at the rows than what varies along them."""
        reach = self._away(parameter)[1] / float(self.trend.span.max())
        return float(max(reach, 1.0) ** parameter.power)

    def _amplitudes(self, values: Array, amplitudes: list[int]) -> list[float]:
        """Return amplitudes with which each alone, its unit its own, has its share of the rows.

        Polynomials whose center is far away are nearly constant along the rows: theirs are such
        that what varies along the rows has that share.
        """
        nothing = values.copy()
        nothing[amplitudes] *= _NOTHING
        together = assembly.variances(self.kernel(values), self._layout)
        shares, multipliers = {}, []
        for i in amplitudes:
            variance = together
            if len(amplitudes) > 1:
                alone = nothing.copy()
                alone[i] = values[i]
                variance = assembly.variances(self.kernel(alone), self._layout)
            own = variance > _NOTHING * together
            if not own.any():
                multipliers.append(i)
                continue
            ratio, count = 0.0, 0
            for run in self._runs:
                if own[run.rows].any():
                    ratio += float(run.squares / variance[run.rows].mean())
                    count += run.number
            share = math.sqrt(ratio / max(count, 1) / len(amplitudes)) or 1.0
            shares[i] = share * self._steepness(self.free[i])
        few = values.copy()
        few[multipliers] = nothing[multipliers]
        shares.update((i, self._balance(few, i)) for i in multipliers)
        return [values[i] * shares[i] for i in amplitudes]

    def _balance(self, few: Array, i: int) -> float:
        """Return by what to multiply an amplitude that is nothing to be as much as what it joins.

        It belongs to a factor of a product, beside an amplitude that is given there.
        """
        less = assembly.variances(self.kernel(few), self._layout)
        large = few.copy()
        large[i] /= _NOTHING**2
        more = assembly.variances(self.kernel(large), self._layout)
        if not (less.any() and more.any()):
            return 1.0
        return math.sqrt(float(less.sum() / more.sum())) / _NOTHING

    @cached_property
    def _apart(self) -> float:
        """How far apart some neighbours are, in spans."""
        places = len(np.unique(self._x, axis=0))
        return float(min(1.0, _NEIGHBOURS / places ** (1.0 / self._x.shape[1])))

    @property
    def has_period(self) -> bool:
        """Whether a period is unknown, so that the criterion has many peaks."""
        return any(p.kind == "period" and p.value is None for p in self.free)

    def starts(self) -> Array:
        """Return points to search from, by length or period and by level of noise: (s, l, p)."""
        lengths, levels, periods = self._lengths(), self._levels, np.ones(1)
        if self.has_period:
            lengths, periods = lengths[:1], 1.0 / _cycles(max(len(self.data) / 4, 0.5))
            levels = [np.array([_MUCH * self._sizes[order] for order in self.orders]), levels[0]]
        starts = []
        for multiple, period in itertools.product(lengths, periods):
            kernel = self._start(multiple, period)
            starts.append([np.concatenate([kernel, level]) for level in levels])
        return np.asarray(np.log(np.array(starts)))

    def _lengths(self) -> list[float]:
        """Return lengths to start from, in spans: on a line, down to the distances of the data."""
        wiener = isinstance(self.model.kernel, Wiener)
        if not wiener and not any(p.kind == "length" for p in self.free):
            return [1.0]
        if self.data.ndim > 1:
            return list(_LENGTHS)
        apart = 2.0 / max(len(np.unique(self.data.x)) - 1, 1)
        count = 1 + max(2, math.ceil(math.log(1.0 / apart) / _COARSE))
        return [math.exp(-_COARSE * k) for k in range(count)]

    @cached_property
    def _levels(self) -> list[Array]:
        """Return noise levels to start from: by how rows differ from the line of neighbours."""
        if not self.orders:
            return [np.empty(0)]
        if self.data.ndim == 1:
            orders = tuple(order for order in self.orders if isinstance(order, int))
            rough = rough_levels(self.data, orders)
            level = np.array([min(rough[order], 0.5 * self._sizes[order]) for order in orders])
            return [level, 0.1 * level]
        return [np.array([share * self._sizes[o] for o in self.orders]) for share in _NOISES]

    @cached_property
    def least_noise(self) -> float:
        """The least variance of noise to start from, over the mean square of rows of its order."""
        lowest = dict(zip(self.orders, np.min(self._levels, axis=0), strict=True))
        sd = self.data.sd({**(self.model.noise or {}), **lowest})
        groups = [self.data.is_of(order) for order in self.data.orders]
        squares = [float(np.mean(self._residual[rows] ** 2)) or math.inf for rows in groups]
        parts = zip(groups, squares, strict=True)
        return min(float(sd[rows].min()) ** 2 / size for rows, size in parts)

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """The range searched: a few orders of magnitude beyond the data."""
        lengths = self._lengths()
        ends = np.log([self._start(multiple, 1.0) for multiple in (lengths[0], lengths[-1])])
        steep = np.log([self._steepness(p) if p.kind == "amplitude" else 1.0 for p in self.free])
        noise = np.log([self._sizes[order] for order in self.orders])
        low = np.concatenate([ends.min(axis=0) - steep - math.log(_RANGE), noise - math.log(1e8)])
        smooth = math.isinf(self.model.kernel.smoothness) and len(self.trend.exponents) > 0
        far = [_BEYOND if smooth and p.kind == "length" else _RANGE for p in self.free]
        high = np.concatenate([ends.max(axis=0) + np.log(far), noise + math.log(1e2)])
        return low, high


def least_scale(data: Observations, gaps: float) -> AtLeast | tuple[AtLeast | None, ...] | None:
    """Return the least scale of a process that these places see: so many distances of neighbours.

    A process of a smaller scale fits noise as well as noise does, with slopes without bound. In
    several dimensions one for each, by nearest neighbours where each has the unit of its span. None
    where all places are one, and of a dimension in which they are.
    """
    if data.ndim == 1:
        apart = np.diff(np.unique(data.x))
        return AtLeast(gaps * float(np.median(apart))) if len(apart) else None
    span = np.ptp(data.x, axis=0)
    places = np.unique(data.x[:, span > 0] / span[span > 0], axis=0)
    if len(places) < 2:
        return None
    nearest = scipy.spatial.cKDTree(places).query(places, k=2)[0][:, 1]
    reach = gaps * float(np.median(nearest)) * span
    return tuple(AtLeast(float(one)) if one > 0 else None for one in reach)


def _cycles(most: float) -> Array:
    """Return how many periods there are over the data, of the starts, ascending.

    Peaks of the likelihood are as wide as half a cycle, if there is noise; but about one cycle they
    are close to the slope of the peak without end that a process of no period has.
    """
    slow = np.concatenate(([0.25, 0.5], 2.0 ** (np.arange(1, 8) / 8 - 1)))
    found = np.concatenate((slow, np.arange(8, 16) / 8, np.arange(8, 4 * _CYCLES + 1) / 4))
    return found[found <= most]


def thinned(data: Observations, few: int) -> NDArray[np.intp]:
    """Return about `few` rows: every k-th of each order, along the first dimension."""
    n = len(data)
    along = np.lexsort((data.x.reshape(n, -1)[:, 0], *data.nu.reshape(n, -1).T))
    return along[:: max(-(-n // few), 1)]


def neighbours(data: Observations, few: int) -> NDArray[np.intp]:
    """Return at most `few` rows that follow each other in the first dimension, from its middle."""
    along = np.argsort(data.x.reshape(len(data), -1)[:, 0], kind="stable")
    return along[max((len(data) - few) // 2, 0) :][:few]


def stretches(data: Observations, few: int, count: int) -> NDArray[np.intp]:
    """Return `count` stretches of `few` rows each that follow each other on a line."""
    along = np.argsort(data.x, kind="stable")
    first = np.linspace(0, len(data) - few, count).astype(np.intp)
    return along[np.unique(first[:, None] + np.arange(few))]
