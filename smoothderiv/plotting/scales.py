"""The SiZer map: signs of a slope over x and smoothing."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from smoothderiv._units import derivative_name
from smoothderiv._validate import require_kind
from smoothderiv.plotting.style import (
    FALLING,
    RISING,
    UNSURE,
    Style,
    date_axis,
    time_name,
)
from smoothderiv.scale_space import Sizer


def plot_sizer(found: Sizer, *, ax: Axes | None = None) -> Axes:
    """Plot a SiZer map: where a derivative is surely positive or negative at each smoothing.

    Smoothing increases upwards; the line at 1 is the tuned smoothing. The right axis shows the
    effective degrees of freedom. The two colours also differ when printed in grey.

    Parameters
    ----------
    found : Sizer
        From :func:`smoothderiv.sizer`.
    ax : Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> import numpy as np, smoothderiv as sd
    >>> t = np.linspace(0, 1, 100)
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(100)
    >>> ax = sd.plot_sizer(sd.sizer(sd.observe(t, np.sin(6 * t) + noise), count=9))
    """
    require_kind(found, Sizer, "found", "a SiZer map; give that of sd.sizer(data)")
    if ax is None:
        _, ax = pyplot.subplots(figsize=(6.8, 3.9), layout="constrained")
    places = found.data.as_given(found.x)
    colours = ListedColormap([FALLING, UNSURE, RISING])
    ax.pcolormesh(places, found.width, found.sign, cmap=colours, vmin=-1, vmax=1, shading="nearest")
    ax.set_yscale("log", base=2)
    ax.axhline(1.0, color="black", lw=1.0, ls=(0, (4, 2)))
    ax.yaxis.set_major_formatter(lambda v, _: f"{v:g}" if v >= 1 else f"1/{1 / v:g}")
    ax.set_ylabel("smoothing relative to the tuned one")
    ax.set_xlabel("x" if found.data.origin is None else time_name(found.data))
    date_axis(ax, found.data)
    _label_edf(ax, found)
    name = derivative_name(found.nu)
    handles = [
        Patch(color=RISING, label=f"{name} > 0"),
        Patch(color=FALLING, label=f"{name} < 0"),
        Patch(facecolor=UNSURE, edgecolor="0.6", label="not sure"),
    ]
    where: Style = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 3}
    ax.legend(handles=handles, frameon=False, fontsize="small", **where)
    return ax


def _label_edf(ax: Axes, found: Sizer) -> None:
    """Label the right side with the effective degrees of freedom, each number once."""
    right = ax.twinx()
    right.set_yscale("log", base=2)
    right.set_ylim(ax.get_ylim())
    at = np.unique(np.linspace(0, len(found.width) - 1, 7).astype(int))
    words = {f"{found.edf[i]:.1f}": float(found.width[i]) for i in at[::-1]}
    right.set_yticks(list(words.values()), list(words))
    right.minorticks_off()
    right.set_ylabel("effective degrees of freedom")
