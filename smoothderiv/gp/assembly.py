"""Assembly: rows sorted into tiles of places by orders, and covariance matrices filled by tiles.

Values and gradients at the same places share their distances; the temporaries of one tile fit a
processor's cache, whatever the number of rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from smoothderiv.gp.kernel import Kernel

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]

_TILE_ROWS = 384
_TILE_PLACES = (32, 256)


@dataclass(frozen=True, eq=False)
class Tile:
    """Every order of `nu` at every place of `x`: rows `start` onwards, order by order."""

    x: Array  # (t, d)
    nu: Orders  # (P, d)
    start: int

    @property
    def rows(self) -> slice:
        """The rows of the matrix that belong to the tile."""
        return slice(self.start, self.start + len(self.nu) * len(self.x))

    @property
    def shape(self) -> tuple[int, int]:
        """The number of orders and of places."""
        return len(self.nu), len(self.x)


@dataclass(frozen=True, eq=False)
class Layout:
    """Rows of a matrix: row i belongs to ``rows[i]`` of the data or of the question."""

    tiles: tuple[Tile, ...]
    rows: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, x: Array, nu: Orders, places: int | None = None) -> Layout:
        """Sort rows, places (n, d) and orders (n, d), into tiles; of a size for a cache."""
        tiles: list[Tile] = []
        rows: list[NDArray[np.intp]] = []
        start = 0
        for orders, members in _groups(x, nu):
            low, high = _TILE_PLACES
            width = places or min(max(_TILE_ROWS // len(orders), low), high)
            for first in range(0, members.shape[1], width):
                part = members[:, first : first + width]
                tiles.append(Tile(np.ascontiguousarray(x[part[0]]), orders, start))
                rows.append(part.ravel())
                start += part.size
        joined = np.concatenate(rows) if rows else np.zeros(0, dtype=np.intp)
        return cls(tuple(tiles), joined)


def _groups(x: Array, nu: Orders) -> Iterator[tuple[Orders, NDArray[np.intp]]]:
    """Yield orders (P, d) that were observed at the same places, and their rows (P, n)."""
    if not len(nu):
        return
    if (nu == nu[0]).all():
        yield nu[:1], np.arange(len(nu))[None]
        return
    orders, which = np.unique(nu, axis=0, return_inverse=True)
    members = [np.flatnonzero(which.ravel() == k) for k in range(len(orders))]
    waiting = list(range(len(orders)))
    while waiting:
        places = x[members[waiting[0]]]
        same = [k for k in waiting if np.array_equal(x[members[k]], places)]
        yield orders[same], np.array([members[k] for k in same])
        waiting = [k for k in waiting if k not in same]


def columns(x: Array, nu: Orders) -> tuple[Array, Orders]:
    """Return places and orders as (n, d)."""
    return (x[:, None], nu[:, None]) if x.ndim == 1 else (x, nu)


def cross(kernel: Kernel, rows: Layout, columns: Layout) -> Array:
    """Return the covariance of two layouts, (n1, n2), in the order of their own rows."""
    out = np.empty((len(rows), len(columns)))
    for left in rows.tiles:
        for right in columns.tiles:
            _put(out, left, right, kernel.blocks(left.x, left.nu, right.x, right.nu))
    return out


def lower(kernel: Kernel, layout: Layout, out: Array, scale: Array) -> None:
    """Fill the lower triangle of `out` with ``scale_i K_ij scale_j``."""
    for i, left in enumerate(layout.tiles):
        for right in layout.tiles[: i + 1]:
            block = kernel.blocks(left.x, left.nu, right.x, right.nu)
            block *= scale[left.rows].reshape(len(left.nu), 1, -1, 1)
            block *= scale[right.rows].reshape(1, len(right.nu), 1, -1)
            _put(out, left, right, block)


def apply(kernel: Kernel, rows: Layout, columns: Layout, vector: Array) -> Array:
    """Return ``K vector`` for the covariance K of two layouts, without holding K."""
    out = np.zeros(len(rows))
    for left in rows.tiles:
        for right in columns.tiles:
            block = kernel.blocks(left.x, left.nu, right.x, right.nu)
            part = vector[right.rows].reshape(1, len(right.nu), -1, 1)
            out[left.rows] += (block @ part).sum(axis=1).ravel()
    return out


def products(kernel: Kernel, layout: Layout, vectors: Array) -> Array:
    """Return ``K vectors`` for the covariance K of a layout, without holding K: (s, n).

    Vectors (s, n); each pair of tiles is visited once.
    """
    out, count = np.zeros_like(vectors), len(vectors)
    for i, left in enumerate(layout.tiles):
        mine, to_mine = (v[:, left.rows].reshape(count, *left.shape) for v in (vectors, out))
        for right in layout.tiles[: i + 1]:
            theirs, to_theirs = (
                v[:, right.rows].reshape(count, *right.shape) for v in (vectors, out)
            )
            first, second = kernel.products(left, right, mine, theirs, both=left is not right)
            to_mine += first
            if second is not None:
                to_theirs += second
    return out


def variances(kernel: Kernel, layout: Layout) -> Array:
    """Return the prior variance of each row of a layout: (n,)."""
    parts: list[Array] = []
    for _, run in itertools.groupby(layout.tiles, key=lambda tile: tile.nu.tobytes()):
        tiles = list(run)
        x, ends = np.concatenate([t.x for t in tiles]), np.cumsum([len(t.x) for t in tiles])
        found = (kernel.diagonal(x, nu[None], nu[None])[0, 0] for nu in tiles[0].nu)
        by_tile = zip(*(np.split(v, ends[:-1]) for v in found), strict=True)
        parts.extend(itertools.chain.from_iterable(by_tile))
    return np.concatenate(parts) if parts else np.zeros(0)


def slopes(kernel: Kernel, layout: Layout, weights: Array) -> Array:
    """Return d/d log parameter of ``sum_ij weights_ij K_ij`` for symmetric weights (n, n)."""
    total: Array | float = 0.0
    for i, left in enumerate(layout.tiles):
        for j, right in enumerate(layout.tiles[: i + 1]):
            part = weights[left.rows, right.rows].reshape(*left.shape, *right.shape)
            part = np.ascontiguousarray(part.transpose(0, 2, 1, 3))
            slope = kernel.slopes(part, left.x, left.nu, right.x, right.nu)
            total = total + slope * (1.0 if i == j else 2.0)
    return np.asarray(total)


def ordered(matrix: Array, rows: Layout, columns: Layout) -> Array:
    """Return a matrix of two layouts in the order of the questions."""
    out = np.empty_like(matrix)
    out[np.ix_(rows.rows, columns.rows)] = matrix
    return out


def _put(out: Array, left: Tile, right: Tile, block: Array) -> None:
    """Write the blocks of two tiles, (P, Q, t1, t2), to their rectangle of the matrix."""
    target = out[left.rows, right.rows].reshape(*left.shape, *right.shape)
    target[...] = block.transpose(0, 2, 1, 3)
