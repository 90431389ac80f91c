"""Tuning of an adaptive spline: restricted likelihood times the density of a random walk.

With l the values of log q at the knots, s the log noise levels and D their differences,

    loss(l, s) = - REML(l, s) + (K - 1) |D l|^2 / (2 variation^2),

is minimised by quasi-Newton steps that begin with the expected information, and the evidence of a
variation is Laplace's approximation, with H the information at the optimum plus the second
derivatives of the random walk,

    -loss + (K - 1) / 2 log((K - 1) / variation^2) - 1/2 log|H|,

beside -loss - 1/2 log|H| of constant q: densities of the mean of l and of s are flat in both.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv.binning import binned
from smoothderiv.model import Noise, missing_noise
from smoothderiv.observations import Observations
from smoothderiv.statespace import _adaptive_loops
from smoothderiv.statespace.adaptive import AdaptiveSpline
from smoothderiv.statespace.levels import rough_levels
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.search import newton
from smoothderiv.statespace.smoother import (
    SmoothingSpline,
    log_evidence,
    polynomial_information,
)
from smoothderiv.statespace.varying import hats
from smoothderiv.tuning import Spread, Tuning, TuningWarning, fit_quietly, tune_spread

Array = NDArray[np.float64]

_VARIATIONS = (3.0, 10.0)
_WIDER = (30.0, 90.0)  # asked about, with more knots, where the last of those is best

_RANGE = 40.0  # in a log, on either side of where constant q and its noise are best
_SHARE = 0.1  # of a variation, below which it is left out
_TYPICAL = 5.0  # half of the prior of the variation is below: a half-Cauchy distribution
_HOPELESS = 1.0  # nats lost against the variation before, at which more is not asked about
_FEW, _MANY = 17, 65  # knots
_ENOUGH = 4000  # rows, or means of rows, that tell how density varies
_CLIMB = 30  # steps at most
_SHORT = 1e-4  # a step in all logs that is taken as it is
_SETTLED = 1e-8  # nats from the optimum of many rows
_STRIDE = 4.0  # in any log, at most, in a step
_FAR = 8.0  # nats above the best, where a node stands for nothing
_KNOWN_LOG = 0.1  # a logarithm known to this standard deviation is taken as known


class _Likelihood(NamedTuple):
    """Minus a log likelihood at a point, its gradient, and what its information is found from."""

    loss: float
    gradient: Array
    passes: Any


class _Fit(NamedTuple):
    """The best point at one variation, and the second derivatives there."""

    objective: _Objective
    variation: float
    point: Array
    loss: float
    gradient: Array
    curvature: Array

    @property
    def freedom(self) -> float:
        """The effective number of densities, less the mean: those that the walk alone tells."""
        walk = self.objective.walk(self.variation)
        return self.objective.knots - 1 - float(np.trace(np.linalg.solve(self.curvature, walk)))

    @property
    def log_evidence(self) -> float:
        """Laplace's approximation with the prior of the variation, but for shared constants."""
        ratio = (self.variation or 1.0) / _TYPICAL  # all from 0 to about 1 are taken as 0
        prior = math.log(ratio / (1.0 + ratio**2))
        return prior - self.loss - 0.5 * float(np.linalg.slogdet(self.curvature)[1])


