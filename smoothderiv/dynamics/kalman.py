"""The default method: coefficients inside the state model, by maximum likelihood."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from smoothderiv._warn import warn
from smoothderiv.dynamics.estimate import Estimate
from smoothderiv.dynamics.likelihood import Likelihood, Point, Value
from smoothderiv.dynamics.problem import Problem
from smoothderiv.dynamics.search import freed, search
from smoothderiv.dynamics.timeline import tables
from smoothderiv.dynamics.trajectory import Trajectory, degrees_of_freedom, trajectory

Array = NDArray[np.float64]

_ROUNDS = 40  # of the sign of the rate, for friction
_NEWTON = 6
_ROUNDING = 1e-9
_SAME = 1e-6  # change of the coefficients, in standard errors, at which the signs are settled


def fit(problem: Problem) -> tuple[Estimate, Trajectory]:
    """Estimate drift, inputs, disturbance and noise by restricted maximum likelihood.

    ``d state = (F state + B forcing) dt + dw`` is discretised exactly, inputs held; the start of
    the state is unknown, and so are the noise levels. With friction the sign of the rate changes
    where the smoothed motion turns; the turns are found anew until the coefficients stay.
    """
    _refuse(problem)
    if not problem.indices("friction"):
        likelihood = Likelihood.of(problem)
        point, value = freed(likelihood, *search(likelihood))
        return _estimate(likelihood, point, value), trajectory(likelihood, point)
    return _with_friction(problem)


def _with_friction(problem: Problem) -> tuple[Estimate, Trajectory]:
    """Alternate between the coefficients and the signs of the rate that they imply."""
    rate = problem.states[-1]
    turns = _straight_turns(problem.t, rate)
    last: Array | None = None
    point: Point | None = None
    for _ in range(_ROUNDS):
        likelihood = Likelihood.of(*_split(problem, rate, turns))
        point, value = search(likelihood, point)
        apart, there = freed(likelihood, point, value)
        found, path = _estimate(likelihood, apart, there), trajectory(likelihood, apart)
        std = np.sqrt(np.diag(found.covariance))
        size = np.maximum(_SAME * std, _ROUNDING * np.abs(found.coefficients))
        if last is not None and (np.abs(found.coefficients - last) <= size).all():
            return found, path
        last = found.coefficients
        places = problem.as_given(problem.times)
        states = path.mean(places, np.arange(problem.order)[:, None])
        rate, turns = states[-1], _turns(problem, found.coefficients, states)
    warn(
        f"the sign of the rate did not settle in {_ROUNDS} rounds: the system seems to rest for "
        "long, where friction holds it and the equation says nothing; leave such times out",
        RuntimeWarning,
    )
    return found, path


def _refuse(problem: Problem) -> None:
    """Refuse what the linear equation cannot hold."""
    if problem.given is not None:
        raise ValueError("x: a posterior is taken by method='gradient' alone; give the samples")
    functions = [problem.terms[j].name for j in problem.indices("function")]
    if functions:
        raise ValueError(
            f"terms: {functions[0]} is a function, which makes the equation nonlinear for "
            "method='kalman'; use method='integral', 'modulating', 'gradient' or 'difference'"
        )
    data = problem.data
    if data.exact.any():
        row = int(np.argmax(data.exact))
        raise ValueError(
            f"yerr: row {row} is exact (yerr=0), but method='kalman' weighs rows by their noise; "
            "give a small positive yerr, or None to have it estimated"
        )
    if data.nu.max() > problem.order:
        raise ValueError(
            f"also: derivatives of order {int(data.nu.max())} were observed, but the equation has "
            f"order={problem.order}; leave those rows out"
        )
    if data.nu.min() > 0 and any(t.kind == "state" and t.index == 0 for t in problem.terms):
        if data.nu.min() >= problem.order or not problem.indices("constant"):
            return
        raise ValueError(
            "x: only derivatives were observed, but a term uses x itself, whose level is then the "
            "same as the constant; add a value of x, or leave 'constant' out"
        )


def _split(problem: Problem, rate: Array, turns: Array) -> tuple[Problem, Array]:
    """Return the problem with the turns among its times, and the sign of the rate from each on.

    `turns` (n,) holds the time of the turn before the next time, or NaN.
    """
    rows = np.flatnonzero(np.isfinite(turns))
    sign = np.sign(rate)
    sign = np.where(sign == 0, np.append(sign[1:], sign[-1]), sign)
    at = rows + 1
    split = dataclasses.replace(
        problem,
        t=np.insert(problem.t, at, turns[rows]),
        x=np.insert(problem.x, at, np.nan),
        u=np.insert(problem.u, at, problem.u[rows], axis=0),
    )
    return split, np.insert(sign, at, -sign[rows])


def _straight_turns(t: Array, rate: Array) -> Array:
    """Return where a rate that goes straight between the times vanishes: (n,), NaN if nowhere."""
    turns = np.full(len(t), np.nan)
    rows = np.flatnonzero(rate[:-1] * rate[1:] < 0)
    turns[rows] = t[rows] + (t[rows + 1] - t[rows]) * rate[rows] / (rate[rows] - rate[rows + 1])
    return turns


def _turns(problem: Problem, coefficients: Array, states: Array) -> Array:
    """Return where the rate vanishes by the equation, from the state before: (n,), NaN if nowhere.

    Newton's method on the exact motion over part of a step, from the straight line's turn.
    """
    t, turns = problem.t, _straight_turns(problem.t, states[-1])
    rows = np.flatnonzero(np.isfinite(turns))
    scaled = (states - np.where(np.arange(problem.order) == 0, problem.shift, 0.0)[:, None]) / (
        problem.size / problem.span ** np.arange(float(problem.order))
    )[:, None]
    drift, force = np.zeros(problem.order), np.zeros(len(rows))
    for term, value in zip(problem.terms, coefficients, strict=True):
        if term.kind == "state":
            drift[term.index] += value
        elif term.kind == "friction":
            force += value * np.sign(states[-1, rows])
        else:
            force += value * (problem.u[rows, term.index] if term.kind == "input" else 1.0)
    step = t[rows + 1] - t[rows]
    tau = turns[rows] - t[rows]
    for _ in range(_NEWTON):
        A, G, _ = tables(tau, drift)
        now = np.einsum("mab,bm->am", A[:, 0], scaled[:, rows]) + G[:, 0, :, 0].T * force
        slope = drift @ now + force
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = tau - now[-1] / slope
        tau = np.clip(np.where(np.isfinite(moved), moved, tau), 0.0, step)
    inside = (tau > 0) & (tau < step)
    turns[rows] = np.where(inside, t[rows] + tau, turns[rows])
    return turns


def _estimate(likelihood: Likelihood, point: Point, value: Value) -> Estimate:
    """Put coefficients in the order of the terms, with their covariance."""
    problem, p = likelihood.problem, len(value.score)
    f, count = len(likelihood.free), len(problem.terms)
    where = np.empty(count, dtype=int)
    where[problem.indices("state")] = np.arange(f)
    where[likelihood.linear] = p + np.arange(len(likelihood.linear))
    values = np.concatenate((point.drift[likelihood.free], np.empty(p - f), value.beta))
    scale = np.sqrt(np.diag(value.joint))
    scale = np.where(scale > 0, scale, 1.0)
    covariance = np.linalg.inv(value.joint / scale / scale[:, None]) / scale / scale[:, None]
    return Estimate(
        coefficients=values[where],
        covariance=covariance[np.ix_(where, where)],
        dof=degrees_of_freedom(likelihood),
        noise=dict(zip(likelihood.line.orders, point.levels.tolist(), strict=True)),
        disturbance=point.q,
        notes={"loss": value.loss, "gradient": value.gradient},
    )
