"""What people do now: difference the samples, and regress. For comparison.

Differences blow up the noise, and the noise of a regressor pulls its coefficient to zero; both
estimates here are biased as soon as the noise is not tiny beside the change of x over a step, and
their standard deviations do not know of it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smoothderiv.dynamics.estimate import Estimate, least_squares
from smoothderiv.dynamics.problem import Problem

Array = NDArray[np.float64]

_PLACES = 400  # along the smoothed curve


def fit(problem: Problem) -> tuple[Estimate, None]:
    """Regress central differences of x on each other by ordinary least squares.

    ``x'' ~ (x_{i+1} - 2 x_i + x_{i-1}) / h^2`` on ``x' ~ (x_{i+1} - x_{i-1}) / 2 h`` (three-point
    formulas for uneven steps).

    Warnings
    --------
    For comparison only: the noise is amplified by 1/h and 1/h^2, the coefficient of the rate is
    diluted towards zero, at a steady state altogether, and the standard deviations do not say so.
    """
    problem.require_plain("difference")
    seen = np.isfinite(problem.x)
    t, x = problem.t[seen], problem.x[seen]
    if len(t) < 3:
        raise ValueError(f"x: {len(t)} samples, but differences need three")
    before, after = t[1:-1] - t[:-2], t[2:] - t[1:-1]
    if not (before > 0).all() or not (after > 0).all():
        raise ValueError("t: a time stands twice, and cannot be differenced; use method='kalman'")
    first, second = np.diff(x)[:-1] / before, np.diff(x)[1:] / after
    slope = (after * first + before * second) / (before + after)
    bend = 2.0 * (second - first) / (before + after)
    states = np.array([problem.shift + problem.size * x[1:-1], slope * problem.size / problem.span])
    y = bend if problem.order == 2 else slope
    Z = problem.regressors(states[: problem.order], rows=np.flatnonzero(seen)[1:-1])
    return _ordinary(Z, y, problem.names), None


def next_velocity(problem: Problem) -> tuple[Estimate, None]:
    """Regress the next difference on the last one, the input and 1, and convert exactly.

    ``v_{k+1} = phi v_k + (phi - 1)/a (b u_k + c)``, ``phi = exp(a h)``, with v the differences of x
    (order 2) or x itself (order 1); needs even steps.

    Warnings
    --------
    For comparison only: v carries noise, so that phi is diluted, and a is far too negative.
    """
    h = problem.require_even("next_velocity")
    problem.require_plain("next_velocity")
    rate, others = held_terms(problem, "next_velocity")
    v = np.diff(problem.x) / h if problem.order == 2 else problem.x
    before, after = v[:-1], v[1:]
    first = problem.order - 1
    u = problem.u[first : first + len(before)]
    columns = [np.ones(len(before)) if j < 0 else u[:, j] for j in others]
    gains = [[k] for k in range(len(others))]
    return discrete(problem, h, rate, before, after, columns, gains), None


def held_terms(problem: Problem, method: str) -> tuple[int, list[int]]:
    """Return the number of the rate's coefficient, and the inputs (-1: constant) of the others."""
    rate, others = -1, []
    for j, term in enumerate(problem.terms):
        if term.kind == "state" and term.index == problem.order - 1:
            rate = j
        elif term.kind in ("input", "constant"):
            others.append(term.index if term.kind == "input" else -1)
        else:
            raise ValueError(
                f"terms: {term.name!r} has no exact discrete form for method={method!r}; use "
                "method='integral', 'modulating' or 'gradient'"
            )
    if rate < 0:
        raise ValueError(f"terms: method={method!r} needs 'rate' among them; use method='kalman'")
    return rate, others


def discrete(
    problem: Problem,
    h: float,
    rate: int,
    before: Array,
    after: Array,
    columns: list[Array],
    gains: list[list[int]],
) -> Estimate:
    """Regress `after` on `before` and columns, and convert: ``a = log(phi) / h`` and gains to b.

    The coefficient of the k-th other term is the sum of its gains, the coefficients of the columns
    ``gains[k]``, over ``psi = (phi - 1) / a``. Standard deviations by the delta method.
    """
    names = ("rate", *(f"gain {k}" for k in range(len(columns))))
    Z = np.column_stack((before, *columns)) if len(columns) else before[:, None]
    theta, inverse, left = least_squares(Z, after, names)
    phi = float(theta[0])
    if not phi > 0:
        raise ValueError(
            f"x: the fitted factor from one sample to the next is phi = {phi:.3g}, which no decay "
            "exp(a h) can be: noise hides the motion over one step. Use method='kalman', which "
            "knows of noise, or take longer steps"
        )
    dof = max(len(after) - Z.shape[1], 1)
    cov = inverse * float(left @ left) / dof
    a = math.log(phi) / h
    psi = math.expm1(a * h) / a if a else h
    slope = 0.5 * h if abs(a * h) < 1e-8 else (phi * h - psi) / (a * psi)  # d log psi / d a
    count = len(problem.terms)
    values, J = np.empty(count), np.zeros((count, len(theta)))
    values[rate], J[rate, 0] = a, 1.0 / (h * phi)
    for k, j in enumerate(j for j in range(count) if j != rate):
        own = 1 + np.array(gains[k])
        values[j] = theta[own].sum() / psi
        J[j, own] = 1.0 / psi
        J[j, 0] = -values[j] * slope / (h * phi)
    return Estimate(values, J @ cov @ J.T, float(dof), notes={"phi": phi})


def _ordinary(Z: Array, y: Array, names: tuple[str, ...]) -> Estimate:
    theta, inverse, left = least_squares(Z, y, names)
    dof = max(len(y) - len(theta), 1)
    return Estimate(theta, inverse * float(left @ left) / dof, float(dof))


def along_the_curve(problem: Problem) -> Array:
    """Return rough coefficients: the derivatives of the smoothed curve, regressed on each other."""
    n = len(problem.t)
    rows = np.unique(np.linspace(0, n - 1, min(n, _PLACES)).astype(int))
    places = problem.as_given(problem.times[rows])
    nu = np.arange(problem.order + 1)[:, None]
    states = problem.smoothed.mean(places, nu)
    Z = problem.regressors(states[:-1], rows=rows)
    size = np.linalg.norm(Z, axis=0)
    scaled = Z / np.where(size > 0, size, 1.0)
    found = np.linalg.lstsq(scaled, states[-1] / problem.unit, rcond=1e-8)[0]
    return np.asarray(found / np.where(size > 0, size, 1.0))
