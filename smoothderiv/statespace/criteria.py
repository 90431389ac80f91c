"""The criteria of the smoothing spline, with exact gradients.

All derivatives come from one forward and one backward pass, by ``d(P y) = -P dSigma P y`` and
``dP = -P dSigma P`` with Sigma the covariance of the rows and P its inverse off the polynomials.
For the noise of an order dSigma is diagonal, and for q it is what is left of the identity
``P Sigma P = P``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv.model import UnsuitableError, levels_sharing
from smoothderiv.observations import Observations
from smoothderiv.statespace.backward import Errors, errors_of, project, sorted_errors, spread
from smoothderiv.statespace.evidence import Profile, log_evidence, polynomial_information
from smoothderiv.statespace.markov import Likelihood, MarkovRows
from smoothderiv.statespace.states import NO_GAINS, NO_STATES

if TYPE_CHECKING:
    from smoothderiv.statespace.smoother import SmoothingSpline

Array = NDArray[np.float64]
Orders = NDArray[np.int64]

_FIRST = 64  # rows after those that determine a polynomial
_AMPLIFIED = 1e6  # by how much their innovations may add to its rounding errors


@dataclass(frozen=True, eq=False)
class Terms:
    """A criterion at one point, with what its derivatives need.

    ``d loss = by_pull . d(P y) + by_diagonal . d(diag P)`` + what depends on parameters directly,
    which cancels or is in `loss` alone. `scale` is the squared level that is best for the rows
    whose noise is only known relative to each other.
    """

    loss: float
    by_pull: Array
    by_diagonal: Array
    scale: float


@dataclass(frozen=True, eq=False)
class Criterion:
    """A criterion of a smoothing spline as a function of log q and log noise levels.

    `held` q and levels are not searched. With `free_scale` neither q nor any level is held or
    known, and the first parameter is q over the squared level of the first order, the others
    ratios of levels to it; the common scale is then the best one in closed form. The first order is
    `reference` if there is one.
    """

    model: SmoothingSpline
    data: Observations
    kind: str
    reference: int | None = None

    @cached_property
    def unknown_levels(self) -> tuple[int, ...]:
        """The orders whose noise levels are searched."""
        given = self.model.noise or {}
        unknown = [k for k in self.data.estimated_orders if k not in given]
        levels = [k for k in unknown if isinstance(k, int)]
        return tuple(sorted(levels, key=lambda k: k != self.reference))

    @cached_property
    def free_scale(self) -> bool:
        """Whether the data fix no scale of the noise: all is known up to a factor."""
        random = ~self.data.exact
        unknown = self._is_unknown & random
        return self.model.q is None and bool(unknown.any()) and bool((unknown == random).all())

    @cached_property
    def _is_unknown(self) -> NDArray[np.bool_]:
        data = self.data
        return data.estimated & np.isin(data.nu, np.array(self.unknown_levels, dtype=np.int64))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What is searched, as in :class:`smoothderiv.minimiser.Search`."""
        levels = self.unknown_levels
        if self.free_scale:
            first = f"noise[{levels[0]}]"
            return (f"q/{first}^2", *(f"noise[{k}]/{first}" for k in levels[1:]))
        q = () if self.model.q is not None else ("q",)
        return q + tuple(f"noise[{k}]" for k in levels)

    @property
    def _only_q(self) -> bool:
        """Whether q, or its ratio to the noise, is all that is searched."""
        return len(self.names) == 1 and self.model.q is None

    @cached_property
    def template(self) -> MarkovRows:
        """The rows where q and the level of every order that has one are 1."""
        return self.model.rows(self.data, q=1.0, sd=self.data.relative_sd)

    @cached_property
    def _polynomials(self) -> float:
        return polynomial_information(self.template)

    def parameters(self, point: Array) -> tuple[float, dict[int, float]]:
        """Return q and the unknown levels at a point of logs, the common scale being 1."""
        values = [float(v) for v in np.exp(point)]
        if self.free_scale:
            first, *others = self.unknown_levels
            return values[0], {first: 1.0, **dict(zip(others, values[1:], strict=True))}
        q = self.model.q
        if q is None:
            q, values = values[0], values[1:]
        return q, dict(zip(self.unknown_levels, values, strict=True))

    def rows_at(self, q: float, levels: dict[int, float]) -> MarkovRows:
        """Return the rows with these parameters."""
        prior: Any = dataclasses.replace(self.template.prior, q=q)  # type: ignore[type-var]
        if self._is_relative:
            return self.template.having(prior)
        return self.template.having(prior, self.template.variances(self.sd_at(levels)))

    def sd_at(self, levels: dict[int, float]) -> Array:
        """Return the noise of the rows as they were given."""
        if self._is_relative:
            return self.data.relative_sd
        return self.data.sd({**(self.model.noise or {}), **levels})

    @property
    def _is_relative(self) -> bool:
        """Whether the noise of all rows is relative to one level."""
        return self.free_scale and len(self.unknown_levels) == 1

    def loss(self, point: Array) -> tuple[float, Array]:
        """Return the criterion in nats at a point of logs, and its gradient."""
        if self.kind == "evidence" and self._only_q:
            value, slope = self._along_q(math.exp(float(point[0])))
            return value, np.array([slope])
        q, levels = self.parameters(np.asarray(point))
        if self.kind == "evidence":
            return self._evidence(q, levels)
        rows, sd = self.rows_at(q, levels), self.sd_at(levels)
        errors = errors_of(rows)[1]
        terms = self._terms(errors, sd)
        gradient = self._gradient(rows, errors, sd, terms)
        return terms.loss + self._by_prior(levels), gradient

    @cached_property
    def _line(self) -> Profile:
        """The filter of rows whose noise is fixed, as a function of q."""
        return Profile(self.rows_at(1.0, dict.fromkeys(self.unknown_levels, 1.0)))

    def _along_q(self, q: float) -> tuple[float, float]:
        """Return the evidence and its slope where q is all that is searched."""
        found, penalty, excess = self._line(q)
        loss, scale = self._restricted(found, {})
        self._scales[q] = scale
        return loss, 0.5 * (excess - penalty / scale)

    @cached_property
    def _scales(self) -> dict[float, float]:
        """The best squared common scales where q alone was searched."""
        return {}

    def scale(self, q: float, levels: dict[int, float]) -> float:
        """Return the best squared common scale at parameters relative to it."""
        if q in self._scales:
            return self._scales[q]
        rows = self.rows_at(q, levels)
        if self.kind == "evidence":
            found = rows.likelihood()
            return self._with_scale(0.0, found.chi, found.rank)[1]
        return self._terms(errors_of(rows)[1], self.sd_at(levels)).scale

    @cached_property
    def _floor(self) -> float:
        """What chi is by rounding alone where a polynomial leaves no more: then chi may be 0."""
        if not self.is_polynomial:
            return np.finfo(float).tiny
        sd = self.data.relative_sd
        random = sd > 0
        size = np.abs(self.data.y[random] / sd[random]).max(initial=0.0)
        return float((np.finfo(float).eps * size) ** 2 * random.sum()) or 1e-200

    @cached_property
    def is_polynomial(self) -> bool:
        """Whether a polynomial of degree below the order leaves rounding errors alone."""
        ones = dict.fromkeys(self.unknown_levels, 1.0)
        rows = self.rows_at(0.0, ones)
        rounding, y = 8 * self.model.order * np.finfo(float).eps, self.data.y
        alike = [(k, self.data.nu == k) for k in self.data.orders]
        largest: dict[Any, float] = {k: rounding * _size(y, same) for k, same in alike}
        if not _may_be_polynomial(rows, largest):
            return False
        if self.data.exact.any() and rows.filter(NO_GAINS, NO_STATES)[4] > 0:
            return False  # no polynomial meets the exact rows
        left = self.sd_at(ones) ** 2 * errors_of(rows, diagonal=False)[1].pull
        return all(_size(left, same) <= largest[k] for k, same in alike)

    @cached_property
    def _leveled(self) -> tuple[Array, Orders]:
        """The variances of the sorted rows where unknown levels are 1, and which level is theirs.

        The first is what is known, and those of `unknown_levels` follow.
        """
        ones = dict.fromkeys(self.unknown_levels, 1.0)
        which = np.zeros(len(self.data), dtype=np.int64)
        for k, order in enumerate(self.unknown_levels):
            which[self._is_unknown & (self.data.nu == order)] = k + 1
        sd = self.data.sd({**(self.model.noise or {}), **ones})
        return self.template.variances(sd), which[self.template.sorting]

    def _evidence(self, q: float, levels: dict[int, float]) -> tuple[float, Array]:
        """Return minus Harville's restricted likelihood; Fisher's identity for its gradient."""
        variance, which = self._leveled
        squares = np.array([1.0, *(levels[k] ** 2 for k in self.unknown_levels)])
        variance = variance * squares[which]
        prior: Any = dataclasses.replace(self.template.prior, q=q)  # type: ignore[type-var]
        found, errors = sorted_errors(self.template.having(prior, variance))
        loss, scale = self._restricted(found, levels)
        by_row = errors.diagonal - errors.pull**2 / scale
        by_row *= variance
        by_level = np.bincount(which, weights=by_row, minlength=len(squares))[1:]
        by_level -= bool(self._sharing)
        by_q = [] if self.model.q is not None else [0.5 * (errors.excess - errors.penalty / scale)]
        return loss, np.array([*by_q, *by_level[int(self.free_scale) :]])

    def _restricted(self, found: Likelihood, levels: dict[int, float]) -> tuple[float, float]:
        """Return minus Harville's restricted likelihood, and the best squared common scale.

        Less the log prior of levels that share the rows; that of the scale is a power of it.
        """
        loss = 0.5 * (found.logs + found.rank * math.log(2 * math.pi) - self._polynomials)
        loss += self._by_prior(levels)
        if not self.free_scale:
            return loss + 0.5 * found.chi, 1.0
        return self._with_scale(loss, found.chi, found.rank)

    def _with_scale(self, loss: float, chi: float, rank: int) -> tuple[float, float]:
        """Return a loss with that of the best squared scale of `rank` rows, and the scale."""
        powers = rank - self._sharing
        scale = (chi + self._floor) / max(powers, 1)
        return loss + 0.5 * powers * (1.0 + math.log(scale) if powers else 0.0), scale

    @cached_property
    def _sharing(self) -> int:
        """How many levels have a prior: all that are searched, or none."""
        return levels_sharing(self.model.noise, self.data, self.model.order)

    def _by_prior(self, levels: dict[int, float]) -> float:
        """Return minus the log prior of levels relative to the scale."""
        return -sum(math.log(level) for level in levels.values()) if self._sharing else 0.0

    def _collect(self, by_q: float, by_row: Array) -> Array:
        """Gather derivatives by log q, and by the log sd of each row, into those searched."""
        levels = self.unknown_levels[1:] if self.free_scale else self.unknown_levels
        out = [] if self.model.q is not None else [by_q]
        by_prior = float(bool(self._sharing))
        of = (self._is_unknown & (self.data.nu == k) for k in levels)
        out += [float(by_row[rows].sum()) - by_prior for rows in of]
        return np.array(out)

    def _terms(self, errors: Errors, sd: Array) -> Terms:
        if self.data.exact.all():
            raise UnsuitableError(
                f"criterion: {self.kind!r} weighs residuals, but every row is exact; use 'evidence'"
            )
        return self._gcv(errors, sd) if self.kind == "gcv" else self._loo(errors, sd)

    def _gcv(self, errors: Errors, sd: Array) -> Terms:
        """Return ``n / 2 log(n RSS / (n - edf)^2)``.

        RSS weighs squared residuals by the relative sizes of the noise, not by its level.
        """
        random = ~self.data.exact
        n = np.count_nonzero(random)
        R, unit = sd**2, self.sd_at(dict.fromkeys(self.unknown_levels, 1.0))
        chi, left = (
            float((R * errors.pull**2)[random].sum()),
            float((R * errors.diagonal)[random].sum()),
        )
        if not left > 0.0:
            return Terms(math.inf, np.zeros(len(R)), np.zeros(len(R)), 1.0)
        residual = np.divide(R * errors.pull, unit, out=np.zeros(len(R)), where=random)
        rss = float((residual**2).sum())
        size = np.abs(self.data.y[random] / unit[random]).max()
        rounding = (np.finfo(float).eps * size) ** 2 or 1e-200
        score = n * rss / left**2 + rounding
        share = np.divide(R, unit, out=np.zeros(len(R)), where=random)
        by_pull = n**2 / (left**2 * score) * share * residual
        by_diagonal = -n * (1.0 - rounding / score) / left * R
        loss = 0.5 * n * math.log(score)
        return Terms(loss, by_pull, by_diagonal, (chi + self._floor) / left)

    def _loo(self, errors: Errors, sd: Array) -> Terms:
        """Return minus the sum of leave-one-out log densities: ``N(u_i / P_ii; 0, 1 / P_ii)``."""
        use = self._is_supported(sd**2 * errors.diagonal)
        u, p = errors.pull[use], errors.diagonal[use]
        if not len(u):
            return Terms(math.inf, np.zeros(len(sd)), np.zeros(len(sd)), 1.0)
        n, chi, scale = len(u), float((u**2 / p).sum()), 1.0
        loss = 0.5 * n * math.log(2 * math.pi) - 0.5 * float(np.log(p).sum())
        if self.free_scale:
            loss, scale = self._with_scale(loss, chi, n)
        else:
            loss += 0.5 * chi
        by_pull, by_diagonal = np.zeros(len(sd)), np.zeros(len(sd))
        by_pull[use] = u / (p * scale)
        by_diagonal[use] = -0.5 * (u**2 / (p * scale) + 1.0) / p
        return Terms(loss, by_pull, by_diagonal, scale)

    def _is_supported(self, share: Array) -> NDArray[np.bool_]:
        """Tell which rows others say anything of: a share of 0 alone determines something.

        All shares of an order are small where its noise is.
        """
        out = np.zeros(len(share), dtype=bool)
        for k in self.data.orders:
            rows = self.data.nu == k
            most = min(1.0, share[rows].max()) if np.count_nonzero(rows) > 1 else 1.0
            out[rows] = share[rows] > 8 * np.finfo(float).eps * most
        return out

    def _gradient(self, rows: MarkovRows, errors: Errors, sd: Array, terms: Terms) -> Array:
        """Return the gradient from one pass for each of the two adjoints."""
        R = sd**2
        back = project(rows, terms.by_pull)
        square = spread(rows, terms.by_diagonal)
        by_row = -2.0 * R * (back * errors.pull + square)
        by_q = -float(back @ (self.data.y - R * errors.pull))
        by_q -= float(terms.by_diagonal @ errors.diagonal) - float(R @ square)
        return self._collect(by_q, by_row)


