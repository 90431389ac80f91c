"""Minimise a criterion over log parameters: all starts, the best descended from, the ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smoothderiv.model import SearchedModel, UndeterminedError
from smoothderiv.newton import SETTLED

Array = NDArray[np.float64]

_LOCAL_SEARCHES = 2
NEAR_NATS = 1e-2  # an end of the range this close to the optimum is searched along
_SLOPE = 1e-3  # nats in a log, at which a search ends and polishing begins
_NEAR = 1e-3  # a way in any log over which slopes tell the loss better than its own rounding
_NOTHING = 1e-12  # a step in any log that changes rounding alone: it is not taken
_POLISHED = 30  # evaluations at most for each parameter
_SAME_NATS = 1e-6  # an end of the range this close is as good, and simpler: it is taken


@dataclass(frozen=True, eq=False)
class Search:
    """A criterion as a function of log parameters, to be minimised.

    Attributes
    ----------
    names : tuple of str
        What each parameter is the logarithm of, such as ``"lam"`` or ``"noise[1]"``.
    starts : (s, p) array
        Starting points; all are evaluated, and the best few searched from.
    lower, upper : (p,) arrays
        The range searched.
    ends : tuple of (str, str)
        For each parameter what its lower and its upper end mean, such as
        ``("an interpolant", "a polynomial")``; an empty word marks an end that is no model.
    loss : callable
        From a (p,) point to the criterion in nats (minus the log evidence, half n log GCV, or
        minus the leave-one-out log density) and its (p,) gradient.
    fill : callable
        From a point, whose entries are -inf or inf at the ends reached, to the filled model.
    curvature : (p, p) array or None
        Second derivatives at the best start, if the engine has searched already and found it: no
        other start is searched from then, and nothing is polished that a Newton step leaves alone.
    value : callable or None
        From a (p,) point to the criterion alone, where that is quicker than `loss`.
    settled : float
        Nats: if positive, the engine has searched already, and the best start is the optimum to
        so many. Nothing is searched or polished then for the sake of less.
    """

    names: tuple[str, ...]
    starts: Array
    lower: Array
    upper: Array
    ends: tuple[tuple[str, str], ...]
    loss: Callable[[Array], tuple[float, Array]]
    fill: Callable[[Array], SearchedModel]
    curvature: Array | None = None
    value: Callable[[Array], float] | None = None
    settled: float = 0.0

    def value_at(self, point: Array) -> float:
        """Return the criterion at a point, in nats."""
        return self.loss(point)[0] if self.value is None else self.value(point)

    def words_at(self, point: Array) -> tuple[str, ...]:
        """Return what is reached where entries of a point are infinite, in words."""
        return tuple(
            f"{name}: {ends[int(value > 0)]}"
            for name, value, ends in zip(self.names, point, self.ends, strict=True)
            if np.isinf(value)
        )


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where a search ended.

    Attributes
    ----------
    point : (p,) array
        Log parameters, -inf or inf at the ends reached.
    loss : float
        The criterion there, in nats.
    gradient : (p,) array
        Its gradient there.
    curve : tuple of (s, p) and (s,) arrays
        Every point that was evaluated, and the criterion there.
    """

    point: Array
    loss: float
    gradient: Array
    curve: tuple[Array, Array]


