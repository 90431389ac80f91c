"""Moment equations: linear functionals of a noisy curve set to zero by its equation, fitted.

Method "modulating", "fourier" and "gradient" differ in the functionals alone. Each moment says
``y - Z theta = 0`` for the true curve, where y and some columns of Z are functionals of the
observed one, so that the regressors are noisy too. With g = (1, -theta) over the noisy parts and
C_ab the noise covariance between parts a and b, the residual r has covariance ``C(theta) = sum_ab
g_a g_b C_ab``, and the estimate minimises ``r' C(theta)^-1 r``: generalised least squares whose
weights move with the coefficients (Hansen, Heaton & Yaron 1996). Its gradient is ``-2 (Z_j - N_j
C^-1 r)' C^-1 r``, N_j the covariance of the noise of column j with that of r: each noisy regressor
loses the part of its noise that the residual tells of, which is what frees it from dilution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smoothderiv.dynamics.estimate import Estimate, least_squares

Array = NDArray[np.float64]

_ROUNDS = 100
_SETTLED = 1e-24  # squared step, in standard errors


@dataclass(frozen=True, eq=False)
class MomentEquations:
    """L moments ``y = Z theta``, with the noise of y and of the noisy columns.

    Attributes
    ----------
    y : (L,) array
    Z : (L, p) array
    noisy : list of int
        The columns of Z that carry noise.
    cov : (1 + k, 1 + k, L, L) array
        Noise covariances between y and the noisy columns, up to a scale unless `known`.
    names : tuple of str
    known : bool
        Whether `cov` is absolute; it is then only ever scaled up, where the misfit asks for it.
    """

    y: Array
    Z: Array
    noisy: list[int]
    cov: Array
    names: tuple[str, ...]
    known: bool = False

    def solve(self) -> Estimate:
        """Minimise ``r' C(theta)^-1 r`` by Gauss-Newton steps from weighted least squares."""
        theta = self._start()
        best, value = theta, math.inf
        for _ in range(_ROUNDS):
            W, r, now, effective = self._at(theta)
            if now < value:
                best, value, step_from = theta, now, theta
            elif now > value * (1.0 + 1e-12):
                theta = 0.5 * (theta + step_from)
                continue
            step, inverse, _ = least_squares(W @ effective, W @ r, self.names)
            length = float(step @ np.linalg.solve(inverse, step))
            if not length > _SETTLED * max(now, np.finfo(float).tiny):
                break
            theta = theta + step
        W, r, now, effective = self._at(best)
        _, inverse, _ = least_squares(W @ effective, W @ r, self.names)
        dof = max(len(W) - len(best), 1)
        scale = now / dof
        if self.known:
            scale = max(scale, 1.0)
        return Estimate(
            coefficients=best,
            covariance=scale * inverse,
            dof=float(dof),
            notes={"moments": len(W), "misfit": now / dof},
        )

    def _start(self) -> Array:
        """Weigh by the noise of y alone."""
        W = whitener(self.cov[0, 0])
        return least_squares(W @ self.Z, W @ self.y, self.names)[0]

    def _at(self, theta: Array) -> tuple[Array, Array, float, Array]:
        """Return a whitening matrix, residual, objective, and regressors freed of noise."""
        g = np.append(1.0, -theta[self.noisy])
        C = np.einsum("a,abij,b->ij", g, self.cov, g)
        W = whitener(C)
        r = self.y - self.Z @ theta
        pull = W.T @ (W @ r)
        effective = self.Z.copy()
        for k, j in enumerate(self.noisy):
            effective[:, j] -= np.einsum("bij,b->ij", self.cov[1 + k], g) @ pull
        return W, r, float(np.sum((W @ r) ** 2)), effective


def whitener(C: Array) -> Array:
    """Return W with ``W C W' = 1``, (rank, L), without directions whose noise is rounding."""
    scale = np.sqrt(np.diag(C))
    value, vector = np.linalg.eigh(C / scale / scale[:, None])
    kept = value > len(C) * np.finfo(float).eps * value[-1]
    return np.asarray((vector[:, kept] / np.sqrt(value[kept])).T / scale)
