"""The integrated form: samples a lag apart, linked by the equation itself, with no differencing.

Integrated over a lag D, ``x_{t+D} = e^{aD} x_t + sum_j beta_j int_t^{t+D} e^{a(t+D-s)} I_j(s) ds``,
where for order 2 I_j are the cumulative integrals of the input, of 1 (that is t) and of friction or
functions, and the constant 1 (the unknown start of the rate); for order 1 those themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smoothderiv._warn import warn
from smoothderiv.dynamics import _loops
from smoothderiv.dynamics.difference import along_the_curve
from smoothderiv.dynamics.estimate import Estimate, least_squares
from smoothderiv.dynamics.modulating import held_columns
from smoothderiv.dynamics.problem import Problem
from smoothderiv.dynamics.timeline import tables

Array = NDArray[np.float64]

_ROUNDS = 100
_SETTLED = 1e-24


def fit(problem: Problem) -> tuple[Estimate, None]:
    """Minimise the squares of the lagged equation over its noise, for every pair a lag apart.

    White noise e on x leaves ``r = e_{t+D} - phi e_t``, ``phi = e^{aD}``, of variance ``sigma^2
    (1 + phi^2)``: the estimate minimises ``sum r^2 / (1 + phi^2)``, orthogonal regression, which
    the noise of x_t does not bias; a plain regression on x_t is diluted. The lag is about
    1/|a|. Pairs overlap; the covariance is that of the estimate under white noise, overlaps and
    all. Inputs enter exactly; position, friction and functions are taken along the smoothed curve,
    as if known: intervals are too narrow for that, which a warning says of position.
    """
    problem.require_plain("integral")
    if problem.order > 1 and any(problem.terms[j].index == 0 for j in problem.indices("state")):
        warn(
            "terms: method='integral' takes the position along the smoothed curve, as if it were "
            "known, so that intervals are too narrow; method='kalman' knows how well it is known"
        )
    lagged = _Lagged.of(problem)
    found = _solve(lagged, lagged.first_rate, lagged.lag(lagged.first_rate))
    if lagged.rate >= 0:  # once more, with the lag that suits the rate found
        rate = float(found.coefficients[lagged.rate])
        found = _solve(lagged, rate, lagged.lag(rate))
    return found, None


@dataclass(frozen=True, eq=False)
class _Lagged:
    """The problem as sums of answers of the system with rate a to each other term."""

    problem: Problem
    t: Array
    x: Array
    seen: NDArray[np.intp]
    rate: int
    others: list[int]
    force: Array
    first_rate: float

    @classmethod
    def of(cls, problem: Problem) -> _Lagged:
        seen = np.flatnonzero(np.isfinite(problem.x))
        last = problem.order - 1
        rate = [j for j in problem.indices("state") if problem.terms[j].index == last]
        others = [j for j in range(len(problem.terms)) if j not in rate]
        held = held_columns(problem)
        for j in problem.indices("state"):
            if j in others:
                x = (problem.states[0] - problem.shift) / problem.size
                held[:, j] = 0.5 * (x[1:] + x[:-1])
        force = np.zeros((len(problem.t), len(others)))
        force[1:] = held[:, others]
        a = float(along_the_curve(problem)[rate[0]]) if rate else 0.0
        return cls(
            problem, problem.t, problem.x[seen], seen, rate[0] if rate else -1, others, force, a
        )

    def lag(self, a: float) -> NDArray[np.intp]:
        """Return for each sample the one about 1/|a| later: (k,), of the first k samples."""
        times = self.t[self.seen]
        step = (times[-1] - times[0]) / (len(times) - 1)
        most = max(len(times) // 5, 1)
        m = most if abs(a) * step * most <= 1.0 else max(round(1.0 / (abs(a) * step)), 1)
        return np.arange(m, len(times))

    def answers(self, a: float) -> tuple[Array, Array]:
        """Return the answers of the system to the terms, and to the start of the rate, (n, c).

        The second array is their derivative by a.
        """
        order = self.problem.order
        h, which = np.unique(np.diff(self.t), return_inverse=True)
        step = np.concatenate(([-1], which)).astype(np.int64)
        drift = np.zeros(order)
        drift[-1] = a
        n = len(self.t)
        zero = np.zeros(n, dtype=np.int64)
        rows = (np.zeros(n), zero, np.ones(n), zero - 1)
        start = np.ascontiguousarray(np.eye(order)[:, 1:])
        free = np.array([order - 1], dtype=np.int64)
        W, _ = _loops.innovations(
            step, tables(h, drift), 0.0, drift, free, self.force, self.force, rows, start, 0
        )
        return -W[self.seen, 0, 1:], -W[self.seen, 1, 1:]


def _solve(lagged: _Lagged, a: float, later: NDArray[np.intp]) -> Estimate:
    """Find a by Gauss-Newton steps with everything else profiled out."""
    best: tuple[float, float] | None = None
    for _ in range(_ROUNDS):
        parts = _linearised(lagged, a, later)
        if best is not None and parts.value > best[0] * (1.0 + 1e-12):
            a = 0.5 * (a + best[1])
            if abs(a - best[1]) <= 1e-15 * abs(a):
                break
            continue
        best = (parts.value, a)
        if lagged.rate < 0 or not parts.length > _SETTLED * max(parts.value, np.finfo(float).tiny):
            break
        a = a + parts.step
    assert best is not None
    return _report(lagged, best[1], later)


@dataclass(frozen=True)
class _Linear:
    """One linearisation: objective, step in a, and what the covariance needs."""

    value: float
    step: float
    length: float
    beta: Array
    columns: Array
    inverse: Array
    weight: Array
    phi: Array


def _linearised(lagged: _Lagged, a: float, later: NDArray[np.intp]) -> _Linear:
    earlier = np.arange(len(later))
    gap = lagged.t[lagged.seen[later]] - lagged.t[lagged.seen[earlier]]
    phi = np.exp(a * gap)
    weight = 1.0 / np.sqrt(1.0 + phi**2)
    X, dX = lagged.answers(a)
    G = X[later] - phi[:, None] * X[earlier]
    names = (*(lagged.problem.names[j] for j in lagged.others), "start of the rate")[: G.shape[1]]
    left = lagged.x[later] - phi * lagged.x[earlier]
    beta, inverse, r = least_squares(G * weight[:, None], left * weight, names)
    if lagged.rate < 0:
        return _Linear(float(r @ r), 0.0, 0.0, beta, G, inverse, weight, phi)
    dG = dX[later] - (phi * gap)[:, None] * X[earlier] - phi[:, None] * dX[earlier]
    slope = gap * phi * lagged.x[earlier] + dG @ beta
    slope = slope + gap * phi**2 * weight * r  # freed of the noise that the residual tells of
    columns = np.column_stack((slope, G))
    step, inverse, _ = least_squares(columns * weight[:, None], r, ("rate", *names))
    length = float(step[0] ** 2 / inverse[0, 0])
    return _Linear(float(r @ r), float(step[0]), length, beta, columns, inverse, weight, phi)


def _report(lagged: _Lagged, a: float, later: NDArray[np.intp]) -> Estimate:
    parts = _linearised(lagged, a, later)
    count, used = len(later), parts.columns.shape[1]
    pull = parts.columns * (parts.weight**2)[:, None]
    share = np.zeros((len(lagged.x), used))  # how each sample's noise enters
    share[later] += pull
    share[: len(later)] -= parts.phi[:, None] * pull
    dof = max(count - used, 1)
    variance = parts.value / dof
    covariance = variance * parts.inverse @ (share.T @ share) @ parts.inverse
    size = len(lagged.problem.terms)
    shift = 1 if lagged.rate >= 0 else 0
    values, where = np.empty(size), np.empty(size, dtype=int)
    for k, j in enumerate(lagged.others):
        values[j], where[j] = parts.beta[k], shift + k
    if lagged.rate >= 0:
        values[lagged.rate], where[lagged.rate] = a, 0
    gap = float(np.median(lagged.t[lagged.seen[later]] - lagged.t[lagged.seen[: len(later)]]))
    return Estimate(
        values,
        covariance[np.ix_(where, where)],
        float(dof),
        {0: math.sqrt(variance)},
        notes={"lag": gap * lagged.problem.span},
    )
