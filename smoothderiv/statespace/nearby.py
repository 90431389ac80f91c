"""States about a few places, found again from what is kept of every 16th row.

A filter marks rows on its way, and so does the backward pass that smoothing errors take: of a
marked row they leave the filtered state, and what later rows say of it, a score r and an
information N (de Jong 1989). With D the filtered variances of the coordinates, their mean given
all rows is ``m + D r``, and their covariance ``D - D N D``. So the states about a place are those
of the rows from the marked one before it to the marked one after it: filtered and smoothed again,
as all rows would be.

Where later rows say far more than earlier ones (near a diffuse start, after a gap) that difference
cancels; then the rows are taken on to a marked one where it does not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv.statespace import _error_loops, _loops
from smoothderiv.statespace._loops import APART
from smoothderiv.statespace.backward import nothing_later, smooth
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.states import NO_GAINS, States, known, room, slices, unpacked

Array = NDArray[np.float64]
Places = NDArray[np.intp]

_CROWDED = 4  # rows for each place, up to which all rows between the ends are taken
_RUN, _RUN_QUICK = 25, 160  # rows that take as long as the start of a run of them
_STEPS = 2048  # rows whose dense steps are made at a time
_ALL = slice(None)
_LEFT = 1e-3  # of a variance, at least, so that the difference keeps all but three digits


class Marks(NamedTuple):
    """The filtered states of marked rows, and what later rows say of them.

    mean (k, d) and packed factor (k, d (d + 1) / 2) of coordinates as in ``_loops``; score (k, d)
    and information (k, d, d), along the coordinates of a Wiener process and along the components of
    the state of others.
    """

    mean: Array
    factor: Array
    score: Array
    information: Array


def restart(mean: Array, factor: Array, summary: Array) -> Any:
    """Return what ``_loops.settle`` would of rows that go on after a filtered state."""
    d = len(mean)
    U, D = unpacked(factor[None])
    state = np.empty((d + 1, d))
    state[:d] = U[0]
    state[np.arange(d), np.arange(d)] = D[0]
    state[d] = mean
    table, column = np.empty((0, d)), np.empty(0)
    return (table, column, column, table, np.empty((0, len(factor))), table), state, summary


def mark_dense(
    rows: MarkovRows, states: Any, later: Any
) -> tuple[Array, tuple[Array, Array, float, float]]:
    """Filter and go back, marking rows; return what ``forward`` and :class:`.Errors` say.

    States (mean, factor) and what later rows say (score, information) of marked rows are filled in.
    Steps are made in parts, twice rather than kept.
    """
    n, d = len(rows.y), rows.prior.dimension
    gain, e, inverse = np.empty((n, d)), np.empty(n), np.empty(n)
    parts = _parts(rows)
    steps = rows.steps_of(parts[0])
    settled = _loops.settle(rows.columns(parts[0]), steps, rows.prior.start())
    found = settled[2]
    for part in parts:
        marks = slice(part.start // APART, part.stop // APART) if len(parts) > 1 else _ALL
        if part.start:
            steps, last = rows.steps_of(part), part.start // APART - 1
            settled = restart(states[0][last], states[1][last], found)
        gains, clash = (gain[part], e[part], inverse[part]), found[4] > 0
        kept = states[0][marks], states[1][marks]
        found = _loops.forward(rows.columns(part), steps, settled, gains, kept, rows.dims)
        if found[4] > 0 and not clash:
            found[4] += part.start
    state, penalty, excess = nothing_later(d), 0.0, 0.0
    for part in reversed(parts):
        marks = slice(part.start // APART, part.stop // APART)
        steps = steps if part.stop == n else rows.steps_of(part)
        out = e[part], inverse[part], later[0][marks], later[1][marks]
        more = _error_loops.errors(
            rows.columns(part), steps, gain[part], e[part], inverse[part], out, state,
            rows.dims,
        )  # fmt: skip
        penalty, excess = penalty + more[0], excess + more[1]
    return found, (e, inverse, penalty, excess)


def _parts(rows: MarkovRows) -> list[slice]:
    """Return the parts of rows whose dense steps are made at a time."""
    n = len(rows.y)
    size = _STEPS if rows.has_many and not rows.prior.diffuse else n
    return slices(n, size)


def states_near(rows: MarkovRows, marks: Marks, x: Array) -> States | None:
    """Return the states of the rows about places x; None if those of all rows are quicker."""
    runs = runs_about(rows, marks, x)
    each = _RUN_QUICK if rows.is_quick else _RUN  # in rows
    work = int((runs[:, 1] - runs[:, 0]).sum()) + each * len(runs)
    if work > len(rows.y) and not rows.has_most:
        return None
    if work > runs[-1, 1] - runs[0, 0]:
        runs = np.array([[runs[0, 0], runs[-1, 1]]])
    return _states_of_runs(rows, marks, runs)


def runs_about(rows: MarkovRows, marks: Marks, x: Array) -> Places:
    """Return first and last of the rows that the states about places x take: runs apart, (k, 2)."""
    n, settled = len(rows.x), len(rows.diffuse)
    ends = np.searchsorted(rows.x, [x.min(), x.max()], side="right") - 1
    if ends[1] - ends[0] <= _CROWDED * len(x):
        begin, end = ends[:1], ends[1:]
    else:
        begin = end = np.unique(np.searchsorted(rows.x, x, side="right") - 1)
    first = np.maximum(begin, 0) // APART
    first[first * APART < settled] = 0
    first, last = _joined(first, np.maximum((end + 1) // APART, -(-settled // APART)))
    first, last = _joined(first, _clear(rows, marks, last))
    return np.column_stack((first * APART, np.minimum((last + 1) * APART - 1, n - 1)))


def _joined(first: Places, last: Places) -> tuple[Places, Places]:
    """Join pieces, sorted by their first, that overlap or follow each other."""
    last = np.maximum.accumulate(last)
    begin = np.flatnonzero(np.append(True, first[1:] > last[:-1] + 1))
    return first[begin], last[np.append(begin[1:], len(first)) - 1]


def _clear(rows: MarkovRows, marks: Marks, number: Places) -> Places:
    """Return for each mark the next one whose state is found without cancellation.

    Or a number beyond all marks: the last row, which needs none.
    """
    number, asked = number.copy(), np.arange(len(number))
    step = 1
    while len(asked):
        asked = asked[number[asked] < len(marks.mean)]
        asked = asked[~_smoothed(rows, marks, number[asked])[2]]
        number[asked] += step
        step *= 2
    return number


def _smoothed(
    rows: MarkovRows, marks: Marks, number: Places
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return what means of marked rows are beyond the filtered ones, their factors, and trust."""
    U, D = unpacked(marks.factor[number])
    score, information, size = marks.score[number], marks.information[number], 0.0
    if rows.is_dense:
        spread = np.sqrt(np.maximum(np.diagonal(information, axis1=1, axis2=2), 0.0))
        size = D * np.einsum("kij,ki->kj", np.abs(U), spread) ** 2
        score = np.einsum("kij,ki->kj", U, score)
        information = np.swapaxes(U, 1, 2) @ information @ U
    root, d = np.sqrt(D), D.shape[1]
    left = np.eye(d) - root[:, :, None] * information * root[:, None, :]
    out = np.zeros((len(number), d * (d + 1) // 2))
    trust = np.all(size <= 1.0 / _LEFT, axis=-1) | np.zeros(len(number), dtype=bool)
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
    for j in range(d - 1, -1, -1):
        at, share = j * (j + 1) // 2, left[:, j, j].copy()
        trust &= share > _LEFT
        safe = np.where(share > _LEFT, share, 1.0)
        column = left[:, :j, j] / safe[:, None]
        out[:, at : at + j] = column * root[:, :j] * inverse[:, j, None]
        out[:, at + j] = D[:, j] * share
        left[:, :j, :j] -= column[:, :, None] * column[:, None, :] * share[:, None, None]
    return D * score, out, trust


def _states_of_runs(rows: MarkovRows, marks: Marks, runs: Places) -> States:
    """Return the states of runs of rows, given all rows."""
    used = np.concatenate([np.arange(first, last + 1) for first, last in runs])
    part, d = rows.part(used), rows.prior.dimension
    (mean, factor), (smoothed, spread) = room(len(used), d), room(len(used), d)
    beside = np.empty((len(used) if rows.is_dense else 0, d))
    beyond, known_there, _ = _smoothed(rows, marks, (runs[:, 1] + 1) // APART - 1)
    begin = 0
    for k, (first, last) in enumerate(runs):
        here = slice(begin, begin + last - first + 1)
        begin = here.stop
        start = rows.settled if first == 0 else _restarted(marks, first // APART - 1)
        filtered, found = (mean[here], factor[here]), (smoothed[here], spread[here], beside[here])
        part.filter(NO_GAINS, filtered, here, start)
        if last == len(rows.x) - 1:
            beyond[k], known_there[k] = 0.0, known(filtered[1][-1])
        found[0][-1], found[1][-1] = filtered[0][-1] + beyond[k], known_there[k]
        diffuse = rows.diffuse if first == 0 else rows.diffuse[:0]
        smooth(part, here, filtered, diffuse, beyond[k : k + 1], found, rows.is_quick)
    part.steps.h[0] = 0.0  # as nothing stands before it
    diffuse = rows.diffuse if runs[0, 0] == 0 else rows.diffuse[:0]
    return States(part, mean, factor, diffuse, smoothed, spread, beside)


def _restarted(marks: Marks, number: int) -> Any:
    return restart(marks.mean[number], marks.factor[number], np.zeros(5))
