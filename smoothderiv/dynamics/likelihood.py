"""The restricted likelihood of a linear equation of motion, with its gradient and information."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smoothderiv.dynamics import _loops
from smoothderiv.dynamics.estimate import undetermined
from smoothderiv.dynamics.problem import Problem
from smoothderiv.dynamics.timeline import Timeline, tables
from smoothderiv.model import UndeterminedError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Point:
    """Where the likelihood is evaluated: drift (d,), density q of the disturbance, noise levels."""

    drift: Array
    q: float
    levels: Array

    def moved(self, step: Array, free: list[int]) -> Point:
        """Return this point moved by a step in (drift, log q if q > 0, log levels)."""
        drift = self.drift.copy()
        drift[free] += step[: len(free)]
        noisy = int(self.q > 0)
        q = self.q * math.exp(step[len(free)]) if noisy else 0.0
        return Point(drift, q, self.levels * np.exp(step[len(free) + noisy :]))


@dataclass(frozen=True, eq=False)
class Value:
    """The loss at a point with its gradient, the linear coefficients, and the information.

    `score` is the expected information of the parameters alone (beta profiled out), `joint` that
    of parameters and linear coefficients together. `spare` (2, k) are the degrees of freedom that
    q, if it is positive, and each noise level rest on: rows less the leverages of the linear
    coefficients, and less those of the drift too, weighed by how much the variance of each row is
    made of that level.
    """

    loss: float
    gradient: Array
    beta: Array
    score: Array
    joint: Array
    residual: Array
    variance: Array
    spare: Array


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Harville's restricted likelihood of a problem, as a loss to be minimised.

    With X the answers of the observations to the linear terms and to the start of the state,
    Sigma their covariance and W the inverse of the noise variances that a pilot finds,
    ``loss = 1/2 [log|Sigma| + log|X' Sigma^-1 X| - log|X' W X| + min_beta |y - X beta|^2_Sigma]``.
    The third term keeps the second from pulling at the drift, on which X depends too: without a
    disturbance the drift is that of least squares.
    """

    problem: Problem
    line: Timeline
    free: list[int]
    linear: list[int]
    signs: Array

    @classmethod
    def of(cls, problem: Problem, signs: Array | None = None) -> Likelihood:
        """Make the likelihood of a problem; `signs` is the friction's regressor, if it is one."""
        drift = [problem.terms[j].index for j in problem.indices("state")]
        linear = problem.indices("input", "constant", "friction")
        blank = np.zeros(len(problem.t)) if signs is None else signs
        return cls(problem, Timeline.of(problem), drift, linear, blank)

    @cached_property
    def forces(self) -> tuple[Array, Array]:
        """The linear terms before and at each row."""
        return self.line.forces(self.problem, self.linear, self.signs)

    @cached_property
    def start(self) -> Array:
        """The columns of the start of the state; none of x where x enters nothing: (d, s)."""
        free = self.problem.data.nu.min() > 0 and 0 not in self.free
        return np.eye(self.problem.order)[:, 1 if free else 0 :]

    @cached_property
    def pilot(self) -> Array:
        """Rough noise levels."""
        return self.line.pilot()

    def at(self, point: Point, slopes: bool = True) -> Value:
        """Evaluate the loss, with its gradient and information if `slopes`."""
        free = np.array(self.free if slopes else [], dtype=np.int64)
        W, F = self._innovations(point, free, point.levels)
        flat = W
        if point.q > 0:
            flat, _ = self._innovations(dataclasses.replace(point, q=0.0), free, self.pilot)
        root = 1.0 / np.sqrt(F[:, 0])
        weight = 1.0 / np.sqrt(self.variances(self.pilot)[1])
        Q, R = np.linalg.qr(W[:, 0, 1:] * root[:, None])
        if not np.isfinite(R).all():
            raise UndeterminedError("terms: the motion overflows with these coefficients")
        undetermined(R, self.names)
        flat_Q, flat_R = np.linalg.qr(flat[:, 0, 1:] * weight[:, None])
        y = W[:, 0, 0] * root
        beta = -np.linalg.solve(R, Q.T @ y)
        v = y - Q @ (Q.T @ y)
        logs = _log_det(R) - _log_det(flat_R) + 0.5 * np.log(F[:, 0]).sum()
        loss = float(logs) + 0.5 * float(v @ v)
        if not slopes:
            nothing = np.empty((0, 0))
            return Value(loss, np.empty(0), beta, nothing, nothing, v, F[:, 0], np.empty((2, 0)))
        dC, D = W[:, 1:, 1:], F[:, 1:] / F[:, :1]
        dv = (W[:, 1:, 0] + dC @ beta) * root[:, None]
        gradient = 0.5 * (D.sum(axis=0) + 2.0 * v @ dv - (v * v) @ D)
        gradient += _slope_of_log_det(Q, R, root, dC) - 0.5 * ((Q * Q).sum(axis=1) @ D)
        drift = slice(0, len(free))
        gradient[drift] -= _slope_of_log_det(flat_Q, flat_R, weight, flat[:, 1:, 1:])[drift]
        rest = dv - Q @ (Q.T @ dv)
        both = np.concatenate((dv, W[:, 0, 1:] * root[:, None]), axis=1)
        joint, p = both.T @ both, dv.shape[1]
        joint[:p, :p] += 0.5 * D.T @ D
        score = rest.T @ rest + 0.5 * D.T @ D
        left = 1.0 - (Q * Q).sum(axis=1)
        more = np.linalg.svd(_normed(rest[:, drift]), full_matrices=False)[0]
        powers = np.repeat([1.0, 2.0], [int(point.q > 0), len(point.levels)])  # q, level^2
        share = D[:, len(free) :] / powers
        spare = np.array([left, left - (more * more).sum(axis=1)]) @ share
        return Value(loss, gradient, beta, score, joint, v, F[:, 0], spare)

    @property
    def names(self) -> tuple[str, ...]:
        """What enters linearly: terms, and the start of the state."""
        names = self.problem.names
        words = ("start of x", "start of the rate")[: self.problem.order]
        start = words[len(words) - self.start.shape[1] :]
        return (*(names[j] for j in self.linear), *start)

    def variances(self, levels: Array) -> tuple[Array, Array]:
        """Return variances of all rows, and of the observed ones."""
        variance = self.line.variances(levels)
        return variance, variance[self.line.component >= 0]

    def _innovations(
        self, point: Point, free: NDArray[np.int64], levels: Array
    ) -> tuple[Array, Array]:
        h, step = self.line.steps
        found: tuple[Array, Array] = _loops.innovations(
            step,
            tables(h, point.drift),
            point.q,
            point.drift,
            free,
            *self.forces,
            (self.line.y, self.line.component, self.variances(levels)[0], self.line.level),
            self.start,
            len(self.line.orders),
        )
        return found


def _normed(columns: Array) -> Array:
    """Return columns of length 1."""
    return np.asarray(columns / np.maximum(np.linalg.norm(columns, axis=0), np.finfo(float).tiny))


def _log_det(R: Array) -> float:
    """Return ``log |det R|`` of a triangular matrix."""
    return float(np.log(np.abs(np.diag(R))).sum())


def _slope_of_log_det(Q: Array, R: Array, weight: Array, dC: Array) -> Array:
    """Return the derivatives of ``log |det R|``, ``weight C = Q R``, by what moves C: (p,)."""
    lever = np.linalg.solve(R, Q.T).T * weight[:, None]
    return np.asarray(np.einsum("tb,tpb->p", lever, dC))
