"""The evidence of the Markov solver with its exact gradient, in O(n)."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.dense import LOG_2PI
from smoothderiv.gp.kernel import Kernel, known
from smoothderiv.gp.markov import prior_of
from smoothderiv.gp.unknowns import Unknowns
from smoothderiv.gp.wiener import Wiener
from smoothderiv.statespace.fisher import matern_score
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.smoother import SmoothingSpline, polynomial_information

Array: TypeAlias = NDArray[np.float64]


class MarkovCriterion:
    """Minus the log evidence of one Markov kernel as a function of the log unknowns.

    The same function as the dense one, by filter and backward recursion. By Fisher's identity
    ``d/d log sigma = tr(P K) - y'P K P y`` and ``d/d log level = sum_i R_i (P_ii - (P y)_i^2)``
    over the rows of an order, K and R the covariances of the process and of the noise, P the
    inverse of their sum; see :func:`smoothderiv.statespace.fisher.matern_score` for the scale.
    """

    def __init__(self, unknowns: Unknowns) -> None:
        self._unknowns, data = unknowns, unknowns.data
        shift = unknowns.trend.fixed(data.x[:, None], data.nu[:, None])
        centred = dataclasses.replace(data, y=data.y - shift)
        self._data = centred[np.argsort(data.x, kind="stable")]
        self._groups = [self._data.is_of(o) & self._data.estimated for o in unknowns.orders]

    def value(self, point: Array) -> float:
        """Return the criterion in nats."""
        values = np.exp(point)
        kernel, sd = self._unknowns.filled(values), self._data.sd(self._unknowns.noise(values))
        wiener = isinstance(kernel, Wiener)
        found = (self._wiener_rows(kernel, sd) if wiener else self._rows(kernel, sd)).likelihood()
        loss = 0.5 * (found.chi + found.logs + found.rank * LOG_2PI)
        loss += self._unknowns.prior(point)[0] - (0.5 * self._polynomials if wiener else 0.0)
        return loss if math.isfinite(loss) else math.inf

    def _rows(self, kernel: Kernel, sd: Array) -> MarkovRows:
        return MarkovRows.of(prior_of(kernel), self._data.x, self._data.y, sd, self._data.nu)

    def loss(self, point: Array) -> tuple[float, Array]:
        """Return the criterion in nats and its gradient."""
        values = np.exp(point)
        kernel, sd = self._unknowns.filled(values), self._data.sd(self._unknowns.noise(values))
        if isinstance(kernel, Wiener):
            loss, pull, diagonal, slopes = self._wiener(kernel, sd)
        else:
            score = matern_score(self._rows(kernel, sd))
            found, pull, diagonal = score.likelihood, score.pull, score.diagonal
            loss = 0.5 * (found.chi + found.logs + found.rank * LOG_2PI)
            slopes = {"amplitude": score.by_sigma, "length": score.by_scale}
        if not math.isfinite(loss):
            return math.inf, np.zeros(len(point))
        by_row = sd**2 * (diagonal - pull**2)
        gradient = [slopes[p.kind] for p in self._unknowns.free]
        gradient += [float(by_row[rows].sum()) for rows in self._groups]
        prior, slope = self._unknowns.prior(point)
        return loss + prior, np.array(gradient) + slope

    def _wiener(self, kernel: Wiener, sd: Array) -> tuple[float, Array, Array, dict[str, float]]:
        """Return the loss, P y, diag P and the derivative by log sigma of a Wiener process."""
        found, errors = self._wiener_rows(kernel, sd).errors()
        loss = 0.5 * (found.chi + found.logs + found.rank * LOG_2PI - self._polynomials)
        return loss, errors.pull, errors.diagonal, {"amplitude": errors.excess - errors.penalty}

    def _wiener_rows(self, kernel: Kernel, sd: Array) -> MarkovRows:
        q = known(kernel.sigma, "sigma") ** 2  # type: ignore[attr-defined]
        prior = dataclasses.replace(self._template.prior, q=q)  # type: ignore[type-var]
        return self._template.having(prior, sd)

    @cached_property
    def _template(self) -> MarkovRows:
        spline = SmoothingSpline(self._unknowns.model.kernel.order)  # type: ignore[attr-defined]
        return spline.rows(self._data, q=1.0, sd=self._data.relative_sd)

    @cached_property
    def _polynomials(self) -> float:
        return polynomial_information(self._template)
