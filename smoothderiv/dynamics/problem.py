"""Problem: samples, input and terms, validated once and made free of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv import _validate
from smoothderiv._validate import said
from smoothderiv._warn import held
from smoothderiv.dynamics.terms import Function, Term, expected_sign, parse
from smoothderiv.observations import Observations, observe
from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]

_OWN: Any = object()
_EVEN = 1e-6  # how much of a step an even sampling may jitter


@dataclass(frozen=True, eq=False)
class Problem:
    """What every method sees: times, samples and inputs in units of their own.

    Attributes
    ----------
    order : int
    terms : tuple of Term
    data : Observations
        All that was observed, as given.
    given : Posterior or None
        The curve, where x was given as a posterior.
    t : (n,) array
        Times of x and u, ascending, from 0 to 1.
    x : (n,) array
        Samples, in units of `size` from `shift`; NaN where missing.
    u : (n, m) array
        Inputs in units of `inputs`, held from each time to the next.
    raw : array
        The inputs as they were given, sorted by time; None without.
    start, span, shift, size : float
        ``time = start + span t``, ``x = shift + size x``.
    inputs : (m,) array
    sorting : (n,) array of int
        Which of the times as they were given each of `t` is.
    extra : bool
        Whether `data` hold more than the samples of x.
    """

    order: int
    terms: tuple[Term, ...]
    data: Observations
    given: Posterior | None
    t: Array
    x: Array
    u: Array
    raw: Any
    start: float
    span: float
    shift: float
    size: float
    inputs: Array
    sorting: NDArray[np.intp]
    extra: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coefficients."""
        return tuple(term.name for term in self.terms)

    @property
    def unit(self) -> float:
        """The unit of ``D^order x``."""
        return self.size / self.span**self.order

    def indices(self, *kinds: str) -> list[int]:
        """Return which coefficients belong to terms of these kinds."""
        return [j for j, term in enumerate(self.terms) if term.kind in kinds]

    @cached_property
    def to_given(self) -> Array:
        """The matrix that turns coefficients of this problem into those of the user: (p, p)."""
        T = np.diag([self.unit / self.size_of(j) for j in range(len(self.terms))])
        if self.shift:
            for j in self.indices("state"):
                if self.terms[j].index == 0:
                    T[self.indices("constant")[0], j] = -self.unit * self.shift / self.size
        return T

    def size_of(self, j: int) -> float:
        """Return the unit inside of term j."""
        term = self.terms[j]
        if term.kind == "state":
            return self.size / self.span**term.index
        if term.kind == "input":
            return float(self.inputs[term.index])
        return self._function_sizes[j] if term.kind == "function" else 1.0

    @cached_property
    def _function_sizes(self) -> dict[int, float]:
        values = {
            j: np.abs(self.raw_function(j, self.states)).max() for j in self.indices("function")
        }
        return {j: float(v) or 1.0 for j, v in values.items()}

    def raw_function(self, j: int, states: Array, raw: Any = _OWN) -> Array:
        """Return the values of a function term at states (order, n) in the user's units: (n,)."""
        function = self.terms[j].function
        assert function is not None
        values = np.asarray(function(states, self.raw if raw is _OWN else raw), dtype=float)
        if values.shape not in ((), states.shape[1:]) or not np.isfinite(values).all():
            raise ValueError(
                f"terms: {self.terms[j].name} returned shape {values.shape} or values that are not "
                f"finite for states of shape {states.shape}; return one finite number for each time"
            )
        return np.broadcast_to(values, states.shape[1:]).astype(float)

    def regressors(
        self, states: Array, spread: Array | None = None, rows: NDArray[np.intp] | None = None
    ) -> Array:
        """Return every term at states (order, n) in the user's units, free of units: (n, p).

        `spread` is the standard deviation of the rate, which softens the sign of friction; `rows`
        says at which of the times the states are, if not at all.
        """
        chosen = slice(None) if rows is None else rows
        n = states.shape[1]
        columns = np.empty((n, len(self.terms)))
        for j, term in enumerate(self.terms):
            if term.kind == "state":
                shift = self.shift if term.index == 0 else 0.0
                columns[:, j] = (states[term.index] - shift) / self.size_of(j)
            elif term.kind == "input":
                columns[:, j] = self.u[chosen, term.index]
            elif term.kind == "constant":
                columns[:, j] = 1.0
            elif term.kind == "friction":
                columns[:, j] = expected_sign(states[-1], np.zeros(n) if spread is None else spread)
            else:
                raw = None if self.raw is None else self.raw[chosen]
                columns[:, j] = self.raw_function(j, states, raw) / self.size_of(j)
        return columns

    @property
    def times(self) -> Array:
        """The times of x and u as the data count them."""
        return self.start + self.span * self.t

    @cached_property
    def smoothed(self) -> Posterior:
        """The curve: the posterior given, or a penalised quintic spline."""
        from smoothderiv.smooth import smooth
        from smoothderiv.splines.regression import RegressionSpline

        if self.given is not None:
            return self.given
        return smooth(self.data, RegressionSpline(degree=5, lam=None, order=3))

    @cached_property
    def curve(self) -> Posterior:
        """The curve with all that is not known of it: the posterior given, or ``sd.smooth``'s.

        What ``sd.smooth`` warns of has remedies that are none here; ``diagnose()`` tells the rest.
        """
        from smoothderiv.smooth import smooth

        with held():
            return smooth(self.data) if self.given is None else self.given

    def as_given(self, t: Array) -> Any:
        """Return times as the user gives them: datetimes where the data have an origin."""
        return self.data.as_given(t)

    @cached_property
    def states(self) -> Array:
        """The state along the smoothed curve at the times, in the user's units: (order, n)."""
        return self.smoothed.mean(self.as_given(self.times), np.arange(self.order)[:, None])

    @property
    def rate_std(self) -> Array:
        """How well the smoothed curve knows the rate at the times: (n,)."""
        return self.smoothed.std(self.as_given(self.times), self.order - 1)

    def require_even(self, method: str) -> float:
        """Return the step of even samples; refuse others, with a method that takes them."""
        steps = np.diff(self.t)
        typical = float(np.median(steps))
        uneven = np.abs(steps - typical) > _EVEN * typical
        if uneven.any():
            row = int(np.argmax(uneven))
            raise ValueError(
                f"t: the step after row {row} is {steps[row] * self.span:g}, but most are "
                f"{typical * self.span:g}, and method={method!r} needs even steps; use "
                "method='kalman' (or 'integral', 'gradient'), which take any times"
            )
        self.require_all(method)
        return float(steps.mean())

    def require_all(self, method: str) -> None:
        """Refuse missing samples."""
        missing = np.isnan(self.x)
        if missing.any():
            raise ValueError(
                f"x: row {int(np.argmax(missing))} is missing, and method={method!r} needs every "
                "sample; use method='kalman' (or 'gradient'), which leave missing rows out"
            )

    def require_plain(self, method: str) -> None:
        """Refuse what only some methods use: further observations, stated noise, a posterior."""
        if self.extra:
            raise ValueError(
                f"also: method={method!r} takes samples of x alone; use method='kalman' (or "
                "'gradient'), which take velocities and accelerations too"
            )
        if not self.data.estimated.all() and self.given is None:
            raise ValueError(
                f"yerr: method={method!r} takes all samples for equally good and estimates their "
                "noise; leave yerr out, or use method='kalman' (or 'gradient'), which weigh by it"
            )
        if self.given is not None:
            raise ValueError(f"x: a posterior is taken by method='gradient' alone, not {method!r}")


