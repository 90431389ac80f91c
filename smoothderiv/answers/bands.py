"""How far a curve strays from its mean anywhere: the critical values of simultaneous bands.

Nothing is drawn in one dimension. With ``Z(x) = (D^nu f(x) - mean) / std``, unit vectors of a
Gaussian space, a band ``mean -+ c std`` is left either at its first place or on the way from one
place to the next. Where paths of D^nu f are smooth, Z turns by the angle

    ``integral sqrt(Var Z') dx,   Var Z' = (s^2 Var D^(nu+1) f - Cov(D^nu f, D^(nu+1) f)^2) / s^4``

and leaves at the next of two places an angle a apart with probability

    ``q(a, c) = G(a/2) - G(pi/2) + G(pi/2 - a/2),
    G(b) = (2 / pi) integral_0^b exp(-(c / cos t)^2 / 2) dt``

(Worsley 1982 in closed form); for ever nearer places the sum of q is Rice's expected number of
exits, the tube formula ``length / pi exp(-c^2 / 2)`` of Sun & Loader (1994). Where paths are rough,
as those of the highest derivative that a Markov process has, Z is locally an Ornstein-Uhlenbeck
process, which leaves at a known rate, less by Siegmund's correction when it is seen at places
alone. Exits far apart are nearly independent, so ``P(none) = P(inside at first) exp(-sum of
hazards)``. A mixture is left as often as its members leave its band, on the average; since a
member's mean lies off that of the mixture, its way begins where it is nearest to a limit and goes
both ways from there.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy  # its parts load when they are used
from numpy.typing import NDArray

from smoothderiv.answers.bisection import bisected

if TYPE_CHECKING:
    from smoothderiv.moments import Moments

Array = NDArray[np.float64]
Orders = NDArray[np.int64]

_STRATA = 700  # pieces of the way; each is seen at Gauss nodes of its own
_FEWEST = 120
_NODE, _WEIGHT = np.polynomial.legendre.leggauss(3)
_U, _V = np.polynomial.legendre.leggauss(32)
_BINS = np.concatenate(([0.0], np.geomspace(1e-4, 0.5 * math.pi, 120), [math.inf]))
_FAR = 7.0  # standard deviations beyond which exit rates are asymptotic
_TURNED = 0.5 * math.pi  # from one step to the next: the two are independent
_SIEGMUND = 0.5825971579390107  # -zeta(1/2) / sqrt(2 pi)


@dataclass(frozen=True, eq=False)
class Way:
    """How a standardised curve of one order goes from its first place to its last, in pieces.

    Attributes
    ----------
    length : (m,) array
        Smooth paths: the turn of each piece in radians. Rough paths: its duration in units of the
        Ornstein-Uhlenbeck process.
    steps : (m,) array
        The steps that each piece is seen in, infinite where it is seen everywhere.
    rough : bool
    jumps : int
        Places where the curve starts anew.
    wider, off : (m + 1,) arrays or None
        Of a member of a mixture: the standard deviation of the mixture over its own, and its mean
        from that of the mixture over its own standard deviation, at each place.
    """

    length: Array
    steps: Array
    rough: bool
    jumps: int
    wider: Array | None = None
    off: Array | None = None

    def log_stay(self, c: float, scales: Array) -> Array:
        """Return the log probability that ``scale Z`` stays in ``-c .. c``, for each scale."""
        if self.wider is None or self.off is None:
            z = c * scales
            first = outside = _outside(z)
        else:
            worst = int(np.argmin(c * self.wider - np.abs(self.off)))
            ends = (c * self.wider[worst] + side * self.off[worst] for side in (1, -1))
            first = sum(scipy.special.ndtr(-scales * end) for end in ends)
            z = self._level(c, scales, worst)
            outside = _outside(z)
        hazard = self.jumps * outside
        if len(self.length):
            hazard = hazard + (wandering if self.rough else turning)(self.length, self.steps, z)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log1p(-np.minimum(first, 1.0)) - hazard / (1.0 - outside))

    def _level(self, c: float, scales: Array, worst: int) -> Array:
        """Return the level that is left as often as ``c wider -+ off`` are on the way from `worst`.

        A piece counts by the places where its steps end: of one step, by its farther end alone.
        """
        assert self.wider is not None
        assert self.off is not None
        weight = np.minimum(self.length, _TURNED * self.steps)
        weight = weight if weight.sum() > 0 else np.ones(len(weight))
        farther = 0.5 + 0.5 / self.steps
        forth = np.arange(len(weight)) >= worst
        at = np.zeros(len(self.wider))
        at[:-1] += weight * np.where(forth, 1.0 - farther, farther)
        at[1:] += weight * np.where(forth, farther, 1.0 - farther)
        at /= at.sum() or 1.0  # of one place alone there is no way
        total = np.zeros(len(scales))
        for side in (-1, 1):
            end = scales[:, None] * (c * self.wider + side * self.off)
            total += 0.5 * np.exp(-0.5 * np.maximum(end, 0.0) ** 2) @ at
        with np.errstate(divide="ignore"):
            return np.asarray(np.sqrt(np.minimum(-2.0 * np.log(total), 1400.0)))


Ways = Sequence[tuple[float, Sequence[Way]]]
"""For each member of a mixture its weight, and its way for each order."""


def critical_value(members: Ways, level: float, dof: float) -> float:
    """Return c such that all curves stay within ``mean -+ c std`` with probability `level`.

    With finite `dof` the common scale of all deviations is unknown too (Student).
    """
    scales, weights = _scales(dof)

    def excess(c: float) -> float:
        """Return the log probability of an exit, over that allowed."""
        leave = sum(
            share * -np.expm1(sum(way.log_stay(c, scales) for way in ways))
            for share, ways in members
        )
        return math.log(max(float(weights @ leave), 1e-300)) - math.log1p(-level)

    if not any(ways for _, ways in members):
        return 0.0
    p = 0.5 + 0.5 * level
    low = float(scipy.special.stdtrit(dof, p) if dof < math.inf else scipy.special.ndtri(p))
    if excess(low) <= 0.0:
        return low
    high = 1.5 * low + 1.0
    while excess(high) > 0.0:
        low, high = high, 2.0 * high
    return _root(excess, low, high)


def turning(angles: Array, steps: Array, c: Array) -> Array:
    """Return the expected exits on smooth pieces: sums of q, or Rice's for infinite `steps`."""
    everywhere = np.isinf(steps)
    total = angles[everywhere].sum() / math.pi * np.exp(-0.5 * c**2)
    angle, count = _binned(angles[~everywhere], steps[~everywhere])
    if not len(angle):
        return np.asarray(total)
    half = 0.5 * np.minimum(angle, _TURNED)[:, None]
    near = half * (0.5 + 0.5 * _U)
    far = 0.5 * math.pi - near
    each = [
        np.exp(-0.5 * (c[:, None, None] / np.cos(t)) ** 2) @ (0.5 * _V) * half[:, 0]
        for t in (near, far)
    ]
    return np.asarray(total + (2.0 / math.pi) * (each[0] - each[1]) @ count)


