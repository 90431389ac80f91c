"""The Markov solver: 1-D Matern kernels, their sums, and Wiener kernels in O(n)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.answers.freedom import shared
from smoothderiv.answers.leave_one_out import LeaveOneOut, leave_one_out_by, log_predictive_exact
from smoothderiv.gp import _loops
from smoothderiv.gp.composite import Sum
from smoothderiv.gp.kernel import Kernel, known
from smoothderiv.gp.kernels import Matern12, Matern32, Matern52, Matern72
from smoothderiv.gp.markov_trend import Asked, MarkovTrend, trend_information
from smoothderiv.gp.nuisance import Nuisance
from smoothderiv.gp.process_posterior import ProcessPosterior
from smoothderiv.gp.quadrature import panels
from smoothderiv.gp.trend import Trend
from smoothderiv.gp.wiener import Wiener
from smoothderiv.model import Levels, Noise
from smoothderiv.observations import Observations
from smoothderiv.statespace._loops import MAX_DIMENSION
from smoothderiv.statespace.backward import Errors
from smoothderiv.statespace.chain import covariance, drawn
from smoothderiv.statespace.evidence import polynomial_information
from smoothderiv.statespace.fisher import noise_shares
from smoothderiv.statespace.kept import conditioned, in_parts, states_of
from smoothderiv.statespace.markov import Likelihood, MarkovRows
from smoothderiv.statespace.priors import MarkovPrior, Matern
from smoothderiv.statespace.smoother import SmoothingSpline
from smoothderiv.statespace.states import States, diagonal, joint
from smoothderiv.statespace.superposition import Superposition

if TYPE_CHECKING:
    from smoothderiv.gp.process import GaussianProcess

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]

_MOST_PANELS = 20_000  # of two lengths of the kernel, of an integral, if rows are no more: seconds
_MATERN = (Matern12, Matern32, Matern52, Matern72)


def is_markov(kernel: Kernel) -> bool:
    """Tell whether a kernel is what the Markov solver knows."""
    if isinstance(kernel, Sum):
        every = all(isinstance(_process_of(part), _MATERN) for part in kernel.parts)
        return every and kernel.signal is not None and _dimension(kernel) <= MAX_DIMENSION
    return isinstance(kernel, (*_MATERN, Wiener))


def is_noise(part: Kernel) -> bool:
    """Tell whether a part of a sum is noise of the values."""
    return part.signal is None


def _process_of(part: Kernel) -> Kernel:
    return part.kernel if isinstance(part, Nuisance) else part


def _dimension(kernel: Sum) -> int:
    return sum(int(_process_of(part).smoothness) + 1 for part in kernel.parts)


def condition(model: GaussianProcess, data: Observations) -> MarkovPosterior:
    """Return the posterior by filter and smoother; the model's numbers must be known."""
    kernel = model.kernel
    trend, sd = Trend.of(model.mean, kernel.null_degree, data), data.sd(model.noise)
    shift = trend.fixed(data.x[:, None], data.nu[:, None])
    rows = _rows(model, data, shift, sd)
    free, information = trend.beyond(kernel.null_degree), 0.0
    if len(free.exponents):
        information += trend_information(trend, kernel.null_degree, data)
    if isinstance(kernel, Wiener):
        information += polynomial_information(rows)
    fit = MarkovTrend.of(free, rows, dataclasses.replace(data, y=data.y - shift), sd)
    likelihood, errors = conditioned(fit.rows)
    errors = fit.cleared(errors)
    evidence = -0.5 * (twice_the_loss(likelihood, fit) - information)
    leverage = shared(np.clip(1.0 - sd**2 * errors.diagonal, 0.0, 1.0), data, sd)
    used = {order: (model.noise or {})[order] for order in data.estimated_orders}
    return MarkovPosterior(
        data,
        model,
        Levels(used),
        evidence,
        trend,
        fit,
        errors,
        leverage,
    )


def twice_the_loss(likelihood: Likelihood, fit: MarkovTrend) -> float:
    """Return minus twice the log likelihood of the rows without a trend."""
    constant = (likelihood.rank - len(fit.beta)) * math.log(2 * math.pi)
    return likelihood.chi + likelihood.logs + fit.log_det + constant


