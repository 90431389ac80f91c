"""Pictures of a fitted motion and of a growth curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv import _validate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from smoothderiv.dynamics.growth import GrowthRate
    from smoothderiv.dynamics.result import DynamicsFit

CURVE, MODEL, DATA, INPUT = "#0072B2", "#D55E00", "#262626", "#009E73"  # Okabe and Ito's
_PRIMES = ("x", "x\N{PRIME}", "x\N{DOUBLE PRIME}")
_RAISED = ("", "", "²")


def draw_fit(fit: DynamicsFit, t_unit: str | None, x_unit: str | None) -> Figure:
    """Draw one panel for each order, and one for the inputs."""
    from matplotlib import pyplot

    problem, order = fit.problem, fit.order
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
            mean = fit.trajectory.mean(places, nu)
            low, high = fit.trajectory.interval(places, nu)
            ax.fill_between(places, low, high, color=CURVE, alpha=0.25, lw=0, label="95 % band")
            ax.plot(places, mean, color=CURVE, lw=1.6, label="smoothed")
        ax.plot(places, model[nu], color=MODEL, lw=1.1, ls="--", label="re-simulated")
        _samples(ax, fit, nu)
        ax.set_ylabel(_label(_PRIMES[nu], x_unit, t_unit, nu))
    if has_input:
        for j in range(problem.u.shape[1]):
            values = problem.u[:, j] * problem.inputs[j]
            axes[-1].step(
                places, values, where="post", lw=1.2, color=INPUT, alpha=1.0 - 0.4 * (j % 2)
            )
        axes[-1].set_ylabel("u")
    axes[-1].set_xlabel("t" + (f" ({t_unit})" if t_unit else ""))
    _finish(figure, axes)
    return figure


def _samples(ax: Any, fit: DynamicsFit, nu: int) -> None:
    data = fit.problem.data
    here = data.is_of(nu)
    if here.any():
        x = fit.problem.as_given(data.x[here])
        few = here.sum() < 200
        ax.plot(
            x, data.y[here], "o", ms=3 if few else 1.5, mew=0, color=DATA, label="data", zorder=1.5
        )


def _label(name: str, unit: str | None, t_unit: str | None, nu: int) -> str:
    if not unit or (nu and not t_unit):
        return name
    return f"{name} ({unit}{f'/{t_unit}{_RAISED[nu]}' if nu else ''})"


def _finish(figure: Figure, axes: Any) -> None:
    entries: dict[str, Any] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="0.9", lw=0.6)
        ax.set_axisbelow(True)
        ax.margins(x=0.02)
    figure.align_ylabels(list(axes))
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside upper center",
        ncols=len(entries),
        frameon=False,
        fontsize="small",
    )


def draw_growth(growth: GrowthRate, t_unit: str | None, n_unit: str | None) -> Figure:
    """Draw the counts on a logarithmic axis, the rate with its band, and the rate against n."""
    from matplotlib import pyplot

    post = growth.posterior
    figure, axes = pyplot.subplots(1, 3, figsize=(11.0, 3.6), layout="constrained")
    grid: NDArray[Any] = np.linspace(post.data.x.min(), post.data.x.max(), 300)
    places = grid if post.data.origin is None else _validate.times(grid, post.data.origin)
    middle, (low, high) = np.exp(post.mean(places)), np.exp(post.interval(places))
    own = (
        post.data.x if post.data.origin is None else _validate.times(post.data.x, post.data.origin)
    )
    axes[0].fill_between(places, low, high, color=CURVE, alpha=0.25, lw=0, label="95 % band")
    axes[0].plot(places, middle, color=CURVE, lw=1.6, label="smoothed")
    axes[0].plot(own, np.exp(post.data.y), "o", ms=3.5, mew=0, color=DATA, label="data")
    axes[0].set(yscale="log", ylabel="n" + (f" ({n_unit})" if n_unit else ""))
    rate, (below, above) = post.mean(places, 1), post.interval(places, 1)
    axes[1].fill_between(places, below, above, color=CURVE, alpha=0.25, lw=0)
    axes[1].plot(places, rate, color=CURVE, lw=1.6)
    axes[1].axhline(0.0, color="0.6", lw=0.8)
    per = f" (per {t_unit})" if t_unit else ""
    axes[1].set_ylabel("n\N{PRIME}/n" + per)
    for ax in axes[:2]:
        ax.set_xlabel("t" + (f" ({t_unit})" if t_unit else ""))
    axes[2].plot(middle, rate, color=CURVE, lw=1.6)
    axes[2].fill_between(middle, below, above, color=CURVE, alpha=0.25, lw=0)
    if growth.logistic is not None:
        line = np.array([0.0, growth.logistic.K])
        axes[2].plot(line, [growth.logistic.r, 0.0], color=MODEL, lw=1.2, ls="--", label="logistic")
        count = growth.logistic.simulate(grid - grid[0])
        axes[0].plot(places, count, color=MODEL, lw=1.2, ls="--")
    axes[2].axhline(0.0, color="0.6", lw=0.8)
    axes[2].set(xlabel="n" + (f" ({n_unit})" if n_unit else ""), ylabel="n\N{PRIME}/n" + per)
    _finish(figure, axes)
    return figure
