"""The likelihood of Matern processes with its exact gradient, by one pass forth and one back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from smoothderiv.statespace import _error_loops, _stretch_loops, _superposition_loops
from smoothderiv.statespace.markov import Likelihood, MarkovRows
from smoothderiv.statespace.priors import Matern
from smoothderiv.statespace.states import room, slices
from smoothderiv.statespace.superposition import Superposition

Array = NDArray[np.float64]

_AT_ONCE = 16_384  # rows whose dense steps are made at a time


class Score(NamedTuple):
    """A likelihood and what its gradient is made of, in the order of the rows given.

    With K the covariance of the rows, R their noise and P the inverse of K + R: ``pull = P y``,
    ``diagonal = diag P``. The derivatives of minus the log likelihood by the logarithms of the
    amplitude and of the length are ``excess - spent``: `excess` is ``tr(P dK) / 2``, `spent` is
    ``y'P dK P y / 2``, (2,) each; of a sum (2 K,), a pair for each of its parts as they were given.
    """

    likelihood: Likelihood
    pull: Array
    diagonal: Array
    excess: Array
    spent: Array


def matern_score(rows: MarkovRows) -> Score:
    """Filter and pull back rows under a Matern prior; Fisher's identity for the gradient.

    K scales with sigma squared, so that ``d/d log sigma = tr(P K) - y'P K P y``, a sum over steps.
    Only ``x / scale`` matters but for the unit ``scale**-nu`` of each row, so that
    ``d/d log scale`` is how the likelihood changes when all steps shrink, and for a row of order
    nu, nu times its share of ``d/d log sigma``.

    References
    ----------
    Koopman & Shephard, "Exact score for time series models in state space form", Biometrika 79,
    1992. Segal & Weinstein, IEEE Trans. Inf. Theory 35, 1989.
    """
    prior = rows.prior
    assert isinstance(prior, Matern)
    d = prior.dimension
    found, gains, states = _filtered(rows)
    drift, density = prior.drift()
    pull, diagonal, total, size, stretch, pulled, r, N = _error_loops.errors_and_stretch(
        rows.columns(), rows.steps, *gains, *states, drift, density, rows.dims
    )
    start = prior.stationary()
    total += float((start * N.reshape(d, d)).sum())
    size += float(r @ start @ r)
    unit = prior.units[rows.nu]
    if rows.nu.any():  # a row of order nu has the unit scale**-nu
        stretch += float(rows.nu @ (1.0 - rows.variance * diagonal))
        pulled -= float(rows.nu @ (pull * (rows.y - rows.variance * pull)))
    excess, spent = np.array([total, -stretch]), np.array([size, pulled])
    return Score(
        found, rows.as_given(pull / unit), rows.as_given(diagonal / unit**2), excess, spent
    )


def _filtered(
    rows: MarkovRows,
) -> tuple[Likelihood, tuple[Array, Array, Array], tuple[Array, Array]]:
    """Filter; return the likelihood, the gains and the states."""
    n, d = len(rows.y), rows.prior.dimension
    gains, states = (np.empty((n, d)), np.empty(n), np.empty(n)), room(n, d)
    return rows.checked(rows.filter(gains, states)), gains, states


def superposed_score(rows: MarkovRows) -> Score:
    """Do what :func:`matern_score` does under a sum of processes; see the loop for the formula."""
    prior = rows.prior
    assert isinstance(prior, Superposition)
    n, d, parts = len(rows.y), prior.dimension, prior.parts
    found, gains, states = _filtered(rows)
    drifts, densities = zip(*(part.drift() for part in parts), strict=True)
    numbers = prior.offsets, np.array([part.rate for part in parts]), np.array(densities)
    drift, start = block_diag(*drifts), block_diag(*(part.stationary() for part in parts))
    pull, diagonal = np.empty(n), np.empty(n)
    excess, spent = np.zeros((len(parts), 2)), np.zeros((len(parts), 2))
    out = pull, diagonal, excess, spent, np.zeros(d), np.zeros((d, d))
    for h, (transition, root), span in _backwards(rows, prior):
        _superposition_loops.score(
            rows.columns(), h, transition, root, gains, states, prior.turn, prior.back, numbers,
            drift, start, span, out,
        )  # fmt: skip
    unit, given = rows.row_units, np.argsort(prior.ranking)
    return Score(
        found,
        rows.as_given(pull / unit),
        rows.as_given(diagonal / unit**2),
        excess[given].ravel(),
        spent[given].ravel(),
    )


def noise_shares(rows: MarkovRows) -> Array:
    """Return the diagonal of ``K_g P``, K_g the covariance of the noises of a sum: (n,)."""
    rows = dataclasses.replace(rows)  # of which nothing is kept
    prior, out, d = rows.prior, np.empty(len(rows.y)), rows.prior.dimension
    assert isinstance(prior, Superposition)
    gains, states = _filtered(rows)[1:]
    noise = prior.turn[0] - prior.turn[prior.answers[0]]
    found = out, np.zeros((d, d))
    for h, (transition, _), span in _backwards(rows, prior):
        _superposition_loops.noise_shares(
            rows.columns(), h, transition, gains, states, prior.turn, prior.back, noise, span, found
        )  # fmt: skip
    return rows.as_given(out)


def _backwards(
    rows: MarkovRows, prior: Superposition
) -> Iterator[tuple[Array, tuple[Array, Array], tuple[int, int]]]:
    """Yield runs of rows, the last first: the steps to them, those of the parts, and the span."""
    for part in reversed(slices(len(rows.x), _AT_ONCE)):
        h = rows.gaps(part)
        yield h, prior.apart(h), (part.start, part.stop)


def matern_stretch(rows: MarkovRows, y: Array) -> tuple[Array, Array]:
    """Return the derivatives by log length of ``P y`` (n, q) and of diag P (n,), y in any columns.

    In the order of the rows given, by differentiating each step of filter and smoother.
    """
    prior, nu = rows.prior, rows.nu
    assert isinstance(prior, Matern)
    unit = prior.units[nu]
    data = np.ascontiguousarray(y[rows.sorting] / unit[:, None])
    steps, (drift, density) = rows.steps, prior.drift()
    observed = (data, nu[:, None] * data, rows.variance, 2.0 * nu * rows.variance, nu)
    pull, dpull, diagonal, ddiagonal = _stretch_loops.stretch(
        observed, (steps.h, steps.transition, steps.root), prior.stationary(), drift, density
    )
    by_pull = (dpull + nu[:, None] * pull) / unit[:, None]
    by_diagonal = (ddiagonal + 2.0 * nu * diagonal) / unit**2
    return rows.as_given(by_pull), rows.as_given(by_diagonal)
