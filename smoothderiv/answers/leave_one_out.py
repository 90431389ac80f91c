"""What a fit predicts for each row without it, exactly, from residuals and leverages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv.observations import Observations

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class LeaveOneOut:
    """What the fit without row i says of row i, for each row; arrays (n,) in the rows' units.

    A row without which the curve is undetermined has infinite `std`, residual 0 and log density
    -inf. Exact rows (``yerr=0``) are conditions, not observations: they have std 0, residual 0
    and log density 0.
    """

    mean: Array
    std: Array
    residual: Array
    log_density: Array

    def __repr__(self) -> str:
        told = np.flatnonzero((self.std > 0) & np.isfinite(self.std))
        lines = [
            f"LeaveOneOut: {len(self.std)} rows, log density {self.log_density.sum():.6g} nats"
        ]
        if len(told):
            z = self.residual[told] / self.std[told]
            largest, typical = int(np.argmax(np.abs(z))), math.sqrt(float(np.mean(z**2)))
            lines.append(
                f"  residual / std: root mean square {typical:.3g}, largest {z[largest]:.3g} "
                f"(row {told[largest]})"
            )
        for count, words in (
            (int(np.isinf(self.std).sum()), "without which the curve is undetermined"),
            (int((self.std == 0).sum()), "exact"),
        ):
            if count:
                lines.append(f"  {count} of them {words}")
        return "\n".join(lines)


def leave_one_out(
    residual: Array, leverage: Array, data: Observations, noise: Mapping[Any, float]
) -> LeaveOneOut:
    """Return the leave-one-out predictions that follow from residuals and leverages."""
    sd = data.sd(noise)
    free = 1.0 - leverage
    alone = (free <= 8 * np.finfo(float).eps) & (sd > 0)
    ordinary = (sd > 0) & ~alone
    left = np.where(ordinary, residual / np.where(ordinary, free, 1.0), 0.0)
    std = np.where(alone, np.inf, sd / np.sqrt(np.where(ordinary, free, 1.0)))
    with np.errstate(divide="ignore"):
        log_std = np.where(sd > 0, np.log(np.where(sd > 0, std, 1.0)), 0.0)
    scaled = np.where(ordinary, left / np.where(ordinary, std, 1.0), 0.0)
    constant = np.where(sd > 0, 0.5 * math.log(2 * math.pi), 0.0)
    return LeaveOneOut(data.y - left, std, left, -0.5 * scaled**2 - log_std - constant)


def leave_one_out_by(
    pull: Array, precision: Array, data: Observations, noise: Mapping[Any, float]
) -> LeaveOneOut:
    """Return the predictions ``N(y_i - (P y)_i / P_ii, 1 / P_ii)``, P the inverse covariance.

    `pull` is ``P y``, `precision` the diagonal of P (Rasmussen & Williams 2006, eq. 5.10-5.12).
    """
    soft = (data.sd(noise) > 0) & (precision > 0)
    precision = np.where(soft, precision, 1.0)
    residual = np.where(soft, pull / precision, 0.0)
    std = np.where(soft, precision**-0.5, np.where(data.exact, 0.0, np.inf))
    density = -0.5 * (residual**2 * precision - np.log(precision) + np.log(2 * np.pi))
    density = np.where(soft, density, np.where(data.exact, 0.0, -np.inf))
    return LeaveOneOut(data.y - residual, std, residual, density)


def log_predictive(
    residual: Array, leverage: Array, each: Array, data: Observations, noise: Mapping[Any, float]
) -> Array:
    """Return the log density of all rows of each place and order given all others: (groups,).

    Rows of one place and order are left out together, so that splitting a row into replicates
    changes no model's sum against another's. A group of rows with residual mean r weighted by
    ``1 / sd_i^2``, ``1/s^2 = sum_i 1/sd_i^2`` and leverage h is predicted by
    ``N(r; 0, s^2 / (1 - h))``, times the densities of its rows about their mean. That of a row
    that is alone in its group is `each`, where an engine may know it to more digits.
    """
    sd = data.sd(noise)
    soft = ~data.exact
    sure = soft & ~(sd > 0)  # a noise level that was estimated as nothing
    sd = np.where(sd > 0, sd, 1.0)
    precision = sd**-2
    group, count = _groups(data, soft)

    def total(values: Array) -> Array:
        return np.bincount(group, weights=values[soft], minlength=count).astype(float)

    weight, size = total(precision), total(np.ones(len(sd)))
    mean = total(precision * residual) / weight
    free = 1.0 - total(leverage)
    within = total(precision * residual**2) - weight * mean**2
    logs = total(np.log(sd)) + 0.5 * size * math.log(2 * math.pi)
    certain = total(sure.astype(float)) > 0
    alone = (free <= 8 * np.finfo(float).eps * size) | certain
    free = np.where(alone, 1.0, free)
    density = 0.5 * np.log(free) - 0.5 * (weight * mean**2 / free + within) - logs
    density = np.where(alone, -np.inf, density)
    return np.where((size == 1) & ~certain, total(each), density)


def left_out(data: Observations) -> NDArray[np.bool_]:
    """Mark the rows that are left out and predicted: those with noise, or if none has any, all."""
    return np.asarray(data.exact.all() | ~data.exact)


def log_predictive_exact(pull: Array, precision: Array) -> Array:
    """Return the log density of each row given all others, where no row has noise: (n,).

    With P the inverse covariance of the rows, `pull` is ``P y``, `precision` the diagonal of P:
    ``N((P y)_i / P_ii; 0, 1 / P_ii)``, the limit of small noise. -inf where P_ii is 0, of a row
    that alone determines something.
    """
    known = precision > 0
    safe = np.where(known, precision, 1.0)
    density = 0.5 * (np.log(safe / (2 * np.pi)) - pull**2 / safe)
    return np.where(known, density, -np.inf)


def _groups(data: Observations, rows: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Number the distinct pairs of place and order of the rows."""
    pairs = np.column_stack((data.x, data.nu))[rows]
    order = np.lexsort(pairs.T)
    fresh = np.r_[True, (np.diff(pairs[order], axis=0) != 0).any(axis=1)][: len(order)]
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(fresh) - 1
    return group, int(fresh.sum())
