"""Data that may be fitted, but look like a mistake: wrapped angles, places on a line."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from smoothderiv.observations import Observations

Array = NDArray[np.float64]

_RANGES = (
    (0.0, 360.0, "circular=360"),
    (-180.0, 180.0, "circular=360"),
    (0.0, 2.0 * math.pi, "circular=True"),
    (-math.pi, math.pi, "circular=True"),
)
_TELLING = 10  # rows from which on jumps are looked at
_FILLED = 0.75  # of the period, that wrapped angles span at least
_CALMER = 4.0  # times the squares of steps must fall by unwrapping: those of white noise halve
_LIKE_OTHERS = 2.5  # times what nine tenths of the steps stay below: no step of another kind
_RARE = 0.25  # of the steps, that lead across where the curve is not quick for its samples
_LONE = 3  # single rows across, more than outliers are likely to be
_THIN = 0.01  # of the longest extent of places, in their spans: less is none


def doubts_of_angles(data: Observations) -> Iterator[str]:
    """Say that values jump as headings do where they pass north, if they do so throughout.

    They stay within a turn and nearly fill it; some neighbours differ by more than half of it, and
    by no more than others if a turn is added; the squares of all steps fall to a quarter by that.
    A single row across, there and back, may be an outlier; and so many may be an oscillation that
    is quick for its samples, unless all lie about the seam. What happens to jump by about a turn
    looks the same, as a switch between 0 and 360 does, or a dose of 350 that wears off.
    """
    rows = data.is_of(0) if data.ndim == 1 else np.zeros(len(data), dtype=bool)
    if np.count_nonzero(rows) < _TELLING:
        return
    y = data.y[rows][np.argsort(data.x[rows], kind="stable")]
    low, high = float(y.min()), float(y.max())
    for least, most, remedy in _RANGES:
        if least <= low and high <= most and high - low > _FILLED * (most - least):
            jumps = _jumps(np.diff(y), most - least)
            if jumps:
                times = "once" if jumps == 1 else f"{jumps} times"
                yield (
                    f"y: values from {low:.4g} to {high:.4g} jump {times} by about "
                    f"{most - least:.4g}, as angles do; give {remedy} if they are angles"
                )
            return


def _jumps(step: Array, turn: float) -> int:
    """Return how many steps lead around, 0 where that does not explain them."""
    far = np.abs(step) > 0.5 * turn
    if not far.any() or far.all():
        return 0
    turns = np.round(step / turn)
    near = step - turn * turns
    usual = float(np.quantile(np.abs(near), 0.9))
    lone = np.count_nonzero(far[1:] & far[:-1] & (step[1:] * step[:-1] < 0))
    count = int(np.count_nonzero(far))
    rare = count <= _RARE * len(far) or float(np.ptp(np.cumsum(near))) < 0.5 * turn
    explained = (
        rare
        and float(step @ step) > _CALMER * float(near @ near)
        and float(np.abs(near[far]).max()) <= _LIKE_OTHERS * usual
        and (turns.sum() != 0 or count > 2 * lone or lone >= _LONE)
    )
    return count if explained else 0


def doubts_of_places(data: Observations) -> Iterator[str]:
    """Say that the places of a surface lie on a line, or in a plane of a space.

    What crosses it is then the belief alone. Dimensions count in their spans. A derivative that
    was observed tells of its own direction.
    """
    if data.ndim == 1 or len(places := np.unique(data.x, axis=0)) < 2:
        return
    span = np.ptp(places, axis=0)
    scaled = (places - places.mean(axis=0)) / np.where(span > 0.0, span, 1.0)
    observed = np.eye(data.ndim)[data.nu.any(axis=0)]
    _, _, told = np.linalg.svd(scaled, full_matrices=False)
    size = np.linalg.norm(scaled @ told.T, axis=0)
    thin = size <= _THIN * size[0]
    rank = np.linalg.matrix_rank(np.concatenate((told[~thin], observed)), tol=_THIN)
    if rank == data.ndim:
        return
    along = f"in {np.count_nonzero(~thin)} of {data.ndim} dimensions"
    if np.count_nonzero(~thin) == 1:
        direction = told[0] * span / np.abs(told[0] * span).max()
        if direction[np.argmax(np.abs(direction))] < 0:
            direction = -direction
        along = f"on a line, along ({', '.join(f'{value:.3g}' for value in direction + 0.0)})"
    yield (
        f"x: the {len(places)} places lie, to a hundredth, {along}; how f varies across that is "
        "not in the data, and its derivatives there are what the model believes without them. "
        "Give places beside, or x as the distance along the line"
    )
