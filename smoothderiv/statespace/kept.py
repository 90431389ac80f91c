"""States of rows, from what passes over them have left; what is found is kept for later questions.

Of few rows all states are kept, of many only marks, until many places are asked about.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from smoothderiv.statespace import _loops, nearby
from smoothderiv.statespace.backward import Errors, as_asked, marked_errors, smooth
from smoothderiv.statespace.markov import Likelihood, MarkovRows
from smoothderiv.statespace.states import NO_GAINS, States, known, room, slices

Array = NDArray[np.float64]
Orders = NDArray[np.int64]

_AT_ONCE = 65_536  # rows, or places asked about, that are gone through at a time
_FEW = 8  # rows for each place of which not all states are found


def conditioned(rows: MarkovRows) -> tuple[Likelihood, Errors]:
    """Do what :func:`.errors_of` does, once, and keep what :func:`states_about` asks for."""
    found, errors = _marked(rows)
    return found, as_asked(rows, errors)


def leverages(rows: MarkovRows) -> tuple[Likelihood, Array, Array]:
    """Do so, and return the likelihood, P y, and ``1 - sd**2 * diag P``, in the order given."""
    found, (pull, left, _, _) = _marked(rows)
    for part in slices(len(left), _AT_ONCE):
        own = left[part]
        own *= rows.variance[part]
        np.clip(np.subtract(1.0, own, out=own), 0.0, 1.0, out=own)
    pull = pull if rows.is_plain else pull / rows.row_units
    return found, rows.as_given(pull), rows.as_given(left)


def states_of(rows: MarkovRows) -> States:
    """Filter and smooth, once; return the states of all rows."""
    if rows.kept.states is None:
        rows.kept.states = _smoothed(rows)
    return rows.kept.states


def states_about(rows: MarkovRows, x: Array) -> States:
    """Return the states of the rows about places x: of all rows, if that is quicker."""
    if not rows.has_many or rows.kept.states is not None:
        return states_of(rows)
    x = x if len(x) else rows.x[:1]
    asked = rows.kept.asked  # once, as other threads may ask elsewhere
    if asked is not None and np.array_equal(asked[0], x):
        return asked[1]
    found = nearby.states_near(rows, marks_of(rows), x)
    if found is None:
        return states_of(rows)
    rows.kept.asked = x.copy(), found
    return found


def in_parts(
    rows: MarkovRows, answer: Callable[[Array, Orders], Array], x: Array, nu: Orders
) -> Array:
    """Return answers (.., m) at places x, a few thousand at a time: what they take is not long.

    States of all rows are found first where `rows` keep them.
    """
    if len(x) <= _AT_ONCE:
        return answer(x, nu)
    if not rows.has_most and len(rows.y) < _FEW * len(x):
        states_of(rows)
    along = None if (x[1:] >= x[:-1]).all() else np.argsort(x, kind="stable")
    out = np.empty(0)
    for some in slices(len(x), _AT_ONCE):
        part = some if along is None else along[some]
        found = answer(x[part], nu[part])
        if not some.start:
            out = np.empty((*found.shape[:-1], len(x)))
        out[..., part] = found
    return out


def marks_of(rows: MarkovRows) -> nearby.Marks:
    """Return the marks of rows that are many."""
    if rows.kept.marks is None:
        _marked(rows)
    assert rows.kept.marks is not None
    return rows.kept.marks


def _marked(rows: MarkovRows) -> tuple[Likelihood, Errors]:
    """Do what `errors_of` does, for sorted rows in units of the state, in little memory.

    Of few rows all filtered states are kept; of many, those of marked rows and what later rows
    say of them.
    """
    n, d, many = len(rows.y), rows.prior.dimension, rows.has_many
    k = n // _loops.APART if many else 0
    states, later = room(k if many else n, d), (np.empty((k, d)), np.empty((k, d, d)))
    if rows.is_dense:
        summary, out = nearby.mark_dense(rows, states, later)
        found, errors = rows.checked(summary), Errors(*out)
    else:
        found, errors = marked_errors(rows, states, later)
    if many:
        rows.kept.marks = nearby.Marks(*states, *later)
    else:
        rows.kept.filtered = states
    return found, errors


def _filtered(rows: MarkovRows) -> tuple[Array, Array]:
    """Return means and factors of the filtered states."""
    if rows.kept.filtered is None:
        states = room(len(rows.y), rows.prior.dimension)
        rows.filter(NO_GAINS, states)
        rows.kept.filtered = states
    return rows.kept.filtered


def _smoothed(rows: MarkovRows) -> States:
    mean, factor = _filtered(rows)
    (smoothed, spread), diffuse = room(*mean.shape), rows.diffuse
    beside = np.empty(mean.shape if rows.is_dense else (0, 0))
    smoothed[-1], spread[-1] = mean[-1], known(factor[-1])
    found, beyond = (smoothed, spread, beside), np.zeros_like(mean[:1])
    smooth(rows, slice(None), (mean, factor), diffuse, beyond, found, rows.is_quick)
    return States(rows, mean, factor, diffuse, smoothed, spread, beside)
