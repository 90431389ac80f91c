"""Where to search for q and the noise levels of a smoothing spline, and how."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv.minimiser import Search
from smoothderiv.model import UndeterminedError, require_one_scale
from smoothderiv.newton import Loss, Remembered, newton
from smoothderiv.observations import Observations
from smoothderiv.statespace import line
from smoothderiv.statespace.criteria import Criterion
from smoothderiv.statespace.levels import rough_levels
from smoothderiv.statespace.priors import IntegratedWiener

if TYPE_CHECKING:
    from smoothderiv.statespace.smoother import SmoothingSpline

Array = NDArray[np.float64]

FEW = 4000  # rows up to which the whole range is searched on all of them
_THIN = 2000
_SHIFTS = (-19.0, -14.0, -9.0, -5.0, -2.5, 2.5, 6.0)  # of a noise level from its rough guess


def spline_search(model: SmoothingSpline, data: Observations, kind: str) -> Search:
    """Return the search of a smoothing spline: where to start, how far to go, what ends mean."""
    if kind == "gcv":
        require_one_scale(model.noise, data)
    criterion = Criterion(model, data, kind)
    few = np.count_nonzero(~data.exact) <= model.order  # else some row is left
    if few and not criterion.template.likelihood().rank:
        raise UndeterminedError(
            f"data: {len(data)} rows determine a polynomial of degree {model.order - 1} and leave "
            f"nothing to estimate {', '.join(criterion.names)} from; add rows or give the fields"
        )
    search = _search(criterion)
    for order in _references(criterion, search):
        other = _search(dataclasses.replace(criterion, reference=order))
        search = min(other, search, key=_least)
    return search


def _least(search: Search) -> float:
    return min(search.loss(start)[0] for start in search.starts)


def _references(criterion: Criterion, search: Search) -> list[int]:
    """Return the orders to which levels should be referred as well.

    Where the level of the first order may be 0, or its rows may be left out, that is at the end of
    a range of another.
    """
    if not criterion.free_scale or criterion.is_polynomial:
        return []
    best = min(search.starts, key=lambda start: search.loss(start)[0])
    at_end = (best > search.upper - 1.0)[1:] | (criterion.kind != "evidence")
    return [k for k, ask in zip(criterion.unknown_levels[1:], at_end, strict=True) if ask]


def _search(criterion: Criterion) -> Search:
    lower, upper, rough = _range(criterion)
    kept = Remembered(criterion.loss)
    ends = _ends(criterion)
    curvature: Array | None
    if criterion.free_scale and criterion.is_polynomial:
        lower = upper = np.append(lower[:1], rough[1:])
        starts, curvature = lower[None], np.eye(len(lower))
        ends = (ends[0], *[("", "")] * (len(lower) - 1))
    elif len(criterion.data) <= FEW and len(lower) == 1:
        found, _ = line.answered(
            line.lowest(float(lower[0]), float(upper[0])), _through(kept.loss, lower, 0)
        )
        starts, curvature = kept.places, np.array([[found.curvature]])
    elif len(criterion.data) <= FEW:
        _, curvature = _lowest(kept.loss, lower, upper, rough)
        starts = kept.places
    else:
        starts, curvature, ends = _from_thinned(criterion, kept.loss, lower, upper, ends)
    return Search(
        names=criterion.names,
        starts=starts,
        lower=lower,
        upper=upper,
        ends=ends,
        loss=kept.loss,
        fill=lambda point: _fill(criterion, point, lower, upper),
        curvature=curvature,
    )


def _range(criterion: Criterion) -> tuple[Array, Array, Array]:
    """Return the range of each parameter and a rough guess, dimensionless in effect.

    At its lower end q is invisible beside the noise of all rows together; at its upper end the
    noise is invisible on the shortest step: at any levels. Levels go 10 decades down from a rough
    guess, 4 up.
    """
    rows = criterion.template
    prior: Any = rows.prior
    guess = rough_levels(criterion.data, criterion.unknown_levels)
    levels = np.log([guess[k] for k in criterion.unknown_levels])
    down, up = np.full(len(levels), -23.0), np.full(len(levels), 9.2)
    if criterion.free_scale:
        levels -= levels[0]
        down[0], up[0] = 0.0, 0.0
    least = most = _variances(criterion, np.exp(levels + down))
    if (up > down).any():
        most = _variances(criterion, np.exp(levels + up))
    if len(least):
        low, high = reach(prior, rows.steps.h, least, most)
    else:
        spread = (float(np.ptp(rows.y)) or 1.0) ** 2 * prior.span ** (1 - 2 * prior.order)
        low, high = math.log(1e-20 * spread), math.log(1e40 * spread)
    first = [low, high, math.nan]
    others = np.array([levels + down, levels + up, levels])[:, int(criterion.free_scale) :]
    if criterion.model.q is None:
        others = np.column_stack((first, others))
    return others[0], others[1], others[2]


def reach(prior: IntegratedWiener, h: Array, least: Array, most: Array) -> tuple[float, float]:
    """Return the ends of the range of log q for the least and the most variances of the noise."""
    shortest = h.min(where=h > 0, initial=1.0)
    unit = prior.span ** (1 - 2 * prior.order)
    low = 1e-9 / float((1.0 / least).sum())
    weight = IntegratedWiener(prior.order, 1.0).steps(np.zeros(1)).weight[0, 0]
    high = 1e10 * float(most.max()) / (weight * shortest ** (2 * prior.order - 1))
    return math.log(low * unit), math.log(min(high, 1e250) * unit)


def _variances(criterion: Criterion, levels: Array) -> Array:
    """Return the noise variances of the rows that have one, at some levels and the unit of q."""
    rows = criterion.rows_at(1.0, dict(zip(criterion.unknown_levels, levels, strict=True)))
    random = rows.variance > 0
    return rows.variance if random.all() else rows.variance[random]


def _ends(criterion: Criterion) -> tuple[tuple[str, str], ...]:
    """Say what the ends of the ranges are: models of their own, or none."""
    degree = criterion.model.order - 1
    polynomial = "a polynomial of degree 0" if not degree else f"a polynomial of degree {degree}"
    polynomial = "a straight line" if degree == 1 else polynomial
    interpolant = "an interpolant" if criterion.free_scale or criterion.kind != "evidence" else ""
    q = [] if criterion.model.q is not None else [(polynomial, interpolant)]
    levels = criterion.unknown_levels[1:] if criterion.free_scale else criterion.unknown_levels
    return tuple(q + [(f"rows of order {k} met exactly", "") for k in levels])


def _fill(criterion: Criterion, point: Array, lower: Array, upper: Array) -> SmoothingSpline:
    """Return the model at a point; infinite entries are the exact ends."""
    inside = np.clip(np.asarray(point, dtype=np.float64), lower, upper)
    q, levels = criterion.parameters(inside)
    tuned_q = criterion.model.q is None
    pinned = criterion.data.exact.sum() > criterion.model.order  # met but for rounding
    if tuned_q and point[0] == -np.inf and not pinned:
        q = 0.0
    scale = criterion.scale(q, levels) if criterion.free_scale else 1.0
    others = point[int(tuned_q) :]
    names = criterion.unknown_levels[1:] if criterion.free_scale else criterion.unknown_levels
    levels = {k: level * math.sqrt(scale) for k, level in levels.items()}
    if criterion.free_scale and point[0] == np.inf:
        levels = dict.fromkeys(levels, 0.0)
    for k, value in zip(names, others, strict=True):
        if value == -np.inf:
            levels[k] = 0.0
    noise: dict[Any, float] = {**(criterion.model.noise or {}), **levels}
    return dataclasses.replace(criterion.model, q=q * scale if tuned_q else q, noise=noise or None)


def _lowest(loss: Loss, lower: Array, upper: Array, rough: Array) -> tuple[Array, Array]:
    """Return the lowest point of a range and the Hessian there.

    The first parameter is scanned at rough values of the others, below and above; then every
    parameter through the best point, for as long as that finds a lower one.
    """
    middle = np.where(np.isnan(rough), 0.5 * (lower + upper), rough)
    best = _along(loss, middle, 0, lower, upper, None)
    for j in range(1, len(rough)):
        for shift in _SHIFTS:
            moved = middle.copy()
            moved[j] += shift
            best = _along(loss, moved, 0, lower, upper, best)
    improved = len(rough) > 1
    while improved:
        before = loss(best[0])[0]
        for j in range(len(rough)):
            best = _along(loss, best[0], j, lower, upper, best)
        improved = loss(best[0])[0] < before - 1e-3
    return best


def _along(
    loss: Loss, point: Array, j: int, lower: Array, upper: Array, best: Any
) -> tuple[Array, Array]:
    """Return the best of the minima that those along parameter j lead to, and the Hessian.

    Or the `best` so far, if there is one and it is better.
    """
    seen = line.answered(line.scan(lower[j], upper[j]), _through(loss, point, j))
    for value, place, curvature in line.dips(seen):
        if best is not None and value > loss(best[0])[0] + line.NEAR:
            continue
        start = point.copy()
        start[j] = place
        if best is not None and np.abs(start - best[0]).max() < line.FINE:
            continue
        first = np.array([[curvature]]) if len(point) == 1 and curvature > 0.0 else None
        found = newton(loss, start, lower, upper, first)
        if best is None or loss(found[0])[0] < loss(best[0])[0]:
            best = found
    if best is None:
        lowest = min(seen, key=lambda one: one.value)
        start = point.copy()
        start[j] = lowest.place
        best = newton(loss, start, lower, upper, None)
    return best[0], best[1]


def _through(loss: Loss, point: Array, j: int) -> Callable[[float], tuple[float, float]]:
    """Return the loss and its slope along parameter j through a point."""

    def ask(place: float) -> tuple[float, float]:
        moved = point.copy()
        moved[j] = place
        value, slope = loss(moved)
        return value, float(slope[j])

    return ask


def _from_thinned(
    criterion: Criterion, loss: Loss, lower: Array, upper: Array, ends: Any
) -> tuple[Array, Array | None, Any]:
    """Search thinned data over the whole range, then climb to all rows by Newton steps.

    Two samples are searched, every k-th row and one stretch of neighbours, so that neither slow
    nor fast structure is lost; where the stretch sees more, the two are compared on all rows. An
    end of a range that is far worse on the thinned rows is not asked about again.
    """
    data = criterion.data
    sorting, stride = criterion.template.sorting, -(-len(data) // _THIN)
    middle = (len(data) - _THIN) // 2
    found: list[tuple[Array, Array]] = []
    for part in (slice(None, None, stride), slice(middle, middle + _THIN)):
        try:
            sample = dataclasses.replace(criterion, data=_sorted_part(data, sorting, part))
            low, high, rough = _range(sample)
        except ValueError:
            continue
        if sample.names == criterion.names:
            loss_of_sample = Remembered(sample.loss).loss
            found.append(_lowest(loss_of_sample, low, high, rough))
            if len(found) == 1:
                ends = _near_ends(loss_of_sample, found[0][0], low, high, ends)
    if not found:
        return np.array([_lowest(loss, lower, upper, _range(criterion)[2])[0]]), None, ends
    (point, few), hessian = found[0], None
    if any(_sees_more(criterion, other - point) for other, _ in found[1:]):
        point, few = min(found, key=lambda other: loss(np.clip(other[0], lower, upper))[0])
    finer = max(stride // 16, 1)
    finer_part = _sorted_part(data, sorting, slice(None, None, finer))
    larger = dataclasses.replace(criterion, data=finer_part)
    if finer > 1 and larger.names == criterion.names:
        start = point
        point, hessian = newton(larger.loss, start, lower, upper, hessian)
        ahead = math.log(finer) / math.log(stride / finer)  # the trend with the number of rows
        point = point + np.clip(ahead * (point - start), -2.0, 2.0)
        hessian = _grown(hessian, few, ahead)
    point, hessian = newton(loss, point, lower, upper, hessian)
    return point[None], hessian, ends


def _sorted_part(data: Observations, sorting: Any, part: slice) -> Observations:
    """Return some of the rows in order of place; `sorting` as in :class:`MarkovRows`."""
    return data[part if isinstance(sorting, slice) else sorting[part]]


def _grown(hessian: Array, few: Array, ahead: float) -> Array:
    """Return a Hessian of still more rows, from how its diagonal has grown beyond that of few."""
    now, before = np.diag(hessian), np.diag(few)
    growth = np.divide(now, before, out=np.ones(len(now)), where=(now > before) & (before > 0.0))
    root = np.minimum(growth, 100.0) ** (0.5 * ahead)
    return np.asarray(root[:, None] * hessian * root)


def _sees_more(criterion: Criterion, further: Array) -> bool:
    """Tell whether a stretch of neighbours differs from the whole by more than being smooth."""
    levels = further if criterion.model.q is not None else further[1:]
    return bool(np.abs(levels).max(initial=0.0) > 3.0 or further[0] > 3.0)


def _near_ends(loss: Loss, best: Array, lower: Array, upper: Array, ends: Any) -> Any:
    """Blank the words of the ends that are 20 nats worse than the best."""
    least, out = loss(best)[0], []
    for j, words in enumerate(ends):
        kept = []
        for bound, word in zip((lower[j], upper[j]), words, strict=True):
            point = best.copy()
            point[j] = bound
            kept.append(word if word and loss(point)[0] < least + 20.0 else "")
        out.append(tuple(kept))
    return tuple(out)