def wandering(times: Array, steps: Array, c: Array) -> Array:
    """Return the expected exits on rough pieces: exit rate times duration, corrected for steps."""
    everywhere = np.isinf(steps)
    total = times[everywhere].sum() * exit_rate(c)
    times, steps = times[~everywhere], steps[~everywhere]
    if not len(times):
        return np.asarray(total)
    time, count = _binned(times, steps)
    shift = _SIEGMUND * np.sqrt(-np.expm1(-2.0 * time))
    seen = exit_rate(c[:, None] + shift) * time
    angle = np.arccos(np.exp(-time))
    apart = np.stack([turning(angle[i : i + 1], np.ones(1), c) for i in range(len(angle))], axis=1)
    return np.asarray(total + np.minimum(seen, apart) @ count)


def exit_rate(c: Array) -> Array:
    """Return the rate at which ``dZ = -Z dt + sqrt(2) dW`` leaves ``-c .. c`` in the long run.

    The smallest eigenvalue of its generator: the first root in ``lam`` of Kummer's
    ``M(-lam / 2, 1 / 2, c^2 / 2)``. Beyond c = 7 it is ``c sqrt(2 / pi) exp(-c^2 / 2)``, to a
    few percent of 1e-10; there bisection ends, and M overflows later.
    """
    far = c > _FAR
    x = 0.5 * np.where(far, _FAR, c) ** 2

    def below(lam: Array) -> NDArray[np.bool_]:
        return np.asarray(scipy.special.hyp1f1(-0.5 * lam, 0.5, x) > 0.0)

    low, high = bisected(np.zeros_like(x), np.pi**2 / (8.0 * x) + 1.0, below, 40)
    asymptote = c * math.sqrt(2.0 / math.pi) * np.exp(-0.5 * c * c)
    return np.asarray(np.where(far, asymptote, 0.5 * (low + high)))


def ways_through(post: Moments, x: Array, nu: Orders) -> Ways:
    """Return the way of each order through its places, flat arrays of the same length."""
    routes, strata = [], _strata(post)
    for order in np.unique(nu):
        places = np.unique(x[nu == order])
        at = np.unique(np.linspace(0, len(places) - 1, min(len(places), strata)).astype(int))
        routes.append((int(order), places[at], np.diff(at).astype(np.float64)))
    return _ways(post, routes)


