"""Quantiles of intervals, at a place and along a whole curve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

if TYPE_CHECKING:
    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]


def peak_deviations(
    post: Posterior, x: ArrayLike, nu: ArrayLike, rng: np.random.Generator, size: int = 4000
) -> Array:
    """Draw ``max |deviation| / std`` over the places asked, a block of paths at a time."""
    mean, std = post.mean(x, nu), post.std(x, nu)
    uncertain = std > 0
    if not uncertain.any():
        return np.zeros(size)
    block = max(1, min(size, 2_000_000 // std.size))
    peaks = []
    for first in range(0, size, block):
        count = min(block, size - first)
        paths = post.sample(x, nu, size=count, rng=rng)
        deviation = np.abs(paths - mean)[:, uncertain] / std[uncertain]
        peaks.append(deviation.max(axis=1))
    peak = np.concatenate(peaks)
    if math.isfinite(post.dof):
        peak = peak / np.sqrt(rng.chisquare(post.dof, size) / post.dof)
    return peak


def student_quantile(p: float, dof: float) -> float:
    """Return the quantile of Student's distribution, the normal one for infinite `dof`."""
    return float(special.stdtrit(dof, p) if math.isfinite(dof) else special.ndtri(p))


def check_level(level: float) -> float:
    """Refuse a probability outside (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"level: {level!r} is not a probability between 0 and 1, such as 0.95")
    return float(level)
