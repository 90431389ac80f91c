"""The search for the maximum of the likelihood: starts, scoring, with a disturbance or without."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from smoothderiv.dynamics.likelihood import Likelihood, Point, Value
from smoothderiv.dynamics.problem import Problem
from smoothderiv.model import UndeterminedError

Array = NDArray[np.float64]

_RATES = (0.0, -0.3, -1.0, -3.0, -10.0, -30.0, -100.0, -300.0, -1000.0, 1.0, 3.0)
_DAMPING = (0.05, 0.3, 1.0)
_STEPS = 200  # scoring steps at most
_SETTLED = 1e-22  # squared length of a step, in standard errors, that is not worth taking
_NEAR = 1.0  # nats by which a rough disturbance may be worse, and yet be searched from
_WORTH = 1e-6  # nats that a disturbance must gain
_FADING = 1e-2  # slope in log q at which a disturbance that shrinks is given up: none is better
_LONGEST = 2.0  # of a step in the logarithm of disturbance or noise


def search(likelihood: Likelihood, start: Point | None = None) -> tuple[Point, Value]:
    """Minimise the loss: without a disturbance, then with one, whichever is better."""
    starts = _starts(likelihood) if start is None else [start]
    rough = [settled(likelihood, dataclasses.replace(s, q=0.0)) for s in starts]
    point, value = descend(likelihood, min(rough, key=lambda found: found[1])[0])
    disturbed, loss = _disturbed(likelihood, point, starts)
    if loss < value.loss + _NEAR:
        other, there = descend(likelihood, disturbed)
        if other.q > 0 and _fades(there, likelihood):
            other, there = descend(likelihood, dataclasses.replace(other, q=0.0))
        if there.loss < value.loss - _WORTH:
            return other, there
    return point, value


def freed(likelihood: Likelihood, point: Point, value: Value) -> tuple[Point, Value]:
    """Return an optimum with its noise freed of what fitting the drift has taken from it.

    The likelihood is restricted by the linear coefficients: at its optimum the squared residuals of
    the rows of a level are, in units of it, those rows less the leverages ``h`` of these. So would
    they be for a known drift; fitted, it takes leverages too, and each variance is that of
    ``sum (1 - h of all)`` degrees of freedom instead of ``sum (1 - h)``. Where nothing disturbs the
    motion, one level is then the residual sum of squares over rows less all coefficients, as of
    nonlinear least squares; a disturbance is freed in the same way, to first order.
    """
    before, after = value.spare
    if not len(after):
        return point, value
    told = after >= 1.0  # less than one degree of freedom tells no level
    growth = np.divide(before, after, out=np.ones_like(after), where=told)
    noisy = int(point.q > 0)
    q = point.q * growth[0] if noisy else 0.0
    moved = Point(point.drift, q, point.levels * np.sqrt(growth[noisy:]))
    return moved, likelihood.at(moved)


def _starts(likelihood: Likelihood) -> list[Point]:
    """Return rough drifts: a grid, and the regression on the smoothed curve."""
    problem, d = likelihood.problem, likelihood.problem.order
    found = [_regressed(problem)] if len(likelihood.free) > 1 or 0 in likelihood.free else []
    if likelihood.free == [d - 1]:
        found += [np.array([0.0] * (d - 1) + [rate]) for rate in _RATES]
    elif likelihood.free:
        speeds = 10.0 ** np.arange(-0.5, math.log10(len(problem.data)) + 0.5, 0.25)
        for w in speeds:
            for damping in _DAMPING if d - 1 in likelihood.free else (0.0,):
                found.append(np.array([-w * w, -2.0 * damping * w]))
    else:
        found = [np.zeros(d)]
    return [Point(drift, 0.0, likelihood.pilot) for drift in found]


def _regressed(problem: Problem) -> Array:
    """Return the drift by least squares on the smoothed curve."""
    from smoothderiv.dynamics.difference import along_the_curve

    coefficients = along_the_curve(problem)
    drift = np.zeros(problem.order)
    for j in problem.indices("state"):
        drift[problem.terms[j].index] = coefficients[j]
    return drift


def settled(likelihood: Likelihood, point: Point) -> tuple[Point, float]:
    """Scale all noise levels and the disturbance together to the residuals, in closed form."""
    try:
        value = likelihood.at(point, slopes=False)
    except UndeterminedError:
        return point, math.inf
    if not math.isfinite(value.loss):
        return point, math.inf
    if not len(point.levels) or (likelihood.line.level[likelihood.line.component >= 0] < 0).any():
        return point, value.loss
    square, count = float(value.residual @ value.residual), len(value.residual)
    free = count - len(value.beta)
    scale = max(math.sqrt(square / max(free, 1)), math.sqrt(np.finfo(float).tiny))
    loss = value.loss + free * math.log(scale) + 0.5 * (square / scale**2 - square)
    return Point(point.drift, point.q * scale**2, point.levels * scale), loss


def _disturbed(likelihood: Likelihood, best: Point, starts: list[Point]) -> tuple[Point, float]:
    """Try disturbances of growing strength beside the noise, then other drifts with the best."""
    line = likelihood.line
    scale = float(np.median(likelihood.variances(likelihood.pilot)[1]))
    reach = math.log10(max(len(line.y), 10)) * (2 * likelihood.problem.order - 1) + 1.0
    strengths = scale * 10.0 ** np.arange(-1.0, reach, 1.0)
    rough = [settled(likelihood, Point(best.drift, q, likelihood.pilot)) for q in strengths]
    q = strengths[int(np.argmin([loss for _, loss in rough]))]
    rough += [settled(likelihood, Point(s.drift, q, likelihood.pilot)) for s in starts]
    return min(rough, key=lambda found: found[1])


def _fades(value: Value, likelihood: Likelihood) -> bool:
    """Tell whether the loss falls with the disturbance down to none.

    Near q = 0 the loss is linear in q and its information quadratic, so that in log q the slope
    outlasts the information; at an optimum it is the other way round.
    """
    j = len(likelihood.free)
    return bool(value.score[j, j] < value.gradient[j] < _FADING)


def descend(likelihood: Likelihood, point: Point) -> tuple[Point, Value]:
    """Minimise from a point by scoring: Newton's step with the expected information."""
    free, value = likelihood.free, likelihood.at(point)
    for _ in range(_STEPS):
        step = _scoring_step(value)
        decrement = float(-step @ value.gradient)
        if not decrement > _SETTLED:
            break
        if point.q > 0 and _fades(value, likelihood):
            break
        logs = np.abs(step[len(free) :]).max(initial=0.0)
        step *= min(1.0, _LONGEST / max(logs, 1e-300))
        point, new = _shortened(likelihood, point, value, step, decrement)
        if new is None:
            break
        value = new
    return point, value


