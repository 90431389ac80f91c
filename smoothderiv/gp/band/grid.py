"""The squared exponential process on a line as white noise on a grid, smoothed by a Gaussian.

With independent ``w_j ~ N(0, s^2)`` at the places ``g_j`` of a grid of step ``scale / c``,

    f(x) = sum_j w_j phi((x - g_j) / scale),    phi(t) = exp(-t^2),    s^2 = sigma^2 sqrt(2/pi) / c,

has by Poisson's summation formula the covariance

    sigma^2 exp(-r^2 / 2) (1 + 2 sum_m>0 exp(-(pi c m)^2 / 2) cos(2 pi m u)),

r = (x1 - x2) / scale, u the middle of x1 and x2 in steps. What is too much has, after q derivatives
on either side, at most ``2 (pi c)^2q exp(-(pi c)^2 / 2) / (2q - 1)!!`` of the variance of
``D^q f``: c = 3 keeps this below four rounding errors up to q = 2, c = 3.15 up to q = 4. A row
``D^q f(x)`` touches the functions with ``|t| <= T`` alone; those beyond add at most
``|H_q(T)| exp(-T^2) / sqrt((2q - 1)!!)``, H_q the polynomials of Hermite, which T = 6.5 keeps below
the same: 39 functions a row.

Rows in a panel of P steps share their functions, 2 half + P + 1, and are in it polynomials to
rounding: with ``a = P / 2c`` a Chebyshev coefficient of degree k of ``phi^(q)`` is at most
``2 (a / sqrt 2)^k sqrt((k + q)! / q!) / k!`` of its size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.band import _loops

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]

ROUNDING = 4.0 * float(np.finfo(float).eps)
_PANEL, _WIDE = 4, 8  # steps in a panel: for questions, and where rows are summed up in panels
_FINER = 20  # resolutions that are told apart, in one of 1
_REACH = 2.0**51  # steps that floats can count and halve
_BITS = 12  # of the step, so that a place of the grid is an exact number


@dataclass(frozen=True)
class Grid:
    """Where the functions are, and how large.

    Attributes
    ----------
    scale : float
        The length of the kernel.
    panel : float
        The width of a panel: a number of few bits, so that where it begins is an exact number.
    steps : int
        How many steps a panel has.
    half : int
        A row touches ``2 half + 1`` functions, those of a panel ``2 half + steps + 1``.
    size : float
        s, the standard deviation of the coefficients.
    """

    scale: float
    panel: float
    steps: int
    half: int
    size: float

    @classmethod
    def of(
        cls,
        scale: float,
        sigma: float,
        highest: int,
        panel: float = 0.0,
        accuracy: float = ROUNDING,
    ) -> Grid:
        """Return a grid on which derivatives up to the order `highest` are exact to rounding.

        Or have that part of their variance too much; with a panel, one that divides it.
        """
        fine, half = resolution(highest, accuracy)
        steps = _PANEL
        if panel:
            steps = math.ceil(panel * fine / scale)
            half = math.ceil(half * steps * scale / (panel * fine))
        else:
            mantissa, exponent = math.frexp(scale / fine)
            panel = _PANEL * math.ldexp(math.floor(mantissa * 2**_BITS) / 2**_BITS, exponent)
        size = sigma * math.sqrt(math.sqrt(2.0 / math.pi) * panel / (steps * scale))
        return cls(scale, panel, steps, half, size)

    @property
    def step(self) -> float:
        """From one function to the next."""
        return self.panel / self.steps

    @property
    def width(self) -> int:
        """How many functions the rows of a panel touch."""
        return 2 * self.half + self.steps + 1

    def rows(
        self, x: Array, nu: Orders, weight: Array | float, slopes: bool = False
    ) -> tuple[NDArray[np.int64], Array, Array]:
        """Return the first function that each row touches, the rows and their slopes.

        Rows are in units of `size`, times `weight`, so that their coefficients have variance 1;
        slopes are their derivatives by log scale, or empty.
        """
        x, n = self._reached(x), len(x)
        first = np.empty(n, dtype=np.int64)
        rows = np.empty((n, self.width))
        out = np.empty((n if slopes else 0, self.width))
        weights = np.full(n, self.size) * weight
        numbers = (weights, self.panel, self.step, self.scale, self.half)
        _loops.fill(x, nu, *numbers, first, rows, out)
        return first, rows, out

    def _reached(self, x: Array) -> Array:
        """Return places by which those beyond the reach of whole numbers are apart from all others.

        From there on, neighbouring floats are as far apart as the places of the grid.
        """
        reach = _REACH * self.step
        far = np.abs(x) > reach
        if not far.any():
            return x
        places, which = np.unique(x[far], return_inverse=True)
        out = x.copy()
        out[far] = np.copysign(reach + 2.0 * self.width * self.step * which, places[which])
        return out

    def polynomials(self, order: int, rank: int, slopes: bool) -> tuple[Array, Array]:
        """Return the Chebyshev polynomials of the rows of an order in a panel: (r, b), and slopes.

        The rows of all panels are the same but for where they begin.
        """
        angle = (np.arange(rank) + 0.5) * math.pi / rank
        x = 0.5 * self.panel * (np.cos(angle) + 1.0)
        turn = np.cos(np.outer(np.arange(rank), angle)) * (2.0 / rank)
        turn[0] *= 0.5
        _, rows, steep = self.rows(x, np.full(rank, order), 1.0, slopes)
        return turn @ rows, turn @ steep if slopes else steep


def wide_panel(scale: float, highest: int, accuracy: float) -> float:
    """Return the panel in which rows are summed up: that of all scales of a stretch.

    A power of two or one and a half times that, 5 to 8 steps wide.
    """
    mantissa, exponent = math.frexp(_WIDE * scale / resolution(highest, accuracy)[0])
    return math.ldexp(0.75 if mantissa >= 0.75 else 0.5, exponent)


@lru_cache(maxsize=64)
def rank(highest: int, wide: bool, accuracy: float = ROUNDING) -> int:
    """Return how many polynomials rows up to an order need in a panel."""
    steps = _WIDE if wide else _PANEL
    away = steps / (2.0 * math.sqrt(2.0) * resolution(highest, accuracy)[0])
    k, size = 0, 2.0
    while size > 0.5 * accuracy:
        k += 1
        size *= away * math.sqrt(k + highest) / k
    return k


@lru_cache(maxsize=64)
def resolution(order: int, accuracy: float = ROUNDING) -> tuple[float, int]:
    """Return c and how many functions on either side keep the order exact to rounding."""
    odd = float(math.prod(range(1, 2 * order, 2)))
    k, aliased = 20, math.inf
    while aliased > accuracy:
        k += 1
        square = (math.pi * k / _FINER) ** 2
        aliased = 2.0 * square**order * math.exp(-0.5 * square) / odd
    fine = k / _FINER
    half = math.ceil(math.sqrt(2 * order + 3) * fine)  # beyond the last extremum of what is left
    while True:
        away = (half + 0.5) / fine
        hermite = abs(np.polynomial.hermite.hermval(away, [0.0] * order + [1.0]))
        if hermite * math.exp(-(away**2)) / math.sqrt(odd) <= accuracy:
            return fine, half
        half += 1
