"""Tuning: fill the unknown fields of a model by minimising a criterion. Knows no engine.

An engine says what its unknowns are (:class:`Search`): logarithms of its parameters, a criterion
in nats with its exact gradient, starting points, and what the ends of each range mean. The rest,
from the starts to the report, is done here once for all engines.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from smoothderiv.binning import telling
from smoothderiv.model import Model, UndeterminedError, UnsuitableError, require_rows
from smoothderiv.newton import SETTLED
from smoothderiv.observations import Observations

if TYPE_CHECKING:
    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]
M = TypeVar("M", bound=Model)

CRITERIA = ("evidence", "gcv", "loo")
_LOCAL_SEARCHES = 2
_NEAR_NATS = 1e-2  # an end of the range this close to the optimum is searched along
_EQUAL_NATS = 0.05  # a finer candidate must be better by this much
_SLOPE = 1e-3  # nats in a log, at which a search ends and polishing begins
_NOTHING = 1e-12  # a step in any log that changes rounding alone: it is not taken
_STEP = 0.03  # in a log: differences of the exact gradient tell the curvature at large
_POLISHED = 30  # evaluations at most for each parameter
_KNOWN_LOG = 0.1  # a logarithm known to this standard deviation is taken as known
_LITTLE_NATS = 1e-3  # in which a search that ends in rounding has converged
_NO_SHARE = 1e-12  # a weight beside which a model is not worth asking
_SAME_NATS = 1e-6  # an end of the range this close is as good, and simpler: it is taken


class TuningWarning(UserWarning):
    """A tuned parameter ended at an edge of its range, or the search did not converge."""


@dataclass(frozen=True)
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
    fill: Callable[[Array], Model]
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


@dataclass(frozen=True)
class Tuning:
    """How the parameters of a model were chosen; kept in ``model.tuning``.

    Attributes
    ----------
    criterion : str
    names : tuple of str
        The continuous parameters that were tuned.
    log_values : (p,) array
        Natural logarithms of their values; infinite at an end of the range.
    loss : float
        The criterion at the optimum, in nats.
    gradient : (p,) array
        Its gradient there.
    ends : tuple of str
        What was reached where the optimum lies at an end of a range.
    curve : tuple of (s, p) and (s,) arrays
        Every point that was evaluated, and the criterion there.
    tried : tuple of (str, float)
        The discrete candidates and their merit, higher is better.
    settled : float
        Nats that one more step would gain, where the engine can tell; else 0.
    """

    criterion: str
    names: tuple[str, ...]
    log_values: Array
    loss: float
    gradient: Array
    ends: tuple[str, ...]
    curve: tuple[Array, Array]
    tried: tuple[tuple[str, float], ...] = ()
    settled: float = 0.0


def tune(model: M, data: Observations, criterion: str = "evidence") -> M:
    """Return `model` with its unknown fields filled by minimising a criterion on `data`.

    Parameters
    ----------
    model : Model
        Fields that are None are tuned, fields that are given are held.
    data : Observations
    criterion : {"evidence", "gcv", "loo"}
        Restricted marginal likelihood (REML), generalised cross-validation, or the leave-one-out
        log predictive density. An engine that lacks one says so.

    Returns
    -------
    Model
        Of the same class, with every field filled and ``.tuning`` telling how. A model without
        unknown fields is returned as it is.

    Raises
    ------
    ValueError
        An unknown criterion, or what ``model.condition`` refuses.

    Warns
    -----
    TuningWarning
        The optimum lies at an end of a range, such as an interpolant or a polynomial.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> x = np.linspace(0, 1, 40)
    >>> data = sd.observe(x, np.sin(6 * x) + 0.1 * np.cos(40 * x))
    >>> model = sd.tune(sd.RegressionSpline(knots=10, degree=5, lam=None, order=3), data)
    >>> model.tuning.names
    ('lam*noise[0]**2', 'noise[0]')
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion: {criterion!r} is unknown; use one of {', '.join(CRITERIA)}")
    return _tune(model, data, criterion)[0]


