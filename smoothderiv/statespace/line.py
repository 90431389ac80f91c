"""Search along one parameter, as generators that ask for the criterion place by place.

They yield a place and are sent the criterion and its slope there. So one search may ask one
criterion, or many searches theirs together (:mod:`smoothderiv.statespace.bank`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")
Asking: TypeAlias = Generator[float, tuple[float, float], T]

STEP = 6.0  # spacing in a log at which to look for minima first
FINE = 0.25  # and last
MISSED = 0.1  # nats that a minimum between two points may hide
NEAR = 5.0  # nats above the best at which a minimum is not followed
_DIFFERENCE = 1e-2
_STEPS = 30  # of a descent, at most


class Seen(NamedTuple):
    """A criterion and its slope at one place along a line."""

    place: float
    value: float
    slope: float


class Minimum(NamedTuple):
    """The lowest place found, with the curvature there."""

    place: float
    value: float
    slope: float
    curvature: float


def answered(asking: Asking[T], criterion: Callable[[float], tuple[float, float]]) -> T:
    """Run a search to its end."""
    try:
        place = next(asking)
        while True:
            place = asking.send(criterion(place))
    except StopIteration as found:
        return found.value  # type: ignore[no-any-return]


def scan(low: float, high: float) -> Asking[list[Seen]]:
    """Ask along a range, again halfway wherever a lower minimum may hide.

    Values and slopes at both ends of a piece disagree, beyond the trapezoid of the slopes, by as
    much as it may hide.
    """
    count = max(2, math.ceil((high - low) / STEP) + 1)
    seen = []
    for k in range(count):
        place = high if k == count - 1 else low + k * ((high - low) / (count - 1))
        seen.append(Seen(place, *(yield place)))
    best, k = min(s.value for s in seen), 0
    while k + 1 < len(seen):
        first, last = seen[k], seen[k + 1]
        width = last.place - first.place
        hidden = abs(last.value - first.value - 0.5 * width * (first.slope + last.slope))
        lowest = min(first.value, last.value)
        if width > FINE and hidden > MISSED and lowest - hidden < best:
            place = 0.5 * (first.place + last.place)
            seen.insert(k + 1, Seen(place, *(yield place)))
            best = min(best, seen[k + 1].value)
        else:
            k += 1
    return seen


def dips(seen: list[Seen]) -> list[tuple[float, float, float]]:
    """Return values near minima along a line, where they are, and their curvatures; ends too."""
    out = []
    if seen[0].slope >= 0.0:
        out.append((seen[0].value, seen[0].place, 0.0))
    if seen[-1].slope <= 0.0:
        out.append((seen[-1].value, seen[-1].place, 0.0))
    for first, last in itertools.pairwise(seen):
        if first.slope < 0.0 < last.slope:
            bend = (last.slope - first.slope) / (last.place - first.place)
            place = first.place - first.slope / bend
            out.append((min(first.value, last.value), place, bend))
    return sorted(out)[:3]


def lowest(low: float, high: float) -> Asking[tuple[Minimum, list[Seen]]]:
    """Find the lowest of the minima of a range: a scan, then Newton steps from its best dips.

    Return what was scanned too, from end to end.
    """
    seen = yield from scan(low, high)
    best: Minimum | None = None
    for value, place, curvature in dips(seen):
        if best and (value > best.value + NEAR or abs(place - best.place) < FINE):
            continue
        found = yield from descend(place, low, high, curvature)
        if best is None or found.value < best.value:
            best = found
    if best is None:
        start = min(seen, key=lambda one: one.value).place
        best = yield from descend(start, low, high, 0.0)
    return best, seen


def descend(start: float, low: float, high: float, curvature: float) -> Asking[Minimum]:
    """Find the minimum near `start` by secant steps; the first curvature is asked for if not > 0.

    It ends where the slope is a rounding error or no step moves the place. What
    :func:`smoothderiv.newton.newton` does for several parameters, but asking place by place.
    """
    place = min(max(start, low), high)
    value, slope = yield place
    if not curvature > 0.0:
        curvature = ((yield place + _DIFFERENCE)[1] - slope) / _DIFFERENCE
    last = math.inf
    for _ in range(_STEPS):
        blocked = (place <= low and slope > 0) or (place >= high and slope < 0)
        steepest = 0.0 if blocked else abs(slope)
        move = 0.0 if blocked else -slope / max(abs(curvature), 1e-300)
        move = min(max(move, -2.0), 2.0)
        near = steepest < 1e-6 * max(1.0, 1e-6 * abs(value))
        if near and (steepest >= last or abs(move) < 1e-9):
            break
        last = steepest
        while True:
            fresh = min(max(place + move, low), high)
            fresh_value, fresh_slope = yield fresh
            if fresh_value <= value + 1e-12 * abs(value) or not abs(move) >= 1e-9:  # nan: overflow
                break
            move *= 0.3
        if fresh == place or not abs(move) >= 1e-9:
            break
        if (fresh - place) * (fresh_slope - slope) > 1e-12 * abs((fresh - place) * fresh_slope):
            curvature = (fresh_slope - slope) / (fresh - place)
        place, value, slope = fresh, fresh_value, fresh_slope
    return Minimum(place, value, slope, curvature)
