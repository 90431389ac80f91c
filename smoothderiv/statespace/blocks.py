"""The same smoothing spline for a series longer than memory, block by block.

The filter goes forward and writes its states to disk; the smoother comes back over them. From one
block to the next passes the state at the border alone, so the answer is that of one pass.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv import _places, _validate
from smoothderiv.model import UndeterminedError
from smoothderiv.observations import Observations
from smoothderiv.statespace import _factor_loops, _loops
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.nearby import restart
from smoothderiv.statespace.polynomials import LogGram
from smoothderiv.statespace.priors import IntegratedWiener
from smoothderiv.statespace.states import NO_GAINS, States, diagonal, known

if TYPE_CHECKING:
    from smoothderiv.statespace.smoother import SmoothingSpline

Array = NDArray[np.float64]


class Block(NamedTuple):
    """Answers at some places, ascending: x (n,), mean and std (n, number of orders asked)."""

    x: NDArray[Any]
    mean: Array
    std: Array


@dataclass(frozen=True)
class BlockwiseSmoothing:
    """A curve fitted block by block; iterate over it for its answers, from the first x to the last.

    Attributes
    ----------
    folder : Path
        Where the answers are: ``answer-000000.npy``, .., columns x, then mean and std of each
        order.
    nu : tuple of int
    rows, blocks : int
        How many rows were taken in, and how many blocks.
    log_evidence, edf : float
        As of the posterior in memory.
    origin : numpy.datetime64 or None
        What the x of the files counts from, in seconds, where x are datetimes.
    zone : str or None
        The time zone of these, which the x of the answers are in.
    """

    folder: Path
    nu: tuple[int, ...]
    rows: int
    blocks: int
    log_evidence: float
    edf: float
    origin: np.datetime64 | None
    zone: str | None = None

    def __len__(self) -> int:
        return self.blocks

    def __iter__(self) -> Iterator[Block]:
        for number in range(self.blocks):
            table = np.load(_answer(self.folder, number))
            x = _places.as_given(table[:, 0], self.origin, self.zone)
            yield Block(x, table[:, 1::2], table[:, 2::2])


def smooth_blocks(
    model: SmoothingSpline,
    blocks: Iterable[Observations],
    folder: str | os.PathLike[str],
    nu: tuple[int, ...],
    at: ArrayLike | None,
) -> BlockwiseSmoothing:
    """Smooth a series that comes in blocks; see :meth:`.SmoothingSpline.smooth_blocks`."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise ValueError(f"folder: {path} is not empty; name a new one, for states and answers")
    for order in nu:
        if not 0 <= order < model.order:
            raise ValueError(
                f"nu: {_validate.said(order)} was asked, but SmoothingSpline(order={model.order}) "
                f"has derivatives of order 0 to {model.order - 1}"
            )
    forward = _Forward(model, path)
    for data in _determined(model, blocks):
        forward.take(data)
    if forward.count == 0:
        raise ValueError("blocks: there is no row to fit; give at least one observation")
    clock = forward.clock
    places = None if at is None else np.sort(clock.coordinates(at, "at"))
    edf, gram = _back(forward, nu, places)
    evidence = forward.log_evidence(gram.value)
    counts, origin = (forward.rows, forward.count), clock.origin
    return BlockwiseSmoothing(path, nu, *counts, evidence, edf, origin, clock.zone)


def _determined(model: SmoothingSpline, blocks: Iterable[Observations]) -> Iterator[Observations]:
    """Yield blocks with rows, the first ones joined until they determine the curve."""
    waiting: list[Observations] = []
    settled = False
    for data in blocks:
        if not len(data):
            continue
        if settled:
            yield data
            continue
        waiting.append(data)
        joined = functools.reduce(operator.add, waiting)
        try:
            model.rows(joined)
        except UndeterminedError:
            continue
        settled = True
        yield joined
    if waiting and not settled:
        model.rows(functools.reduce(operator.add, waiting))  # says what is missing


