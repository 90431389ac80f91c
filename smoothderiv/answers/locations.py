"""Where something happens: roots, peaks and steepest places of a curve, with their uncertainty.

The mean curve says where; joint paths of the posterior say how surely: each path is searched for
the same event, so that a peak that many paths lack gets the probability that it exists, and a
plateau gets the long interval that it deserves. Nothing is linearised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv import _validate
from smoothderiv.answers.limits import resolve_range

if TYPE_CHECKING:
    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]
Range = tuple[float, float]

_GRID = 400  # places over the whole range
_LOCAL = 48  # places about each event, within this many standard deviations
_REACH = 6.0


@dataclass(frozen=True)
class Locations:
    """Places where a curve does something, ascending; arrays of shape (m,).

    Attributes
    ----------
    x : position on the mean curve; a datetime where the data are at datetimes
    std : spread of the position over the paths that have the event, in seconds for datetimes
    lower, upper : limits of the position, as x; infinite (or NaT) where no path has the event
    probability : share of paths that have the event between its neighbours
    height, height_std : value there on the mean curve, of f (of ``argmax`` that of ``D^nu f``), and
        its spread over the paths
    at_edge : share of paths in which it is an end of the range (only for ``argmax``)
    """

    x: NDArray[Any]
    std: Array
    lower: NDArray[Any]
    upper: NDArray[Any]
    probability: Array
    height: Array
    height_std: Array
    at_edge: Array

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        lines = [
            f"x = {place_words(x)} (std {s:.2g}, {place_words(lo)} to {place_words(up)}), "
            f"height {h:.6g} (std {hs:.2g}), "
            f"probability {p:.3f}{edge_words(edge)}"
            for x, s, lo, up, h, hs, p, edge in zip(
                self.x,
                self.std,
                self.lower,
                self.upper,
                self.height,
                self.height_std,
                self.probability,
                self.at_edge,
                strict=True,
            )
        ]
        return "\n".join([f"Locations: {len(self)} found", *(f"  {line}" for line in lines)])


@dataclass(frozen=True)
class Paths:
    """Joint draws of ``D^nu f`` and f on a grid, widened as the posterior's intervals are."""

    x: Array
    event: Array
    height: Array


def find_roots(
    post: Posterior,
    nu: int,
    value: float,
    within: Range | None,
    level: float,
    rng: int | np.random.Generator | None,
    direction: int = 0,
    size: int = 2000,
) -> Locations:
    """Return where ``D^nu f`` crosses `value`: upwards (direction 1), downwards (-1) or either."""
    low, high = resolve_range(post, within)
    centres, rising = _mean_roots(post, nu, value, low, high)
    wanted = (direction == 0) | (rising == direction)
    draws = _draw(post, nu, _grid(post, nu, centres[wanted], low, high), size, rng)
    found = []
    for sign in (-1, 1):
        same = centres[rising == sign]
        if direction in {0, sign} and len(same):
            ends = np.concatenate(([low], 0.5 * (same[1:] + same[:-1]), [high]))
            path, place, height = _crossings(draws, value, sign)
            for centre, a, b in zip(same, ends[:-1], ends[1:], strict=True):
                near = (place >= a) & (place <= b)
                found.append((centre, *_nearest(centre, path[near], place[near], height[near])))
    found.sort(key=lambda row: row[0])
    return _summarise(post, found, size, level)


def find_argmax(
    post: Posterior,
    nu: int,
    within: Range | None,
    level: float,
    rng: int | np.random.Generator | None,
    size: int = 2000,
) -> Locations:
    """Return where ``D^nu f`` is largest; `height` is ``D^nu f`` there, not f."""
    low, high = resolve_range(post, within)
    centres, rising = _mean_roots(post, nu + 1, 0.0, low, high)
    peaks = np.concatenate((centres[rising < 0], [low, high]))
    best = peaks[np.argmax(_mean(post, peaks, nu))]
    draws = _draw(post, nu, _grid(post, nu + 1, np.array([best]), low, high), size, rng)
    place, height = _vertex(draws.x, draws.event)
    at_edge = np.mean((place <= low) | (place >= high))
    table = _summarise(post, [(best, place, height)], size, level, nu)
    return Locations(**{**vars(table), "at_edge": np.array([at_edge])})


