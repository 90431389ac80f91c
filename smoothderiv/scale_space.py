"""SiZer: where a slope is surely up or down, over a range of smoothing."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts load when they are used
from numpy.typing import ArrayLike, NDArray

from smoothderiv._validate import one_order, said
from smoothderiv.answers.limits import check_level, critical_along
from smoothderiv.model import Model, require_rows
from smoothderiv.observations import Observations

if TYPE_CHECKING:
    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]

_WIDEST = 16.0  # times wider and narrower than the tuned smoothing
_DECADE, _DECADES = math.log(10.0), 60


@dataclass(frozen=True, eq=False)
class Sizer:
    """Where ``D^nu f`` is surely positive or negative, for each of several smoothings.

    Attributes
    ----------
    x : (m,) array
        Places, floats (seconds from ``data.origin`` for datetimes).
    width : (s,) array
        Smoothing over the tuned one, descending: 1 is what :func:`smoothderiv.smooth` takes with
        this model, 4 averages over four times as long. Where that is a polynomial, 1 is the
        smoothing of one effective degree of freedom more.
    edf : (s,) array
        Effective degrees of freedom.
    sign : (s, m) array of int
        1 or -1 where the simultaneous band of that smoothing lies above or below 0, else 0.
    nu : int
    level : float
    data : Observations
    """

    x: Array
    width: Array
    edf: Array
    sign: NDArray[np.int64]
    nu: int
    level: float
    data: Observations


def sizer(
    data: Observations,
    model: Model | None = None,
    nu: int = 1,
    level: float = 0.95,
    count: int = 41,
    x: ArrayLike | None = None,
) -> Sizer:
    """Return where the slope is surely up or down at each of a range of smoothings.

    What shows at all but the narrowest widths is surely there; what shows only where little is
    smoothed may be noise, and what shows only where much is smoothed is a trend. Each row is one
    model, conditioned with its smoothing held and the tuned noise, and a band that is simultaneous
    along x; rows are not corrected for each other.

    Parameters
    ----------
    data : Observations
        Of one-dimensional x.
    model : SmoothingSpline, AdaptiveSpline or penalised RegressionSpline, optional
        By default ``SmoothingSpline(order=3)``, or one order above the highest needed; unknown
        fields are tuned.
    nu : int
        The derivative: 1 for rise and fall, 2 for bending up and down.
    level : float
        Of the band of each smoothing.
    count : int
        How many smoothings, from 16 times wider to 16 times narrower than the tuned one.
    x : (m,) array, optional
        Places; 400 over the data without it.

    References
    ----------
    Chaudhuri & Marron, "SiZer for exploration of structures in curves", JASA 94, 1999.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> t = np.linspace(0, 1, 200)
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(200)
    >>> found = sd.sizer(sd.observe(t, np.sin(6 * t) + noise), count=9)
    >>> found.sign.shape, found.sign[4, [0, 200, 399]].tolist()
    ((9, 400), [1, -1, 1])
    """
    from smoothderiv.statespace.smoother import SmoothingSpline
    from smoothderiv.tuning import tune

    require_rows(data)
    if data.ndim > 1:
        raise ValueError("data: x has several dimensions; SiZer is for curves of one")
    check_level(level)
    nu = one_order(nu)
    if not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"count: {said(count)} smoothings; give 1 or more, such as 41")
    asked = None if x is None else np.sort(data.coordinates(x).ravel())
    if asked is not None and not len(asked):
        raise ValueError("x: there are no places; give at least one, or leave x out")
    highest = max(int(data.nu.max(initial=0)), nu)
    given = SmoothingSpline(order=max(3, highest + 2)) if model is None else model
    tuned = tune(given, data)
    if not {"q", "lam"}.isdisjoint(given.unknown(data)):
        tuned = _bent(tuned, data)
    low, high = float(data.x.min()), float(data.x.max())
    places = np.linspace(low, high, 400) if asked is None else asked
    width = np.geomspace(_WIDEST, 1 / _WIDEST, count)
    found = [_row(tuned.widened(w), data, nu, level, places) for w in width]
    return Sizer(
        places,
        width,
        np.array([edf for edf, _ in found]),
        np.array([sign for _, sign in found]),
        nu,
        level,
        data,
    )


def _bent(model: Model, data: Observations) -> Model:
    """Return the model, or if it was tuned to a polynomial a spline that may bend a little.

    Of such a smoothing that the curve has one effective degree of freedom more than the polynomial.
    """
    from smoothderiv.splines.regression import RegressionSpline
    from smoothderiv.statespace.adaptive import AdaptiveSpline
    from smoothderiv.statespace.smoother import SmoothingSpline

    if isinstance(model, RegressionSpline) and model.lam == math.inf:
        polynomial: Any = model
    elif isinstance(model, SmoothingSpline | AdaptiveSpline) and not np.any(model.q):
        polynomial = SmoothingSpline(model.order, 0.0, model.noise)
    else:
        return model

    def held(q: float) -> Model:
        change = {"q": q} if isinstance(polynomial, SmoothingSpline) else {"lam": 1.0 / q}
        bent: Model = dataclasses.replace(polynomial, **change, tuning=None)
        return bent

    order: int = polynomial.order
    span = float(np.ptp(data.x))
    sd = data.sd(model.noise) * span**data.nu
    log_q = (1 - 2 * order) * math.log(span) - math.log(float((sd[sd > 0] ** -2.0).sum()))

    def excess(log: float) -> float:
        free: float = held(math.exp(log)).condition(data).edf - order
        return free - 1.0

    while excess(log_q) > 0.0:
        log_q -= _DECADE
    for _ in range(_DECADES):
        if excess(log_q + _DECADE) > 0.0:
            log_q = scipy.optimize.brentq(excess, log_q, log_q + _DECADE, xtol=1e-10)
            break
        log_q += _DECADE
    return held(math.exp(log_q))


def _row(
    model: Model, data: Observations, nu: int, level: float, x: Array
) -> tuple[float, NDArray[np.int64]]:
    post: Posterior = model.condition(data)
    orders = np.full(len(x), post._order(nu, "sizer"))
    c = critical_along(post, np.array([nu]), level, float(x[0]), float(x[-1]))
    mean, std = post._mean(x, orders), np.sqrt(post._var(x, orders))
    return post.edf, np.asarray(np.sign(mean) * (np.abs(mean) > c * std), dtype=np.int64)
