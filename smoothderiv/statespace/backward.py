"""Passes back over filtered rows, in O(n): smoothing errors, and what gradients are made of.

P is the inverse covariance of the rows, what the prior leaves free taken out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv._warn import warn
from smoothderiv.statespace import (
    _error_loops,
    _factor_loops,
    _loops,
    _score_loops,
    _smooth_loops,
)
from smoothderiv.statespace.markov import Likelihood, MarkovRows
from smoothderiv.statespace.states import NO_STATES, pack, rolled

Array = NDArray[np.float64]

NO_MARKS = (np.empty((0, 0)), np.empty((0, 0, 0)))  # what a pass back need not fill
_LOST = 1e6  # times the rounding of a variance, beyond which it is found from factors
_ROUGH = 1e-3  # relative rounding of a standard deviation that is told
_UNROLLED = 6  # state dimensions up to which loops of Wiener processes are compiled for theirs


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


def errors_of(rows: MarkovRows, diagonal: bool = True) -> tuple[Likelihood, Errors]:
    """Filter and smooth backwards; return the likelihood and the smoothing errors.

    Without `diagonal` that of P is rough, which is quicker.
    """
    if diagonal and rows.steps.transition is None:
        found, errors = sorted_errors(rows)
    else:
        gains, found = rows.gains[:3], rows.gains[3]
        out, later = np.empty((2, len(rows.y))), nothing_later(rows.prior.dimension)
        sums = _error_loops.errors(
            rows.columns(), rows.steps, *gains, (*out, *NO_MARKS), later, rows.dims
        )
        errors = Errors(*out, *sums)
    return found, as_asked(rows, errors)


def sorted_errors(rows: MarkovRows) -> tuple[Likelihood, Errors]:
    """Do so under a Wiener process, for sorted rows in units of the state."""
    found, *filtered = rows.factors
    return found, _score(rows, filtered, (np.empty_like(rows.y), np.empty_like(rows.y)))


def marked_errors(rows: MarkovRows, states: Any, later: Any) -> tuple[Likelihood, Errors]:
    """Do so, and fill in filtered states and, of rows that are many, what later rows say.

    States (mean, factor) are of all rows; of many, like score and information, of marked ones.
    """
    n, (mean, marked) = len(rows.y), states
    e, inverse, factor = np.empty(n), np.empty(n), marked
    if rows.has_many:
        factor = np.empty((n, marked.shape[1]))
    found = rows.checked(rows.filter((NO_STATES[0], e, inverse), (mean, factor)))
    errors = _score(rows, (factor, e, inverse), (e, inverse), later)  # written over them
    if rows.has_many:
        marked[:] = factor[_loops.APART - 1 :: _loops.APART]
    return found, errors


def _score(
    rows: MarkovRows, filtered: Any, out: tuple[Array, Array], marks: Any = NO_MARKS
) -> Errors:
    """Go back over what a filter found, (packed factor, innovation, inverse)."""
    d = rows.prior.dimension
    state = np.zeros(d * d + d + 2)
    for span, before, dims in reversed(_spans(rows)):
        _score_loops.score(
            rows.columns(), rows.steps, before, tuple(filtered), (*out, *marks), state, span, dims
        )
    return Errors(*out, float(state[-2]), float(state[-1]))


def _spans(rows: MarkovRows) -> list[tuple[tuple[int, int], tuple[Array, Array | None], Any]]:
    """Return the first rows, and those whose loops are unrolled: span, state before, dims."""
    (U, E), diffuse, n = rows.prior.start(), rows.settled[0][5], len(rows.y)
    start, infinite = pack(U), np.vstack((E, diffuse))[: len(diffuse)]
    first, d = len(diffuse), rows.prior.dimension
    if d > _UNROLLED:
        return [((0, n), (start, infinite), rolled(d))]
    return [((0, first), (start, infinite), rolled(d)), ((first, n), (start, None), (0,) * d)]


def nothing_later(dimension: int) -> Array:
    """Return what no rows say of a state: r and N, flat."""
    return np.zeros(dimension + dimension * dimension)


def as_asked(rows: MarkovRows, errors: Errors) -> Errors:
    """Turn what sorted rows say in units of the state into what was asked."""
    if rows.is_plain:
        return errors
    unit = rows.row_units
    pull, diagonal = errors.pull / unit, errors.diagonal / unit**2
    return errors._replace(pull=rows.as_given(pull), diagonal=rows.as_given(diagonal))


def project(rows: MarkovRows, w: Array) -> Array:
    """Return ``P w`` for other data w: (n,)."""
    gain, _, inverse, _ = rows.gains
    unit, d = rows.prior.units[rows.nu], rolled(rows.prior.dimension)
    scaled = w[rows.sorting] / unit
    found = _error_loops.project(scaled, rows.columns(), rows.steps, gain, inverse, d)
    return rows.as_given(found / unit)


def spread(rows: MarkovRows, c: Array) -> Array:
    """Return ``diag(P diag(c) P)`` for weights c, 0 for exact rows: (n,)."""
    unit = rows.prior.units[rows.nu]
    scaled = c[rows.sorting] / unit**2
    if rows.steps.transition is not None:
        gain, _, inverse, _ = rows.gains
        d = rolled(rows.prior.dimension)
        found = _error_loops.spread(scaled, rows.columns(), rows.steps, gain, inverse, d)
    else:
        found = _spread(rows, scaled)
    return rows.as_given(found / unit**2)


def _spread(rows: MarkovRows, c: Array) -> Array:
    """Do so under a Wiener process, for sorted rows in units of the state."""
    n, d, data, steps = len(rows.y), rows.prior.dimension, rows.columns(), rows.steps
    _, factor, _, inverse = rows.factors
    moment, state, out = np.empty_like(factor), np.zeros(d * d), np.empty(n)
    spans = _spans(rows)
    for span, before, dims in spans:
        _score_loops.spread_ahead(c, data, steps, before, factor, moment, state, span, dims)
    state = np.zeros(2 * d * d)
    for span, before, dims in reversed(spans):
        _score_loops.spread_back(
            c, data, steps, before, (factor, inverse), moment, out, state, span, dims
        )
    return out


def smooth(
    rows: MarkovRows, part: slice, filtered: Any, diffuse: Array, beyond: Array, found: Any,
    quick: bool,
) -> None:  # fmt: skip
    """Smooth a part of the rows backwards from its last, of which all is known already.

    filtered is (mean, factor), `diffuse` and found (smoothed, spread, beside) as in
    :class:`States`, the latter to be filled; `beyond` (1, d) is what the last mean is beyond
    the filtered one. With `quick` covariances are full, unless they lose too many digits: beyond a
    long gap the coordinates of the filter vary with all of it, the state only with the rows there.
    """
    (mean, factor), (smoothed, spread, beside) = filtered, found
    data, steps = rows.columns(part), rows.steps.of(part)
    rest = len(mean) - 1
    if len(beside):
        beside[-1] = beyond[0]
    if quick:
        first = min(len(diffuse), rest)
        lost = _smooth_loops.smooth(mean, factor, first, data, steps, smoothed, spread, rows.dims)
        if lost <= _LOST:
            rest, beyond = first, smoothed[first : first + 1] - mean[first : first + 1]
    _loops.look_back(
        mean[:rest], factor[:rest], diffuse, steps, data, beyond, smoothed, spread, beside, 1,
        rolled(mean.shape[1]),
    )  # fmt: skip
    if rest == len(mean) - 1:
        _tell_of_lost_digits(rows.x[part], smoothed, factor, spread)


def _tell_of_lost_digits(x: Array, mean: Array, factor: Array, spread: Array) -> None:
    """Warn of states that are differences of so much larger ones that few digits are left."""
    times, where = _factor_loops.lost(mean, factor, spread)
    rounding = float(np.finfo(float).eps * times)
    if rounding > _ROUGH:
        warn(
            f"x: about {x[where]:g} steps differ so much that answers are small differences, known "
            f"to {min(rounding, 1.0):.1g} of them or of their deviations; condition the rows on "
            "either side of the long step by themselves, or use a lower order"
        )
