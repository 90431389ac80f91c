"""Where the tuning of a Gaussian process begins: on few rows, then by Newton steps on all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.band.criterion import BandCriterion
from smoothderiv.gp.criteria import DenseCriterion
from smoothderiv.gp.markov_criteria import MarkovCriterion
from smoothderiv.gp.unknowns import Unknowns
from smoothderiv.observations import Observations
from smoothderiv.tuning import Search

if TYPE_CHECKING:
    from smoothderiv.gp.process import GaussianProcess

Array: TypeAlias = NDArray[np.float64]
Loss: TypeAlias = Callable[[Array], tuple[float, Array]]
Ends: TypeAlias = tuple[tuple[str, str], ...]

_FEW_NUMBERS = 6  # unknowns up to which Newton steps pay
_LINEAR: dict[str, type[MarkovCriterion | BandCriterion]]
_LINEAR = {"markov": MarkovCriterion, "band": BandCriterion}
# rows up to which the whole range is searched on all of them
_FEW = {"dense": 128, "markov": 1000, "band": 1000}
_BASINS = 3
_STEPS, _HALVINGS = 40, 8
_DIFFERENCE = 1e-2
_SETTLED = 1e-10  # a step in any log that is not worth taking
_SAME = 1e-11  # of the loss: what may be rounding
_HOPELESS_NATS = 20.0


def process_search(
    model: GaussianProcess, data: Observations, criterion: str, solver: str
) -> Search:
    """Return the search of the unknown numbers of a Gaussian process."""
    if criterion == "gcv":
        raise ValueError(
            "criterion: gcv is for one common noise level; a GaussianProcess is tuned by "
            "'evidence' or 'loo'"
        )

    def losses(unknowns: Unknowns) -> Loss:
        linear = _LINEAR[solver](unknowns) if solver in _LINEAR else None
        return _remembered((linear or DenseCriterion(unknowns, criterion)).loss)

    unknowns = Unknowns(model, data)
    loss, ends = losses(unknowns), unknowns.ends
    lower, upper = unknowns.bounds
    starts, curvature = unknowns.starts(), None
    if criterion == "evidence" and len(lower) <= _FEW_NUMBERS and not unknowns.has_period:
        few = _FEW[solver]
        if len(data) <= few:
            points = _basins(loss, starts, lower, upper)
        else:
            points, ends = _on_samples(unknowns, losses, few)
        if points:
            best = min(points, key=lambda point: loss(np.clip(point, lower, upper))[0])
            best, curvature = newton(loss, best, lower, upper)
            starts = best[None, None]
    starts = starts.reshape(-1, len(lower))
    return Search(unknowns.names, starts, lower, upper, ends, loss, unknowns.fill, curvature)


def _on_samples(
    unknowns: Unknowns, losses: Callable[[Unknowns], Loss], few: int
) -> tuple[list[Array], Ends]:
    """Return the optima of thinned rows and of a stretch of neighbours, and the ends near them.

    The one sees slow structure, the other fast. An end of a range that is far worse for a sample
    is not asked about again.
    """
    points: list[Array] = []
    hopeless = np.ones((len(unknowns.names), 2), dtype=bool)
    for rows in _samples(unknowns.data, few):
        sample = Unknowns(unknowns.model, unknowns.data[rows])
        if sample.names != unknowns.names:
            continue
        loss, (lower, upper) = losses(sample), sample.bounds
        minima = _basins(loss, sample.starts(), lower, upper)
        if not minima:
            continue
        best = min(minima, key=lambda point: loss(point)[0])
        points.append(best)
        hopeless &= _hopeless(loss, best, lower, upper)
    blank = hopeless if points else np.zeros_like(hopeless)
    ends = tuple(
        ("" if low else words[0], "" if high else words[1])
        for words, (low, high) in zip(unknowns.ends, blank, strict=True)
    )
    return points, ends


def _samples(data: Observations, few: int) -> Iterator[NDArray[np.intp]]:
    """Yield rows of two samples of about `few` rows: every k-th of each order, and neighbours."""
    n, first = len(data), data.x.reshape(len(data), -1)[:, 0]
    orders = data.nu.reshape(n, -1)
    along = np.lexsort((first, *orders.T))
    stride = -(-n // few)
    yield along[::stride]
    along = np.argsort(first, kind="stable")
    yield along[(n - few) // 2 :][:few]


def _basins(loss: Loss, starts: Array, lower: Array, upper: Array) -> list[Array]:
    """Return the minima that starts (lengths, levels, p) better than their neighbours lead to."""
    clipped = np.clip(starts, lower, upper)
    found = np.array([[loss(point)[0] for point in line] for line in clipped])
    least = found.min(axis=1)
    edged = np.r_[np.inf, least, np.inf]
    dips = np.flatnonzero((least <= edged[:-2]) & (least <= edged[2:]) & np.isfinite(least))
    best = dips[np.argsort(least[dips], kind="stable")][:_BASINS]
    return [newton(loss, clipped[i, np.argmin(found[i])], lower, upper)[0] for i in best]


def _hopeless(loss: Loss, best: Array, lower: Array, upper: Array) -> NDArray[np.bool_]:
    """Tell which ends are far worse than the best: (p, 2)."""
    out, least = np.zeros((len(best), 2), dtype=bool), loss(best)[0] + _HOPELESS_NATS
    for j, k in np.ndindex(out.shape):
        point = best.copy()
        point[j] = (lower, upper)[k][j]
        out[j, k] = loss(point)[0] > least
    return out


def newton(loss: Loss, start: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Minimise from `start` by BFGS, its first Hessian by differences of exact gradients.

    Ends where the gradient is rounding error. Returns the point and the last Hessian.
    """
    point = np.clip(start, lower, upper)
    value, slope = loss(point)
    hessian = _difference_hessian(loss, point, slope, upper)
    for _ in range(_STEPS):
        blocked = ((point <= lower) & (slope > 0)) | ((point >= upper) & (slope < 0))
        move = _downhill(hessian, np.where(blocked, 0.0, slope))
        if np.abs(move).max() < _SETTLED:
            break
        fresh, fresh_value, fresh_slope = _step(loss, point, move, lower, upper)
        if not _better(value, slope[~blocked], fresh_value, fresh_slope[~blocked]):
            break
        s, y = fresh - point, fresh_slope - slope
        if s @ y > 1e-12 * math.sqrt((s @ s) * (y @ y)):
            hessian = hessian - np.outer(hessian @ s, hessian @ s) / (s @ hessian @ s)
            hessian = hessian + np.outer(y, y) / (s @ y)
        point, value, slope = fresh, fresh_value, fresh_slope
    return point, hessian


