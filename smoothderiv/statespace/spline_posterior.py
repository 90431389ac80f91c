"""The posterior of a smoothing spline: what a filter and a smoother say, as answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv.answers.freedom import shared, student_dof
from smoothderiv.answers.leave_one_out import LeaveOneOut, leave_one_out_by, log_predictive_exact
from smoothderiv.model import Levels
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior
from smoothderiv.statespace.backward import errors_of
from smoothderiv.statespace.chain import covariance, drawn
from smoothderiv.statespace.evidence import log_evidence
from smoothderiv.statespace.kept import in_parts, leverages, states_about, states_of
from smoothderiv.statespace.markov import Likelihood, MarkovRows
from smoothderiv.statespace.pieces import pieces, taylor
from smoothderiv.statespace.states import States, diagonal, joint

if TYPE_CHECKING:
    from scipy.interpolate import PPoly

Array = NDArray[np.float64]
Orders = NDArray[np.int64]


def spline_posterior(model: Any, data: Observations, rows: MarkovRows) -> Posterior:
    """Return the posterior of a model of which nothing is unknown, whose rows these are."""
    likelihood, pull, leverage = leverages(rows)
    leverage = shared(leverage, data, data.sd(model.noise))
    noise = {order: (model.noise or {})[order] for order in data.estimated_orders}
    return _SplinePosterior(
        data=data,
        model=model,
        noise=Levels(noise),
        likelihood=likelihood,
        edf=float(leverage.sum()),
        dof=student_dof(data, leverage),
        rows=rows,
        pull=pull,
        weight=leverage,
    )


@dataclass(frozen=True, eq=False, repr=False)
class _SplinePosterior(Posterior):
    data: Observations
    model: Any
    noise: Mapping[Any, float]
    likelihood: Likelihood
    edf: float
    dof: float
    rows: MarkovRows = field(repr=False)
    pull: Array = field(repr=False)
    weight: Array = field(repr=False)

    @property
    def highest_order(self) -> float:
        return int(self.model.order) - 1

    @cached_property
    def log_evidence(self) -> float:  # type: ignore[override]
        return log_evidence(self.rows, self.likelihood)

    @cached_property
    def states(self) -> States:
        return states_of(self.rows)

    @cached_property
    def _pieces(self) -> Array:
        return pieces(self.states, np.arange(len(self.states.rows.x)))

    def to_ppoly(self) -> PPoly:
        """Return the mean between the data as a piecewise polynomial, exactly.

        Degree 2 order - 1, breakpoints at the distinct places. Beyond the data the mean is the
        polynomial of degree order - 1 that :meth:`mean` gives; PPoly would continue its end pieces
        instead, so ``extrapolate`` is off.
        """
        from scipy.interpolate import PPoly

        x, steps = self.states.rows.x, np.append(np.diff(self.states.rows.x), 0.0)
        inside = steps > 0
        if not inside.any():
            raise ValueError("to_ppoly: all rows are at one place; there is no piece")
        span = self.rows.prior.span  # type: ignore[attr-defined]
        power = np.arange(2 * self.model.order)
        coefficients = (self._pieces[inside] / span**power).T[::-1]
        return PPoly(coefficients, np.append(x[inside], x[-1]), extrapolate=False)

    def residuals(self) -> Array:
        return np.asarray(self.data.sd(self.noise) ** 2 * self.pull)

    def _leverage(self) -> Array:
        return self.weight

    def loo(self) -> LeaveOneOut:
        """Return what the model predicts for each row without it; see :meth:`.Posterior.loo`.

        Where leverages are so near 1 that what is left has lost half its digits, it is by the
        diagonal of the inverse covariance, which keeps them.
        """
        if (1.0 - self._leverage()).min() > np.sqrt(np.finfo(float).eps):
            return super().loo()
        diagonal = errors_of(self.rows)[1].diagonal
        return leave_one_out_by(self.pull, diagonal, self.data, self.noise)

    def _log_predictive_exact(self) -> Array:
        return log_predictive_exact(self.pull, errors_of(self.rows)[1].diagonal)

    def _mean(self, x: Array, nu: Orders) -> Array:
        many = len(x) >= len(self.rows.x)

        def mean(x: Array, nu: Orders) -> Array:
            states = states_about(self.rows, x)
            if states.miss(x):
                return self._between(states, x, nu, many)
            return states.at(x)[0][np.arange(len(x)), nu] * self.rows.prior.units[nu]

        return in_parts(self.rows, mean, x, nu)

    def _var(self, x: Array, nu: Orders) -> Array:
        def var(x: Array, nu: Orders) -> Array:
            _, factor = states_about(self.rows, x).at(x)
            return diagonal(factor, nu) * self.rows.prior.units[nu] ** 2

        return in_parts(self.rows, var, x, nu)

    def _mean_and_var(self, x: Array, nu: Orders) -> tuple[Array, Array]:
        many = len(x) >= len(self.rows.x)

        def both(x: Array, nu: Orders) -> Array:
            states, unit = states_about(self.rows, x), self.rows.prior.units[nu]
            mean, factor, off = states.at_or_off(x)
            own = self._between(states, x, nu, many) if off else mean[np.arange(len(x)), nu] * unit
            return np.stack((own, diagonal(factor, nu) * unit**2))

        mean, var = in_parts(self.rows, both, x, nu)
        return mean, var

    def _between(self, states: States, x: Array, nu: Orders, many: bool) -> Array:
        """Return the mean from pieces between rows, of all of them if many places are asked."""
        nodes, span = states.rows.x, self.rows.prior.span  # type: ignore[attr-defined]
        if states.rows is self.rows and ("_pieces" in self.__dict__ or many):
            return taylor(self._pieces, nodes, span, x, nu)
        rows = np.unique(np.maximum(np.searchsorted(nodes, x, side="right") - 1, 0))
        return taylor(pieces(states, rows), nodes[rows], span, x, nu)

    def _joint(self, x: Array, orders: Orders) -> Array:
        return joint(states_about(self.rows, x), self.rows.prior, x, orders)

    def _diffusion(self, nu: int, x: Array) -> Array:
        prior = self.rows.prior
        return prior.diffusion_at(x) if nu == self.highest_order else np.zeros(len(x))

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        return covariance(self.states, x, nu, x2, nu2)

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        if not len(x):
            return np.zeros((size, 0))
        return drawn(self.states, self._means, x, nu, size, rng)

    def _means(self, x: Array) -> Array:
        """Return the mean of the state at places x: (m, d)."""
        order = self.model.order
        places, nu = np.repeat(x, order), np.tile(np.arange(order), len(x))
        return self._mean(places, nu).reshape(-1, order) / self.rows.prior.units

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        """Condition the integral of f, which is 0 at a: the prior of one more order."""
        if a == b:
            return 0.0, 0.0
        data, prior = self.data, self.rows.prior
        longer: Any = dataclasses.replace(prior, order=prior.dimension + 1)  # type: ignore[type-var]
        x = np.append(data.x, a)
        sd = np.append(data.sd(self.noise), 0.0)
        nu = np.append(data.nu + 1, 0)
        rows = MarkovRows.of(longer, x, np.append(data.y, 0.0), sd, nu)
        mean, factor = states_of(rows).at(np.array([b]))
        return float(mean[0, 0]), float(diagonal(factor, np.zeros(1, dtype=np.int64))[0])
