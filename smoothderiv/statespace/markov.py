"""MarkovRows: rows under a Markov prior, sorted, and the passes over them in O(n).

What both the smoothing spline and the Matern process need, in units of the data: likelihood,
smoothing errors, smoothed states, and the states and their covariances at other places.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv.model import ContradictionError
from smoothderiv.statespace import _error_loops, _loops, _score_loops, _smooth_loops, nearby
from smoothderiv.statespace.priors import MarkovPrior, Steps
from smoothderiv.statespace.states import (
    NO_GAINS,
    NO_STATES,
    States,
    known,
    pack,
    rolled,
    room,
    slices,
)

Array = NDArray[np.float64]
Orders = NDArray[np.int64]

_EVEN = 1e6  # ratio of noise variances, each of which costs rounding errors by its square root
NO_MARKS = (np.empty((0, 0)), np.empty((0, 0, 0)))
_UNROLLED = 4  # state dimensions up to which loops are compiled for their dimension
_UNROLLED_BACK = 6  # and those of what the gradient needs
_MANY, _MANY_WIENER = 50_000, 200_000  # rows of which not all states are kept until asked for
_LONG = 2_000_000  # and of which they never are all kept
_FEW = 8  # rows for each place of which not all states are found
_AT_ONCE = 65_536  # rows whose steps are made at a time, where they are not dense
_ALL = slice(None)


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


@dataclass
class _Kept:
    """What passes over rows leave for later questions, None until then.

    The filtered states of all rows, or marks of many rows; the places asked about last, and the
    states about them.
    """

    filtered: tuple[Array, Array] | None = None
    marks: nearby.Marks | None = None
    asked: tuple[Array, States] | None = None


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
    given_steps : Steps or None
        The step before each row where it is known already; None: as `x` and the prior say.
    """

    prior: MarkovPrior
    x: Array
    y: Array
    variance: Array
    nu: Orders
    sorting: NDArray[np.intp] | slice
    given_steps: Steps | None = field(default=None, repr=False)
    _kept: _Kept = field(default_factory=_Kept, init=False, repr=False)

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
        steps = None if gaps is None else prior.steps(gaps, x)
        return cls(prior, x, y / unit, variance, nu, sorting, steps)

    def having(self, prior: MarkovPrior, variance: Array | None = None) -> MarkovRows:
        """Return the same rows under another prior of the same units, with other noise.

        Its variances are those of the sorted rows, in units of the state.
        """
        variance = self.variance if variance is None else variance
        steps = None
        if prior.is_uniform and self.steps.transition is None:
            steps = prior.steps(np.zeros(1))._replace(h=self.steps.h)
        return dataclasses.replace(self, prior=prior, variance=variance, given_steps=steps)

    def variances(self, sd: Array) -> Array:
        """Return the variances of the sorted rows, in units of the state, from (n,) as given."""
        out = np.asarray(sd[self.sorting] / self._row_units)
        out *= out
        return out

    def observing(self, y: Array) -> MarkovRows:
        """Return the same rows of other observations: (n,)."""
        y = y[self.sorting] / self.prior.units[self.nu]
        return dataclasses.replace(self, y=y, given_steps=self.steps)

    @cached_property
    def steps(self) -> Steps:
        """The step before each row."""
        if self.given_steps is not None:
            return self.given_steps
        n = len(self.x)
        if n <= _AT_ONCE or self.is_dense:
            return self._made(slice(0, n))
        first = self._made(slice(0, 2))
        weight = first.weight if len(first.weight) == 1 else np.empty((n, self.prior.dimension))
        out = first._replace(h=np.empty(n), weight=weight)
        for part in slices(n, _AT_ONCE):
            made = self._made(part)
            out.h[part] = made.h
            if len(weight) > 1:
                weight[part] = made.weight
        return out

    @cached_property
    def _rows(self) -> tuple[Array, Array, Orders]:
        return self.y, self.variance, self.nu

    @cached_property
    def _settled(self) -> Any:
        return _loops.settle(self._rows, self.steps, self.prior.start())

    @property
    def diffuse(self) -> Array:
        """What the first rows leave infinite, by coordinate: (m, d)."""
        if not self.prior.diffuse:
            return np.empty((0, self.prior.dimension))
        return np.array(self._settled[0][5])

    @cached_property
    def is_dense(self) -> bool:
        """Whether steps are matrices."""
        return self.prior.steps(np.zeros(1), self.x[:1]).transition is not None

    @cached_property
    def is_quick(self) -> bool:
        """Whether full covariances of smoothed states are accurate, and their loops unrolled."""
        unrolled = isinstance(self._dims, tuple) and self.prior.is_uniform
        return unrolled and not self.is_dense and self._is_even

    @property
    def _dims(self) -> Any:
        """What tells the loops their dimension: a tuple if they are compiled for it, unrolled."""
        d = self.prior.dimension
        return (0,) * d if d <= _UNROLLED else rolled(d)

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

    def filter(self, gains: Any, states: Any, part: slice = _ALL, settled: Any = None) -> Array:
        """Filter; fill gains and states that have room, and return what ``_loops.forward`` does.

        A part of the rows goes on from what was settled before it.
        """
        data, steps = self._columns(part), self.steps.of(part)
        settled = settled or self._settled
        return np.asarray(_loops.forward(data, steps, settled, gains, states, self._dims))

    def _checked(self, found: Array) -> Likelihood:
        """Refuse contradictory exact rows."""
        if found[4] > 0:
            row = int(found[4]) - 1
            given = row if isinstance(self.sorting, slice) else int(self.sorting[row])
            raise ContradictionError(
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
            found, errors = self.score()
        else:
            found, errors = self._gains[3], self._errors()
        return found, self._as_given(errors)

    def _as_given(self, errors: Errors) -> Errors:
        """Turn what sorted rows say in units of the state into what was asked."""
        if self._plain:
            return errors
        pull, unit = errors.pull / self._row_units, self._row_units**2
        return errors._replace(pull=self._given(pull), diagonal=self._given(errors.diagonal / unit))

    @property
    def _row_units(self) -> Any:
        """The unit of what each sorted row observes: (n,), or one."""
        return self.prior.units[self.nu] if self.nu.any() else self.prior.units[0]

    def conditioned(self) -> tuple[Likelihood, Errors]:
        """Do what `errors` does, once, and keep what `about` asks for."""
        found, errors = self._marked()
        return found, self._as_given(errors)

    def leverages(self) -> tuple[Likelihood, Array, Array]:
        """Do so, and return the likelihood, P y, and ``1 - sd**2 * diag P``, in the order given."""
        found, (pull, left, _, _) = self._marked()
        for part in slices(len(left), _AT_ONCE):
            own = left[part]
            own *= self.variance[part]
            np.clip(np.subtract(1.0, own, out=own), 0.0, 1.0, out=own)
        pull = pull if self._plain else pull / self._row_units
        return found, self._given(pull), self._given(left)

    def _errors(self) -> Errors:
        out = np.empty(len(self.y)), np.empty(len(self.y)), *NO_MARKS
        found = _error_loops.errors(
            self._rows, self.steps, *self._gains[:3], out, self._nothing_later, self._dims
        )
        return Errors(*out[:2], *found)

    @property
    def _nothing_later(self) -> Array:
        """What no rows say of a state: r and N."""
        d = self.prior.dimension
        return np.zeros(d + d * d)

    def score(self) -> tuple[Likelihood, Errors]:
        """Do what `errors` does, of a Wiener process, for sorted rows in units of the state."""
        found, *filtered = self._factors
        return found, self._score(filtered, (np.empty_like(self.y), np.empty_like(self.y)))

    def _score(self, filtered: Any, out: tuple[Array, Array], marks: Any = NO_MARKS) -> Errors:
        """Go back over what a filter found, (packed factor, innovation, inverse)."""
        d = self.prior.dimension
        state = np.zeros(d * d + d + 2)
        for span, before, dims in reversed(self._spans):
            _score_loops.score(
                self._rows, self.steps, before, tuple(filtered), (*out, *marks), state, span, dims
            )
        return Errors(*out, float(state[-2]), float(state[-1]))

    def _marked(self) -> tuple[Likelihood, Errors]:
        """Do what `errors` does, for sorted rows in units of the state, in little memory.

        Of few rows all filtered states are kept; of many, those of marked rows and what later rows
        say of them.
        """
        n, d, many = len(self.y), self.prior.dimension, self.has_many
        k = n // _loops.APART if many else 0
        states, later = room(k if many else n, d), (np.empty((k, d)), np.empty((k, d, d)))
        if self.is_dense:
            summary, out = nearby.mark_dense(self, states, later)
            found, errors = self._checked(summary), Errors(*out)
        else:
            found, errors = self._mark_wiener(states, later)
        if many:
            self._kept.marks = nearby.Marks(*states, *later)
        else:
            self._kept.filtered = states
        return found, errors

    def _mark_wiener(self, states: Any, later: Any) -> tuple[Likelihood, Errors]:
        n, (mean, marked) = len(self.y), states
        e, inverse, factor = np.empty(n), np.empty(n), marked
        if self.has_many:
            factor = np.empty((n, marked.shape[1]))
        found = self._checked(self.filter((NO_STATES[0], e, inverse), (mean, factor)))
        errors = self._score((factor, e, inverse), (e, inverse), later)  # written over them
        if self.has_many:
            marked[:] = factor[_loops.APART - 1 :: _loops.APART]
        return found, errors

    def _steps_of(self, part: Any) -> Steps:
        """Return the steps before some rows, in order."""
        known = self.given_steps is not None or "steps" in self.__dict__
        if known or not self.is_dense:
            return self.steps.of(part)
        return self._made(part)

    def _made(self, part: Any) -> Steps:
        """Make the steps before some rows, in order."""
        x = self.x[part]
        if not isinstance(part, slice):
            return self.prior.steps(x - self.x[np.maximum(part - 1, 0)], x)
        return self.prior.steps(self.gaps(part), x)

    def gaps(self, part: slice) -> Array:
        """Return the distances to some rows from those before, 0 for the first of all: (m,)."""
        x = self.x[part]
        h = np.empty(len(x))
        np.subtract(x[1:], x[:-1], out=h[1:])
        h[:1] = x[:1] - self.x[max(part.start - 1, 0)]
        return h

    def _columns(self, part: Any) -> tuple[Array, Array, Orders]:
        return self.y[part], self.variance[part], self.nu[part]

    @property
    def has_many(self) -> bool:
        """Whether not all states are kept until many places are asked about."""
        return len(self.y) >= (_MANY if self.is_dense else _MANY_WIENER)

    @property
    def has_most(self) -> bool:
        """Whether they never are all kept."""
        return len(self.y) >= _LONG

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
            return [((0, n), (start, infinite), rolled(d))]
        return [((0, first), (start, infinite), rolled(d)), ((first, n), (start, None), (0,) * d)]

    @cached_property
    def _plain(self) -> bool:
        """Whether sorted rows in units of the state are the rows as they were given."""
        ordered = isinstance(self.sorting, slice)
        return ordered and not self.nu.any() and self.prior.units[0] == 1.0

    def project(self, w: Array) -> Array:
        """Return ``P w`` for other data w: (n,)."""
        gain, _, inverse, _ = self._gains
        unit = self.prior.units[self.nu]
        d = rolled(self.prior.dimension)
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
            d = rolled(self.prior.dimension)
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

    def about(self, x: Array) -> States:
        """Return the states of the rows about places x: of all rows, if that is quicker."""
        if not self.has_many or "_states" in self.__dict__:
            return self._states
        x = x if len(x) else self.x[:1]
        asked = self._kept.asked  # once, as other threads may ask elsewhere
        if asked is not None and np.array_equal(asked[0], x):
            return asked[1]
        found = nearby.states_about(self, self._marks, x)
        if found is None:
            return self._states
        self._kept.asked = x.copy(), found
        return found

    def prepare(self, places: int) -> None:
        """Find the states of all rows if so many places are asked about, and they are not long."""
        if len(self.y) < min(_LONG, _FEW * places):
            self.states()

    @property
    def _marks(self) -> nearby.Marks:
        if self._kept.marks is None:
            self._marked()
        assert self._kept.marks is not None
        return self._kept.marks

    def part(self, rows: NDArray[np.intp]) -> MarkovRows:
        """Return some of the rows, ascending, with the steps before them."""
        y, variance, nu = self._columns(rows)
        steps = self._steps_of(rows)
        return MarkovRows(self.prior, self.x[rows], y, variance, nu, slice(None), steps)

    @property
    def _filtered(self) -> tuple[Array, Array]:
        """Means and factors of the filtered states."""
        if self._kept.filtered is None:
            states = room(len(self.y), self.prior.dimension)
            self.filter(NO_GAINS, states)
            self._kept.filtered = states
        return self._kept.filtered

    @cached_property
    def _states(self) -> States:
        mean, factor = self._filtered
        (smoothed, spread), diffuse = room(*mean.shape), self.diffuse
        beside = np.empty(mean.shape if self.is_dense else (0, 0))
        smoothed[-1], spread[-1] = mean[-1], known(factor[-1])
        found = smoothed, spread, beside
        beyond = np.zeros_like(mean[:1])
        self.smooth(_ALL, (mean, factor), diffuse, beyond, found, self.is_quick)
        return States(self, mean, factor, diffuse, smoothed, spread, beside)

    def smooth(
        self, part: slice, filtered: Any, diffuse: Array, beyond: Array, found: Any, quick: bool
    ) -> None:
        """Smooth a part of the rows backwards from its last, of which all is known already.

        filtered is (mean, factor), `diffuse` and found (smoothed, spread, beside) as in
        :class:`States`, the latter to be filled; `beyond` (1, d) is what the last mean is beyond
        the filtered one. With `quick` covariances are full.
        """
        (mean, factor), (smoothed, spread, beside) = filtered, found
        data, steps = self._columns(part), self.steps.of(part)
        rest = len(mean) - 1
        if len(beside):
            beside[-1] = beyond[0]
        if quick:
            rest = min(len(diffuse), rest)
            _smooth_loops.smooth(mean, factor, rest, data, steps, smoothed, spread, self._dims)
            beyond = smoothed[rest : rest + 1] - mean[rest : rest + 1]
        _loops.look_back(
            mean[:rest], factor[:rest], diffuse, steps, data, beyond, smoothed, spread, beside, 1,
            rolled(mean.shape[1]),
        )  # fmt: skip
