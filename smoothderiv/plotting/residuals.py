"""Residuals of a fit: along x and against the normal distribution, a row of panels an order."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy import special

from smoothderiv._units import derivative_name
from smoothderiv.answers.diagnosis import Diagnosis, OrderCheck
from smoothderiv.plotting.style import (
    BINS,
    CURVE,
    DATA,
    EXACT,
    MARKERS,
    Array,
    Labels,
    Style,
    date_axis,
    dress,
)
from smoothderiv.posterior import Posterior, require_posterior


def plot_residuals(post: Posterior) -> NDArray[Any]:
    """Plot the standardised residuals of each order, along x and against normal quantiles.

    If model and noise are right they have variance 1 and no pattern, and lie on the line of the
    right panel. Beyond 1000 rows of an order the left panel shows means and central 95 % of 80
    bins, the right one 1000 of the quantiles. In several dimensions the left panel is along the
    fitted value. What :meth:`.Posterior.diagnose` warns of stands above the panels.

    Returns
    -------
    (m, 2) array of matplotlib Axes
        A row for each order, and for each kind of noise within it.

    Raises
    ------
    ValueError
        All rows are exact.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> import numpy as np, smoothderiv as sd
    >>> x = np.linspace(0, 6, 50)
    >>> post = sd.RegressionSpline(5).condition(sd.observe(x, np.sin(x), yerr=0.1))
    >>> sd.plot_residuals(post).shape
    (1, 2)
    """
    require_posterior(post)
    found = post.diagnose()
    if not found.orders:
        raise ValueError("post: all rows are exact, so there are no residuals to look at")
    count = len(found.orders)
    figure, axes = pyplot.subplots(
        count,
        2,
        squeeze=False,
        sharex="col",
        figsize=(7.4, 1.0 + 2.1 * count),
        layout="constrained",
        width_ratios=(2.2, 1),
    )
    for check, (left, right) in zip(found.orders, axes, strict=True):
        _draw_row(left, right, post, found, check)
    along = "fitted value" if post.data.ndim > 1 else Labels(post.data, None, None).x
    axes[-1, 0].set_xlabel(along)
    axes[-1, 1].set_xlabel("normal quantile")
    figure.align_ylabels(list(axes[:, 0]))
    return np.asarray(axes)


def _draw_row(
    left: Axes, right: Axes, post: Posterior, found: Diagnosis, check: OrderCheck
) -> None:
    data = post.data
    estimated = check.kind != "stated"
    rows = np.flatnonzero(data.is_of(check.order) & ~data.exact & (data.estimated == estimated))
    z = found.standardised[rows]
    along = data.x[rows] if data.ndim == 1 else data.y[rows] - post.residuals()[rows]
    places = data.as_given(along) if data.ndim == 1 else along
    for level in (-2, 2):
        left.axhline(level, color="0.6", lw=0.8, ls=(0, (4, 2)), zorder=1)
    left.axhline(0, color="0.6", lw=0.8, zorder=1)
    if len(z) > MARKERS:
        _draw_bins(left, along, z, data)
    else:
        left.plot(places, z, ls="none", marker="o", ms=3.2, mew=0, color=DATA, zorder=3)
    unlikely = -float(special.ndtri(0.005 / len(z)))  # one set in 100 has a residual so large
    far = np.flatnonzero(np.abs(z) > unlikely)[:MARKERS]
    style: Style = {"marker": "o", "ms": 7, "mfc": "none", "mec": EXACT, "mew": 1.3}
    left.plot(places[far], z[far], ls="none", zorder=4, **style)
    name = derivative_name(check.order) if isinstance(check.order, int) else f"order {check.order}"
    left.set_ylabel(f"{name}: residual / std")
    words = f"{check.rows} rows, noise {check.kind}"
    if check.kind == "stated" and check.dof > 0:
        words += f"; residuals {check.ratio:.3g} times as large, p = {check.p_value:.2g}"
    suspicious = any(w.startswith(f"order {check.order}:") for w in found.warnings)
    left.set_title(words, fontsize="small", loc="left", color=EXACT if suspicious else "black")
    if data.ndim == 1:
        date_axis(left, data)
    _draw_quantiles(right, z)
    dress(left)
    dress(right)


def _draw_bins(ax: Axes, x: Array, z: Array, data: Any) -> None:
    """Draw mean and central 95 % of the residuals of bins with like numbers of rows."""
    order = np.argsort(x, kind="stable")
    groups = np.array_split(order, BINS)
    middle = np.array([np.median(x[rows]) for rows in groups])
    low, centre, high = np.array([np.quantile(z[rows], (0.025, 0.5, 0.975)) for rows in groups]).T
    places = data.as_given(middle) if data.ndim == 1 else middle
    ax.fill_between(places, low, high, color=CURVE, alpha=0.25, lw=0, zorder=2)
    ax.plot(places, centre, color=CURVE, lw=1.2, zorder=3)
    style: Style = {"ha": "right", "va": "top", "fontsize": "small"}
    ax.text(0.99, 0.97, "bins: median, 95 %", transform=ax.transAxes, **style)


def _draw_quantiles(ax: Axes, z: Array) -> None:
    """Draw sorted residuals against those of the normal distribution."""
    p = (np.arange(len(z)) + 0.5) / len(z)
    value = np.sort(z)
    if len(z) > MARKERS:  # all of the tails, and some of the rest
        at = np.unique(np.linspace(0, len(z) - 1, MARKERS).astype(int))
        at = np.unique(np.concatenate((np.arange(20), at, len(z) - 1 - np.arange(20))))
        p, value = p[at], value[at]
    normal = special.ndtri(p)
    reach = 1.1 * max(float(np.abs(normal).max()), 1.0)
    ax.plot([-reach, reach], [-reach, reach], color="0.6", lw=0.8, zorder=1)
    ax.plot(normal, value, ls="none", marker="o", ms=3, mew=0, color=DATA, zorder=3)
