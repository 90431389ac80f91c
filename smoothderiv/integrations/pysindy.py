"""PySINDy: a method that gives states and their derivatives from one fitted curve."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv.integrations import missing
from smoothderiv.model import Model
from smoothderiv.observations import observe
from smoothderiv.smooth import smooth

try:
    from pysindy.differentiation.base import BaseDifferentiation
except ImportError as error:
    raise missing(error, "pysindy") from None

Array = NDArray[np.float64]


class SmoothDifferentiation(BaseDifferentiation):  # type: ignore[misc]
    """Give PySINDy states and derivatives of a curve fitted to each variable.

    ``pysindy.SINDy(differentiation_method=SmoothDifferentiation())`` then regresses smoothed
    derivatives on smoothed states. Times may be irregular, and NaN marks missing states.

    Parameters
    ----------
    model : Model or None
        What is fitted to each variable; what it leaves unknown is tuned. None is the default of
        :func:`smoothderiv.smooth`.
    yerr : None or float
        One standard deviation of the states; None has it estimated for each variable.

    Attributes
    ----------
    smoothed_x_ : (.., n, k) array, or (n,) of one state
        The states that were last smoothed; PySINDy takes them.
    std_ : (.., n, k) or (n,) array
        The standard deviations of the derivatives that were last given.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> from smoothderiv.integrations.pysindy import SmoothDifferentiation
    >>> t = np.linspace(0, 6, 80)
    >>> noise = 0.05 * np.random.default_rng(0).standard_normal((80, 2))
    >>> method = SmoothDifferentiation(sd.SmoothingSpline(order=3))
    >>> slopes = method(np.column_stack((np.sin(t), np.cos(t))) + noise, t)
    >>> bool(np.abs(slopes[:, 0] - method.smoothed_x_[:, 1]).max() < 0.2)
    True
    """

    def __init__(self, model: Model | None = None, yerr: float | None = None) -> None:
        self.model = model
        self.yerr = yerr

    def _differentiate(self, x: ArrayLike, t: ArrayLike = 1) -> Array:
        """Return the derivatives along the last axis but one, if there are two; keep the rest."""
        states = np.asarray(x, dtype=np.float64)
        axis = -2 if states.ndim > 1 else -1
        count = states.shape[axis]
        times: Any = np.asarray(t)
        times = times * np.arange(count) if times.ndim == 0 else times
        series = np.moveaxis(states, axis, -1)
        found = np.empty((3, *series.shape))
        for place in np.ndindex(series.shape[:-1]):
            data = observe(times, series[place], self.yerr)
            post = smooth(data, self.model, nu=1)
            found[(0, *place)] = post.mean(times)
            found[(1, *place)] = post.mean(times, 1)
            found[(2, *place)] = post.std(times, 1)
        self.smoothed_x_, slope, self.std_ = np.moveaxis(found, -1, axis)
        return np.asarray(slope)
