"""Plotting: a fitted curve and its derivatives, one panel an order, with bands and data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import dates, pyplot
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from smoothderiv import _validate
from smoothderiv.derivative import Derivative
from smoothderiv.limits import check_level, student_quantile
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]
Style = dict[str, Any]

CURVE, EXACT, DATA = "#0072B2", "#D55E00", "#262626"  # Okabe and Ito's, told apart by everybody
PRIMES = ("", "\N{PRIME}", "\N{DOUBLE PRIME}", "\N{TRIPLE PRIME}")
GRID_POINTS = 400
MARKERS = 1000  # more rows of one order than this are drawn as means over bins
BINS = 80
BELOW_BAND, ABOVE_BAND, ON_TOP = 1.0, 2.0, 3.0


def plot(
    post: Posterior,
    nu: int | Sequence[int] | None = None,
    *,
    x: ArrayLike | None = None,
    level: float | Sequence[float] = (0.5, 0.95),
    ax: Axes | Sequence[Axes] | None = None,
    x_unit: str | None = None,
    y_unit: str | None = None,
    simultaneous: bool = False,
) -> NDArray[Any]:
    """Plot a fitted curve and its derivatives: mean, nested bands and data, one panel an order.

    Data stand in the panel of their order with error bars of one standard deviation, the
    estimated one where the noise was unknown; exact rows are open squares. More than 1000 rows of
    an order are drawn as means over 80 bins with bars over the central 95 % of their rows.
    A panel shows all means and all data, but may cut off a band that flares at the ends.

    Parameters
    ----------
    post : Posterior
        Of one-dimensional x.
    nu : int or sequence of int, optional
        The orders of derivative to show. Without it 0, 1, 2 and all up to the highest observed,
        as far as the model has them (or as many as there are axes in `ax`).
    x : (n,) array, optional
        Where to draw the curve; datetimes if the data are at datetimes. 400 places over the data
        without it. What lies beyond the data is shaded.
    level : float or sequence of float
        Probabilities of the bands.
    ax : Axes or sequence of Axes, optional
        One for each order. Without it a new figure is made.
    x_unit, y_unit : str, optional
        Units for the labels, ``"s"`` and ``"m"``: derivatives are then in m/s and m/s².
    simultaneous : bool
        Bands that hold at all places together (:meth:`Posterior.band`) in place of pointwise ones.

    Returns
    -------
    (len(nu),) array of matplotlib Axes

    Raises
    ------
    ValueError
        An order that the model lacks, x of several dimensions, or a number of axes that is not
        the number of orders.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> import numpy as np, smoothderiv as sd
    >>> t = np.linspace(0, 3, 30)
    >>> data = sd.observe(t, np.sin(t), yerr=0.05) + sd.observe(t, np.cos(t), yerr=0.2, nu=1)
    >>> post = sd.RegressionSpline(knots=3, degree=5).condition(data)
    >>> axes = sd.plot(post, nu=(0, 1, 2), x_unit="s", y_unit="m")
    >>> [axes[k].get_ylabel() for k in range(3)]
    ['f (m)', 'f′ (m/s)', 'f″ (m/s²)']
    >>> axes[0].figure.savefig("curve.pdf")  # doctest: +SKIP
    """
    if isinstance(post, Derivative):
        nu = _shifted(nu, post)
        post = post.base
    data = post.data
    if data.ndim > 1:
        raise ValueError(
            f"plot: x has {data.ndim} dimensions, but curves of one variable are drawn; evaluate "
            "post(x, nu) along a line of places and plot that"
        )
    given = None if ax is None else np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    orders = _orders(post, nu, given)
    levels = sorted({check_level(float(p)) for p in np.atleast_1d(np.asarray(level))}, reverse=True)
    axes = _new_axes(len(orders)) if given is None else given
    labels = _Labels(data, x_unit, y_unit)
    grid = _grid(data, x)
    for order, panel in zip(orders, axes, strict=True):
        curve = _Curve.of(post, grid, order, levels, simultaneous)
        _draw_curve(panel, curve, data)
        limits = [curve.span(), *_draw_data(panel, data, order, post)]
        _finish(panel, limits, labels.y(order))
    _label_places(axes, labels, data, own=given is None)
    _legend(axes, own=given is None)
    return axes


@dataclass(frozen=True)
class _Curve:
    """Mean and bands of one order at places that ascend."""

    places: NDArray[Any]
    seconds: Array
    mean: Array
    bands: tuple[tuple[float, Array, Array], ...]

    @classmethod
    def of(
        cls, post: Posterior, grid: Array, nu: int, levels: list[float], simultaneous: bool
    ) -> _Curve:
        places = _as_given(post.data, grid)
        mean, std = post.mean(places, nu), post.std(places, nu)
        bands = []
        for p in levels:
            if simultaneous:
                low, high = post.band(places, nu, level=p, rng=0)
            else:
                half = student_quantile(0.5 + 0.5 * p, post.dof) * std
                low, high = mean - half, mean + half
            bands.append((p, low, high))
        return cls(places, grid, mean, tuple(bands))

    def span(self) -> tuple[float, float]:
        """Return limits that hold the mean, and the widest band but for flaring ends."""
        if not self.bands:
            return float(self.mean.min()), float(self.mean.max())
        _, low, high = self.bands[0]
        return (
            float(min(self.mean.min(), np.quantile(low, 0.03))),
            float(max(self.mean.max(), np.quantile(high, 0.97))),
        )


class _Labels:
    """Words for the axes: names of derivatives, and their units."""

    def __init__(self, data: Observations, x_unit: str | None, y_unit: str | None) -> None:
        if data.origin is not None and x_unit not in (None, "s"):
            raise ValueError(
                f"x_unit: {x_unit!r}, but the data are at datetimes, and derivatives are then per "
                "second; leave x_unit out, or give x as numbers in that unit"
            )
        self._x_unit = "s" if data.origin is not None else x_unit
        self._y_unit = y_unit
        self.x = "time" if data.origin is not None else "x"
        if data.origin is None and x_unit:
            self.x += f" ({x_unit})"

    def y(self, nu: int) -> str:
        name = "f" + (PRIMES[nu] if nu < len(PRIMES) else f"⁽{_raised(nu)}⁾")
        unit = derivative_unit(self._x_unit, self._y_unit, nu)
        return f"{name} ({unit})" if unit else name


def derivative_unit(x_unit: str | None, y_unit: str | None, nu: int) -> str:
    """Return the unit of the derivative of order `nu`, such as ``m/s²``; empty if unknown."""
    if nu == 0:
        return y_unit or ""
    if not x_unit:
        return ""
    below = f"({x_unit})" if any(c in x_unit for c in " /·*") else x_unit
    below += "" if nu == 1 else _raised(nu)
    if y_unit is None:
        return f"per {below}"
    above = f"({y_unit})" if any(c in y_unit for c in " /·*") else y_unit
    return f"{above}/{below}"


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _shifted(nu: int | Sequence[int] | None, post: Derivative) -> tuple[int, ...]:
    """Return orders of a derivative's posterior as orders of the curve below it."""
    if nu is None:
        nu = tuple(n for n in range(3) if n <= post.highest_order)
    return tuple(int(n) + post.shift for n in np.atleast_1d(np.asarray(nu)))


