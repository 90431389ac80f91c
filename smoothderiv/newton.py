"""Newton: descent within bounds by exact gradients, and losses that keep their answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Loss: TypeAlias = Callable[[Array], tuple[float, Array]]

SETTLED = 1e-9  # a step in any log that is not worth taking
_STEPS, _SHORTENED = 40, 8
_DIFFERENCE = 1e-2
_SAME = 1e-11  # of the loss: what may be rounding


class Remembered:
    """A loss with its answers kept, since searches ask again; `value` is it alone, if quicker."""

    def __init__(self, loss: Loss, value: Callable[[Array], float] | None = None) -> None:
        self._loss, self._value = loss, value
        self._losses: dict[bytes, tuple[float, Array]] = {}
        self._values: dict[bytes, float] = {}

    def value(self, point: Array) -> float:
        """Return the loss in nats."""
        key = point.tobytes()
        if self._value is None or key in self._losses:
            return self.loss(point)[0]
        if key not in self._values:
            self._values[key] = self._value(point)
        return self._values[key]

    def loss(self, point: Array) -> tuple[float, Array]:
        """Return the loss in nats and its gradient."""
        key = point.tobytes()
        if key not in self._losses:
            self._losses[key] = self._loss(point)
        value, slope = self._losses[key]
        return value, slope.copy()

    @property
    def places(self) -> Array:
        """The points at which the gradient was asked for, in order: (s, p)."""
        return np.array([np.frombuffer(key) for key in self._losses])


def newton(
    loss: Loss,
    start: Array,
    lower: Array,
    upper: Array,
    hessian: Array | None = None,
    *,
    settled: float = SETTLED,
    nats: float = 0.0,
    steps: int = _STEPS,
) -> tuple[Array, Array]:
    """Minimise from `start` by BFGS, its first Hessian by differences of exact gradients.

    Of a loss in nats that gives its value and gradient, as a function of logarithms. Ends where the
    gradient is rounding error, a step is settled, or `nats` are all that it promises to gain.
    Returns the point and the last Hessian, which serves other rows of the same data. (SciPy's take
    no first Hessian within bounds, hand none on, and do not end by nats.)
    """
    point = np.clip(start, lower, upper)
    value, slope = loss(point)
    if hessian is None:
        every = np.arange(len(point))
        hessian = difference_hessian(loss, point, slope, upper, every, _DIFFERENCE)
    for _ in range(steps):
        free = ~_blocked(point, slope, lower, upper)
        move = _downhill(hessian, slope, free)
        if np.abs(move).max() < settled or -0.5 * float(move @ slope) < nats:
            break
        fresh, fresh_value, fresh_slope = _step(loss, point, value, move, lower, upper)
        if not _better(value, slope[free], fresh_value, fresh_slope[free]):
            break
        s, y = fresh - point, fresh_slope - slope
        bend = float(s @ hessian @ s)
        if bend != 0.0 and s @ y > 1e-12 * math.sqrt((s @ s) * (y @ y)):
            hessian = hessian - np.outer(hessian @ s, hessian @ s) / bend
            hessian = hessian + np.outer(y, y) / (s @ y)
        point, value, slope = fresh, fresh_value, fresh_slope
    return point, hessian


def promise(loss: Loss, point: Array, hessian: Array, lower: Array, upper: Array) -> float:
    """Return what a step would gain by second derivatives, in nats."""
    slope = loss(point)[1]
    move = _downhill(hessian, slope, ~_blocked(point, slope, lower, upper))
    return -0.5 * float(move @ slope)


def _blocked(point: Array, slope: Array, lower: Array, upper: Array) -> NDArray[np.bool_]:
    """Tell which logs are at a bound that they would pass."""
    return np.asarray(((point <= lower) & (slope > 0)) | ((point >= upper) & (slope < 0)))


def _step(
    loss: Loss, point: Array, value: float, move: Array, lower: Array, upper: Array
) -> tuple[Array, float, Array]:
    """Return the first point along a move, shortened as needed, that is no worse."""
    for _ in range(_SHORTENED):
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


def _downhill(hessian: Array, slope: Array, free: NDArray[np.bool_]) -> Array:
    """Return a Newton step in the free logs, of at most 2 in any, along positive curvature."""
    held = ~free
    if held.any():  # as if they had no part in it
        hessian, slope = hessian.copy(), np.where(held, 0.0, slope)
        hessian[held], hessian[:, held] = 0.0, 0.0
    value, vector = np.linalg.eigh(0.5 * (hessian + hessian.T))
    value = np.abs(value)
    value = np.maximum(value, 1e-6 * value.max() + 1e-300)
    move = -vector @ ((vector.T @ slope) / value)
    return np.asarray(move * min(1.0, 2.0 / max(np.abs(move).max(), 1e-300)))


def difference_hessian(
    loss: Loss, point: Array, slope: Array, upper: Array, free: NDArray[np.intp], size: float
) -> Array:
    """Return differences of the exact gradient in the `free` logs, else 0: (p, p), symmetric.

    They say how far to step, or where the nodes of a quadrature are, and weigh nothing.
    """
    out = np.zeros((len(point), len(point)))
    for j in free:
        step = size if point[j] + size <= upper[j] else -size
        moved = point.copy()
        moved[j] += step
        out[j] = (loss(moved)[1] - slope) / step
    return 0.5 * (out + out.T)
