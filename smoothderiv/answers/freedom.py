"""The degrees of freedom of the noise that was estimated, on which limits rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smoothderiv.observations import Observations

if TYPE_CHECKING:
    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]

_MET = 1e-8  # of the parameters of a group: what is left is rounding, as the curve meets its rows
_NORMAL = 100.0  # degrees of freedom of each level from which on parts of them matter little
_PLACES = (4, 32)  # where parts are told, at least and at most
_PAIRS = 200_000  # of a place and a row


def student_dof(data: Observations, leverage: Array) -> float:
    """Return the degrees of freedom of Student's distribution from the leverages of all rows."""
    if not data.estimated_orders:
        return math.inf
    return satterthwaite(*_degrees(data, _groups(data), leverage))


def shared(leverage: Array, data: Observations, sd: Array) -> Array:
    """Return leverages of which exact rows of the same place and order share one: (n,).

    A row without noise has leverage 1, as what the curve takes from it; given again, it says
    nothing more, as replicates of any row together have the leverage of the one they stand for.
    """
    exact = np.flatnonzero(sd == 0)
    if len(exact) < 2:
        return leverage
    rows = np.column_stack((data.x.reshape(len(data), -1), data.nu.reshape(len(data), -1)))[exact]
    _, which, count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    out = leverage.copy()
    out[exact] /= count[which.ravel()]
    return out


def _groups(data: Observations) -> list[NDArray[np.bool_]]:
    """Return the rows of each estimated level, and last those of known noise, if there are any."""
    groups = [data.is_of(order) & data.estimated for order in data.estimated_orders]
    known = ~data.estimated & ~data.exact
    return [*groups, known] if known.any() else groups


def _degrees(
    data: Observations, groups: list[NDArray[np.bool_]], leverage: Array
) -> tuple[Array, Array]:
    """Return the parameters that each group tells, and what is left of its rows, inf if known."""
    parts = [leverage if rows.all() else leverage[rows] for rows in groups]
    parameters = np.array([part.sum() for part in parts])
    left = np.array([(1.0 - part).sum() for part in parts])
    left[len(data.estimated_orders) :] = math.inf
    return parameters, left


def dof_of_order(post: Posterior, nu: NDArray[np.int64]) -> float:
    """Return the degrees of freedom that limits of ``D^nu f`` rest on.

    The variance of a Gaussian posterior is a sum of parts, of which that of the noise of a group g
    of rows is

        v_g(x) = dVar(D^nu f(x)) / dlog level_g^2 = sum_(i in g) Cov(D^nu f(x), f_i)^2 / sd_i^2

    (what is left is the prior's), and the variances of the levels add up as in
    :func:`satterthwaite`, with these parts in place of average ones: the harmonic mean over places
    of the data. One level alone, or many degrees of freedom of each, have `dof`.
    """
    data, groups = post.data, _groups(post.data)
    if len(groups) < 2 or not math.isfinite(post.dof):
        return post.dof
    parameters, left = _degrees(data, groups, post._leverage())
    noisy = np.flatnonzero(left > _MET * parameters)
    left = left[noisy]
    if left.min(initial=math.inf) > _NORMAL:
        return post.dof
    distinct, sd = np.unique(data.x, axis=0), data.sd(post.noise)
    count = int(np.clip(_PAIRS // len(data), *_PLACES))
    places = distinct[np.unique(np.linspace(0, len(distinct) - 1, count).astype(int))]
    orders = np.broadcast_to(nu, places.shape)
    parts = np.empty((len(noisy), len(places)))
    for k, rows in enumerate(groups[one] for one in noisy):
        cov = post._cov(places, orders, data.x[rows], data.nu[rows])
        parts[k] = ((cov / sd[rows]) ** 2).sum(axis=1)
    parts = parts[:, parts.sum(axis=0) > 0]
    if not parts.size:
        return post.dof
    rate = float(np.mean((parts / parts.sum(axis=0)) ** 2 / left[:, None], axis=1).sum())
    return max(1.0 / rate, 1.0) if rate > 0 else math.inf


def satterthwaite(parameters: Array, left: Array) -> float:
    """Return ``1 / sum_g share_g^2 / left_g``: the degrees of freedom of a sum of variances.

    A variance of the curve is a sum of parts, each proportional to the noise of one group of rows;
    `left` are the degrees of freedom that the level of each rests on, infinite where it is known.
    The part of a group is about its share of the effective `parameters`, on the average over the
    curve. Rows that the curve meets (``left`` is a rounding error) have no noise, and no part. One
    estimated group alone gives its own degrees of freedom.

    References
    ----------
    Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics
    Bulletin 2, 1946.
    """
    noisy = left > _MET * parameters
    total = parameters[noisy].sum()
    if not total > 0:
        return float(max(left[np.isfinite(left)].sum(), 1.0))
    rate = float(((parameters[noisy] / total) ** 2 / left[noisy]).sum())
    return max(1.0 / rate, 1.0) if rate > 0 else math.inf
