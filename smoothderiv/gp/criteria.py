"""What is minimised to tune a Gaussian process, with its exact gradient, and where to start."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp import assembly
from smoothderiv.gp.assembly import Layout
from smoothderiv.gp.dense import LARGEST_CONDITION, Factor, Fit, check_size
from smoothderiv.gp.kernel import Kernel, LogNormal, Number, Parameter
from smoothderiv.gp.trend import Trend
from smoothderiv.model import missing_noise
from smoothderiv.observations import Observations
from smoothderiv.tuning import Search

if TYPE_CHECKING:
    from smoothderiv.gp.process import GaussianProcess

Array: TypeAlias = NDArray[np.float64]

_LENGTHS = (0.06, 0.25, 1.0)  # times the span of the data
_NOISES = (0.02, 0.3)  # times the size of the rows
_CYCLES = 24  # the most periods over the data among the starts, in halves
_RANGE = 1e4  # how far beyond the span and the size of the data is searched
_ENDS = {
    "length": ("shorter than any distance", "no change along it"),
    "amplitude": ("no signal", "without limit"),
    "number": ("zero", "without limit"),
    "period": ("shorter than any distance", "longer than the data"),
}


class Criterion:
    """One criterion for one model and one data set, as a function of the log unknowns.

    Evidence: minus the log of the restricted likelihood. loo: minus the sum of leave-one-out log
    densities of the rows that are not exact. Both plus the priors of numbers that have one.

    The gradient is a sum ``sum_ij W_ij dK_ij`` over the matrix of the rows: with
    ``P = K^-1 - K^-1 H (H' K^-1 H)^-1 H' K^-1`` and ``a = P y``, ``W = (P - a a') / 2`` for the
    evidence, and ``P diag(b) P / 2 - sym(P c a')``, ``c = a_i / P_ii``,
    ``b = (1 + a_i^2 / P_ii) / P_ii`` for leave-one-out (Rasmussen & Williams 2006, 5.9, 5.13).
    """

    def __init__(self, model: GaussianProcess, data: Observations, criterion: str) -> None:
        if criterion == "gcv":
            raise ValueError(
                "criterion: gcv is for one common noise level; a GaussianProcess is tuned by "
                "'evidence' or 'loo'"
            )
        check_size(2 * len(data))
        self._model, self._data, self._criterion = model, data, criterion
        self._trend = Trend.of(model.mean, model.kernel.null_degree, data)
        self._x = data.x.reshape(len(data), -1)
        self._nu = data.nu.reshape(len(data), -1)
        self._layout = Layout.of(self._x, self._nu)
        self._parameters = model.kernel.parameters(data.ndim)
        self._free = [
            i for i, p in enumerate(self._parameters) if not isinstance(p.value, float | int)
        ]
        self._orders = missing_noise(model.noise, data)
        self._residual = self._plain_residual()
        self._sizes = {order: self._size(order) for order in self._orders}

    def search(self) -> Search:
        """Return the search that the tuner runs."""
        free = [self._parameters[i] for i in self._free]
        names = [f"kernel.{p.name}" for p in free] + [f"noise[{o}]" for o in self._orders]
        ends = [_ENDS[p.kind] for p in free] + [("no noise", "only noise")] * len(self._orders)
        lower, upper = self._bounds(free)
        return Search(
            tuple(names), self._starts(free), lower, upper, tuple(ends), self.loss, self._fill
        )

    def loss(self, point: Array) -> tuple[float, Array]:
        """Return the criterion in nats and its gradient."""
        values = np.exp(point)
        kernel, noise = self._kernel(values), self._noise(values)
        sd = self._data.sd(noise)[self._layout.rows]
        try:
            factor = Factor.of(kernel, self._layout, sd, smooth=True)
            fit = Fit.of(factor, self._trend, self._data)
        except (ValueError, np.linalg.LinAlgError) as error:
            if isinstance(error, ValueError) and "no Cholesky" not in str(error):
                raise
            return np.inf, np.zeros(len(point))
        exact = self._data.exact[self._layout.rows]
        loss, weights, diagonal = _weights(self._criterion, factor, fit, exact)
        gradient = self._gradient(kernel, factor, weights, diagonal, sd)
        for i, parameter in enumerate(self._parameters[j] for j in self._free):
            if isinstance(parameter.value, LogNormal):
                width = math.log(parameter.value.factor)
                away = (point[i] - math.log(parameter.value.median)) / width
                loss += 0.5 * away**2
                gradient[i] += away / width
        return float(loss), gradient

    def _gradient(
        self, kernel: Kernel, factor: Factor, weights: Array, diagonal: Array, sd: Array
    ) -> Array:
        """Return ``sum W dK`` for each unknown, with what moves the nugget."""
        on_kernel, on_noise = _nugget_weights(factor, diagonal, sd)
        np.fill_diagonal(weights, on_kernel)
        slopes = assembly.slopes(kernel, self._layout, weights)[self._free]
        rows = self._layout.rows
        estimated = self._data.estimated[rows]
        by_noise = []
        for order in self._orders:
            mine = self._data.is_of(order)[rows] & estimated
            by_noise.append(2.0 * float((on_noise * sd**2)[mine].sum()))
        return np.concatenate([slopes, by_noise])

    # From a point to a model.

    def _kernel(self, values: Array) -> Kernel:
        kernel = self._filled(values)
        return kernel.anchored(float(self._trend.center[0]), float(self._trend.span[0]))

    def _filled(self, values: Array) -> Kernel:
        settled: list[Number] = [p.value for p in self._parameters]
        for i, value in zip(self._free, values, strict=False):
            settled[i] = float(value)
        return self._model.kernel.filled(settled)

    def _noise(self, values: Array) -> dict[Any, float] | None:
        tuned = zip(self._orders, values[len(self._free) :], strict=True)
        return {**(self._model.noise or {}), **{order: float(v) for order, v in tuned}}

    def _fill(self, point: Array) -> GaussianProcess:
        """Return the model at a point; an end of a range is taken at its bound."""
        lower, upper = self._bounds([self._parameters[i] for i in self._free])
        values = np.exp(np.clip(point, lower, upper))
        noise = self._noise(values) if self._orders else self._model.noise
        return dataclasses.replace(self._model, kernel=self._filled(values), noise=noise)

    # Where to start: lengths by the span of the data, amplitudes by the size of the rows.

    def _plain_residual(self) -> Array:
        """Return the rows less the fixed mean and a least-squares trend, in pure units: (n,)."""
        unit = (self._trend.span**self._nu).prod(axis=1)
        y = (self._data.y - self._trend.fixed(self._x, self._nu)) * unit
        design = self._trend.unit_rows(self._x, self._nu)
        return np.asarray((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) / unit)

    def _size(self, order: Any) -> float:
        """Return the size of the residuals of an order, in units of its level."""
        rows = self._data.is_of(order) & self._data.estimated
        relative = self._data.relative_sd[rows]
        size = math.sqrt(np.mean((self._residual[rows] / relative) ** 2))
        if size > 1e-12 * float(np.abs(self._data.y[rows] / relative).max()):
            return size
        unit = (self._trend.span**self._nu).prod(axis=1)
        overall = float(np.abs(self._data.y * unit).max()) or 1.0
        return 1e-6 * overall / float(unit[rows][0] * relative[0])

    def _length(self, parameter: Parameter) -> float:
        """Return the span that a length is measured by."""
        span = self._trend.span
        own = span.max() if parameter.axis < 0 else span[parameter.axis]
        return float(own * math.sqrt(len(span)))

    def _start(self, free: list[Parameter], multiple: float, period: float) -> Array:
        """Return values of the free kernel numbers for one choice of lengths."""
        values = np.ones(len(free))
        for i, parameter in enumerate(free):
            if isinstance(parameter.value, LogNormal):
                values[i] = parameter.value.median
            elif parameter.kind == "length":
                values[i] = multiple * self._length(parameter)
            elif parameter.kind == "period":
                values[i] = period * float(self._trend.span.max())
        amplitudes = [i for i, p in enumerate(free) if p.kind == "amplitude" and p.value is None]
        if amplitudes:
            variance = assembly.variances(self._kernel(values), self._layout)
            rows = variance > 0
            ratio = self._residual[self._layout.rows][rows] ** 2 / variance[rows]
            values[amplitudes] = math.sqrt(float(ratio.mean()) or 1.0) if rows.any() else 1.0
        return values

    def _starts(self, free: list[Parameter]) -> Array:
        lengths = _LENGTHS if any(p.kind == "length" for p in free) else (1.0,)
        shares = _NOISES if self._orders else (1.0,)
        periods: Any = (1.0,)
        if any(p.kind == "period" and p.value is None for p in free):
            # peaks of the likelihood are as wide as half a cycle over the data
            count = min(2 * _CYCLES, max(len(self._data) // 2, 2))
            lengths, shares, periods = lengths[-1:], shares[-1:], 2.0 / np.arange(1, count + 1)
        starts = []
        for multiple, period, share in itertools.product(lengths, periods, shares):
            noise = [share * self._sizes[order] for order in self._orders]
            starts.append(np.concatenate([self._start(free, multiple, period), noise]))
        return np.asarray(np.log(np.array(starts)))

    def _bounds(self, free: list[Parameter]) -> tuple[Array, Array]:
        """Return the range searched: a few orders of magnitude beyond the data."""
        middle = np.log(self._start(free, 1.0, 1.0))
        wide = np.full(len(free), math.log(_RANGE))
        noise = np.log([self._sizes[order] for order in self._orders])
        low = np.concatenate([middle - wide, noise - math.log(1e8)])
        high = np.concatenate([middle + wide, noise + math.log(1e2)])
        return low, high


def _weights(
    criterion: str, factor: Factor, fit: Fit, exact: NDArray[np.bool_]
) -> tuple[float, Array, Array]:
    """Return the loss, the weights W of its gradient, and their diagonal. The factor is lost."""
    scale, alpha = factor.scale, fit.alpha
    free = factor.unhalve(fit.basis.copy()) * scale
    P = factor.inverse()
    P *= scale
    P *= scale[:, None]
    P -= free.T @ free
    if criterion == "evidence":
        P -= np.multiply.outer(alpha, alpha)
        P *= 0.5
        return -fit.log_evidence, P, np.diag(P).copy()
    precision = np.where(exact, 1.0, np.diag(P))
    soft = np.where(exact, 0.0, 1.0)
    loss = 0.5 * (soft * (alpha**2 / precision - np.log(precision / (2 * np.pi)))).sum()
    c = soft * alpha / precision
    b = soft * (1.0 + alpha**2 / precision) / precision
    root = P * np.sqrt(b)
    W = 0.5 * (root @ root.T)
    across = np.multiply.outer(P @ c, alpha)
    W -= 0.5 * (across + across.T)
    return float(loss), W, np.diag(W).copy()


def _nugget_weights(factor: Factor, diagonal: Array, sd: Array) -> tuple[Array, Array]:
    """Return the weights of dK_ii and of dR_ii: the nugget scales with the diagonal and moves.

    What was factored is ``K + R + eta D``, ``D = diag(K + R)``,
    ``eta = (n - kmax rho) / (kmax - 1)`` where that is positive, ``rho = min R_ii / D_ii``.
    """
    on_kernel = diagonal * (1.0 + factor.nugget)
    on_noise = on_kernel.copy()
    if factor.nugget > 0 and factor.rho > 0:
        own = factor.scale**2
        lowest = int(np.argmin(sd**2 * own))
        pull = LARGEST_CONDITION / (LARGEST_CONDITION - 1) * float((diagonal / own).sum())
        on_kernel[lowest] += pull * factor.rho * own[lowest]
        on_noise[lowest] -= pull * (1.0 - factor.rho) * own[lowest]
    return on_kernel, on_noise