def _rows(model: GaussianProcess, data: Observations, shift: Array, sd: Array) -> MarkovRows:
    """Return the rows, less the mean, under the prior of the kernel."""
    kernel = model.kernel
    centred = dataclasses.replace(data, y=data.y - shift)
    if isinstance(kernel, Wiener):
        q = known(kernel.sigma, "sigma") ** 2
        return SmoothingSpline(kernel.order, q, model.noise).rows(centred)
    return MarkovRows.of(prior_of(kernel), data.x, centred.y, sd, data.nu)


def prior_of(kernel: Kernel) -> MarkovPrior:
    """Return a Matern kernel or a sum of such, whose numbers are known, as a Markov prior."""
    if isinstance(kernel, Sum):
        return Superposition(
            tuple(_matern(part) for part in kernel.parts if not is_noise(part)),
            tuple(_matern(_process_of(part)) for part in kernel.parts if is_noise(part)),
        )
    return _matern(kernel)


def _matern(kernel: Kernel) -> Matern:
    assert isinstance(kernel, _MATERN)
    return Matern(int(kernel.smoothness), kernel.resolution, known(kernel.sigma, "sigma"))


@dataclass(frozen=True, eq=False, repr=False)
class MarkovPosterior(ProcessPosterior):
    """The posterior of a 1-D :class:`GaussianProcess` as a Markov chain: O(n), O(1) a question."""

    data: Observations
    model: GaussianProcess
    noise: Noise
    log_evidence: float
    _trend: Trend = field(repr=False)
    _fit: MarkovTrend = field(repr=False)
    _errors: Errors = field(repr=False)
    _weight: Array = field(repr=False)

    @cached_property
    def _states(self) -> States:
        return states_of(self._rows)

    @cached_property
    def _asked(self) -> Asked:
        return Asked(self._rows)

    @property
    def _rows(self) -> MarkovRows:
        return self._fit.rows

    @cached_property
    def _answers(self) -> Orders:
        """The component of the state that says each derivative of f."""
        return self._rows.prior.answers

    def residuals(self) -> Array:
        """Return ``y_i - D^nu_i f(x_i)`` for each row, without cancellation: (n,)."""
        return super().residuals() if self._has_noise else self._unexplained()[0]

    def _unexplained(self) -> tuple[Array, Array]:
        return np.asarray(self.data.sd(self.noise) ** 2 * self._errors.pull), self._weight

    def _leverage(self) -> Array:
        return self._curve if self._has_noise else self._weight

    @cached_property
    def _curve(self) -> Array:
        """The diagonal of ``K_f P``: of ``1 - R P`` less that of ``K_g P``, g correlated noise."""
        x, values = self.data.x, self.data.is_of(0)
        f, unit = self._answers[0], self._rows.prior.units[0]
        noise = noise_shares(self._rows)
        for column, asked in zip(self._fit.pulled.T, self._fit.states, strict=True):
            smoothed = asked.at(x)[0]
            noise -= np.where(values, (smoothed[:, 0] - smoothed[:, f]) * unit * column, 0.0)
        return np.asarray(np.clip(self._weight - noise, 0.0, 1.0))

    def loo(self) -> LeaveOneOut:
        """Return what the model, at its present parameters, predicts for each row without it."""
        return leave_one_out_by(self._errors.pull, self._errors.diagonal, self.data, self.noise)

    def _log_predictive_exact(self) -> Array:
        return log_predictive_exact(self._errors.pull, self._errors.diagonal)

    def _mean(self, x: Array, nu: Orders) -> Array:
        return in_parts(self._rows, self._mean_of_part, x, nu)

    def _mean_of_part(self, x: Array, nu: Orders) -> Array:
        state, _ = self._asked.at(x)
        fixed = self._trend.fixed(x[:, None], nu[:, None]) + self._fit.values(x, nu)
        says = self._answers[nu]
        return np.asarray(state[np.arange(len(x)), says] * self._rows.prior.units[says] + fixed)

    def _var(self, x: Array, nu: Orders) -> Array:
        return in_parts(self._rows, self._var_of_part, x, nu)

    def _var_of_part(self, x: Array, nu: Orders) -> Array:
        _, factor = self._asked.at(x)
        says = self._answers[nu]
        own = diagonal(factor, says) * self._rows.prior.units[says] ** 2
        return np.asarray(own + (self._fit.free(x, nu) ** 2).sum(axis=1))

    def _mean_and_var(self, x: Array, nu: Orders) -> tuple[Array, Array]:
        def both(x: Array, nu: Orders) -> Array:
            return np.stack((self._mean_of_part(x, nu), self._var_of_part(x, nu)))

        mean, var = in_parts(self._rows, both, x, nu)
        return mean, var

    def _joint(self, x: Array, orders: Orders) -> Array:
        out = joint(self._asked, self._rows.prior, x, orders)
        below = np.flatnonzero(orders < len(self._answers))
        places, nu = np.repeat(x, len(below)), np.tile(orders[below], len(x))
        free = self._fit.free(places, nu).reshape(len(x), len(below), -1)
        out[:, below[:, None], below] += free @ free.transpose(0, 2, 1)
        return out

    def _diffusion(self, nu: int, x: Array) -> Array:
        prior = self._rows.prior
        return prior.diffusion_at(x) if nu == self.highest_order else np.zeros(len(x))

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        says, says2 = self._answers[nu], self._answers[nu2]
        cov = covariance(self._states, x, says, x2, says2)
        return np.asarray(cov + self._fit.free(x, nu) @ self._fit.free(x2, nu2).T)

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        if not len(x):
            return np.zeros((size, 0))
        paths = drawn(self._states, self._state_means, x, self._answers[nu], size, rng)
        free = self._fit.free(x, nu)
        paths += rng.standard_normal((size, free.shape[1])) @ free.T + self._fit.values(x, nu)
        return np.asarray(paths + self._trend.fixed(x[:, None], nu[:, None]))

    def _state_means(self, x: Array) -> Array:
        return self._states.at(x)[0]

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        """Sum over Gauss nodes between the places, where the mean is analytic."""
        if a == b:
            return 0.0, 0.0
        signal = self.model.kernel.signal
        assert signal is not None
        kernel = signal.anchored(float(self._trend.center[0]), 1.0)
        places = np.unique(self.data.x)
        most = max(_MOST_PANELS, len(places))
        edges, node, weight = panels(kernel, min(a, b), max(a, b), places, most)
        chain = self._states.chain(node)
        unit = self._rows.prior.units[self._answers[0]] * weight
        looks = unit[:, None] * chain.basis[:, self._answers[0]]
        var = _loops.chain_variance(looks, chain.last_cov, chain.transition, chain.noise)
        var += _kink_correction(kernel, np.diff(edges), len(node) // (len(edges) - 1))
        value = np.zeros(len(node), dtype=np.int64)
        mean = weight @ self._mean(node, value)
        var += ((weight @ self._fit.free(node, value)) ** 2).sum()
        return math.copysign(1.0, b - a) * float(mean), max(float(var), 0.0)


def _kink_correction(kernel: Kernel, widths: Array, nodes: int) -> float:
    """Return what Gauss nodes miss of ``int int cov`` over each panel by itself.

    A posterior covariance is analytic on a panel but for the kink of the prior's at s = t, so the
    error is that of the prior: ``int int k = 2 int_0^w (w - r) k(r) dr`` less the nodes' sum.
    """
    width, count = np.unique(widths, return_counts=True)
    u, v = np.polynomial.legendre.leggauss(nodes)
    u, v = 0.5 + 0.5 * u, 0.5 * v
    apart = np.abs(u[:, None] - u)
    along = width[:, None] * u
    exact = 2.0 * ((width[:, None] - along) * _shape(kernel, along)) @ v * width
    summed = np.einsum("i,kij,j->k", v, _shape(kernel, width[:, None, None] * apart), v) * width**2
    return float(count @ (exact - summed))


def _shape(kernel: Kernel, r: Array) -> Array:
    """Return the covariance at distance r; a Wiener process has a generalised one."""
    if isinstance(kernel, Wiener):
        power = 2 * kernel.order - 1
        size = known(kernel.sigma, "sigma") ** 2 / (2.0 * math.factorial(power))
        return np.asarray((-1.0) ** kernel.order * size * r**power)
    value = np.zeros((1, 1), dtype=np.int64)
    found = kernel.blocks(r.reshape(-1, 1), value, np.zeros((1, 1)), value)
    return np.asarray(found.reshape(r.shape))