def ways_along(post: Moments, nu: Orders, low: float, high: float) -> Ways:
    """Return the way of each order over a whole range."""
    strata = _strata(post)
    inside = post.data.places[(post.data.places > low) & (post.data.places < high)]
    thinned = inside[:: 1 + len(inside) // (strata // 2)]
    places = np.unique(np.concatenate((np.linspace(low, high, strata // 2), thinned)))
    steps = np.full(len(places) - 1, np.inf)
    return _ways(post, [(int(order), places, steps) for order in np.unique(nu)])


def _strata(post: Moments) -> int:
    """Return how many pieces a way is cut into: c changes as the root of the logarithm of length.

    So each of many members may be seen roughly.
    """
    return max(_STRATA // len(post._parts()), _FEWEST)


def _ways(post: Moments, routes: list[tuple[int, Array, Array]]) -> Ways:
    parts = post._parts()
    if len(parts) == 1:
        return [(1.0, [_way(post, *route) for route in routes])]
    whole = [_moments(post, nu, places) for nu, places, _ in routes]
    out = []
    for weight, part in parts:
        ways = []
        for (mean, std), route in zip(whole, routes, strict=True):
            own_mean, own_std = _moments(part, *route[:2])
            off = _over(own_mean - mean, own_std)
            wider = np.full_like(std, np.inf)  # what is certain does not stray
            np.divide(std, own_std, out=wider, where=own_std > 0)
            ways.append(dataclasses.replace(_way(part, *route), wider=wider, off=off))
        out.append((weight, ways))
    return out


def _moments(post: Moments, nu: int, places: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation at places."""
    orders = np.full(len(places), nu)
    return post._mean(places, orders), np.sqrt(post._var(places, orders))


def _way(post: Moments, nu: int, places: Array, steps: Array) -> Way:
    """Integrate over each piece between places by Gauss-Legendre's rule."""
    jumps = _jumps_between(post._jumps(nu), places, steps)
    half = 0.5 * np.diff(places)[:, None]
    if not len(half):
        rough = bool((post._diffusion(nu, places) > 0.0).any())
        return Way(np.empty(0), np.empty(0), rough, jumps)
    x = (0.5 * (places[1:] + places[:-1])[:, None] + half * _NODE).ravel()
    diffusion = post._diffusion(nu, x)
    rough = bool((diffusion > 0.0).any())
    if rough:
        rate = _over(0.5 * diffusion, post._var(x, np.full(len(x), nu)))
    else:
        joint = post._joint(x, np.array([nu, nu + 1]))
        var, cross, slope = joint[:, 0, 0], joint[:, 0, 1], joint[:, 1, 1]
        rate = np.sqrt(_over(np.maximum(slope - _over(cross, var) * cross, 0.0), var))
    length = (half * _WEIGHT * rate.reshape(half.size, -1)).sum(axis=1)
    return Way(length, steps, rough, jumps)


def _jumps_between(jumps: Array, places: Array, steps: Array) -> int:
    """Count the jumps on the way; those between the same two places are seen as one."""
    inner = jumps[(jumps > places[0]) & (jumps <= places[-1])] if len(places) else jumps[:0]
    if np.isinf(steps).any():
        return len(inner)
    return len(np.unique(np.searchsorted(places, inner)))


def _over(a: Array | float, b: Array) -> Array:
    """Return a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(b), where=b > 0)


def _binned(sizes: Array, steps: Array) -> tuple[Array, Array]:
    """Return typical sizes of a step, and how many steps are like it."""
    each = np.divide(sizes, steps)
    where = np.digitize(each, _BINS)
    count = np.bincount(where, steps, len(_BINS) + 1).astype(np.float64)
    total = np.bincount(where, sizes, len(_BINS) + 1)
    used = count > 0
    return total[used] / count[used], count[used]


def _outside(c: Array) -> Array:
    """Return ``P(|Z| > c)`` at one place."""
    return np.asarray(scipy.special.erfc(c / math.sqrt(2.0)))


@functools.lru_cache(maxsize=64)
def _scales(dof: float) -> tuple[Array, Array]:
    """Return nodes and weights of ``sqrt(chi^2_dof / dof)``; 1 for infinite `dof`."""
    if math.isinf(dof):
        return np.ones(1), np.ones(1)
    p, weight = np.polynomial.legendre.leggauss(64 if dof < 30 else 24)
    return np.sqrt(2.0 * scipy.special.gammaincinv(0.5 * dof, 0.5 + 0.5 * p) / dof), 0.5 * weight


def _root(function, low: float, high: float) -> float:  # type: ignore[no-untyped-def]
    """Return where a falling function is zero, by false position in the Illinois way.

    SciPy's ``brentq`` would do, but to load ``scipy.optimize`` takes as long as a fit.
    """
    at_low, at_high = function(low), function(high)
    side = 0
    for _ in range(60):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        value = function(middle)
        if abs(value) < 1e-9 or high - low < 1e-12 * high:
            return float(middle)
        if value > 0:
            low, at_low = middle, value
            at_high *= 0.5 if side > 0 else 1.0
            side = 1
        else:
            high, at_high = middle, value
            at_low *= 0.5 if side < 0 else 1.0
            side = -1
    return float(middle)
