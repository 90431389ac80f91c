"""Where the tuning of a Gaussian process begins: on few rows, then by Newton steps on all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.band.criterion import BandCriterion
from smoothderiv.gp.band.posterior import MOST_BY_MATRIX
from smoothderiv.gp.composite import Sum
from smoothderiv.gp.criteria import MOST_LEFT_OUT, DenseCriterion
from smoothderiv.gp.markov_criteria import MarkovCriterion
from smoothderiv.gp.stages import NATS, optimum_in_stages
from smoothderiv.gp.unknowns import Unknowns, neighbours, stretches, thinned
from smoothderiv.minimiser import Search
from smoothderiv.newton import Remembered, newton, promise
from smoothderiv.observations import Observations

if TYPE_CHECKING:
    from smoothderiv.gp.process import GaussianProcess

Array: TypeAlias = NDArray[np.float64]
Criterion: TypeAlias = MarkovCriterion | BandCriterion | DenseCriterion
Ends: TypeAlias = tuple[tuple[str, str], ...]

_FEW_NUMBERS = 6  # unknowns up to which Newton steps pay
# rows up to which the whole range is searched on all of them
_FEW = {"dense": 128, "markov": 1000, "band": 1000}
_STRETCH = {"dense": 400, "markov": 1000, "band": 1000}  # the same of leaving rows out
_STRETCHES = 20
_FEWEST = 100  # rows that tell whether an end of a range is far worse than an optimum
_BASINS = 3
_ROUNDS, _ROUND_STEPS = 20, 6
_ROUGHLY = 1e-2  # a step in any log that is not worth taking on the way to a better start
_ROUGH_NATS, _HOPELESS_NATS = 1.0, 20.0


def process_search(
    model: GaussianProcess, data: Observations, criterion: str, solver: str
) -> Search:
    """Return the search of the unknown numbers of a Gaussian process."""
    if criterion == "gcv":
        raise ValueError(
            "criterion: gcv is for one common noise level; a GaussianProcess is tuned by "
            "'evidence' or 'loo'"
        )

    unknowns = Unknowns(model, data)
    whole = _objective(unknowns, criterion, solver)
    most = MOST_LEFT_OUT if criterion == "loo" else MOST_BY_MATRIX
    doubtful = solver == "band" and (criterion == "loo" or bool(data.exact.any()))
    if doubtful and model.solver == "auto" and len(data) <= most:
        nearest = unknowns.starts()[:, 0]
        if not all(math.isfinite(whole.value(point)) for point in nearest):
            solver, whole = "dense", _objective(unknowns, criterion, "dense")
    found = _searched(unknowns, whole, criterion, solver)
    return Search(
        unknowns.names,
        found.starts.reshape(-1, len(unknowns.names)),
        *unknowns.bounds,
        found.ends,
        whole.loss,
        unknowns.fill,
        found.curvature,
        whole.value,
        found.settled,
    )


@dataclass(frozen=True)
class _Found:
    """Where a search begins: see :class:`smoothderiv.minimiser.Search`."""

    starts: Array
    ends: Ends
    curvature: Array | None = None
    settled: float = 0.0


def _searched(unknowns: Unknowns, whole: Remembered, criterion: str, solver: str) -> _Found:
    """Search as the number of rows and of unknowns suggests."""

    def objective(unknowns: Unknowns, rough: bool = False) -> Remembered:
        return _objective(unknowns, "evidence", solver, rough)

    bounds, few, ends = unknowns.bounds, _FEW[solver], unknowns.ends
    plain = _Found(unknowns.starts(), ends)
    at_once = len(unknowns.data) <= few or unknowns.has_period  # which thinned rows would alias
    if len(unknowns.names) > _FEW_NUMBERS:
        if criterion != "evidence" or solver != "dense" or unknowns.has_period:
            return plain
        staged = optimum_in_stages(unknowns, whole, objective)
        if staged is None:
            return plain
        hopeless = _hopeless(staged.sample, objective, staged.sample_point)
        return _Found(staged.point, _worded(ends, hopeless), settled=NATS)
    if criterion != "evidence":
        return _left_out(unknowns, whole, solver)
    if at_once:
        rough = objective(unknowns, True) if solver == "band" else whole
        minima = _basins(rough, plain.starts, *bounds, unknowns.data.ndim > 1)
    else:
        minima, ends = _on_samples(unknowns, objective, few)
    if not minima:
        return plain
    if isinstance(unknowns.model.kernel, Sum) and solver == "markov" and not at_once:
        best, curvature = _balanced(unknowns, whole, objective, minima)
    else:
        best, curvature = min(minima, key=lambda found: whole.value(found[0]))
    best, curvature = newton(whole.loss, best, *bounds, curvature if at_once else None)
    return _Found(best, ends, curvature)


def _left_out(unknowns: Unknowns, whole: Remembered, solver: str) -> _Found:
    """Search what is predicted for rows left out: in a stretch of neighbours first, on a line.

    Leaving rows of a thinned sample out says little of leaving out all; neighbours have theirs.
    """
    bounds, data, few = unknowns.bounds, unknowns.data, _STRETCH[solver]
    plain = _Found(unknowns.starts(), unknowns.ends)
    if data.ndim > 1 or unknowns.has_period:
        return plain
    at_once = len(data) <= few
    sample = unknowns if at_once else Unknowns(unknowns.model, data[neighbours(data, few)])
    if sample.names != unknowns.names or (at_once and solver == "dense"):
        return plain  # of a matrix of few rows much is rounding
    part = whole if at_once else _objective(sample, "loo", solver)
    minima = _basins(part, sample.starts(), *sample.bounds)
    if not minima:
        return plain
    best, curvature = min(minima, key=lambda found: part.value(found[0]))
    best, curvature = newton(part.loss, best, *sample.bounds, curvature)
    if at_once:
        return _Found(best, unknowns.ends, curvature)
    for _ in range(_ROUNDS):  # until fresh second derivatives promise no more either
        before = np.clip(best, *bounds)
        best, curvature = newton(whole.loss, before, *bounds, nats=NATS, steps=_ROUND_STEPS)
        if np.array_equal(best, before):
            there = promise(whole.loss, best, curvature, *bounds) < NATS  # and not only stuck
            return _Found(best, unknowns.ends, curvature, settled=NATS if there else 0.0)
    return _Found(best, unknowns.ends)


def criterion_of(unknowns: Unknowns, criterion: str, solver: str, rough: bool = False) -> Criterion:
    """Return what is minimised, by the means of a solver; roughly, where that is quicker."""
    if solver == "markov":
        return MarkovCriterion(unknowns, criterion)
    if solver == "band":
        return BandCriterion(unknowns, criterion, rough)
    return DenseCriterion(unknowns, criterion)


def _objective(unknowns: Unknowns, criterion: str, solver: str, rough: bool = False) -> Remembered:
    found = criterion_of(unknowns, criterion, solver, rough)
    return Remembered(found.loss, found.value)


def _on_samples(
    unknowns: Unknowns, objective: Callable[..., Remembered], few: int
) -> tuple[list[tuple[Array, Array]], Ends]:
    """Return the optima of thinned rows and of a stretch of neighbours, and the ends near them.

    The one sees slow structure, the other fast. An end of a range that is far worse for one of them
    is far worse for all of the rows, and not asked about again.
    """
    found: list[tuple[Array, Array]] = []
    hopeless = np.zeros((len(unknowns.names), 2), dtype=bool)
    bounds = unknowns.bounds
    for rows in (thinned(unknowns.data, few), neighbours(unknowns.data, few)):
        sample = Unknowns(unknowns.model, unknowns.data[rows])
        if sample.names != unknowns.names:
            continue
        part, (lower, upper) = objective(sample, True), sample.bounds
        minima = _basins(part, sample.starts(), lower, upper, sample.data.ndim > 1)
        if not minima:
            continue
        best, curvature = min(minima, key=lambda found: part.value(found[0]))
        found.append((np.clip(best, *bounds), curvature))
        hopeless |= _hopeless(sample, objective, best)
    return found, _worded(unknowns.ends, hopeless) if found else unknowns.ends


def _balanced(
    unknowns: Unknowns,
    whole: Remembered,
    objective: Callable[..., Remembered],
    minima: list[tuple[Array, Array]],
) -> tuple[Array, Array]:
    """Go on from the optima of samples, of which none sees how the parts of a sum share all rows.

    Of all rows, or of many in stretches, which have slow and quick structure both. Return the best.
    """
    part, data, few = whole, unknowns.data, _STRETCH["markov"]
    if len(data) > 2 * _STRETCHES * few:
        sample = Unknowns(unknowns.model, data[stretches(data, few, _STRETCHES)])
        if sample.names == unknowns.names:
            part = objective(sample)
    found = [newton(part.loss, point, *unknowns.bounds, nats=_ROUGH_NATS) for point, _ in minima]
    return min(found, key=lambda one: part.value(one[0]))


def _worded(ends: Ends, hopeless: NDArray[np.bool_]) -> Ends:
    """Return the words of the ends that may be as good as the optimum."""
    return tuple(
        ("" if low else words[0], "" if high else words[1])
        for words, (low, high) in zip(ends, hopeless, strict=True)
    )


def _basins(
    objective: Remembered, starts: Array, lower: Array, upper: Array, every: bool = False
) -> list[tuple[Array, Array]]:
    """Return the minima that starts better than their neighbours lead to, and the Hessians there.

    Starts are (lengths, levels, p). Other levels than the first are tried near the best lengths,
    where they compete; with `every` at all lengths, each level with dips of its own.
    """
    clipped = np.clip(starts, lower, upper)
    found = np.full(clipped.shape[:2], np.inf)
    found[:, 0] = [objective.value(line[0]) for line in clipped]
    near = np.clip(_dips(found[:, 0])[:, None] + np.arange(-1, 2), 0, len(found) - 1)
    for i in range(len(found)) if every else np.unique(near):
        found[i, 1:] = [objective.value(point) for point in clipped[i, 1:]]
    if every:
        dips = [(i, j) for j, level in enumerate(found.T) for i in _dips(level)]
    else:
        dips = [(i, int(np.argmin(found[i]))) for i in _dips(found.min(axis=1))]
    dips = sorted(dips, key=lambda dip: found[dip])[:_BASINS]
    return [newton(objective.loss, clipped[dip], lower, upper, settled=_ROUGHLY) for dip in dips]


def _dips(values: Array) -> NDArray[np.intp]:
    """Return where values are no larger than their neighbours, the least first, a few."""
    edged = np.r_[np.inf, values, np.inf]
    dips = np.flatnonzero((values <= edged[:-2]) & (values <= edged[2:]) & np.isfinite(values))
    return dips[np.argsort(values[dips], kind="stable")][:_BASINS]


def _hopeless(
    unknowns: Unknowns, objective: Callable[..., Remembered], best: Array
) -> NDArray[np.bool_]:
    """Tell which ends are far worse than the best, on a few of the rows: (p, 2)."""
    out, bounds = np.zeros((len(best), 2), dtype=bool), unknowns.bounds
    data = unknowns.data
    few = Unknowns(unknowns.model, data[thinned(data, _FEWEST)])
    if few.names != unknowns.names:
        return out
    part = objective(few)
    least = part.value(best) + _HOPELESS_NATS
    for j, k in np.ndindex(out.shape):
        point = best.copy()
        point[j] = bounds[k][j]
        out[j, k] = part.value(point) > least
    return out
