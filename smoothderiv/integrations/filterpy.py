"""filterpy: a smoothing spline and its data as a filter, to go on from with what it offers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv.integrations import missing
from smoothderiv.model import require_known
from smoothderiv.observations import Observations
from smoothderiv.statespace.smoother import SmoothingSpline
from smoothderiv.statespace.states import NO_GAINS, covariances, multiplied

try:
    from filterpy.kalman import KalmanFilter
except ImportError as error:
    raise missing(error, "filterpy") from None

Array = NDArray[np.float64]


class FilterpyProblem(NamedTuple):
    """A configured filterpy.kalman.KalmanFilter and the arrays for its batch_filter.

    Attributes
    ----------
    kf : filterpy.kalman.KalmanFilter
        Its x and P are the state (f, f', ..) given the first rows, `used` of them, which determine
        the polynomial: filterpy has no diffuse start.
    zs, Fs, Qs, Hs, Rs : lists
        One entry for each row after those, in order of x: pass them all to ``kf.batch_filter``.
    x : (n - used,) array
        Where those rows are.
    used : int
    """

    kf: Any
    zs: list[float]
    Fs: list[Array]
    Qs: list[Array]
    Hs: list[Array]
    Rs: list[Array]
    x: Array
    used: int


def to_filterpy(model: SmoothingSpline, data: Observations) -> FilterpyProblem:
    """Return a filterpy filter for these rows, started where they determine the polynomial.

    Raises
    ------
    ValueError
        As :meth:`.SmoothingSpline.condition`.

    Examples
    --------
    >>> import smoothderiv as sd
    >>> from smoothderiv.integrations.filterpy import to_filterpy
    >>> data = sd.observe([0.0, 1.0, 2.0, 3.0], [0.1, 0.9, 2.2, 2.8], yerr=0.1)
    >>> model = sd.SmoothingSpline(order=2, q=0.5)
    >>> problem = to_filterpy(model, data)
    >>> zs, Fs, Qs, Hs, Rs = problem[1:6]
    >>> means, covs, _, _ = problem.kf.batch_filter(zs, Fs=Fs, Qs=Qs, Hs=Hs, Rs=Rs)
    >>> post = model.condition(data)
    >>> bool(abs(means[-1, 0, 0] - post(3.0)) < 1e-12)
    True
    """
    require_known(model, data)
    rows = model.rows(data)
    d, unit, prior = model.order, rows.prior.units, rows.prior
    used = len(rows.settled[0][1])
    mean, factor = np.empty((len(rows.x), d)), np.empty((len(rows.x), d * (d + 1) // 2))
    rows.filter(NO_GAINS, (mean, factor))
    kf = KalmanFilter(dim_x=d, dim_z=1)
    kf.x = (multiplied(factor[used - 1 : used], mean[used - 1 : used])[0] * unit)[:, None]
    kf.P = covariances(factor[used - 1 : used])[0] * unit[:, None] * unit
    h = np.diff(rows.x)[used - 1 :]
    later = slice(used, None)
    nu = rows.nu[later]
    return FilterpyProblem(
        kf,
        list(rows.y[later] * unit[nu]),
        [transition(d, step) for step in h],
        [prior.covariance(step) for step in h],  # type: ignore[attr-defined]
        [np.eye(d)[k : k + 1] for k in nu],
        [np.array([[v]]) for v in rows.variance[later] * unit[nu] ** 2],
        rows.x[later],
        used,
    )


def transition(order: int, h: float) -> Array:
    """Return ``A_ij = h**(j-i) / (j-i)!``: (order, order)."""
    out = np.eye(order)
    for i in range(order):
        for j in range(i + 1, order):
            out[i, j] = out[i, j - 1] * h / (j - i)
    return out
