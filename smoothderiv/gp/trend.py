"""Trend: the mean of a Gaussian process, fixed or a polynomial with free coefficients."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.observations import Observations

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]
Mean: TypeAlias = float | str | Callable[[Any, Any], Any]

DEGREES = {"constant": 0, "linear": 1, "quadratic": 2, "cubic": 3}


@dataclass(frozen=True, eq=False)
class Trend:
    """``m(x) + sum_j beta_j u^e_j``, u = (x - center) / span, with flat (diffuse) beta.

    Attributes
    ----------
    mean : float, str or callable
        The fixed part m; a name of a polynomial stands for 0.
    exponents : (p, d) array of int
        The monomials e_j; p may be 0.
    center, span : (d,) arrays
    """

    mean: Mean
    exponents: Orders
    center: Array
    span: Array

    @classmethod
    def of(cls, mean: Mean, null_degree: int, data: Observations) -> Trend:
        """Return the trend with the polynomials that mean and kernel leave free."""
        degree = max(DEGREES[mean] if isinstance(mean, str) else -1, null_degree)
        exponents = _exponents(data.ndim, degree)
        x = data.x.reshape(len(data), -1)
        low, high = x.min(axis=0), x.max(axis=0)
        span = np.where(high > low, high - low, 1.0)
        shape = (len(exponents), data.ndim)
        free = np.array(exponents, dtype=np.int64).reshape(shape)
        return cls(mean, free, 0.5 * (low + high), span)

    def beyond(self, degree: int) -> Trend:
        """Return the part of higher degree, and nothing fixed."""
        higher = self.exponents.sum(axis=1) > degree
        return dataclasses.replace(self, mean=0.0, exponents=self.exponents[higher])

    def fixed(self, x: Array, nu: Orders) -> Array:
        """Return ``D^nu m`` at rows (n, d): (n,)."""
        out = np.zeros(len(x))
        if isinstance(self.mean, str):
            return out
        if not callable(self.mean):
            out[nu.sum(axis=1) == 0] = self.mean
            return out
        one = x.shape[1] == 1
        for order in np.unique(nu, axis=0):
            rows = (nu == order).all(axis=1)
            places = x[rows, 0] if one else x[rows]
            asked = int(order[0]) if one else tuple(int(v) for v in order)
            found = np.asarray(self.mean(places, asked), dtype=np.float64)
            if found.shape not in ((), (len(places),)) or not np.isfinite(found).all():
                raise _unusable(found, places, asked)
            out[rows] = found
        return out

    def rows(self, x: Array, nu: Orders) -> Array:
        """Return the derivatives of the monomials at rows (n, d): (n, p)."""
        return np.asarray(self.unit_rows(x, nu) / (self.span**nu).prod(axis=1)[:, None])

    def unit_rows(self, x: Array, nu: Orders) -> Array:
        """Return the same times ``span^nu``, pure numbers: (n, p)."""
        u = (x - self.center) / self.span
        out = np.ones((len(x), len(self.exponents)))
        for j, exponent in enumerate(self.exponents):
            for a, e in enumerate(exponent):
                if e == 0:
                    out[:, j] *= nu[:, a] == 0
                    continue
                falls = np.array([math.perm(e, v) for v in range(e + 1)] + [0], dtype=np.float64)
                left = np.maximum(e - nu[:, a], 0)
                out[:, j] *= falls[np.minimum(nu[:, a], e + 1)] * u[:, a] ** left
        return out

    def words(self, j: int) -> str:
        """Name the monomial j."""
        degree = int(self.exponents[j].sum())
        return {0: "constant", 1: "linear part"}.get(degree, f"part of degree {degree}")


def _exponents(ndim: int, degree: int) -> list[tuple[int, ...]]:
    """Return the exponents of all monomials up to a degree, sorted by degree."""
    found = []
    for total in range(degree + 1):
        axes = itertools.combinations_with_replacement(range(ndim), total)
        found += sorted(tuple(map(chosen.count, range(ndim))) for chosen in axes)
    return found


def _unusable(found: Array, places: Array, order: Any) -> ValueError:
    """Say what is wrong with the answer of a callable mean."""
    if found.shape not in ((), (len(places),)):
        what = f"returned shape {found.shape} for {len(places)} places; return ({len(places)},)"
    else:
        found = np.broadcast_to(found, len(places))
        row = int(np.argmin(np.isfinite(found)))
        what = f"is {found[row]} at x = {places[row]}; return a finite number everywhere"
    return ValueError(f"mean: mean(x, {order!r}) {what}")


def check_mean(mean: Any) -> None:
    """Refuse a mean that is no number, no name of a polynomial and no callable."""
    if isinstance(mean, str):
        if mean not in DEGREES:
            raise ValueError(f"mean: {mean!r} is unknown; use a number, {', '.join(DEGREES)}")
    elif not callable(mean) and not (np.ndim(mean) == 0 and np.isfinite(mean)):
        raise ValueError(
            f"mean: {mean!r}; give a finite number, one of {', '.join(DEGREES)}, or a callable "
            "mean(x, nu) that returns derivatives too, such as a scipy BSpline"
        )