@dataclass(frozen=True, eq=False)
class _Objective:
    """The loss as a function of log q at the knots and of log noise levels."""

    model: AdaptiveSpline
    data: Observations
    levels: tuple[Any, ...]

    @cached_property
    def _rows(self) -> MarkovRows:
        sd = self.data.relative_sd
        return self.model.uniform().rows(self.data, q=1.0, sd=sd)

    @cached_property
    def _polynomials(self) -> float:
        return polynomial_information(self._rows)

    @cached_property
    def _steps(self) -> tuple[NDArray[np.int64], Array]:
        """The knot before the step to each row, and the share of the knot after."""
        x = self._rows.x
        places, last = np.unique(x, return_inverse=True)
        middle = np.append(places[:1], 0.5 * (places[1:] + places[:-1]))
        return hats(middle[last], np.asarray(self.model.knots))

    @cached_property
    def _level(self) -> NDArray[np.int64]:
        """The parameter that the noise of each sorted row scales with, or -1."""
        out = np.full(len(self.data), -1)
        for j, order in enumerate(self.levels):
            out[self.data.is_of(order) & self.data.estimated] = self.knots + j
        return out[self._rows.sorting]

    @property
    def knots(self) -> int:
        """How many knots there are."""
        return len(self.model.knots or ())

    def noise_at(self, point: Array) -> Noise | None:
        """Return the noise mapping with the levels of a point."""
        levels = np.exp(point[self.knots :]).tolist()
        return {**(self.model.noise or {}), **dict(zip(self.levels, levels, strict=True))} or None

    def likelihood(self, point: Array) -> _Likelihood:
        """Return minus the restricted likelihood at a point, with its gradient."""
        (knot, share), logs = self._steps, point[: self.knots]
        density = np.exp((1.0 - share) * logs[knot] + share * logs[knot + 1])
        variance = self._rows.variances(self.data.sd(self.noise_at(point)))
        rows = self._rows.having(self._rows.prior, variance)
        rows.__dict__["steps"] = rows.steps._replace(weight=rows.steps.weight * density[:, None])
        gain, innovation, inverse, found = rows._gains
        back = _adaptive_loops.backward(rows._rows, rows.steps, gain, innovation, inverse)
        pull, diagonal, penalty, excess, *rest = back
        by_step = 0.5 * (excess - penalty)
        gradient = np.zeros(len(point))
        gradient += np.bincount(knot, (1.0 - share) * by_step, len(point))
        gradient += np.bincount(knot + 1, share * by_step, len(point))
        known = self._level >= 0
        by_row = (rows.variance * (diagonal - pull**2))[known]
        gradient += np.bincount(self._level[known], by_row, len(point))
        loss = -log_evidence(rows, found, self._polynomials)
        return _Likelihood(loss, gradient, (rows, gain, inverse, (diagonal, *rest)))

    def information(self, found: _Likelihood) -> Array:
        """Return the expected information of the restricted likelihood, (p, p)."""
        rows, gain, inverse, back = found.passes
        return np.asarray(
            _adaptive_loops.information(
                rows._rows, rows.steps, gain, inverse, back, *self._steps, self._level,
                self.knots + len(self.levels),
            )
        )  # fmt: skip

    def penalised(self, variation: float, point: Array) -> _Likelihood:
        """Return the loss at one variation, less the log density of the walk at its mode."""
        found = self.likelihood(point)
        pull = self.walk(variation) @ point
        constant = 0.5 * (self.knots - 1) * math.log((self.knots - 1) / variation**2)
        loss = found.loss + 0.5 * float(point @ pull) - constant
        return _Likelihood(loss, found.gradient + pull, found.passes)

    def climb(self, variation: float, point: Array, close: float = 1e-2) -> _Fit:
        """Minimise the loss at one variation by Fisher scoring, to so many nats about."""
        walk, found = self.walk(variation), self.penalised(variation, point)
        for _ in range(_CLIMB):
            curvature = self.information(found) + walk
            move = -np.linalg.solve(curvature, found.gradient)
            if -0.5 * float(move @ found.gradient) < close:
                break
            move *= min(1.0, _STRIDE / np.abs(move).max())
            fresh = self.penalised(variation, point + move)
            while not fresh.loss <= found.loss and np.abs(move).max() > _SHORT:
                move *= 0.3
                fresh = self.penalised(variation, point + move)
            point, found = point + move, fresh
        return _Fit(self, variation, point, found.loss, found.gradient, curvature)

    def polished(self, fit: _Fit) -> _Fit:
        """Return the fit of these data at its very optimum, to all digits if they are few."""
        if len(self.data) > _ENOUGH:
            return self.climb(fit.variation, fit.point, _SETTLED)
        walk = self.walk(fit.variation)
        lower, upper = fit.point - _RANGE, fit.point + _RANGE

        def loss(point: Array) -> tuple[float, Array]:
            return self.penalised(fit.variation, point)[:2]

        point, _ = newton(loss, fit.point, lower, upper, fit.curvature, steps=60)
        found = self.penalised(fit.variation, point)
        curvature = self.information(found) + walk
        return _Fit(self, fit.variation, point, found.loss, found.gradient, curvature)

    def walk(self, variation: float) -> Array:
        """Return the second derivatives of the random walk's penalty, (p, p)."""
        out = np.zeros((self.knots + len(self.levels),) * 2)
        D = np.diff(np.eye(self.knots), axis=0)
        out[: self.knots, : self.knots] = D.T @ D * ((self.knots - 1) / variation**2)
        return out

    def flat(self, uniform: Any) -> _Fit:
        """Return the fit of constant q: its curvature is that of the mean of log q, and levels."""
        levels = [math.log((uniform.noise or {})[order]) for order in self.levels]
        point = np.append(np.full(self.knots, math.log(uniform.q)), levels)
        found = self.likelihood(point)
        mean = np.zeros((len(point), 1 + len(levels)))
        mean[: self.knots, 0] = 1.0
        mean[self.knots :, 1:] = np.eye(len(levels))
        curvature = mean.T @ self.information(found) @ mean
        return _Fit(self, 0.0, point, found.loss, found.gradient, curvature)

    def promises(self, flat: _Fit) -> bool:
        """Tell whether the score where q is constant promises evidence for any variation."""
        information = self.information(self.likelihood(flat.point))
        for variation in _VARIATIONS:
            curvature = information + self.walk(variation)
            ahead = 0.5 * float(flat.gradient @ np.linalg.solve(curvature, flat.gradient))
            constant = 0.5 * (self.knots - 1) * math.log((self.knots - 1) / variation**2)
            fit = flat._replace(loss=flat.loss - ahead - constant, curvature=curvature)
            if fit.log_evidence > flat.log_evidence:
                return True
        return False

    @property
    def names(self) -> tuple[str, ...]:
        """What is searched, as in :class:`smoothderiv.tuning.Search`."""
        levels = (f"noise[{order}]" for order in self.levels)
        return (*(f"q[{k}]" for k in range(self.knots)), *levels)

    def finer(self) -> _Objective:
        """Return the same with more knots."""
        ends = self.model.knots or ()
        knots = tuple(np.linspace(ends[0], ends[-1], _MANY).tolist())
        return dataclasses.replace(self, model=dataclasses.replace(self.model, knots=knots))

    def spread_out(self, point: Array) -> Array:
        """Return a point of this as one of `finer`."""
        logs = np.interp(np.linspace(0, 1, _MANY), np.linspace(0, 1, _FEW), point[:_FEW])
        return np.append(logs, point[_FEW:])

    def filled(self, variation: float, point: Array) -> AdaptiveSpline:
        """Return the model at a point."""
        q = tuple(np.exp(point[: self.knots]).tolist())
        noise = self.noise_at(point)
        return dataclasses.replace(self.model, variation=variation, q=q, noise=noise)


