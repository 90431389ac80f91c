"""A sum of independent Matern processes, some of them noise of the values, as a Markov prior."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from smoothderiv.statespace.priors import MarkovPrior, Matern, Steps

Array = NDArray[np.float64]
Orders = NDArray[np.int64]


@dataclass(frozen=True)
class Superposition(MarkovPrior):
    """``f = sum of signals``; rows of values see ``f + sum of noises``, others see f alone.

    What rows see must be single components of the state, so that its coordinates are
    ``z = turn s``, s the states of all parts one after the other: the first components are what
    values see and the derivatives of f, in place of the state of the roughest signal, and f itself
    is in place of the first noise. The other components are those of the parts.

    Attributes
    ----------
    signals, noises : tuples of Matern
        At least one signal.

    References
    ----------
    Hartikainen & Sarkka (2010), IEEE MLSP, section 4: sums of processes as one state.

    Examples
    --------
    >>> prior = Superposition((Matern(2, 1.0),), (Matern(0, 0.1, sigma=0.5),))
    >>> prior.dimension, prior.answers.tolist()
    (4, [3, 1, 2])
    >>> prior.stationary()[[0, 3], [0, 3]].round(12).tolist()  # in units of 1.118, of both
    [1.0, 0.8]
    """

    signals: tuple[Matern, ...]
    noises: tuple[Matern, ...] = ()

    @property
    def parts(self) -> tuple[Matern, ...]:
        """The signals, the roughest first, then the noises."""
        given = (*self.signals, *self.noises)
        return tuple(given[k] for k in self.ranking)

    @cached_property
    def ranking(self) -> list[int]:
        """Which of the signals and noises, as given, each part is."""
        signals, every = self.signals, range(len(self.signals) + len(self.noises))
        first = min(range(len(signals)), key=lambda k: (signals[k].degree, signals[k].scale))
        return [first, *(k for k in every if k != first)]

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where the state of each part begins, and where the last ends."""
        return np.cumsum([0, *(part.dimension for part in self.parts)])

    @property
    def dimension(self) -> int:
        return int(self.offsets[-1])

    @property
    def answers(self) -> Orders:
        out = np.arange(self.parts[0].dimension)
        if self.noises:
            out[0] = self.offsets[len(self.signals)]
        return out

    @cached_property
    def units(self) -> Array:
        out = self._part_units
        derivatives = [part.units[: self.parts[0].dimension] for part in self.signals]
        out[: len(derivatives[0])] = np.sqrt(np.square(derivatives).sum(axis=0))
        out[0] = np.sqrt(sum(part.sigma**2 for part in self.parts))
        out[self.answers[0]] = out[0]
        return out

    @cached_property
    def turn(self) -> Array:
        """What makes the state of those of all parts: (d, d)."""
        signals, units = self.offsets[: len(self.signals)], self._part_units
        out = np.diag(units)
        for order, f in enumerate(self.answers):
            seen = signals + order
            out[order, seen] = units[seen]
            if f != order:
                values = self.offsets[:-1]
                out[order, values] = units[values]
                out[f, f], out[f, seen] = 0.0, units[seen]
        return np.asarray(out / self.units[:, None])

    @cached_property
    def back(self) -> Array:
        """The inverse of `turn`, in which what is not needed is 0 exactly."""
        first, *others = self.offsets[: len(self.signals)]
        noises, units = self.offsets[len(self.signals) : -1], self._part_units
        out = np.eye(self.dimension)
        for order, f in enumerate(self.answers):
            own, beside = first + order, np.array(others, dtype=int) + order
            out[own, own] = 0.0
            out[own, f], out[own, beside] = self.units[f], -units[beside]
            if f != order:
                out[f, order], out[f, f] = self.units[order], -self.units[f]
                out[f, noises[1:]] = -units[noises[1:]]
                out[f] /= units[f]
            out[own] /= units[own]
        return out

    @property
    def _part_units(self) -> Array:
        """The units of the states of all parts."""
        return np.concatenate([part.units for part in self.parts])

    @property
    def diffusion(self) -> float:
        degree = self.parts[0].degree
        return sum(part.diffusion for part in self.signals if part.degree == degree)

    def stationary(self) -> Array:
        root = self._start_root
        return np.asarray(root @ root.T)

    @property
    def _start_root(self) -> Array:
        """A root of the covariance of the state at the start: (d, d)."""
        roots = []
        for part in self.parts:
            U = part.start()[0]
            D = np.diag(U).copy()
            np.fill_diagonal(U, 1.0)
            roots.append(U * np.sqrt(D))
        return np.asarray(self.turn @ linalg.block_diag(*roots))

    def start(self) -> tuple[Array, Array]:
        """Return the start as factors, as :meth:`MarkovPrior.start` does.

        By orthogonal rows of a root: what values and f have in common leaves exactly, and noise
        that is tiny beside f keeps its digits, of which the covariance has none.
        """
        rows, d = self._start_root, self.dimension
        out = np.zeros((d, d))
        for j in range(d - 1, -1, -1):
            out[: j + 1, j] = (rows[: j + 1] * rows[j]).sum(axis=1)  # alike for rows alike
            if out[j, j] > 0:
                out[:j, j] /= out[j, j]
                rows[:j] -= np.outer(out[:j, j], rows[j])
        return out, np.zeros(d)

    def steps(self, h: Array, x: Array | None = None) -> Steps:
        transition, root = self.apart(h)
        return Steps(
            np.asarray(h, dtype=np.float64) * self.parts[0].rate,
            np.empty((0, 0)),
            np.empty((0, 0)),
            self.turn @ transition @ self.back,
            self.turn @ root,
        )

    def apart(self, h: Array) -> tuple[Array, Array]:
        """Return transitions and roots of the noise of all parts by themselves: (n, d, d) both."""
        n, d = len(h), self.dimension
        transition, root = np.zeros((n, d, d)), np.zeros((n, d, d))
        for part, first in zip(self.parts, self.offsets, strict=False):
            own = slice(first, first + part.dimension)
            steps = part.steps(h)
            transition[:, own, own], root[:, own, own] = steps.transition, steps.root
        return transition, root
