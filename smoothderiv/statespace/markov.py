"""MarkovRows: rows under a Markov prior, sorted, and the filter that says their likelihood in O(n).

Passes back over them are in :mod:`~smoothderiv.statespace.backward`, and the states that these
leave in :mod:`~smoothderiv.statespace.kept`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv.model import ContradictionError
from smoothderiv.statespace import _loops
from smoothderiv.statespace.priors import MarkovPrior, Steps
from smoothderiv.statespace.states import NO_GAINS, NO_STATES, States, rolled, slices

if TYPE_CHECKING:
    from smoothderiv.statespace.nearby import Marks

Array = NDArray[np.float64]
Orders = NDArray[np.int64]

_EVEN = 1e6  # ratio of noise variances, each of which costs rounding errors by its square root
_UNROLLED = 4  # state dimensions up to which loops are compiled for their dimension
_MANY, _MANY_WIENER = 50_000, 200_000  # rows of which not all states are kept until asked for
_LONG = 2_000_000  # and of which they never are all kept
_AT_ONCE = 65_536  # rows whose steps are made at a time, where they are not dense
_ALL = slice(None)


class Likelihood(NamedTuple):
    """What a filter says: ``log p = -(chi + logs + rank log(2 pi)) / 2``."""

    chi: float
    logs: float
    rank: int


@dataclass(eq=False)
class Kept:
    """What passes over rows leave for later questions, None until then.

    The filtered states of all rows, or marks of many rows; the states of all rows; the places asked
    about last, and the states about them. See :mod:`smoothderiv.statespace.kept`.
    """

    filtered: tuple[Array, Array] | None = None
    marks: Marks | None = None
    states: States | None = None
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
    kept : Kept
        What passes over them have left.
    """

    prior: MarkovPrior
    x: Array
    y: Array
    variance: Array
    nu: Orders
    sorting: NDArray[np.intp] | slice
    given_steps: Steps | None = field(default=None, repr=False)
    kept: Kept = field(default_factory=Kept, init=False, repr=False)

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
        out = np.asarray(sd[self.sorting] / self.row_units)
        out *= out
        return out

    def observing(self, y: Array) -> MarkovRows:
        """Return the same rows of other observations: (n,)."""
        y = y[self.sorting] / self.prior.units[self.nu]
        return dataclasses.replace(self, y=y, given_steps=self.steps)

    def part(self, rows: NDArray[np.intp]) -> MarkovRows:
        """Return some of the rows, ascending, with the steps before them."""
        y, variance, nu = self.columns(rows)
        steps = self.steps_of(rows)
        return MarkovRows(self.prior, self.x[rows], y, variance, nu, slice(None), steps)

    def columns(self, part: Any = _ALL) -> tuple[Array, Array, Orders]:
        """Return what loops see of the rows, or of some: observations, variances, components."""
        return self.y[part], self.variance[part], self.nu[part]

    def as_given(self, values: Array) -> Array:
        """Put values of sorted rows back in the order given."""
        if isinstance(self.sorting, slice):
            return values
        out = np.empty_like(values)
        out[self.sorting] = values
        return out

    @cached_property
    def is_plain(self) -> bool:
        """Whether sorted rows in units of the state are the rows as they were given."""
        ordered = isinstance(self.sorting, slice)
        return ordered and not self.nu.any() and self.prior.units[0] == 1.0

    @property
    def row_units(self) -> Any:
        """The unit of what each sorted row observes: (n,), or one."""
        return self.prior.units[self.nu] if self.nu.any() else self.prior.units[0]

    @property
    def unit_logs(self) -> float:
        """The sum of the logarithms of the units of the rows."""
        if not self.nu.any():
            return len(self.nu) * math.log(self.prior.units[0])
        return float(
            np.log(self.prior.units) @ np.bincount(self.nu, minlength=self.prior.dimension)
        )

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

    def steps_of(self, part: Any) -> Steps:
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

    @cached_property
    def is_dense(self) -> bool:
        """Whether steps are matrices."""
        return self.prior.steps(np.zeros(1), self.x[:1]).transition is not None

    @cached_property
    def is_quick(self) -> bool:
        """Whether full covariances of smoothed states are accurate, and their loops unrolled."""
        unrolled = isinstance(self.dims, tuple) and self.prior.is_uniform
        return unrolled and not self.is_dense and self._is_even

    @property
    def dims(self) -> Any:
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
    def has_many(self) -> bool:
        """Whether not all states are kept until many places are asked about."""
        return len(self.y) >= (_MANY if self.is_dense else _MANY_WIENER)

    @property
    def has_most(self) -> bool:
        """Whether they never are all kept."""
        return len(self.y) >= _LONG

    @cached_property
    def settled(self) -> Any:
        """What the first rows make of a diffuse start; see ``_loops.settle``."""
        return _loops.settle(self.columns(), self.steps, self.prior.start())

    @property
    def diffuse(self) -> Array:
        """What the first rows leave infinite, by coordinate: (m, d)."""
        if not self.prior.diffuse:
            return np.empty((0, self.prior.dimension))
        return np.array(self.settled[0][5])

    @property
    def free(self) -> int:
        """How many diffuse state components the rows leave undetermined."""
        return int(self.settled[2][3])

    def likelihood(self) -> Likelihood:
        """Filter; return the (diffuse) likelihood of y in its own units."""
        return self.checked(self.filter(NO_GAINS, NO_STATES))

    def filter(self, gains: Any, states: Any, part: slice = _ALL, settled: Any = None) -> Array:
        """Filter; fill gains and states that have room, and return what ``_loops.forward`` does.

        A part of the rows goes on from what was settled before it.
        """
        data, steps = self.columns(part), self.steps.of(part)
        settled = settled or self.settled
        return np.asarray(_loops.forward(data, steps, settled, gains, states, self.dims))

    def checked(self, found: Array) -> Likelihood:
        """Return what a filter found; refuse contradictory exact rows."""
        if found[4] > 0:
            row = int(found[4]) - 1
            given = row if isinstance(self.sorting, slice) else int(self.sorting[row])
            raise ContradictionError(
                f"yerr: row {given} at x = {self.x[row]:g} is exact (yerr=0), but "
                "contradicts other exact rows; correct one of them or give it a positive yerr"
            )
        return Likelihood(float(found[0]), float(found[1]) + 2 * self.unit_logs, int(found[2]))

    @cached_property
    def gains(self) -> tuple[Array, Array, Array, Likelihood]:
        """What a filter finds to go back by: gain, innovation and its inverse variance; and L."""
        n, d = len(self.y), self.prior.dimension
        gains = (np.empty((n, d)), np.empty(n), np.empty(n))
        return *gains, self.checked(self.filter(gains, NO_STATES))

    @cached_property
    def factors(self) -> tuple[Likelihood, Array, Array, Array]:
        """The likelihood, and what a filter finds but for means."""
        n, d = len(self.y), self.prior.dimension
        e, inverse, factor = np.empty(n), np.empty(n), np.empty((n, d * (d + 1) // 2))
        found = self.checked(self.filter((NO_STATES[0], e, inverse), (NO_STATES[0], factor)))
        return found, factor, e, inverse