def _step(
    loss: Loss, point: Array, move: Array, lower: Array, upper: Array
) -> tuple[Array, float, Array]:
    """Return the first point along a move, shortened as needed, that is no worse."""
    value = loss(point)[0]
    for _ in range(_HALVINGS):
        fresh = np.clip(point + move, lower, upper)
        found, slope = loss(fresh)
        if found <= value + _SAME * (1.0 + abs(value)):
            break
        move = 0.25 * move
    return fresh, found, slope


def _better(value: float, slope: Array, fresh_value: float, fresh_slope: Array) -> bool:
    """Tell whether a step gained: in the loss, or where that is rounding, in its gradient."""
    same = _SAME * (1.0 + abs(value))
    if fresh_value < value - same:
        return True
    steepest, before = (float(np.abs(s).max(initial=0.0)) for s in (fresh_slope, slope))
    return fresh_value <= value + same and steepest < before


def _downhill(hessian: Array, slope: Array) -> Array:
    """Return a Newton step of at most 2 in any log, along positive curvature."""
    value, vector = np.linalg.eigh(0.5 * (hessian + hessian.T))
    value = np.maximum(np.abs(value), 1e-6 * np.abs(value).max() + 1e-300)
    move = -vector @ ((vector.T @ slope) / value)
    return np.asarray(move * min(1.0, 2.0 / max(np.abs(move).max(), 1e-300)))


def _difference_hessian(loss: Loss, point: Array, slope: Array, upper: Array) -> Array:
    """Return differences of the exact gradient: (p, p), symmetric."""
    out = np.empty((len(point), len(point)))
    for j in range(len(point)):
        step = _DIFFERENCE if point[j] + _DIFFERENCE <= upper[j] else -_DIFFERENCE
        moved = point.copy()
        moved[j] += step
        out[j] = (loss(moved)[1] - slope) / step
    return 0.5 * (out + out.T)


def _remembered(loss: Loss) -> Loss:
    """Return `loss` with its answers kept, since searches ask again."""
    kept: dict[bytes, tuple[float, Array]] = {}

    def remembered(point: Array) -> tuple[float, Array]:
        key = np.asarray(point, dtype=np.float64).tobytes()
        if key not in kept:
            kept[key] = loss(np.asarray(point, dtype=np.float64))
        value, slope = kept[key]
        return value, slope.copy()

    return remembered
