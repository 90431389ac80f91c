"""Trajectory: the motion given the data and the equation, as a posterior like any other."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv.dynamics import _loops
from smoothderiv.dynamics.likelihood import Likelihood, Point
from smoothderiv.dynamics.timeline import Timeline, tables
from smoothderiv.model import Levels, Noise, SelfTunedModel
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior
from smoothderiv.tuning import Tuning

Array = NDArray[np.float64]
Orders = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EquationOfMotion(SelfTunedModel):
    """``D^order x = drift . state + input + noise`` with known numbers, as a model of a curve.

    Attributes
    ----------
    likelihood, point
        The equation with its input, and drift, disturbance and noise levels.
    noise : mapping from order to level
    """

    likelihood: Likelihood = field(repr=False)
    point: Point = field(repr=False)
    noise: Noise
    tuning: Tuning | None = field(default=None, repr=False)

    def condition(self, data: Observations) -> Trajectory:
        """Return the motion given other observations of it, under the same input."""
        problem = dataclasses.replace(self.likelihood.problem, data=data)
        likelihood = dataclasses.replace(
            self.likelihood, problem=problem, line=Timeline.of(problem)
        )
        levels = [self.noise[o] / (problem.size / problem.span**o) for o in likelihood.line.orders]
        return trajectory(likelihood, dataclasses.replace(self.point, levels=np.array(levels)))

    def unknown(self, data: Observations) -> tuple[str, ...]:
        return tuple(f"noise[{o}]" for o in data.estimated_orders if o not in self.noise)

    def tuned(self, data: Observations, criterion: str) -> EquationOfMotion:
        """Refuse: what is unknown is not only of the curve."""
        raise ValueError("model: an equation of motion is fitted by sd.dynamics.fit, not by tune")


class Places(NamedTuple):
    """The state at places asked, free of units, linearised in what was estimated.

    ``state = mean + sensitivity (estimated - estimate) + what the noise leaves``; `spread` is the
    covariance (k, k) of what was estimated, `pieces` what the joint covariance of the rest needs.
    """

    mean: Array
    sensitivity: Array
    here: Array
    spread: Array
    at: Orders
    pieces: tuple[Any, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(Posterior):
    """The state given all data, with the uncertainty of coefficients and start.

    Kalman filter and smoother under the estimated noise and disturbance; the coefficients enter
    linearised at their estimate (exactly, for those of inputs and constant). Highest order: that of
    the equation, whose D^order x is the drift, without the disturbance.
    """

    data: Observations
    model: EquationOfMotion
    noise: Mapping[Any, float]
    log_evidence: float
    dof: float
    likelihood: Likelihood = field(repr=False)
    point: Point = field(repr=False)

    @functools.cached_property
    def edf(self) -> float:  # type: ignore[override]
        return float(self._leverage().sum())

    @property
    def highest_order(self) -> float:
        return self.likelihood.problem.order

    def _units(self, nu: Orders) -> Array:
        problem = self.likelihood.problem
        return problem.size / problem.span ** nu.astype(float)

    @property
    def lowest_order(self) -> int:
        """The lowest derivative that the data determine: 1 where only rates were observed."""
        return int(self.likelihood.problem.order - self.likelihood.start.shape[1])

    def _require_level(self, nu: Orders) -> None:
        """Refuse x itself where only its derivatives are determined."""
        if (nu == 0).any() and self.lowest_order:
            raise ValueError(
                "nu: x itself was asked, but only its derivatives were observed; add a value, such "
                "as also=observe(t0, 0.0, yerr)"
            )

    def _places(self, x: Array, lift: int = 0) -> tuple[Places, NDArray[np.intp]]:
        """Return the states at the distinct places of x, and where each of x is among them."""
        problem = self.likelihood.problem
        asked, back = np.unique((x - problem.start) / problem.span, return_inverse=True)
        return states(self.likelihood, self.point, asked, lift), back

    def _mean(self, x: Array, nu: Orders) -> Array:
        self._require_level(nu)
        found, back = self._places(x)
        values = self._every_order(found)[0]
        shift = np.where(nu == 0, self.likelihood.problem.shift, 0.0)
        return np.asarray(shift + self._units(nu) * values[back, nu])

    def _every_order(self, found: Places) -> tuple[Array, Array, Array]:
        """Return means (a, d + 1), sensitivities (a, d + 1, k) and rows of the state (d + 1, d)."""
        d = self.likelihood.problem.order
        rows = np.concatenate((np.eye(d), self.point.drift[None]))
        mean, sensitivity = found.mean @ rows.T, np.einsum("ed,adk->aek", rows, found.sensitivity)
        sensitivity[:, d] += found.here[:, 1:]
        mean[:, d] += found.here[:, 0]
        return mean, sensitivity, rows

    def _var(self, x: Array, nu: Orders) -> Array:
        found, back = self._places(x)
        _, sensitivity, rows = self._every_order(found)
        variance = np.einsum("ed,adf,ef->ae", rows, found.pieces[1][found.at], rows)
        variance += np.einsum("aek,kl,ael->ae", sensitivity, found.spread, sensitivity)
        return np.asarray(np.maximum(variance[back, nu], 0.0) * self._units(nu) ** 2)

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        if not len(x) or not len(x2):
            return np.zeros((len(x), len(x2)))
        found, back = self._places(np.concatenate((x, x2)))
        _, sensitivity, rows = self._every_order(found)
        step, _, A, ahead, infos, loops = found.pieces
        state = _loops.joint(found.at, step, A, ahead, infos, loops)
        one, two = back[: len(x)], back[len(x) :]
        cov = np.einsum("id,idjf,jf->ij", rows[nu], state[one][:, :, two], rows[nu2])
        cov += sensitivity[one, nu] @ found.spread @ sensitivity[two, nu2].T
        return np.asarray(self._units(nu)[:, None] * cov * self._units(nu2))

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        cov = self._cov(x, nu, x, nu)
        scale = np.sqrt(np.maximum(np.diag(cov), 0.0))
        safe = np.where(scale > 0, scale, 1.0)
        value, vector = np.linalg.eigh(cov / safe / safe[:, None])
        draws = rng.standard_normal((size, len(x))) * np.sqrt(np.maximum(value, 0.0))
        return np.asarray(self._mean(x, nu) + scale * (draws @ vector.T))

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        """Integrate by one more component of the state, whose derivative is x."""
        problem = self.likelihood.problem
        found, back = self._places(np.array([a, b]), lift=1)
        step, _, A, ahead, infos, loops = found.pieces
        state = _loops.joint(found.at, step, A, ahead, infos, loops)[:, 0, :, 0]
        cov = state + found.sensitivity[:, 0] @ found.spread @ found.sensitivity[:, 0].T
        sign = np.zeros(len(found.mean))
        np.add.at(sign, back, np.array([-1.0, 1.0]))
        unit = problem.size * problem.span
        mean = problem.shift * (b - a) + unit * float(sign @ found.mean[:, 0])
        return mean, max(float(sign @ cov @ sign), 0.0) * unit**2

    def _leverage(self) -> Array:
        var = self._var(self.data.x, self.data.nu)
        return np.asarray(np.clip(var / self.data.sd(self.noise) ** 2, 0.0, 1.0))


def trajectory(likelihood: Likelihood, point: Point) -> Trajectory:
    """Return the motion at given drift, disturbance and noise levels."""
    problem, value = likelihood.problem, likelihood.at(point)
    unit = problem.size / problem.span ** problem.data.nu.astype(float)
    rows, linear = len(value.residual), len(value.beta)
    logs = np.log(unit).sum() + 0.5 * (rows - linear) * math.log(2 * math.pi)
    noise: dict[Any, float] = {
        order: float(level * problem.size / problem.span**order)
        for order, level in zip(likelihood.line.orders, point.levels, strict=True)
    }
    model = EquationOfMotion(likelihood, point, Levels(noise))
    return Trajectory(
        data=problem.data,
        model=model,
        noise=model.noise,
        log_evidence=float(-value.loss - logs),
        dof=degrees_of_freedom(likelihood),
        likelihood=likelihood,
        point=point,
    )


def degrees_of_freedom(likelihood: Likelihood) -> float:
    """Return rows less coefficients and start, or infinity where all noise is known."""
    if not likelihood.line.orders:
        return math.inf
    count = int((likelihood.line.component >= 0).sum())
    used = len(likelihood.free) + len(likelihood.linear) + likelihood.start.shape[1]
    return float(max(count - used, 1))


def states(likelihood: Likelihood, point: Point, asked: Array, lift: int = 0) -> Places:
    """Filter and smooth with the places asked among the rows; `lift` integrates x once more."""
    problem = likelihood.problem
    line = Timeline.of(problem, asked)
    drift = np.concatenate((np.zeros(lift), point.drift))
    d, free = len(drift), [j + lift for j in likelihood.free]
    h, step = line.steps
    A, G, Q = tables(h, drift)
    before, here = line.forces(problem, likelihood.linear, likelihood.signs)
    n, m, s = len(line.t), before.shape[1], likelihood.start.shape[1]
    kick, direct = np.zeros((n, d, 1 + m + s)), np.zeros((n, 1 + m + s))
    moving = step >= 0
    kick[moving, :, 1 : 1 + m] = G[step[moving], 0] * before[moving][:, None, :]
    direct[:, 1 : 1 + m] = here
    start = np.concatenate(
        (
            np.zeros((d, 1 + m)),
            np.concatenate((np.zeros((lift, likelihood.start.shape[1])), likelihood.start)),
        ),
        axis=1,
    )
    variance = line.variances(point.levels)
    component = np.where(line.component >= 0, line.component + lift, -1)
    rows = (line.y, component, variance)
    A0, Q0 = np.ascontiguousarray(A[:, 0]), np.ascontiguousarray(Q[:, 0])

    def run(kick: Array, direct: Array, start: Array) -> Any:
        return _loops.smooth(step, A0, Q0, point.q, drift, kick, direct, rows, start)

    mean, *_, W, F = run(kick, direct, start)
    seen = line.component >= 0
    root = 1.0 / np.sqrt(F[seen])[:, None]
    beta = np.linalg.lstsq(-W[seen, 1:] * root, W[seen, 0] * root[:, 0], rcond=None)[0]
    path = mean[:, :, 0] + mean[:, :, 1:] @ beta
    push = before @ beta[:m]
    more, extra = np.zeros((n, d, len(free))), np.zeros((n, len(free)))
    for r, j in enumerate(free):
        there = step[moving]
        before_path = path[:-1][moving[1:]]
        more[moving, :, r] = np.einsum("nde,ne->nd", A[there, 1 + j], before_path)
        more[moving, :, r] += G[there, 1 + j, :, 0] * push[moving, None]
        extra[:, r] = path[:, j]
    kick, direct = np.concatenate((kick, more), axis=2), np.concatenate((direct, extra), axis=1)
    start = np.concatenate((start, np.zeros((d, len(free)))), axis=1)
    mean, cov, ahead, infos, loops, W, F = run(kick, direct, start)
    _, R = np.linalg.qr(W[seen, 1:] * root)
    inverse = np.linalg.inv(R)
    at = line.asked
    order = np.argsort(at, kind="stable")
    at = at[order]
    return Places(
        mean=path[at],
        sensitivity=mean[at][:, :, 1:],
        here=np.concatenate(((here @ beta[:m])[at, None], direct[at, 1:]), axis=1),
        spread=inverse @ inverse.T,
        at=at.astype(np.int64),
        pieces=(step, cov, A0, ahead, infos, loops),
    )
