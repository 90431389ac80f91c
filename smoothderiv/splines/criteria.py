"""What is minimised to tune a regression spline: evidence, GCV or leave-one-out density.

Unknowns are ``log(lam * s^2)``, with s the level of the first order whose noise is unknown (1 if
none is), and the log of each unknown level: smoothing and noise are then nearly independent.
Each trial costs O(n_coef k^2), from the triangular factors alone (leave-one-out: O(n k^2)).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts load when they are used
from numpy.typing import NDArray

from smoothderiv.minimiser import Search
from smoothderiv.model import (
    UndeterminedError,
    UnsuitableError,
    levels_sharing,
    missing_noise,
    require_one_scale,
)
from smoothderiv.observations import Observations
from smoothderiv.splines import _loops
from smoothderiv.splines.basis import held
from smoothderiv.splines.system import EPS, Solution, System

if TYPE_CHECKING:
    from smoothderiv.splines.regression import RegressionSpline

Array = NDArray[np.float64]
_GRID, _ROUNDS = 9, 4  # smoothings to start from, and steps to the levels at each
_STEP = 1e-30  # of the complex-step derivative: exact, nothing is subtracted
_LEAST = 1e-10  # of the size of the rows: noise that residuals of nothing leave


class Criterion:
    """One criterion for one model and one data set, as a function of the log unknowns."""

    def __init__(self, model: RegressionSpline, data: Observations, criterion: str) -> None:
        self._model, self._data, self._criterion = model, data, criterion
        basis = model.basis(data)
        self._system = System.assemble(basis, data, model.order, model.kind)
        self._lam_free = model.lam is None
        unknown = missing_noise(model.noise, data)
        keys = self._system.keys
        self._unknown = np.array([j for j, key in enumerate(keys) if key in unknown], dtype=int)
        given = model.noise or {}
        self._given = np.array([1.0 if key is None else given.get(key, 1.0) for key in keys])
        self._is_gcv = criterion == "gcv"
        # of a held penalty GCV moves the level; without one residuals tell it, whatever was tried
        self._by_level = self._is_gcv and not self._lam_free and model.kind == "penalised"
        if self._is_gcv:
            require_one_scale(model.noise, data)
        self._polynomial: System | None = None
        self._span = basis.interval[1] - basis.interval[0]
        self._sharing = levels_sharing(model.noise, data, self._free())
        self._require_residuals()
        self._guess()

    def search(self) -> Search:
        """Return the search that the tuner runs."""
        names: list[str] = []
        ends: list[tuple[str, str]] = []
        if self._lam_free:
            reference = "" if not len(self._unknown) else f"*{self._level_name(0)}**2"
            names.append(f"lam{reference}")
            words = {1: "a constant", 2: "a straight line"}
            polynomial = f"a polynomial of degree {self._model.order - 1}"
            ends.append(("no smoothing", words.get(self._model.order, polynomial)))
        for j in range(len(self._unknown)):
            names.append(self._level_name(j))
            ends.append(("no noise", ""))
        lower, upper = self._lower, self._upper
        if self._is_gcv and self._lam_free:
            names, ends, lower, upper = names[:1], ends[:1], lower[:1], upper[:1]
        starts = self._starts()[:, : len(names)]
        if self._is_gcv and not (self._lam_free or self._by_level):
            lower = upper = starts[0]
            ends = [("", "")] * len(names)
        if self._is_flat():
            ends[0] = ("", "")
            starts[:, 0] = self._even_share()
            lower, upper = (np.concatenate((starts[0, :1], end[1:])) for end in (lower, upper))
        return Search(tuple(names), starts, lower, upper, tuple(ends), self.loss, self._fill)

    def loss(self, point: Array) -> tuple[float, Array]:
        """Return the criterion in nats and its gradient."""
        try:
            if self._criterion == "evidence":
                return self._evidence(point)
            return self._by_complex_step(point)
        except UnsuitableError:
            return np.inf, np.zeros(len(point))

    def _require_residuals(self) -> None:
        """Refuse to estimate noise from rows that a curve without noise can always meet."""
        if self._system.kind == "penalised":
            _ = self._system.log_constant  # polynomials must be determined: refused here by name
        if len(self._unknown) and self._rows() <= self._free():
            raise UndeterminedError(
                f"{self._level_name(0)}: {self._rows()} rows determine {self._free()} free "
                "coefficients and leave no residual to estimate noise from; give yerr, more rows, "
                "or a simpler model"
            )

    def _is_flat(self) -> bool:
        """Whether smoothing and noise share what so few rows leave over, in any shares alike."""
        unknown = len(self._unknown)
        smooth = self._lam_free and self._criterion == "evidence"
        return bool(smooth and unknown and self._rows() - self._free() <= unknown)

    def _even_share(self) -> float:
        """Return the smoothing at which noise has half of what the polynomials leave over."""
        groups = len(self._system.keys)
        left = 0.5 * (self._rows() - self._free())

        def excess(value: float) -> float:
            solution = self._system.solve(
                np.exp(value) / self._levels[self._unknown[0]] ** 2, self._levels
            )
            edf = float((solution.traces[:groups] / self._levels**2).sum())
            return float(self._system.counts.sum()) - edf - left

        return float(scipy.optimize.brentq(excess, self._lower[0], self._upper[0]))

    def _rows(self) -> int:
        """Return how many rows have noise, and exact ones that tell of the polynomials."""
        system = self._system
        return int(system.counts.sum()) + (system.kind != "plain") * system.coordinates.n_locked

    def _free(self) -> int:
        """Return how many numbers of the curve are free."""
        system = self._system
        return system.coordinates.n_free if system.kind == "plain" else self._model.order

    def _level_name(self, j: int) -> str:
        return f"noise[{self._system.keys[self._unknown[j]]}]"

    def _parameters(self, point: Any) -> tuple[System, Any, Any]:
        """Return the system, lam and levels at a point; the upper end of lam is a polynomial."""
        levels = self._given.astype(point.dtype)
        shift = int(self._lam_free)
        if len(point) > shift:
            levels[self._unknown] = np.exp(point[shift:])
        if not self._lam_free:
            return self._system, self._model.lam, levels
        if point[0].real >= self._upper[0]:
            return self._limit(), np.inf, levels
        reference = levels[self._unknown[0]] if len(self._unknown) else 1.0
        return self._system, np.exp(point[0]) / reference**2, levels

    def _limit(self) -> System:
        """Return the system of polynomials, where lam is infinite."""
        if self._polynomial is None:
            system = self._system
            self._polynomial = System.assemble(
                system.basis, self._data, self._model.order, "polynomial"
            )
        return self._polynomial

    def _evidence(self, point: Array) -> tuple[float, Array]:
        """Minus the restricted log likelihood; its gradient by the traces of the posterior."""
        system, lam, levels = self._parameters(point)
        solution = system.solve(lam, levels)
        loss = -system.log_evidence(lam, levels, solution) + self._by_prior(levels)
        groups = len(system.keys)
        scaled = (solution.squares[:groups] + solution.traces[:groups]) / levels**2
        by_level = (system.counts - scaled)[self._unknown] - bool(self._sharing)
        if not self._lam_free:
            return loss, by_level
        by_lam = 0.0
        if system.kind == "penalised":
            penalty = lam * (solution.squares[-1] + solution.traces[-1])
            by_lam = 0.5 * float(penalty - system.rank)
        if len(by_level):
            by_level[0] -= 2 * by_lam
        return loss, np.concatenate(([by_lam], by_level))

    def _by_prior(self, levels: Any) -> Any:
        """Minus the log prior of levels that share the rows."""
        return -np.log(levels[self._unknown]).sum() if self._sharing else 0.0

    def _by_complex_step(self, point: Array) -> tuple[float, Array]:
        gradient = np.empty(len(point))
        loss = float(self._other(point.astype(complex)).real)
        for j in range(len(point)):
            moved = point.astype(complex)
            moved[j] += 1j * _STEP
            gradient[j] = self._other(moved).imag / _STEP
        return loss, gradient

    def _other(self, point: Any) -> Any:
        system, lam, levels = self._parameters(point)
        solution = system.solve(lam, levels)
        groups = len(system.keys)
        if self._is_gcv:
            n = int(system.counts.sum())
            squares = (solution.squares[:groups] / self._given**2).sum()  # not by what is tuned
            squares = squares or np.finfo(float).tiny  # y that any curve meets: the smoothest
            edf = (solution.traces[:groups] / levels**2).sum()
            return 0.5 * n * (np.log(n * squares) - 2 * np.log(n - edf))
        return self._leave_one_out(system, solution, levels)

    def _leave_one_out(self, system: System, solution: Solution, levels: Any) -> Any:
        """Minus the sum of leave-one-out log densities of the rows that are not exact."""
        data, basis = self._data, system.basis
        soft = ~data.exact
        sd = data.relative_sd[soft].astype(levels.dtype)
        for key, level in zip(system.keys, levels, strict=True):
            if key is not None:
                sd[(data.is_of(key) & data.estimated)[soft]] *= level
        mean, var = np.zeros(len(sd), dtype=sd.dtype), np.zeros(len(sd), dtype=sd.dtype)
        x, nu = held(data.x[soft], data.nu[soft])
        null = system.coordinates.null
        _loops.moments(*basis.loops, x, nu, solution.coef, solution.roots, null, mean, var)
        free = 1.0 - var / sd**2
        if not (free.real > 0.0).all():  # a row that alone determines something is not predicted
            return np.inf
        scaled = (data.y[soft] - mean) ** 2 / (sd**2 * free)
        loss = 0.5 * (np.log(2 * np.pi * sd**2) - np.log(free) + scaled).sum()
        return loss + self._by_prior(levels)

    # Where to start: a grid of smoothings, the levels by a few fixed-point steps at each.

    def _guess(self) -> None:
        """Set the range of the search from the sizes of the residuals and the interval."""
        data, system = self._data, self._system
        levels = self._sizes()
        lower = list(np.log(1e-10 * levels[self._unknown]))
        upper = list(np.log(1e3 * levels[self._unknown]))
        if self._lam_free:
            reference = levels[self._unknown[0]] if len(self._unknown) else 1.0
            sd = np.where(data.exact, self._spread(data.exact), data.relative_sd)
            for key, level in zip(system.keys, levels, strict=True):
                if key is not None:
                    sd[data.is_of(key) & data.estimated] *= level
            scaled = sd * self._span ** data.nu.astype(float)
            m = self._model.order
            information = np.log(((reference / scaled) ** 2).sum())
            natural = information + (2 * m - 1) * np.log(self._span)
            fine = 2 * m * np.log(np.pi * system.basis.n_coef)
            lower.insert(0, natural - fine - np.log(1e6))
            upper.insert(0, natural + np.log(1e3))
        self._lower, self._upper, self._levels = np.array(lower), np.array(upper), levels

    def _sizes(self) -> Array:
        """Return a first guess of each level: residuals of the smoothest curve of the model."""
        data, system, levels = self._data, self._system, self._given.copy()
        floor = np.zeros(len(levels))
        for j in self._unknown:
            rows = data.is_of(system.keys[j]) & data.estimated
            levels[j] = self._spread(rows)
            floor[j] = EPS * np.abs(data.y[rows] / data.relative_sd[rows]).max()
        if not len(self._unknown):
            return levels
        try:
            smoothest = self._limit() if self._lam_free else system
            solution = smoothest.solve(self._model.lam, levels)
        except UnsuitableError:
            return levels
        sizes = np.sqrt(solution.squares[: len(levels)] / system.counts)
        sizes = np.where(sizes > floor, sizes, floor)
        levels[self._unknown] = np.where(sizes > 0, sizes, levels)[self._unknown]
        return levels

    def _spread(self, rows: NDArray[np.bool_]) -> float:
        """Return how far y, over its relative size, spreads in some rows of one order."""
        data = self._data
        if not rows.any():
            return 1.0
        part = data.y[rows] / np.where(data.exact, 1.0, data.relative_sd)[rows]
        scaled = data.y * self._span ** data.nu.astype(float)
        order = float(data.nu[rows].mean())
        sizes = (part.std(), np.abs(part).max(), np.abs(scaled).max() * self._span**-order, 1.0)
        return float(next(size for size in sizes if size > 0))

    def _starts(self) -> Array:
        if self._by_level:
            return np.linspace(self._lower, self._upper, _GRID)
        if not self._lam_free:
            levels = self._fixed_point(self._system, lambda levels: self._model.lam)
            return np.asarray(np.log(levels[self._unknown])[None, :])
        starts = []
        for value in np.linspace(self._lower[0], self._upper[0], _GRID):

            def lam(levels: Array, value: float = value) -> float:
                return float(
                    np.exp(value) / (levels[self._unknown[0]] ** 2 if len(self._unknown) else 1)
                )

            levels = self._fixed_point(self._system, lam)
            starts.append(np.concatenate(([value], np.log(levels[self._unknown]))))
        return np.array(starts)

    def _fixed_point(self, system: System, lam: Any) -> Array:
        """Iterate ``level^2 = ss / (n - edf)`` for each unknown level."""
        levels = self._levels.copy()
        groups = len(system.keys)
        for _ in range(_ROUNDS if len(self._unknown) and not self._is_gcv else 0):
            try:
                solution = system.solve(lam(levels), levels)
            except UnsuitableError:
                break
            edf = solution.traces[:groups] / levels**2
            free = np.maximum(system.counts - edf, 0.02 * system.counts)
            new = np.sqrt(solution.squares[:groups] / free)
            levels[self._unknown] = np.maximum(new, _LEAST * self._levels)[self._unknown]
        return levels

    def _fill(self, point: Array) -> RegressionSpline:
        """Return the model at a point; ends are taken where the model has them."""
        model = self._model
        lower, upper = self._lower[: len(point)], self._upper[: len(point)]
        finite = np.clip(point, lower, upper)
        _, lam, levels = self._parameters(finite)
        if self._lam_free and np.isneginf(point[0]) and self._plain_is_determined():
            lam = 0.0
        if self._is_gcv and len(self._unknown) and not self._by_level:
            system, lam_scaled, unit = self._parameters(finite)
            solution = system.solve(lam_scaled, unit)
            edf = float((solution.traces[:1] / unit**2).sum())
            levels = np.sqrt(solution.squares[:1] / (system.counts[0] - edf))
            levels = np.maximum(levels, _LEAST * self._levels[:1])
            lam = lam_scaled * (unit[0] / levels[0]) ** 2
        noise: Mapping[Any, float] | None = model.noise
        if len(self._unknown):
            tuned = {self._system.keys[j]: float(levels[j]) for j in self._unknown}
            noise = {**(model.noise or {}), **tuned}
        return dataclasses.replace(model, lam=float(lam), noise=noise)

    def _plain_is_determined(self) -> bool:
        try:
            plain = System.assemble(self._system.basis, self._data, self._model.order, "plain")
            plain.solve(0.0, self._given)
        except UnsuitableError:
            return False
        return True
