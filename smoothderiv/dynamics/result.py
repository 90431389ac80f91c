"""DynamicsFit: the estimated equation, and what can be asked of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv._validate import said
from smoothderiv.answers.limits import check_level
from smoothderiv.answers.marginal import student_quantile
from smoothderiv.dynamics.estimate import Estimate, collinearity
from smoothderiv.dynamics.feedforward import Feedforward
from smoothderiv.dynamics.problem import Problem, input_columns
from smoothderiv.dynamics.simulate import basis, simulate
from smoothderiv.dynamics.trajectory import Trajectory
from smoothderiv.posterior import Posterior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class DynamicsFit:
    """The equation ``D^order x = sum_j coefficient_j term_j``, estimated.

    Attributes
    ----------
    method : str
    order : int
    names : tuple of str
        The terms, in the order in which they were given.
    values : (p,) array
        Their coefficients, each in unit of x / unit of t ** order / unit of its term.
    covariance : (p, p) array
    dof : float
        Degrees of freedom of the intervals.
    disturbance : float
        Root of the spectral density of the white noise that drives ``D^order x``, in unit of x /
        unit of t ** (order - 1/2); 0 where the data show none or the method has none.
    notes : dict
        What else the method has to say.
    problem, estimate
        What was fitted, and the coefficients, free of units.
    path : Posterior or None
        The motion, of a method that finds it with the coefficients; see `trajectory`.
    """

    method: str
    order: int
    names: tuple[str, ...]
    values: Array
    covariance: Array
    dof: float
    disturbance: float
    notes: dict[str, Any]
    problem: Problem = field(repr=False)
    estimate: Estimate = field(repr=False)
    path: Posterior | None = field(repr=False, default=None)

    @classmethod
    def of(cls, method: str, problem: Problem, estimate: Estimate, path: Any) -> DynamicsFit:
        """Return an estimate in the user's units."""
        T = problem.to_given
        values, covariance = T @ estimate.coefficients, T @ estimate.covariance @ T.T
        values.flags.writeable = covariance.flags.writeable = False
        unit = problem.unit * math.sqrt(problem.span)
        return cls(
            method=method,
            order=problem.order,
            names=problem.names,
            values=values,
            covariance=covariance,
            dof=estimate.dof,
            disturbance=math.sqrt(estimate.disturbance) * unit,
            notes=estimate.notes,
            problem=problem,
            estimate=estimate,
            path=path,
        )

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients by name."""
        return dict(zip(self.names, self.values.tolist(), strict=True))

    @property
    def std(self) -> dict[str, float]:
        """Their standard deviations by name."""
        return dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    def interval(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Return limits of probability `level` for each coefficient, by Student's distribution."""
        t, std = student_quantile(0.5 + 0.5 * check_level(level), self.dof), self.std
        return {k: (v - t * std[k], v + t * std[k]) for k, v in self.coefficients.items()}

    @functools.cached_property
    def trajectory(self) -> Posterior:
        """The smoothed motion with its derivatives, a Posterior.

        Of method "kalman" the motion given data and equation, with the uncertainty of both; of
        the other methods a smooth curve through the data, which knows of no equation: of "gradient"
        the one regressed, that of ``sd.smooth`` or the posterior given, else a penalised quintic
        spline.
        """
        return self.problem.smoothed if self.path is None else self.path

    @functools.cached_property
    def noise(self) -> dict[Any, float]:
        """Estimated noise levels by order of derivative, in the unit of those rows."""
        if self.estimate.noise:
            unit = {o: self.problem.size / self.problem.span**o for o in self.estimate.noise}
            return {o: float(v * unit[o]) for o, v in self.estimate.noise.items()}
        return dict(self.trajectory.noise)

    @functools.cached_property
    def _collinearity(self) -> tuple[float, list[str]]:
        times = self.problem.times
        spread = self.trajectory.std(self.problem.as_given(times), self.order - 1)
        columns = self.problem.regressors(self._states(times), spread)
        return collinearity(columns, self.names)

    @property
    def _lowest(self) -> int:
        """The lowest derivative that is determined."""
        return self.path.lowest_order if isinstance(self.path, Trajectory) else 0

    def _states(self, times: Array) -> Array:
        """Return the smoothed states (order, n); 0 for an x that is not determined."""
        found = np.zeros((self.order, len(times)))
        nu = np.arange(self._lowest, self.order)[:, None]
        found[self._lowest :] = self.trajectory.mean(self.problem.as_given(times), nu)
        return found

    @property
    def condition_number(self) -> float:
        """How nearly the terms, along the motion, depend on each other.

        Ratio of the singular values of their columns, each normed to 1: 1 where they are
        orthogonal, weakly dependent about 10 and strongly above 30 (Belsley, Kuh & Welsch 1980).
        """
        return self._collinearity[0]

    @property
    def unidentified(self) -> list[str]:
        """The terms that the worst conditioned direction is made of."""
        return self._collinearity[1]

    @functools.cached_property
    def feedforward(self) -> Feedforward:
        """The constants of a feed-forward controller, with standard deviations."""
        inputs = self.problem.indices("input")
        if len(inputs) != 1:
            raise ValueError(
                f"feedforward: the equation is solved for one input, but it has {len(inputs)}"
            )
        if self.problem.indices("function"):
            raise ValueError(
                "feedforward: a function is a term, so that no constants answer for it"
            )
        words = tuple(
            "rate" if t.kind == "state" and t.index == self.order - 1 else t.name
            for t in self.problem.terms
        )
        return Feedforward.of(words, self.values, self.covariance, inputs[0])

    def simulate(
        self, u: Any = None, t: ArrayLike | None = None, start: ArrayLike | None = None
    ) -> Array:
        """Return the motion that the estimated equation predicts: (order, n), x and its rate.

        In ascending order of time, as ``problem.times`` are.

        Parameters
        ----------
        u : (n,), (n, m) or mapping, optional
            Input, held from each time to the next; by default that of the fit. In the order of the
            times, those given here or those that the fit was given; a mapping by its names.
        t : (n,) array, optional
            Ascending times; by default those of the fit. Without disturbance and noise.
        start : (order,) array, optional
            x (and its rate) at the first time. By default the start that fits the samples best;
            for other times than those of the fit it must be given.
        """
        problem = self.problem
        times = problem.times if t is None else problem.data.coordinates(t, "t")
        if u is None and t is not None and self.problem.raw is not None:
            raise ValueError("u: give the input at the times t, for the equation has one")
        backwards = np.flatnonzero(~(np.diff(times) >= 0.0))
        if len(backwards):
            raise ValueError(
                f"t: row {backwards[0] + 1} is before row {backwards[0]}; give ascending times"
            )
        columns, raw = self._input(u, len(times), t is None)
        if start is None and t is not None:
            raise ValueError("start: give x (and its rate) at the first time, such as (0.0, 0.0)")
        begin = self._start if start is None else np.asarray(start, dtype=float)
        if begin.shape != (self.order,) or not np.isfinite(begin).all():
            raise ValueError(f"start: {said(begin)}, but {self.order} finite numbers are needed")
        sizes = problem.size / problem.span ** np.arange(float(self.order))
        return simulate(problem.terms, self.values, times, columns, raw, begin, sizes)

    def _input(self, u: Any, n: int, at_times_of_fit: bool) -> tuple[Array, Any]:
        problem = self.problem
        if u is None:
            return problem.u * problem.inputs, problem.raw
        columns, names = input_columns(u)
        assert columns is not None
        if isinstance(u, Mapping):
            wanted = [problem.names[j] for j in problem.indices("input")]
            if set(names) != set(wanted):
                raise ValueError(
                    f"u: inputs {', '.join(names)}, but the equation has {', '.join(wanted)}"
                )
            columns = columns[:, [names.index(name) for name in wanted]]
        if columns.shape != (n, problem.u.shape[1]):
            raise ValueError(
                f"u: shape {columns.shape} ({', '.join(names)}), but {n} times and "
                f"{problem.u.shape[1]} inputs are needed"
            )
        if at_times_of_fit:
            columns = columns[problem.sorting]
        single = problem.raw is not None and problem.raw.ndim == 1
        return columns, columns[:, 0] if single else columns

    @functools.cached_property
    def _start(self) -> Array:
        """The state at the first time: least squares where the equation is linear."""
        problem = self.problem
        if problem.indices("function", "friction") or self.path is not None:
            return self._states(problem.times[:1])[:, 0]
        drift, force = np.zeros(self.order), np.zeros(len(problem.t))
        for term, value in zip(problem.terms, self.values, strict=True):
            if term.kind == "state":
                drift[term.index] = value
            else:
                column = problem.u[:, term.index] * problem.inputs[term.index]
                force += value * (column if term.kind == "input" else 1.0)
        samples = problem.shift + problem.size * problem.x
        if problem.given is not None:
            samples = problem.given.mean(problem.as_given(problem.times))
        seen = np.isfinite(samples)
        answers = basis(self.order, drift, problem.times, force)[seen, 0]
        size = np.linalg.norm(answers[:, 1:], axis=0)
        left = samples[seen] - answers[:, 0]
        return np.asarray(np.linalg.lstsq(answers[:, 1:] / size, left, rcond=None)[0] / size)

    @functools.cached_property
    def r_squared(self) -> float:
        """R² of the re-simulated motion: the share of the variance of the samples that it explains.

        The equation is run from its start with no look at the samples on the way; negative where
        it runs away from them. Where x was given as a posterior, or rates alone were observed,
        the smoothed motion stands for the samples.
        """
        values, mean = self._resimulated()
        return float(1.0 - np.sum((values - mean) ** 2) / np.sum((values - values.mean()) ** 2))

    def _resimulated(self) -> tuple[Array, Array]:
        """Return the samples of x and the re-simulated x there."""
        problem = self.problem
        if problem.given is None and np.isfinite(problem.x).any():
            seen = np.isfinite(problem.x)
            return problem.shift + problem.size * problem.x[seen], self.simulate()[0][seen]
        lowest = self._lowest
        return self._states(problem.times)[lowest], self.simulate()[lowest]

    def summary(self) -> str:
        """Return a table of the coefficients, and how well they are known, as text."""
        std, limits = self.std, self.interval()
        width = max(12, *(len(name) for name in self.names))
        lines = [f"{equation(self)}, method {self.method!r}, {len(self.problem.data)} observations"]
        lines.append(f"{'term':{width}s} {'coefficient':>12s} {'std':>10s}   95 % interval")
        for name, value in self.coefficients.items():
            low, high = limits[name]
            lines.append(
                f"{name:{width}s} {value:12.6g} {std[name]:10.2g}   {low:.6g} to {high:.6g}"
            )
        noise = ", ".join(f"order {k}: {v:.4g}" for k, v in self.noise.items()) or "as given"
        lines.append(f"noise {noise}; disturbance {self.disturbance:.4g}")
        lines.append(
            f"R² of the re-simulated motion {self.r_squared:.6f}; condition number "
            f"{self.condition_number:.1f}"
        )
        if len(self.problem.indices("input")) == 1 and not self.problem.indices("function"):
            lines.append(repr(self.feedforward))
        return "\n".join(lines)

    def __repr__(self) -> str:
        std = self.std
        words = [f"{k} {v:.6g} ± {std[k]:.2g}" for k, v in self.coefficients.items()]
        return f"DynamicsFit ({self.method}): {', '.join(words)}"

    def plot(self, t_unit: str | None = None, x_unit: str | None = None) -> Figure:
        """Draw samples, motion and its derivatives, the re-simulated motion, and the input.

        Limits hold 95 % at each time. For datetimes derivatives are drawn per `t_unit`: "s", the
        default, "min", "h" or "d". Returns the matplotlib figure.
        """
        from smoothderiv.dynamics.pictures import draw_fit

        return draw_fit(self, t_unit, x_unit)


def equation(fit: DynamicsFit) -> str:
    """Return the equation in words, such as ``x'' = rate + input + constant``."""
    return f"x{chr(39) * fit.order} = {' + '.join(fit.names)}"
