"""Growth rates: the derivative of log n, its largest value, and the logistic curve behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, fdtrc

from smoothderiv import _validate
from smoothderiv.answers.locations import Locations, edge_words, place_words
from smoothderiv.answers.marginal import student_quantile
from smoothderiv.dynamics.cells import Cells
from smoothderiv.dynamics.moments import MomentEquations
from smoothderiv.model import Model, UndeterminedError
from smoothderiv.observations import observe
from smoothderiv.posterior import Posterior
from smoothderiv.smooth import smooth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_SHARE = 0.75  # cells for each effective degree of freedom: more see what smoothing took away
_ROUNDING = 64 * np.finfo(float).eps  # of log n, by which it may seem to change
_CHANCE = 1e-3  # below it, the data do not follow a law


@dataclass(frozen=True, eq=False)
class Logistic:
    """The logistic law ``n'/n = r (1 - n / K)``, estimated.

    Attributes
    ----------
    r, K : float
        Rate at n = 0, per unit of t (per second for datetimes); the count at which growth stops,
        infinite where the rate does not fall with n, 0 where r is negative: nothing grows.
    r_std, K_std : float
        That of K is infinite where there is no such count, both are where n never changes.
    covariance : (2, 2) array
        Of r and K.
    interval : mapping
        95 % limits of "r" and "K"; those of K by Fieller's theorem, so that the upper one is
        infinite where the data do not say that growth stops.
    start : float
        n at the first time.
    crowding : float
        By how much the rate falls with each of n: ``r / K`` of a curve that grows.
    p_value : float
        How often the rates of a curve that does follow the law would lie as far from it (chi-square
        of the regression, Fisher's F where the noise was estimated). Where that is small, as with a
        lag before the growth, a baseline under it or another law, r and K mean little, whatever
        their limits; the rates stand.
    """

    r: float
    K: float
    r_std: float
    K_std: float
    covariance: Array
    interval: dict[str, tuple[float, float]]
    start: float
    crowding: float
    p_value: float

    def simulate(self, t: ArrayLike) -> Array:
        """Return n a time t after the first time: ``K / (1 + (K / start - 1) exp(-r t))``.

        In general ``1 / ((1 / start) exp(-r t) + crowding (1 - exp(-r t)) / r)``.
        """
        elapsed = np.asarray(t, dtype=float)
        along = -np.expm1(-self.r * elapsed) / self.r if self.r else elapsed
        return np.asarray(1.0 / (np.exp(-self.r * elapsed) / self.start + self.crowding * along))

    def __repr__(self) -> str:
        spread = f" ± {self.K_std:.2g}" if math.isfinite(self.K_std) else ""
        numbers = f"r {self.r:.6g} ± {self.r_std:.2g}, K {self.K:.6g}{spread}"
        return f"Logistic: {numbers}{self._doubts()}"

    def _doubts(self) -> str:
        """Say that the counts do not follow the law, where that is sure."""
        if self.p_value >= _CHANCE:
            return ""
        return f"; but n does not grow by this law (p = {self.p_value:.1g})"


@dataclass(frozen=True, eq=False, repr=False)
class GrowthRate:
    """The per-capita rate ``n'/n`` along time.

    Attributes
    ----------
    t : (n,) array
        The times given; datetimes as :class:`.DerivativeEstimate` has them.
    mean, std, lower, upper : (n,) arrays
        The rate there, per unit of t (per second for datetimes), with pointwise 95 % limits.
    posterior : Posterior
        Of log n: ``posterior(t, nu=1)`` is the rate anywhere, ``posterior.band(t, nu=1)`` its
        simultaneous limits.
    largest : Locations
        When the rate is largest, a datetime where the times are, and the rate then (``height``).
    logistic : Logistic
        r and K of a logistic curve.
    """

    t: Any
    mean: Array
    std: Array
    lower: Array
    upper: Array
    posterior: Posterior = field(repr=False)
    largest: Locations
    logistic: Logistic

    @property
    def x(self) -> Any:
        """The times, by the name that they have in what :func:`.differentiate` returns."""
        return self.t

    def __repr__(self) -> str:
        top, (unit, per) = self.largest, self._units()
        rate = f"{top.height[0]:.6g} ± {top.height_std[0]:.2g}{per}"
        when = f"{place_words(top.x[0])} ± {top.std[0]:.2g}{unit}"
        edge = edge_words(top.at_edge[0])
        return f"GrowthRate: largest {rate} at t = {when}{edge}\n{self.logistic}"

    def summary(self) -> str:
        """Return rate, doubling time and logistic curve as text."""
        top, logistic, (unit, per) = self.largest, self.logistic, self._units()
        low, high = logistic.interval["K"]
        when, first, last = (place_words(v[0]) for v in (top.x, top.lower, top.upper))
        change = "doubling" if top.height[0] > 0 else "halving"
        return "\n".join(
            (
                f"per-capita growth from {len(self.posterior.data)} counts",
                f"largest rate {top.height[0]:.6g} ± {top.height_std[0]:.2g}{per} at t = {when} "
                f"({first} to {last}{edge_words(top.at_edge[0])}), {change} in "
                f"{math.log(2) / abs(top.height[0]):.4g}{unit}",
                f"logistic r {logistic.r:.6g} ± {logistic.r_std:.2g}{per}, K {logistic.K:.6g} "
                f"({low:.6g} to {high:.6g}){logistic._doubts()}",
            )
        )

    def _units(self) -> tuple[str, str]:
        """Return the words for the unit of time and of the rate, known for datetimes."""
        return ("", "") if self.posterior.data.origin is None else (" s", " per s")

    def plot(self, t_unit: str | None = None, n_unit: str | None = None) -> Figure:
        """Draw n, its rate along time, and the rate against n with the logistic's line.

        Limits hold 95 % at each time. For datetimes the rate is drawn per `t_unit`: "s", the
        default, "min", "h" or "d". Returns the matplotlib figure.
        """
        from smoothderiv.dynamics.pictures import draw_growth

        return draw_growth(self, t_unit, n_unit)


def growth_rate(
    t: ArrayLike,
    n: ArrayLike,
    yerr: ArrayLike | None = None,
    model: Model | None = None,
    rng: int | np.random.Generator | None = 0,
) -> GrowthRate:
    """Estimate the per-capita growth rate ``n'/n = (log n)'`` of noisy counts or sizes.

    log n is smoothed; the rate is its derivative. Noise is Gaussian in log n: its standard
    deviation is the relative error of n, the same for all n unless `yerr` says otherwise.

    Parameters
    ----------
    t : (m,) array
        Times; numbers or datetimes.
    n : (m,) array
        Counts, densities or sizes, positive; NaN where missing.
    yerr : None, float or (m,) array
        Relative standard deviation of n, such as 0.05, or ``1 / sqrt(n)`` for plain counts; None
        has it estimated.
    model : Model, optional
        What smooths log n; that of ``sd.smooth`` by default.
    rng : int, Generator or None
        Of the paths that tell how surely the largest rate is where it is; see
        :meth:`.Posterior.roots`.

    Returns
    -------
    GrowthRate
        The rate with limits, its largest value and when, and r and K of ``n'/n = r (1 - n/K)``:
        the mean rate over cells of time regressed on the mean of n over them, by generalised least
        squares with their joint posterior covariance, so that noise in n does not dilute K. Its
        `p_value` tells whether n grows by that law at all.

    Raises
    ------
    ValueError
        A count that is zero or negative, which has no logarithm; counts at fewer than three times;
        or what ``observe`` refuses.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> t = np.linspace(0, 12, 60)
    >>> n = 100 / (1 + 99 * np.exp(-0.9 * t))
    >>> noise = 0.02 * np.random.default_rng(0).standard_normal(60)
    >>> growth = sd.dynamics.growth_rate(t, n * np.exp(noise))
    >>> low, high = growth.logistic.interval["K"]
    >>> bool(low < 100 < high)
    True
    """
    counts = _validate.vector(n, "n")
    if np.shape(t) != counts.shape:
        raise ValueError(f"t: shape {np.shape(t)}, but n has {len(counts)} rows; one time for each")
    bad = np.flatnonzero(counts <= 0)
    if len(bad):
        raise ValueError(
            f"n: row {int(bad[0])} is {counts[bad[0]]:g}, and only a positive n has a growth rate; "
            "leave the row out, or add up neighbouring samples until none is empty"
        )
    try:
        data = observe(t, np.log(counts), yerr)
    except _validate.RowError as error:
        word = {"x": "t", "y": "n"}.get(error.argument, error.argument)
        raise _validate.RowError(word, error.row, error.says) from None
    if len(data.places) < 3:
        raise ValueError(
            f"n: counts at {len(data.places)} times, but a rate with its uncertainty takes three "
            "or more; between two all there is to know is the difference of log n over that of t"
        )
    post = smooth(data, model)
    places = post.data.asked(t)
    lower, upper = post.interval(places, 1)
    return GrowthRate(
        t=places,
        mean=post.mean(places, 1),
        std=post.std(places, 1),
        lower=lower,
        upper=upper,
        posterior=post,
        largest=post.argmax(nu=1, rng=rng),
        logistic=_logistic(post),
    )


def _logistic(post: Posterior) -> Logistic:
    """Regress the rate on n over cells: ``n'/n = r - s n``, ``K = r / s``."""
    low, high = float(post.data.x.min()), float(post.data.x.max())
    cells = Cells.of(post, low, high, _SHARE, 5, math.inf)
    span, ends = high - low, post.data.as_given(cells.ends)
    logs, size = post.mean(ends), float(np.exp(post.mean(ends)).max())

    def relative(x: Array) -> Array:
        """Return n along the mean of log n, free of units."""
        return np.asarray(np.exp(post.mean(post.data.as_given(x))) / size)

    crowd = cells.mean(-relative(cells.nodes))  # the slope of -mean n by log n
    parts = ((cells.slope(0), span), (crowd, 1.0))
    cov = np.array([[a.covariance(post, b) * c * d for b, d in parts] for a, c in parts])
    crowding = -cells.resolved(relative, float(post.std(ends).mean()))
    Z = np.column_stack((np.ones(cells.count), crowding))
    start = float(np.exp(logs[0]))
    try:
        y = np.diff(logs) / cells.lengths * span
        found = MomentEquations(y, Z, [1], cov, ("r", "r / K"), known=True).solve()
    except UndeterminedError:
        spread = post.contrast(ends[[0, -1]], [-1.0, 1.0])[1] / span
        change = float(logs[-1] - logs[0])
        same = abs(change) <= _ROUNDING * float(np.abs(logs).max())
        return _one_rate(0.0 if same else change / span, spread, start, post.dof)
    r, s = found.coefficients
    quantile = student_quantile(0.975, post.dof)  # the covariance is known but for the noise
    std = np.sqrt(np.diag(found.covariance))
    K = 0.0 if r <= 0 else (r / s if s > 0 else math.inf)
    cov_rK = np.diag([(std[0] / span) ** 2, math.inf])
    if s > 0 and r > 0:
        J = np.array([[1.0 / span, 0.0], [size / s, -size * r / s**2]])
        cov_rK = J @ found.covariance @ J.T
    limits = _fieller(r, s, found.covariance, quantile)
    if r <= 0:  # K is 0, or if r may be positive anything
        limits = (0.0, math.inf if r + quantile * std[0] > 0 else 0.0)
    return Logistic(
        r=float(r / span),
        K=float(K * size),
        r_std=float(std[0] / span),
        K_std=float(math.sqrt(cov_rK[1, 1])),
        covariance=cov_rK,
        interval={
            "r": (float((r - quantile * std[0]) / span), float((r + quantile * std[0]) / span)),
            "K": (float(limits[0] * size), float(limits[1] * size)),
        },
        start=start,
        crowding=float(max(s, 0.0) / (span * size)),
        p_value=_chance(found.notes["misfit"], found.dof, post.dof),
    )


def _chance(misfit: float, count: float, dof: float) -> float:
    """Return how often a misfit per degree of freedom is that large, by chi-square or Fisher's F.

    F where the noise, which the misfit is measured by, was itself estimated with `dof` degrees.
    """
    known = math.isinf(dof)
    return float(chdtrc(count, count * misfit) if known else fdtrc(count, dof, misfit))


def _one_rate(r: float, std: float, start: float, dof: float) -> Logistic:
    """Return the law of a curve of one rate at all n: exponential, or if n stays anything."""
    if r == 0:
        std = math.inf
    half = student_quantile(0.975, dof) * std
    K, limits = (0.0, (0.0, 0.0)) if r + half < 0 else (math.inf, (0.0, math.inf))
    interval = {"r": (r - half, r + half), "K": limits}
    return Logistic(r, K, std, math.inf, np.diag([std**2, math.inf]), interval, start, 0.0, 1.0)


def _fieller(r: float, s: float, cov: Array, quantile: float) -> tuple[float, float]:
    """Return the limits of r / s: the ratios K for which ``r - K s`` is within its limits of 0."""
    a = s * s - quantile**2 * cov[1, 1]
    b = r * s - quantile**2 * cov[0, 1]
    c = r * r - quantile**2 * cov[0, 0]
    root = math.sqrt(max(b * b - a * c, 0.0))
    if a > 0:
        return (b - root) / a, (b + root) / a
    lower = c / (b + root) if b + root > 0 and c > 0 else 0.0
    return max(lower, 0.0), math.inf
