"""Sums and products of kernels."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from smoothderiv.gp import assembly
from smoothderiv.gp.kernel import Array, Kernel, Number, Orders, Parameter


@dataclass(frozen=True)
class Composite(Kernel):
    """A kernel made of others: what sums and products share."""

    parts: tuple[Kernel, ...]

    @property
    def smoothness(self) -> float:
        return min(part.smoothness for part in self.parts)

    @property
    def is_stationary(self) -> bool:
        return all(part.is_stationary for part in self.parts)

    @property
    def resolution(self) -> float:
        return min(part.resolution for part in self.parts)

    @property
    def breaks(self) -> tuple[float, ...]:
        return tuple(place for part in self.parts for place in part.breaks)

    @property
    def _roughest(self) -> list[int]:
        return [i for i, part in enumerate(self.parts) if part.smoothness == self.smoothness]

    def check_ndim(self, ndim: int) -> None:
        for part in self.parts:
            part.check_ndim(ndim)

    def parameters(self, ndim: int) -> tuple[Parameter, ...]:
        return tuple(_named(self.parts, ndim))

    def filled(self, values: Sequence[Number]) -> Kernel:
        return type(self)(_filled(self.parts, values))


@dataclass(frozen=True)
class Sum(Composite):
    """The kernel of a sum of independent processes; made by ``k1 + k2``.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> k = kernels.Matern32(scale=1.0, sigma=1.0) + kernels.Matern72(scale=9.0, sigma=2.0)
    >>> k.smoothness, float(k.cov([0.0])[0, 0])
    (1, 5.0)
    """

    @property
    def null_degree(self) -> int:
        return max(part.null_degree for part in self.parts)

    @property
    def signal(self) -> Kernel | None:
        found = [part.signal for part in self.parts]
        if all(one is part for one, part in zip(found, self.parts, strict=True)):
            return self
        left = tuple(part for part in found if part is not None)
        return Sum(left) if len(left) > 1 else next(iter(left), None)

    def diffusion(self, x: Array) -> Array:
        return cast(Array, sum(self.parts[i].diffusion(x) for i in self._roughest))

    def anchored(self, center: float, span: float) -> Kernel:
        return Sum(tuple(part.anchored(center, span) for part in self.parts))

    def times(self, factor: float) -> Kernel:
        return Sum(tuple(part.times(factor) for part in self.parts))

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        out = self.parts[0].blocks(x1, p, x2, q)
        for part in self.parts[1:]:
            out += part.blocks(x1, p, x2, q)
        return out

    def slopes(self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        return np.concatenate([part.slopes(weights, x1, p, x2, q) for part in self.parts])

    def products(
        self, left: assembly.Tile, right: assembly.Tile, mine: Array, theirs: Array, both: bool
    ) -> tuple[Array, Array | None]:
        found = [part.products(left, right, mine, theirs, both) for part in self.parts]
        first = cast(Array, sum(one for one, _ in found))
        return first, cast(Array, sum(two for _, two in found)) if both else None

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:
        return cast(Array, sum(part.diagonal(x, p, q) for part in self.parts))


@dataclass(frozen=True)
class Product(Composite):
    """The product of kernels, by Leibniz' rule; made by ``k1 * k2``.

    Only the product of the sizes of its factors shows, so of each later factor of unknown size one
    amplitude counts as 1: of a sum one that is a pure number beside the first factor, if it has
    one, such as that of the constant in ``Matern52() * (Constant() + Linear())``.

    Examples
    --------
    >>> from smoothderiv import kernels
    >>> k = kernels.Periodic(period=1.0) * kernels.SquaredExponential(scale=20.0)
    >>> [p.name for p in k.parameters(1) if p.value is None]
    ['parts[0].sigma', 'parts[0].scale']
    """

    def __post_init__(self) -> None:
        for part in self.parts:
            if part.signal is not part:
                raise ValueError(f"{part!r} holds noise, which is no factor of a product; add it")
            if part.null_degree >= 0:
                raise ValueError(
                    f"{part!r} leaves polynomials free, so it cannot be a factor of a product; "
                    "add it instead, or use a Matern kernel"
                )

    def times(self, factor: float) -> Kernel:
        return Product((self.parts[0].times(factor), *self.parts[1:]))

    def diffusion(self, x: Array) -> Array:
        """Return the sum over the roughest factors of theirs times the variances of the others.

        By Leibniz' rule the covariance has their kinks at equal places: (n,).
        """
        value, total = np.zeros((1, 1), dtype=np.int64), np.zeros(len(x))
        for i in self._roughest:
            others = self.parts[:i] + self.parts[i + 1 :]
            variances = (part.diagonal(x[:, None], value, value)[0, 0] for part in others)
            total += math.prod(variances, start=self.parts[i].diffusion(x))
        return total

    @property
    def _halves(self) -> tuple[Kernel, Kernel]:
        first, *rest = self.parts
        return first, rest[0] if len(rest) == 1 else Product(tuple(rest))

    def blocks(self, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        if len(self.parts) == 1:
            return self.parts[0].blocks(x1, p, x2, q)
        first, rest = self._halves
        lower = _lower(p), _lower(q)
        left, right = (half.blocks(x1, lower[0], x2, lower[1]) for half in (first, rest))
        out = np.zeros((len(p), len(q), len(x1), len(x2)))
        for i, j, a, b, count in _leibniz(p, q):
            out[i, j] += count * left[a[0], b[0]] * right[a[1], b[1]]
        return out

    def slopes(self, weights: Array, x1: Array, p: Orders, x2: Array, q: Orders) -> Array:
        if len(self.parts) == 1:
            return self.parts[0].slopes(weights, x1, p, x2, q)
        first, rest = self._halves
        lower = _lower(p), _lower(q)
        left, right = (half.blocks(x1, lower[0], x2, lower[1]) for half in (first, rest))
        of_left, of_right = np.zeros_like(left), np.zeros_like(right)
        for i, j, a, b, count in _leibniz(p, q):
            of_left[a[0], b[0]] += count * weights[i, j] * right[a[1], b[1]]
            of_right[a[1], b[1]] += count * weights[i, j] * left[a[0], b[0]]
        halves = ((first, of_left), (rest, of_right))
        return np.concatenate([half.slopes(w, x1, lower[0], x2, lower[1]) for half, w in halves])

    def diagonal(self, x: Array, p: Orders, q: Orders) -> Array:
        if len(self.parts) == 1:
            return self.parts[0].diagonal(x, p, q)
        first, rest = self._halves
        lower = _lower(p), _lower(q)
        left, right = (half.diagonal(x, *lower) for half in (first, rest))
        out = np.zeros((len(p), len(q), len(x)))
        for i, j, a, b, count in _leibniz(p, q):
            out[i, j] += count * left[a[0], b[0]] * right[a[1], b[1]]
        return out


def added(first: Kernel, second: Kernel) -> Kernel:
    """Return the kernel of the sum of independent processes."""
    return Sum(_parts(first, Sum) + _parts(second, Sum))


def multiplied(first: Kernel, second: Kernel) -> Kernel:
    """Return the product; of each later factor of unknown size one amplitude is 1."""
    parts = _parts(first, Product)
    for part in _parts(second, Product):
        # a 1 with a unit of x moves the size into the factors before, which must be free to take it
        pure = any(p.power == 0 for p in _unknown(part))
        settle = _is_sizeless(part) and (pure or any(map(_is_sizeless, parts)))
        parts = (*parts, _of_unit_size(part) if settle else part)
    return Product(parts)


def _parts(kernel: Kernel, kind: type[Sum] | type[Product]) -> tuple[Kernel, ...]:
    return kernel.parts if isinstance(kernel, kind) else (kernel,)


def _amplitudes(kernel: Kernel) -> list[Parameter]:
    return [p for p in kernel.parameters(1) if p.kind == "amplitude"]


def _unknown(kernel: Kernel) -> list[Parameter]:
    return [p for p in _amplitudes(kernel) if p.value is None]


def _is_sizeless(kernel: Kernel) -> bool:
    """Tell whether nothing given or believed says how large a process is."""
    if isinstance(kernel, Sum):
        return all(_is_sizeless(part) for part in kernel.parts)
    if isinstance(kernel, Product):
        return any(_is_sizeless(part) for part in kernel.parts)
    return bool(_unknown(kernel)) and _unknown(kernel) == _amplitudes(kernel)


def _of_unit_size(kernel: Kernel) -> Kernel:
    """Give one amplitude of a kernel of unknown size the value 1, if possible a pure number."""
    if isinstance(kernel, Composite):
        parts = list(kernel.parts)
        free = [i for i, part in enumerate(parts) if _is_sizeless(part)]
        chosen = min(free, key=lambda i: min(p.power for p in _unknown(parts[i])))
        parts[chosen] = _of_unit_size(parts[chosen])
        return type(kernel)(tuple(parts))
    return kernel.filled([1.0 if p.kind == "amplitude" else p.value for p in kernel.parameters(1)])


def _named(parts: tuple[Kernel, ...], ndim: int) -> Iterator[Parameter]:
    for i, part in enumerate(parts):
        for p in part.parameters(ndim):
            yield dataclasses.replace(p, name=f"parts[{i}].{p.name}")


def _filled(parts: tuple[Kernel, ...], values: Sequence[Number]) -> tuple[Kernel, ...]:
    """Deal the values out to the parts: the count of each shows from the number of dimensions."""
    for ndim in range(1, len(values) + 1):
        counts = [len(part.parameters(ndim)) for part in parts]
        if sum(counts) == len(values):
            ends = list(itertools.accumulate(counts, initial=0))
            pairs = itertools.pairwise(ends)
            return tuple(
                part.filled(values[a:b]) for part, (a, b) in zip(parts, pairs, strict=True)
            )
    raise ValueError(f"values: {len(values)} do not fit the parameters of {parts!r}")


def _lower(orders: Orders) -> Orders:
    """Return every multi-index that is nowhere above one of `orders`, sorted."""
    return np.array(_lower_of(tuple(map(tuple, orders.tolist()))), dtype=np.int64)


@functools.lru_cache(maxsize=256)
def _lower_of(orders: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    below = (itertools.product(*(range(v + 1) for v in order)) for order in orders)
    return tuple(sorted(set(itertools.chain.from_iterable(below))))


def _leibniz(p: Orders, q: Orders) -> Iterator[tuple[int, int, Any, Any, float]]:
    """Yield the terms of Leibniz' rule: block (i, j), the splits of p_i and of q_j, the count."""
    left, right = _splits(tuple(map(tuple, p.tolist()))), _splits(tuple(map(tuple, q.tolist())))
    for (i, a, here), (j, b, there) in itertools.product(left, right):
        yield i, j, a, b, here * there


@functools.lru_cache(maxsize=256)
def _splits(orders: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, tuple[int, int], float], ...]:
    """For each order: the pairs of lower orders that add up to it, and how often they occur."""
    place = {order: k for k, order in enumerate(_lower_of(orders))}
    found = []
    for i, order in enumerate(orders):
        for a in itertools.product(*(range(v + 1) for v in order)):
            rest = tuple(v - w for v, w in zip(order, a, strict=True))
            count = math.prod(math.comb(v, w) for v, w in zip(order, a, strict=True))
            found.append((i, (place[a], place[rest]), float(count)))
    return tuple(found)
