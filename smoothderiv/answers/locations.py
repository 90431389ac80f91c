"""Where something happens: roots, peaks and steepest places of a curve, with their uncertainty.

The mean curve says where; joint paths of the posterior say how surely. Nothing is linearised, so a
plateau gets the long interval that it deserves.

A root of ``g = D^nu f - value`` is an extremum of ``G = integral g`` (a peak, of f itself, where
nu = 1). A rough path has a great many of these, and so has the mean of a rough model: most mean
nothing. So each is judged by its prominence. Its stretch reaches, on either side, to where the mean
of G goes beyond it (to a higher peak, say), or to the end of the range; its bases are where G is
farthest from it on either side (the deepest troughs). A path has the event if its own G has the
same two signs between place and bases (if the peak is higher than both troughs); the path's place
is then its own extremum of G between the nearest sure ones on either side. A clear peak with a dent
in its top is one sure peak, and one that hardly exists beside it.

That is the posterior probability of the event, which selecting peaks on the mean does no harm to:
of curves drawn from the model, the share given is the share found. It is no test against a flat
curve. How rough the model takes a curve for is set where that bends; along a stretch flatter than
the rest noise leaves humps in the mean that are taken for the curve's own, and are given .5 to .9.
A peak between a sure rise and a sure fall (``regions``) is safe from
that.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from smoothderiv._places import in_arrow_units
from smoothderiv.answers.bisection import bisected
from smoothderiv.answers.limits import resolve_range

if TYPE_CHECKING:
    import pyarrow as pa

    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]
Range = tuple[float, float]

_GRID = 400  # places over the whole range
_LOCAL = 48  # places about each event, within this many standard deviations
_REACH = 6.0
_PATHS = 2000  # joint draws


class Location(NamedTuple):
    """One of :class:`.Locations`: the same fields, of one place."""

    x: Any
    std: float
    lower: Any
    upper: Any
    probability: float
    height: float
    height_std: float
    height_lower: float
    height_upper: float
    at_edge: float


@dataclass(frozen=True, eq=False)
class Locations:
    """Places where a curve does something, ascending; arrays of shape (m,).

    They can be gone through: ``for one in post.maxima()`` gives a :class:`.Location` each, as does
    ``post.maxima()[0]``.

    Attributes
    ----------
    x : position on the mean curve; a datetime where the data are at datetimes, in their zone
    std : spread of the position over the paths that have the event, in seconds for datetimes
    lower, upper : limits of the position, as x; infinite (or NaT) where no path has the event
    probability : share of paths that have the event: of a peak, in which it is higher than the
        troughs on both sides, each side reaching to a higher peak or the end of the range. It
        takes the curve to be as rough everywhere as the model has it: on stretches that are truly
        flat, humps that noise made are given .5 to .9
    height, height_std : value there on the mean curve, of f (of ``argmax`` that of ``D^nu f``), and
        its spread over the paths
    height_lower, height_upper : limits of the height; infinite where no path has the event
    at_edge : share of paths in which it is an end of the range (only for ``argmax``)
    """

    x: NDArray[Any]
    std: Array
    lower: NDArray[Any]
    upper: NDArray[Any]
    probability: Array
    height: Array
    height_std: Array
    height_lower: Array
    height_upper: Array
    at_edge: Array
    _known_height: bool = False  # it was asked where the curve has that height
    _beside: float | None = None  # of ``argmax``: share of paths that are highest on another peak
    _zone: str | None = None  # of the data's datetimes

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, k: SupportsIndex) -> Location:
        k = operator.index(k)
        return Location(*(getattr(self, name)[k] for name in Location._fields))

    def __iter__(self) -> Iterator[Location]:
        return (self[k] for k in range(len(self)))

    def frame(self) -> pa.Table:
        """Return the places as a pyarrow table, a row for each, its columns the fields."""
        return table_of(self, Location._fields, self._zone)

    def __repr__(self) -> str:
        lines = [self._words(k) for k in range(len(self))]
        return "\n".join([f"Locations: {len(self)} found", *(f"  {line}" for line in lines)])

    def _words(self, k: int) -> str:
        """Return one place in words: no height that was asked, no probability that is 1 anyhow."""
        timed = self.x.dtype.kind in "MO"
        std = f"{std_words(self.std[k])} s" if timed else f"{self.std[k]:.2g}"
        low, high = place_words(self.lower[k]), place_words(self.upper[k])
        words = [f"x = {place_words(self.x[k])} (std {std}, {low} to {high})"]
        if not self._known_height:
            words.append(f"height {self.height[k]:.6g} (std {self.height_std[k]:.2g})")
        if self._beside is None:
            words.append(f"probability {self.probability[k]:.3f}")
        elif self._beside >= 0.005:
            words.append(f"but on another peak with probability {self._beside:.3f}")
        return f"{', '.join(words)}{edge_words(self.at_edge[k])}"


@dataclass(frozen=True, eq=False)
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
    height: int = 0,
) -> Locations:
    """Return where ``D^nu f`` crosses `value`: upwards (direction 1), downwards (-1) or either.

    Heights are those of the derivative of order `height`.
    """
    low, high = resolve_range(post, within)
    centres, rising = _mean_roots(post, nu, value, low, high)
    wanted = np.flatnonzero((direction == 0) | (rising == direction))
    x = _grid(centres, _reach(post, nu, centres, low, high), wanted, low, high)
    draws = _draw(post, nu, height, x, rng)
    draws.event[:] -= value
    turns = np.concatenate(([0], np.searchsorted(x, centres), [len(x) - 1]))
    mean = _areas(x, (_mean(post, x, nu) - value)[None])[0, turns]
    areas = _areas(x, draws.event)
    sides = [_bases(sign * mean, k + 1) for k, sign in enumerate(rising)]
    has = np.empty((len(centres), _PATHS), dtype=bool)
    for k, (sign, bases) in enumerate(zip(rising, sides, strict=True)):
        here, there = areas[:, turns[[k + 1]]], areas[:, turns[list(bases)]]
        has[k] = (sign * here < sign * there).all(axis=1)
    unsure = np.mean(has, axis=1) < level
    found = []
    for k in wanted.tolist():
        first, last = turns[list(_between(k, sides[k], unsure))].tolist()
        at = first + np.argmin(rising[k] * areas[:, first : last + 1], axis=1)
        path = np.flatnonzero(has[k] & (at > first) & (at < last))
        found.append((centres[k], *_crossings(draws, path, at[path], rising[k])))
    table = _summarise(post, found, level, height)
    return dataclasses.replace(table, _known_height=nu == height)


def find_argmax(
    post: Posterior,
    nu: int,
    within: Range | None,
    level: float,
    rng: int | np.random.Generator | None,
) -> Locations:
    """Return where ``D^nu f`` is largest; `height` is ``D^nu f`` there, not f."""
    low, high = resolve_range(post, within)
    smooth = nu < post.highest_order
    if smooth:
        centres, rising = _mean_roots(post, nu + 1, 0.0, low, high)
        peaks = np.concatenate((centres[rising < 0], [low, high]))
        troughs = centres[rising > 0]
    else:
        peaks, troughs = _fine(post, low, high), np.empty(0)
    best = peaks[[np.argmax(_mean(post, peaks, nu))]]
    reach = _reach(post, nu + 1, best, low, high) if smooth else (high - low) / _GRID
    draws = _draw(post, nu, nu, _grid(best, reach, [0], low, high), rng)
    place, height = _vertex(draws.x, draws.event)
    at_edge = np.mean((place <= low) | (place >= high))
    table = _summarise(post, [(float(best[0]), place, height)], level, nu)
    beside = np.mean(np.searchsorted(troughs, place) != np.searchsorted(troughs, best))
    return dataclasses.replace(table, at_edge=np.array([at_edge]), _beside=float(beside))


def _fine(post: Posterior, low: float, high: float) -> Array:
    """Return many places over the range, those of the data among them."""
    inside = np.unique(post.data.x[(post.data.x > low) & (post.data.x < high)])
    thinned = inside[:: max(1, len(inside) // 4000)]
    return np.unique(np.concatenate((np.linspace(low, high, 8 * _GRID + 1), thinned)))


def _mean_roots(
    post: Posterior, nu: int, value: float, low: float, high: float
) -> tuple[Array, NDArray[np.int64]]:
    """Return where the mean of ``D^nu f`` crosses `value`, and whether it rises (1) or falls."""
    x = _fine(post, low, high)
    y = _mean(post, x, nu) - value
    at = np.flatnonzero((y[:-1] < 0) != (y[1:] < 0))
    rising = np.where(y[at + 1] > y[at], 1, -1)

    def before(middle: Array) -> NDArray[np.bool_]:
        return np.asarray((_mean(post, middle, nu) - value) * rising < 0)

    left, right = bisected(x[at], x[at + 1], before, 60)  # to the last digit
    return 0.5 * (left + right), rising


def _reach(post: Posterior, nu: int, centres: Array, low: float, high: float) -> Array:
    """Return how far each root of ``D^nu f`` may be from its place: a standard deviation or so."""
    step = np.full(len(centres), (high - low) / _GRID)
    if not (len(centres) and nu < post.highest_order):
        return step
    slope = np.abs(_mean(post, centres, nu + 1))
    std = np.sqrt(post._var(centres, np.full(len(centres), nu)))
    return np.asarray(np.minimum(np.divide(std, slope, out=step.copy(), where=slope > 0), step))


def _grid(centres: Array, reach: Any, wanted: Any, low: float, high: float) -> Array:
    """Return places over the range, the centres among them, dense about those that are wanted."""
    near = np.linspace(-_REACH, _REACH, _LOCAL)
    about = centres[wanted, None] + np.broadcast_to(reach, centres.shape)[wanted, None] * near
    parts = (np.linspace(low, high, _GRID), centres, about.ravel())
    return np.unique(np.clip(np.concatenate(parts), low, high))


def _draw(
    post: Posterior, nu: int, height: int, x: Array, rng: int | np.random.Generator | None
) -> Paths:
    generator = np.random.default_rng(rng)
    places, orders = np.tile(x, 2), np.repeat([nu, height], len(x))
    paths = post._sample(places, orders, _PATHS, generator).reshape(_PATHS, 2, -1)
    dof = post._dof(np.array(nu))
    if math.isfinite(dof):
        mean = post._mean(places, orders).reshape(2, -1)
        widen = np.sqrt(dof / generator.chisquare(dof, _PATHS))
        paths = mean + (paths - mean) * widen[:, None, None]
    return Paths(x, paths[:, 0], paths[:, 1])


def _areas(x: Array, paths: Array) -> Array:
    """Return the integral of each path up to each place, by the trapezoidal rule."""
    out = np.zeros_like(paths)
    np.cumsum(0.5 * np.diff(x) * (paths[:, 1:] + paths[:, :-1]), axis=1, out=out[:, 1:])
    return out


def _bases(turns: Array, k: int) -> tuple[int, int]:
    """Return where a curve is highest to the left and right of its minimum k, before a lower one.

    `turns` are its values at its extrema and at both ends of the range.
    """
    lower = np.flatnonzero(turns < turns[k])
    first = max(lower[lower < k], default=-1) + 1
    last = min(lower[lower > k], default=len(turns))
    left, right = turns[first:k], turns[k + 1 : last]
    return (
        first + int(np.argmax(left)) if len(left) else k - 1,
        k + 1 + int(np.argmax(right)) if len(right) else k + 1,
    )


def _between(k: int, bases: tuple[int, int], unsure: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the turns between which the place of root k is sought on each path.

    They are the neighbours of its own turn, k + 1, but a neighbour with a root of the same kind
    beyond it that is not sure keeps no path from going there.
    """
    first, last = k, k + 2
    while first > max(bases[0], 1) and unsure[first - 2]:
        first -= 2
    while last < min(bases[1], len(unsure)) and unsure[last]:
        last += 2
    return max(first, bases[0]), min(last, bases[1])


