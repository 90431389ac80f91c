"""What all pictures share: colours, labels with units, axes, data that are too many to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import dates, pyplot
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from smoothderiv import _places
from smoothderiv._units import derivative_name, derivative_unit, with_unit
from smoothderiv.observations import Observations

Array = NDArray[np.float64]
Style = dict[str, Any]

# Okabe and Ito's colours, which everybody can distinguish (EVENT is a darker version of theirs);
# RISING and FALLING also differ in grey
CURVE, EXACT, DATA, EVENT = "#0072B2", "#D55E00", "#262626", "#9E0059"
RISING, FALLING, UNSURE = "#009E73", "#E69F00", "0.93"
FAINT, PATH = "0.55", "0.3"  # data that would hide the curve, and posterior draws
SEVERAL = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
CROWDED = 60  # more rows of one order than this are drawn faintly, below the curves
MARKERS = 1000  # more rows of one order than this are drawn as means over bins
BINS = 80
JOINED = {  # entries that share one where a legend is long
    "surely rises, falls": ("surely rises", "surely falls"),
    "maxima, minima, 95 %": ("maxima, 95 %", "minima, 95 %"),
    "hollow: doubtful": ("doubtful maxima", "doubtful minima"),
}
BELOW_BAND, ABOVE_BAND, ON_TOP = 1.0, 2.0, 3.0


class Labels:
    """Words for the axes: names of derivatives, and their units."""

    def __init__(self, data: Observations, x_unit: str | None, y_unit: str | None) -> None:
        if data.origin is not None and x_unit not in (None, "s"):
            raise ValueError(
                f"x_unit: {x_unit!r}, but the data are at datetimes, and derivatives are then per "
                "second; leave x_unit out, or give x as numbers in that unit"
            )
        self._x_unit = "s" if data.origin is not None else x_unit
        self._y_unit = y_unit
        self.x = with_unit("x", x_unit) if data.origin is None else time_name(data)

    def y(self, nu: int) -> str:
        """Return the label of a derivative with its unit, such as ``f″ (m/s²)``."""
        return with_unit(derivative_name(nu), self.unit(nu))

    def unit(self, nu: int) -> str:
        """Return the unit of a derivative, empty if it is unknown."""
        return derivative_unit(self._x_unit, self._y_unit, nu)


def time_name(data: Observations) -> str:
    """Return the label of an axis of times, with their zone."""
    return "time" if data.zone is None else f"time ({data.zone})"


def new_axes(count: int) -> NDArray[Any]:
    """Return axes one below the other in a new figure."""
    size = (6.4, 0.9 + 1.75 * count if count > 1 else 3.6)
    _, axes = pyplot.subplots(
        count, 1, sharex=True, squeeze=False, figsize=size, layout="constrained"
    )
    return np.asarray(axes[:, 0])


def dress(ax: Axes) -> None:
    """Take away two spines, and draw a faint grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.9", lw=0.6)
    ax.set_axisbelow(True)


def date_axis(ax: Axes, data: Observations) -> None:
    """Make dates short, if there are any, and tell them in their time zone."""
    if data.origin is not None:
        zone = None if data.zone is None else _places.zone_info(data.zone)
        locator = dates.AutoDateLocator(zone, 3, 8)  # type: ignore[no-untyped-call]
        words = dates.ConciseDateFormatter(locator, zone)  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(words)


def legend(
    axes: NDArray[Any], own: bool, means: Sequence[str], shared: Sequence[Artist] = ()
) -> None:
    """Put one legend for all panels above those of a new figure, or inside the first one given.

    The lines of the means come first, then intervals and bands; lines of which nothing is drawn
    are left out. In a new figure it has as many columns as fit; what belongs together shares an
    entry if there would be more than two rows.
    """
    entries: dict[str, Any] = {str(artist.get_label()): artist for artist in shared}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            drawn = not isinstance(handle, Line2D) or np.isfinite(_heights(handle)).any()
            entries.update({label: handle} if drawn else {})

    def rank(name: str) -> tuple[bool, bool]:
        return name not in means, not name.endswith(("pointwise", "simultaneous"))

    names = sorted(entries, key=rank)
    style: Style = {"frameon": False, "fontsize": "small"}
    handles = [entries[name] for name in names]
    if not own:
        axes[0].legend(handles, names, **style)
        return
    style |= {"columnspacing": 1.2, "handlelength": 1.7, "handletextpad": 0.5}
    width = axes[0].figure.get_figwidth() - 0.2
    columns = _columns(names, width)
    if len(names) > 2 * columns:
        entries = _joined({name: entries[name] for name in names})
        names, handles = list(entries), list(entries.values())
        columns = _columns(names, width)
        style |= {"handler_map": {tuple: HandlerTuple(ndivide=None, pad=0.4)}}
    axes[0].figure.legend(handles, names, loc="outside upper center", ncols=columns, **style)


def _joined(entries: dict[str, Any]) -> dict[str, Any]:
    """Return entries of which those that belong together are one, with all their handles."""
    levels = [name for name in entries if name.endswith(" % pointwise")]
    numbers = ", ".join(name.removesuffix(" % pointwise") for name in levels)
    groups = JOINED | {f"{numbers} % pointwise": tuple(levels)}
    whole = {part: (name, parts) for name, parts in groups.items() for part in parts}
    joined: dict[str, Any] = {}
    for entry, handle in entries.items():
        name, parts = whole.get(entry, (entry, (entry,)))
        shared = tuple(entries[part] for part in parts if part in entries)
        if len(shared) > 1:
            joined[name] = shared
        else:
            joined[entry] = handle
    return joined


def _heights(line: Line2D) -> Array:
    return np.asarray(line.get_ydata(), dtype=np.float64)


def _columns(names: list[str], inches: float) -> int:
    """Return how many columns of a legend in small letters fit into a width."""
    for count in range(len(names), 1, -1):
        parts = [names[rows[0] : rows[-1] + 1] for rows in np.array_split(range(len(names)), count)]
        if sum(0.065 * max(map(len, part)) + 0.4 for part in parts) <= inches:
            return count
    return 1


def binned(x: Array, y: Array, sd: Array) -> tuple[Array, Array, Array]:
    """Return weighted means of the rows in bins of x, with bars over 95 % of the rows."""
    edges = np.linspace(x.min(), x.max(), BINS + 1)
    where = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, BINS - 1)
    order = np.argsort(where, kind="stable")
    starts = np.flatnonzero(np.diff(where[order], prepend=-1))
    weight = sd**-2 if (sd > 0).all() else np.ones_like(sd)
    total = np.add.reduceat(weight[order], starts)
    mean_x = np.add.reduceat((weight * x)[order], starts) / total
    mean_y = np.add.reduceat((weight * y)[order], starts) / total
    groups = np.split(y[order], starts[1:])
    low, high = np.array([np.quantile(rows, (0.025, 0.975)) for rows in groups]).T
    bars = np.maximum([mean_y - low, high - mean_y], 0.0)
    return mean_x, mean_y, bars
