"""Noise that is not the same everywhere: weights by a noise level that varies smoothly along x."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smoothderiv.model import Model
from smoothderiv.noise.robust import standardised
from smoothderiv.observations import Observations, Order, observe
from smoothderiv.posterior import Posterior
from smoothderiv.statespace.smoother import SmoothingSpline
from smoothderiv.tuning import fit_quietly

Array = NDArray[np.float64]

_GAIN = 3.0  # nats by which a varying level must beat a constant one to be believed
_TELLING = 30  # rows of an order from which on its level may vary
_ROUNDS = 4
_OUTLYING = 0.1  # a robust weight below it
_STD = math.pi / math.sqrt(2.0)  # of log z^2 for standard normal z: its variance is trigamma(1/2)


def varying_weights(
    data: Observations, model: Model, post: Posterior, given: Array | None = None
) -> Array:
    """Return the weights of a noise level that varies smoothly along x: ``exp(-g(x_i))``.

    For each order of unknown noise the standardised left-out residuals z obey

        log z_i^2 = g(x_i) + e_i,    Var e_i = pi^2 / 2,

    where g is the log variance beside the constant one, fitted by a smoothing spline of order 1
    (its mean is the noise level itself, and is taken out). It is believed where its evidence beats
    that of a constant by 3 nats, and where rows left out are predicted better with it: residuals
    are large as well where a curve is too stiff. `post` is the fit to begin with; fit and weights
    are renewed in turn. Orders whose noise is stated, or with fewer than 30 rows, keep their
    weights.

    `given` are the weights of `data` that are sizes of the noise, by default all. What they hold
    beyond are robust ones: residuals are standardised without them, and outliers (robust weight
    below 0.1) left aside.

    References
    ----------
    Davidian and Carroll (1987), doi:10.1080/01621459.1987.10478543.
    """
    log_variance = np.zeros(len(data))
    plain = float(post.loo().log_density.sum())
    robust = np.ones(len(data)) if given is None else data.weight / given
    believed: tuple[Order, ...] = data.estimated_orders if data.ndim == 1 else ()
    for _ in range(_ROUNDS):
        z = np.where(robust < _OUTLYING, np.nan, standardised(post, robust))
        believed = tuple(o for o in believed if _add_trend(data, z, o, log_variance))
        if not believed:
            break
        lighter = data.reweighted(data.weight * np.exp(-log_variance))
        post = fit_quietly(model, lighter)
    if not float(post.loo().log_density.sum()) > plain:
        return data.weight
    return data.weight * np.exp(-log_variance)


def _add_trend(data: Observations, z: Array, order: Order, log_variance: Array) -> bool:
    """Add the log variance that residuals of an order still show; tell whether they show any."""
    rows = np.flatnonzero(data.is_of(order) & data.estimated & np.isfinite(z))
    if len(rows) < _TELLING:
        return False
    logs = observe(data.x[rows], np.log(z[rows] ** 2), _STD)
    fit = fit_quietly(SmoothingSpline(1), logs)
    constant = float(np.mean(logs.y))
    flat = SmoothingSpline(1, q=0.0).condition(logs).log_evidence
    if not log_variance[rows].any() and not fit.log_evidence > flat + _GAIN:
        return False
    here = np.flatnonzero(data.is_of(order) & data.estimated)
    log_variance[here] += fit(data.x[here]) - constant
    return True
