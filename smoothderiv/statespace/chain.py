"""Places as a Markov chain given the data: covariances between them, and draws along them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv.statespace import _chain_loops

if TYPE_CHECKING:
    from smoothderiv.statespace.states import States

Array = NDArray[np.float64]
Orders = NDArray[np.int64]


class Chain(NamedTuple):
    """Places in ascending order as a Markov chain given the data: see ``_loops.chain``.

    The state at each is ``basis c``; cov, transition and noise are those of c.
    """

    basis: Array
    cov: Array
    transition: Array
    noise: Array

    @property
    def links(self) -> tuple[Array, Array, Array]:
        """What the loops along a chain ask for."""
        return self.basis, self.cov, self.transition


def covariance(states: States, x: Array, says: Orders, x2: Array, says2: Orders) -> Array:
    """Return the covariances of components of the state at places x with others: (n, n2).

    Each of the fewer is taken along the chain of all.
    """
    if not len(x) or not len(x2):
        return np.zeros((len(x), len(x2)))
    if len(x) < len(x2):
        return covariance(states, x2, says2, x, says).T
    unit = states.rows.prior.units
    places, back = np.unique(np.concatenate((x, x2)), return_inverse=True)
    chain = states.chain(places)
    cov = _chain_loops.joint_cov(chain.links, back[: len(x)], says, back[len(x) :], says2)
    return np.asarray(unit[says][:, None] * cov * unit[says2])


def drawn(
    states: States,
    means: Callable[[Array], Array],
    x: Array,
    says: Orders,
    size: int,
    rng: np.random.Generator,
) -> Array:
    """Return draws of components of the state at places x, of which there is one: (size, n).

    The means of all components at places, ascending and distinct, are asked of `means`.
    """
    places, back = np.unique(x, return_inverse=True)
    chain = states.chain(places)
    roots = psd_root(np.concatenate((chain.noise[:-1], chain.cov[-1:])))
    paths = rng.standard_normal((size, len(places), states.rows.prior.dimension))
    _chain_loops.draw(means(places), roots, chain.basis, chain.transition, paths)
    return np.asarray(paths[:, back, says] * states.rows.prior.units[says])


def psd_root(S: Array) -> Array:
    """Return square roots of covariances (k, d, d), which may be singular."""
    scale = np.sqrt(np.maximum(np.diagonal(S, axis1=1, axis2=2), 0.0))
    safe = np.where(scale > 0, scale, 1.0)
    value, vector = np.linalg.eigh(S / safe[:, :, None] / safe[:, None, :])
    return np.asarray(scale[:, :, None] * vector * np.sqrt(np.maximum(value, 0.0))[:, None, :])
