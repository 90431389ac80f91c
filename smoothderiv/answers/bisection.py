"""Bisection of many brackets at once, as a curve answers many places at about the cost of one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bisected(
    left: Array, right: Array, before: Callable[[Array], NDArray[np.bool_]], times: int
) -> tuple[Array, Array]:
    """Halve brackets so many times; `before` tells which places lie on the side of the left end."""
    for _ in range(times):
        middle = 0.5 * (left + right)
        is_left = before(middle)
        left, right = np.where(is_left, middle, left), np.where(is_left, right, middle)
    return left, right
