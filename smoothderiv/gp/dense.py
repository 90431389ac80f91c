"""The dense solver: one Cholesky factor of the matrix scaled to unit diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from smoothderiv.gp import _loops, assembly
from smoothderiv.gp.assembly import Layout
from smoothderiv.gp.kernel import Kernel
from smoothderiv.gp.memory import available
from smoothderiv.gp.trend import Trend
from smoothderiv.model import ContradictionError, UndeterminedError, UnsuitableError
from smoothderiv.observations import Observations

Array: TypeAlias = NDArray[np.float64]

LARGEST_CONDITION = 1e13
_SAFE_CONDITION = 1e8  # below it a nugget changes a loss by less than a search looks at
_SAME = 2.0**-40  # relative: exact rows that differ by less are the same row
LOG_2PI = float(np.log(2 * np.pi))


class NoFactorError(UnsuitableError):
    """A matrix has no Cholesky factor, even with the nugget that is allowed."""


@dataclass(frozen=True, eq=False)
class Factor:
    """Cholesky factor of ``A = S (K + R) S + nugget I``, where S makes the diagonal 1.

    The nugget is 0 where the noise alone bounds the condition number of A by
    ``kmax = LARGEST_CONDITION``: with ``rho = min(sd_i^2 S_i^2)``, A - rho I is positive
    semidefinite, and no eigenvalue is above the trace n, so ``cond(A) <= n / rho``. Where it does
    not, and A is ill-conditioned in fact, the nugget is the smallest for which the same argument
    gives kmax: ``(n - kmax rho) / (kmax - 1)``. While tuning, which needs a smooth loss, that is
    from a condition number of 1e8 on.

    Attributes
    ----------
    layout : Layout
    scale : (n,) array
        The diagonal of S, in the order of the layout.
    root : (n, n) array
        The factor L in its lower triangle; the rest is not meaningful.
    rho, nugget : float
    norm : float
        The 1-norm of A.
    """

    layout: Layout
    scale: Array
    root: Array
    rho: float
    nugget: float
    norm: float

    @classmethod
    def of(cls, kernel: Kernel, layout: Layout, sd: Array, smooth: bool = False) -> Factor:
        """Factorise the matrix of rows with standard deviations `sd`, in the layout's order."""
        diagonal = assembly.variances(kernel, layout) + sd**2
        if not (diagonal > 0).all():
            row = int(layout.rows[np.argmin(diagonal)])
            raise UnsuitableError(
                f"data: row {row} is exact, but the kernel {kernel!r} leaves nothing free there; "
                "leave the row out, or add a kernel that can follow it"
            )
        n, scale = len(sd), 1.0 / np.sqrt(diagonal)
        rho = float((sd**2 * scale**2).min())
        least = max((n - LARGEST_CONDITION * rho) / (LARGEST_CONDITION - 1), 0.0)
        root = np.empty((n, n))

        def attempt(nugget: float) -> Factor | None:
            assembly.lower(kernel, layout, root, scale)
            np.fill_diagonal(root, 1.0 + nugget)
            norm = _loops.symmetric_norm(root)
            _, failed = lapack.dpotrf(root.T, lower=0, clean=0, overwrite_a=1)
            return None if failed else cls(layout, scale, root, rho, nugget, norm)

        found = attempt(least if smooth else 0.0)
        if least > 0.0 and smooth and found is not None and found.condition < _SAFE_CONDITION:
            found = attempt(0.0)
        if least > 0.0 and not smooth and (found is None or found.condition > LARGEST_CONDITION):
            found = attempt(least)
        if found is not None:
            return found
        raise NoFactorError(
            f"kernel: the matrix of {n} rows has no Cholesky factor even with a nugget of "
            f"{least:.2g}; a number of {kernel!r} is out of range: check it, or tune it"
        )

    @cached_property
    def condition(self) -> float:
        """LAPACK's estimate of the condition number of A in the 1-norm."""
        inverse, _ = lapack.dpocon(self.root.T, self.norm)
        return float(1.0 / max(inverse, 1e-300))

    @property
    def log_det(self) -> float:
        """The logarithm of ``|K + R + nugget S^-2|``."""
        return 2.0 * float(np.log(np.diag(self.root)).sum() - np.log(self.scale).sum())

    def halve(self, rows: Array) -> Array:
        """Overwrite scaled rows B (m, n) with ``(L^-1 B')'`` and return them."""
        blas.dtrsm(1.0, self.root.T, rows.T, lower=0, trans_a=1, overwrite_b=1)
        return rows

    def unhalve(self, rows: Array) -> Array:
        """Overwrite rows B (m, n) with ``(L'^-1 B')'`` and return them."""
        blas.dtrsm(1.0, self.root.T, rows.T, lower=0, trans_a=0, overwrite_b=1)
        return rows

    def inverse_diagonal(self) -> Array:
        """Return the diagonal of ``(K + R)^-1``: (n,)."""
        inverse = np.triu(self.root.T).copy(order="F")
        inverse, _ = lapack.dtrtri(inverse, lower=0, overwrite_c=1)
        return np.asarray(np.einsum("ij,ij->i", inverse, inverse) * self.scale**2)

    def inverse(self) -> Array:
        """Overwrite the factor with ``A^-1``, symmetric, and return it; the factor is lost."""
        lapack.dpotri(self.root.T, lower=0, overwrite_c=1)
        _loops.mirror(self.root)
        return self.root


