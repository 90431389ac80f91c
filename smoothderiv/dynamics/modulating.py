"""Modulating functions: derivatives are moved from the noisy curve onto smooth test functions.

With ``phi`` and its first derivatives zero at both ends of a window, ``int phi x'' = int phi'' x``
and ``int phi x' = -int phi' x``: no derivative of the data is taken (Shinbrot 1957). The test
functions are ``sin^4(pi (t - s) / D)`` on half overlapping windows of lengths D = T, T/2, T/4, ..
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv._warn import warn
from smoothderiv.dynamics.estimate import Estimate
from smoothderiv.dynamics.moments import MomentEquations
from smoothderiv.dynamics.problem import Problem
from smoothderiv.dynamics.terms import sign_average

Array = NDArray[np.float64]

_SHORTEST = 24  # samples in the shortest window
_SCALES = 7
_GAP = 5.0  # typical steps
_SHIFTS = 2  # windows begin every half length


def fit(problem: Problem) -> tuple[Estimate, None]:
    """Estimate by modulating functions: the noise of x white, its size estimated.

    Times may be uneven and samples missing, as long as steps are short beside what moves: the
    integrals of x are sums by the trapezoidal rule. Inputs are integrated exactly. Friction and
    functions are taken along the smoothed curve.
    """
    problem.require_plain("modulating")
    seen = np.isfinite(problem.x)
    t, x = problem.t[seen], problem.x[seen]
    if len(t) < 2 * _SHORTEST // 3:
        raise ValueError(
            f"x: {len(t)} samples are too few for method='modulating'; use method='kalman'"
        )
    steps = np.diff(t)
    widest = int(np.argmax(steps))
    if steps[widest] > _GAP * np.median(steps):
        begin = problem.start + problem.span * t[widest]
        warn(
            f"x: no sample for {steps[widest] / np.median(steps):.3g} steps after "
            f"{problem.as_given(np.array([begin]))[0]}; method='modulating' integrates across by "
            "a straight line, which biases all coefficients; method='kalman' does not"
        )
    windows = _windows(t)
    weight = np.gradient(t)
    weight[[0, -1]] *= 0.5
    maps = [_Test(windows, t, weight).map(k) for k in range(problem.order + 1)]
    Z, noisy = np.empty((len(windows), len(problem.terms))), []
    signs = [(-1.0) ** k for k in range(problem.order + 1)]
    y = signs[problem.order] * (maps[problem.order] @ x)
    exact = np.diff(_Test(windows, problem.t, weight).antiderivative(), axis=1)
    parts = [(signs[problem.order], maps[problem.order])]
    for j, term in enumerate(problem.terms):
        if term.kind == "state":
            noisy.append(j)
            parts.append((signs[term.index], maps[term.index]))
            Z[:, j] = signs[term.index] * (maps[term.index] @ x)
    held = held_columns(problem)
    others = [j for j in range(len(problem.terms)) if j not in noisy]
    Z[:, others] = exact @ held[:, others]
    cov = np.array([[s * v * (A @ B.T).toarray() for v, B in parts] for s, A in parts])
    estimate = MomentEquations(y, Z, noisy, cov, problem.names).solve()
    return with_noise(estimate), None


def with_noise(estimate: Estimate) -> Estimate:
    """Return an estimate that tells the noise level which its misfit stands for."""
    noise = {0: math.sqrt(estimate.notes["misfit"])}
    return Estimate(
        estimate.coefficients,
        estimate.covariance,
        estimate.dof,
        noise,
        0.0,
        estimate.notes,
    )


def held_columns(problem: Problem) -> Array:
    """Return what acts between each time and the next, for every term but those of the state.

    (n - 1, p): inputs are held; friction is the mean sign along the smoothed curve; functions are
    means of both ends.
    """
    columns = np.zeros((len(problem.t) - 1, len(problem.terms)))
    for j, term in enumerate(problem.terms):
        if term.kind == "input":
            columns[:, j] = problem.u[:-1, term.index]
        elif term.kind == "constant":
            columns[:, j] = 1.0
        elif term.kind == "friction":
            rate, std = problem.states[-1], problem.rate_std
            columns[:, j] = sign_average(rate[:-1], rate[1:], 0.5 * (std[:-1] + std[1:]))
        elif term.kind == "function":
            columns[:, j] = _means(problem, j)
    return columns


def _means(problem: Problem, j: int) -> Array:
    """Return means over the steps of a function of the smoothed state, by Simpson's rule."""
    states, raw = problem.states, problem.raw
    middle = problem.as_given(0.5 * (problem.times[:-1] + problem.times[1:]))
    between = problem.smoothed.mean(middle, np.arange(problem.order)[:, None])
    now = None if raw is None else raw[:-1]
    start = problem.raw_function(j, states[:, :-1], now)
    half = problem.raw_function(j, between, now)
    stop = problem.raw_function(j, states[:, 1:], now)
    return np.asarray((start + 4.0 * half + stop) / 6.0 / problem.size_of(j))


def _windows(t: Array) -> list[tuple[float, float]]:
    """Return begin and length of each window."""
    step = float(np.median(np.diff(np.unique(t))))
    found = []
    for scale in range(_SCALES):
        length = (t[-1] - t[0]) / 2**scale
        if scale > 1 and length < _SHORTEST * step:
            break
        count = _SHIFTS * (2**scale - 1) + 1
        found += [(t[0] + k * length / _SHIFTS, length) for k in range(count)]
    return found


class _Test:
    """The test functions on the windows, their derivatives and antiderivatives."""

    def __init__(self, windows: list[tuple[float, float]], t: Array, weight: Array) -> None:
        self._windows, self._t, self._weight = windows, t, weight

    def map(self, order: int) -> Any:
        """Return the sparse matrix that integrates the derivative of order k against samples."""
        from scipy import sparse

        derivative = _DERIVATIVES[order]
        values, columns, ends = [], [], [0]
        for begin, length in self._windows:
            low, high = np.searchsorted(self._t, [begin, begin + length])
            rows = np.arange(low, min(high + 1, len(self._t)))
            y = np.clip(math.pi * (self._t[rows] - begin) / length, 0.0, math.pi)
            values.append(self._weight[rows] * derivative(y) * (math.pi / length) ** order)
            columns.append(rows)
            ends.append(ends[-1] + len(rows))
        shape = (len(self._windows), len(self._t))
        return sparse.csr_array(
            (np.concatenate(values), np.concatenate(columns), np.array(ends)), shape=shape
        )

    def antiderivative(self) -> Array:
        """Return the integral of each test function up to each time: (L, n)."""
        rows = []
        for begin, length in self._windows:
            y = np.clip(math.pi * (self._t - begin) / length, 0.0, math.pi)
            primitive = (3.0 * y - 2.0 * np.sin(2 * y) + 0.25 * np.sin(4 * y)) / 8.0
            rows.append(primitive * length / math.pi)
        return np.array(rows)


_DERIVATIVES: tuple[Callable[[Array], Array], ...] = (
    lambda y: np.sin(y) ** 4,
    lambda y: 4.0 * np.sin(y) ** 3 * np.cos(y),
    lambda y: 12.0 * np.sin(y) ** 2 - 16.0 * np.sin(y) ** 4,
)
