"""The criteria of the dense solver: what is minimised to tune, with its exact gradient."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.answers.leave_one_out import left_out
from smoothderiv.gp import assembly
from smoothderiv.gp.dense import (
    LARGEST_CONDITION,
    Factor,
    Fit,
    NoFactorError,
    check_size,
    layout_of,
    require_consistent,
)
from smoothderiv.gp.unknowns import Unknowns

Array: TypeAlias = NDArray[np.float64]

MOST_LEFT_OUT = 5000  # rows of which leave-one-out is tuned by the matrix


class DenseCriterion:
    """One criterion for one model and one data set, as a function of the log unknowns.

    Evidence: minus the log of the restricted likelihood. loo: minus the sum of leave-one-out log
    densities of the rows that are not exact, or where all are, of all rows.

    The gradient is a sum ``sum_ij W_ij dK_ij`` over the matrix of the rows: with
    ``P = K^-1 - K^-1 H (H' K^-1 H)^-1 H' K^-1`` and ``a = P y``, ``W = (P - a a') / 2`` for the
    evidence, and ``P diag(b) P / 2 - sym(P c a')``, ``c = a_i / P_ii``,
    ``b = (1 + a_i^2 / P_ii) / P_ii`` for leave-one-out (Rasmussen & Williams 2006, 5.9, 5.13).
    """

    def __init__(self, unknowns: Unknowns, criterion: str) -> None:
        check_size(2 * len(unknowns.data))
        require_consistent(unknowns.data)
        self._unknowns, self._criterion = unknowns, criterion
        self._data = unknowns.data
        self._layout = layout_of(self._data)

    def value(self, point: Array) -> float:
        """Return the criterion in nats."""
        if self._criterion != "evidence":
            return self.loss(point)[0]
        fitted = self._fitted(np.exp(point))
        if fitted is None:
            return np.inf
        return self._unknowns.prior(point)[0] - fitted[1].log_evidence

    def loss(self, point: Array) -> tuple[float, Array]:
        """Return the criterion in nats and its gradient."""
        values = np.exp(point)
        fitted = self._fitted(values)
        if fitted is None:
            return np.inf, np.zeros(len(point))
        kept = ~left_out(self._data)[self._layout.rows]
        loss, weights, diagonal = _weights(self._criterion, *fitted, kept)
        gradient = self._gradient(values, fitted[0], weights, diagonal)
        prior, slope = self._unknowns.prior(point)
        return float(loss) + prior, gradient + slope

    def _sd(self, values: Array) -> Array:
        return self._data.sd(self._unknowns.noise(values))[self._layout.rows]

    def _fitted(self, values: Array) -> tuple[Factor, Fit] | None:
        """Return the factor and the fit, or None where there is no factor."""
        kernel, sd = self._unknowns.kernel(values), self._sd(values)
        try:
            factor = Factor.of(kernel, self._layout, sd, smooth=True)
            return factor, Fit.of(factor, self._unknowns.trend, self._data)
        except (NoFactorError, np.linalg.LinAlgError):
            return None

    def _gradient(self, values: Array, factor: Factor, weights: Array, diagonal: Array) -> Array:
        """Return ``sum W dK`` for each unknown, with what moves the nugget."""
        kernel, sd = self._unknowns.kernel(values), self._sd(values)
        on_kernel, on_noise = _nugget_weights(factor, diagonal, sd)
        np.fill_diagonal(weights, on_kernel)
        slopes = assembly.slopes(kernel, self._layout, weights)[self._unknowns.indices]
        rows = self._layout.rows
        estimated = self._data.estimated[rows]
        by_noise = []
        for order in self._unknowns.orders:
            mine = self._data.is_of(order)[rows] & estimated
            by_noise.append(2.0 * float((on_noise * sd**2)[mine].sum()))
        return np.concatenate([slopes, by_noise])


def _weights(
    criterion: str, factor: Factor, fit: Fit, kept: NDArray[np.bool_]
) -> tuple[float, Array, Array]:
    """Return the loss, the weights W of its gradient, and their diagonal. The factor is lost."""
    scale, alpha = factor.scale, fit.alpha
    free = factor.unhalve(fit.basis.copy()) * scale
    P = factor.inverse()
    P *= scale
    P *= scale[:, None]
    P -= free.T @ free
    if criterion == "evidence":
        P -= np.multiply.outer(alpha, alpha)
        P *= 0.5
        return -fit.log_evidence, P, np.diag(P).copy()
    precision = np.where(kept, 1.0, np.diag(P))
    soft = np.where(kept, 0.0, 1.0)
    loss = 0.5 * (soft * (alpha**2 / precision - np.log(precision / (2 * np.pi)))).sum()
    c = soft * alpha / precision
    b = soft * (1.0 + alpha**2 / precision) / precision
    root = P * np.sqrt(b)
    W = 0.5 * (root @ root.T)
    across = np.multiply.outer(P @ c, alpha)
    W -= 0.5 * (across + across.T)
    return float(loss), W, np.diag(W).copy()


def _nugget_weights(factor: Factor, diagonal: Array, sd: Array) -> tuple[Array, Array]:
    """Return the weights of dK_ii and of dR_ii: the nugget scales with the diagonal and moves.

    What was factored is ``K + R + eta D``, ``D = diag(K + R)``,
    ``eta = (n - kmax rho) / (kmax - 1)`` where that is positive, ``rho = min R_ii / D_ii``.
    """
    on_kernel = diagonal * (1.0 + factor.nugget)
    on_noise = on_kernel.copy()
    if factor.nugget > 0 and factor.rho > 0:
        own = factor.scale**2
        lowest = int(np.argmin(sd**2 * own))
        pull = LARGEST_CONDITION / (LARGEST_CONDITION - 1) * float((diagonal / own).sum())
        on_kernel[lowest] += pull * factor.rho * own[lowest]
        on_noise[lowest] -= pull * (1.0 - factor.rho) * own[lowest]
    return on_kernel, on_noise
