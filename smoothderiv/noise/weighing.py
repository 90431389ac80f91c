"""Weights of rows for noise of heavy tails, or that varies along x, where residuals ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from smoothderiv.model import Model
from smoothderiv.noise.heteroscedastic import varying_weights
from smoothderiv.noise.robust import calm_weights, robust_weights, tail_weights
from smoothderiv.observations import LIGHT, Observations
from smoothderiv.posterior import Array, Posterior
from smoothderiv.statespace.adaptive import AdaptiveSpline
from smoothderiv.tuning import fit_quietly

if TYPE_CHECKING:
    from smoothderiv.smooth import Choice

_NO_NOISE, _NEAR = 1e-5, 0.05  # of the span of rows that are as good as exact
_MANY = 0.1  # that share of the rows, counting for little, is doubtful


def weighed(
    post: Posterior, model: Model, robust: Choice, varying: Choice, default: bool
) -> tuple[Observations, tuple[str, ...]]:
    """Return the data with weights for noise of heavy tails that varies along x, and doubts of it.

    They are found around one `model`, of a posterior that may be of several. Outliers come first:
    they would pass for a stretch of strong noise. Where the noise varies, they are told afresh by
    that. "auto" looks for either where the model is the `default` and leaves noise.
    """
    data, auto = post.data, default and not _is_met(post)
    tails = robust is True or (robust == "auto" and auto)
    calm = _robust(post, model, robust is True) if tails else data
    if varying is True or (varying == "auto" and auto):
        steady = post if calm is data else fit_quietly(model, calm)
        trend = varying_weights(calm, model, steady, data.weight) / calm.weight
        if np.ptp(trend) > 0:
            calm = data = data.reweighted(data.weight * trend)
            if tails:
                calm = _robust(fit_quietly(model, data), model, robust is True)
    doubts = _many_words(calm, calm.weight / data.weight) if robust == "auto" else ()
    return calm, doubts


def _is_met(post: Posterior) -> bool:
    """Tell whether the rows are as good as exact: what is left of them is no noise, but the model.

    The noise is a hundred thousandth of what the middle nine tenths of the rows of an order span,
    at most, and no row is far off what the others say of it.
    """
    data, sd = post.data, post.data.sd(post.noise)
    off = np.nan_to_num(np.abs(post.loo().residual))
    for order in data.orders:
        rows = data.is_of(order)
        span = float(np.diff(np.quantile(data.y[rows], (0.05, 0.95)))[0])
        if not (sd[rows].max() <= _NO_NOISE * span and off[rows].max() <= _NEAR * span):
            return False
    return True


def _many_words(data: Observations, weight: Array) -> tuple[str, ...]:
    """Say where so many rows are taken for outliers that they may be the curve, or the noise."""
    light = weight < LIGHT
    if np.count_nonzero(light) < _MANY * len(weight):
        return ()
    stated = bool((light & ~data.estimated).any())
    also = ", and so does noise of which yerr says too little" if stated else ""
    remedy = "; relative=True has the scale of yerr estimated" if stated else ""
    return (
        f"{np.count_nonzero(light)} of {len(weight)} rows count for less than a fifth each, as "
        f"outliers. Features that few rows see, such as narrow peaks, look the same{also}: "
        "robust=False takes all rows for the curve's own; robust=True says that they are "
        f"outliers{remedy}",
    )


def _robust(post: Posterior, model: Model, every: bool) -> Observations:
    """Return the data with robust weights around a model, of every order or where tails tell so."""
    data = post.data
    if isinstance(model, AdaptiveSpline):
        calm = calm_weights(data, model.uniform(), model)
        if calm is not None:
            return data.reweighted(calm)
    if every:
        return data.reweighted(robust_weights(data, model, data.orders, post))
    weight, orders = tail_weights(post, model)
    return data.reweighted(weight) if orders else data