def _orders(
    post: Posterior, nu: int | Sequence[int] | None, axes: NDArray[Any] | None
) -> tuple[int, ...]:
    if nu is None:
        count = max(3, int(post.data.nu.max()) + 1) if axes is None else len(axes)
        exist = min(count, post.highest_order + 1) if axes is None else count
        orders = tuple(range(int(exist)))
    else:
        orders = tuple(int(n) for n in np.atleast_1d(np.asarray(nu)))
    for n in orders:
        if not 0 <= n <= post.highest_order:
            raise ValueError(
                f"nu: order {n} was asked, but {type(post.model).__name__} has derivatives of "
                f"order 0 to {post.highest_order:g}; ask for those, or use a smoother model"
            )
    if axes is not None and len(axes) != len(orders):
        raise ValueError(
            f"ax: {len(axes)} axes for {len(orders)} orders; give one for each, or none"
        )
    return orders


def _grid(data: Observations, x: ArrayLike | None) -> Array:
    """Return places in ascending order, as floats."""
    if x is not None:
        return np.sort(data.coordinates(x).ravel())
    low, high = float(data.x.min()), float(data.x.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, GRID_POINTS)


def _as_given(data: Observations, x: Array) -> NDArray[Any]:
    """Return float places as the user gives them: datetimes where the data have an origin."""
    return x if data.origin is None else _validate.times(x, data.origin)


def _new_axes(count: int) -> NDArray[Any]:
    size = (6.4, 0.9 + 1.75 * count if count > 1 else 3.6)
    _, axes = pyplot.subplots(
        count, 1, sharex=True, squeeze=False, figsize=size, layout="constrained"
    )
    return np.asarray(axes[:, 0])


