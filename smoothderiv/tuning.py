"""Tuning: fill the unknown fields of a model by minimising a criterion. Knows no engine.

An engine says what its unknowns are (:class:`~smoothderiv.minimiser.Search`): logarithms of its
parameters, a criterion in nats with its exact gradient, starting points, and what the ends of each
range mean. The rest, from the starts to the report, is done here once for all engines.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from smoothderiv._labels import label
from smoothderiv._warn import held, warn
from smoothderiv.binning import telling
from smoothderiv.minimiser import Minimiser, Optimum, Search
from smoothderiv.model import (
    Model,
    SearchedModel,
    SelfTunedModel,
    UndeterminedError,
    UnsuitableError,
    missing_noise,
    require_model,
    require_rows,
)
from smoothderiv.newton import difference_hessian
from smoothderiv.observations import Observations

if TYPE_CHECKING:
    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]
M = TypeVar("M", bound=Model)
Found = TypeVar("Found")

CRITERIA = ("evidence", "gcv", "loo")
_EQUAL_NATS = 0.05  # a finer candidate must be better by this much
_STEP = 0.03  # in a log: differences of the exact gradient tell the curvature at large
KNOWN_LOG = 0.1  # a logarithm known to this standard deviation is taken as known
_LITTLE_NATS = 1e-3  # in which a search that ends in rounding has converged
_STEEP = 1e-2  # nats for an e-fold of a parameter, at which a search has not converged
_STEEP_SPREAD = 0.1  # nats for an e-fold of all, where parameters are integrated over
_ROUNDING = 8 * np.finfo(float).eps  # of the size of y: no noise is seen below
_LISTED = 3  # parameters of a kind that are named one by one
_TRIES = 8  # lengths of a last step, each a quarter of the one before
_NO_SHARE = 1e-12  # a weight beside which a model is not worth asking


class TuningWarning(UserWarning):
    """A tuned parameter ended at an edge of its range, or the search did not converge."""


@dataclass(frozen=True, eq=False)
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
        The discrete candidates, by name, and their merit, higher is better.
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


@dataclass(frozen=True)
class _Result:
    search: Search
    optimum: Optimum


def tune(model: M, data: Observations, criterion: str = "evidence") -> M:
    """Return `model` with its unknown fields filled by minimising a criterion on `data`.

    Parameters
    ----------
    model : Model
        Fields that are None are tuned, fields that are given are held.
    data : Observations
    criterion : {"evidence", "gcv", "loo"}
        Restricted marginal likelihood (REML), generalised cross-validation, or the leave-one-out
        log predictive density. An engine that lacks one says so; GCV needs noise that is known up
        to one common factor, and "loo" distinct rows: rows at one place predict each other.
        Unknown noise levels that share the rows with others, of other orders or of known noise,
        have the prior density ``p(level) = level`` beside it: without that, the few rows of an
        order would often be met as if they were exact.

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

    References
    ----------
    Chung, Rabe-Hesketh, Dorie, Gelman and Liu (2013), doi:10.1007/s11336-013-9328-2: the prior of
    noise levels.

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
    with held():
        return tune(model, telling(data)).condition(data)