def _crossings(
    draws: Paths, path: NDArray[np.int64], at: NDArray[np.int64], sign: int
) -> tuple[Array, Array]:
    """Return place and height where some paths cross zero, beside nodes, by linear interpolation.

    A node is one of the extrema of the integral by the trapezoidal rule.
    """
    left = np.where(sign * draws.event[path, at] < 0, at, at - 1)
    before, after = draws.event[path, left], draws.event[path, left + 1]
    share = before / (before - after)
    place = draws.x[left] + share * (draws.x[left + 1] - draws.x[left])
    height = draws.height[path, left] * (1 - share) + draws.height[path, left + 1] * share
    return place, height


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
    post: Posterior, found: list[tuple[float, Array, Array]], level: float, nu: int
) -> Locations:
    """Return the table of events from the places and heights that the paths gave each."""
    x = np.array([row[0] for row in found])
    height = _mean(post, x, nu) if len(x) else x
    probability = np.array([len(place) / _PATHS for _, place, _ in found])
    std, lower, upper = _spreads([place for _, place, _ in found], x, level)
    heights = _spreads([heights for _, _, heights in found], height, level)
    x, lower, upper = (as_asked(post, limit) for limit in (x, lower, upper))
    return Locations(
        x,
        std,
        lower,
        upper,
        probability,
        height,
        *heights,
        np.zeros(len(height)),
        _zone=post.data.zone,
    )


