"""MarkovRows: rows under a Markov prior, sorted, and the passes over them in O(n).

What both the smoothing spline and the Matern process need, in units of the data: likelihood,
smoothing errors, smoothed states, and the states and their covariances at other places.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from smoothderiv.statespace import _error_loops, _loops, _score_loops, _smooth_loops
from smoothderiv.statespace.priors import MarkovPrior, Steps

Array = NDArray[np.float64]
Orders = NDArray[np.int64]

_EVEN = 1e6  # ratio of noise variances, each of which costs rounding errors by its square root
NO_GAINS = (np.empty((0, 0)), np.empty(0), np.empty(0))  # what a filter need not fill
NO_STATES = (np.empty((0, 0)), np.empty((0, 0)))
_NO_ERRORS = (np.empty(0), np.empty(0))
_UNROLLED = 4  # state dimensions up to which loops are compiled for their dimension
_UNROLLED_BACK = 6  # and those of what the gradient needs


class Likelihood(NamedTuple):
    """What a filter says: ``log p = -(chi + logs + rank log(2 pi)) / 2``."""

    chi: float
    logs: float
    rank: int


class Errors(NamedTuple):
    """What a backward pass says, in the order of the rows given.

    ``pull = P y`` and ``diagonal = diag P``, so that residuals are ``sd**2 * pull`` and leverages
    ``1 - sd**2 * diagonal``; `penalty` is ``w' Q^-1 w`` summed over the smoothed noises w of all
    steps, and `excess` the effective number of parameters beyond the diffuse ones.
    """

    pull: Array
    diagonal: Array
    penalty: float
    excess: float


class Chain(NamedTuple):
    """Places in ascending order as a Markov chain given the data: see ``_loops.chain``.

    The state at each is ``basis c``; cov, transition and noise are those of c.
    """

    basis: Array
    cov: Array
    transition: Array
    noise: Array

    @property
    def links(self) -> tuple[Array, Array, Array]:
        """What the loops along a chain ask for."""
        return self.basis, self.cov, self.transition


def _room(n: int, dimension: int) -> tuple[Array, Array]:
    """Return arrays for the means and factors of n states."""
    return np.empty((n, dimension)), np.empty((n, dimension * (dimension + 1) // 2))


def _rolled(dimension: int) -> NDArray[np.int64]:
    return np.zeros(dimension, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class MarkovRows:
    """Rows ``y_i = D^nu_i f(x_i) + e_i`` sorted by x, under a Markov prior.

    Attributes
    ----------
    prior : MarkovPrior
    x : (n,) array
        Places, ascending.
    y, variance : (n,) arrays
        Observations and noise variances in units of the state component observed.
    nu : (n,) array
        The component that each row observes.
    sorting : (n,) array or slice
        Where each sorted row stood; a slice if rows were given in order.
    """

    prior: MarkovPrior
    x: Array
    y: Array
    variance: Array
    nu: Orders
    sorting: NDArray[np.intp] | slice

    @classmethod
    def of(
        cls,
        prior: MarkovPrior,
        x: Array,
        y: Array,
        sd: Array,
        nu: Orders,
        gaps: Array | None = None,
    ) -> MarkovRows:
        """Sort rows and scale them to the state's units.

        Rows that are sorted already may come with the distances from one to the next, 0 for the
        first.
        """
        in_order = gaps is not None or bool((x[1:] >= x[:-1]).all())
        sorting = slice(None) if in_order else np.argsort(x, kind="stable")
        if gaps is None:
            x, y, sd, nu = x[sorting], y[sorting], sd[sorting], np.array(nu[sorting])
        unit = prior.units[nu] if nu.any() else prior.units[0]
        variance = sd / unit
        variance *= variance
        out = cls(prior, x, y / unit, variance, nu, sorting)
        if gaps is not None:
            out.__dict__["steps"] = prior.steps(gaps, x)
        return out

    def having(self, prior: MarkovPrior, variance: Array | None = None) -> MarkovRows:
        """Return the same rows under another prior of the same units, with other noise.

        Its variances are those of the sorted rows, in units of the state.
        """
        variance = self.variance if variance is None else variance
        out = dataclasses.replace(self, prior=prior, variance=variance)
        out.__dict__["_plain"] = self._plain
        if prior.is_uniform and self.steps.transition is None:
            out.__dict__["steps"] = prior.steps(np.zeros(1))._replace(h=self.steps.h)
        return out

    def variances(self, sd: Array) -> Array:
        """Return the variances of the sorted rows, in units of the state, from (n,) as given."""
        unit = self.prior.units[self.nu] if self.nu.any() else self.prior.units[0]
        out = np.asarray(sd[self.sorting] / unit)
        out *= out
        return out

    def observing(self, y: Array) -> MarkovRows:
        """Return the same rows of other observations: (n,)."""
        out = dataclasses.replace(self, y=y[self.sorting] / self.prior.units[self.nu])
        out.__dict__["steps"] = self.steps
        return out

    @cached_property
    def steps(self) -> Steps:
        """The step before each row."""
        h = np.zeros(len(self.x))
        np.subtract(self.x[1:], self.x[:-1], out=h[1:])
        return self.prior.steps(h, self.x)

    @cached_property
    def _rows(self) -> tuple[Array, Array, Orders]:
        return self.y, self.variance, self.nu

    @cached_property
    def _settled(self) -> Any:
        return _loops.settle(self._rows, self.steps, self.prior.start())

    @property
    def _dims(self) -> Any:
        """What tells the loops their dimension: a tuple if they are compiled for it, unrolled."""
        d = self.prior.dimension
        return (0,) * d if d <= _UNROLLED else _rolled(d)

    @property
    def _is_even(self) -> bool:
        """Whether the noise of each order is even enough for full covariances to keep digits."""
        if not self.nu.any():
            return bool(self.variance.max() <= _EVEN * self.variance.min())
        parts = [self.variance[self.nu == k] for k in range(self.prior.dimension)]
        return all(part.max() <= _EVEN * part.min() for part in parts if len(part))

    @property
    def free(self) -> int:
        """How many diffuse state components the rows leave undetermined."""
        return int(self._settled[2][3])

    @property
    def _unit_logs(self) -> float:
        if not self.nu.any():
            return len(self.nu) * math.log(self.prior.units[0])
        return float(
            np.log(self.prior.units) @ np.bincount(self.nu, minlength=self.prior.dimension)
        )

    def likelihood(self) -> Likelihood:
        """Filter; return the (diffuse) likelihood of y in its own units."""
        return self._checked(self.filter(NO_GAINS, NO_STATES))

    def filter(self, gains: Any, states: Any) -> Array:
        """Filter; fill gains and states that have room, and return what ``_loops.forward`` does."""
        return np.asarray(
            _loops.forward(self._rows, self.steps, self._settled, gains, states, self._dims)
        )

    def _checked(self, found: Array) -> Likelihood:
        """Refuse contradictory exact rows."""
        if found[4] > 0:
            row = int(found[4]) - 1
            given = row if isinstance(self.sorting, slice) else int(self.sorting[row])
            raise ValueError(
                f"yerr: row {given} at x = {self.x[row]:g} is exact (yerr=0), but "
                "contradicts other exact rows; correct one of them or give it a positive yerr"
            )
        return Likelihood(float(found[0]), float(found[1]) + 2 * self._unit_logs, int(found[2]))

    @cached_property
    def _gains(self) -> tuple[Array, Array, Array, Likelihood]:
        n, d = len(self.y), self.prior.dimension
        gains = (np.empty((n, d)), np.empty(n), np.empty(n))
        return *gains, self._checked(self.filter(gains, NO_STATES))

    def errors(self, diagonal: bool = True) -> tuple[Likelihood, Errors]:
        """Filter and smooth backwards; return the likelihood and the smoothing errors.

        Without `diagonal` that of P is rough, which is quicker.
        """
        if diagonal and self.steps.transition is None:
            found, (pull, left, penalty, excess) = self.score()
        else:
            found, (pull, left, penalty, excess) = self._gains[3], self._errors()
        if self._plain:
            return found, Errors(pull, left, float(penalty), float(excess))
        unit = self.prior.units[self.nu]
        out = self._given(pull / unit), self._given(left / unit**2)
        return found, Errors(*out, float(penalty), float(excess))

    def leverages(self) -> tuple[Likelihood, Array]:
        """Return the likelihood and ``1 - sd**2 * diag P``, in the order given.

        Keep the filtered states, which `states` asks for.
        """
        n, d = len(self.y), self.prior.dimension
        self.__dict__["_filtered"] = mean, factor = _room(n, d)
        e, inverse = np.empty(n), np.empty(n)
        found = self._checked(self.filter((NO_STATES[0], e, inverse), (mean, factor)))
        self.__dict__["_factors"] = found, factor, e, inverse
        _, (_, left, _, _) = self.score()
        self.__dict__.pop("_factors")
        left *= self.variance
        np.subtract(1.0, left, out=left)
        return found, self._given(np.clip(left, 0.0, 1.0, out=left))

    def _errors(self) -> Errors:
        out = np.empty(len(self.y)), np.empty(len(self.y))
        found = _error_loops.errors(self._rows, self.steps, *self._gains[:3], out, self._dims)
        return Errors(*out, *found)

    def score(self) -> tuple[Likelihood, Errors]:
        """Do what `errors` does, of a Wiener process, for sorted rows in units of the state."""
        n, d = len(self.y), self.prior.dimension
        found, factor, e, inverse = self._factors
        out, state = (np.empty(n), np.empty(n)), np.zeros(d * d + d + 2)
        for span, before, dims in reversed(self._spans):
            _score_loops.score(
                self._rows, self.steps, before, (factor, e, inverse), out, state, span, dims
            )
        return found, Errors(*out, float(state[-2]), float(state[-1]))

    @cached_property
    def _factors(self) -> tuple[Likelihood, Array, Array, Array]:
        """The likelihood, and what a filter finds but for means."""
        n, d = len(self.y), self.prior.dimension
        e, inverse, factor = np.empty(n), np.empty(n), np.empty((n, d * (d + 1) // 2))
        found = self._checked(self.filter((NO_STATES[0], e, inverse), (NO_STATES[0], factor)))
        return found, factor, e, inverse

    @property
    def _spans(self) -> list[tuple[tuple[int, int], tuple[Array, Array | None], Any]]:
        """The first rows, and those whose loops are unrolled: span, state before, dims."""
        (U, E), diffuse, n = self.prior.start(), self._settled[0][5], len(self.y)
        start, infinite = pack(U), np.vstack((E, diffuse))[: len(diffuse)]
        first, d = len(diffuse), self.prior.dimension
        if d > _UNROLLED_BACK:
            return [((0, n), (start, infinite), _rolled(d))]
        return [((0, first), (start, infinite), _rolled(d)), ((first, n), (start, None), (0,) * d)]

    @cached_property
    def _plain(self) -> bool:
        """Whether sorted rows in units of the state are the rows as they were given."""
        ordered = isinstance(self.sorting, slice)
        return ordered and not self.nu.any() and self.prior.units[0] == 1.0

    def project(self, w: Array) -> Array:
        """Return ``P w`` for other data w: (n,)."""
        gain, _, inverse, _ = self._gains
        unit = self.prior.units[self.nu]
        d = _rolled(self.prior.dimension)
        found = _error_loops.project(
            w[self.sorting] / unit, self._rows, self.steps, gain, inverse, d
        )
        return self._given(found / unit)

    def spread(self, c: Array) -> Array:
        """Return ``diag(P diag(c) P)`` for weights c, 0 for exact rows: (n,)."""
        unit = self.prior.units[self.nu]
        scaled = c[self.sorting] / unit**2
        if self.steps.transition is not None:
            gain, _, inverse, _ = self._gains
            d = _rolled(self.prior.dimension)
            found = _error_loops.spread(scaled, self._rows, self.steps, gain, inverse, d)
        else:
            found = self._spread(scaled)
        return self._given(found / unit**2)

    def _spread(self, c: Array) -> Array:
        """Do it for a Wiener process."""
        n, d = len(self.y), self.prior.dimension
        _, factor, _, inverse = self._factors
        moment, state, out = np.empty_like(factor), np.zeros(d * d), np.empty(n)
        for span, before, dims in self._spans:
            _score_loops.spread_ahead(
                c, self._rows, self.steps, before, factor, moment, state, span, dims
            )
        state = np.zeros(2 * d * d)
        for span, before, dims in reversed(self._spans):
            _score_loops.spread_back(
                c, self._rows, self.steps, before, (factor, inverse), moment, out, state, span, dims
            )
        return out

    def _given(self, values: Array) -> Array:
        """Put values of sorted rows back in the order given."""
        if isinstance(self.sorting, slice):
            return values
        out = np.empty_like(values)
        out[self.sorting] = values
        return out

    def states(self) -> States:
        """Filter and smooth, once; return the states of all rows."""
        return self._states

    @cached_property
    def _filtered(self) -> tuple[Array, Array]:
        """Means and factors of the filtered states."""
        states = _room(len(self.y), self.prior.dimension)
        self.filter(NO_GAINS, states)
        return states

    @cached_property
    def _states(self) -> States:
        mean, factor = self._filtered
        n, d = mean.shape
        smoothed, spread = np.empty_like(mean), np.empty_like(factor)
        beside = np.empty_like(mean) if self.steps.transition is not None else np.empty((0, 0))
        diffuse = np.array(self._settled[0][5])
        quick = isinstance(self._dims, tuple) and self.prior.is_uniform
        if quick and self.steps.transition is None and self._is_even:  # full covariances
            rest = min(len(diffuse), n - 1)
            _smooth_loops.smooth(
                mean, factor, rest, self._rows, self.steps, smoothed, spread, self._dims
            )
        else:
            rest = n - 1
            smoothed[-1], spread[-1] = mean[-1], known(factor[-1])
        beyond = smoothed[rest : rest + 1] - mean[rest : rest + 1]
        _loops.look_back(
            mean[:rest], factor[:rest], diffuse, self.steps, self._rows, beyond, smoothed, spread,
            beside, 1, _rolled(d),
        )  # fmt: skip
        if len(beside):
            beside[-1] = 0.0
        return States(self, mean, factor, diffuse, smoothed, spread, beside)


class Profile:
    """What rows of fixed noise say as a function of q of their Wiener prior, with little ado."""

    def __init__(self, rows: MarkovRows) -> None:
        self._rows, self._start = rows, rows.prior.start()
        self._weight = rows.steps.weight / rows.prior.diffusion
        n, d = len(rows.y), rows.prior.dimension
        self._gains = np.empty((n, d)), np.empty(n), np.empty(n)
        self._logs, self._dims = 2 * rows._unit_logs, rows._dims

    def __call__(self, q: float) -> tuple[Likelihood, float, float]:
        """Return the likelihood, and `penalty` and `excess` of :class:`Errors`."""
        steps, rows = self._rows.steps._replace(weight=q * self._weight), self._rows._rows
        settled = _loops.settle(rows, steps, self._start)
        found = _loops.forward(rows, steps, settled, self._gains, NO_STATES, self._dims)
        if found[4] > 0:
            self._rows._checked(found)
        chi, logs, rank = found[:3].tolist()
        found = _error_loops.errors(rows, steps, *self._gains, _NO_ERRORS, self._dims)
        return Likelihood(chi, logs + self._logs, int(rank)), *found


@dataclass(frozen=True, eq=False)
class States:
    """Filtered and smoothed states of sorted rows, and from them the state anywhere.

    A state is ``U c``, U the unit upper triangle of `factor` (packed, see ``_loops``) and c its
    coordinates, which given the rows so far are independent, of means `mean` and variances on the
    diagonal of `factor`. Given all rows their means are `smoothed` and their factor is `spread`.
    Unless the prior is a Wiener process, `beside` (n, d) is ``smoothed - mean`` with more digits
    than the difference.
    """

    rows: MarkovRows
    mean: Array
    factor: Array
    diffuse: Array
    smoothed: Array
    spread: Array
    beside: Array

    def means(self, rows: NDArray[np.intp]) -> Array:
        """Return the smoothed states of some rows: (m, d)."""
        return multiplied(self.factor[rows], self.smoothed[rows])

    def seen(self) -> Array:
        """Return the smoothed component that each row observes: (n,)."""
        nu, every = self.rows.nu, np.arange(len(self.mean))
        out = self.smoothed[every, nu]
        for k in range(1, self.mean.shape[1]):
            below = np.flatnonzero(nu < k)
            out[below] += self.factor[below, k * (k + 1) // 2 + nu[below]] * self.smoothed[below, k]
        return out

    def noises(self, k: NDArray[np.intp]) -> Array:
        """Return the smoothed noise of the steps after rows k, along the Wiener factor: (m, d)."""
        rows, after = self.rows, k + 1
        mean, factor, E = self.mean[k], self.factor[k], np.zeros((len(k), self.mean.shape[1]))
        early = k < len(self.diffuse)
        E[early] = self.diffuse[k[early]]
        smoothed, spread, out = self.smoothed[after], self.spread[after], np.empty_like(mean)
        weight = rows.steps.weight if rows.prior.is_uniform else rows.steps.weight[after]
        steps = rows.steps._replace(h=rows.steps.h[after], weight=weight)
        later = (rows.y[after], rows.variance[after], rows.nu[after])
        beyond, d = smoothed - self.mean[after], _rolled(self.mean.shape[1])
        _loops.look_back(mean, factor, E, steps, later, beyond, smoothed, spread, out, 0, d)
        return out

    def _filtered(self, x: Array) -> tuple[NDArray[np.intp], Array, Array, Array]:
        """Return the row before each place, and the state given the rows up to there."""
        prior, rows = self.rows.prior, self.rows
        k = np.searchsorted(rows.x, x, side="right") - 1
        mean, factor = self.mean[k], self.factor[k]
        E = np.zeros_like(mean)
        known = (k >= 0) & (k < len(self.diffuse))
        E[known] = self.diffuse[k[known]]
        before = k < 0
        if before.any():
            mean[before], E[before] = 0.0, prior.start()[1]
            factor[before] = pack(prior.earlier(rows.x[0] - x[before]))
        h = np.where(before, 0.0, x - rows.x[k])
        _loops.predict(mean, factor, E, prior.steps(h, x), _rolled(prior.dimension))
        return k, mean, factor, E

    def at(self, x: Array) -> tuple[Array, Array]:
        """Return smoothed means (m, d) and packed factors of the state at places x, O(1) each.

        Between rows: the filtered state before, conditioned on the smoothed one after.
        """
        k = np.searchsorted(self.rows.x, x, side="right") - 1
        mean, factor, spread = self.smoothed[k], self.factor[k], self.spread[k]
        off = (k < 0) | (x != self.rows.x[k])
        if off.any():
            mean[off], factor[off], spread[off] = self._between(x[off])
        _loops.express(mean, factor, spread)
        return mean, spread

    def _between(self, x: Array) -> tuple[Array, Array, Array]:
        """Return coordinates given all rows, the basis, and the factor of the coordinates."""
        rows = self.rows
        k, mean, factor, E = self._filtered(x)
        last = k == len(rows.x) - 1
        after = np.where(last, k, k + 1)
        smoothed, spread = self.smoothed[after], self.spread[after]
        steps = rows.prior.steps(np.where(last, 0.0, rows.x[after] - x), rows.x[after])
        later = (rows.y[after], rows.variance[after], np.where(last, -1, rows.nu[after]))
        d, none = _rolled(rows.prior.dimension), np.empty((0, 0))
        beyond = smoothed - self.mean[after] if steps.transition is None else self.beside[after]
        _loops.look_back(mean, factor, E, steps, later, beyond, smoothed, spread, none, 0, d)
        smoothed[last], spread[last] = mean[last], known(factor[last])
        return smoothed, factor, spread

    def chain(self, x: Array) -> Chain:
        """Return the places x, ascending and distinct, as a Markov chain given all data.

        O(rows between the first and the last place).
        """
        rows, n, m = self.rows, len(self.rows.x), len(x)
        k, mean, factor, E = self._filtered(x)
        end = min(k[-1] + 2, n)
        used = np.arange(k[0] + 1, end)
        places = np.concatenate((rows.x[used], x))
        order = np.argsort(places, kind="stable")
        row_E = np.zeros((len(used), mean.shape[1]))
        early = used < len(self.diffuse)
        row_E[early] = self.diffuse[used[early]]
        means = np.concatenate((self.mean[used], mean))[order]
        factors = np.concatenate((self.factor[used], factor))[order]
        y = np.concatenate((rows.y[used], np.zeros(m)))[order]
        nu = np.concatenate((rows.nu[used], np.full(m, -1)))[order]
        variance = np.concatenate((rows.variance[used], np.zeros(m)))[order]
        last = self.spread[end - 1] if k[-1] < n - 1 else known(factor[-1])
        steps = rows.prior.steps(np.diff(places[order], prepend=places[order[0]]), places[order])
        infinite = np.concatenate((row_E, E))[order]
        found = _loops.chain(
            means, factors, infinite, steps, (y, variance, nu), last, order >= len(used),
            _rolled(rows.prior.dimension),
        )  # fmt: skip
        return Chain(found[0], covariances(found[1]), found[2], found[3])


def known(factor: Array) -> Array:
    """Return the factor of coordinates of which nothing more is known than the filter says."""
    d = _dimension(np.atleast_2d(factor))
    out, diagonal = np.zeros_like(factor), np.arange(d) * (np.arange(d) + 3) // 2
    out[..., diagonal] = factor[..., diagonal]
    return out


def pack(square: Array) -> Array:
    """Pack the upper triangle of (.., d, d) by columns."""
    rows, columns = _upper(square.shape[-1])
    return np.asarray(square[..., rows, columns])


def diagonal(factor: Array, component: Orders) -> Array:
    """Return the variance of one component each from packed factors ``U diag(D) U'``: (m,)."""
    d = _dimension(factor)
    out = np.zeros(len(factor))
    for j in range(d):
        D = factor[:, j * (j + 3) // 2]
        rows = component < j
        U = factor[np.flatnonzero(rows), j * (j + 1) // 2 + component[rows]]
        out[rows] += U * U * D[rows]
        out[component == j] += D[component == j]
    return out


def covariances(factor: Array) -> Array:
    """Return ``U diag(D) U'`` from packed factors: (m, d, d)."""
    U, D = _unpacked(factor)
    return np.asarray((U * D[:, None, :]) @ np.swapaxes(U, 1, 2))


class Askable(Protocol):
    """What says states at places."""

    def at(self, x: Array) -> tuple[Array, Array]:
        """Return what :meth:`States.at` does."""


def joint(states: Askable, prior: MarkovPrior, x: Array, orders: Orders) -> Array:
    """Return the covariance of several derivatives at each place: (n, P, P).

    Orders at and above the dimension of the state do not exist, and get 0.
    """
    below = orders < prior.dimension
    unit = np.where(below, prior.units[np.where(below, orders, 0)], 0.0)
    here = np.where(below, orders, 0)
    _, factor = states.at(x)
    return np.asarray(covariances(factor)[:, here[:, None], here] * unit[:, None] * unit)


def multiplied(factor: Array, mean: Array) -> Array:
    """Return the means ``U mean`` of states from their coordinates: (m, d)."""
    U, _ = _unpacked(factor)
    return np.asarray((U @ mean[:, :, None])[:, :, 0])


def _unpacked(factor: Array) -> tuple[Array, Array]:
    """Return U (m, d, d) and D (m, d) from packed factors."""
    d = _dimension(factor)
    U = np.zeros((len(factor), d, d))
    rows, columns = _upper(d)
    U[:, rows, columns] = factor
    D = U[:, np.arange(d), np.arange(d)].copy()
    U[:, np.arange(d), np.arange(d)] = 1.0
    return U, D


def _dimension(factor: Array) -> int:
    return (math.isqrt(8 * factor.shape[1] + 1) - 1) // 2


def _upper(d: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the upper triangle, by columns."""
    columns, rows = np.tril_indices(d)
    return rows, columns
