"""Is noise skewed? A law of one width below its mode and another above, against Gauss's."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

_SIDE = 0.2  # of the residuals lie on each side of a mode


def skew_gain(z: Array) -> float:
    """Return what a skewed law without heavy tails gains on Gauss's: nats of likelihood.

    The law is the two-piece normal, of one standard deviation below its mode and another above:

        p(z) = 2 / (s_1 + s_2) phi((z - mode) / s_k),   k = 1 below the mode, 2 above it,

    at the residual that is the best mode with a fifth of them at least on each side: a mode among
    the last few follows chance. Given the mode the best s_k follow from the sums of squares S_k
    about it on each side, and the likelihood is a function of ``S_1^(1/3) + S_2^(1/3)``. Noise of
    Gauss's law gains g or more with probability ``exp(-g)`` (Wilks: two numbers more).

    References
    ----------
    Wallis (2014), The two-piece normal, binormal, or double Gaussian distribution: its origin and
    rediscoveries, doi:10.1214/13-STS417.
    """
    z, n = np.sort(z), len(z)
    if n < 2 or not z[-1] > z[0]:
        return 0.0
    below, first, second = np.arange(n), _before(z), _before(z**2)
    left = second - 2.0 * z * first + below * z**2
    both = second[-1] + z[-1] ** 2 - 2.0 * z * (first[-1] + z[-1]) + n * z**2
    inner = slice(int(_SIDE * n), n - int(_SIDE * n))
    roots = np.cbrt(np.maximum(left, 0.0)) + np.cbrt(np.maximum(both - left, 0.0))
    return float(0.5 * n * math.log(4.0 * float(z @ z)) - 1.5 * n * math.log(roots[inner].min()))


def _before(values: Array) -> Array:
    """Return the sums of the values before each."""
    return np.cumsum(values) - values