def _draw_curve(ax: Axes, curve: _Curve, data: Observations) -> None:
    shades = np.linspace(0.18, 0.38, max(2, len(curve.bands)))
    for (p, low, high), alpha in zip(curve.bands, shades, strict=False):
        label = f"{100 * p:g} % band"
        ax.fill_between(
            curve.places, low, high, color=CURVE, alpha=alpha, lw=0, label=label, zorder=BELOW_BAND
        )
    ax.plot(curve.places, curve.mean, color=CURVE, lw=1.6, label="mean", zorder=ABOVE_BAND)
    ends = _as_given(data, np.array([data.x.min(), data.x.max()]))
    beyond: Style = {"color": "0.5", "alpha": 0.12, "lw": 0, "zorder": 0}
    if curve.seconds[0] < data.x.min():
        ax.axvspan(curve.places[0], ends[0], **beyond)
    if curve.seconds[-1] > data.x.max():
        ax.axvspan(ends[1], curve.places[-1], label="beyond the data", **beyond)


def _draw_data(ax: Axes, data: Observations, nu: int, post: Posterior) -> list[tuple[float, float]]:
    """Draw the rows of one order; return the ranges that they need."""
    sd, here = data.sd(post.noise), data.is_of(nu)
    limits: list[tuple[float, float]] = []
    style: Style
    noisy = here & ~data.exact
    if noisy.any():
        x, y, bars = data.x[noisy], data.y[noisy], np.tile(sd[noisy], (2, 1))
        label, style = "data ± 1 sd", {"ms": 3.2, "color": DATA, "ecolor": "0.45"}
        if len(x) > MARKERS:
            x, y, bars = _binned(x, y, sd[noisy])
            label, style = "data in bins: mean, 95 %", {"ms": 2.4, "color": DATA, "ecolor": "0.8"}
        style |= {"fmt": "o", "mew": 0, "elinewidth": 1.0}
        drawn = ax.errorbar(_as_given(data, x), y, bars, label=label, **style)
        drawn[0].set_zorder(ON_TOP)
        drawn[2][0].set_zorder(BELOW_BAND - 0.5 if len(x) < noisy.sum() else ON_TOP - 0.5)
        limits.append((float((y - bars[0]).min()), float((y + bars[1]).max())))
    exact = np.flatnonzero(here & data.exact)
    if len(exact):
        shown = exact[:: 1 + len(exact) // MARKERS]
        places, values = _as_given(data, data.x[shown]), data.y[shown]
        style = {"marker": "s", "ms": 5.5, "mfc": "white", "mec": EXACT, "mew": 1.4}
        ax.plot(places, values, ls="none", label="exact", zorder=ON_TOP + 1, **style)
        limits.append((float(values.min()), float(values.max())))
    return limits


def _binned(x: Array, y: Array, sd: Array) -> tuple[Array, Array, Array]:
    """Return weighted means of the rows in bins of x, with bars over 95 % of the rows."""
    edges = np.linspace(x.min(), x.max(), BINS + 1)
    where = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, BINS - 1)
    order = np.argsort(where, kind="stable")
    starts = np.flatnonzero(np.diff(where[order], prepend=-1))
    weight = sd**-2
    total = np.add.reduceat(weight[order], starts)
    mean_x = np.add.reduceat((weight * x)[order], starts) / total
    mean_y = np.add.reduceat((weight * y)[order], starts) / total
    groups = np.split(y[order], starts[1:])
    low, high = np.array([np.quantile(rows, (0.025, 0.975)) for rows in groups]).T
    bars = np.maximum([mean_y - low, high - mean_y], 0.0)
    return mean_x, mean_y, bars


def _finish(ax: Axes, limits: list[tuple[float, float]], label: str) -> None:
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    margin = 0.06 * (high - low) or 0.5
    ax.set_ylim(low - margin, high + margin)
    ax.margins(x=0.02)
    ax.set_ylabel(label)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.9", lw=0.6)
    ax.set_axisbelow(True)


def _label_places(axes: NDArray[Any], labels: _Labels, data: Observations, own: bool) -> None:
    """Label the x axis of the lowest panels, and make dates short."""
    for ax in axes:
        place = ax.get_subplotspec()
        if place is None or place.is_last_row():
            ax.set_xlabel(labels.x)
        if data.origin is not None:
            locator = dates.AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
            words = dates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
            ax.xaxis.set_major_locator(locator)
            ax.xaxis.set_major_formatter(words)
    if own:
        axes[0].figure.align_ylabels(list(axes))


def _legend(axes: NDArray[Any], own: bool) -> None:
    """Put one legend for all panels above those of a new figure, or inside the first one given."""
    entries: dict[str, Any] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    names = sorted(entries, key=lambda label: (label != "mean", "band" not in label))
    handles = [entries[name] for name in names]
    if own:
        columns = len(names) if len(names) <= 5 else 3
        where = {"loc": "outside upper center", "ncols": columns}
        axes[0].figure.legend(handles, names, frameon=False, fontsize="small", **where)
    else:
        axes[0].legend(handles, names, frameon=False, fontsize="small")
