"""Integrals of a process over an interval, by Gauss-Legendre panels split where kernels kink."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.assembly import Layout
from smoothderiv.gp.kernel import Kernel

Array: TypeAlias = NDArray[np.float64]

_NODES = 20
_MOST_PANELS = 2000


def integral_rows(
    kernel: Kernel, layout: Layout, a: float, b: float
) -> tuple[Array, Array, Array, float]:
    """Return nodes and weights on [a, b], ``cov(int f, rows)`` and ``var(int f)``.

    A covariance is analytic in t apart from t = x, where Matern and Wiener kernels have a kink:
    the panels of each row are split there, each at most two resolutions long.
    """
    low, high = min(a, b), max(a, b)
    _, node, weight = panels(kernel, low, high)
    value = np.zeros((1, 1), dtype=np.int64)
    row = np.concatenate(
        [
            [_split(kernel, low, high, float(x), nu[None]) for nu in tile.nu for x in tile.x[:, 0]]
            for tile in layout.tiles
        ]
    )
    inner = np.array([_split(kernel, low, high, float(x), value) for x in node])
    prior = float(weight @ inner)
    sign = math.copysign(1.0, b - a)
    return node, sign * weight, sign * row, prior


def _split(kernel: Kernel, low: float, high: float, x: float, nu: NDArray[np.int64]) -> float:
    """Return ``cov(int_low^high f, D^nu f(x))``."""
    value, place, total = np.zeros((1, 1), dtype=np.int64), np.array([[x]]), 0.0
    middle = min(max(x, low), high)
    for first, last in ((low, middle), (middle, high)):
        if last > first:
            _, node, weight = panels(kernel, first, last)
            total += float(weight @ kernel.blocks(node[:, None], value, place, nu)[0, 0, :, 0])
    return total


def panels(
    kernel: Kernel, low: float, high: float, places: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return edges, nodes and weights of panels at most two resolutions long, split at the breaks.

    Or split at `places`, if given: fewer nodes do where these are much closer.
    """
    count = max(math.ceil((high - low) / (2.0 * kernel.resolution)), 1)
    if count > _MOST_PANELS and places is None:
        raise ValueError(
            f"integral: from {low:g} to {high:g} are {2 * count} times the length "
            f"{kernel.resolution:g} over which the kernel changes; integrate over shorter intervals"
        )
    inside = np.array(kernel.breaks) if places is None else places
    inside = inside[(inside > low) & (inside < high)]
    edges = np.union1d(np.linspace(low, high, count + 1), inside)
    few = len(edges) > 16 * count
    node, weight = np.polynomial.legendre.leggauss(_NODES // 4 if few else _NODES)
    half = 0.5 * np.diff(edges)[:, None]
    centre = 0.5 * (edges[1:] + edges[:-1])[:, None]
    return edges, (centre + half * node).ravel(), (half * weight).ravel()