def spaced(data: Observations) -> tuple[float, ...]:
    """Return the knots to begin with: evenly over the range of the data."""
    return tuple(np.linspace(data.x.min(), data.x.max(), _FEW).tolist())


def tuned(model: AdaptiveSpline, data: Observations, criterion: str) -> AdaptiveSpline:
    """Return the model with all unknowns filled, and with what stands for their uncertainty."""
    if criterion != "evidence":
        raise ValueError(f"criterion: {criterion!r}, but AdaptiveSpline is tuned by 'evidence'")
    if model.q is not None:
        return _with_levels(model, data)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", TuningWarning)
        uniform, spread = tune_spread(model.uniform(), data)
    levels = missing_noise(model.noise, data)
    placed = model if model.knots else dataclasses.replace(model, knots=spaced(data))
    at_end = uniform.tuning is not None and bool(uniform.tuning.ends)
    inside = bool(uniform.q) and all((uniform.noise or {})[k] > 0 for k in levels) and not at_end
    if inside and model.variation != 0:
        few = binned(data, _ENOUGH)
        base = uniform if few is data else fit_quietly(model.uniform(), few).model
        fits = _fits(_Objective(placed, few, levels), base, refine=model.knots is None)
        if fits[0].variation > 0:
            evidence = [fit.log_evidence for fit in fits]
            fits[0] = dataclasses.replace(fits[0].objective, data=data).polished(fits[0])
            return _average(fits, evidence, functools.partial(_constants, placed, spread))
    for warning in told:
        warnings.warn(warning.message, warning.category, stacklevel=6)
    (flat, *others), (_, *weights) = _constants(placed, spread)
    beside = tuple(zip(others, weights, strict=True))
    return dataclasses.replace(flat, tuning=uniform.tuning, _beside=beside)


def _fits(objective: _Objective, uniform: Any, refine: bool) -> list[_Fit]:
    """Return the fits of all variations in question, the one of most evidence first."""
    flat, held = objective.flat(uniform), objective.model.variation
    if held is not None:
        return [objective.climb(held, flat.point)]
    fits = [flat]
    if objective.promises(flat):
        for variation in _VARIATIONS:
            fits.append(objective.climb(variation, fits[-1].point))
    if refine and _best(fits).variation == _VARIATIONS[-1]:
        fits += _wider(objective.finer(), objective.spread_out(fits[-1].point), fits[-1])
    return sorted(fits, key=lambda fit: -fit.log_evidence)


