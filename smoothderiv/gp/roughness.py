"""How rough the highest derivative of a process is: the kink of its covariance, in 1-D."""

from __future__ import annotations

import math

import numpy as np

from smoothderiv.gp.composite import Product, Sum
from smoothderiv.gp.kernel import Kernel, known
from smoothderiv.gp.kernels import Matern12, Matern32, Matern52, Matern72
from smoothderiv.gp.wiener import Wiener
from smoothderiv.statespace.priors import Matern


def diffusion(kernel: Kernel) -> float:
    """Return the quadratic variation per unit of x of the highest derivative that exists.

    ``lim 2 (K(0) - K(h)) / h`` of its covariance K: 0 where all derivatives exist. Of a sum that
    of its roughest parts; of a product that of each of its roughest parts times the variances of
    the others, since K has their kinks at h = 0 by Leibniz' rule.
    """
    if isinstance(kernel, (Matern12, Matern32, Matern52, Matern72)):
        sigma = known(kernel.sigma, "sigma")
        return Matern(int(kernel.smoothness), kernel.resolution, sigma).diffusion
    if isinstance(kernel, Wiener):
        return known(kernel.sigma, "sigma") ** 2
    if not isinstance(kernel, (Sum, Product)):
        return 0.0
    total = 0.0
    for i, part in enumerate(kernel.parts):
        if part.smoothness == kernel.smoothness:
            others = kernel.parts[:i] + kernel.parts[i + 1 :] if isinstance(kernel, Product) else ()
            total += diffusion(part) * math.prod(_variance(other) for other in others)
    return total


def _variance(kernel: Kernel) -> float:
    """Return the variance of f at one place under a kernel whose variance does not change."""
    value = np.zeros((1, 1), dtype=np.int64)
    return float(kernel.diagonal(np.zeros((1, 1)), value, value)[0, 0, 0])