def _may_be_polynomial(rows: MarkovRows, largest: dict[Any, float]) -> bool:
    """Tell by the first rows whether a polynomial may leave no more than `largest` of any order.

    The best polynomial for them leaves less of them than that of all rows.
    """
    first = slice(len(rows.settled[0][1]) + _FIRST)
    y, variance, nu = rows.y[first], rows.variance[first], rows.nu[first]
    part = MarkovRows(rows.prior, rows.x[first], y, variance, nu, slice(None))
    random = variance > 0
    most = np.array([largest.get(k, 0.0) for k in range(rows.prior.dimension)]) / rows.prior.units
    bound = float((most[nu[random]] ** 2 / variance[random]).sum())
    found = part.filter(NO_GAINS, NO_STATES)
    return bool(found[0] <= _AMPLIFIED * bound) and found[4] == 0


def _size(values: Array, rows: NDArray[np.bool_]) -> float:
    """Return the largest absolute value of some rows."""
    most = values.max(where=rows, initial=-math.inf)
    return float(max(most, -values.min(where=rows, initial=math.inf)))


def spline_loss(model: SmoothingSpline, data: Observations, criterion: str) -> float:
    """Return the criterion of a model without unknowns."""
    if criterion == "evidence":
        rows = model.rows(data)
        return -log_evidence(rows, rows.likelihood())
    return Criterion(model, data, criterion).loss(np.empty(0))[0]
