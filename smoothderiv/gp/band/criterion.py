"""The criteria of the band solver with their exact gradients, in O(n)."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.band.fit import BandFit, BandSizeError, loss_of
from smoothderiv.gp.band.grid import ROUNDING
from smoothderiv.gp.band.left_out import LeftOut
from smoothderiv.gp.band.pins import SpentPinsError
from smoothderiv.gp.band.reduction import Reduced, Reduction, group_of
from smoothderiv.gp.dense import LOG_2PI
from smoothderiv.gp.unknowns import Unknowns

Array: TypeAlias = NDArray[np.float64]

_ROUGH, _LEAST = 1e-5, 1e-4  # of the variance of the noise, and of the process
_FINER = 2  # values as exact as second derivatives: of data without noise all digits tell
_ENOUGH = 1e-10  # of the process: from where sums of squares have digits to spare


class BandCriterion:
    """One criterion of a squared exponential on a line, as a function of the log unknowns.

    Evidence: minus the log of the restricted likelihood. loo: minus the sum of leave-one-out log
    densities; infinite where a row is so sharp that they are lost in rounding. The same functions
    as the dense ones. For loo see :class:`smoothderiv.gp.band.left_out.LeftOut`; for the evidence,
    with rows r_i and errors e_i over the noise, the rows'
    derivatives s_i by log scale, the posterior mean v and covariance C of the coefficients and of
    the p coefficients of the mean, and leverages ``h_i = r_i C r_i'``:

        d/d log sigma = sum h_i - p - v'v,    d/d log scale = sum_i (s_i C r_i' - e_i s_i v),

        d/d log noise = sum_i (1 - h_i - e_i^2) over the rows of an order.

    If `rough`, the covariance has an error that is small beside the noise to start from, so that
    rows touch fewer functions of the grid, and sums of squares will do: on the way to an optimum.

    Here ``dK = dS S' + S dS'`` with S the rows times the noise, and ``S'P = C r' / noise``.
    """

    def __init__(
        self, unknowns: Unknowns, criterion: str = "evidence", rough: bool = False
    ) -> None:
        self._unknowns, self._criterion, data = unknowns, criterion, unknowns.data
        accuracy = min(_ROUGH * unknowns.least_noise, _LEAST) if rough else 0.0
        self._squared = accuracy > _ENOUGH
        accuracy = accuracy if self._squared else ROUNDING
        finer = 0 if self._squared else _FINER
        self._reduction = Reduction(unknowns.trend, data, finer, accuracy)
        self._counts = [float((data.is_of(o) & data.estimated).sum()) for o in unknowns.orders]

    def value(self, point: Array) -> float:
        """Return the criterion in nats."""
        try:
            if self._criterion == "evidence":
                loss = loss_of(self._reduced(point, slopes=False), self._squared)
            else:
                loss = self._loss_left_out(point, self._left_out(point, slopes=False))
        except (np.linalg.LinAlgError, BandSizeError, SpentPinsError):
            return math.inf
        return loss + self._unknowns.prior(point)[0]

    def loss(self, point: Array) -> tuple[float, Array]:
        """Return the criterion in nats and its gradient."""
        try:
            if self._criterion != "evidence":
                return self._loo(point)
            fit = BandFit.of(self._reduced(point, slopes=True), self._squared)
        except (np.linalg.LinAlgError, BandSizeError, SpentPinsError):
            return math.inf, np.zeros(len(point))
        (leverage, cross), errors, v = fit.shares, fit.errors, fit.coefficients
        steep = fit.applied(fit.reduced.slopes, v[:, None])[:, 0]
        slopes = {
            "amplitude": float(leverage.sum() - len(fit.beta) - v @ v),
            "length": float(cross.sum() - errors @ steep),
        }
        if fit.pinned is not None and fit.reduced.pins is not None:  # of leverage 1
            slopes["amplitude"] += len(fit.reduced.pins.y)
            slopes["length"] += fit.pinned.by_scale(fit.reduced.pins, v)
        taken, group = leverage + errors**2, fit.reduced.group
        gradient = [slopes[p.kind] for p in self._unknowns.free]
        for count, order in zip(self._counts, self._unknowns.orders, strict=True):
            gradient.append(count - float(taken[group == group_of(order)].sum()))
        prior, slope = self._unknowns.prior(point)
        return prior - fit.log_evidence, np.array(gradient) + slope

    def _reduced(self, point: Array, *, slopes: bool) -> Reduced:
        values = np.exp(point)
        kernel, noise = self._unknowns.filled(values), self._unknowns.noise(values)
        if self._squared:
            return self._reduction.every(kernel, noise, slopes=slopes, wide=False)
        return self._reduction.reduced(kernel, noise, wide=True, slopes=slopes)

    def _left_out(self, point: Array, *, slopes: bool) -> LeftOut:
        values = np.exp(point)
        kernel, noise = self._unknowns.filled(values), self._unknowns.noise(values)
        reduced = self._reduction.reduced(kernel, noise, wide=True, slopes=slopes)
        return LeftOut.of(reduced, self._reduction.every(kernel, noise, slopes=slopes))

    def _loss_left_out(self, point: Array, found: LeftOut) -> float:
        if not found.is_known:
            return math.inf
        data = self._unknowns.data
        sd = data.sd(self._unknowns.noise(np.exp(point)))[~data.exact]
        return found.loss + float(np.log(sd).sum()) + 0.5 * len(sd) * LOG_2PI

    def _loo(self, point: Array) -> tuple[float, Array]:
        """Return minus the sum of leave-one-out log densities and its gradient."""
        found = self._left_out(point, slopes=True)
        loss = self._loss_left_out(point, found)
        if not math.isfinite(loss):
            return math.inf, np.zeros(len(point))
        gradient = []
        for parameter in self._unknowns.free:
            long = parameter.kind == "length"
            gradient.append(found.by_scale if long else found.overall - found.by_noise())
        gradient += [found.by_noise(group_of(order)) for order in self._unknowns.orders]
        prior, slope = self._unknowns.prior(point)
        return loss + prior, np.array(gradient) + slope