@dataclass(frozen=True, eq=False)
class Fit:
    """Generalised least squares of the trend, and what it leaves.

    Attributes
    ----------
    white : (n,) array
        ``L^-1 S (y - trend)``.
    alpha : (n,) array
        ``P y``: the weights of the covariances in the posterior mean, in the layout's order.
    basis : (p, n) array
        Orthonormal rows that span the whitened trend.
    triangle : (p, p) array
        R of the QR decomposition of the whitened trend.
    beta : (p,) array
    log_evidence : float
    """

    white: Array
    alpha: Array
    basis: Array
    triangle: Array
    beta: Array
    log_evidence: float

    @classmethod
    def of(cls, factor: Factor, trend: Trend, data: Observations) -> Fit:
        """Fit the trend of `data` given the factor of their covariance."""
        rows = factor.layout.rows
        x, nu = data.x.reshape(len(data), -1)[rows], data.nu.reshape(len(data), -1)[rows]
        white = factor.halve(((data.y[rows] - trend.fixed(x, nu)) * factor.scale)[None])[0]
        design = factor.halve(np.ascontiguousarray((trend.rows(x, nu) * factor.scale[:, None]).T))
        gram = log_gram(trend, x, nu)
        basis, triangle = np.linalg.qr(design.T)
        share = basis.T @ white
        white = white - basis @ share
        beta = np.linalg.solve(triangle, share)
        alpha = factor.unhalve(white[None].copy())[0] * factor.scale
        total = factor.log_det + white @ white + (len(x) - len(beta)) * LOG_2PI - gram
        total += 2.0 * float(np.log(np.abs(np.diag(triangle))).sum())
        return cls(white, alpha, np.ascontiguousarray(basis.T), triangle, beta, -0.5 * float(total))


def layout_of(data: Observations, places: int | None = None) -> Layout:
    """Return the layout of the rows of `data`, in tiles of so many places."""
    return Layout.of(data.x.reshape(len(data), -1), data.nu.reshape(len(data), -1), places)


def check_size(n: int) -> None:
    """Refuse a matrix that does not fit in memory."""
    free = available()
    need = 8.0 * n * n
    if need > 0.9 * free:
        raise UnsuitableError(
            f"data: {n} rows need a matrix of {need / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB "
            "are available; fit fewer rows, use solver='iterative', or in one dimension a Matern "
            "kernel or sd.SmoothingSpline, which are O(n)"
        )


def require_consistent(data: Observations) -> None:
    """Refuse exact rows of one place and order that differ by more than rounding.

    That is relative to the larger of the two, or to the rounding of the largest row of their order.
    """
    exact = np.flatnonzero(data.exact)
    rows = np.column_stack((data.x.reshape(len(data), -1), data.nu.reshape(len(data), -1)))[exact]
    order = np.lexsort(rows.T)
    same = (rows[order[1:]] == rows[order[:-1]]).all(axis=1)
    first, second = exact[order[:-1]][same], exact[order[1:]][same]
    size = np.maximum(np.abs(data.y[first]), np.abs(data.y[second]))
    noise = np.zeros(len(first))
    for kind in data.orders:
        mine = data.is_of(kind)
        noise[mine[first]] = 4 * np.finfo(float).eps * np.abs(data.y[mine]).max()
    apart = np.abs(data.y[first] - data.y[second]) > np.maximum(_SAME * size, noise)
    if apart.any():
        one, two = sorted((int(first[apart][0]), int(second[apart][0])))
        raise ContradictionError(
            f"yerr: row {two} is exact (yerr=0), but contradicts row {one} at the same place; "
            "correct one of them or give it a positive yerr"
        )


def log_gram(trend: Trend, x: Array, nu: NDArray[np.int64]) -> float:
    """Return log |X'X| of the free monomials, in pure numbers."""
    return 2.0 * float(np.log(require_determined(trend, x, nu)).sum())


def require_determined(trend: Trend, x: Array, nu: NDArray[np.int64]) -> Array:
    """Refuse rows that leave a monomial free; return the diagonal of R of X = Q R: (p,)."""
    if not len(trend.exponents):
        return np.empty(0)
    diagonal = np.abs(np.diag(np.linalg.qr(trend.unit_rows(x, nu), mode="r")))
    short = len(diagonal) < len(trend.exponents)
    if short or diagonal.min() <= 1e3 * np.finfo(float).eps * diagonal.max():
        free = len(diagonal) if short else int(np.argmin(diagonal))
        raise UndeterminedError(
            f"data: {len(x)} rows leave the {trend.words(free)} of the mean undetermined; add "
            "rows that determine it, such as a value (nu=0), or give mean=0 and a kernel without "
            "free polynomials"
        )
    return np.asarray(diagonal)