def _wider(objective: _Objective, start: Array, last: _Fit) -> list[_Fit]:
    """Return the fits of more variation and at more knots, for as long as they gain evidence."""
    fits: list[_Fit] = []
    for variation in _WIDER:
        fit = objective.climb(variation, start)
        if not fit.log_evidence > last.log_evidence - _HOPELESS:
            break
        fits.append(fit)
        start, last = fit.point, fit
    return fits


def _best(fits: list[_Fit]) -> _Fit:
    return max(fits, key=lambda fit: fit.log_evidence)


def _constants(model: AdaptiveSpline, spread: Spread) -> tuple[list[AdaptiveSpline], list[float]]:
    """Return smoothing splines of constant q as adaptive splines, and their weights."""
    models, weights = spread()
    out = []
    for one in models:
        assert isinstance(one, SmoothingSpline)
        assert one.q is not None
        q = (one.q,) * len(model.knots or ())
        out.append(dataclasses.replace(model, variation=0.0, q=q, noise=one.noise))
    return out, weights.tolist()


def _average(fits: list[_Fit], evidence: list[float], constants: Any) -> AdaptiveSpline:
    """Return the best fit, and beside it those of other mean density, and the other fits."""
    shares = np.exp(np.array(evidence) - evidence[0])
    shares[shares < _SHARE * shares.sum()] = 0.0
    models: list[AdaptiveSpline] = []
    weights: list[float] = []
    for k, share in enumerate(shares / shares.sum()):
        if share > 0.0:
            fit = fits[k]
            own = [fit.objective.filled(fit.variation, fit.point)]
            parts = [1.0]
            if not fit.variation:
                own, parts = constants()
            elif k == 0:
                own, parts = _of_other_mean(fit)
            models += own
            weights += [share * part for part in parts]
    best = fits[0]
    report = Tuning(
        "evidence",
        best.objective.names,
        best.point,
        -evidence[0],
        best.gradient,
        (),
        (best.point[None], np.array([best.loss])),
        tuple((f"variation {f.variation:g}", e) for f, e in zip(fits, evidence, strict=True)),
    )
    beside = tuple(zip(models[1:], weights[1:], strict=True))
    return dataclasses.replace(models[0], tuning=report, _beside=beside, _freedom=best.freedom)


def _of_other_mean(fit: _Fit) -> tuple[list[AdaptiveSpline], list[float]]:
    """Return the model of a fit and two of other mean log density, and their weights.

    The rest follows the mean to second order; see :func:`smoothderiv.tuning.tune_spread`.
    """
    objective, knots = fit.objective, fit.objective.knots
    mean = np.append(np.full(knots, 1.0 / knots), np.zeros(len(fit.point) - knots))
    follow = np.linalg.solve(fit.curvature, mean)
    std = math.sqrt(mean @ follow)
    points, weights = [fit.point], [2.0 / 3.0]
    for sign in (1.0, -1.0) if std > _KNOWN_LOG else ():
        point = fit.point + sign * math.sqrt(3.0) / std * follow
        rise = max(objective.penalised(fit.variation, point).loss - fit.loss, 0.0)
        if rise < _FAR:
            points.append(point)
            weights.append(math.exp(1.5 - rise) / 6.0)
    total = sum(weights)
    models = [objective.filled(fit.variation, point) for point in points]
    return models, [weight / total for weight in weights]


def _with_levels(model: AdaptiveSpline, data: Observations) -> AdaptiveSpline:
    """Return the model with its noise levels tuned and q held."""
    objective = _Objective(model, data, missing_noise(model.noise, data))
    logs, knots = np.log(model.q or ()), objective.knots
    rough = rough_levels(data, objective.levels)
    start = np.log([rough[order] for order in objective.levels])

    def loss(levels: Array) -> tuple[float, Array]:
        found = objective.likelihood(np.append(logs, levels))
        return found.loss, found.gradient[knots:]

    hessian = objective.information(objective.likelihood(np.append(logs, start)))[knots:, knots:]
    point, _ = newton(loss, start, start - _RANGE, start + _RANGE, hessian)
    value, gradient = loss(point)
    curve = (point[None], np.array([value]))
    report = Tuning("evidence", objective.names[knots:], point, value, gradient, (), curve)
    filled = objective.filled(model.variation or 0.0, np.append(logs, point))
    return dataclasses.replace(filled, q=model.q, tuning=report)
