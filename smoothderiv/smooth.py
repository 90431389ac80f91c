"""The door: fit a curve, or estimate a derivative, with no number from the user.

Engines are imported when they are first used, so that ``import smoothderiv`` is quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv.observations import Observations, observe

if TYPE_CHECKING:
    from smoothderiv.model import Model
    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]


def smooth(data: Observations, model: Model | None = None) -> Posterior:
    """Tune a model on data and condition it: the fitted curve with its derivatives and bands.

    Parameters
    ----------
    data : Observations
        Values and derivatives in any mix; see :func:`smoothderiv.observe`.
    model : Model, optional
        What to fit; its unknown fields are tuned, those given are held. By default a
        :class:`smoothderiv.RegressionSpline` penalised by the derivative two below its degree, in
        which everything is tuned: degree 5 and order 3, and higher where higher derivatives are
        observed; a lower order where there are too few rows to tell a parabola from noise.

    Returns
    -------
    Posterior
        Its bands are conditional on what was tuned.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> t = np.linspace(0, 6, 80)
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(80)
    >>> post = sd.smooth(sd.observe(t, np.sin(t) + noise))
    >>> lower, upper = post.interval(3.0, nu=1)
    >>> bool(lower < np.cos(3.0) < upper)
    True
    """
    from smoothderiv.tuning import tune

    return tune(default_model(data) if model is None else model, data).condition(data)


def default_model(data: Observations) -> Model:
    """Return the model that :func:`smooth` tunes when none is given."""
    from smoothderiv.splines.regression import RegressionSpline

    highest = int(np.max(data.nu, initial=0))
    conditions = len(np.unique(np.column_stack((data.x, data.nu)), axis=0)) if len(data) < 8 else 8
    order = min(max(3, highest + 1), max(conditions - bool(data.estimated_orders), 1))
    return RegressionSpline(degree=max(5, highest + 3), lam=None, order=order)


@dataclass(frozen=True)
class DerivativeEstimate:
    """A derivative at given places with its pointwise uncertainty; arrays of the shape of x.

    Attributes
    ----------
    x : where
    mean, std : posterior mean and standard deviation, in unit of y / unit of x ** nu
    lower, upper : pointwise limits of probability 0.95
    posterior : the whole fit, for any other question
    """

    x: ArrayLike
    mean: Array
    std: Array
    lower: Array
    upper: Array
    posterior: Posterior


def differentiate(
    x: ArrayLike,
    y: ArrayLike,
    nu: int = 1,
    yerr: ArrayLike | None = None,
    at: ArrayLike | None = None,
) -> DerivativeEstimate:
    """Estimate the derivative of order `nu` of noisy samples, with nothing to set.

    Parameters
    ----------
    x, y : (n,) arrays
        Samples; in any order, repeated places allowed, NaN in y for missing ones.
    nu : int
        Order of the derivative, 0 for the smoothed values.
    yerr : None, float or (n,) array
        One standard deviation of y; None has it estimated.
    at : (m,) array, optional
        Where to estimate; by default at `x`.

    Returns
    -------
    DerivativeEstimate

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> x = np.linspace(0, 6, 100)
    >>> est = sd.differentiate(x, np.sin(x) + 0.05 * np.cos(37 * x))
    >>> bool(np.abs(est.mean - np.cos(x)).max() < 0.2)
    True
    """
    post = smooth(observe(x, y, yerr))
    where = x if at is None else at
    lower, upper = post.interval(where, nu)
    return DerivativeEstimate(where, post.mean(where, nu), post.std(where, nu), lower, upper, post)
