"""Means of a curve over cells of time: linear functionals of its posterior.

The mean of ``D^q f`` over a cell, q > 0, is the difference of ``D^(q-1) f`` at its ends over its
length. That of f itself, or of a function of the state, is a sum over nodes: Gauss's rule with five
nodes on each of some panels in the cell, whose error is ``(L^11 5!^4 / (11 10!^3)) |f^(10)|`` on a
panel of length L, 4e-13 of a wave's height where it turns by one radian. Panels are halved until
the means change by little of what the noise leaves unknown of them, so that the error of the rule
is none of the estimate's. Cells are short where the posterior follows the data closely, by its
effective degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]

_MOST = 120  # cells
_EVEN = 0.3  # of cells that are spread evenly, for each one that follows the degrees of freedom
_NODES = 5
_HALVINGS = 5  # of panels, where a function is not smooth
_SMALL = 1e-3  # of what the noise leaves unknown
_BLOCK = 1000  # places whose covariance with all others is held at a time


@dataclass(frozen=True, eq=False)
class Functional:
    """Linear functionals ``weights @ D^nu f(x)``, one for each cell.

    Attributes
    ----------
    x : (n,) array
        Places as floats, as the data hold them.
    nu : int
    weights : (cells, n) array
    """

    x: Array
    nu: int
    weights: Array

    def covariance(self, post: Posterior, other: Functional) -> Array:
        """Return the posterior covariance with other functionals: (cells, cells)."""
        data, total = post.data, np.zeros((len(self.weights), len(other.weights)))
        for first in range(0, len(self.x), _BLOCK):
            part = slice(first, first + _BLOCK)
            here, there = data.as_given(self.x[part]), data.as_given(other.x)
            cov = post.cov(here, self.nu, there, other.nu)
            total += self.weights[:, part] @ cov @ other.weights.T
        return total


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells between ascending ends (count + 1,), each of some panels of Gauss's rule."""

    ends: Array
    panels: int = 1

    @classmethod
    def of(
        cls, post: Posterior, low: float, high: float, share: float, least: float, most: float
    ) -> Cells:
        """Make `share` cells, or panels, for each effective degree of freedom of the posterior.

        There are at least `least` cells and at most `most`.
        """
        wanted = share * post.edf
        count = int(min(_MOST, max(wanted, least), most))
        inside = (post.data.x >= low) & (post.data.x <= high)
        x, which = np.unique(post.data.x[inside], return_inverse=True)
        each = np.bincount(which, post.leverage()[inside])
        edges, used = np.array([low, high]), np.zeros(2)
        if each.sum() > 0:
            edges = np.concatenate(([low], 0.5 * (x[1:] + x[:-1]), [high]))
            used = np.concatenate(([0.0], np.cumsum(each) / each.sum()))
        used += _EVEN * (edges - low) / (high - low)
        ends = np.interp(np.linspace(0.0, used[-1], count + 1), used, edges)
        return cls(ends, max(1, int(np.ceil(wanted / count))))

    @property
    def count(self) -> int:
        """How many cells there are."""
        return len(self.ends) - 1

    @property
    def lengths(self) -> Array:
        """Their lengths: (count,)."""
        return np.diff(self.ends)

    @cached_property
    def nodes(self) -> Array:
        """The nodes of the rule: (count * panels * 5,)."""
        node, _ = np.polynomial.legendre.leggauss(_NODES)
        share = (np.arange(self.panels)[:, None] + 0.5 * (1.0 + node)).ravel() / self.panels
        return np.asarray((self.ends[:-1, None] + self.lengths[:, None] * share).ravel())

    def means(self, values: Array) -> Array:
        """Return the means over the cells of values (.., n) at the nodes: (.., count)."""
        _, weight = np.polynomial.legendre.leggauss(_NODES)
        each = values.reshape(*values.shape[:-1], self.count, self.panels, _NODES)
        return np.asarray((each @ (0.5 * weight)).mean(axis=-1))

    def slope(self, nu: int) -> Functional:
        """Return the means of ``D^(nu+1) f`` as functionals of ``D^nu f``."""
        steps = np.diff(np.eye(self.count + 1), axis=0)
        return Functional(self.ends, nu, steps / self.lengths[:, None])

    def mean(self, slopes: Array | float = 1.0) -> Functional:
        """Return the means of a function of f, whose slopes at the nodes are given, linearised."""
        _, weight = np.polynomial.legendre.leggauss(_NODES)
        row = np.tile(0.5 * weight / self.panels, self.count * self.panels) * slopes
        cell = np.repeat(np.arange(self.count), self.panels * _NODES)
        weights = np.zeros((self.count, len(cell)))
        weights[cell, np.arange(len(cell))] = row
        return Functional(self.nodes, 0, weights)

    def resolved(self, function: Callable[[Array], Array], unknown: float) -> Array:
        """Return the means of a function of the place, panels halved until they hardly change.

        `unknown` is what share of the function's size the noise leaves unknown.
        """
        cells, found = self, self.means(function(self.nodes))
        for _ in range(_HALVINGS):
            cells = replace(cells, panels=2 * cells.panels)
            last, found = found, cells.means(function(cells.nodes))
            if np.abs(found - last).max() <= _SMALL * unknown * np.abs(found).max():
                break
        return found
