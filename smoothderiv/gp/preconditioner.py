"""A cheap matrix below the covariance of many rows: partial Cholesky plus the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack, qr

from smoothderiv.gp import assembly
from smoothderiv.gp.assembly import Layout
from smoothderiv.gp.kernel import Kernel

Array: TypeAlias = NDArray[np.float64]

_BLOCK = 64  # pivots drawn at once
_SINGULAR = 1e-10  # of a pivot beside what it was


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """``M = L L' + R``, where ``L L'`` interpolates K at some rows, in a matrix scaled by S.

    What K has beyond a partial Cholesky factor is positive semidefinite, so that ``M <= K + R``
    and ``r' (K + R)^-1 r <= r' M^-1 r``: the residuals of an iterative solve bound its error.
    Rows are drawn in proportion to what is left of their variance (Chen, Epperly, Tropp & Webber
    2024), from a fixed seed. ``M^-1 = R^-1/2 (I - Q Q') R^-1/2``, Q orthonormal from a QR
    decomposition of ``[R^-1/2 L; I]``, which squares no condition number.

    Attributes
    ----------
    basis : (n, k) array
        Q.
    inverse_sd : (n,) array
        The diagonal of R^-1/2.
    """

    basis: Array
    inverse_sd: Array

    @classmethod
    def of(
        cls, kernel: Kernel, layout: Layout, scale: Array, variance: Array, rank: int
    ) -> Preconditioner:
        """Factor the scaled covariance of a layout, whose scaled noise is `variance`."""
        root = _partial_cholesky(kernel, layout, scale, variance, rank)
        n, k = len(layout), len(root)
        stacked = np.empty((n + k, k), order="F")
        stacked[:n] = root.T / np.sqrt(variance)[:, None]
        stacked[n:] = np.eye(k)
        basis, _ = qr(stacked, mode="economic", overwrite_a=True, check_finite=False)
        return cls(np.ascontiguousarray(basis[:n]), 1.0 / np.sqrt(variance))

    def solve(self, vectors: Array) -> Array:
        """Return ``M^-1 v`` for each of the vectors (s, n)."""
        white = vectors * self.inverse_sd
        white -= (white @ self.basis) @ self.basis.T
        return np.asarray(white * self.inverse_sd)


def _partial_cholesky(
    kernel: Kernel, layout: Layout, scale: Array, variance: Array, rank: int
) -> Array:
    """Return L' (k, n), k <= rank; fewer where what is left is below the noise."""
    x, nu = _rows(layout)
    left = assembly.variances(kernel, layout) * scale**2
    root, count = np.empty((rank, len(left))), 0
    rng = np.random.default_rng(0)
    while count < rank:
        open_ = np.flatnonzero(left > 0.1 * variance)
        size = min(_BLOCK, rank - count, len(open_))
        if not size:
            break
        share = left[open_] / left[open_].sum()
        drawn = np.sort(rng.choice(open_, size, replace=False, p=share))
        block = Layout.of(x[drawn], nu[drawn])
        drawn = drawn[block.rows]
        found = assembly.cross(kernel, block, layout) * scale * scale[drawn, None]
        found -= root[:count, drawn].T @ root[:count]
        fresh = _whitened(found, drawn)
        root[count : count + len(fresh)] = fresh
        count += len(fresh)
        left -= (fresh**2).sum(axis=0)
        left[drawn] = 0.0
    return root[:count]


def _whitened(found: Array, drawn: NDArray[np.intp]) -> Array:
    """Return ``L_b^-1 C`` for the rows C of a block with pivots, those left out that are spent."""
    own = np.asfortranarray(found[:, drawn])
    largest = float(np.diag(own).max())
    triangle, pivot, rank, _ = lapack.dpstrf(own, lower=1, tol=_SINGULAR * largest)
    rows = np.ascontiguousarray(found[pivot[:rank] - 1])
    blas.dtrsm(1.0, triangle[:rank, :rank], rows.T, side=1, lower=1, trans_a=1, overwrite_b=1)
    return rows


def _rows(layout: Layout) -> tuple[Array, NDArray[np.int64]]:
    """Return places and orders of every row of a layout, in its order."""
    x = [np.tile(tile.x, (len(tile.nu), 1)) for tile in layout.tiles]
    nu = [np.repeat(tile.nu, len(tile.x), axis=0) for tile in layout.tiles]
    return np.concatenate(x), np.concatenate(nu)
