"""Derivatives of a posterior regressed on each other, with their joint covariance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smoothderiv.dynamics.estimate import Estimate
from smoothderiv.dynamics.moments import MomentEquations
from smoothderiv.dynamics.problem import Problem
from smoothderiv.dynamics.terms import expected_sign

Array = NDArray[np.float64]

_MOST = 120  # cells


def fit(problem: Problem) -> tuple[Estimate, None]:
    """Regress the means of ``D^order x`` over cells on those of the terms, for any posterior.

    The mean of x'' over a cell is the difference of x' at its ends over its length, which a jump
    of the input inside does no harm; x' and x are averaged by Simpson's rule, the input exactly.
    Their joint posterior covariance weighs the cells and takes the noise of the regressors into
    account (see ``moments``). There are about as many cells as the posterior has effective degrees
    of freedom. What the posterior has smoothed away it cannot give back: where the input jumps
    often, the coefficients keep some of that bias.
    """
    post, order = problem.smoothed, problem.order
    cells = int(min(_MOST, max(post.edf * 0.75, 3 * len(problem.terms)), len(problem.t) - 1))
    ends = np.linspace(problem.times[0], problem.times[-1], 2 * cells + 1)
    nu = np.repeat(np.arange(order), len(ends))
    places = problem.as_given(np.tile(ends, order))
    unit = problem.size / problem.span ** nu.astype(float)
    shift = np.where(nu == 0, problem.shift, 0.0)
    raw = post.mean(places, nu)
    z, V = (raw - shift) / unit, post.cov(places, nu) / unit / unit[:, None]
    maps = cell_means(cells, order, 1.0 / cells * (ends[-1] - ends[0]) / problem.span)
    states = raw.reshape(order, -1)
    std = np.sqrt(np.diag(V))[-len(ends) :] * unit[-1]
    Z = np.empty((cells, len(problem.terms)))
    noisy, parts = [], [maps[order]]
    for j, term in enumerate(problem.terms):
        if term.kind == "state":
            Z[:, j] = maps[term.index] @ z
            noisy.append(j)
            parts.append(maps[term.index])
        elif term.kind == "friction":
            Z[:, j] = _simpson(expected_sign(states[-1], std))
        elif term.kind == "function":
            row = np.maximum(np.searchsorted(problem.times, ends, side="right") - 1, 0)
            now = None if problem.raw is None else problem.raw[row]
            Z[:, j] = _simpson(problem.raw_function(j, states, now)) / problem.size_of(j)
        else:
            values = problem.u[:, term.index] if term.kind == "input" else np.ones(len(problem.t))
            Z[:, j] = _held_means(problem.times, values, ends[::2])
    cov = np.array([[a @ V @ b.T for b in parts] for a in parts])
    estimate = MomentEquations(maps[order] @ z, Z, noisy, cov, problem.names, known=True).solve()
    dof = min(estimate.dof, post.dof) if math.isfinite(post.dof) else estimate.dof
    return Estimate(
        estimate.coefficients, estimate.covariance, dof, {}, 0.0, {**estimate.notes, "cells": cells}
    ), None


def cell_means(cells: int, order: int, length: float) -> list[Array]:
    """Return matrices from (x, .., D^(order-1) x) at ends and middles to the means over cells."""
    count = 2 * cells + 1
    found = []
    k = np.arange(cells)
    for q in range(order):
        mean = np.zeros((cells, order * count))
        for offset, weight in enumerate((1 / 6, 4 / 6, 1 / 6)):
            mean[k, q * count + 2 * k + offset] = weight
        found.append(mean)
    for q in range(1, order):  # the mean of a derivative, exactly
        found[q] = np.zeros((cells, order * count))
        found[q][k, (q - 1) * count + 2 * k + 2] = 1.0 / length
        found[q][k, (q - 1) * count + 2 * k] = -1.0 / length
    last = np.zeros((cells, order * count))
    last[k, (order - 1) * count + 2 * k + 2] = 1.0 / length
    last[k, (order - 1) * count + 2 * k] = -1.0 / length
    return [*found, last]


def _simpson(values: Array) -> Array:
    """Return means over the cells of values at ends and middles."""
    return np.asarray((values[:-2:2] + 4.0 * values[1::2] + values[2::2]) / 6.0)


def _held_means(t: Array, values: Array, ends: Array) -> Array:
    """Return the means over cells of what is held from each time to the next."""
    total = np.concatenate(([0.0], np.cumsum(values[:-1] * np.diff(t))))
    return np.asarray(np.diff(np.interp(ends, t, total)) / np.diff(ends))
