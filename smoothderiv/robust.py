"""Robust weights: Student noise around any model, by reweighting its rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smoothderiv.model import Model
from smoothderiv.observations import Observations, Order
from smoothderiv.posterior import Posterior
from smoothderiv.tuning import fit_quietly

Array = NDArray[np.float64]

_DOF = np.array([1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0, 25.0, 60.0])
_GAIN = 3.0  # nats by which Student noise must beat Gaussian noise to be believed
_ROUNDS = 15
_BETWEEN = 4  # renewals of the weights for one tuning
_SETTLED = 1e-4
_ENOUGH = 20_000  # rows that tell the tails


@dataclass(frozen=True)
class Tails:
    """Student's distribution of some standardised residuals: its degrees of freedom and scale.

    Attributes
    ----------
    dof : float
        The one of highest likelihood; infinite for Gaussian tails.
    scale : float
    gain : float
        Log likelihood beyond the best Gaussian's, in nats.
    """

    dof: float
    scale: float
    gain: float

    def log_density(self, z: Array) -> float:
        """Return the sum of the log densities of standardised residuals."""
        dof = self.dof
        if math.isinf(dof):
            normal = 0.5 * math.log(2.0 * math.pi * self.scale**2)
            return -0.5 * float(np.sum((z / self.scale) ** 2)) - len(z) * normal
        constant = special.gammaln(0.5 * (dof + 1)) - special.gammaln(0.5 * dof)
        constant -= 0.5 * math.log(dof * math.pi * self.scale**2)
        kernel = np.log1p(z**2 / (dof * self.scale**2)).sum()
        return float(len(z) * constant - 0.5 * (dof + 1) * kernel)

    @classmethod
    def of(cls, z: Array, scale: float | None = None) -> Tails:
        """Fit by maximum likelihood, the scale too unless it is given."""
        z = z[:: max(1, len(z) // _ENOUGH)]
        square = z[None, :] ** 2
        s2 = np.full((len(_DOF), 1), np.median(square) / 0.455 if scale is None else scale**2)
        if len(z) < 2 or not s2.min() > 0:
            return cls(math.inf, 1.0, 0.0)
        dof = _DOF[:, None]
        for _ in range(50 if scale is None else 0):
            weight = (dof + 1) / (dof + square / s2)
            s2 = np.mean(weight * square, axis=1, keepdims=True)
        normalise = special.gammaln(0.5 * (dof + 1)) - special.gammaln(0.5 * dof)
        normalise = normalise - 0.5 * np.log(dof * s2)
        kernel = np.sum(np.log1p(square / (dof * s2)), axis=1, keepdims=True)
        student = (len(z) * normalise - 0.5 * (dof + 1) * kernel)[:, 0]
        variance = float(np.mean(square)) if scale is None else scale**2
        normal = -0.5 * (len(z) * math.log(2 * variance) + float(square.sum()) / variance)
        best = int(np.argmax(student))
        gain = float(student[best] - normal)
        return cls(float(_DOF[best]), math.sqrt(float(s2[best, 0])), gain)


def heavy_tailed(post: Posterior) -> tuple[Order, ...]:
    """Return the orders whose left-out residuals are better told by Student's than by Gauss's law.

    Better by 3 nats in the likelihood of the standardised leave-one-out residuals.
    """
    left = post.loo()
    orders = []
    for order in post.data.orders:
        rows = post.data.is_of(order) & (left.std > 0) & np.isfinite(left.std)
        z = left.residual[rows] / left.std[rows]
        if Tails.of(z, _stated(post.data, order)).gain > _GAIN:
            orders.append(order)
    return tuple(orders)


def robust_weights(
    data: Observations, model: Model, orders: tuple[Order, ...], post: Posterior | None = None
) -> Array:
    """Return the weights of Student noise of the given orders around a model: (n,).

    The noise of those orders is ``sd_i t_i``, t_i of Student's law with dof nu, which is Gaussian
    noise of variance ``sd_i^2 / weight_i`` given Gamma-distributed weights. Their expectations

        weight_i = (nu + 1) / (nu + (r_i^2 + Var f_i) / sd_i^2),

    and the posterior given the weights are renewed in turn (expectation-maximisation), nu taken by
    likelihood, and the model tuned afresh every few turns. The first weights are by the residuals
    of rows left out of `post`, a Gaussian fit: an outlier that draws the curve to itself shows
    there. Weights that `data` have already are kept as factors.

    References
    ----------
    Lange, Little and Taylor (1989), doi:10.1080/01621459.1989.10478852. Dempster, Laird and Rubin
    (1980), Iteratively reweighted least squares.
    """
    given = data.weight
    left = (post or fit_quietly(model, data)).loo()
    weight = _weights(data, orders, left.residual, np.where(left.std > 0, left.std, 1.0))
    for _ in range(_ROUNDS):
        post, change = fit_quietly(model, data.reweighted(given * weight)), 0.0
        for _ in range(_BETWEEN):
            fresh = _expected(post, data, orders)
            step = np.abs(np.sqrt(fresh / weight) - 1.0).max()
            weight, change = fresh, max(change, step)
            if step < _SETTLED:
                break
            post = post.model.condition(data.reweighted(given * weight))
        if change < _SETTLED:
            break
    return given * weight


def _expected(post: Posterior, data: Observations, orders: tuple[Order, ...]) -> Array:
    """Return the weights that rows are expected to have, given the curve."""
    residual, leverage = post._unexplained()
    spread = leverage * post.data.sd(post.noise) ** 2
    return _weights(data, orders, np.sqrt(residual**2 + spread), data.sd(post.noise))


def calm_weights(data: Observations, calm: Model, model: Model) -> Array | None:
    """Return robust weights around a calm model, if with them it predicts the rows best.

    An outlier may look like a place where the curve turns sharply, and a model whose smoothness
    varies follows it. Which it is, is told by the left-out rows: such a `model`, against a model of
    one smoothness everywhere whose noise has heavy tails. None if there are no such tails, or
    `model` predicts better.
    """
    plain = fit_quietly(calm, data)
    orders = heavy_tailed(plain)
    if not orders:
        return None
    weight = robust_weights(data, calm, orders, plain)
    robust = fit_quietly(calm, data.reweighted(weight))
    post = fit_quietly(model, data)
    here = float(post.loo().log_density.sum()) - post.model.flattery
    return weight if _student_log_density(robust, data.weight, orders) > here else None


def _student_log_density(post: Posterior, given: Array, orders: tuple[Order, ...]) -> float:
    """Return the sum over left-out rows of log densities, of Student's law for some orders.

    `given` are the weights that are not robust ones: sizes of the noise.
    """
    left, sd = post.loo(), post.data.sd(post.noise)
    total = float(left.log_density.sum())
    for order in orders:
        rows = post.data.is_of(order) & (sd > 0) & np.isfinite(left.std)
        noise = sd[rows] ** 2
        whole = noise * (post.data.weight / given)[rows]  # what it is without robust weights
        std = np.sqrt(left.std[rows] ** 2 - noise + whole)
        z = left.residual[rows] / std
        here = Tails.of(z, _stated(post.data, order)).log_density(z) - float(np.log(std).sum())
        total += here - float(left.log_density[rows].sum())
    return total


def _weights(data: Observations, orders: tuple[Order, ...], residual: Array, std: Array) -> Array:
    """Return the expected weights of residuals in units of their noise, by each order's tails."""
    weight = np.ones(len(data))
    for order in orders:
        rows = data.is_of(order) & (std > 0) & np.isfinite(std) & ~data.exact
        z = residual[rows] / std[rows]
        tails = Tails.of(z, _stated(data, order))
        if np.isfinite(tails.dof):
            weight[rows] = (tails.dof + 1) / (tails.dof + (z / tails.scale) ** 2)
    return weight


def _stated(data: Observations, order: Order) -> float | None:
    """Return the scale of standardised residuals of an order: 1 where its noise is stated."""
    return None if order in data.estimated_orders else 1.0