def pose(
    t: ArrayLike,
    x: ArrayLike | Posterior | None,
    u: Any,
    order: int,
    terms: Sequence[str | Function],
    yerr: ArrayLike | None,
    also: Observations | None,
) -> Problem:
    """Validate what the user gave, and choose the units inside."""
    if order not in (1, 2):
        raise ValueError(
            f"order: {said(order)}, but the order of the differential equation is 1 or 2"
        )
    given = x if isinstance(x, Posterior) else None
    columns, names = input_columns(u)
    everywhere = np.zeros(np.shape(t)[0] if np.ndim(t) else 0)
    try:
        clock = observe(t, everywhere)  # checks the times, and turns datetimes into seconds
    except _validate.RowError as error:
        raise _validate.RowError("t", error.row, error.says) from None
    if len(clock) < 2:
        raise ValueError(f"t: {len(clock)} times; at least two are needed")
    data, samples = _observations(t, x, yerr, also, given, clock)
    if columns is not None and len(columns) != len(clock):
        raise ValueError(
            f"u: {len(columns)} rows, but t has {len(clock)}; give one input for each time"
        )
    sorting = np.argsort(clock.x, kind="stable")
    times = clock.x[sorting] + data.seconds_to(clock)
    if columns is not None and data.x.min() < times[0]:
        early = data.as_given(np.array([data.x.min(), times[0]]))
        raise ValueError(
            f"also: a row is at {said(early[0])}, but u is known from {said(early[1])} on; give "
            "the input from there on too (NaN for x), or leave such rows out"
        )
    found = parse(terms, order, names)
    low = min(times[0], data.x.min())
    span = float(max(times[-1], data.x.max()) - low)
    if not span > 0:
        raise ValueError("t: all times are equal; samples at different times are needed")
    shift, size = _scale(data, found, order, span)
    u_ = np.empty((len(times), 0)) if columns is None else columns[sorting]
    unit = np.abs(u_).max(axis=0) if u_.size else np.ones(u_.shape[1])
    unit = np.where(unit > 0, unit, 1.0)
    raw = None if columns is None else np.asarray(u_[:, 0] if np.ndim(u) == 1 else u_)
    return Problem(
        order=order,
        terms=found,
        data=data,
        given=given,
        t=(times - low) / span,
        x=(samples[sorting] - shift) / size,
        u=u_ / unit,
        raw=raw,
        start=float(low),
        span=span,
        shift=shift,
        size=size,
        inputs=unit,
        sorting=sorting,
        extra=also is not None,
    )


