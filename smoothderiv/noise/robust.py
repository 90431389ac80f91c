"""Robust weights: noise of heavy tails around any model, by reweighting its rows."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from smoothderiv.answers.leave_one_out import LeaveOneOut
from smoothderiv.answers.skewness import skew_gain
from smoothderiv.model import Model, UnsuitableError
from smoothderiv.noise.tails import law_of
from smoothderiv.observations import Observations, Order
from smoothderiv.posterior import Posterior
from smoothderiv.statespace.levels import scatter
from smoothderiv.tuning import fit_quietly

Array = NDArray[np.float64]

_GAIN = 3.0  # nats by which heavy tails, or skewness, must beat Gauss's law to be believed
_FEWEST = 10  # places of an order whose neighbours are asked
_FULL = 0.5  # a weight that outliers do not have
_FAR, _LONE = 0.01, 10.0  # weights of rows far off, and nats
_DOUBT = 0.1  # of the nats that heavy tails gain
_ROUNDS = 15
_BETWEEN = 4  # renewals of the weights for one tuning
_SETTLED = 1e-4


def standardised(post: Posterior, robust: Array | float = 1.0) -> Array:
    """Return left-out residuals over their standard deviations: (n,); NaN where there are none.

    With `robust` weights, which are held in the weights of the data, the standard deviations are
    those of the noise without them.
    """
    left = post.loo()
    variance = _variance(left, post, robust)
    usable = (variance > 0) & np.isfinite(variance) & (left.residual != 0)
    return np.where(usable, left.residual / np.sqrt(np.where(usable, variance, 1.0)), np.nan)


def _variance(left: LeaveOneOut, post: Posterior, robust: Array | float) -> Array:
    """Return the variances of left-out rows, the noise being what it is without robust weights."""
    return np.maximum(left.std**2 + (robust - 1.0) * post.data.sd(post.noise) ** 2, 0.0)


def _tail_gains(post: Posterior) -> dict[Order, float]:
    """Return the nats that heavy tails gain, of the orders that they gain enough of."""
    z, data = standardised(post), post.data
    gains = {o: law_of(_known(z, data, o), _stated(data, o))[1] for o in data.orders}
    return {order: gain for order, gain in gains.items() if gain > _GAIN}


def robust_weights(
    data: Observations, model: Model, orders: tuple[Order, ...], post: Posterior | None = None
) -> Array:
    """Return the weights of heavy-tailed noise of the given orders around a model: (n,).

    The noise of those orders is Gaussian of variance ``sd_i^2 / weight_i`` given weights that are
    drawn: Gamma-distributed, which makes it Student's of dof nu, or 1 but for a share of outliers
    (:func:`smoothderiv.noise.tails.law_of`, by likelihood). Their expectations, of Student's law

        weight_i = (nu + 1) / (nu + (r_i^2 + Var f_i) / sd_i^2),

    and the posterior given the weights are renewed in turn (expectation-maximisation), the law
    taken by likelihood, and the model tuned afresh every few turns. The first weights are by the
    residuals of rows left out of `post`, a Gaussian fit: an outlier that draws the curve to itself
    shows there. Weights that `data` have already are kept as factors.

    References
    ----------
    Lange, Little and Taylor (1989), doi:10.1080/01621459.1989.10478852. Dempster, Laird and Rubin
    (1980), Iteratively reweighted least squares.
    """
    fits = (post or fit_quietly(model, data), *_opened(data, model))
    return _robust_fit(fits, model, orders)[0]


def _robust_fit(
    fits: tuple[Posterior, ...], model: Model, orders: tuple[Order, ...]
) -> tuple[Array, Posterior]:
    """Return the weights of :func:`robust_weights`, and the last fit on the way to them.

    `fits` are Gaussian ones to start from, the first of the data as they are. One with the scale of
    stated noise left open starts from its own weights. Where rows lie off their neighbours, that is
    a start, too. The one that predicts best is taken.
    """
    data, found = fits[0].data, []
    if (start := _beside(data, orders)[0]).min() < _FULL:
        start, robust = _settled(data, model, orders, start)
        found.append((data.weight * start, robust))
    for fit in fits:
        left = fit.loo()
        std = np.where(left.std > 0, left.std, 1.0)
        start, robust = _settled(
            fit.data, model, orders, _weights(fit.data, orders, left.residual, std)
        )
        if fit is not fits[0]:
            start, robust = _settled(data, model, orders, start)
        found.append((data.weight * start, robust))
    if len(found) == 1:
        return found[0]
    return max(found, key=lambda one: _heavy_log_density(one[1], data.weight, orders))


def _beside(data: Observations, orders: tuple[Order, ...]) -> tuple[Array, dict[Order, float]]:
    """Return weights of rows by how far off the line of their neighbours they lie, and the gains.

    Rows of one place lie where their mean does. The gains are the nats that heavy tails gain there.
    No curve is fitted, which an outlier could draw to itself.
    """
    weight, gains = np.ones(len(data)), {}
    for order in orders if data.ndim == 1 else ():
        rows = np.flatnonzero(data.is_of(order) & ~data.exact)
        places, where = np.unique(data.x[rows], return_inverse=True)
        if len(places) < _FEWEST:
            continue
        precision = data.relative_sd[rows] ** -2.0
        total = np.bincount(where, precision)
        z = scatter(
            places, np.bincount(where, precision * data.y[rows]) / total, 1.0 / np.sqrt(total)
        )
        law, gain = law_of(z)
        if gain > _GAIN:
            gains[order] = gain
            weight[rows] = np.concatenate(([1.0], law.weight(z), [1.0]))[where]
    return weight, gains


def _opened(data: Observations, model: Model) -> tuple[Posterior, ...]:
    """Return a fit of a surface with the scale of stated noise left open, if any is stated.

    Where noise is stated to be small, a Gaussian fit goes through an outlier that is large: the
    curve may do so, and the noise not. On a line neighbours tell.
    """
    stated = ~data.exact & ~data.estimated
    for order in data.estimated_orders:
        stated &= ~data.is_of(order)
    if data.ndim == 1 or not stated.any():
        return ()
    try:
        return (fit_quietly(model, dataclasses.replace(data, relative=data.relative | stated)),)
    except UnsuitableError:  # too few rows to tell the scale by
        return ()


def _settled(
    data: Observations, model: Model, orders: tuple[Order, ...], weight: Array
) -> tuple[Array, Posterior]:
    """Renew weights by the posterior that they give, in turn, until neither changes."""
    given = data.weight
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
    return weight, post


def tail_weights(post: Posterior, model: Model) -> tuple[Array, tuple[Order, ...]]:
    """Return robust weights for the orders of heavy tails of a fit of `model`, and these orders.

    Skewed noise is not among them: its long tail is part of the mean that the curve is. It is told
    by the rows that are no outliers, of weights above a half: a skewed law (:func:`.skew_gain`)
    describes their residuals better than Gauss's by 3 nats, and by a tenth of what heavy tails
    gain: where outliers are beyond doubt, chance is not taken for skewness.
    """
    data, fits = post.data, (post, *_opened(post.data, model))
    own = [_tail_gains(fit) for fit in fits]
    gains: dict[Order, float] = {}
    for found in (_beside(data, data.orders)[1], *own):
        gains = {o: max(gains.get(o, 0.0), found.get(o, 0.0)) for o in {**gains, **found}}
    while gains:
        weight, robust = _robust_fit(fits, model, tuple(gains))
        share = weight / data.weight
        z = np.where(share > _FULL, standardised(robust, share), np.nan)
        even = {
            order: gain
            for order, gain in gains.items()
            if skew_gain(_known(z, data, order)) <= max(_GAIN, _DOUBT * gain)
        }
        if len(even) == len(gains):
            plain = float(post.loo().log_density.sum()) + _GAIN - _doubt(share, data)
            better = _heavy_log_density(robust, data.weight, tuple(gains)) > plain
            return (weight, tuple(gains)) if better or own[0] else (data.weight, ())
        gains = even
    return data.weight, ()


def _doubt(share: Array, data: Observations) -> float:
    """Return the nats by which a curve that follows rows far off must be better than outliers.

    A lone row more than 10 standard deviations off is explained as well by a curve that turns there
    as by an outlier; of a feature that several rows see each is predicted by the others. None for
    rows that are far off side by side, as at a step; and outliers must be better where they are the
    first or the last row alone, of which the others tell little: there curves turn.
    """
    far, light = share < _FAR, share < _FULL
    lone = far.copy()
    for order in data.orders if data.ndim == 1 else ():
        rows = np.flatnonzero(data.is_of(order))
        rows = rows[np.lexsort((share[rows], data.x[rows]))]
        if (far[rows][1:] & light[rows][:-1]).any() or (far[rows][:-1] & light[rows][1:]).any():
            return 0.0
        lone[rows[[0, -1]]] = False
    if not far.any():
        return 0.0
    return _LONE if lone.any() else -_GAIN


def _known(z: Array, data: Observations, order: Order) -> Array:
    """Return the residuals of one order that there are."""
    return z[data.is_of(order) & np.isfinite(z)]


def _expected(post: Posterior, data: Observations, orders: tuple[Order, ...]) -> Array:
    """Return the weights that rows are expected to have, given the curve."""
    residual, leverage = post._unexplained()
    spread = leverage * post.data.sd(post.noise) ** 2
    return _weights(data, orders, np.sqrt(residual**2 + spread), data.sd(post.noise))


def calm_weights(data: Observations, calm: Model, model: Model) -> Array | None:
    """Return robust weights around a calm model, if with them it predicts the rows best.

    An outlier may look like a place where the curve turns sharply, and a model whose smoothness
    varies follows it. Which it is, is told by the left-out rows: such a `model`, against a model of
    one smoothness everywhere whose noise has heavy tails, and against itself with that noise. None
    if there are no such tails, or `model` without them predicts better.
    """
    weight, orders = tail_weights(fit_quietly(calm, data), calm)
    if not orders:
        return None
    post = fit_quietly(model, data)
    here = float(post.loo().log_density.sum()) - post.model.flattery
    here -= _doubt(weight / data.weight, data)
    for one in (calm, model):
        robust = fit_quietly(one, data.reweighted(weight))
        if _heavy_log_density(robust, data.weight, orders) - robust.model.flattery > here:
            return weight
    return None


def _heavy_log_density(post: Posterior, given: Array, orders: tuple[Order, ...]) -> float:
    """Return the sum over left-out rows of log densities, of heavy tails for some orders.

    `given` are the weights that are not robust ones: sizes of the noise.
    """
    left, sd = post.loo(), post.data.sd(post.noise)
    spread = np.sqrt(_variance(left, post, post.data.weight / given))
    total = float(left.log_density.sum())
    for order in orders:
        rows = post.data.is_of(order) & (sd > 0) & (spread > 0) & np.isfinite(spread)
        std = spread[rows]
        z = left.residual[rows] / std
        law, _ = law_of(z, _stated(post.data, order))
        total += float((law.log_density(z) - np.log(std) - left.log_density[rows]).sum())
    return total


def _weights(data: Observations, orders: tuple[Order, ...], residual: Array, std: Array) -> Array:
    """Return the expected weights of residuals in units of their noise, by each order's tails."""
    weight = np.ones(len(data))
    for order in orders:
        rows = data.is_of(order) & (std > 0) & np.isfinite(std) & ~data.exact
        z = residual[rows] / std[rows]
        weight[rows] = law_of(z, _stated(data, order))[0].weight(z)
    return weight


def _stated(data: Observations, order: Order) -> float | None:
    """Return the scale of standardised residuals of an order: 1 where its noise is stated."""
    return None if order in data.estimated_orders else 1.0
