"""Kernels that are functions of distance: squared exponential, Matern, rational quadratic.

With u = (x1 - x2) / scale, r = |u| and ``D = -(1/r) d/dr``, every partial derivative of a function
of r is a polynomial in the components of u times ``f_j = D^j f``:

    d^m f(r) = sum over l <= m/2 of  (-1)^j  prod_a c(m_a, l_a) u_a^(m_a - 2 l_a)  f_j(r),

    j = |m| - |l|,    c(m, l) = m! / (l! 2^l (m - 2l)!).

A class says only what its ``f_j`` are. Where ``f_j`` is singular at r = 0, for j above the
smoothness k, it gives ``r^(2(j - k) - 1) f_j``, which is not, and the monomial, of a higher degree,
takes the division: it becomes a product of direction cosines and of at least one factor r.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from smoothderiv._validate import said
from smoothderiv.gp import _loops
from smoothderiv.gp.assembly import Tile
from smoothderiv.gp.kernel import (
    Array,
    Kernel,
    Number,
    Orders,
    Parameter,
    is_free,
    known,
    settled,
)

_FEW_VECTORS = 2  # for each dimension: more are quicker by blocks

Profile: TypeAlias = Callable[[Array, Sequence[int]], list[Array]]
Scale: TypeAlias = Number | Sequence[Number]
"""A length for all dimensions, or one for each."""


def scale_parameters(scale: Scale, isotropic: bool, ndim: int) -> tuple[Parameter, ...]:
    """Return the lengths of a kernel as parameters: one, or one for each dimension."""
    if isinstance(scale, tuple):
        return tuple(Parameter(f"scale[{a}]", "length", a, s) for a, s in enumerate(scale))
    number = cast(Number, scale)
    if is_free(number) and not isotropic and ndim > 1:
        return tuple(Parameter(f"scale[{a}]", "length", a, number) for a in range(ndim))
    return (Parameter("scale", "length", -1, number),)


def frozen_scale(scale: Scale, isotropic: bool) -> Scale:
    """Check a scale and return it as a number or a tuple."""
    if isinstance(scale, np.ndarray):
        scale = scale.tolist()
    if isinstance(scale, Sequence) and not isinstance(scale, str):
        if isotropic:
            raise ValueError(
                f"isotropic: True is one length for all dimensions, but scale is {said(scale)}; "
                "give one number or None, or leave isotropic out"
            )
        return tuple(settled(number, f"scale[{a}]") for a, number in enumerate(scale))
    return settled(scale, "scale")


def inverse_scales(scale: Scale, ndim: int) -> Array:
    """Return 1 / scale for each dimension; the lengths must be known."""
    if isinstance(scale, tuple):
        return np.array([1.0 / known(s, "scale") for s in scale])
    return np.full(ndim, 1.0 / known(cast(Number, scale), "scale"))


def check_scale_ndim(kernel: Kernel, scale: Scale, ndim: int) -> None:
    """Refuse a scale for another number of dimensions."""
    if isinstance(scale, tuple) and len(scale) != ndim:
        raise ValueError(f"scale: {kernel!r} has {len(scale)} lengths, but x has {ndim} dimensions")


@dataclass(frozen=True)
class Radial(Kernel):
    """A function of the distance ``r = |(x1 - x2) / scale|``, times ``sigma^2``.

    Attributes
    ----------
    scale : float, sequence of d floats, LogNormal or None
        Length, in the unit of x: one, or one for each dimension. None is tuned, one for each
        dimension unless `isotropic`.
    sigma : float, LogNormal or None
        Amplitude, the prior standard deviation of f, in the unit of y.
    isotropic : bool
        Tune one length for all dimensions.
    """

    scale: Scale = None
    sigma: Number = None
    isotropic: bool = False

    extra: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", frozen_scale(self.scale, self.isotropic))
        self._settle("sigma", *self.extra)

    @abstractmethod
    def _profile(self, r: Array, levels: Sequence[int]) -> list[Array]:
        """Return ``f_j(r)`` for each level j; for j > k, ``r^(2(j - k) - 1) f_j(r)``."""

    def _profile_slopes(self, r: Array, levels: Sequence[int]) -> list[list[Array]]:
        """Return d/d log of :meth:`_profile` for each parameter named in `extra`."""
        del r, levels
        return []

    @property
    def is_stationary(self) -> bool:
        return True

    @property
    def resolution(self) -> float:
        return float(1.0 / inverse_scales(self.scale, 1).max())

    def diffusion(self, x: Array) -> Array:
        """Return ``2 (2k)!! lim r f_(k+1)``, of ``f_0 = .. + a r^(2k+1)``, in units of scale: (n,).

        ``D^(k+1) r^(2k+1) = (-1)^(k+1) (2k+1)!! / r``, and 2k derivatives leave ``(2k+1)! a r``.
        """
        if math.isinf(self.smoothness):
            return np.zeros(len(x))
        k = int(self.smoothness)
        kink = float(self._profile(np.zeros(1), [k + 1])[0][0])
        size = known(self.sigma, "sigma") ** 2 / self.resolution ** (2 * k + 1)
        return np.full(len(x), 2.0 ** (k + 1) * math.factorial(k) * kink * size)

    def parameters(self, ndim: int) -> tuple[Parameter, ...]:
        lengths = scale_parameters(self.scale, self.isotropic, ndim)
        others = (Parameter(name, "number", -1, getattr(self, name)) for name in self.extra)
        return (Parameter("sigma", "amplitude", -1, self.sigma), *lengths, *others)

    def filled(self, values: Sequence[Number]) -> Kernel:
        count = len(values) - len(self.extra)
        lengths = tuple(values[1:count])
        named = dict(zip(self.extra, values[count:], strict=True))
        scale = lengths[0] if len(lengths) == 1 else lengths
        return dataclasses.replace(self, sigma=values[0], scale=scale, **named)  # type: ignore[arg-type]

    def check_ndim(self, ndim: int) -> None:
        check_scale_ndim(self, self.scale, ndim)

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        tile = _Tile.of(self, x1, p, x2, q)
        out = np.zeros((len(p) * len(q), len(x1), len(x2)))
        _loops.radial_blocks(out, tile.profile(self._profile), *tile.arguments)
        return out.reshape(len(p), len(q), len(x1), len(x2))

    def slopes(self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        tile = _Tile.of(self, x1, p, x2, q, reciprocals=True)
        weights = weights.reshape(-1, len(x1), len(x2))
        profile = tile.profile(self._profile)
        sums = _loops.radial_sums(weights, profile, *tile.arguments)
        steeper = tile.steeper(self._profile)
        total = np.zeros((len(x1), len(x2)))
        _loops.radial_gather(total, weights, steeper, *tile.arguments)
        lengths = _loops.axis_sums(total, *tile.arguments[:4]) - 2.0 * sums @ tile.terms.halves
        if not isinstance(self.scale, tuple):
            lengths = lengths.sum(keepdims=True)
        others = [
            _loops.radial_sums(weights, tile.stacked(slopes), *tile.arguments).sum()
            for slopes in self._profile_slopes(tile.r, tile.terms.levels)
        ]
        return np.concatenate([[2.0 * sums.sum()], lengths, others])

    def products(
        self, left: Tile, right: Tile, mine: Array, theirs: Array, both: bool
    ) -> tuple[Array, Array | None]:
        count, ndim = len(mine), left.x.shape[1]
        highest = max(int(nu.sum(axis=1).max()) for nu in (left.nu, right.nu))
        if highest > 1 or count > _FEW_VECTORS * ndim:
            return super().products(left, right, mine, theirs, both)
        inverse = inverse_scales(self.scale, ndim)
        center = left.x[0]
        u1, u2 = (left.x - center) * inverse, ((right.x - center) * inverse).T.copy()
        profile = self._first_order(u1, u2)
        rows, columns = (_slots(tile.nu) for tile in (left, right))
        wide = [_spread(v, s, inverse) for v, s in ((mine, rows), (theirs, columns))]
        out = [np.zeros_like(v) for v in wide]
        (to_mine, to_theirs), arrays = out, (*profile, u1, u2, *wide)
        _loops.first_order_products(both, to_mine, to_theirs, *arrays)
        return (
            to_mine[:, rows] * _unit(rows, inverse),
            to_theirs[:, columns] * _unit(columns, inverse) if both else None,
        )

    def _first_order(self, u1: Array, u2: Array) -> list[Array]:
        """Return ``f_0, f_1, f_2`` times ``sigma^2`` for places over the scale; 0 for 0/0."""
        r = np.empty((len(u1), u2.shape[1]))
        _loops.distances(u1, u2, np.ones(len(u2)), r)
        levels = [j for j in (0, 1, 2) if j <= 2 * self.smoothness]
        found = self._profile(r, levels)
        variance = known(self.sigma, "sigma") ** 2
        out = []
        for f, j in zip(found, levels, strict=True):
            power = _divisions(j, self.smoothness)
            safe = np.where(r > 0, r, np.inf) if power else r
            out.append(variance * (f / safe**power if power else f))
        return out + [np.zeros_like(r)] * (3 - len(out))

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:
        terms, out = _Terms.of(p, q), np.zeros(len(p) * len(q))
        there = np.flatnonzero(np.diff(terms.first) == 0)  # the others hold a component of x1 - x2
        levels = [terms.levels[j] for j in np.unique(terms.level[there])]
        profile = self._profile(np.zeros(1), levels) if levels else []
        found = dict(zip(levels, profile, strict=True))
        inverse = inverse_scales(self.scale, x.shape[1])
        for t in there:
            size = terms.sign[t] * (inverse ** terms.orders[t]).prod()
            out[terms.slot[t]] += size * float(found[terms.levels[terms.level[t]]][0])
        out *= known(self.sigma, "sigma") ** 2
        return np.broadcast_to(out.reshape(len(p), len(q), 1), (len(p), len(q), len(x)))


@dataclass(frozen=True)
class _Terms:
    """The terms of the derivatives of all blocks (P, Q): tables for the compiled loops."""

    slot: NDArray[np.int64]  # which block
    sign: Array  # the coefficient without the scales
    orders: NDArray[np.int64]  # m = p + q of the block: (T, d)
    halves: Array  # m - l: (T, d)
    level: NDArray[np.int64]  # j, as an index into `levels`
    levels: tuple[int, ...]
    first: NDArray[np.int64]
    factors: NDArray[np.int64]  # the dimensions whose components multiply

    @classmethod
    def of(cls, p: Orders, q: Orders) -> _Terms:
        return _terms(tuple(map(tuple, p.tolist())), tuple(map(tuple, q.tolist())))


@functools.lru_cache(maxsize=512)
def _terms(p: tuple[tuple[int, ...], ...], q: tuple[tuple[int, ...], ...]) -> _Terms:
    rows = []
    for slot, (a, b) in enumerate(itertools.product(p, q)):
        m = tuple(v + w for v, w in zip(a, b, strict=True))
        for lower in itertools.product(*(range(v // 2 + 1) for v in m)):
            halves = tuple(v - w for v, w in zip(m, lower, strict=True))
            count = math.prod(_pairings(v, w) for v, w in zip(m, lower, strict=True))
            factors = [
                k for k, (v, w) in enumerate(zip(m, lower, strict=True)) for _ in range(v - 2 * w)
            ]
            rows.append((slot, (-1.0) ** (sum(halves) + sum(b)) * count, m, halves, factors))
    slots, signs, orders, halved, named = zip(*rows, strict=True)
    level = [sum(h) for h in halved]
    levels = tuple(sorted(set(level)))
    first = np.cumsum([0] + [len(f) for f in named])
    return _Terms(
        np.array(slots, dtype=np.int64),
        np.array(signs),
        np.array(orders, dtype=np.int64),
        np.array(halved, dtype=np.float64),
        np.array([levels.index(j) for j in level], dtype=np.int64),
        levels,
        first.astype(np.int64),
        np.array(list(itertools.chain.from_iterable(named)), dtype=np.int64),
    )


def _pairings(m: int, count: int) -> int:
    """Return the ways to choose `count` pairs among m: m! / (l! 2^l (m - 2l)!)."""
    below = math.factorial(count) * 2**count * math.factorial(m - 2 * count)
    return int(math.factorial(m) // below)


@dataclass(frozen=True)
class _Tile:
    """One tile of a radial kernel: its distances, its terms, and what the loops are given."""

    r: Array
    terms: _Terms
    smoothness: float
    arguments: tuple[NDArray[np.generic], ...]

    @classmethod
    def of(
        cls, kernel: Radial, x1: Array, p: Orders, x2: Array, q: Orders, reciprocals: bool = False
    ) -> _Tile:
        terms, k = _Terms.of(p, q), kernel.smoothness
        inverse = inverse_scales(kernel.scale, x1.shape[1])
        columns = np.ascontiguousarray(x2.T)
        r = np.empty((len(x1), len(x2)))
        _loops.distances(x1, columns, inverse, r)
        reciprocal = np.empty((0, 0))
        if reciprocals or terms.levels[-1] > k:
            reciprocal = np.empty_like(r)
            _loops.reciprocals(r, reciprocal)
        coef = known(kernel.sigma, "sigma") ** 2 * terms.sign * (inverse**terms.orders).prod(axis=1)
        above = np.array([_divisions(j, k) for j in terms.levels], dtype=np.int64)
        tables = (terms.slot, coef, terms.level, terms.first, terms.factors, above[terms.level])
        return cls(r, terms, k, (reciprocal, x1, columns, inverse, *tables))

    def profile(self, profile: Profile) -> Array:
        """Return F_j for the levels of the terms: (J, t1, t2)."""
        return self.stacked(profile(self.r, self.terms.levels))

    def steeper(self, profile: Profile) -> Array:
        """Return ``r^2 f_(j+1)``, divided as F_j is, for the levels of the terms: (J, t1, t2)."""
        levels = self.terms.levels
        found = profile(self.r, [j + 1 for j in levels])
        powers = (0 if j > self.smoothness else 1 if j == self.smoothness else 2 for j in levels)
        return self.stacked([f * self.r**n if n else f for f, n in zip(found, powers, strict=True)])

    @staticmethod
    def stacked(parts: Sequence[Array]) -> Array:
        return parts[0][None] if len(parts) == 1 else np.stack(parts)


def _slots(nu: Orders) -> NDArray[np.int64]:
    """Return 0 for a value and 1 + a for the slope along a: (P,)."""
    return np.asarray((nu * np.arange(1, nu.shape[1] + 1)).sum(axis=1), dtype=np.int64)


def _unit(slots: NDArray[np.int64], inverse: Array) -> Array:
    return np.asarray(np.r_[1.0, inverse][slots][:, None])


def _spread(vectors: Array, slots: NDArray[np.int64], inverse: Array) -> Array:
    """Return vectors (s, P, t) among all first orders, in units of places over the scale."""
    out = np.zeros((len(vectors), 1 + len(inverse), vectors.shape[2]))
    out[:, slots] = vectors * _unit(slots, inverse)
    return out


def _divisions(j: int, k: float) -> int:
    """Return how many divisions by r the monomial takes from a singular ``f_j``."""
    return max(2 * (j - int(k)) - 1, 0) if math.isfinite(k) else 0
