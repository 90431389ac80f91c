"""ARIMAX(1,1,0): the differences of evenly sampled data as an autoregression with inputs."""

from __future__ import annotations

import numpy as np

from smoothderiv.dynamics.difference import discrete, held_terms
from smoothderiv.dynamics.estimate import Estimate
from smoothderiv.dynamics.problem import Problem


def fit(problem: Problem) -> tuple[Estimate, None]:
    """Regress each difference of x on the last one and on the inputs of both steps.

    With d_k the difference over step k, u held, ``phi = exp(a h)``, ``psi = (phi - 1) / a`` and
    ``gamma = (psi - h) / a``, ``d_{k+1} = phi d_k + b gamma u_{k+1} + b (psi^2 - phi gamma) u_k +
    c h psi`` exactly for noise-free data of order 2: the two gains of an input add up to ``b h
    psi``. For order 1 ``x_{k+1} = phi x_k + psi (b u_k + c)``. Ordinary least squares, so that
    noise on x dilutes phi; even steps.

    Raises
    ------
    ValueError
        phi <= 0, where noise hides the motion over a step.
    """
    h = problem.require_even("arimax")
    problem.require_plain("arimax")
    rate, others = held_terms(problem, "arimax")
    if problem.order == 1:
        columns = [np.ones(len(problem.x) - 1) if j < 0 else problem.u[:-1, j] for j in others]
        gains = [[k] for k in range(len(others))]
        return discrete(problem, h, rate, problem.x[:-1], problem.x[1:], columns, gains), None
    d = np.diff(problem.x) / h
    columns = [np.ones(len(d) - 1) if j < 0 else problem.u[1:-1, j] for j in others]
    gains = [[k] for k in range(len(others))]
    for k, j in enumerate(others):
        if j >= 0:
            gains[k].append(len(columns))
            columns.append(problem.u[:-2, j])
    return discrete(problem, h, rate, d[:-1], d[1:], columns, gains), None
