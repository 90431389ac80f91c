"""Timeline: observations, input changes and places asked, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smoothderiv.dynamics import _loops
from smoothderiv.dynamics.problem import Problem
from smoothderiv.statespace.levels import scatter

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Timeline:
    """Rows sorted by time, free of units; those of component -1 observe nothing.

    Attributes
    ----------
    t : (n,) array
    y, component : (n,) arrays
        What was observed of which derivative.
    variance : (n,) array
        Noise variance, up to the levels that are estimated.
    level : (n,) array
        The noise level that each row shares, -1 where its noise is known.
    orders : tuple of int
        The order of derivative that each noise level belongs to.
    held : (n,) array
        The row of the input that is applied from each row on.
    asked : (a,) array
        Where the places asked stand.
    """

    t: Array
    y: Array
    component: Index
    variance: Array
    level: Index
    orders: tuple[int, ...]
    held: Index
    asked: Index

    @classmethod
    def of(cls, problem: Problem, asked: Array | None = None) -> Timeline:
        """Merge observations, changes of the input and places asked (in units of the problem)."""
        data = problem.data
        seen = (data.x - problem.start) / problem.span
        unit = problem.size / problem.span**data.nu
        shift = np.where(data.nu == 0, problem.shift, 0.0)
        places = np.empty(0) if asked is None else asked
        quiet = np.concatenate((problem.t[~np.isin(problem.t, seen)], places))
        t = np.concatenate((seen, quiet))
        blank = np.zeros(len(quiet))
        sorting = np.argsort(t, kind="stable")
        orders = tuple(int(o) for o in data.estimated_orders)  # type: ignore[arg-type]
        level = np.full(len(seen), -1)
        for j, order in enumerate(orders):
            level[data.is_of(order) & data.estimated] = j
        none = np.full(len(quiet), -1)
        rank = np.empty(len(t), dtype=np.int64)
        rank[sorting] = np.arange(len(t))
        relative = data.relative_sd / np.where(level >= 0, 1.0, unit)
        held = np.searchsorted(problem.t, t[sorting], side="right") - 1
        return cls(
            t=t[sorting],
            y=np.concatenate(((data.y - shift) / unit, blank))[sorting],
            component=np.concatenate((data.nu, none))[sorting].astype(np.int64),
            variance=np.concatenate((relative**2, blank))[sorting],
            level=np.concatenate((level, none))[sorting].astype(np.int64),
            orders=orders,
            held=np.maximum(held, 0).astype(np.int64),
            asked=rank[len(t) - len(places) :],
        )

    @cached_property
    def steps(self) -> tuple[Array, Index]:
        """The distinct steps, and which of them leads to each row (-1 to the first)."""
        h, which = np.unique(np.diff(self.t), return_inverse=True)
        return h, np.concatenate(([-1], which)).astype(np.int64)

    def forces(self, problem: Problem, linear: list[int], signs: Array) -> tuple[Array, Array]:
        """Return the linear terms during the step before each row, and at each row: (n, m).

        `signs` (n,) is the mean sign of the rate from each time of the problem to the next.
        """
        columns = []
        for j in linear:
            term = problem.terms[j]
            if term.kind == "input":
                columns.append(problem.u[:, term.index])
            else:
                columns.append(signs if term.kind == "friction" else np.ones(len(problem.t)))
        table = np.array(columns).T if columns else np.empty((len(problem.t), 0))
        here = table[self.held]
        before = np.zeros_like(here)
        before[1:] = here[:-1]
        return before, here

    def variances(self, levels: Array) -> Array:
        """Return the noise variance of each row with the levels filled in: (n,)."""
        known = np.append(np.asarray(levels) ** 2, 1.0)
        return np.asarray(self.variance * known[self.level])

    def pilot(self) -> Array:
        """Return rough noise levels, one for each that is estimated: the root mean square scatter.

        That of rows about the line through their neighbours, which a smooth curve hardly enters.
        """
        found = np.empty(len(self.orders))
        for j in range(len(self.orders)):
            rows = self.level == j
            off = scatter(self.t[rows], self.y[rows], np.sqrt(self.variance[rows]))
            square = float(np.mean(off**2)) if len(off) else 0.0
            floor = np.finfo(float).eps * np.abs(self.y[rows]).max(initial=0.0)
            found[j] = max(np.sqrt(square), floor, np.finfo(float).tiny ** 0.25)
        return found


def tables(h: Array, drift: Array) -> tuple[Array, ...]:
    """Discretise each step: see ``_loops.discretise``."""
    found: tuple[Array, ...] = _loops.discretise(h, drift)
    return found
