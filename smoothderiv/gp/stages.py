"""Many unknown numbers: searched on a few places first, then on more and more of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.gp.unknowns import Unknowns
from smoothderiv.newton import Remembered

Array: TypeAlias = NDArray[np.float64]

NATS = 1e-3  # to which the optimum of all rows is found
_ROUGH_NATS = 0.1  # the same of fewer rows
_FIRST, _PER_NUMBER = 300, 15  # rows of the first stage: of few numbers, and for each of many
_GROWTH = 2.5
_SEARCHES = 2
_FEW = 800  # rows that are searched from afar
_STEPS, _TRIALS, _RESTARTS = 200, 10, 5
_MEMORY = 30  # steps that second derivatives are told from: more than most have numbers


@dataclass(frozen=True, eq=False)
class Staged:
    """An optimum of all rows, and of the few rows of the first stage."""

    point: Array
    sample: Unknowns
    sample_point: Array


def optimum_in_stages(
    unknowns: Unknowns, whole: Remembered, objective: Callable[[Unknowns], Remembered]
) -> Staged | None:
    """Return the optimum of all rows, found by way of those of some of the places.

    A gradient of n rows costs O(n^3), and a search for p numbers takes about 5 p of them from afar.
    Each stage has about 2.5 times the rows of the one before and begins at its optimum; the last
    one, of all rows, takes about 2 p. Since an optimum of few rows may lie on the plateau of a
    length that they cannot tell, stages of few rows are searched from afar too. None where there
    are too few rows for stages, or where the last one does not come to an end.
    """
    n, p = len(unknowns.data), len(unknowns.names)
    counts = [max(_FIRST, _PER_NUMBER * p)]
    while counts[-1] * _GROWTH < n:
        counts.append(int(counts[-1] * _GROWTH))
    samples = [Unknowns(unknowns.model, unknowns.data[_places(unknowns, c)]) for c in counts]
    if counts[0] >= n or any(sample.names != unknowns.names for sample in samples):
        return None
    first = samples[0]
    point = first_point = _best(first, objective(first), [])
    for sample in samples[1:]:
        point = _best(sample, objective(sample), [point])
    if n <= _FEW:
        point = _best(unknowns, whole, [point])
    point, ended = _descended(unknowns, whole, point, NATS)
    return Staged(point, first, first_point) if ended else None


def _places(unknowns: Unknowns, count: int) -> NDArray[np.intp]:
    """Return about `count` rows: all those of every k-th place along the first dimension."""
    data = unknowns.data
    _, place = np.unique(data.x.reshape(len(data), -1), axis=0, return_inverse=True)
    return np.flatnonzero(place.ravel() % max(-(-len(data) // count), 1) == 0)


def _best(unknowns: Unknowns, objective: Remembered, near: list[Array]) -> Array:
    """Return the best of the optima that points near it, and starts from afar, lead to."""
    starts = list(near)
    if len(unknowns.data) <= _FEW:
        afar = np.clip(unknowns.starts().reshape(-1, len(unknowns.names)), *unknowns.bounds)
        losses = [objective.value(start) for start in afar]
        starts += list(afar[np.argsort(losses, kind="stable")[: _SEARCHES - len(near)]])
    found = [_descended(unknowns, objective, start, _ROUGH_NATS)[0] for start in starts]
    return min(found, key=objective.value)


def _descended(
    unknowns: Unknowns, objective: Remembered, start: Array, nats: float
) -> tuple[Array, bool]:
    """Minimise by L-BFGS-B until two steps together gain less than `nats`; tell if they did.

    Where no step along its direction gains, it begins afresh; the end is where that gains nothing
    either: of an ill-conditioned matrix the last digits of the loss are rounding.
    """
    point = np.clip(start, *unknowns.bounds)
    for _ in range(_RESTARTS):
        before = objective.value(point)
        point, ended = _run(unknowns, objective, point, nats)
        if ended or before - objective.value(point) < nats:
            return point, True
    return point, False


def _run(
    unknowns: Unknowns, objective: Remembered, start: Array, nats: float
) -> tuple[Array, bool]:
    """Minimise by one run of L-BFGS-B; tell whether two steps together gained less than `nats`.

    Of many numbers the first Hessian of :func:`smoothderiv.newton.newton` costs a gradient each.
    """
    from scipy import optimize

    losses, best = [np.inf, np.inf, objective.value(start)], [start]

    def watch(intermediate_result: optimize.OptimizeResult) -> None:
        best[0] = intermediate_result.x.copy()
        losses.append(float(intermediate_result.fun))
        if losses[-3] - losses[-1] < nats:
            raise StopIteration

    bounds = list(zip(*unknowns.bounds, strict=True))
    options = {"ftol": 0.0, "gtol": 0.0, "maxiter": _STEPS, "maxls": _TRIALS, "maxcor": _MEMORY}
    optimize.minimize(
        objective.loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        callback=watch,
        options=options,
    )
    return best[0], losses[-3] - losses[-1] < nats