class Minimiser:
    """Minimise one search: all starts, quasi-Newton from the best, polish, look at the ends.

    By SciPy, which needs no curvature; engines that can tell it have come most of the way by
    :func:`smoothderiv.newton.newton`, and then little of this is left to do.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._points: list[Array] = []
        self._losses: list[float] = []

    def run(self) -> Optimum:
        """Return the optimum; UndeterminedError if the criterion is finite at no start."""
        search = self._search
        starts = np.clip(np.atleast_2d(search.starts), search.lower, search.upper)
        losses = np.array([self._value(start) for start in starts])
        if not np.isfinite(losses).any():
            raise UndeterminedError(
                f"{', '.join(search.names)}: the criterion is finite at no starting point; the "
                "data do not determine the curve and its noise: give yerr, or add rows"
            )
        best, best_loss = starts[np.argmin(losses)], float(np.min(losses))
        searches = _LOCAL_SEARCHES if search.curvature is None else 1
        searches = 0 if search.settled else searches
        for start in starts[np.argsort(losses, kind="stable")[:searches]]:
            point, loss = self._descend(start, np.ones(len(start), dtype=bool))
            if loss < best_loss:
                best, best_loss = point, loss
        best, best_loss, at_end = self._settle_ends(best, best_loss)
        best, best_loss = self._polish(best, best_loss, ~at_end)
        gradient = self._loss(best)[1]
        point = np.where(at_end, np.where(best <= search.lower, -np.inf, np.inf), best)
        return Optimum(
            point,
            best_loss,
            gradient,
            (np.array(self._points), np.array(self._losses)),
        )

    def _loss(self, point: Array) -> tuple[float, Array]:
        loss, gradient = self._search.loss(point)
        self._points.append(np.array(point))
        self._losses.append(loss)
        return loss, gradient

    def _value(self, point: Array) -> float:
        value = self._search.value_at(point)
        self._points.append(np.array(point))
        self._losses.append(value)
        return value

    def _descend(self, start: Array, free: NDArray[np.bool_]) -> tuple[Array, float]:
        """Minimise over the free entries by L-BFGS-B, unless its own test says they are there."""
        value, slope = self._loss(start)
        lower, upper = start - self._search.upper, start - self._search.lower
        if not np.abs(np.clip(slope, lower, upper)[free]).max(initial=0.0) > _SLOPE:
            return start, value
        from scipy import optimize  # when it is needed: it takes as long as a fit

        def loss(values: Array) -> tuple[float, Array]:
            point = start.copy()
            point[free] = values
            value, gradient = self._loss(point)
            return value, gradient[free]

        bounds = list(zip(self._search.lower[free], self._search.upper[free], strict=True))
        found = optimize.minimize(
            loss,
            start[free],
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-10, "gtol": _SLOPE, "maxiter": 200},
        )
        point = start.copy()
        point[free] = found.x
        return point, float(found.fun)

    def _settle_ends(self, best: Array, best_loss: float) -> tuple[Array, float, NDArray[np.bool_]]:
        """Take an end of a range where it is as good as the optimum."""
        search, at_end = self._search, np.zeros(len(best), dtype=bool)
        for j, words in enumerate(search.ends):
            for bound, word in zip((search.lower[j], search.upper[j]), words, strict=True):
                if not word or at_end[j]:
                    continue
                point = best.copy()
                point[j] = bound
                loss = self._value(point)
                if not loss <= best_loss + NEAR_NATS:
                    continue
                free = ~at_end
                free[j] = False
                if not np.array_equal(point, best):
                    point, loss = self._descend(point, free)
                above = loss - best_loss
                if above <= max(_SAME_NATS, search.settled) or above <= self._rounding(point, j):
                    best, best_loss, at_end[j] = point, loss, True
        return best, best_loss, at_end

    def _rounding(self, point: Array, j: int) -> float:
        """Return what rounding does to the loss at an end of range j: second differences there."""
        inwards = 1e-3 if point[j] <= self._search.lower[j] else -1e-3
        line = np.arange(6)[:, None] * inwards * (np.arange(len(point)) == j)
        losses = np.array([self._loss(place)[0] for place in point + line])
        return float(np.abs(np.diff(losses, 2)).max()) if np.isfinite(losses).all() else 0.0

    def _last_step(self, best: Array, free: NDArray[np.bool_]) -> Array | None:
        """Return the Newton step by the engine's curvature, None if that would change anything."""
        if self._search.curvature is None:
            return None
        curvature, slope = self._search.curvature[np.ix_(free, free)], self._loss(best)[1][free]
        value, vector = np.linalg.eigh(curvature)
        if not value.min() > 0.0:
            return None
        step = -vector @ ((vector.T @ slope) / value)
        return step if np.abs(step).max() < SETTLED else None

    def _polish(
        self, best: Array, best_loss: float, free: NDArray[np.bool_]
    ) -> tuple[Array, float]:
        """Drive the gradient to its rounding error, so that the answer has all its digits."""
        free = free & (best > self._search.lower) & (best < self._search.upper)
        if not free.any() or self._search.settled:
            return best, best_loss
        step = self._last_step(best, free)
        if step is not None:
            if np.abs(step).max() < _NOTHING:
                return best, best_loss
            point = best.copy()
            point[free] += step
            return point, self._loss(point)[0]
        from scipy import optimize

        def gradient(values: Array) -> Array:
            point = best.copy()
            point[free] = np.clip(values, self._search.lower[free], self._search.upper[free])
            return self._loss(point)[1][free]

        before = gradient(best[free])
        most = _POLISHED * (1 + int(free.sum()))
        options = {"xtol": 1e-13, "maxfev": most}  # it would go on for long where all is rounding
        found = optimize.root(gradient, best[free], method="hybr", options=options)
        point = best.copy()
        point[free] = np.clip(found.x, self._search.lower[free], self._search.upper[free])
        loss, after = self._loss(point)
        move, after = (point - best)[free], after[free]
        near = np.abs(move).max() < _NEAR and (before + after) @ move <= 0.0  # by the slopes
        same = near or loss <= best_loss + 1e-9 * (1.0 + abs(best_loss))
        if same and np.abs(after).max() < np.abs(before).max():
            return point, loss
        return best, best_loss
