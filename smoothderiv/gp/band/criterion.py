"""The evidence of the band solver with its exact gradient, in O(n)."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.band.fit import BandFit, loss_of
from smoothderiv.gp.band.reduction import Reduced, Reduction, group_of
from smoothderiv.gp.unknowns import Unknowns
from smoothderiv.model import UndeterminedError

Array: TypeAlias = NDArray[np.float64]


class BandCriterion:
    """Minus the log evidence of a squared exponential on a line, in the log unknowns.

    The same function as the dense one. With rows r_i and errors e_i over the noise, the rows'
    derivatives s_i by log scale, the posterior mean v and covariance C of the coefficients and of
    the p coefficients of the mean, and leverages ``h_i = r_i C r_i'``:

        d/d log sigma = sum h_i - p - v'v,    d/d log scale = sum_i (s_i C r_i' - e_i s_i v),

        d/d log noise = sum_i (1 - h_i - e_i^2) over the rows of an order.

    Here ``dK = dS S' + S dS'`` with S the rows times the noise, and ``S'P = C r' / noise``.
    """

    def __init__(self, unknowns: Unknowns) -> None:
        self._unknowns, data = unknowns, unknowns.data
        self._reduction = Reduction(unknowns.trend, data)
        self._counts = [float((data.is_of(o) & data.estimated).sum()) for o in unknowns.orders]

    def value(self, point: Array) -> float:
        """Return the criterion in nats."""
        try:
            loss = loss_of(self._reduced(point, slopes=False))
        except (np.linalg.LinAlgError, ValueError) as error:
            if isinstance(error, UndeterminedError):
                raise
            return math.inf
        return loss + self._unknowns.prior(point)[0]

    def loss(self, point: Array) -> tuple[float, Array]:
        """Return the criterion in nats and its gradient."""
        try:
            fit = BandFit.of(self._reduced(point, slopes=True))
        except (np.linalg.LinAlgError, ValueError) as error:
            if isinstance(error, UndeterminedError):
                raise
            return math.inf, np.zeros(len(point))
        (leverage, cross), errors, v = fit.shares, fit.errors, fit.coefficients
        steep = fit.applied(fit.reduced.slopes, v[:, None])[:, 0]
        slopes = {
            "amplitude": float(leverage.sum() - len(fit.beta) - v @ v),
            "length": float(cross.sum() - errors @ steep),
        }
        taken, group = leverage + errors**2, fit.reduced.group
        gradient = [slopes[p.kind] for p in self._unknowns.free]
        for count, order in zip(self._counts, self._unknowns.orders, strict=True):
            gradient.append(count - float(taken[group == group_of(order)].sum()))
        prior, slope = self._unknowns.prior(point)
        return prior - fit.log_evidence, np.array(gradient) + slope

    def _reduced(self, point: Array, *, slopes: bool) -> Reduced:
        values = np.exp(point)
        kernel, noise = self._unknowns.filled(values), self._unknowns.noise(values)
        return self._reduction.reduced(kernel, noise, wide=True, slopes=slopes)
