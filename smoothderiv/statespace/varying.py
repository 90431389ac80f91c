"""VaryingWiener: an integrated Wiener process whose spectral density varies along x."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smoothderiv.statespace.priors import IntegratedWiener, Steps

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VaryingWiener(IntegratedWiener):
    """``D^order f`` is white noise of density ``q * relative`` between neighbouring places.

    Attributes
    ----------
    places : (n + 1,) array
        Where the density changes, ascending; steps end and begin there, or lie between.
    relative : (n,) array
        Its size between them, over q. Beyond the ends it is as in the first and the last piece.
    """

    places: Array = None  # type: ignore[assignment]
    relative: Array = None  # type: ignore[assignment]

    @property
    def is_uniform(self) -> bool:
        return False

    def steps(self, h: Array, x: Array | None = None) -> Steps:
        assert x is not None
        uniform = super().steps(h)
        return uniform._replace(weight=uniform.weight * self.at(x - 0.5 * h)[:, None])

    def diffusion_at(self, x: Array) -> Array:
        return self.q * self.at(x)

    def at(self, x: Array) -> Array:
        """Return the relative density at places x: (m,)."""
        piece = np.searchsorted(self.places, x, side="right") - 1
        return np.asarray(self.relative[np.clip(piece, 0, len(self.relative) - 1)])


def hats(x: Array, knots: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the knot before each place and the share of the knot after: (n,) each.

    Beyond the knots the first and the last hold alone.
    """
    before = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    share = (x - knots[before]) / (knots[before + 1] - knots[before])
    return before.astype(np.int64), np.clip(share, 0.0, 1.0)