def fit_quietly(model: Model, data: Observations) -> Posterior:
    """Tune on rows enough and condition, without warnings: for fits on the way to another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TuningWarning)
        return tune(model, telling(data)).condition(data)


Spread: TypeAlias = Callable[[], tuple[tuple[Model, ...], Array]]


def tune_spread(model: M, data: Observations, criterion: str = "evidence") -> tuple[M, Spread]:
    """Return the tuned model, and what finds models that stand for how well it is determined.

    The latter, when it is called, returns models and their weights, (k,) of sum 1. The first is
    the tuned one; the others lie off the optimum in the logarithms of its parameters, for a
    quadrature of ``exp(-loss)`` over them. With curvature H at the optimum, smoothing parameters s
    and noise levels n, the nodes are at

        +- sqrt(kappa / eigenvalue_j) eigenvector_j   of   S = H_ss - H_sn H_nn^-1 H_ns,

    kappa = max(3, number of s + 1), each with the noise levels that are best there to second
    order, ``-H_nn^-1 H_ns`` times the step: what is unknown of the noise itself is in the Student
    distribution of the answers. The weights are exact for a quadratic loss, and by the true loss
    at the nodes for others. Directions known to 0.1 in the log, and ends of ranges, are taken as
    known.

    References
    ----------
    Rue, Martino and Chopin (2009), doi:10.1111/j.1467-9868.2008.00700.x, section 6.5.
    """
    tuned, result = _tune(model, data, criterion)

    def spread() -> tuple[tuple[Model, ...], Array]:
        if result is None:
            return tuned.alternatives()
        points, weights = _nodes(result.search, result.optimum)
        return (tuned, *(result.search.fill(point) for point in points)), weights

    return tuned, spread


def _tune(model: M, data: Observations, criterion: str) -> tuple[M, _Result | None]:
    require_rows(data)
    if not model.unknown(data):
        return model, None
    best: Model = model
    best_merit = -np.inf
    best_result: _Result | None = None
    tried: list[tuple[str, float]] = []
    unsuitable: UnsuitableError | None = None
    for batch in model.candidates(data, criterion):
        last_merit = best_merit
        for candidate in batch:
            try:
                tuned, result = _tune_continuous(candidate, data, criterion)
                merit = tuned.merit(data, criterion)
            except UnsuitableError as error:
                unsuitable = error
                continue
            tried.append((repr(candidate), merit))
            if merit > best_merit + _EQUAL_NATS:
                best, best_merit, best_result = tuned, merit, result
        if not best_merit > last_merit + 1.0:
            break
    if not tried:
        raise unsuitable or UndeterminedError(f"data: too few rows ({len(data)}) to tune {model}")
    return cast(M, reported(best, tuple(tried))), best_result


def _tune_continuous(
    model: Model, data: Observations, criterion: str
) -> tuple[Model, _Result | None]:
    """Fill the continuous unknowns of one candidate."""
    if not model.unknown(data):
        return model, None
    search = model.search(data, criterion)
    optimum = _Minimiser(search).run()
    report = Tuning(
        criterion,
        search.names,
        optimum.point,
        optimum.loss,
        optimum.gradient,
        search.words_at(optimum.point),
        optimum.curve,
        settled=search.settled or _left_to_gain(search, optimum),
    )
    filled = search.fill(optimum.point)
    return dataclasses.replace(filled, tuning=report), _Result(search, optimum)  # type: ignore[type-var]


def _left_to_gain(search: Search, optimum: _Optimum) -> float:
    """Return the nats that a Newton step would gain where a search ends in rounding, or 0.

    0 where the engine knows no curvature, and where it is more than `_LITTLE_NATS`.
    """
    if search.curvature is None:
        return 0.0
    free = np.isfinite(optimum.point)
    curvature, slope = search.curvature[np.ix_(free, free)], optimum.gradient[free]
    value, vector = np.linalg.eigh(curvature)
    if not (value > 0.0).all():
        return 0.0
    gain = 0.5 * float(((vector.T @ slope) ** 2 / value).sum())
    return gain if gain < _LITTLE_NATS else 0.0


def _nodes(search: Search, optimum: _Optimum) -> tuple[list[Array], Array]:
    """Return the points of :func:`tune_spread` off the optimum, and the weights of all."""
    free = np.isfinite(optimum.point)
    curvature = _curvature(search, optimum, free)
    noise = np.array([name.startswith("noise[") for name in search.names], dtype=bool)
    smooth, noise = np.flatnonzero(free & ~noise), np.flatnonzero(free & noise)
    across = curvature[np.ix_(noise, smooth)]
    follow = -np.linalg.lstsq(curvature[np.ix_(noise, noise)], across)[0]
    size, direction = np.linalg.eigh(curvature[np.ix_(smooth, smooth)] + across.T @ follow)
    loose = np.flatnonzero((size > 0) & (size < _KNOWN_LOG**-2))
    kappa = max(3.0, 1.0 + len(loose))
    points, weights = [], [1.0 - len(loose) / kappa]
    for j, sign in itertools.product(loose, (1.0, -1.0)):
        step = sign * math.sqrt(kappa / size[j]) * direction[:, j]
        point = optimum.point.copy()
        point[smooth] += step
        point[noise] += follow @ step
        at = np.clip(point, search.lower, search.upper)
        rise = search.value_at(at) - optimum.loss
        weight = 0.5 / kappa * math.exp(0.5 * kappa - max(rise, 0.0)) if np.isfinite(rise) else 0.0
        if np.array_equal(at[free], point[free]) and weight > _NO_SHARE:
            points.append(point)
            weights.append(weight)
    return points, np.array(weights) / sum(weights)


def _curvature(search: Search, optimum: _Optimum, free: NDArray[np.bool_]) -> Array:
    """Return the second derivatives at the optimum, by differences of the exact gradient.

    They place the nodes of a quadrature and weigh nothing: the step is that of a rough curvature.
    """
    curvature = np.zeros((len(free), len(free)))
    inside = np.clip(optimum.point, search.lower, search.upper)
    for j in np.flatnonzero(free):
        ahead = inside + np.where(np.arange(len(free)) == j, _STEP, 0.0)
        curvature[j] = (search.loss(ahead)[1] - optimum.gradient) / _STEP
    return 0.5 * (curvature + curvature.T)


def reported(model: Model, tried: tuple[tuple[str, float], ...]) -> Model:
    """Warn of ends and of a search that did not converge; record the discrete candidates."""
    report = model.tuning
    if report is None:
        return model
    if report.ends:
        warnings.warn(
            f"the {report.criterion} is best at an end of its range, which was taken "
            f"({'; '.join(report.ends)}). If you expect otherwise, check the stated noise, add "
            "data, or hold the field",
            TuningWarning,
            stacklevel=3,
        )
    inside = np.isfinite(report.log_values)
    steepest, size = np.abs(report.gradient[inside]).max(initial=0.0), abs(report.loss)
    if not report.settled and steepest > 1e-2 * max(1.0, 1e-6 * size):
        warnings.warn(
            f"the search for the best {report.criterion} did not converge (gradient "
            f"{steepest:.2g} nats); hold one of "
            f"{', '.join(report.names)} or compare other starting models",
            TuningWarning,
            stacklevel=3,
        )
    if len(tried) > 1:
        report = dataclasses.replace(report, tried=tried)
    return dataclasses.replace(model, tuning=report)  # type: ignore[type-var]


@dataclass(frozen=True)
class _Optimum:
    point: Array
    loss: float
    gradient: Array
    curve: tuple[Array, Array]


@dataclass(frozen=True)
class _Result:
    search: Search
    optimum: _Optimum


class _Minimiser:
    """Minimise one search: all starts, quasi-Newton from the best, polish, look at the ends."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._points: list[Array] = []
        self._losses: list[float] = []

    def run(self) -> _Optimum:
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
        return _Optimum(
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
                if not loss <= best_loss + _NEAR_NATS:
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

        before = np.abs(gradient(best[free])).max()
        most = _POLISHED * (1 + int(free.sum()))
        options = {"xtol": 1e-13, "maxfev": most}  # it would go on for long where all is rounding
        found = optimize.root(gradient, best[free], method="hybr", options=options)
        point = best.copy()
        point[free] = np.clip(found.x, self._search.lower[free], self._search.upper[free])
        loss, after = self._loss(point)
        same = loss <= best_loss + 1e-9 * (1.0 + abs(best_loss))
        if same and np.abs(after[free]).max() < before:
            return point, loss
        return best, best_loss