def _tried(likelihood: Likelihood, point: Point) -> Value | None:
    """Evaluate the loss, or return None where the terms cannot be told apart."""
    try:
        value = likelihood.at(point)
    except UndeterminedError:
        return None
    return value if math.isfinite(value.loss) and np.isfinite(value.gradient).all() else None


def _scoring_step(value: Value) -> Array:
    scale = np.sqrt(np.maximum(np.diag(value.score), np.finfo(float).tiny))
    step = -np.linalg.lstsq(
        value.score / scale / scale[:, None], value.gradient / scale, rcond=1e-14
    )[0]
    return np.asarray(step / scale)


def _shortened(
    likelihood: Likelihood, point: Point, value: Value, step: Array, decrement: float
) -> tuple[Point, Value | None]:
    """Halve a step until the loss falls, or, where rounding hides that, until the next is less."""
    rounding = 1e-13 * (1.0 + abs(value.loss))
    for _ in range(30 if decrement > 1e3 * rounding else 1):
        other = point.moved(step, likelihood.free)
        new = _tried(likelihood, other)
        if new is None:
            step = 0.5 * step
            continue
        if new.loss < value.loss - rounding:
            return other, new
        if new.loss < value.loss + rounding and -_scoring_step(new) @ new.gradient < decrement:
            return other, new
        step = 0.5 * step
    return point, None