class _Filter:
    """A filter that goes on from block to block."""

    def __init__(self, prior: IntegratedWiener) -> None:
        self.prior, self.logs = prior, 0.0
        self.summary = np.zeros(5)
        self._settled: Any = None

    def take(self, rows: MarkovRows) -> tuple[Array, Array, Array]:
        """Filter a block; return mean and factor of each row, and E of the first ones."""
        n, d = len(rows.y), self.prior.dimension
        settled = rows.settled if self._settled is None else self._settled
        mean, factor = np.empty((n, d)), np.empty((n, d * (d + 1) // 2))
        states = (mean, factor)
        summary = _loops.forward(rows.columns(), rows.steps, settled, NO_GAINS, states, rows.dims)
        rows.checked(summary)
        self.logs += 2 * rows.unit_logs
        diffuse = np.array(settled[0][5])
        self._settled = restart(mean[-1], factor[-1], summary)
        self.summary = summary
        return mean, factor, diffuse


class _Forward:
    """The way forward: rows in, states on disk."""

    def __init__(self, model: SmoothingSpline, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.count, self.rows = 0, 0
        self.clock: Observations
        self.diffuse = np.zeros((0, model.order))
        self._last = -math.inf

    def take(self, data: Observations) -> None:
        """Filter one block and write its states."""
        self.model._check(data)
        x = data.x
        if self.count == 0:
            self.clock = data[:0]
            self._begin(x)
        else:
            x = x + self.clock.seconds_to(data)
        rows = MarkovRows.of(self.prior, x, data.y, data.sd(self.model.noise), data.nu)
        if rows.x[0] < self._last:
            raise ValueError(
                f"blocks: block {self.count} begins at x = {rows.x[0]:g}, before the end of the "
                f"block before it at {self._last:g}; give blocks in order of x"
            )
        rows = self._joined(rows)
        mean, factor, diffuse = self._filter.take(rows)
        if self.count == 0:
            self.diffuse = diffuse
        columns = (rows.x, rows.y, rows.variance, rows.nu)
        np.save(_state(self.folder, self.count), np.column_stack((*columns, mean, factor)))
        self._last = float(rows.x[-1])
        self.count, self.rows = self.count + 1, self.rows + len(x)

    def _begin(self, x: Array) -> None:
        assert self.model.q is not None
        d, span = self.model.order, float(np.ptp(x)) or 1.0
        self.prior = IntegratedWiener(d, float(self.model.q), span)
        self._filter = _Filter(self.prior)
        self._first = float(x.min())

    def _joined(self, rows: MarkovRows) -> MarkovRows:
        """Return rows whose first step is the one from the block before."""
        before = rows.x[0] if self.count == 0 else self._last
        steps = rows.prior.steps(np.diff(rows.x, prepend=before))
        return dataclasses.replace(rows, given_steps=steps)

    @property
    def range(self) -> tuple[float, float]:
        """The first and the last x."""
        return self._first, self._last

    def log_evidence(self, information: float) -> float:
        """Return Harville's restricted likelihood, given ``log|X'X|`` in powers from 0 to 1."""
        chi, logs, rank = self._filter.summary[:3]
        d, span = self.model.order, self._last - self._first or 1.0
        information -= d * (d - 1) * math.log(self.prior.span / span)
        constant = rank * math.log(2 * math.pi)
        return float(-0.5 * (chi + logs + self._filter.logs + constant - information))


def _back(forward: _Forward, nu: tuple[int, ...], places: Array | None) -> tuple[float, LogGram]:
    """Smooth from the last block to the first; turn states on disk into answers.

    Returns the effective degrees of freedom, and what the rows say of polynomials.
    """
    after: _Border | None = None
    met_later: set[tuple[float, int]] = set()  # places and orders of exact rows, one row for each
    gram = LogGram(*forward.range, forward.model.order)
    edf, end = 0.0, 0 if places is None else len(places)
    for number in range(forward.count - 1, -1, -1):
        table = np.load(_state(forward.folder, number))
        diffuse = forward.diffuse if number == 0 else forward.diffuse[:0]
        states = _smoothed(forward.prior, table, diffuse, after)
        n = len(table)
        if places is None:
            asked = table[:, 0]
        else:
            begin = 0 if number == 0 else int(np.searchsorted(places, table[0, 0]))
            asked, end = places[begin:end], begin
        np.save(_answer(forward.folder, number), _answers(states, asked, nu))
        _state(forward.folder, number).unlink()
        component, variance = states.rows.nu[:n], states.rows.variance[:n]
        explained = _factor_loops.variances(states.factor[:n], states.spread[:n], component)
        noisy = variance > 0
        met = set(zip(table[~noisy, 0].tolist(), component[~noisy].tolist(), strict=True))
        edf += float((explained[noisy] / variance[noisy]).sum()) + len(met - met_later)
        met_later = met
        gram.take(table[:, 0], component)
        after = _Border(table[:1], states.smoothed[:1], states.spread[:1])
    return edf, gram


class _Border(NamedTuple):
    """The first row of a block: what the filter wrote of it, and what all rows say of it."""

    table: Array
    smoothed: Array
    spread: Array


def _smoothed(
    prior: IntegratedWiener, table: Array, diffuse: Array, after: _Border | None
) -> States:
    """Return the states of a block given all rows, with the first row of the next as its last."""
    d = prior.dimension
    if after is not None:
        table = np.concatenate((table, after.table))
    columns = (np.ascontiguousarray(column) for column in table[:, :4].T)
    x, y, variance, component = columns
    mean, factor = (np.ascontiguousarray(part) for part in np.split(table[:, 4:], [d], axis=1))
    rows = MarkovRows(prior, x, y, variance, component.astype(np.int64), np.arange(len(x)))
    smoothed, spread, none = np.empty_like(mean), np.empty_like(factor), np.empty((0, 0))
    if after is None:
        smoothed[-1], spread[-1] = mean[-1], known(factor[-1])
    else:
        smoothed[-1:], spread[-1:] = after.smoothed, after.spread
    rest = len(x) - 1
    beyond = smoothed[rest:] - mean[rest:]
    _loops.look_back(
        mean[:rest], factor[:rest], diffuse, rows.steps, rows.columns(), beyond, smoothed, spread,
        none, 1, np.zeros(d, dtype=np.int64),
    )  # fmt: skip
    return States(rows, mean, factor, diffuse, smoothed, spread, none)


def _answers(states: States, x: Array, nu: tuple[int, ...]) -> Array:
    """Return x, then mean and standard deviation of each order: (n, 1 + 2 orders)."""
    unit = states.rows.prior.units
    out = np.empty((len(x), 1 + 2 * len(nu)))
    out[:, 0] = x
    mean, factor = states.at(x)
    for k, order in enumerate(nu):
        variance = diagonal(factor, np.full(len(x), order))
        out[:, 1 + 2 * k] = mean[:, order] * unit[order]
        out[:, 2 + 2 * k] = np.sqrt(variance) * unit[order]
    return out


def _state(folder: Path, number: int) -> Path:
    return folder / f"state-{number:06d}.npy"


def _answer(folder: Path, number: int) -> Path:
    return folder / f"answer-{number:06d}.npy"
