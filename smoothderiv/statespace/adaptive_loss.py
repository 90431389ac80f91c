"""What tuning an adaptive spline minimises: restricted likelihood times a random walk's density.

With l the values of log q at K knots, s the log noise levels and ``v = variation^2 / (K - 1)``,

    loss(l, s) = - REML(l, s) + sum_k [ (l_(k+1) - l_k)^2 / (2 v) + 1/2 log v ].

With H the information at its optimum plus the second derivatives of the random walk, the evidence
of a variation is -loss - 1/2 log|H| by Laplace's approximation, and so it is for constant q,
without the sum: densities of the mean of l and of s are flat in both.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv.model import Noise, levels_sharing
from smoothderiv.newton import newton
from smoothderiv.observations import Observations
from smoothderiv.statespace import _adaptive_loops
from smoothderiv.statespace.adaptive import AdaptiveSpline
from smoothderiv.statespace.evidence import log_evidence, polynomial_information
from smoothderiv.statespace.levels import rough_levels
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.varying import hats

Array = NDArray[np.float64]

ENOUGH = 4000  # rows, or means of rows, that tell how density varies
RANGE = 40.0  # in a log, on either side of where constant q and its noise are best
_TYPICAL = 5.0  # half of the prior of the variation is below: a half-Cauchy distribution
_CLIMB = 30  # steps at most
_NEAR = 1e-2  # nats from an optimum that is only compared with others
_SHORT = 1e-4  # a step in all logs that is taken as it is
_SETTLED = 1e-8  # nats from the optimum of many rows
_STRIDE = 4.0  # in any log, at most, in a step
_TOLD = 0.1  # information about log q or the log of a noise level: each row left for it gives 2


class Likelihood(NamedTuple):
    """Minus a log likelihood at a point, its gradient, and what its information is found from."""

    loss: float
    gradient: Array
    passes: Any


class Fit(NamedTuple):
    """The best point at one variation, and the second derivatives there."""

    objective: Objective
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
class Objective:
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

    @cached_property
    def _sharing(self) -> int:
        """How many levels have a prior: all, or none."""
        return levels_sharing(self.model.noise, self.data, self.model.order)

    @property
    def knots(self) -> int:
        """How many knots there are."""
        return len(self.model.knots or ())

    def noise_at(self, point: Array) -> Noise | None:
        """Return the noise mapping with the levels of a point."""
        levels = np.exp(point[self.knots :]).tolist()
        return {**(self.model.noise or {}), **dict(zip(self.levels, levels, strict=True))} or None

    def likelihood(self, point: Array) -> Likelihood:
        """Return minus the restricted likelihood at a point, with its gradient.

        Less the log prior of :func:`smoothderiv.model.levels_sharing`.
        """
        (knot, share), logs = self._steps, point[: self.knots]
        density = np.exp((1.0 - share) * logs[knot] + share * logs[knot + 1])
        variance = self._rows.variances(self.data.sd(self.noise_at(point)))
        rows = self._rows.having(self._rows.prior, variance)
        steps = rows.steps._replace(weight=rows.steps.weight * density[:, None])
        rows = dataclasses.replace(rows, given_steps=steps)
        gain, innovation, inverse, found = rows.gains
        back = _adaptive_loops.backward(rows.columns(), rows.steps, gain, innovation, inverse)
        pull, diagonal, penalty, excess, *rest = back
        by_step = 0.5 * (excess - penalty)
        gradient = np.zeros(len(point))
        gradient += np.bincount(knot, (1.0 - share) * by_step, len(point))
        gradient += np.bincount(knot + 1, share * by_step, len(point))
        known = self._level >= 0
        by_row = (rows.variance * (diagonal - pull**2))[known]
        gradient += np.bincount(self._level[known], by_row, len(point))
        loss = -log_evidence(rows, found, self._polynomials)
        if self._sharing:
            loss -= float(point[self.knots :].sum())
            gradient[self.knots :] -= 1.0
        return Likelihood(loss, gradient, (rows, gain, inverse, (diagonal, *rest)))

    def information(self, found: Likelihood) -> Array:
        """Return the expected information of the restricted likelihood, (p, p)."""
        rows, gain, inverse, back = found.passes
        return np.asarray(
            _adaptive_loops.information(
                rows.columns(), rows.steps, gain, inverse, back, *self._steps, self._level,
                self.knots + len(self.levels),
            )
        )  # fmt: skip

    def penalised(self, variation: float, point: Array) -> Likelihood:
        """Return the loss at one variation, less the log density of the walk at its mode."""
        found = self.likelihood(point)
        pull = self.walk(variation) @ point
        loss = found.loss + 0.5 * float(point @ pull) - self.mode(variation)
        return Likelihood(loss, found.gradient + pull, found.passes)

    def climb(self, variation: float, point: Array) -> Fit | None:
        """Minimise the loss at one variation by Fisher scoring, to about `_NEAR` nats.

        None where q or a noise level goes to nothing on the way: the data do not tell it any more.
        """
        walk, found = self.walk(variation), self.penalised(variation, point)
        for _ in range(_CLIMB):
            curvature = self.information(found) + walk
            if not self._told(curvature):
                return None
            move = -np.linalg.solve(curvature, found.gradient)
            if -0.5 * float(move @ found.gradient) < _NEAR:
                break
            move *= min(1.0, _STRIDE / np.abs(move).max())
            fresh = self.penalised(variation, point + move)
            while not fresh.loss <= found.loss and np.abs(move).max() > _SHORT:
                move *= 0.3
                fresh = self.penalised(variation, point + move)
            point, found = point + move, fresh
        return Fit(self, variation, point, found.loss, found.gradient, curvature)

    def _told(self, curvature: Array) -> bool:
        """Tell whether the data determine the mean of log q and every noise level."""
        levels = np.diag(curvature)[self.knots :]
        return bool(curvature[: self.knots, : self.knots].sum() > _TOLD and (levels > _TOLD).all())

    def polished(self, fit: Fit) -> Fit:
        """Return the fit of these data at its very optimum, to all digits if they are few.

        The fit as it is where q or a noise level goes to nothing on the way.
        """
        walk, nats = self.walk(fit.variation), _SETTLED if len(self.data) > ENOUGH else 0.0
        lower, upper = fit.point - RANGE, fit.point + RANGE

        def loss(point: Array) -> tuple[float, Array]:
            return self.penalised(fit.variation, point)[:2]

        point, _ = newton(loss, fit.point, lower, upper, fit.curvature, nats=nats, steps=60)
        found = self.penalised(fit.variation, point)
        curvature = self.information(found) + walk
        if not self._told(curvature):
            return fit
        return Fit(self, fit.variation, point, found.loss, found.gradient, curvature)

    def walk(self, variation: float) -> Array:
        """Return the second derivatives of the random walk's penalty, (p, p)."""
        out, steps = np.zeros((self.knots + len(self.levels),) * 2), self.knots - 1
        D = np.diff(np.eye(self.knots), axis=0)
        out[: self.knots, : self.knots] = D.T @ D * (steps / variation**2)
        return out

    def mode(self, variation: float) -> float:
        """Return the log density of the walk at its mode, but for powers of 2 pi."""
        steps = self.knots - 1
        return -0.5 * steps * math.log(variation**2 / steps)

    def flat(self, uniform: Any) -> Fit:
        """Return the fit of constant q: its curvature is that of the mean of log q, and levels."""
        levels = [math.log((uniform.noise or {})[order]) for order in self.levels]
        point = np.append(np.full(self.knots, math.log(uniform.q)), levels)
        found = self.likelihood(point)
        mean = np.zeros((len(point), 1 + len(levels)))
        mean[: self.knots, 0] = 1.0
        mean[self.knots :, 1:] = np.eye(len(levels))
        curvature = mean.T @ self.information(found) @ mean
        return Fit(self, 0.0, point, found.loss, found.gradient, curvature)

    def promises(self, flat: Fit, variations: tuple[float, ...]) -> bool:
        """Tell whether the score where q is constant promises evidence for any of some."""
        information = self.information(self.likelihood(flat.point))
        for variation in variations:
            curvature = information + self.walk(variation)
            ahead = 0.5 * float(flat.gradient @ np.linalg.solve(curvature, flat.gradient))
            loss = flat.loss - ahead - self.mode(variation)
            fit = flat._replace(loss=loss, curvature=curvature)
            if fit.log_evidence > flat.log_evidence:
                return True
        return False

    @property
    def names(self) -> tuple[str, ...]:
        """What is searched, as in :class:`smoothderiv.minimiser.Search`."""
        levels = (f"noise[{order}]" for order in self.levels)
        return (*(f"q[{k}]" for k in range(self.knots)), *levels)

    def having(self, knots: tuple[float, ...], point: Array) -> tuple[Objective, Array]:
        """Return the same with other knots, and a point of this as one of it."""
        old = self.knots
        logs = np.interp(knots, np.asarray(self.model.knots), point[:old])
        model = dataclasses.replace(self.model, knots=knots)
        return dataclasses.replace(self, model=model), np.append(logs, point[old:])

    @cached_property
    def rough(self) -> dict[Any, float]:
        """Noise levels as neighbours tell them."""
        return rough_levels(self.data, self.levels)

    def at_rough_levels(self) -> Objective:
        """Return the same with its levels held there."""
        noise = {**(self.model.noise or {}), **self.rough}
        return Objective(dataclasses.replace(self.model, noise=noise), self.data, ())

    def filled(self, variation: float, point: Array) -> AdaptiveSpline:
        """Return the model at a point."""
        q = tuple(np.exp(point[: self.knots]).tolist())
        noise = self.noise_at(point)
        return dataclasses.replace(self.model, variation=variation, q=q, noise=noise)
