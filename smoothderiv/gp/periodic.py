"""The periodic kernel, by the recursion of its derivatives in the phase."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smoothderiv.gp.kernel import (
    Array,
    Kernel,
    Number,
    Orders,
    Parameter,
    known,
)
from smoothderiv.gp.radial import (
    Scale,
    check_scale_ndim,
    frozen_scale,
    inverse_scales,
    scale_parameters,
)


@dataclass(frozen=True)
class Periodic(Kernel):
    """``k = sigma^2 prod_a exp(-2 sin(pi (x1_a - x2_a) / period)^2 / scale_a^2)``.

    All derivatives exist. In the phase t = 2 pi (x1 - x2) / period and with a = scale^-2, a factor
    is ``g = exp(a (cos t - 1))``, and ``g' = -a sin(t) g`` gives its derivatives by Leibniz' rule.

    Attributes
    ----------
    period : float, LogNormal or None
        In the unit of x.
    scale : float, sequence of d floats, LogNormal or None
        How fast f changes within a period; a pure number, small for many wiggles.
    sigma : float, LogNormal or None
        Amplitude, in the unit of y.
    isotropic : bool
        Tune one `scale` for all dimensions.

    References
    ----------
    MacKay (1998), Introduction to Gaussian processes, eq. 47.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> k = kernels.Periodic(period=2.0, scale=1.0, sigma=3.0)
    >>> k.cov([0.0, 0.5], 0, [2.0], 0).round(6)
    array([[9.      ],
           [3.310915]])
    """

    period: Number = None
    scale: Scale = None
    sigma: Number = None
    isotropic: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", frozen_scale(self.scale, self.isotropic))
        self._settle("period", "sigma")

    @property
    def smoothness(self) -> float:
        return math.inf

    @property
    def is_stationary(self) -> bool:
        return True

    @property
    def resolution(self) -> float:
        rough = min(1.0, float(1.0 / inverse_scales(self.scale, 1).max()))
        return known(self.period, "period") * rough / (2 * math.pi)

    def parameters(self, ndim: int) -> tuple[Parameter, ...]:
        widths = scale_parameters(self.scale, self.isotropic, ndim)
        return (
            Parameter("sigma", "amplitude", -1, self.sigma),
            Parameter("period", "period", -1, self.period),
            *(dataclasses.replace(width, kind="number") for width in widths),
        )

    def filled(self, values: Sequence[Number]) -> Kernel:
        sigma, period, *rest = values
        scale = rest[0] if len(rest) == 1 else tuple(rest)
        return dataclasses.replace(self, sigma=sigma, period=period, scale=scale)

    def check_ndim(self, ndim: int) -> None:
        check_scale_ndim(self, self.scale, ndim)

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        orders = p[:, None] + q[None]
        factors = [self._factor(x1, x2, a, int(orders[..., a].max())) for a in range(p.shape[1])]
        out = np.empty((len(p), len(q), len(x1), len(x2)))
        for i, j in np.ndindex(len(p), len(q)):
            out[i, j] = known(self.sigma, "sigma") ** 2 * (-1.0) ** q[j].sum()
            for factor, m in zip(factors, orders[i, j], strict=True):
                out[i, j] *= factor[m]
        return out

    def slopes(self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        orders, ndim = p[:, None] + q[None], p.shape[1]
        factors = [self._factor(x1, x2, a, int(orders[..., a].max()) + 1) for a in range(ndim)]
        widths = [self._width_slope(x1, x2, a, factors[a]) for a in range(ndim)]
        total, period, scale = 0.0, 0.0, np.zeros(ndim)
        for i, j in np.ndindex(len(p), len(q)):
            m = orders[i, j]
            weight = weights[i, j] * known(self.sigma, "sigma") ** 2 * (-1.0) ** q[j].sum()
            values = [factor[k] for factor, k in zip(factors, m, strict=True)]
            total += float((weight * math.prod(values)).sum())
            for a in range(ndim):
                others = weight * math.prod(values[:a] + values[a + 1 :])
                tau = x1[:, None, a] - x2[None, :, a]
                bent = m[a] * values[a] + tau * factors[a][m[a] + 1]
                period -= float((others * bent).sum())
                scale[a] += float((others * widths[a][m[a]]).sum())
        lengths = scale if isinstance(self.scale, tuple) else scale.sum(keepdims=True)
        return np.concatenate([[2.0 * total, period], lengths])

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:
        at_one = self.blocks(x[:1], p, x[:1], q)[:, :, 0]
        return np.broadcast_to(at_one, (len(p), len(q), len(x)))

    def _phase(self, x1: Array, x2: Array, axis: int) -> tuple[Array, float]:
        rate = 2 * math.pi / known(self.period, "period")
        return rate * (x1[:, None, axis] - x2[None, :, axis]), rate

    def _factor(self, x1: Array, x2: Array, axis: int, highest: int) -> list[Array]:
        """Return the derivatives of orders 0 to `highest` of the factor of one dimension."""
        t, rate = self._phase(x1, x2, axis)
        a = inverse_scales(self.scale, x1.shape[1])[axis] ** 2
        found = [np.exp(-2.0 * a * np.sin(0.5 * t) ** 2)]
        sines = _sine_derivatives(t, highest)
        for n in range(highest):
            terms = (math.comb(n, k) * sines[k] * found[n - k] for k in range(n + 1))
            found.append(-a * sum(terms))
        return [rate**n * g for n, g in enumerate(found)]

    def _width_slope(self, x1: Array, x2: Array, axis: int, factor: list[Array]) -> list[Array]:
        """Return d/d log scale of the derivatives: those of ``-2 a (cos t - 1) g``."""
        t, rate = self._phase(x1, x2, axis)
        a = inverse_scales(self.scale, x1.shape[1])[axis] ** 2
        cosines = [-2.0 * np.sin(0.5 * t) ** 2]
        cosines += [-s for s in _sine_derivatives(t, len(factor) - 1)]
        return [
            -2.0
            * a
            * sum(math.comb(n, k) * rate**k * cosines[k] * factor[n - k] for k in range(n + 1))
            for n in range(len(factor))
        ]


def _sine_derivatives(t: Array, count: int) -> list[Array]:
    """Return the first `count` derivatives of sin, from order 0 on."""
    sine, cosine = np.sin(t), np.cos(t)
    return [(sine, cosine, -sine, -cosine)[n % 4] for n in range(count)]