def _spreads(paths: list[Array], centres: Array, level: float) -> tuple[Array, Array, Array]:
    """Return spread and limits of what the paths gave for each event, its centre within them."""
    std, lower, upper = np.full((3, len(centres)), [[np.inf], [-np.inf], [np.inf]])
    for k, found in enumerate(paths):
        if len(found) >= 2:
            ends = np.quantile(found, (0.5 - 0.5 * level, 0.5 + 0.5 * level))
            std[k], lower[k], upper[k] = found.std(), *ends
    return std, np.minimum(lower, centres), np.maximum(upper, centres)


def _mean(post: Posterior, x: Array, nu: int) -> Array:
    """Return the mean at places that are floats."""
    return post._mean(x, np.full(len(x), nu))


def as_asked(post: Posterior, x: Array) -> NDArray[Any]:
    """Return float places as the user gives them: datetimes where the data have an origin."""
    if post.data.origin is None:
        return x
    known = np.isfinite(x)
    places = post.data.as_given(np.where(known, x, 0.0))
    places[~known] = None  # NaT
    return places


def table_of(found: Any, names: Sequence[str], zone: str | None) -> pa.Table:
    """Return fields of one length as a pyarrow table; times of a zone are columns in it."""
    import pyarrow as pa

    columns = {name: getattr(found, name) for name in names}
    timed = pa.timestamp("us", zone)
    return pa.table(
        {
            name: pa.array(column, timed) if column.dtype == object else in_arrow_units(column)
            for name, column in columns.items()
        }
    )


def place_words(x: Any) -> str:
    """Return a place as text: a number, or a time to the millisecond."""
    if isinstance(x, datetime.datetime):
        return x.isoformat(timespec="milliseconds")
    if x is None:
        return "NaT"
    return str(x.astype("datetime64[ms]")) if isinstance(x, np.datetime64) else f"{x:.6g}"


def std_words(seconds: float) -> str:
    """Return a standard deviation in seconds without a power of ten."""
    return f"{seconds:.2g}" if seconds < 100.0 else f"{seconds:.0f}"


def edge_words(share: float) -> str:
    """Return words for the probability of being at an end of the range, none where it is small."""
    return f", at an end of the range with probability {share:.3f}" if share >= 0.01 else ""
