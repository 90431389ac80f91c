"""How a model was tuned: the criterion along each parameter, and the candidates that were tried."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from smoothderiv.model import Model, require_model
from smoothderiv.plotting.style import CURVE, DATA, EXACT, Array, dress
from smoothderiv.posterior import Posterior
from smoothderiv.tuning import Tuning

NATS = 25.0  # how far below the best the panels reach
CANDIDATES = 12
PANEL, LETTER = 3.1, 0.07  # inches: the width of a panel, and of a letter of a name
WIDE = 3.5  # range of a logarithm from which an axis is one of powers of ten


def plot_tuning(model: Posterior | Model) -> NDArray[Any]:
    """Plot how the parameters of a model were tuned: how much worse each point tried was.

    One panel for each parameter: every point that was evaluated, in nats above the best. With
    several parameters only the lower edge matters, as the others were not at their best elsewhere.
    Values within 2 nats are nearly as good (shaded). A last panel ranks discrete candidates, if
    there were several; for an adaptive spline it is the only one. The members of an average are
    ranked by their leave-one-out log density, from which their weights follow.

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
    near = np.isfinite(worse) & (worse <= NATS)
    wide = np.ptp(log_value[near]) > WIDE
    value = log_value[near] / np.log(10.0) if wide else np.exp(log_value[near])
    ax.axhspan(0, 2, color=CURVE, alpha=0.15, lw=0)
    order = np.argsort(value)
    if len(tuning.names) == 1:
        ax.plot(value[order], worse[near][order], color=CURVE, lw=1.0)
    ax.plot(value, worse[near], ls="none", marker="o", ms=3.5, mew=0, color=DATA, alpha=0.7)
    best = tuning.log_values[j]
    if np.isfinite(best):
        ax.axvline(best / np.log(10.0) if wide else np.exp(best), color=EXACT, lw=1.2)
        ax.set_title(f"{np.exp(best):.4g}", fontsize="small", color=EXACT)
    else:
        words = next((w for w in tuning.ends if w.startswith(f"{tuning.names[j]}:")), "at an end")
        ax.set_title(words.partition(": ")[2] or words, fontsize="small", color=EXACT)
    ax.set_xlabel(tuning.names[j])
    ax.set_ylim(-0.03 * NATS, max(1.05 * float(worse[near].max(initial=2.0)), 2.5))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=wide))
    if wide:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"$10^{{{v:.0f}}}$"))
    elif len(value) and np.ptp(value) < 1e-3 * abs(value[0]):  # points too near to be told apart
        ax.set_xlim(0.9 * value[0], 1.1 * value[0])
    dress(ax)


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
