"""A fitted curve and its derivatives, one panel an order, with bands, data, and what is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import ScalarFormatter
from numpy.typing import ArrayLike, NDArray

from smoothderiv._units import derivative_name
from smoothderiv.answers.limits import check_level
from smoothderiv.derivative import Derivative
from smoothderiv.observations import Observations
from smoothderiv.plotting.marks import STRIP, draw_peaks, draw_signs
from smoothderiv.plotting.style import (
    ABOVE_BAND,
    BELOW_BAND,
    CROWDED,
    CURVE,
    DASHES,
    DATA,
    EXACT,
    FAINT,
    MARKERS,
    ON_TOP,
    PATH,
    SEVERAL,
    Array,
    Labels,
    Style,
    binned,
    date_axis,
    dress,
    legend,
    new_axes,
)
from smoothderiv.posterior import Posterior, require_posterior

GRID_POINTS = 400
PATHS = 12
LINE = 1.6  # points: the width of a mean
BAND_DASHES: tuple[float, tuple[float, ...]] = (0, (1.2, 1.4))
_ENDS = 0.03  # of the places, at each end, where intervals flare
_MANY_TIMES = 3.0  # the median width: wider ones are not what it says
SHOWN = ("band", "paths", "peaks", "signs")


def plot(
    post: Posterior | Mapping[str, Posterior],
    nu: int | Sequence[int] | None = None,
    *,
    x: ArrayLike | None = None,
    level: float | Sequence[float] = (0.5, 0.95),
    ax: Axes | Sequence[Axes] | None = None,
    x_unit: str | None = None,
    y_unit: str | None = None,
    show: str | Sequence[str] = (),
) -> NDArray[Any]:
    """Plot a fitted curve and its derivatives: mean, intervals and data, one panel an order.

    Data are in the panel of their order with error bars of one standard deviation, the
    estimated one where the noise was unknown; exact rows are open squares. More than 1000 rows of
    an order are drawn as means over 80 bins with bars over the central 95 % of their rows.
    A panel shows all means, all data and all intervals but those that flare at the ends; if an
    interval is mostly narrower than the line of the mean, its width is written above the panel.

    Parameters
    ----------
    post : Posterior, or mapping from name to Posterior
        Of one-dimensional x. Several are compared in the same panels, each with a line of its own
        and its interval of the highest level; data and range are those of the first. Times may
        begin on different days.
    nu : int or sequence of int, optional
        The orders of derivative to show. Without it 0, 1, 2 and all up to the highest observed,
        as far as the model has them (or as many as there are axes in `ax`).
    x : (n,) array, optional
        Where to draw the curve; datetimes if the data are at datetimes. Default: 400 places over
        the data. The range beyond the data is shaded grey.
    level : float or sequence of float
        Probabilities of the pointwise intervals (:meth:`.Posterior.interval`), which are shaded.
    ax : Axes or sequence of Axes, optional
        One for each order. Default: those of a new figure.
    x_unit, y_unit : str, optional
        Units for the labels, ``"s"`` and ``"m"``: derivatives are then in m/s and m/s².
    show : str or sequence of str
        What else to draw: ``"band"``, the simultaneous band of the highest level
        (:meth:`.Posterior.band`), as lines; ``"paths"``, 12 posterior draws; ``"peaks"``,
        maxima and minima with 95 % intervals of place and height, hollow if the probability
        that there is one is below 0.95; ``"signs"``, strips along the foot of each panel where
        its curve surely rises or falls (:meth:`.Posterior.regions`), one strip for each fit, with
        a dot of its colour if there are several. Peaks and signs need one derivative more.

    Returns
    -------
    (len(nu),) array of matplotlib Axes

    Raises
    ------
    ValueError
        An order that the model lacks, x of several dimensions, a number of axes that is not the
        number of orders, a word in `show` that is unknown, or posteriors of which some are at times
        and some at numbers, or some at times with a zone and some without.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> import numpy as np, smoothderiv as sd
    >>> t = np.linspace(0, 3, 30)
    >>> data = sd.observe(t, np.sin(t), yerr=0.05) + sd.observe(t, np.cos(t), yerr=0.2, nu=1)
    >>> post = sd.RegressionSpline(knots=3, degree=5).condition(data)
    >>> axes = sd.plot(post, nu=(0, 1, 2), x_unit="s", y_unit="m", show=("band", "peaks"))
    >>> [axes[k].get_ylabel() for k in range(3)]
    ['f (m)', 'f′ (m/s)', 'f″ (m/s²)']
    >>> axes[0].figure.savefig("curve.pdf")  # doctest: +SKIP
    """
    posts = dict(post) if isinstance(post, Mapping) else {"mean": post}
    for each in posts.values():
        require_posterior(each, ", or several of them by name in a mapping")
    nu, posts = _bases(nu, posts)
    first = next(iter(posts.values()))
    data = first.data
    for other in posts.values():
        _require_a_curve(other)
    shifts = [other.data.seconds_to(data) for other in posts.values()]
    given = None if ax is None else np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    orders = _orders(list(posts.values()), nu, given)
    levels = sorted({check_level(float(p)) for p in np.atleast_1d(np.asarray(level))}, reverse=True)
    words = _words(show)
    axes = new_axes(len(orders)) if given is None else given
    labels = Labels(data, x_unit, y_unit)
    grid = _grid(data, x)
    looks = _looks(list(posts))
    for order, panel in zip(orders, axes, strict=True):
        limits = _draw_data(panel, data, order, first)
        for look, each, shift in zip(looks, posts.values(), shifts, strict=True):
            few = levels if len(posts) == 1 else levels[:1]
            curve = _Curve.of(each, grid + shift, order, few, "band" in words)
            _draw_curve(panel, curve, look)
            _draw_more(panel, each, curve, look, words)
            limits.append(curve.span())
        _shade_beyond(panel, data, grid)
        _finish(panel, limits, labels.y(order), strips=len(posts) if "signs" in words else 0)
        _write_above(panel, curve, labels.unit(order), words, list(posts.values()))
    _label_places(axes, labels, data, own=given is None)
    shared = [] if len(posts) == 1 else _shared_looks(levels, "band" in words)
    legend(axes, given is None, tuple(posts), shared)
    return axes


@dataclass(frozen=True)
class _Look:
    """How one of the curves is drawn."""

    name: str
    row: int
    colour: str
    dashes: Any
    alone: bool


@dataclass(frozen=True)
class _Curve:
    """Mean, intervals and band of one order at places that ascend."""

    nu: int
    places: NDArray[Any]
    mean: Array
    limits: tuple[tuple[float, Array, Array], ...]
    whole: tuple[Array, Array] | None

    @classmethod
    def of(cls, post: Posterior, grid: Array, nu: int, levels: list[float], whole: bool) -> _Curve:
        """Ask a posterior at places as its own data count them."""
        places = post.data.as_given(grid)
        limits = [(p, *post.interval(places, nu, p)) for p in levels]
        band = None
        if whole:
            band = post.band(places, nu, levels[0], 0, within=(places[0], places[-1]))
        return cls(nu, places, post.mean(places, nu), tuple(limits), band)

    def span(self) -> tuple[float, float]:
        """Return the range of the mean and of the widest interval, except its flaring ends."""
        low, high = self.mean, self.mean
        if self.whole is not None:
            low, high = self.whole
        elif self.limits:
            _, low, high = self.limits[0]
        low, high = low[self._inner()], high[self._inner()]
        return float(min(self.mean.min(), low.min())), float(max(self.mean.max(), high.max()))

    def half_widths(self) -> Array:
        """Return half of the widest pointwise interval at each place but the ends."""
        _, low, high = self.limits[0]
        return 0.5 * (high - low)[self._inner()]

    def _inner(self) -> slice:
        """Select the places that are not at an end."""
        ends = int(_ENDS * len(self.places))
        return slice(ends, len(self.places) - ends)


def _bases(
    nu: int | Sequence[int] | None, posts: dict[str, Any]
) -> tuple[int | Sequence[int] | None, dict[str, Posterior]]:
    """Return the curves below posteriors of derivatives, and the orders asked as theirs."""
    if not posts:
        raise ValueError("post: an empty mapping; give a posterior, or several by name")
    shifts = {each.shift if isinstance(each, Derivative) else 0 for each in posts.values()}
    if len(shifts) > 1:
        raise ValueError("post: derivatives of different orders; give posteriors of the same curve")
    (shift,) = shifts
    if not shift:
        return nu, posts
    if nu is None:
        highest = min(each.highest_order for each in posts.values())
        nu = tuple(n for n in range(3) if n <= highest)
    first = next(iter(posts.values()))
    orders = tuple(first._order(n, "plot") + shift for n in np.atleast_1d(np.asarray(nu)))
    return orders, {name: each.base for name, each in posts.items()}


def _require_a_curve(post: Posterior) -> None:
    if post.data.ndim > 1:
        raise ValueError(
            f"plot: x has {post.data.ndim} dimensions, but curves of one variable are drawn; see "
            "sd.plot_field for two, or evaluate post(x, nu) along a line of places"
        )


def _words(show: str | Sequence[str]) -> tuple[str, ...]:
    words = (show,) if isinstance(show, str) else tuple(show)
    for word in words:
        if word not in SHOWN:
            raise ValueError(f"show: {word!r} is unknown; use any of {', '.join(SHOWN)}")
    return words


def _orders(
    posts: list[Posterior], nu: int | Sequence[int] | None, axes: NDArray[Any] | None
) -> tuple[int, ...]:
    if nu is None:
        highest = min(post.highest_order for post in posts)
        count = max(3, int(posts[0].data.nu.max()) + 1) if axes is None else len(axes)
        exist = min(count, highest + 1) if axes is None else count
        orders = tuple(range(int(exist)))
    else:
        orders = tuple(np.atleast_1d(np.asarray(nu)))
    if not orders:
        raise ValueError("nu: names no order; give those to show, such as (0, 1)")
    for post in posts:
        orders = tuple(post._order(n, "plot") for n in orders)
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


def _looks(names: list[str]) -> list[_Look]:
    if len(names) == 1:
        return [_Look(names[0], 0, CURVE, "-", True)]
    return [
        _Look(name, len(names) - 1 - i, SEVERAL[i % len(SEVERAL)], DASHES[i % len(DASHES)], False)
        for i, name in enumerate(names)
    ]


def _draw_curve(ax: Axes, curve: _Curve, look: _Look) -> None:
    shades = np.linspace(0.18, 0.38, max(2, len(curve.limits)))
    for (p, low, high), alpha in zip(curve.limits, shades, strict=False):
        label = _pointwise(p) if look.alone else None
        ax.fill_between(
            curve.places,
            low,
            high,
            color=look.colour,
            alpha=alpha,
            lw=0,
            label=label,
            zorder=BELOW_BAND,
        )
    if curve.whole is not None:
        style: Style = {"color": look.colour, "lw": 0.9, "ls": BAND_DASHES, "zorder": ABOVE_BAND}
        ax.plot(curve.places, curve.whole[0], **style)
        label = _simultaneous(curve.limits[0][0]) if look.alone else None
        ax.plot(curve.places, curve.whole[1], label=label, **style)
    line: Style = {"color": look.colour, "lw": LINE, "ls": look.dashes, "zorder": ABOVE_BAND}
    ax.plot(curve.places, curve.mean, label=look.name, **line)


def _pointwise(level: float) -> str:
    return f"{100 * level:g} % pointwise"


def _simultaneous(level: float) -> str:
    return f"{100 * level:g} % simultaneous"


def _shared_looks(levels: list[float], whole: bool) -> list[Artist]:
    """Return what the legend of several curves shows of their intervals and bands, in grey."""
    looks: list[Artist] = []
    if levels:
        looks += [Patch(color="0.5", alpha=0.3, lw=0, label=_pointwise(levels[0]))]
    if whole:
        words = _simultaneous(levels[0])
        looks += [Line2D([], [], color="0.4", lw=0.9, ls=BAND_DASHES, label=words)]
    return looks


def _draw_more(
    ax: Axes, post: Posterior, curve: _Curve, look: _Look, words: tuple[str, ...]
) -> None:
    """Draw paths, signs and peaks of one curve, if they are asked for."""
    here = post.derivative(curve.nu)
    if "paths" in words:
        paths = here.sample(curve.places, size=PATHS, rng=0)
        colour = PATH if look.alone else look.colour
        style: Style = {"color": colour, "lw": 0.6, "alpha": 0.7, "zorder": BELOW_BAND + 0.5}
        for i, path in enumerate(paths):
            ax.plot(curve.places, path, label="sample paths" if i == 0 else None, **style)
    if "signs" in words and here.highest_order >= 1:
        draw_signs(ax, here, curve.places, look.row, None if look.alone else look.colour)
    if "peaks" in words and here.highest_order >= 1:
        draw_peaks(ax, here, curve.places)


def _shade_beyond(ax: Axes, data: Observations, grid: Array) -> None:
    """Shade what lies beyond the data."""
    ends = data.as_given(np.array([data.x.min(), data.x.max(), grid[0], grid[-1]]))
    beyond: Style = {"color": "0.5", "alpha": 0.12, "lw": 0, "zorder": 0}
    if grid[0] < data.x.min():
        ax.axvspan(ends[2], ends[0], **beyond)
    if grid[-1] > data.x.max():
        ax.axvspan(ends[1], ends[3], label="beyond the data", **beyond)


def _draw_data(ax: Axes, data: Observations, nu: int, post: Posterior) -> list[tuple[float, float]]:
    """Draw the rows of one order; return the ranges that they need."""
    sd, here = data.sd(post.noise), data.is_of(nu)
    limits: list[tuple[float, float]] = []
    style: Style
    noisy = here & ~data.exact
    if noisy.any():
        x, y, bars = data.x[noisy], data.y[noisy], np.tile(sd[noisy], (2, 1))
        crowded = len(x) > CROWDED
        label, style = "data ± 1 std", {"ms": 3.2, "color": DATA, "ecolor": "0.45"}
        if crowded:
            style = {"ms": 2.6, "color": FAINT, "ecolor": "0.75"}
        if len(x) > MARKERS:
            x, y, bars = binned(x, y, sd[noisy])
            label, style = "data in bins: mean, 95 %", {"ms": 2.4, "color": DATA, "ecolor": "0.8"}
        style |= {"fmt": "o", "mew": 0, "elinewidth": 1.0}
        drawn = ax.errorbar(data.as_given(x), y, bars, label=label, **style)
        drawn[0].set_zorder(BELOW_BAND - 0.4 if crowded and len(x) == noisy.sum() else ON_TOP)
        drawn[2][0].set_zorder(BELOW_BAND - 0.5 if crowded else ON_TOP - 0.5)
        limits.append((float((y - bars[0]).min()), float((y + bars[1]).max())))
    light = data.downweighted
    light = light[here[light]][:MARKERS]
    if len(light):
        mark: Style = {"marker": "x", "ms": 6.0, "color": EXACT, "mew": 1.2, "zorder": ON_TOP + 1}
        places = data.as_given(data.x[light])
        ax.plot(places, data.y[light], ls="none", label="downweighted", **mark)
        limits.append((float(data.y[light].min()), float(data.y[light].max())))
    exact = np.flatnonzero(here & data.exact)
    if len(exact):
        shown = exact[:: 1 + len(exact) // MARKERS]
        places, values = data.as_given(data.x[shown]), data.y[shown]
        style = {"marker": "s", "ms": 5.5, "mfc": "white", "mec": EXACT, "mew": 1.4}
        ax.plot(places, values, ls="none", label="exact", zorder=ON_TOP + 1, **style)
        limits.append((float(values.min()), float(values.max())))
    return limits


def _finish(ax: Axes, limits: list[tuple[float, float]], label: str, strips: int) -> None:
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    margin = 0.06 * (high - low) or 0.5
    foot = max(margin, strips * STRIP * (high - low + 2.0 * margin))
    ax.set_ylim(low - foot, high + margin)
    ax.margins(x=0.02)
    ax.set_ylabel(label)
    if isinstance(ax.yaxis.get_major_formatter(), ScalarFormatter):  # axes given may have others
        ax.ticklabel_format(axis="y", scilimits=(-4, 5), useMathText=True)
    dress(ax)


def _write_above(
    ax: Axes, curve: _Curve, unit: str, words: tuple[str, ...], posts: list[Posterior]
) -> None:
    """Write above the panel the width of an interval that the line hides, and marks it lacks."""
    lines = _width_of_a_hidden_interval(ax, curve, unit) if len(posts) == 1 else []
    marks = " or ".join(word for word in ("peaks", "signs") if word in words)
    if marks and min(post.highest_order for post in posts) <= curve.nu:
        lines.append(f"no {marks}: {derivative_name(curve.nu + 1)} does not exist")
    if lines:
        ax.set_title("; ".join(lines), loc="right", fontsize="small", color="0.35")


def _width_of_a_hidden_interval(ax: Axes, curve: _Curve, unit: str) -> list[str]:
    """Return how wide the widest interval is, in words, if the line mostly hides it."""
    if not curve.limits:
        return []
    p, halves = curve.limits[0][0], curve.half_widths()
    half, most = float(np.median(halves)), float(halves.max())
    span = np.ptp(ax.get_ylim())
    points = 72.0 * ax.get_window_extent().height / ax.figure.dpi
    if not 0.0 < 2.0 * half < 1.2 * LINE / points * span:
        return []
    if most > _MANY_TIMES * half:
        least = float(halves.min())
        words = f"{_pointwise(p)} interval, partly hidden by the line: ± {least:.2g} to {most:.2g}"
    else:
        words = f"{_pointwise(p)} interval, hidden by the line: about ± {half:.2g}"
    return [f"{words} {unit}".rstrip()]


def _label_places(axes: NDArray[Any], labels: Labels, data: Observations, own: bool) -> None:
    """Label the x axis of the lowest panels, and make dates short."""
    for ax in axes:
        place = ax.get_subplotspec()
        if place is None or place.is_last_row():
            ax.set_xlabel(labels.x)
        date_axis(ax, data)
    if own:
        axes[0].figure.align_ylabels(list(axes))