def input_columns(u: Any) -> tuple[Array | None, tuple[str, ...]]:
    """Return the inputs as columns (n, m), and the names of their coefficients."""
    if u is None:
        return None, ()
    if isinstance(u, Mapping):
        each = {str(k): _validate.vector(v, f"u[{k!r}]") for k, v in u.items()}
        if len({len(column) for column in each.values()}) != 1:
            lengths = ", ".join(f"{k} {len(column)}" for k, column in each.items()) or "no input"
            raise ValueError(f"u: {lengths} rows; give inputs of one length, one for each time")
        columns, names = np.stack(list(each.values()), axis=1), tuple(each)
    else:
        columns = np.array(u, dtype=float)
        if columns.ndim not in (1, 2):
            raise ValueError(f"u: shape {columns.shape}, but (n,) or (n, m) is needed")
        columns = columns[:, None] if columns.ndim == 1 else columns
        m = columns.shape[1]
        names = ("input",) if m == 1 else tuple(f"input[{j}]" for j in range(m))
    bad = ~np.isfinite(columns).all(axis=1)
    if bad.any():
        raise ValueError(
            f"u: row {int(np.argmax(bad))} is {columns[bad][0].tolist()}, but the input must be "
            "known at every time; fill the gap with what was applied, or leave the row out"
        )
    return columns, names


def _observations(
    t: ArrayLike,
    x: ArrayLike | Posterior | None,
    yerr: ArrayLike | None,
    also: Observations | None,
    given: Posterior | None,
    clock: Observations,
) -> tuple[Observations, Array]:
    """Return all observations together, and the samples of x in the order of t."""
    nothing = np.full(len(clock), np.nan)
    if given is not None:
        if yerr is not None or also is not None:
            raise ValueError("x: a posterior holds its own data; leave yerr and also out")
        return given.data, nothing
    if x is None:
        if also is None:
            raise ValueError(
                "x: None, and also is None too; give samples of x, or also=observe(..)"
            )
        return also, nothing
    samples = _validate.vector(x, "x")  # type: ignore[arg-type]
    if len(samples) != len(clock):
        raise ValueError(
            f"x: {len(samples)} rows, but t has {len(clock)}; NaN marks missing samples"
        )
    try:
        data = observe(t, samples, yerr)
    except _validate.RowError as error:
        word = {"y": "x", "x": "t"}.get(error.argument, error.argument)
        raise _validate.RowError(word, error.row, error.says) from None
    if also is not None:
        data = data + also
    if not len(data):
        raise ValueError("x: every sample is missing; give at least some")
    return data, samples


def _scale(
    data: Observations, terms: tuple[Term, ...], order: int, span: float
) -> tuple[float, float]:
    """Return origin and unit of x. The origin moves only where a coefficient can take it up."""
    values = data.y[data.is_of(0)]
    uses = any(t.kind == "state" and t.index == 0 for t in terms)
    signs = order == 1 and any(t.kind == "friction" for t in terms)
    fixed = signs or (uses and not any(t.kind == "constant" for t in terms))
    shift = 0.0 if fixed or not len(values) else float(values.mean())
    size = float(np.ptp(values)) if len(values) else 0.0
    for nu in (1, 2):
        part = data.y[data.is_of(nu)]
        size = size if size or not len(part) else float(np.abs(part).max()) * span**nu
    if not size > 0:
        raise ValueError("x: all samples are equal, so that nothing moved; excite the system")
    return shift, size
