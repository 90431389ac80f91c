"""The Markov solver: 1-D Matern and Wiener kernels by filter and smoother, in O(n)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp import _loops
from smoothderiv.gp.kernel import Kernel, known
from smoothderiv.gp.kernels import Matern12, Matern32, Matern52, Matern72
from smoothderiv.gp.quadrature import panels
from smoothderiv.gp.trend import Trend
from smoothderiv.gp.wiener import Wiener
from smoothderiv.limits import student_dof
from smoothderiv.model import Noise
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior
from smoothderiv.statespace import _chain_loops
from smoothderiv.statespace.markov import Errors, MarkovRows, States, diagonal, joint
from smoothderiv.statespace.priors import Matern
from smoothderiv.statespace.smoother import SmoothingSpline, log_evidence, psd_root

if TYPE_CHECKING:
    from smoothderiv.gp.process import GaussianProcess

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]

_KEPT = 10_000  # places of a question whose states are kept
_MATERN = (Matern12, Matern32, Matern52, Matern72)


def is_markov(kernel: Kernel, mean: object) -> bool:
    """Tell whether kernel and mean are what the Markov solver knows."""
    return isinstance(kernel, (*_MATERN, Wiener)) and not isinstance(mean, str)


def condition(model: GaussianProcess, data: Observations) -> MarkovPosterior:
    """Return the posterior by filter and smoother; the model's numbers must be known."""
    trend = Trend.of(model.mean, -1, data)
    shift = trend.fixed(data.x[:, None], data.nu[:, None])
    sd = data.sd(model.noise)
    rows = _rows(model, data, shift, sd)
    likelihood, errors = rows.errors()
    if isinstance(model.kernel, Wiener):
        evidence = log_evidence(rows, likelihood)
    else:
        constant = likelihood.rank * math.log(2 * math.pi)
        evidence = -0.5 * (likelihood.chi + likelihood.logs + constant)
    leverage = np.clip(1.0 - sd**2 * errors.diagonal, 0.0, 1.0)
    used = {order: (model.noise or {})[order] for order in data.estimated_orders}
    return MarkovPosterior(
        data,
        model,
        MappingProxyType(used),
        evidence,
        float(leverage.sum()),
        student_dof(data, leverage),
        _trend=trend,
        _rows=rows,
        _errors=errors,
        _weight=leverage,
    )


def _rows(model: GaussianProcess, data: Observations, shift: Array, sd: Array) -> MarkovRows:
    """Return the rows, less the mean, under the prior of the kernel."""
    kernel = model.kernel
    centred = dataclasses.replace(data, y=data.y - shift)
    if isinstance(kernel, Wiener):
        q = known(kernel.sigma, "sigma") ** 2
        return SmoothingSpline(kernel.order, q, model.noise).rows(centred)
    return MarkovRows.of(prior_of(kernel), data.x, centred.y, sd, data.nu)


def prior_of(kernel: Kernel) -> Matern:
    """Return a Matern kernel, whose numbers are known, as a Markov prior."""
    assert isinstance(kernel, _MATERN)
    return Matern(int(kernel.smoothness), kernel.resolution, known(kernel.sigma, "sigma"))


@dataclass(frozen=True, eq=False)
class MarkovPosterior(Posterior):
    """The posterior of a 1-D :class:`GaussianProcess` as a Markov chain: O(n), O(1) a question."""

    data: Observations
    model: GaussianProcess
    noise: Noise
    log_evidence: float
    edf: float
    dof: float
    _trend: Trend = field(repr=False)
    _rows: MarkovRows = field(repr=False)
    _errors: Errors = field(repr=False)
    _weight: Array = field(repr=False)

    @property
    def highest_order(self) -> float:  # noqa: D102
        return self.model.kernel.smoothness

    @cached_property
    def _states(self) -> States:
        return self._rows.states()

    def _at(self, x: Array) -> tuple[Array, Array]:
        """Return states at places; the last are kept, since several orders are asked of them."""
        asked = self.__dict__.get("_asked")
        if asked is None or not np.array_equal(asked[0], x):
            asked = (x.copy(), self._states.at(x))
            if len(x) <= _KEPT:
                self.__dict__["_asked"] = asked
        return asked[1]

    def residuals(self) -> Array:
        """Return ``y_i - D^nu_i f(x_i)`` for each row, without cancellation: (n,)."""
        return np.asarray(self.data.sd(self.noise) ** 2 * self._errors.pull)

    def _leverage(self) -> Array:
        return self._weight

    def _mean(self, x: Array, nu: Orders) -> Array:
        state, _ = self._at(x)
        unit = self._rows.prior.units[nu]
        fixed = self._trend.fixed(x[:, None], nu[:, None])
        return np.asarray(state[np.arange(len(x)), nu] * unit + fixed)

    def _var(self, x: Array, nu: Orders) -> Array:
        _, factor = self._at(x)
        return np.asarray(diagonal(factor, nu) * self._rows.prior.units[nu] ** 2)

    def _joint(self, x: Array, orders: Orders) -> Array:
        return joint(self._states, self._rows.prior, x, orders)

    def _diffusion(self, nu: int) -> float:
        return self._rows.prior.diffusion if nu == self.highest_order else 0.0

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        if not len(x) or not len(x2):
            return np.zeros((len(x), len(x2)))
        unit = self._rows.prior.units
        places, back = np.unique(np.concatenate((x, x2)), return_inverse=True)
        chain = self._states.chain(places)
        cov = _chain_loops.joint_cov(chain.links, back[: len(x)], nu, back[len(x) :], nu2)
        return np.asarray(unit[nu][:, None] * cov * unit[nu2])

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        if not len(x):
            return np.zeros((size, 0))
        places, back = np.unique(x, return_inverse=True)
        chain = self._states.chain(places)
        roots = psd_root(np.concatenate((chain.noise[:-1], chain.cov[-1:])))
        paths = rng.standard_normal((size, len(places), self._rows.prior.dimension))
        means = self._states.at(places)[0]
        _chain_loops.draw(means, roots, chain.basis, chain.transition, paths)
        drawn = paths[:, back, nu] * self._rows.prior.units[nu]
        return np.asarray(drawn + self._trend.fixed(x[:, None], nu[:, None]))

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        """Sum over Gauss nodes between the places, where the mean is analytic."""
        if a == b:
            return 0.0, 0.0
        kernel = self.model.kernel.anchored(float(self._trend.center[0]), 1.0)
        places = np.unique(self.data.x)
        edges, node, weight = panels(kernel, min(a, b), max(a, b), places)
        chain = self._states.chain(node)
        unit = self._rows.prior.units[0] * weight
        looks = unit[:, None] * chain.basis[:, 0]
        var = _loops.chain_variance(looks, chain.cov[-1], chain.transition, chain.noise)
        var += _kink_correction(kernel, np.diff(edges), len(node) // (len(edges) - 1))
        mean = weight @ self._mean(node, np.zeros(len(node), dtype=np.int64))
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
