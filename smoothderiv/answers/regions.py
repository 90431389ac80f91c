"""Where a curve is surely above or below a value: intervals of x, all of them sure together."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from smoothderiv.answers.bisection import bisected
from smoothderiv.answers.limits import critical_along, resolve_range
from smoothderiv.answers.locations import as_asked, place_words, table_of

if TYPE_CHECKING:
    import pyarrow as pa

    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]

_GRID = 2000
_MOST = 20000


class Region(NamedTuple):
    """One of :class:`.Regions`: the same fields, of one interval."""

    start: Any
    end: Any
    sign: int


@dataclass(frozen=True, eq=False)
class Regions:
    """Intervals of x in which ``D^nu f`` is significantly above or below a value, ascending.

    They can be gone through: ``for start, end, sign in post.regions()`` gives each a
    :class:`.Region`.

    Attributes
    ----------
    start, end : (m,) arrays
        Ends of each interval, in the unit of x; datetimes where the data are at datetimes.
    sign : (m,) array of int
        1 where ``D^nu f`` is above the value, -1 where it is below.
    nu : int
    value : float
    level : float
        The probability of all intervals together.
    within : (low, high)
        The range searched.
    """

    start: NDArray[Any]
    end: NDArray[Any]
    sign: NDArray[np.int64]
    nu: int
    value: float
    level: float
    within: tuple[Any, Any]
    _zone: str | None = None  # of the data's datetimes

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, k: SupportsIndex) -> Region:
        k = operator.index(k)
        return Region(self.start[k], self.end[k], int(self.sign[k]))

    def __iter__(self) -> Iterator[Region]:
        return (self[k] for k in range(len(self)))

    def frame(self) -> pa.Table:
        """Return the intervals as a pyarrow table: start, end and sign, a row for each."""
        return table_of(self, Region._fields, self._zone)

    def __repr__(self) -> str:
        words = {1: "above", -1: "below"}
        lines = [
            f"  {place_words(a)} to {place_words(b)}: {words[int(s)]}"
            for a, b, s in zip(self.start, self.end, self.sign, strict=True)
        ]
        name = "f" if self.nu == 0 else f"D^{self.nu} f"
        head = f"Regions: {name} against {self.value:g}, level {self.level:g}, {len(self)} found"
        return "\n".join([head, *lines])

    def at(self, x: Any) -> NDArray[np.int64]:
        """Return 1, -1 or 0 (not known) for each place `x`."""
        places = np.asarray(x)
        out = np.zeros(places.shape, dtype=np.int64)
        for a, b, sign in zip(self.start, self.end, self.sign, strict=True):
            out[(places >= a) & (places <= b)] = sign
        return out


def find_regions(
    post: Posterior, nu: int, value: float, level: float, within: tuple[Any, Any] | None
) -> Regions:
    """Return where the band over the range lies on one side of `value`."""
    low, high = resolve_range(post, within)
    c = critical_along(post, np.array([nu]), level, low, high)

    def side(x: Array) -> NDArray[np.int64]:
        """Return on which side of the value the band lies at each place, 0 if on neither."""
        orders = np.full(len(x), nu)
        above = post._mean(x, orders) - value
        sure = np.abs(above) > c * np.sqrt(post._var(x, orders))
        return np.asarray(np.sign(above) * sure, dtype=np.int64)

    inside = post.data.places[(post.data.places > low) & (post.data.places < high)]
    thinned = inside[:: 1 + len(inside) // (_MOST - _GRID)]
    x = np.unique(np.concatenate((np.linspace(low, high, _GRID), thinned)))
    sign = side(x)
    at = np.flatnonzero(sign[1:] != sign[:-1])
    left, right = bisected(x[at], x[at + 1], lambda middle: side(middle) == sign[at], 50)
    starts = np.concatenate(([low], right))
    ends = np.concatenate((left, [high]))
    found = sign[np.concatenate(([0], at + 1))]
    sure = found != 0
    start, end, reach = (
        as_asked(post, v) for v in (starts[sure], ends[sure], np.array([low, high]))
    )
    return Regions(start, end, found[sure], nu, value, level, (reach[0], reach[1]), post.data.zone)