def _mean_roots(
    post: Posterior, nu: int, value: float, low: float, high: float
) -> tuple[Array, NDArray[np.int64]]:
    """Return where the mean of ``D^nu f`` crosses `value`, and whether it rises (1) or falls."""
    inside = np.unique(post.data.x[(post.data.x > low) & (post.data.x < high)])
    thinned = inside[:: max(1, len(inside) // 4000)]
    x = np.unique(np.concatenate((np.linspace(low, high, 8 * _GRID + 1), thinned)))
    y = _mean(post, x, nu) - value
    at = np.flatnonzero((y[:-1] < 0) != (y[1:] < 0))
    left, right = x[at], x[at + 1]
    rising = np.where(y[at + 1] > y[at], 1, -1)
    for _ in range(60):  # bisection of all at once, to the last digit
        middle = 0.5 * (left + right)
        beyond = ((_mean(post, middle, nu) - value) * rising) >= 0
        left, right = np.where(beyond, left, middle), np.where(beyond, middle, right)
    return 0.5 * (left + right), rising


def _grid(post: Posterior, nu: int, centres: Array, low: float, high: float) -> Array:
    """Return places over the range, dense where a path's event may be."""
    parts = [np.linspace(low, high, _GRID)]
    if len(centres):
        slope = np.abs(_mean(post, centres, nu + 1)) if nu < post.highest_order else 0.0
        std = np.sqrt(post._var(centres, np.full(len(centres), nu)))
        step = (high - low) / _GRID
        reach = np.minimum(
            np.divide(std, slope, out=np.full_like(std, step), where=slope > 0), step
        )
        local = np.linspace(-_REACH, _REACH, _LOCAL)
        parts.append((centres[:, None] + reach[:, None] * local).ravel())
    return np.unique(np.clip(np.concatenate(parts), low, high))


def _draw(
    post: Posterior, nu: int, x: Array, size: int, rng: int | np.random.Generator | None
) -> Paths:
    generator = np.random.default_rng(rng)
    places, orders = np.tile(x, 2), np.repeat([nu, 0], len(x))
    paths = post._sample(places, orders, size, generator).reshape(size, 2, -1)
    if math.isfinite(post.dof):
        mean = post._mean(places, orders).reshape(2, -1)
        widen = np.sqrt(post.dof / generator.chisquare(post.dof, size))
        paths = mean + (paths - mean) * widen[:, None, None]
    return Paths(x, paths[:, 0], paths[:, 1])


def _crossings(draws: Paths, value: float, sign: int) -> tuple[NDArray[np.int64], Array, Array]:
    """Return path, place and height of every crossing in one direction, by linear interpolation."""
    event = sign * (draws.event - value)
    path, at = np.nonzero((event[:, :-1] < 0) & (event[:, 1:] >= 0))
    before, after = event[path, at], event[path, at + 1]
    share = before / (before - after)
    place = draws.x[at] + share * (draws.x[at + 1] - draws.x[at])
    height = draws.height[path, at] * (1 - share) + draws.height[path, at + 1] * share
    return path, place, height


def _nearest(
    centre: float, path: NDArray[np.int64], place: Array, height: Array
) -> tuple[Array, Array]:
    """Return of each path that has an event the one nearest to the mean curve's."""
    order = np.lexsort((np.abs(place - centre), path))
    first = np.unique(path[order], return_index=True)[1]
    return place[order][first], height[order][first]


def _vertex(x: Array, paths: Array) -> tuple[Array, Array]:
    """Return place and height of the largest value of each path, by the parabola through it."""
    at = np.argmax(paths, axis=1)
    rows = np.arange(len(paths))
    inner = np.clip(at, 1, len(x) - 2)
    a, b, c = (x[inner + shift] for shift in (-1, 0, 1))
    p, q, r = (paths[rows, inner + shift] for shift in (-1, 0, 1))
    left, right = (q - p) / (b - a), (r - q) / (c - b)
    curvature = (right - left) / (c - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = 0.5 * (a + b - left / curvature)
    use = (at == inner) & (curvature < 0) & (vertex >= a) & (vertex <= c)
    place = np.where(use, vertex, x[at])
    rise = q + (place - b) * (left + curvature * (place - a))
    return place, np.where(use, rise, paths[rows, at])


def _summarise(
    post: Posterior,
    found: list[tuple[float, Array, Array]],
    size: int,
    level: float,
    nu: int = 0,
) -> Locations:
    """Return the table of events from the places and heights that the paths gave each."""
    x = np.array([row[0] for row in found])
    rows = []
    for centre, place, height in found:
        if len(place) < 2:
            rows.append((np.inf, -np.inf, np.inf, len(place) / size, np.inf))
            continue
        lower, upper = np.quantile(place, (0.5 - 0.5 * level, 0.5 + 0.5 * level))
        spread = place.std()
        rows.append(
            (spread, min(lower, centre), max(upper, centre), len(place) / size, height.std())
        )
    std, lower, upper, probability, height_std = np.array(rows).reshape(-1, 5).T
    height = _mean(post, x, nu) if len(x) else x
    x, lower, upper = (as_asked(post, limit) for limit in (x, lower, upper))
    return Locations(x, std, lower, upper, probability, height, height_std, np.zeros(len(height)))


def _mean(post: Posterior, x: Array, nu: int) -> Array:
    """Return the mean at places that are floats."""
    return post._mean(x, np.full(len(x), nu))


def as_asked(post: Posterior, x: Array) -> NDArray[Any]:
    """Return float places as the user gives them: datetimes where the data have an origin."""
    origin = post.data.origin
    if origin is None:
        return x
    known = np.isfinite(x)
    out = np.full(len(x), np.datetime64("NaT", "ns"))
    out[known] = _validate.times(x[known], origin)
    return out


def place_words(x: Any) -> str:
    """Return a place as text: a number, or a time to the millisecond."""
    return str(x.astype("datetime64[ms]")) if isinstance(x, np.datetime64) else f"{x:.6g}"


def edge_words(share: float) -> str:
    """Return words for the probability of being at an end of the range, none where it is small."""
    return f", at an end of the range with probability {share:.3f}" if share >= 0.01 else ""
