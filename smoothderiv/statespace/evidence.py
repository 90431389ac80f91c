"""The restricted likelihood of rows under an integrated Wiener process."""

from __future__ import annotations

import math

import numpy as np

from smoothderiv.statespace.markov import Likelihood, MarkovRows
from smoothderiv.statespace.priors import IntegratedWiener


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
