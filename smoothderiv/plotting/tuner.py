"""How a model was tuned: the criterion along each parameter, and the candidates that were tried."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import (
    FuncFormatter,
    LogFormatterMathtext,
    LogLocator,
    MaxNLocator,
    NullLocator,
)
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from smoothderiv.model import Model, require_model
from smoothderiv.plotting.style import CURVE, DATA, EXACT, Array, dress
from smoothderiv.posterior import Posterior
from smoothderiv.tuning import Tuning

NATS = 25.0  # how far below the best the panels reach
CANDIDATES = 12
PANEL, LETTER = 3.1, 0.07  # inches: the width of a panel, and of a letter of a name
LINE = 200  # places of the line through the points that were evaluated
WIDE, NARROW = 1000.0, 4.0  # ranges, as ratios, that have powers of ten and round numbers as ticks


def plot_tuning(model: Posterior | Model) -> NDArray[Any]:
    """Plot how the parameters of a model were tuned: how much worse each point tried was.

    One panel for each parameter: every point that was evaluated, in nats above the best, over a
    logarithmic axis; the line is interpolated. With several parameters there is none, and only the
    lower edge matters, as the others were not at their best elsewhere. Values within 2 nats are
    nearly as good (shaded). A last panel ranks discrete candidates, if there were several; for an
    adaptive spline it is the only one. The members of an average are ranked by their leave-one-out
    log density, from which their weights follow.

    Parameters
    ----------
    model : Model or Posterior
        That :func:`smoothderiv.tune` has filled.

    Returns
    -------
    array of matplotlib Axes

    Raises
    ------
    ValueError
        The model was not tuned, or nothing of it was kept that could be drawn.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> import numpy as np, smoothderiv as sd
    >>> x = np.linspace(0, 6, 50)
    >>> data = sd.observe(x, np.sin(x) + 0.1 * np.cos(40 * x), yerr=0.1)
    >>> axes = sd.plot_tuning(sd.tune(sd.SmoothingSpline(order=2), data))
    >>> axes[0].get_xlabel()
    'q'
    """
    tuned = model.model if isinstance(model, Posterior) else model
    require_model(tuned)
    tuning = tuned.tuning
    if tuning is None:
        raise ValueError("model: it was not tuned; give sd.tune(model, data) or a fit by sd.smooth")
    points, losses = tuning.curve
    parameters = len(tuning.names) if len(losses) > 1 else 0
    panels = parameters + (len(tuning.tried) > 1)
    if not panels:
        raise ValueError("model: its parameters were found together, and no candidates were tried")
    columns = min(panels, 3)
    every = _new_axes(panels, columns, [name for name, _ in _ranked(tuning)])
    for ax in every[panels:]:
        ax.set_visible(False)
    for j, ax in enumerate(every[:parameters]):
        _draw_parameter(ax, tuning, j, points[:, j], losses - tuning.loss)
        if j % columns == 0:
            ax.set_ylabel(f"{tuning.criterion}: nats from the best")
    if len(tuning.tried) > 1:
        average = hasattr(tuned, "weights")
        title = "members: leave-one-out log density" if average else "candidates"
        _draw_candidates(every[panels - 1], tuning, title)
    return np.asarray(every[:panels])


def _new_axes(panels: int, columns: int, names: list[str]) -> NDArray[Any]:
    """Return axes in rows, the column of the last panel wider by the names of candidates."""
    lines = -(-panels // columns)
    widths = np.full(columns, PANEL)
    widths[(panels - 1) % columns] += LETTER * max(map(len, names), default=0)
    _, axes = pyplot.subplots(
        lines,
        columns,
        squeeze=False,
        figsize=(widths.sum() + 0.6, 2.7 * lines + 0.3),
        width_ratios=widths.tolist(),
        layout="constrained",
    )
    return np.asarray(axes.ravel())


def _draw_parameter(ax: Axes, tuning: Tuning, j: int, log_value: Array, worse: Array) -> None:
    with np.errstate(over="ignore"):
        every = np.exp(log_value)
    near = np.isfinite(worse) & (worse <= NATS) & (every > 0) & np.isfinite(every)
    value = every[near]
    ax.set_xscale("log")
    ax.axhspan(0, 2, color=CURVE, alpha=0.15, lw=0)
    distinct, first = np.unique(log_value[near], return_index=True)
    if len(tuning.names) == 1 and len(distinct) > 1:
        along = np.linspace(distinct[0], distinct[-1], LINE)
        through = PchipInterpolator(distinct, worse[near][first])
        ax.plot(np.exp(along), through(along), color=CURVE, lw=1.0)
    ax.plot(value, worse[near], ls="none", marker="o", ms=3.5, mew=0, color=DATA, alpha=0.7)
    best = tuning.log_values[j]
    if np.isfinite(best):
        ax.axvline(np.exp(best), color=EXACT, lw=1.2)
        ax.set_title(f"{np.exp(best):.4g}", fontsize="small", color=EXACT)
    else:
        words = next((w for w in tuning.ends if w.startswith(f"{tuning.names[j]}:")), "at an end")
        ax.set_title(words.partition(": ")[2] or words, fontsize="small", color=EXACT)
    ax.set_xlabel(tuning.names[j])
    ax.set_ylim(-0.03 * NATS, max(1.05 * float(worse[near].max(initial=2.0)), 2.5))
    if len(value) and np.ptp(value) < 1e-3 * value[0]:  # points too near to be told apart
        ax.set_xlim(0.9 * value[0], 1.1 * value[0])
    _label_powers(ax)
    dress(ax)


def _label_powers(ax: Axes) -> None:
    """Label a logarithmic axis by a few powers of ten, or by round numbers if it is short."""
    low, high = ax.get_xlim()
    ax.xaxis.set_minor_locator(NullLocator())
    if high > WIDE * low:
        ax.xaxis.set_major_locator(LogLocator(numticks=6))
        ax.xaxis.set_major_formatter(LogFormatterMathtext())
        return
    subs = (1.0, 3.0) if high > 30.0 * low else (1.0, 2.0, 5.0)
    ticks = LogLocator(subs=subs) if high > NARROW * low else MaxNLocator(nbins=4)
    ax.xaxis.set_major_locator(ticks)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))


def _draw_candidates(ax: Axes, tuning: Tuning, title: str) -> None:
    ranked = _ranked(tuning)
    names = [name for name, _ in ranked]
    merit = np.array([value for _, value in ranked])
    lacks = merit - merit[0]
    at = np.arange(len(merit))
    ax.hlines(at, np.maximum(lacks, -NATS), 0, color="0.75", lw=1.2)
    ax.plot(np.maximum(lacks, -NATS), at, ls="none", marker="o", ms=5, color=CURVE)
    ax.plot(0, 0, marker="o", ms=5, color=EXACT)
    ax.set_title(title, fontsize="medium")
    ax.set_yticks(at, names, fontsize="small")
    ax.set_ylim(len(merit) - 0.5, -0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4))
    ax.set_xlabel("nats from the best")
    dress(ax)


def _ranked(tuning: Tuning) -> list[tuple[str, float]]:
    """Return the best of the candidates with their merits, if there were several."""
    if len(tuning.tried) < 2:
        return []
    return sorted(tuning.tried, key=lambda pair: -pair[1])[:CANDIDATES]
