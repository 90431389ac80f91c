"""The restricted likelihood of rows under an integrated Wiener process, also as one of its q."""

from __future__ import annotations

import math

import numpy as np

from smoothderiv.statespace import _error_loops, _loops
from smoothderiv.statespace.backward import NO_MARKS, nothing_later
from smoothderiv.statespace.markov import Likelihood, MarkovRows
from smoothderiv.statespace.priors import IntegratedWiener
from smoothderiv.statespace.states import NO_STATES

_NOTHING = (np.empty(0), np.empty(0), *NO_MARKS)  # what a backward pass need not fill


def log_evidence(
    rows: MarkovRows, likelihood: Likelihood, information: float | None = None
) -> float:
    """Return Harville's restricted log likelihood; see the notes of :class:`.SmoothingSpline`."""
    if information is None:
        information = polynomial_information(rows)
    constant = likelihood.rank * math.log(2 * math.pi)
    return -0.5 * (likelihood.chi + likelihood.logs + constant - information)


def polynomial_information(rows: MarkovRows) -> float:
    """Return ``log|X'X|``, by filtering with q = 0 and unit noise."""
    prior = rows.prior
    flat = IntegratedWiener(prior.dimension, 0.0, prior.span)  # type: ignore[attr-defined]
    scale = np.array([prior.span**-nu for nu in range(prior.dimension)])  # type: ignore[attr-defined]
    found = rows.having(flat, ((scale / prior.units) ** 2)[rows.nu]).likelihood()
    return found.logs - 2 * float(np.bincount(rows.nu, minlength=len(scale)) @ np.log(scale))


class Profile:
    """What rows of fixed noise say as a function of q of their Wiener prior, with little ado."""

    def __init__(self, rows: MarkovRows) -> None:
        self._rows, self._start = rows, rows.prior.start()
        self._weight = rows.steps.weight / rows.prior.diffusion
        n, d = len(rows.y), rows.prior.dimension
        self._gains = np.empty((n, d)), np.empty(n), np.empty(n)
        self._logs, self._dims = 2 * rows.unit_logs, rows.dims

    def __call__(self, q: float) -> tuple[Likelihood, float, float]:
        """Return the likelihood, and `penalty` and `excess` of :class:`.Errors`."""
        steps, rows = self._rows.steps._replace(weight=q * self._weight), self._rows.columns()
        settled = _loops.settle(rows, steps, self._start)
        found = _loops.forward(rows, steps, settled, self._gains, NO_STATES, self._dims)
        if found[4] > 0:
            self._rows.checked(found)
        chi, logs, rank = found[:3].tolist()
        later = nothing_later(self._rows.prior.dimension)
        found = _error_loops.errors(rows, steps, *self._gains, _NOTHING, later, self._dims)
        return Likelihood(chi, logs + self._logs, int(rank)), *found
