"""Marks on a curve: its peaks, and where it surely rises or falls."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from smoothderiv.answers.locations import Locations
from smoothderiv.plotting.style import EVENT, FALLING, ON_TOP, RISING, Style
from smoothderiv.posterior import Posterior

STRIP = 0.055  # of a panel's height: a strip of signs


def draw_signs(ax: Axes, post: Posterior, places: NDArray[Any], row: int, dot: str | None) -> None:
    """Draw a strip along the foot of the panel, coloured where the curve surely rises or falls.

    `row` counts strips from below; a strip that is one of several gets a dot of a colour.
    """
    sign, height = post.regions(1, within=_ends(places)).at(places), STRIP * (row + 0.5)
    style: Style = {"lw": 4.0, "solid_capstyle": "butt", "zorder": ON_TOP}
    for value, colour, word in ((1, RISING, "surely rises"), (-1, FALLING, "surely falls")):
        foot = np.where(sign == value, height, np.nan)
        along = ax.get_xaxis_transform()
        ax.plot(places, foot, label=word, color=colour, transform=along, **style)
    if dot is not None and sign.any():
        ax.plot(0.006, height, "o", ms=4.0, mew=0, color=dot, transform=ax.transAxes)


def draw_peaks(ax: Axes, post: Posterior, places: NDArray[Any]) -> None:
    """Draw maxima and minima with 95 % intervals of place and height."""
    _draw_events(ax, post.maxima(_ends(places), rng=0), "^", "maxima")
    _draw_events(ax, post.minima(_ends(places), rng=0), "v", "minima")


def _draw_events(ax: Axes, found: Locations, marker: str, word: str) -> None:
    """Draw events above line and data in a white halo, hollow if they are doubtful."""
    halo = [withStroke(linewidth=3.2, foreground="white")]
    for sure in (True, False):
        rows = np.isfinite(found.std) & ((found.probability >= 0.95) == sure)
        if not rows.any():
            continue
        x, y = found.x[rows], found.height[rows]
        bars: Style = {"color": EVENT, "lw": 1.6, "path_effects": halo, "zorder": ON_TOP + 1}
        ax.hlines(y, found.lower[rows], found.upper[rows], **bars)
        ax.vlines(x, found.height_lower[rows], found.height_upper[rows], **bars)
        face = EVENT if sure else "white"
        style: Style = {"marker": marker, "ms": 7.5, "mfc": face, "mec": EVENT, "mew": 1.3}
        label = f"{word}, 95 %" if sure else f"doubtful {word}"
        ax.plot(x, y, ls="none", label=label, path_effects=halo, zorder=ON_TOP + 2, **style)


def _ends(places: NDArray[Any]) -> tuple[Any, Any]:
    return places[0], places[-1]
