"""Estimate: what each method hands back, free of units; and what cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv.model import UndeterminedError

Array = NDArray[np.float64]

SINGULAR = 1e-10  # smallest pivot of normed columns that is not taken for rounding


@dataclass(frozen=True, eq=False)
class Estimate:
    """Coefficients of a problem by one method, in the units of the problem.

    Attributes
    ----------
    coefficients : (p,) array
    covariance : (p, p) array
    dof : float
        Degrees of freedom of the intervals.
    noise : mapping from order to level, in the units of the problem
    disturbance : float
        Spectral density of the white noise that drives ``D^order x``; 0 if the method has none.
    notes : dict
        What else the method has to say.
    """

    coefficients: Array
    covariance: Array
    dof: float
    noise: Mapping[int, float] = field(default_factory=dict)
    disturbance: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)


def undetermined(R: Array, names: tuple[str, ...]) -> None:
    """Refuse columns, given by their triangular factor, that depend on each other."""
    norms = np.linalg.norm(R, axis=0)
    if len(R) == len(norms) and norms.all() and np.abs(np.diag(R) / norms).min() > SINGULAR:
        return
    blamed = collinearity(R, names)[1]
    raise UndeterminedError(
        f"terms: {' and '.join(blamed)} cannot be told apart with these data; excite the system "
        "(vary the input), or leave one of them out of terms"
    )


def collinearity(columns: Array, names: tuple[str, ...]) -> tuple[float, list[str]]:
    """Return the condition number of columns, each normed to 1, and whom the worst of them hurts.

    Belsley, Kuh and Welsch (1980): above 30 the columns are nearly dependent; the coefficients
    hurt are those of which the smallest singular value makes more than half of the variance.
    """
    norms = np.linalg.norm(columns, axis=0)
    zero = [name for name, norm in zip(names, norms, strict=True) if not norm > 0]
    if zero:
        return float("inf"), zero
    _, value, vector = np.linalg.svd(columns / norms, full_matrices=False)
    value = np.maximum(value, np.finfo(float).eps * value[0])
    share = (vector / value[:, None]) ** 2
    share = share[-1] / share.sum(axis=0)
    hurt = [name for name, part in zip(names, share, strict=True) if part > 0.5]
    return float(value[0] / value[-1]), hurt or list(names)


def least_squares(Z: Array, y: Array, names: tuple[str, ...]) -> tuple[Array, Array, Array]:
    """Return coefficients, ``(Z'Z)^-1`` and residuals of ordinary least squares."""
    size = np.linalg.norm(Z, axis=0)
    if not (size > 0).all():
        size = np.where(size > 0, size, 1.0)
    Q, R = np.linalg.qr(Z / size)
    undetermined(R, names)
    theta = np.linalg.solve(R, Q.T @ y) / size
    inverse = np.linalg.inv(R) / size[:, None]
    return theta, inverse @ inverse.T, y - Z @ theta
