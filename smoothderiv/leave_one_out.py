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


@dataclass(frozen=True)
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
