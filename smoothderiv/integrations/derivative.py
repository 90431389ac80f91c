"""The package ``derivative``: importing this module adds the kind "smoothderiv" to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv.integrations import missing
from smoothderiv.model import Model
from smoothderiv.observations import observe
from smoothderiv.posterior import Posterior
from smoothderiv.smooth import smooth

try:
    from derivative.differentiation import Derivative, register
except ImportError as error:
    raise missing(error, "derivative") from None

Array = NDArray[np.float64]


@register("smoothderiv")
class Smooth(Derivative):  # type: ignore[misc]
    """The slope, or another derivative, of a fitted curve; irregular times and NaN are fine.

    Parameters
    ----------
    model : Model or None
        What is fitted; what it leaves unknown is tuned. None is the default of
        :func:`smoothderiv.smooth`.
    yerr : None or float
        One standard deviation of the values; None has it estimated.
    nu : int
        The order of the derivative.

    Examples
    --------
    >>> import numpy as np, derivative, smoothderiv as sd
    >>> import smoothderiv.integrations.derivative
    >>> t = np.linspace(0, 6, 80)
    >>> x = np.sin(t) + 0.05 * np.random.default_rng(0).standard_normal(80)
    >>> model = sd.SmoothingSpline(order=3)
    >>> slope = derivative.dxdt(x, t, kind="smoothderiv", model=model)
    >>> bool(np.abs(slope - np.cos(t))[5:-5].max() < 0.2)
    True
    """

    def __init__(self, model: Model | None = None, yerr: float | None = None, nu: int = 1) -> None:
        self.model, self.yerr, self.nu = model, yerr, nu
        self._last: tuple[bytes, Posterior] | None = None

    def compute(self, t: Array, x: Array, i: int) -> float:
        return float(self._posterior(t, x).mean(t[i], self.nu))

    def compute_for(self, t: Array, x: Array, indices: Any) -> Iterable[float]:
        return self._posterior(t, x).mean(np.asarray(t)[indices], self.nu)

    def compute_x(self, t: Array, x: Array, i: int) -> float:
        return float(self._posterior(t, x).mean(t[i]))

    def compute_x_for(self, t: Array, x: Array, indices: Any) -> Iterable[float]:
        return self._posterior(t, x).mean(np.asarray(t)[indices])

    def _posterior(self, t: Array, x: Array) -> Posterior:
        """Fit a series, once while it is the last one asked about."""
        key = np.ascontiguousarray((t, x), dtype=np.float64).tobytes()
        last = self._last  # once, as other threads may ask elsewhere
        if last is None or last[0] != key:
            last = key, smooth(observe(t, x, self.yerr), self.model, nu=self.nu)
            self._last = last
        return last[1]
