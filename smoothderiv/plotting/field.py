"""A surface of two variables and its gradient, with arrows where the slope is sure."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray
from scipy import special

from smoothderiv._units import with_unit
from smoothderiv.answers.gradient import Gradient
from smoothderiv.answers.limits import check_level
from smoothderiv.plotting.style import MARKERS, ON_TOP, Array, Style
from smoothderiv.posterior import Posterior, require_posterior

FINE, ARROWS = 60, 14
SHORTEST = 0.4  # of the distance of arrows: shorter ones would not be seen


def plot_field(
    post: Posterior,
    *,
    bounds: ArrayLike | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
    x_unit: str | None = None,
    y_unit: str | None = None,
) -> Axes:
    """Plot a fitted surface of two variables with its gradient.

    Colours and contours are the mean. Arrows point uphill; their length is proportional to the
    slope, but at least two fifths of their distance. They are black where the gradient is surely
    not zero, ``g' Cov(g)^-1 g`` beyond the chi-square quantile of `level` at each place, and white
    elsewhere. Dots are the places of the data, at most 1000 of them.

    Parameters
    ----------
    post : Posterior
        Of x with two dimensions, and of a model that has gradients.
    bounds : ((low, high), (low, high)), optional
        What to draw; the box of the data without it.
    x_unit, y_unit : str, optional
        Units of x, the same for both, and of y.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        x is not of two dimensions; a `level` that is no probability; `bounds` that are not two
        ranges.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> import numpy as np, smoothderiv as sd
    >>> X = np.random.default_rng(0).uniform(size=(30, 2))
    >>> data = sd.observe(X, np.sin(3 * X[:, 0]) + X[:, 1], yerr=0.05)
    >>> post = sd.GaussianProcess(sd.kernels.Matern52(scale=1.0, sigma=1.0)).condition(data)
    >>> ax = sd.plot_field(post)
    """
    require_posterior(post)
    data, level = post.data, check_level(level)
    if data.ndim != 2:
        raise ValueError(f"post: x has {data.ndim} dimensions, but fields of two are drawn")
    if ax is None:
        _, ax = pyplot.subplots(figsize=(6.2, 5.0), layout="constrained")
    box = np.column_stack((data.x.min(axis=0), data.x.max(axis=0)))
    box = box if bounds is None else np.asarray(bounds, dtype=np.float64)
    if box.shape != (2, 2) or not (box[:, 0] < box[:, 1]).all():
        raise ValueError("bounds: two ranges (low, high) with low < high are needed")
    a, b = (np.linspace(low, high, FINE) for low, high in box)
    mean = post(_pairs(a, b)).reshape(FINE, FINE)
    filled = ax.contourf(a, b, mean, levels=14, cmap="cividis", alpha=0.85)
    ax.contour(a, b, mean, levels=filled.levels, colors="white", linewidths=0.5, linestyles="-")
    bar = ax.figure.colorbar(filled, ax=ax)
    bar.set_label(with_unit("mean of f", y_unit))
    _draw_arrows(ax, post, box, level)
    inside = data.x[((data.x >= box[:, 0]) & (data.x <= box[:, 1])).all(axis=1)]
    shown = inside[:: 1 + len(inside) // MARKERS]
    style: Style = {"ls": "none", "marker": "o", "ms": 4.0, "mfc": "#56B4E9", "mec": "black"}
    ax.plot(*shown.T, mew=0.6, label="data", zorder=ON_TOP + 1, clip_on=False, **style)
    ax.set(xlabel=with_unit("x₁", x_unit), ylabel=with_unit("x₂", x_unit))
    where: Style = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 3}
    ax.legend(frameon=False, fontsize="small", **where)
    ax.set_xlim(*box[0])
    ax.set_ylim(*box[1])
    return ax


def _draw_arrows(ax: Axes, post: Posterior, box: Array, level: float) -> None:
    inner = [ends[0] + np.ptp(ends) * (np.arange(ARROWS) + 0.5) / ARROWS for ends in box]
    places = _pairs(*inner)
    gradient = post.gradient(places)
    shown = gradient.mean * np.ptp(box, axis=1)  # uphill as it looks on a box of unit sides
    length = np.hypot(*shown.T)
    wanted = np.maximum(1.3 * length / (length.max() or 1.0), SHORTEST) / ARROWS
    arrows = shown * (wanted / np.where(length > 0, length, 1.0))[:, None] * np.ptp(box, axis=1)
    sure = is_sure(gradient, level)
    kinds = (
        (~sure, "white", "uphill, less sure"),
        (sure, "black", f"uphill, {100 * level:g} % sure"),
    )
    for mask, colour, word in kinds:
        if mask.any():
            style: Style = {"ls": "none", "marker": r"$\rightarrow$", "ms": 12, "mec": "black"}
            ax.plot([], [], label=word, mfc=colour, mew=0.5, **style)
        ax.quiver(
            *places[mask].T,
            *arrows[mask].T,
            angles="xy",
            scale_units="xy",
            scale=1.0,
            width=0.004,
            facecolor=colour,
            edgecolor="black",
            linewidth=0.4,
            pivot="middle",
            zorder=3,
        )


def is_sure(gradient: Gradient, level: float) -> NDArray[np.bool_]:
    """Tell at each place whether zero lies outside of the gradient's ellipse of that level."""
    solved = np.linalg.solve(gradient.cov, gradient.mean[:, :, None])[:, :, 0]
    squares = np.einsum("na,na->n", gradient.mean, solved)
    return np.asarray(squares > special.chdtri(gradient.mean.shape[1], 1.0 - level))


def _pairs(a: Array, b: Array) -> Array:
    """Return all places of a grid: (len(b) * len(a), 2), a running fastest."""
    return np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2)
