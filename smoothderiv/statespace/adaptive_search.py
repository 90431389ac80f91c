"""Tuning of an adaptive spline: which variations are tried, and what stands for the uncertainty."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv._warn import held
from smoothderiv.binning import binned
from smoothderiv.model import Model, UndeterminedError, missing_noise
from smoothderiv.newton import newton
from smoothderiv.observations import Observations
from smoothderiv.statespace.adaptive import AdaptiveSpline
from smoothderiv.statespace.adaptive_loss import ENOUGH, RANGE, Fit, Objective
from smoothderiv.statespace.levels import rough_levels
from smoothderiv.statespace.smoother import SmoothingSpline
from smoothderiv.tuning import KNOWN_LOG, Spread, Tuning, fit_quietly, tune, tune_spread

Array = NDArray[np.float64]

_VARIATIONS = (3.0, 10.0)
_WIDER = (30.0, 90.0)  # asked about, with more knots, where the last of those is not hopeless
_FEW, _MANY = 17, 65  # knots
_SHARE = 0.1  # of a variation, below which it is left out
_HOPELESS = 1.0  # nats lost against the variation before, at which more is not asked about
_FAR = 8.0  # nats above the best, where a node stands for nothing


def spaced(data: Observations, count: int) -> tuple[float, ...]:
    """Return so many knots at quantiles of the places: even ones, of even places."""
    places = np.unique(data.x)
    steps = np.linspace(0.0, len(places) - 1.0, count)
    return tuple(np.unique(np.interp(steps, np.arange(len(places)), places)).tolist())


def tuned(model: AdaptiveSpline, data: Observations, criterion: str) -> AdaptiveSpline:
    """Return the model with all unknowns filled, and with what stands for their uncertainty."""
    if criterion != "evidence":
        raise ValueError(f"criterion: {criterion!r}, but AdaptiveSpline is tuned by 'evidence'")
    if model.q is not None:
        return _with_levels(model, data)
    with held():  # what its tuning says is said of this model
        uniform, spread = tune_spread(model.uniform(), data)
    levels = missing_noise(model.noise, data)
    placed = model if model.knots else dataclasses.replace(model, knots=spaced(data, _FEW))
    if uniform.q and model.variation != 0:
        few = binned(data, ENOUGH)
        base = uniform if few is data else fit_quietly(model.uniform(), few).model
        assert isinstance(base, SmoothingSpline)
        fits = _fits(Objective(placed, few, levels), base, refine=model.knots is None)
        if fits and fits[0].variation > 0:
            evidence = [fit.log_evidence for fit in fits]
            fits[0] = dataclasses.replace(fits[0].objective, data=data).polished(fits[0])
            return _average(fits, evidence, functools.partial(_constants, placed, spread))
    (flat, *others), (_, *weights) = _constants(placed, spread)
    beside = tuple(zip(others, weights, strict=True))
    return dataclasses.replace(flat, tuning=uniform.tuning, _beside=beside)


def _fits(objective: Objective, uniform: SmoothingSpline, refine: bool) -> list[Fit]:
    """Return the fits of all variations in question, the one of most evidence first.

    None where constant q is best at an end of its range, unless that is no noise: one smoothness
    that has to do for a quiet stretch and a quick one may need none.
    """
    start: Model = uniform
    quiet = not all((uniform.noise or {})[order] for order in objective.levels)
    if quiet or (uniform.at_ends and objective.levels):
        start = fit_quietly(objective.at_rough_levels().model.uniform(), objective.data).model
    assert isinstance(start, SmoothingSpline)
    if (uniform.at_ends and start is uniform) or not start.q:
        return []
    flat, held = objective.flat(start), objective.model.variation
    if uniform.tuning is not None:
        flat = flat._replace(loss=min(flat.loss, uniform.tuning.loss))
    if held is not None:
        fit = next(_climbed(objective, (held,), flat.point), None)
        if fit is None:
            raise UndeterminedError(
                f"variation: at {held:g} q or the noise goes to nothing: give less, or yerr"
            )
        return [fit]
    fits = [flat]
    if start is not uniform or objective.promises(flat, _VARIATIONS):
        fits += _climbed(objective, _VARIATIONS, flat.point)
    best, last = max(fit.log_evidence for fit in fits), fits[-1]
    if refine and last.variation == _VARIATIONS[-1] and last.log_evidence > best - _HOPELESS:
        knots = spaced(objective.data, _MANY)
        fits += _wider(*objective.having(knots, last.point), last)
    return sorted(fits, key=lambda fit: -fit.log_evidence)


def _wider(objective: Objective, start: Array, last: Fit) -> list[Fit]:
    """Return the fits of more variation and at more knots, for as long as they gain evidence."""
    fits: list[Fit] = []
    for fit in _climbed(objective, _WIDER, start):
        if not fit.log_evidence > last.log_evidence - _HOPELESS:
            break
        fits.append(fit)
        last = fit
    return fits


def _climbed(objective: Objective, variations: tuple[float, ...], point: Array) -> Iterator[Fit]:
    """Yield the fits of one variation after another, from a point, where the data tell them.

    Where noise goes to nothing on the way, rough levels are held at first, until the densities have
    found what varies.
    """
    levels = np.log([objective.rough[order] for order in objective.levels])
    for variation in variations:
        fit = objective.climb(variation, point)
        if fit is None:
            rough = objective.at_rough_levels()
            held = rough.climb(variation, point[: objective.knots]) if len(levels) else None
            if held is None:
                return
            point = np.append(held.point, levels)
            fit = objective.climb(variation, point)
        if fit is not None:
            yield fit
            point = fit.point


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


def _average(fits: list[Fit], evidence: list[float], constants: Any) -> AdaptiveSpline:
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


def _of_other_mean(fit: Fit) -> tuple[list[AdaptiveSpline], list[float]]:
    """Return the model of a fit and two of other mean log density, and their weights.

    The rest follows the mean to second order; see :func:`smoothderiv.tuning.tune_spread`.
    """
    objective, knots = fit.objective, fit.objective.knots
    mean = np.append(np.full(knots, 1.0 / knots), np.zeros(len(fit.point) - knots))
    follow = np.linalg.solve(fit.curvature, mean)
    std = math.sqrt(mean @ follow)
    points, weights = [fit.point], [2.0 / 3.0]
    for sign in (1.0, -1.0) if std > KNOWN_LOG else ():
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
    if model.is_constant:
        uniform = tune(model.uniform(), data)
        return dataclasses.replace(model, noise=uniform.noise, tuning=uniform.tuning)
    objective = Objective(model, data, missing_noise(model.noise, data))
    logs, knots = np.log(model.q or ()), objective.knots
    rough = rough_levels(data, objective.levels)
    start = np.log([rough[order] for order in objective.levels])

    def loss(levels: Array) -> tuple[float, Array]:
        found = objective.likelihood(np.append(logs, levels))
        return found.loss, found.gradient[knots:]

    hessian = objective.information(objective.likelihood(np.append(logs, start)))[knots:, knots:]
    point, _ = newton(loss, start, start - RANGE, start + RANGE, hessian)
    value, gradient = loss(point)
    curve = (point[None], np.array([value]))
    report = Tuning("evidence", objective.names[knots:], point, value, gradient, (), curve)
    filled = objective.filled(model.variation or 0.0, np.append(logs, point))
    return dataclasses.replace(filled, q=model.q, tuning=report)