TooSteep: TypeAlias = Callable[[Array, float], bool]
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
    known. A search is said not to have converged where the gradient is longer than 0.1 nats: below,
    no other parameters within a factor e of these have a density that is higher by more than a
    tenth, which is nothing beside what they are integrated over.

    References
    ----------
    Rue, Martino and Chopin (2009), doi:10.1111/j.1467-9868.2008.00700.x, section 6.5.
    """
    tuned, result = _tune(model, data, criterion, _too_steep_to_integrate)

    def spread() -> tuple[tuple[Model, ...], Array]:
        if result is None:
            return tuned.alternatives()
        points, weights = _nodes(result.search, result.optimum)
        return (tuned, *(result.search.fill(point) for point in points)), weights

    return tuned, spread


def _too_steep(gradient: Array, loss: float) -> bool:
    """Tell whether the slope where a search ended is no rounding of the loss."""
    return bool(np.abs(gradient).max(initial=0.0) > _STEEP * max(1.0, 1e-6 * abs(loss)))


def _too_steep_to_integrate(gradient: Array, loss: float) -> bool:
    """Tell the same of parameters that are integrated over."""
    return _too_steep(gradient, loss) and float(np.linalg.norm(gradient)) > _STEEP_SPREAD


def _tune(
    model: M, data: Observations, criterion: str, steep: TooSteep = _too_steep
) -> tuple[M, _Result | None]:
    require_model(model)
    require_rows(data)
    unknown = model.unknown(data)
    if not unknown:
        return model, None

    _require_told(unknown, data)
    if isinstance(model, SelfTunedModel):
        return cast(M, reported(model.tuned(data, criterion), steep=steep)), None
    assert isinstance(model, SearchedModel)

    def fit(candidate: SearchedModel) -> tuple[tuple[SearchedModel, _Result | None], float]:
        tuned, result = _tune_continuous(candidate, data, criterion)
        return (tuned, result), tuned.merit(data, criterion)

    found, tried, unsuitable = best_candidate(model.candidates(data, criterion), fit)
    if not tried:
        raise unsuitable or UndeterminedError(f"data: too few rows ({len(data)}) to tune {model}")
    if found is None:
        raise UndeterminedError(
            f"{', '.join(unknown)}: {len(data)} rows tell nothing of it, since no candidate "
            f"({', '.join(name for name, _ in tried)}) predicts rows that are left out; add rows, "
            "or give it"
        )
    best, result = found
    return cast(M, reported(best, tried, steep)), result


def _require_told(unknown: tuple[str, ...], data: Observations) -> None:
    """Refuse a noise level that one row alone would have to tell."""
    for order in data.estimated_orders:
        rows = np.flatnonzero(data.is_of(order) & data.estimated)
        if len(rows) == 1 and f"noise[{order}]" in unknown:
            raise UndeterminedError(
                f"noise[{order}]: row {rows[0]} alone is of order {order}, with unknown noise, and "
                "one row does not tell its noise; give its yerr, 0 if it is exact"
            )


def best_candidate(
    batches: Iterable[Iterable[SearchedModel]], fit: Callable[[SearchedModel], tuple[Found, float]]
) -> tuple[Found | None, tuple[tuple[str, float], ...], UnsuitableError | None]:
    """Return what `fit` makes of the best candidate, all merits, and what was refused last.

    `fit` returns what it found and its merit, higher is better. A batch that is not better by a
    nat than those before it is the last; within batches a finer one must be clearly better.
    """
    best, best_merit = None, -math.inf
    tried: list[tuple[str, float]] = []
    unsuitable: UnsuitableError | None = None
    for batch in batches:
        last_merit = best_merit
        for candidate in batch:
            try:
                found, merit = fit(candidate)
            except UnsuitableError as error:
                unsuitable = error
                continue
            tried.append((label(candidate), merit))
            if merit > best_merit + _EQUAL_NATS:
                best, best_merit = found, merit
        if not best_merit > last_merit + 1.0:
            break
    return best, tuple(tried), unsuitable


def _tune_continuous(
    model: SearchedModel, data: Observations, criterion: str
) -> tuple[SearchedModel, _Result | None]:
    """Fill the continuous unknowns of one candidate."""
    if not model.unknown(data):
        return model, None
    search = model.search(data, criterion)
    optimum = Minimiser(search).run()
    filled = search.fill(optimum.point)
    ends = search.words_at(optimum.point)
    report = Tuning(
        criterion,
        search.names,
        optimum.point,
        optimum.loss,
        optimum.gradient,
        (*ends, *(words for words in _no_noise(model, filled, data) if words not in ends)),
        optimum.curve,
        settled=search.settled or _left_to_gain(search, optimum),
    )
    return dataclasses.replace(filled, tuning=report), _Result(search, optimum)  # type: ignore[type-var]


def _no_noise(model: Model, filled: Model, data: Observations) -> Iterator[str]:
    """Say of which orders no noise is left to estimate: the curve meets their rows to rounding."""
    for order in missing_noise(model.noise, data):
        rows = data.is_of(order) & data.estimated
        size = float(np.abs(data.y[rows] / data.relative_sd[rows]).max())
        if (filled.noise or {}).get(order, math.inf) <= _ROUNDING * size:
            yield f"noise[{order}]: no noise"


def _left_to_gain(search: Search, optimum: Optimum) -> float:
    """Return the nats that a Newton step would gain where a search ends in rounding, or 0.

    Where the step promises more than `_LITTLE_NATS`, what shorter and shorter ones gain indeed: on
    a ridge where the criterion itself is rounding, slopes promise what is not there. 0 where that
    is more, too, and where the engine knows no curvature.
    """
    if search.curvature is None:
        return 0.0
    free = np.isfinite(optimum.point)
    curvature, slope = search.curvature[np.ix_(free, free)], optimum.gradient[free]
    value, vector = np.linalg.eigh(curvature)
    if not (value > 0.0).all():
        return 0.0
    along = (vector.T @ slope) / value
    gain = 0.5 * float((along**2 * value).sum())
    if gain > _LITTLE_NATS:
        step = np.zeros(len(free))
        step[free] = -vector @ along
        point = np.clip(optimum.point, search.lower, search.upper)
        tries = point + np.outer(0.25 ** np.arange(_TRIES), step / max(1.0, np.abs(step).max()))
        losses = [search.value_at(np.clip(one, search.lower, search.upper)) for one in tries]
        gain = max(optimum.loss - min(losses), np.finfo(float).eps * abs(optimum.loss))
    return gain if gain < _LITTLE_NATS else 0.0


def _nodes(search: Search, optimum: Optimum) -> tuple[list[Array], Array]:
    """Return the points of :func:`tune_spread` off the optimum, and the weights of all."""
    free = np.isfinite(optimum.point)
    inside = np.clip(optimum.point, search.lower, search.upper)
    curvature = difference_hessian(
        search.loss, inside, optimum.gradient, search.upper, np.flatnonzero(free), _STEP
    )
    noise = np.array([name.startswith("noise[") for name in search.names], dtype=bool)
    smooth, noise = np.flatnonzero(free & ~noise), np.flatnonzero(free & noise)
    across = curvature[np.ix_(noise, smooth)]
    follow = -np.linalg.lstsq(curvature[np.ix_(noise, noise)], across)[0]
    size, direction = np.linalg.eigh(curvature[np.ix_(smooth, smooth)] + across.T @ follow)
    loose = np.flatnonzero((size > 0) & (size < KNOWN_LOG**-2))
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


def reported(
    model: M, tried: tuple[tuple[str, float], ...] = (), steep: TooSteep = _too_steep
) -> M:
    """Warn of ends and of a search that did not converge; record the discrete candidates."""
    report = model.tuning
    if report is None:
        return model
    if report.ends:
        warn(
            f"the {report.criterion} is best at an end of its range, which was taken "
            f"({'; '.join(report.ends)}). If you expect otherwise, check the stated noise, add "
            "data, or hold the field",
            TuningWarning,
        )
    slope = np.where(np.isfinite(report.log_values), report.gradient, 0.0)
    nothing = any(words.endswith(": no noise") for words in report.ends)  # rounding is followed
    if not (report.settled or nothing) and steep(slope, report.loss):
        top = int(np.argmax(np.abs(slope)))
        warn(
            f"the search for the best {report.criterion} did not converge ({label(model)}: slope "
            f"{abs(slope[top]):.2g} nats for an e-fold of {report.names[top]}). Give yerr if you "
            f"know it, hold one of {_short(report.names)}, or compare another model: "
            "sd.smooth(data, model)",
            TuningWarning,
        )
    if len(tried) > 1:
        report = dataclasses.replace(report, tried=tried)
    return dataclasses.replace(model, tuning=report)  # type: ignore[type-var]


def _short(names: tuple[str, ...]) -> str:
    """Return names in a few words: q[0], q[1], .. q[64] as q[0..64]."""
    several: dict[str, list[str]] = {}
    for name in names:
        several.setdefault(re.sub(r"^(\w+)\[\d+\]$", r"\1", name), []).append(name)
    return ", ".join(
        f"{kind}[{same[0][len(kind) + 1 : -1]}..{same[-1][len(kind) + 1 : -1]}]"
        if len(same) > _LISTED
        else ", ".join(same)
        for kind, same in several.items()
    )
