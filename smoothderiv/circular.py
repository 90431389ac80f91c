"""Angles: from wrapped headings to a curve that turns on and on."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from smoothderiv.model import Model, UnsuitableError
from smoothderiv.observations import Observations
from smoothderiv.statespace.smoother import SmoothingSpline
from smoothderiv.tuning import fit_quietly

Array = NDArray[np.float64]

TURN = 2.0 * math.pi
_ROUNDS = 20


def unwrapped(data: Observations, model: Model | None = None) -> Observations:
    """Return the data with whole turns added to the angles, so that a smooth curve goes through.

    Angles are the rows of order 0, in radians. First guesses come from the directions
    ``arg sum exp(i y)`` of moving groups of 1, 2, 4, .. neighbours, unwrapped one after another;
    each is improved by fitting `model` and moving every angle by the whole turns that bring it
    nearest to what the others predict, until none moves. Where derivatives were observed too, the
    curve that they and the first angle alone tell is one more guess. The guess is kept under which
    the model predicts the rows left out best. No model: a smoothing spline of order 3, or higher
    if the derivatives observed ask for it.

    Raises
    ------
    ValueError
        x of several dimensions, or no angles.
    """
    rows = np.flatnonzero(data.is_of(0)) if data.ndim == 1 else np.empty(0, dtype=np.int64)
    if not len(rows):
        raise ValueError("circular: angles are rows of order 0 over x of one dimension; give some")
    rows = rows[np.argsort(data.x[rows], kind="stable")]
    if model is None:
        model = SmoothingSpline(max(3, int(np.max(data.nu)) + 1))
    best, best_score, seen = data, -np.inf, set()
    for target in _guesses(data, rows, model):
        guess = _near(data, rows, target)
        if guess.y.tobytes() in seen:
            continue
        seen.add(guess.y.tobytes())
        guess, score = _improved(guess, rows, model)
        if score > best_score:
            best, best_score = guess, score
    return best


def _guesses(data: Observations, rows: NDArray[np.int64], model: Model) -> Iterator[Array]:
    """Yield rough unwrapped angles."""
    width = 1
    while width <= max(1, len(rows) // 4):
        yield _direction(data.y[rows], width)
        width *= 2
    rates = np.append(rows[:1], np.flatnonzero(data.nu > 0))
    if len(rates) > 1:
        with contextlib.suppress(UnsuitableError):
            yield fit_quietly(model, data[rates]).mean(data.x[rows])


def _direction(angle: Array, width: int) -> Array:
    """Return the unwrapped direction of the `width` neighbours on each side and the middle."""
    sums = np.cumsum(np.concatenate(([0.0], np.exp(1j * angle))))
    index = np.arange(len(angle))
    reach = width // 2
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(angle))
    return np.unwrap(np.angle(sums[high] - sums[low]))


def _near(data: Observations, rows: NDArray[np.int64], target: Array) -> Observations:
    """Move the angles by the whole turns that bring them nearest to a target."""
    y = data.y.copy()
    y[rows] += TURN * np.round((target - y[rows]) / TURN)
    return dataclasses.replace(data, y=y)


def _improved(
    data: Observations, rows: NDArray[np.int64], model: Model
) -> tuple[Observations, float]:
    score = -np.inf
    for _ in range(_ROUNDS):
        try:
            post = fit_quietly(model, data)
        except UnsuitableError:
            return data, -np.inf
        score = float(np.sum(post.log_predictive()))
        moved = _near(data, rows, post.loo().mean[rows])
        if np.array_equal(moved.y, data.y):
            break
        data = moved
    return data, score
