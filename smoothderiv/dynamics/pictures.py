"""Pictures of a fitted motion and of a growth curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv._units import derivative_name, derivative_unit, with_unit
from smoothderiv.observations import Observations
from smoothderiv.plotting.style import CURVE, DATA, date_axis, dress, time_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from smoothderiv.dynamics.growth import GrowthRate
    from smoothderiv.dynamics.result import DynamicsFit

MODEL, INPUT = "#D55E00", "#009E73"  # Okabe and Ito's
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def draw_fit(fit: DynamicsFit, t_unit: str | None, x_unit: str | None) -> Figure:
    """Draw one panel for each order, and one for the inputs."""
    from matplotlib import pyplot

    problem, order = fit.problem, fit.order
    per, t_label, scale = _clock(problem.data, t_unit)
    has_input = problem.u.shape[1] > 0
    heights = [1.0] * (order + 1) + [0.6] * has_input
    figure, axes = pyplot.subplots(
        len(heights),
        1,
        sharex=True,
        figsize=(7.2, 1.0 + 1.75 * sum(heights)),
        layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )
    times = problem.times
    places = problem.as_given(times)
    states = fit.simulate()
    highest = problem.regressors(states) @ np.linalg.solve(problem.to_given, fit.values)
    model = np.concatenate((states, highest[None] * problem.unit))
    for nu in range(order + 1):
        ax = axes[nu]
        if fit._lowest <= nu <= fit.trajectory.highest_order:
            mean = scale**nu * fit.trajectory.mean(places, nu)
            low, high = (scale**nu * limit for limit in fit.trajectory.interval(places, nu))
            ax.fill_between(
                places, low, high, color=CURVE, alpha=0.25, lw=0, label="95 % pointwise"
            )
            ax.plot(places, mean, color=CURVE, lw=2.8, alpha=0.5, label="smoothed")
        resimulated = scale**nu * model[nu]
        style: dict[str, Any] = {"color": MODEL, "lw": 1.3, "ls": (0, (5, 5))}
        ax.plot(places, resimulated, label="re-simulated", **style)
        _samples(ax, fit, nu, scale**nu)
        unit = derivative_unit(per if x_unit else None, x_unit, nu)
        ax.set_ylabel(with_unit(derivative_name(nu, "x"), unit))
    if has_input:
        for j in range(problem.u.shape[1]):
            values = problem.u[:, j] * problem.inputs[j]
            axes[-1].step(
                places, values, where="post", lw=1.2, color=INPUT, alpha=1.0 - 0.4 * (j % 2)
            )
        axes[-1].set_ylabel("u")
    axes[-1].set_xlabel(t_label)
    date_axis(axes[-1], problem.data)
    _finish(figure, axes)
    return figure


def _clock(data: Observations, t_unit: str | None) -> tuple[str | None, str, float]:
    """Return the unit that derivatives are per, the label of times, and the seconds of that unit.

    Times that are numbers are in the unit given, whatever it is; datetimes count in seconds, and
    derivatives by them are drawn per second unless another unit of time is asked.
    """
    if data.origin is None:
        return t_unit, with_unit("t", t_unit), 1.0
    unit = t_unit or "s"
    if unit not in _SECONDS:
        raise ValueError(
            f"t_unit: {t_unit!r}, but the times are datetimes; use one of {', '.join(_SECONDS)}"
        )
    return unit, time_name(data), _SECONDS[unit]


def _samples(ax: Any, fit: DynamicsFit, nu: int, scale: float) -> None:
    data = fit.problem.data
    here = data.is_of(nu)
    if here.any():
        x, few = fit.problem.as_given(data.x[here]), here.sum() < 200
        style: dict[str, Any] = {"ms": 5.0, "mec": DATA, "mfc": "none", "mew": 0.6}
        if not few:
            style = {"ms": 5.0, "mew": 0.0, "color": "0.8"}
        ax.plot(x, scale * data.y[here], "o", label="data", zorder=0.8, **style)


def _finish(figure: Figure, axes: Any) -> None:
    entries: dict[str, Any] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
        dress(ax)
        ax.margins(x=0.02)
    figure.align_ylabels(list(axes))
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside upper center",
        ncols=len(entries),
        frameon=False,
        fontsize="small" if figure.get_figwidth() < 8 else "medium",
    )


def draw_growth(growth: GrowthRate, t_unit: str | None, n_unit: str | None) -> Figure:
    """Draw the counts on a logarithmic axis, the rate with its interval, and the rate against n.

    The logistic curve is drawn over the times of the counts, and its rate up to its capacity.
    """
    from matplotlib import pyplot

    post, data = growth.posterior, growth.posterior.data
    per, t_label, scale = _clock(data, t_unit)
    n_label = with_unit("n", n_unit)
    rate_label = with_unit(f"{derivative_name(1, 'n')}/n", derivative_unit(per, None, 1))
    figure, axes = pyplot.subplots(1, 3, figsize=(9.2, 3.4), layout="constrained")
    grid: NDArray[Any] = np.linspace(data.x.min(), data.x.max(), 300)
    places = data.as_given(grid)
    middle, (low, high) = np.exp(post.mean(places)), np.exp(post.interval(places))
    rate = scale * post.mean(places, 1)
    below, above = (scale * limit for limit in post.interval(places, 1))
    _band(axes[0], places, middle, low, high, "smoothed")
    _band(axes[1], places, rate, below, above)
    _band(axes[2], middle, rate, below, above)
    counts = np.exp(data.y)
    marks: dict[str, Any] = {"ms": 5.0, "mec": DATA, "mfc": "none", "mew": 0.8}
    axes[0].plot(data.as_given(data.x), counts, "o", label="data", **marks)
    style: dict[str, Any] = {"color": MODEL, "lw": 1.4, "ls": "--", "zorder": 3}
    law = growth.logistic
    axes[0].plot(places, law.simulate(grid - grid[0]), **style)
    end = min(law.K or np.inf, 2.0 * float(middle.max()))  # K may be far away, or infinite
    line = scale * (law.r - law.crowding * np.array([0.0, end]))
    axes[2].plot([0.0, end], line, label="logistic", **style)
    axes[0].set(yscale="log", xlabel=t_label, ylabel=n_label)
    axes[1].set(xlabel=t_label, ylabel=rate_label)
    axes[2].set(xlabel=n_label, ylabel=rate_label)
    for ax in axes[:2]:
        date_axis(ax, data)
    for ax in axes[1:]:
        ax.axhline(0.0, color="0.6", lw=0.8)
        ax.ticklabel_format(axis="y", scilimits=(-4, 5), useMathText=True)
    axes[2].locator_params(axis="x", nbins=4)
    axes[2].ticklabel_format(axis="x", scilimits=(-3, 4), useMathText=True)
    _finish(figure, axes)
    return figure


def _band(ax: Any, x: Any, mean: Any, low: Any, high: Any, name: str | None = None) -> None:
    """Draw a mean with its pointwise 95 % interval."""
    label = "95 % pointwise" if name else None
    ax.fill_between(x, low, high, color=CURVE, alpha=0.25, lw=0, label=label)
    ax.plot(x, mean, color=CURVE, lw=1.6, label=name)
