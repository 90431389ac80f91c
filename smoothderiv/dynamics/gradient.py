"""Derivatives of a posterior regressed on each other, with their joint covariance."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from smoothderiv.dynamics.cells import Cells
from smoothderiv.dynamics.estimate import Estimate
from smoothderiv.dynamics.moments import MomentEquations
from smoothderiv.dynamics.problem import Problem
from smoothderiv.dynamics.terms import expected_sign
from smoothderiv.model import UndeterminedError
from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]

_SHARE = 1.5  # cells for each effective degree of freedom: fewer lose some of what is known


def fit(problem: Problem) -> tuple[Estimate, Posterior]:
    """Regress the means of ``D^order x`` over cells on those of the terms, for any posterior.

    The equation holds for the means of the true motion over any cell, exactly: that of x'' is the
    difference of x' at its ends over its length, which a jump of the input inside does no harm,
    that of x' the difference of x. The mean of x, and of functions of the state, is a sum over as
    many nodes as make the rule's error small beside the noise (see ``cells``); the input's is
    exact. Their joint posterior covariance weighs the cells and takes the noise of the regressors
    into account (see ``moments``). There are half as many cells again as the posterior has
    effective degrees of freedom, short where it has many. Samples are smoothed by ``sd.smooth``:
    the one spline of the other methods knows of the noise, not of what its knots cannot follow,
    which is most of the error of x' once the noise is small. What the posterior has smoothed away
    it cannot give back: where the input jumps often, the coefficients keep some of that bias.
    """
    post, order, span = problem.curve, problem.order, problem.span
    low, high = float(problem.times[0]), float(problem.times[-1])
    cells = Cells.of(post, low, high, _SHARE, 3 * len(problem.terms), len(problem.t) - 1)
    means = [cells.mean(), *map(cells.slope, range(order))]  # of x, x', ..
    units = problem.size / span ** np.arange(order + 1.0)
    at_ends = _states(problem, cells.ends)
    unknown = _unknown(problem, cells.ends, at_ends)
    rises = np.diff(at_ends) / cells.lengths / units[1:, None]  # the means of x', ..
    noisy, parts = [], [order]
    Z = np.empty((cells.count, len(problem.terms)))
    for j, term in enumerate(problem.terms):
        if term.kind == "state":
            own = partial(_scaled, problem)
            Z[:, j] = rises[0] if term.index else cells.resolved(own, unknown)
            noisy.append(j)
            parts.append(term.index)
        elif term.kind in ("friction", "function"):
            Z[:, j] = cells.resolved(partial(_values, problem, j), unknown)
        else:
            values = problem.u[:, term.index] if term.kind == "input" else np.ones(len(problem.t))
            Z[:, j] = _held_means(problem.times, values, cells.ends)
    cov = np.array(
        [[means[a].covariance(post, means[b]) / units[a] / units[b] for b in parts] for a in parts]
    )
    for k, j in enumerate(noisy, 1):
        if (np.abs(Z[:, j]) <= np.sqrt(np.diag(cov[k, k]))).all():
            raise UndeterminedError(
                f"x: its {problem.names[j]} is nowhere as large as its standard deviation, so that "
                "these samples do not tell what depends on it; leave the term out, or give more "
                "samples, or less noisy ones"
            )
    estimate = MomentEquations(rises[-1], Z, noisy, cov, problem.names, known=True).solve()
    dof = min(estimate.dof, post.dof) if math.isfinite(post.dof) else estimate.dof
    notes = {**estimate.notes, "cells": cells.count}
    return Estimate(estimate.coefficients, estimate.covariance, dof, {}, 0.0, notes), post


def _states(problem: Problem, x: Array) -> Array:
    """Return the state along the posterior's mean: (order, n)."""
    return problem.curve.mean(problem.as_given(x), np.arange(problem.order)[:, None])


def _scaled(problem: Problem, x: Array) -> Array:
    """Return x itself along the posterior's mean, free of units."""
    return (problem.curve.mean(problem.as_given(x)) - problem.shift) / problem.size


def _values(problem: Problem, j: int, x: Array) -> Array:
    """Return the term j, friction or a function of the user's, along the posterior's mean."""
    states = _states(problem, x)
    if problem.terms[j].kind == "friction":
        return expected_sign(states[-1], problem.curve.std(problem.as_given(x), problem.order - 1))
    row = np.maximum(np.searchsorted(problem.times, x, side="right") - 1, 0)
    now = None if problem.raw is None else problem.raw[row]
    return problem.raw_function(j, states, now) / problem.size_of(j)


def _unknown(problem: Problem, x: Array, states: Array) -> float:
    """Return the standard deviation of the state beside its own variation, the least of any."""
    orders = np.arange(problem.order)[:, None]
    std = problem.curve.std(problem.as_given(x), orders).mean(axis=1)
    size = np.ptp(states, axis=1)
    return float(np.divide(std, size, out=np.full_like(std, np.inf), where=size > 0).min())


def _held_means(t: Array, values: Array, ends: Array) -> Array:
    """Return the means over cells of what is held from each time to the next."""
    total = np.concatenate(([0.0], np.cumsum(values[:-1] * np.diff(t))))
    return np.asarray(np.diff(np.interp(ends, t, total)) / np.diff(ends))
