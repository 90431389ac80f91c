"""The criteria of the Markov solver with their exact gradients, in O(n)."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.answers.leave_one_out import left_out
from smoothderiv.gp.composite import Sum
from smoothderiv.gp.kernel import Kernel, known
from smoothderiv.gp.markov import is_noise, prior_of, twice_the_loss
from smoothderiv.gp.markov_trend import MarkovTrend, trend_information
from smoothderiv.gp.unknowns import Unknowns
from smoothderiv.gp.wiener import Wiener
from smoothderiv.statespace.backward import errors_of, project
from smoothderiv.statespace.evidence import polynomial_information
from smoothderiv.statespace.fisher import Score, matern_score, superposed_score
from smoothderiv.statespace.markov import Likelihood, MarkovRows
from smoothderiv.statespace.priors import MarkovPrior, Matern
from smoothderiv.statespace.smoother import SmoothingSpline

Array: TypeAlias = NDArray[np.float64]


class MarkovCriterion:
    """One criterion of a Markov kernel as a function of the log unknowns.

    Evidence: minus the log of the restricted likelihood. loo: minus the sum of leave-one-out log
    densities of the rows that are not exact, or where all are, of all rows. The same functions as
    the dense ones, by filter and backward recursion. By Fisher's identity minus the log evidence
    has the derivatives ``d/d log sigma = tr(P K) - y'P K P y`` and
    ``d/d log level = sum_i R_i (P_ii - (P y)_i^2)``
    over the rows of an order, K and R the covariances of the process and of the noise, P the
    inverse of their sum; see :func:`smoothderiv.statespace.fisher.matern_score` for the scale.
    """

    def __init__(self, unknowns: Unknowns, criterion: str = "evidence") -> None:
        self._criterion = criterion
        self._unknowns, data = unknowns, unknowns.data
        x, nu = data.x[:, None], data.nu[:, None]
        centred = dataclasses.replace(data, y=data.y - unknowns.trend.fixed(x, nu))
        self._data = centred[np.argsort(data.x, kind="stable")]
        kernel, ordered = unknowns.model.kernel, self._data
        self._wiener, self._degree = isinstance(kernel, Wiener), int(kernel.smoothness)
        self._scored = _wiener_score if self._wiener else matern_score
        self._slots = unknowns.indices
        if isinstance(kernel, Sum):
            self._scored, self._slots = superposed_score, _slots(kernel, unknowns.indices)
        self._numbers: dict[str, Any] = {p.kind: p.value for p in kernel.parameters(1)}
        self._gaps = np.diff(ordered.x, prepend=ordered.x[:1])
        given = {**(unknowns.model.noise or {}), **dict.fromkeys(unknowns.orders, 1.0)}
        self._at_one = ordered.sd(given)
        self._soft = left_out(ordered)
        self._groups = [_marked(ordered.is_of(o) & ordered.estimated) for o in unknowns.orders]
        null = kernel.null_degree
        self._trend = unknowns.trend.beyond(null)
        self._information = trend_information(unknowns.trend, null, data)
        if self._wiener:
            self._information += polynomial_information(self._template)

    def value(self, point: Array) -> float:
        """Return the criterion in nats."""
        fit = self._fit(point)
        if fit is None:
            return math.inf
        if self._criterion == "evidence":
            return self._whole(fit.rows.likelihood(), fit, point)
        pull, diagonal = fit.cleared(errors_of(fit.rows)[1])[:2]
        return _left_out(pull, diagonal, self._soft)[0] + self._unknowns.prior(point)[0]

    def loss(self, point: Array) -> tuple[float, Array]:
        """Return the criterion in nats and its gradient."""
        fit = self._fit(point)
        if fit is None:
            return math.inf, np.zeros(len(point))
        return (
            self._evidence(fit, point) if self._criterion == "evidence" else self._loo(fit, point)
        )

    def _evidence(self, fit: MarkovTrend, point: Array) -> tuple[float, Array]:
        """Return minus the log evidence and its gradient."""
        score = self._scored(fit.rows)
        loss, spent = self._whole(score.likelihood, fit, point), score.spent
        if not math.isfinite(loss):
            return math.inf, np.zeros(len(point))
        for rows in fit.observed:
            spent = spent + self._scored(rows).spent
        gradient = list((score.excess - spent)[self._slots])
        score = fit.cleared(score)
        by_row = self._sd(np.exp(point)) ** 2 * (score.diagonal - score.pull**2)
        gradient += [float(by_row[rows].sum()) for rows in self._groups]
        return loss, np.array(gradient) + self._unknowns.prior(point)[1]

    def _loo(self, fit: MarkovTrend, point: Array) -> tuple[float, Array]:
        """Return minus the leave-one-out log density and its gradient.

        With ``c`` and ``b`` the derivatives by ``P y`` and by diag P, noise R has the gradient
        ``-(P c)_i (P y)_i - (P diag(b) P)_ii``. If all covariances are multiplied, the density
        changes by what is known, which leaves that of the amplitude.
        """
        pull, diagonal = fit.cleared(errors_of(fit.rows)[1])[:2]
        loss, c, b, overall = _left_out(pull, diagonal, self._soft)
        if not math.isfinite(loss):
            return math.inf, np.zeros(len(point))
        back = fit.without(project(fit.rows, c))
        by_row = -2.0 * self._sd(np.exp(point)) ** 2 * (back * pull + fit.spread(b))
        slopes = {"amplitude": overall - float(by_row.sum())}
        if any(p.kind == "length" for p in self._unknowns.free):
            by_pull, by_diagonal = fit.stretch(
                self._data.y - fit.columns @ (fit.pulled.T @ self._data.y)
            )
            slopes["length"] = float(c @ by_pull + b @ by_diagonal)
        gradient = [slopes[p.kind] for p in self._unknowns.free]
        gradient += [float(by_row[rows].sum()) for rows in self._groups]
        prior, slope = self._unknowns.prior(point)
        return loss + prior, np.array(gradient) + slope

    def _whole(self, found: Likelihood, fit: MarkovTrend, point: Array) -> float:
        loss = 0.5 * (twice_the_loss(found, fit) - self._information)
        return loss + self._unknowns.prior(point)[0] if math.isfinite(loss) else math.inf

    def _sd(self, values: Array) -> Array:
        """Return the noise of the sorted rows."""
        sd = self._at_one.copy()
        for rows, level in zip(self._groups, values[len(self._unknowns.free) :], strict=True):
            sd[rows] *= level
        return sd

    def _fit(self, point: Array) -> MarkovTrend | None:
        """Return the rows under the prior of a point, the trend fitted; None where none is."""
        values = np.exp(point)
        sd, data = self._sd(values), self._data
        if self._wiener:
            rows = self._wiener_rows(self._unknowns.filled(values), sd)
        else:
            rows = MarkovRows.of(self._prior(values), data.x, data.y, sd, data.nu, self._gaps)
        try:
            return MarkovTrend.of(self._trend, rows, data, sd)
        except np.linalg.LinAlgError:
            return None

    def _prior(self, values: Array) -> MarkovPrior:
        """Return the prior of a Matern kernel, or of a sum, at the exponentials of a point."""
        if isinstance(self._unknowns.model.kernel, Sum):
            return prior_of(self._unknowns.filled(values))
        free = {p.kind: float(v) for p, v in zip(self._unknowns.free, values, strict=False)}
        number = self._numbers | free
        return Matern(self._degree, number["length"], number["amplitude"])

    def _wiener_rows(self, kernel: Kernel, sd: Array) -> MarkovRows:
        q = known(kernel.sigma, "sigma") ** 2  # type: ignore[attr-defined]
        prior = dataclasses.replace(self._template.prior, q=q)  # type: ignore[type-var]
        return self._template.having(prior, self._template.variances(sd))

    @cached_property
    def _template(self) -> MarkovRows:
        spline = SmoothingSpline(self._unknowns.model.kernel.order)  # type: ignore[attr-defined]
        return spline.rows(self._data, q=1.0, sd=self._data.relative_sd)


def _marked(rows: NDArray[np.bool_]) -> NDArray[np.intp] | slice:
    """Return where rows are marked; all of them are had quicker by a slice."""
    return slice(None) if rows.all() else np.flatnonzero(rows)


def _slots(kernel: Sum, indices: list[int]) -> list[int]:
    """Return where a score has what numbers of a sum move: (amplitude, length) of each part.

    The parts of a score are the signals, then the noises.
    """
    noisy = [is_noise(part) for part in kernel.parts]
    rank = np.argsort(np.argsort(noisy, kind="stable"))
    return [2 * int(rank[i // 2]) + i % 2 for i in indices]


def _wiener_score(rows: MarkovRows) -> Score:
    """Return what :func:`matern_score` does; there is no length."""
    found, errors = errors_of(rows)
    excess, spent = np.array([[errors.excess, errors.penalty], [0.0, 0.0]]).T
    return Score(found, errors.pull, errors.diagonal, excess, spent)


def _left_out(
    pull: Array, diagonal: Array, soft: NDArray[np.bool_]
) -> tuple[float, Array, Array, float]:
    """Return ``sum (u^2 / p - log(p / 2 pi)) / 2`` over rows that are not exact.

    With u = P y and p = diag P; and its derivatives by u, by p, and by the logarithm of what all
    standard deviations are multiplied by.
    """
    precision = np.where(soft, diagonal, 1.0)
    if not (precision > 0).all():
        return math.inf, pull, pull, 0.0
    squares = pull**2 / precision
    loss = 0.5 * float((squares - np.log(precision / (2 * np.pi)))[soft].sum())
    by_pull = np.where(soft, pull / precision, 0.0)
    by_diagonal = np.where(soft, -0.5 * (squares + 1.0) / precision, 0.0)
    return loss, by_pull, by_diagonal, float((1.0 - squares)[soft].sum())
