"""Joint covariances of answers that the rows tell to within the rounding of their prior.

Such a covariance is a difference of large ones, ``K** - K*x (K + R)^-1 Kx*``; with the weights W of
the rows in the answers it is a sum of two that are positive,

    Var(f* - W f_x) + W R W',

of which the second, the noise of the rows, is known to all its digits, and the first, what rows
leave unknown between them, to the rounding of its parts.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

Array: TypeAlias = NDArray[np.float64]

_ROUNDING = 8.0 * np.finfo(float).eps  # of sums of products, times the root of their number


def positive(cov: Array, var: Array, noise: Array, size: Array) -> Array:
    """Return a covariance (m, m) that is positive semidefinite to rounding, in any scaling.

    Parameters
    ----------
    cov : (m, m) array
        The covariance as a difference; its rounding is relative to `size`.
    var : (m,) array
        Its diagonal, or better known; positive where `size` is.
    noise : (m, n) array
        ``W R^(1/2)``.
    size : (m,) array
        Standard deviations, the sums of those that each difference is of.

    Notes
    -----
    ``cov - W R W'`` is replaced by its root, of as many rows as are more than rounding, shrunk
    where it is more than `var` has room for. What is left of `var` then is an error alone, of
    which nothing is known but that it is at most a rounding: it is of each answer for itself.
    """
    known = np.einsum("ij,ij->i", noise, noise)
    noise = noise * _share(var, known)[:, None]
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    of_rows = noise @ noise.T
    rest = (cov - of_rows) * inverse * inverse[:, None]
    least = _ROUNDING * np.sqrt(noise.shape[1] + len(size))
    root = pivoted_root(rest, least) * size
    room = np.maximum(var - np.einsum("ij,ij->i", noise, noise), 0.0)
    root *= _share(room, np.einsum("ij,ij->j", root, root))
    out = of_rows + root.T @ root
    np.fill_diagonal(out, var)
    return np.asarray(out)


def _share(room: Array, size: Array) -> Array:
    """Return what makes variances of some sizes fit in the room there is: (m,)."""
    ratio = np.divide(room, size, out=np.ones_like(size), where=size > room)
    return np.asarray(np.sqrt(ratio))


def sampling_root(cov: Array) -> Array:
    """Return B with ``B'B = cov``, of as many rows as cov has rank."""
    size = np.sqrt(np.maximum(np.diag(cov), 0.0))
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    return pivoted_root(cov * inverse * inverse[:, None]) * size


def pivoted_root(scaled: Array, least: float = -1.0) -> Array:
    """Return B with ``B'B = scaled`` by Cholesky with pivots, as long as they are above `least`.

    Negative: LAPACK's, the rounding of the largest pivot.
    """
    root, pivot, rank, _ = lapack.dpstrf(np.asfortranarray(scaled), tol=least, lower=0)
    out = np.zeros((rank, len(scaled)))
    out[:, pivot - 1] = np.triu(root)[:rank]
    return out
