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

    The state at each is ``basis c``; transition and noise are those of c, whose covariance is
    ``root diag(weight) root'``, as that of the noise is of its own; that of the state is
    ``whole diag(weight) whole'``.
    """

    basis: Array
    root: Array
    weight: Array
    whole: Array
    transition: Array
    noise_root: Array
    noise_weight: Array

    @property
    def noise(self) -> Array:
        """The covariances of what is left of coordinates given the next: (k, d, d)."""
        scaled = self.noise_root * self.noise_weight[:, None, :]
        return np.asarray(scaled @ np.swapaxes(self.noise_root, 1, 2))

    @property
    def last_cov(self) -> Array:
        """The covariance of the last coordinates: (d, d)."""
        return np.asarray((self.root[-1] * self.weight[-1]) @ self.root[-1].T)


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
    cov = _chain_loops.joint_cov(chain[:5], back[: len(x)], says, back[len(x) :], says2)
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
    roots = chain.noise_root * np.sqrt(chain.noise_weight)[:, None, :]
    roots[-1] = chain.root[-1] * np.sqrt(chain.weight[-1])
    paths = rng.standard_normal((size, len(places), states.rows.prior.dimension))
    _chain_loops.draw(means(places), roots, chain.basis, chain.transition, paths)
    return np.asarray(paths[:, back, says] * states.rows.prior.units[says])
