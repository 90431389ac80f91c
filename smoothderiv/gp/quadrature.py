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
_MOST_PANELS, _MOST_BY_DISTANCE = 2000, 20_000


def integral_rows(
    kernel: Kernel, layout: Layout, a: float, b: float
) -> tuple[Array, Array, Array, float]:
    """Return nodes and weights on [a, b], ``cov(int f, rows)`` and ``var(int f)``.

    A covariance is analytic in t apart from t = x, where Matern and Wiener kernels have a kink:
    panels are split there, each at most two resolutions long. Stationary kernels take one pass over
    the distances, others one for each row and each node.
    """
    low, high = min(a, b), max(a, b)
    sign = math.copysign(1.0, b - a)
    if kernel.is_stationary:
        _, node, weight = panels(kernel, low, high, most=_MOST_BY_DISTANCE)
        row, prior = _by_distance(kernel, layout, low, high)
        return node, sign * weight, sign * row, prior
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
    return node, sign * weight, sign * row, prior


def _by_distance(kernel: Kernel, layout: Layout, low: float, high: float) -> tuple[Array, float]:
    """Return ``cov(int f, rows)`` and ``var(int f)`` of a stationary kernel k.

    ``G(high - x) - G(low - x)`` for a value, ``G(u) = int_0^u k``; for a derivative, which the
    integral undoes, ``D^(nu-1) k(x - low) - D^(nu-1) k(x - high)``; and the variance is
    ``2 int_0^L (L - r) k(r) dr``, L = high - low.
    """
    tiles = layout.tiles
    x = np.concatenate([np.tile(tile.x[:, 0], len(tile.nu)) for tile in tiles])
    nu = np.concatenate([np.repeat(tile.nu[:, 0], len(tile.x)) for tile in tiles])
    value, ends = np.zeros((1, 1), dtype=np.int64), np.array([low, high])
    row = np.empty(len(x))
    for order in np.unique(nu[nu > 0]):
        rows = nu == order
        both = kernel.blocks(ends[:, None], value, x[rows, None], np.array([[order - 1]]))[0, 0]
        row[rows] = both[0] - both[1]
    apart = ends[:, None] - x[nu == 0]
    far = np.append(np.abs(apart).ravel(), high - low)
    edge, node, weight = panels(kernel, 0.0, float(far.max()), far, _MOST_BY_DISTANCE)
    share = weight * kernel.blocks(node[:, None], value, np.zeros((1, 1)), value)[0, 0, :, 0]
    count = len(node) // (len(edge) - 1)
    total = np.concatenate(([0.0], np.cumsum(share.reshape(-1, count).sum(axis=1))))
    begin, end = np.sign(apart) * total[np.searchsorted(edge, np.abs(apart))]
    row[nu == 0] = end - begin
    inside = node < high - low
    prior = 2.0 * float((high - low - node[inside]) @ share[inside])
    return row, prior


def _split(kernel: Kernel, low: float, high: float, x: float, nu: NDArray[np.int64]) -> float:
    """Return ``cov(int_low^high f, D^nu f(x))``."""
    value, place, total = np.zeros((1, 1), dtype=np.int64), np.array([[x]]), 0.0
    middle = min(max(x, low), high)
    for first, last in ((low, middle), (middle, high)):
        if last > first:
            _, node, weight = panels(kernel, first, last)
            total += float(weight @ kernel.blocks(node[:, None], value, place, nu)[0, 0, :, 0])
    return total


def count_panels(kernel: Kernel, low: float, high: float, most: float) -> int:
    """Return how many panels of two resolutions there are; refuse more than can be afforded."""
    count = max(math.ceil((high - low) / (2.0 * kernel.resolution)), 1)
    if count > most:
        raise ValueError(
            f"integral: from {low:g} to {high:g} are {2 * count} times the length "
            f"{kernel.resolution:g} over which the kernel changes; integrate over shorter intervals"
        )
    return count


def panels(
    kernel: Kernel, low: float, high: float, places: Array | None = None, most: float = _MOST_PANELS
) -> tuple[Array, Array, Array]:
    """Return edges, nodes and weights of panels at most two resolutions long, split at the breaks.

    Or split at `places`, if given: fewer nodes do in shorter panels, where these are much closer.
    """
    count = count_panels(kernel, low, high, most)
    inside = np.array(kernel.breaks) if places is None else places
    inside = inside[(inside > low) & (inside < high)]
    few = len(inside) > 16 * count
    edges = np.union1d(np.linspace(low, high, (4 if few else 1) * count + 1), inside)
    node, weight = np.polynomial.legendre.leggauss(_NODES // 4 if few else _NODES)
    half = 0.5 * np.diff(edges)[:, None]
    centre = 0.5 * (edges[1:] + edges[:-1])[:, None]
    return edges, (centre + half * node).ravel(), (half * weight).ravel()
