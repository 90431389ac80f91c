"""Angles: from wrapped headings to a curve that turns on and on."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from smoothderiv._validate import said
from smoothderiv._warn import warn
from smoothderiv.model import Model, UnsuitableError
from smoothderiv.observations import Observations
from smoothderiv.statespace.smoother import SmoothingSpline
from smoothderiv.tuning import fit_quietly

Array = NDArray[np.float64]

TURN = 2.0 * math.pi
_ROUNDS = 20
_MANY_TURNS = 20.0  # radians that wrapped angles cannot span
_DEGREES = ((0.0, 360.0), (-180.0, 180.0))


def period(circular: object) -> float | None:
    """Return the period of angles: 2 pi for True, a number for itself, None where there are none.

    Raises
    ------
    ValueError
        What is no bool and no positive number.
    """
    if isinstance(circular, bool | np.bool_):
        return TURN if circular else None
    number = isinstance(circular, int | float | np.integer | np.floating)
    if not (number and 0 < circular < math.inf):  # type: ignore[operator]
        raise ValueError(
            f"circular: {said(circular)} is no period of an angle; give True for radians, 360 for "
            "degrees, or another positive number"
        )
    return float(circular)  # type: ignore[arg-type]


def unwrapped(data: Observations, model: Model | None = None, turn: float = TURN) -> Observations:
    """Return the data with whole turns added to the angles, so that a smooth curve goes through.

    Angles are the rows of order 0; `turn` is their period, 2 pi for radians, 360 for degrees.
    First guesses come from the directions ``arg sum exp(2 pi i y / turn)`` of moving groups of
    1, 2, 4, .. neighbours, unwrapped one after another; each is improved by fitting `model` and
    moving every angle by the whole turns that bring it nearest to what the others predict, until
    none moves. Where derivatives were observed too, the curve that they and the first angle alone
    tell is one more guess. The guess is kept under which the model predicts the rows left out best.
    No model: a smoothing spline of order 3, or higher if the derivatives observed ask for it.

    Raises
    ------
    ValueError
        x of several dimensions, or no angles.

    Warns
    -----
    UserWarning
        Angles taken for radians that lie within 0 to 360 or -180 to 180 and span several turns.
    """
    rows = np.flatnonzero(data.is_of(0)) if data.ndim == 1 else np.empty(0, dtype=np.int64)
    if not len(rows):
        raise ValueError("circular: angles are rows of order 0 over x of one dimension; give some")
    rows = rows[np.argsort(data.x[rows], kind="stable")]
    if turn == TURN:
        _doubt_radians(data.y[rows])
    if model is None:
        model = SmoothingSpline(max(3, int(np.max(data.nu)) + 1))
    best, best_score, seen = data, -np.inf, set()
    for target in _guesses(data, rows, model, turn):
        guess = _near(data, rows, target, turn)
        if guess.y.tobytes() in seen:
            continue
        seen.add(guess.y.tobytes())
        guess, score = _improved(guess, rows, model, turn)
        if score > best_score:
            best, best_score = guess, score
    return best


def _doubt_radians(angles: Array) -> None:
    """Warn of radians that look like degrees."""
    low, high = float(angles.min()), float(angles.max())
    if high - low > _MANY_TURNS and any(a <= low and high <= b for a, b in _DEGREES):
        warn(
            f"circular: y is taken for radians, but values from {low:.4g} to {high:.4g} look like "
            "degrees; give circular=360 if they are"
        )


def _guesses(
    data: Observations, rows: NDArray[np.int64], model: Model, turn: float
) -> Iterator[Array]:
    """Yield rough unwrapped angles."""
    width = 1
    while width <= max(1, len(rows) // 4):
        yield _direction(data.y[rows], width, turn)
        width *= 2
    rates = np.append(rows[:1], np.flatnonzero(data.nu > 0))
    if len(rates) > 1:
        with contextlib.suppress(UnsuitableError):
            yield fit_quietly(model, data[rates]).mean(data.x[rows])


def _direction(angle: Array, width: int, turn: float) -> Array:
    """Return the unwrapped direction of the `width` neighbours on each side and the middle."""
    sums = np.cumsum(np.concatenate(([0.0], np.exp(2j * math.pi / turn * angle))))
    index = np.arange(len(angle))
    reach = width // 2
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(angle))
    radians: Array = np.unwrap(np.angle(sums[high] - sums[low]))
    return turn / TURN * radians


def _near(data: Observations, rows: NDArray[np.int64], target: Array, turn: float) -> Observations:
    """Move the angles by the whole turns that bring them nearest to a target."""
    y = data.y.copy()
    y[rows] += turn * np.round((target - y[rows]) / turn)
    return dataclasses.replace(data, y=y)


def _improved(
    data: Observations, rows: NDArray[np.int64], model: Model, turn: float
) -> tuple[Observations, float]:
    score = -np.inf
    for _ in range(_ROUNDS):
        try:
            post = fit_quietly(model, data)
        except UnsuitableError:
            return data, -np.inf
        score = float(np.sum(post.log_predictive()))
        moved = _near(data, rows, post.loo().mean[rows], turn)
        if np.array_equal(moved.y, data.y):
            break
        data = moved
    return data, score
