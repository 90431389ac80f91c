"""Many series of values smoothed side by side: each tuned by itself, what they share found once.

At one ratio of q to the noise, what the filter does to a series depends on its places and on its
relative noise alone. So the searches of series that share both ask for the same ratios first, one
of them is filtered there, and the others are sent through its gains.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv.minimiser import NEAR_NATS
from smoothderiv.model import Model
from smoothderiv.newton import SETTLED
from smoothderiv.observations import Observations
from smoothderiv.statespace import _bank_loops, _error_loops, _loops
from smoothderiv.statespace.kept import leverages, states_about
from smoothderiv.statespace.line import Asking, lowest
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.priors import IntegratedWiener
from smoothderiv.statespace.search import FEW, reach
from smoothderiv.statespace.states import diagonal

if TYPE_CHECKING:
    from smoothderiv.statespace.smoother import SmoothingSpline

Array = NDArray[np.float64]

MANY = 64  # series that are worth smoothing side by side, at most
_KEPT = 64  # ratios at which the gains of a group are kept
_ROUNDING = 64.0  # roundings of the largest value below which a polynomial leaves nothing


class Smoothed(NamedTuple):
    """Means and standard deviations, (orders, places), and the degrees of freedom of the limits."""

    mean: Array
    std: Array
    dof: float


def is_for_banks(model: Model | None, nu: Sequence[int]) -> bool:
    """Tell whether :func:`smooth_bank` may answer for derivatives of orders `nu` by a model."""
    from smoothderiv.statespace.smoother import SmoothingSpline

    if not isinstance(model, SmoothingSpline) or model.q is not None:
        return False
    return min(nu) >= 0 and max(nu) < model.order


def smooth_bank(
    model: SmoothingSpline, data: Sequence[Observations], places: Sequence[Array], nu: Sequence[int]
) -> list[Smoothed | None]:
    """Tune and condition a spline of unknown q on each series; answer at its own places.

    What :func:`smoothderiv.tune` and :meth:`.SmoothingSpline.condition` do, by the evidence. None
    for a series that is better looked at by itself: not values alone, noise in part known, many
    rows or very few, a polynomial, an optimum at an end of the range or one that is not settled.
    """
    suited = [k for k, rows in enumerate(data) if _suits(model, rows)]
    out: list[Smoothed | None] = [None] * len(data)
    if not suited:
        return out
    try:
        with np.errstate(all="ignore"):
            bank = _Bank(model, [data[k] for k in suited])
            for k, one, found in zip(suited, bank.series, bank.minima(), strict=True):
                if found is not None:
                    out[k] = one.smoothed(math.exp(found), places[k], nu)
    except (ValueError, ArithmeticError):  # what is wrong is said where one is alone
        return [None] * len(data)
    return out


def _suits(model: SmoothingSpline, data: Observations) -> bool:
    """Tell whether a series is of values alone, with noise that is all known or all unknown."""
    if data.ndim > 1 or data.nu.any() or data.exact.any() or len(data) > FEW:
        return False
    if data.estimated.any() != data.estimated.all():
        return False
    return len(np.unique(data.x)) > model.order + 2


def _settled(low: float, high: float, free: bool) -> Asking[float | None]:
    """Find the optimum of a series if it is clear: inside its range, to its last digits."""
    best, seen = yield from lowest(low, high)
    ends = seen[0].value, seen[-1].value if free else math.inf
    least = min(one.value for one in seen)
    clear = best.curvature > 0.0 and abs(best.slope) < SETTLED * best.curvature
    if not clear or min(ends) <= best.value + NEAR_NATS or least < best.value:
        return None
    return best.place - best.slope / best.curvature


class _Filtered(NamedTuple):
    """What a filter says: see ``Likelihood`` and ``Errors``."""

    chi: float
    logs: float
    rank: int
    penalty: float
    excess: float


class _Series:
    """A sorted series under a prior of q = 1, and whether the level of its noise is searched."""

    def __init__(self, model: SmoothingSpline, data: Observations) -> None:
        levels = model.noise or {}
        self.estimated = bool(data.estimated.any())
        self.free = self.estimated and 0 not in levels
        self.prior = IntegratedWiener(model.order, 1.0, float(np.ptp(data.x)))
        sd = data.relative_sd if self.free else data.sd(levels)
        self.rows = MarkovRows.of(self.prior, data.x, data.y, sd, data.nu)
        self.key = self.free, self.rows.x.tobytes(), self.rows.variance.tobytes()

    def loss(self, found: _Filtered) -> tuple[float, float]:
        """Return minus the evidence, less what is constant, and its slope in log q."""
        chi, logs, rank, penalty, excess = found
        if not self.free:
            return 0.5 * (logs + chi), 0.5 * (excess - penalty)
        scale = chi / rank
        return 0.5 * (logs + rank * math.log(scale)), 0.5 * (excess - penalty / scale)

    def smoothed(self, q: float, x: Array, nu: Sequence[int]) -> Smoothed:
        """Condition it and answer for derivatives at places x."""
        prior, orders = IntegratedWiener(self.prior.order, q, self.prior.span), np.asarray(nu)
        rows = self.rows.having(prior)
        likelihood, _, leverage = leverages(rows)
        scale = likelihood.chi / likelihood.rank if self.free else 1.0  # of all variances alike
        dof = max(float((1.0 - leverage).sum()), 1.0) if self.estimated else math.inf
        mean, factor = states_about(rows, x).at(x)
        unit = prior.units[orders][:, None]
        var = [diagonal(factor, np.full(len(x), order)) for order in orders]
        return Smoothed(mean[:, orders].T * unit, np.sqrt(scale * np.array(var)) * unit, dof)


class _Group:
    """Series of the same places and relative noise, by their numbers, and the gains found."""

    def __init__(self, series: Mapping[int, _Series]) -> None:
        self.column = {k: j for j, k in enumerate(series)}
        self.values = np.stack([one.rows.y for one in series.values()], axis=1)
        self.first = next(iter(series.values()))
        self.kept: dict[float, tuple[Array, Array, _Filtered]] = {}

    @cached_property
    def range(self) -> tuple[float, float]:
        """The range of log q that is searched."""
        rows = self.first.rows
        return reach(self.first.prior, rows.steps.h, rows.variance, rows.variance)

    def follow(self, q: float, members: list[int]) -> dict[int, _Filtered]:
        """Send some of the series through the gains found at q."""
        gain, inverse, found = self.kept[q]
        columns = [self.column[k] for k in members]
        every = len(columns) == len(self.column)
        values = self.values if every else np.ascontiguousarray(self.values[:, columns])
        rows = self.first.rows
        chi, spent = _bank_loops.follow(values, rows.variance, rows.steps.h, gain, inverse)
        return {
            k: found._replace(chi=one, penalty=one - two)  # y'Py = y'P (K + R) P y
            for k, one, two in zip(members, chi.tolist(), spent.tolist(), strict=True)
        }


class _Bank:
    """Series one after the other, `ends` being where each begins and ends, and their groups."""

    def __init__(self, model: SmoothingSpline, data: Sequence[Observations]) -> None:
        self.series = [_Series(model, one) for one in data]
        self.ends = np.cumsum([0, *(len(one) for one in data)])
        rows, total = [one.rows for one in self.series], int(self.ends[-1])
        self._rows = (
            np.concatenate([one.y for one in rows]),
            np.concatenate([one.variance for one in rows]),
            np.zeros(total, dtype=np.int64),
        )
        self._h = np.concatenate([one.steps.h for one in rows])
        self._gains = np.empty((total, model.order)), np.empty(total), np.empty(total)
        alike: defaultdict[object, dict[int, _Series]] = defaultdict(dict)
        for k, one in enumerate(self.series):
            alike[one.key][k] = one
        self._groups = [_Group(members) for members in alike.values()]
        self._group = {k: group for group in self._groups for k in group.column}

    def minima(self) -> list[float | None]:
        """Return the optimum of each series, in log q over the squared level where that is free."""
        found: list[float | None] = [None] * len(self.series)
        searches = {k: _settled(*self._group[k].range, self.series[k].free) for k in self._curved()}
        asked = {k: next(search) for k, search in searches.items()}
        while asked:
            answers = self._filtered({k: math.exp(place) for k, place in asked.items()})
            for k, answer in answers.items():
                try:
                    asked[k] = searches[k].send(self.series[k].loss(answer))
                except StopIteration as stop:
                    found[k] = stop.value
                    del asked[k]
        return found

    def _curved(self) -> list[int]:
        """Return the series of which a polynomial surely leaves more than rounding errors."""
        out = []
        for k, found in self._filtered(dict.fromkeys(range(len(self.series)), 0.0)).items():
            rows = self.series[k].rows
            error = _ROUNDING * rows.prior.dimension * np.finfo(float).eps * np.abs(rows.y).max()
            if found.rank > 0 and found.chi > len(rows.y) * error**2 / rows.variance.min():
                out.append(k)
        return out

    def _filtered(self, asked: Mapping[int, float]) -> dict[int, _Filtered]:
        """Filter some series, each at its q, or send them through gains that are known there."""
        wanted: defaultdict[tuple[_Group, float], list[int]] = defaultdict(list)
        for k, q in asked.items():
            wanted[self._group[k], q].append(k)
        out = self._filter({m[0]: q for (group, q), m in wanted.items() if q not in group.kept})
        gain, _, inverse = self._gains
        for (group, q), members in wanted.items():
            first = members[0]
            if first in out and len(group.column) > 1:
                of = slice(*self.ends[first : first + 2])
                group.kept[q] = gain[of].copy(), inverse[of].copy(), out[first]
            left = [k for k in members if k not in out]
            if left:
                out |= group.follow(q, left)
            if len(group.kept) > _KEPT:
                group.kept.popitem()
        return out

    def _filter(self, asked: Mapping[int, float]) -> dict[int, _Filtered]:
        """Filter some series, each at its q."""
        if not asked:
            return {}
        which, rows = np.array(list(asked)), self.series[0].rows
        weight = np.array([q * self.series[k].rows.steps.weight[0] for k, q in asked.items()])
        common = self._rows, self._h, rows.steps.basis, weight, self.ends, which
        found = _loops.forward_each(*common, rows.prior.start(), self._gains, rows.dims)
        beside = _error_loops.errors_each(*common, self._gains, rows.dims)
        return {
            k: _Filtered(chi, logs, 0 if free else int(rank), *more)
            for k, (chi, logs, rank, free, _), more in zip(
                asked, found.tolist(), beside.tolist(), strict=True
            )
        }
